/**
 * The source of an outgoing stream: a `ReadableStream` or an async iterable of
 * the user, read one item at a time.
 *
 * - A source is asked for an item only when the stream needs one.
 * - A source is cancelled once. `cancel` resolves when the user's cleanup is
 *   over, also if that throws.
 * - Whatever a user's iterator or reader does (throw, return no promise, call
 *   back twice), `next` settles as a promise does and throws nothing.
 *
 * @module
 */

import type { Scope } from "./async_context.ts";

/** A value that is sent as a stream. */
export type StreamValue = ReadableStream<unknown> | AsyncIterable<unknown>;

/** Whether a value is sent as a stream: it has `getReader` or an async iterator. A value that throws when it is inspected is none. */
export function isStream(value: unknown): value is StreamValue {
  if (typeof value !== "object" || value === null) return false;
  try {
    const { getReader, [Symbol.asyncIterator]: iterator } =
      value as IteratorShape;
    return typeof getReader === "function" || typeof iterator === "function";
  } catch {
    return false;
  }
}

interface IteratorShape {
  readonly getReader?: unknown;
  readonly [Symbol.asyncIterator]?: unknown;
}

/** A stream of the library that says something about the stream within, as which it is sent. Users' streams have no members of these names. */
export interface StreamWrapper extends AsyncIterable<unknown> {
  /** The stream within. */
  readonly sluiceStream: StreamValue;
  /** Whether its items are messages. */
  readonly sluiceMessages?: boolean;
}

function innerOf(value: StreamValue): StreamValue | undefined {
  return (value as Partial<StreamWrapper>).sluiceStream;
}

/** Items of the user, one at a time. */
export interface PullSource {
  /** Whether the items are messages: bytes that are neither cut nor joined. */
  messages?: boolean | undefined;
  /** The next item. Called again only when the one before has arrived. */
  next(): Promise<IteratorResult<unknown>>;
  /** Ends the source. Resolves when the user's cleanup is over, with what that threw, if it did. */
  cancel(reason: unknown): Promise<Thrown | undefined>;
}

/** What was thrown: in an object, as a promise that resolved with a thenable would wait for it. */
export interface Thrown {
  readonly error: unknown;
}

/**
 * Takes a stream over: a `ReadableStream` is locked from now on.
 *
 * @throws {TypeError} If it is locked already, or its iterator cannot be had.
 */
export function toSource(value: StreamValue): PullSource {
  taken.add(value);
  const inner = innerOf(value);
  if (inner !== undefined) {
    const source = toSource(inner);
    source.messages ||= (value as StreamWrapper).sluiceMessages;
    return source;
  }
  if (!("getReader" in value) || typeof value.getReader !== "function") {
    return new IteratorSource(value as AsyncIterable<unknown>);
  }
  const own = readerOf(value);
  return own === undefined
    ? new IteratorSource(new ReaderIterable(value.getReader()))
    : new ReadableSource(own);
}

/** Streams that were taken over: `discard` leaves them alone. */
const taken = new WeakSet<object>();

/** Cancels a value that will not be sent, if it is a stream that nothing has taken over. Nothing waits for its cleanup. */
export function discard(value: unknown, reason: unknown): void {
  if (!isStream(value) || taken.has(value)) return;
  try {
    toSource(value).cancel(reason);
  } catch {
    // It is locked: whoever reads it cancels it.
  }
}

/** The reader of a stream of the platform, which follows the standard; undefined for any other. */
function readerOf(
  value: ReadableStream<unknown>,
): ReadableStreamDefaultReader<unknown> | undefined {
  try {
    return new ReadableStreamDefaultReader(value);
  } catch {
    return undefined;
  }
}

class ReadableSource implements PullSource {
  messages?: boolean | undefined;
  readonly #reader: ReadableStreamDefaultReader<unknown>;

  constructor(reader: ReadableStreamDefaultReader<unknown>) {
    this.#reader = reader;
  }

  next(): Promise<IteratorResult<unknown>> {
    return this.#reader.read() as Promise<IteratorResult<unknown>>;
  }

  cancel(reason: unknown): Promise<Thrown | undefined> {
    return this.#reader.cancel(reason).then(nothing, thrown);
  }
}

/** Reads a stream that is not the platform's as an iterator, since it deserves no more trust than one. */
class ReaderIterable implements AsyncIterable<unknown> {
  readonly #reader: ReadableStreamDefaultReader<unknown>;

  constructor(reader: ReadableStreamDefaultReader<unknown>) {
    this.#reader = reader;
  }

  [Symbol.asyncIterator](): AsyncIterator<unknown> {
    const reader = this.#reader;
    return {
      next: () => reader.read() as Promise<IteratorResult<unknown>>,
      return: async (reason) => {
        await reader.cancel(reason);
        return { done: true, value: undefined };
      },
    };
  }
}

/** Other methods that end a stream, if nothing has begun to read it. */
interface Disposable {
  readonly destroy?: unknown;
  readonly [Symbol.asyncDispose]?: unknown;
}

class IteratorSource implements PullSource {
  messages?: boolean | undefined;
  readonly #iterable: AsyncIterable<unknown>;
  readonly #iterator: AsyncIterator<unknown>;
  #next: Promise<unknown> | undefined;
  /** Whether it was asked for an item and has not answered. */
  #pending = false;

  constructor(iterable: AsyncIterable<unknown>) {
    const iterator: unknown = iterable[Symbol.asyncIterator]();
    if (typeof iterator !== "object" || iterator === null) {
      throw new TypeError(
        `Cannot read the stream: its async iterator is no object, received ${typeof iterator}`,
      );
    }
    this.#iterable = iterable;
    this.#iterator = iterator as AsyncIterator<unknown>;
  }

  next(): Promise<IteratorResult<unknown>> {
    const next = this.#ask();
    this.#next = next;
    return next;
  }

  async #ask(): Promise<IteratorResult<unknown>> {
    this.#pending = true;
    try {
      return await this.#iterator.next();
    } finally {
      this.#pending = false;
    }
  }

  async cancel(reason: unknown): Promise<Thrown | undefined> {
    try {
      // `return` of an iterator that was never asked runs no code: a generator
      // has not begun, and Node's streams stay open. `return` of one that has
      // not answered waits for its answer, which may never come.
      const unasked = this.#next === undefined;
      const stuck = unasked || this.#pending;
      if (stuck && await this.#destroy()) return;
      if (unasked && await this.#dispose()) return;
      // A generator would wait for the value that `return` gets.
      const why = this.#iterable instanceof ReaderIterable ? reason : undefined;
      // One without any such method is over when it has answered.
      if (this.#iterator.return !== undefined) await this.#iterator.return(why);
      else if (!await this.#destroy() && !await this.#dispose()) {
        await this.#next;
      }
    } catch (error) {
      return { error };
    }
  }

  /** Ends the stream itself, as Node's streams can be; false if it has no such method. */
  async #destroy(): Promise<boolean> {
    const { destroy } = this.#iterable as Disposable;
    if (typeof destroy !== "function") return false;
    // Without a reason: it would be an `error` event that nobody listens to.
    await destroy.call(this.#iterable);
    return true;
  }

  async #dispose(): Promise<boolean> {
    const { [Symbol.asyncDispose]: dispose } = this.#iterable as Disposable;
    if (typeof dispose !== "function") return false;
    await dispose.call(this.#iterable);
    return true;
  }
}

function nothing(): undefined {}

function thrown(error: unknown): Thrown {
  return { error };
}

/**
 * As {@linkcode toSource}, in the async context `scope` if there is one.
 *
 * @throws {TypeError} If the stream is locked already, or its iterator cannot be had.
 */
export function toScopedSource(
  value: StreamValue,
  scope: Scope | undefined,
): PullSource {
  if (scope === undefined) return toSource(value);
  const source = scope(toSource, value);
  const queues = isGenerator(value);
  let asked: Promise<unknown> | undefined;
  return {
    messages: source.messages,
    next: () => {
      const result = scope(next, source);
      if (queues) asked = result.catch(ignore);
      return result;
    },
    cancel: async (reason) => {
      // A generator would queue it behind the item that it is making, and V8
      // from 14 on then forgets the context (seen on Deno 2.9, not on Node 24).
      await asked;
      return await scope(cancel, source, reason);
    },
  };
}

/** Whether its iterator is a generator of the language, which queues its requests. */
function isGenerator(value: StreamValue): boolean {
  const inner = innerOf(value);
  if (inner !== undefined) return isGenerator(inner);
  const tag = Object.prototype.toString;
  const { [Symbol.asyncIterator]: iterator } = value as AsyncIterable<unknown>;
  return tag.call(value) === "[object AsyncGenerator]" ||
    tag.call(iterator) === "[object AsyncGeneratorFunction]";
}

function next(source: PullSource): Promise<IteratorResult<unknown>> {
  return source.next();
}

function cancel(
  source: PullSource,
  reason: unknown,
): Promise<Thrown | undefined> {
  return source.cancel(reason);
}

function ignore(): void {}
