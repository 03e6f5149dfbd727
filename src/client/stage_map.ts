/**
 * A stage between two iterables.
 *
 * Invariants owned here:
 * - Nothing is asked of the inputs, and no signal is listened to, before the
 *   first `next`.
 * - It fails once; after that, and after `return`, it has ended.
 *
 * @module
 */

import type { Stage } from "./stage_options.ts";
import { tame } from "../base/user_code.ts";

/** The results of a stage whose inputs are an iterable's. */
export class MappedCalls implements AsyncIterableIterator<unknown> {
  readonly #inputs: Iterable<unknown> | AsyncIterable<unknown>;
  readonly #makeStage: () => Stage<unknown, unknown>;
  #reader: ReadableStreamDefaultReader<unknown> | undefined;
  #over = false;

  constructor(
    inputs: Iterable<unknown> | AsyncIterable<unknown>,
    makeStage: () => Stage<unknown, unknown>,
  ) {
    this.#inputs = inputs;
    this.#makeStage = makeStage;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<unknown>> {
    if (this.#over) return { done: true, value: undefined };
    this.#reader ??= this.#begin();
    try {
      const { done, value } = await this.#reader.read();
      return done ? { done, value: undefined } : { done, value };
    } catch (error) {
      // Of several that wait, the first is told.
      if (this.#over) return { done: true, value: undefined };
      this.#over = true;
      throw error;
    }
  }

  /** Cancels what is in flight; does not wait for the inputs' own `return`. */
  async return(value?: unknown): Promise<IteratorResult<unknown>> {
    if (!this.#over) {
      this.#over = true;
      const reason = new DOMException("The iteration was ended", "AbortError");
      // A failure that nobody has read is of no interest any more.
      await this.#reader?.cancel(reason).catch(() => {});
    }
    return { done: true, value };
  }

  #begin(): ReadableStreamDefaultReader<unknown> {
    const { readable, writable } = this.#makeStage();
    // Its failure is the reader's, too.
    toStream(this.#inputs).pipeTo(writable).catch(() => {});
    return readable.getReader();
  }
}

/** As `ReadableStream.from`, which not every browser has. */
function toStream(
  inputs: Iterable<unknown> | AsyncIterable<unknown>,
): ReadableStream<unknown> {
  const iterator = Symbol.asyncIterator in Object(inputs)
    ? (inputs as AsyncIterable<unknown>)[Symbol.asyncIterator]()
    : (inputs as Iterable<unknown>)[Symbol.iterator]();
  return new ReadableStream({
    pull: async (controller) => {
      try {
        const { done, value } = await iterator.next();
        if (done) controller.close();
        else controller.enqueue(await value);
      } catch (error) {
        throw tame(error);
      }
    },
    cancel: async () => {
      try {
        await iterator.return?.();
      } catch (error) {
        throw tame(error);
      }
    },
  }, { highWaterMark: 0 });
}
