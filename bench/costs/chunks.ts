/**
 * Measures how well calls and replies are gathered: the number of chunks written
 * for very many small calls, in both directions, over TCP and over memory.
 *
 * @module
 */

import {
  type CallContext,
  Client,
  connect,
  type Duplex,
  echoServices,
  memoryPair,
  Server,
} from "../../mod.ts";
import { Child } from "../demo/child.ts";
import { OWN } from "../demo/runtimes.ts";
import { program } from "../support/program.ts";
import type { ServerMessage } from "../demo/server.ts";

/** Number of calls. */
export interface ChunksOrder {
  readonly calls: number;
}

/** Chunks that the client and the server wrote. */
export interface ChunksResult {
  readonly transport: "tcp" | "memory";
  readonly style: keyof typeof LOOPS;
  readonly client: number;
  readonly server: number;
}

/** The echo services, and how many chunks their connection has written. */
export function countingServices() {
  return {
    ...echoServices(),
    Chunks: {
      written: (_: undefined, { connection }: CallContext) =>
        connection.stats().chunksWritten,
    },
  };
}

type Services = ReturnType<typeof countingServices>;
type Call = (i: number) => Promise<void>;

const TASKS = 64;

/** The styles of making the calls. */
const LOOPS = {
  /** One loop that waits only for room in the window. */
  async ready(client: Client<Services>, calls: number, call: Call) {
    const replies: Promise<void>[] = [];
    for (let i = 0; i < calls; i++) {
      await client.ready;
      replies.push(call(i));
    }
    await Promise.all(replies);
  },
  /** One loop that waits for nothing. */
  async free(_client: Client<Services>, calls: number, call: Call) {
    const replies: Promise<void>[] = [];
    for (let i = 0; i < calls; i++) replies.push(call(i));
    await Promise.all(replies);
  },
  /** Several tasks, each of which waits for its replies. */
  async tasks(_client: Client<Services>, calls: number, call: Call) {
    let next = 0;
    const task = async () => {
      while (next < calls) await call(next++);
    };
    await Promise.all(Array.from({ length: TASKS }, task));
  },
};

async function count(
  duplex: Duplex,
  transport: ChunksResult["transport"],
  style: ChunksResult["style"],
  calls: number,
): Promise<ChunksResult> {
  const client = new Client<Services>(duplex);
  const call = async (i: number) => {
    const reply = await client.call("HelloService.Hello", "client " + i);
    if (reply !== "hello:client " + i) throw new Error(`call ${i}: "${reply}"`);
  };
  // The first reply is not written yet when its handler counts.
  const serverBefore = await client.call("Chunks.written") + 1;
  const clientBefore = client.stats().chunksWritten;
  await LOOPS[style](client, calls, call);
  const written = client.stats().chunksWritten - clientBefore;
  const server = await client.call("Chunks.written") - serverBefore;
  await client.close();
  return { transport, style, client: written, server };
}

async function run({ calls }: ChunksOrder): Promise<ChunksResult[]> {
  const child = new Child<ServerMessage>(
    OWN,
    import.meta.resolve("./chunks_server.ts"),
  );
  const local = new Server(countingServices());
  const results: ChunksResult[] = [];
  try {
    let address: ServerMessage;
    await child.listen((message) => (address = message) !== undefined);
    for (const style of Object.keys(LOOPS) as ChunksResult["style"][]) {
      const tcp = await connect(address!);
      results.push(await count(tcp, "tcp", style, calls));
      const [near, far] = memoryPair();
      local.accept(far);
      results.push(await count(near, "memory", style, calls));
    }
  } finally {
    await local.close();
    await child.stop();
  }
  return results;
}

if (import.meta.main) await program(run);
