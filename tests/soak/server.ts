/**
 * The server of the soak test: `server.ts`. It prints its port as a line of JSON,
 * counts the calls of its handlers, and exits when its standard input ends.
 *
 * @module
 */

import process from "node:process";
import { type CallContext, listen, RpcError, Server } from "../../mod.ts";
import { type Memory, memory } from "../support/heap.ts";

/** What the server counts: calls that ran, and the sum of their numbers, which shows if one was mistaken for another. */
export interface Tally {
  runs: number;
  sum: number;
  /** Handlers whose signals fired. */
  fired: number;
}

const tally: Tally = { runs: 0, sum: 0, fired: 0 };

function ran(n: number): void {
  tally.runs++;
  tally.sum += n;
}

/** A number of 53 bits in front of bytes. */
export function numberOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getFloat64(0);
}

const services = {
  Soak: {
    text: (text: string): string => {
      ran(parseInt(text));
      return text;
    },
    object: (value: { n: number; list: number[] }): unknown => {
      ran(value.n);
      return { ...value, list: value.list.toReversed() };
    },
    bytes: (bytes: Uint8Array): Uint8Array => {
      ran(numberOf(bytes));
      return bytes;
    },
    fail: (n: number): never => {
      ran(n);
      throw new RpcError("sorry", "as asked", { data: n });
    },
    later: async (n: number): Promise<number> => {
      ran(n);
      await new Promise((resolve) => setImmediate(resolve));
      return n;
    },
    /** Calls its caller back. */
    back: async (n: number, { connection }: CallContext): Promise<unknown> => {
      ran(n);
      return await connection.call("Back.echo", n);
    },
    /** Ends when its call is cancelled. */
    hold: (n: number, { signal }: CallContext): Promise<void> => {
      ran(n);
      const end = Promise.withResolvers<void>();
      const fire = () => {
        tally.fired++;
        end.resolve();
      };
      if (signal.aborted) fire();
      else signal.addEventListener("abort", fire);
      return end.promise;
    },
    tally: (): Tally => tally,
    memory: (): Promise<Memory> => memory(),
  },
};

/** The type of its services. */
export type SoakServices = typeof services;

if (import.meta.main) {
  const server = new Server(services);
  const listener = await listen({ port: 0 });
  server.serve(listener);
  process.stdin.on("end", () => process.exit()).resume();
  process.stdout.write(JSON.stringify(listener.address) + "\n");
}
