/**
 * A server that keeps a journal: `journal_server.ts JOURNAL`. It prints its
 * address as a line of JSON. SIGTERM drains it; the end of its standard input
 * (its parent has exited) ends it at once.
 *
 * @module
 */

import process from "node:process";
import { listen, RpcError, Server } from "../../mod.ts";
import { Journal } from "./journal.ts";

/** Milliseconds that slow handlers take. */
const SLOW = 20;

/** Handlers that record in the journal what they do. Their params begin with the call's number. */
export function services(journal: Journal) {
  const begin = (params: string): number => {
    const key = parseInt(params);
    journal.start(key);
    return key;
  };
  const end = (key: number): number => {
    journal.end(key);
    return key;
  };
  return {
    Job: {
      now: (params: string): number => end(begin(params)),
      later: async (params: string): Promise<number> => {
        const key = begin(params);
        await new Promise((resolve) => setImmediate(resolve));
        return end(key);
      },
      slow: async (params: string): Promise<number> => {
        const key = begin(params);
        await new Promise((resolve) => setTimeout(resolve, SLOW));
        return end(key);
      },
      fail: (params: string): number => {
        const key = end(begin(params));
        throw new RpcError("out_of_luck", "as asked", { data: key });
      },
    },
  };
}

/** The type of its services. */
export type JobServices = ReturnType<typeof services>;

if (import.meta.main) {
  const server = new Server(services(new Journal(process.argv[2] as string)));
  const listener = await listen({ port: 0 });
  server.serve(listener);
  process.once("SIGTERM", async () => {
    await server.close();
    process.exit();
  });
  process.stdin.on("end", () => process.exit(1)).resume();
  process.stdout.write(JSON.stringify(listener.address) + "\n");
}
