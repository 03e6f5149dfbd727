// What the workers of the tests of message ports serve.

import process from "node:process";
import type { CallContext } from "../../../mod.ts";

export const services = {
  Math: { square: (n: number): number => n * n },
  Stream: {
    sum: async (numbers: AsyncIterable<number>): Promise<number> => {
      let sum = 0;
      for await (const n of numbers) sum += n;
      return sum;
    },
    async *count(to: number): AsyncGenerator<number> {
      for (let n = 1; n <= to; n++) yield n;
    },
    async *double(numbers: AsyncIterable<number>): AsyncGenerator<number> {
      for await (const n of numbers) yield 2 * n;
    },
    async *bytes(chunks: number): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < chunks; i++) yield new Uint8Array(100_000).fill(i);
    },
  },
  hang: (_: undefined, { signal }: CallContext): Promise<string> =>
    new Promise((resolve) => {
      signal.addEventListener("abort", () => {
        aborted++;
        resolve("aborted");
      });
    }),
  aborted: (): number => aborted,
  exit: (): void => void setTimeout(() => process.exit(0)),
};

/** How many calls of `hang` were aborted. */
let aborted = 0;

export type WorkerServices = typeof services;
