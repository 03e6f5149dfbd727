/**
 * What the tests in a page call: services of a server in another process.
 *
 * @module
 */

import process from "node:process";
import { type CallContext, clientOf } from "../../mod.ts";

/** What the page offers to the server. */
export interface PageServices {
  Page: { double(n: number): number };
}

/** Bytes of one item of `Stream.flood`. */
const ITEM = 16_384;

/** What the server has sent, and held, while the page was busy. */
export interface Snapshot {
  readonly items: number;
  /** Growth of the process's memory since the stream began, in bytes. */
  readonly growth: number;
}

/** The services of one server. */
// deno-lint-ignore explicit-function-return-type
export function makeServices() {
  let aborts = 0;
  const onAbort = new Set<() => void>();
  const snapshot = Promise.withResolvers<Snapshot>();

  /** Resolves when the caller gives up. */
  function hang(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      signal.addEventListener("abort", () => {
        aborts++;
        for (const fn of onAbort) fn();
        resolve();
      }, { once: true });
    });
  }

  return {
    Math: {
      square: (n: number) => n * n,
      fail: (text: string): void => {
        throw new RangeError(text);
      },
    },
    Work: {
      hang: (_: undefined, { signal }: CallContext) => hang(signal),
      /** Resolves when so many handlers have been aborted. */
      aborts: async (count: number) => {
        const fired = Promise.withResolvers<void>();
        const check = () => aborts >= count && fired.resolve();
        onAbort.add(check);
        check();
        await fired.promise;
        onAbort.delete(check);
        return aborts;
      },
      /** Calls the page back, so many times at once. */
      callBack: async (count: number, ctx: CallContext) => {
        const page = clientOf<PageServices>(ctx.connection);
        const calls = Array.from(
          { length: count },
          (_, n) => page.call("Page.double", n, { ctx }),
        );
        return (await Promise.all(calls)).reduce((sum, n) => sum + n, 0);
      },
      process: () => process.pid,
    },
    Stream: {
      async *count(to: number) {
        for (let n = 1; n <= to; n++) yield n;
      },
      sum: async (numbers: AsyncIterable<number>) => {
        let sum = 0;
        for await (const n of numbers) sum += n;
        return sum;
      },
      async *upper(words: AsyncIterable<string>) {
        for await (const word of words) yield word.toUpperCase();
      },
      /** Sends as much as it can, and takes a snapshot after `ms`. */
      async *flood(ms: number) {
        const before = process.memoryUsage().rss;
        let items = 0;
        setTimeout(() => {
          const growth = process.memoryUsage().rss - before;
          snapshot.resolve({ items, growth });
        }, ms);
        for (;; items++) yield new Uint8Array(ITEM).fill(items);
      },
      snapshot: () => snapshot.promise,
    },
  };
}

/** Their type. */
export type Services = ReturnType<typeof makeServices>;
