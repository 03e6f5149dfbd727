/**
 * Streams that no honest code passes, and honest ones that must be released in any
 * case.
 *
 * @module
 */

import { Readable } from "node:stream";
import type { Random } from "../support/random.ts";
import { hostile, type Made, type Make } from "./values.ts";

const fail = (): never => {
  throw new Error("made by the fuzzer");
};

/** What an iterator's `next`, or a reader's `read`, may give. */
function step(random: Random, made: Made): () => unknown {
  const value = hostile(random, made, 2);
  const steps: (() => unknown)[] = [
    () => 5,
    () => null,
    () => undefined,
    () => Promise.resolve(5),
    fail,
    () => ({ done: false, value }),
    () => Promise.resolve({ done: false, value }),
    () => Promise.resolve({ done: true, value }),
    async () => await value,
    () => ({
      get done() {
        return fail();
      },
    }),
    () => ({
      done: false,
      get value() {
        return fail();
      },
    }),
    () => Promise.resolve({}),
  ];
  return random.pick(steps);
}

/** What `return`, `cancel`, `destroy` may be: mostly they are there. */
function ender(random: Random): unknown {
  return random.pick<unknown>([
    undefined,
    5,
    fail,
    () => {},
    () => Promise.resolve({ done: true }),
    async () => await fail(),
    null,
  ]);
}

function iterator(random: Random, made: Made): unknown {
  return random.pick<() => unknown>([
    () => 5,
    () => undefined,
    () => ({}),
    () => ({ next: 5 }),
    () => ({
      get next() {
        return fail();
      },
    }),
    () => ({ next: step(random, made), return: ender(random) }),
    () => ({ next: step(random, made), return: ender(random) }),
    () => ({ next: step(random, made), return: ender(random) }),
  ])();
}

/** An honest generator; must be closed in the end. */
function generator(
  made: Made,
  items: AsyncIterable<unknown> | Iterable<unknown>,
): unknown {
  const source = (async function* () {
    yield* items;
  })();
  made.streams.push(async () => {
    const { done } = await source.next();
    return done ? undefined : "a generator was left open";
  });
  return source;
}

/** What a user's own `ReadableStream` fails with. Deno's throw where nobody can catch it if that is a revoked Proxy, whoever reads them. */
function failing(value: unknown): unknown {
  return "Deno" in globalThis ? new Error("made by the fuzzer") : value;
}

/** Streams by kind. */
export const STREAMS: Record<string, Make> = {
  iterable: (r, made) => {
    const given = iterator(r, made);
    return {
      [Symbol.asyncIterator]: r.oneIn(6) ? fail : () => given,
      ...(r.oneIn(3) ? { destroy: ender(r) } : {}),
      ...(r.oneIn(3) ? { [Symbol.asyncDispose]: ender(r) } : {}),
    };
  },
  reader: (r, made) => {
    const reader = r.pick<unknown>([
      5,
      undefined,
      {},
      { read: step(r, made) },
      { read: step(r, made), cancel: ender(r) },
      { read: step(r, made), cancel: ender(r) },
    ]);
    return { getReader: r.oneIn(6) ? fail : () => reader };
  },
  generator: (r, made) => generator(made, [1, hostile(r, made, 2), 3]),
  endless: (_, made) =>
    generator(
      made,
      (async function* () {
        for (let i = 0;; i++) yield i;
      })(),
    ),
  throwing: (r, made) => {
    const thrown = hostile(r, made, 2);
    return generator(
      made,
      (async function* () {
        yield 1;
        throw thrown;
      })(),
    );
  },
  cleanup: (r, made) => {
    const thrown = hostile(r, made, 2);
    return (async function* () {
      try {
        for (let i = 0;; i++) yield i;
      } finally {
        await Promise.reject(thrown);
      }
    })();
  },
  readable: (r, made) => {
    const value = hostile(r, made, 2);
    let cancels = 0;
    let ended = false;
    const ends = r.pick(["close", "error", "never", "throws"]);
    const stream = new ReadableStream({
      pull(controller) {
        controller.enqueue(value);
        if (ends === "never") return;
        ended = true;
        if (ends === "throws") fail();
        if (ends === "error") controller.error(failing(value));
        else controller.close();
      },
      cancel() {
        cancels++;
        if (ends === "never" && cancels === 1) throw failing(value);
      },
    }, { highWaterMark: 0 });
    made.streams.push(() => {
      const released = ended || cancels === 1;
      return Promise.resolve(
        released
          ? undefined
          : `a ReadableStream was cancelled ${cancels} times`,
      );
    });
    return stream;
  },
  locked: () => {
    const stream = new ReadableStream();
    stream.getReader();
    return stream;
  },
  errored: (r, made) => {
    const reason = failing(hostile(r, made, 2));
    return new ReadableStream({
      start: (controller) => controller.error(reason),
    });
  },
  node: (r, made) => {
    const fails = r.oneIn(3);
    let destroys = 0;
    const stream = new Readable({
      objectMode: true,
      read() {
        this.push({ n: 1 });
        if (fails) this.destroy(new Error("made by the fuzzer"));
        else this.push(null);
      },
      destroy(error, done) {
        destroys++;
        done(error);
      },
    });
    stream.on("error", () => {});
    made.streams.push(() =>
      Promise.resolve(
        destroys === 1
          ? undefined
          : `a Readable was destroyed ${destroys} times`,
      )
    );
    return stream;
  },
};
