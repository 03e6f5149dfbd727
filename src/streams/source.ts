/**
 * Where the items of an outgoing stream come from: a `ReadableStream` or an
 * async iterable of the user's.
 *
 * Invariants owned here:
 * - Nothing is asked of a source that nobody asked for an item.
 * - A source is cancelled once, and what its cleanup throws is nobody's
 *   failure but its own: `cancel` resolves when the cleanup is over.
 *
 * @module
 */

/** What travels as a stream. */
export type StreamValue = ReadableStream<unknown> | AsyncIterable<unknown>;

/** Whether a value travels as a stream: it has `getReader` or an async iterator. Whatever throws on being looked at is none. */
export function isStream(value: unknown): value is StreamValue {
  if (typeof value !== "object" || value === null) return false;
  try {
    const { getReader, [Symbol.asyncIterator]: iterator } = value as Shape;
    return typeof getReader === "function" || typeof iterator === "function";
  } catch {
    return false;
  }
}

interface Shape {
  readonly getReader?: unknown;
  readonly [Symbol.asyncIterator]?: unknown;
}

/** Items of a user's, one at a time. */
export interface Source {
  /** The next item; called again only when the last one has come. */
  next(): Promise<IteratorResult<unknown>>;
  /** Wants no more. Resolves when the user's cleanup is over, with what it threw, if it did. */
  cancel(reason: unknown): Promise<unknown>;
}

/**
 * Takes a stream over: a `ReadableStream` is locked from now on.
 *
 * @throws {TypeError} If it is locked already, or its iterator cannot be had.
 */
export function toSource(value: StreamValue): Source {
  return "getReader" in value && typeof value.getReader === "function"
    ? new ReadableSource(value.getReader())
    : new IteratorSource(value as AsyncIterable<unknown>);
}

/** Cancels what was to be sent and never was, if it is a stream. Nobody waits for it. */
export function discard(value: unknown, reason: unknown): void {
  if (!isStream(value)) return;
  try {
    toSource(value).cancel(reason);
  } catch {
    // Locked: it is somebody else's to cancel.
  }
}

class ReadableSource implements Source {
  readonly #reader: ReadableStreamDefaultReader<unknown>;

  constructor(reader: ReadableStreamDefaultReader<unknown>) {
    this.#reader = reader;
  }

  next(): Promise<IteratorResult<unknown>> {
    return this.#reader.read() as Promise<IteratorResult<unknown>>;
  }

  cancel(reason: unknown): Promise<unknown> {
    return this.#reader.cancel(reason).then(nothing, itself);
  }
}

class IteratorSource implements Source {
  readonly #iterator: AsyncIterator<unknown>;
  #next: Promise<unknown> | undefined;

  constructor(iterable: AsyncIterable<unknown>) {
    this.#iterator = iterable[Symbol.asyncIterator]();
  }

  next(): Promise<IteratorResult<unknown>> {
    const next = this.#ask();
    this.#next = next;
    return next;
  }

  async #ask(): Promise<IteratorResult<unknown>> {
    return await this.#iterator.next();
  }

  async cancel(): Promise<unknown> {
    try {
      // One that cannot be told is over when it has given what it was asked for.
      if (this.#iterator.return === undefined) await this.#next;
      else await this.#iterator.return();
    } catch (error) {
      return error;
    }
  }
}

function nothing(): void {}

function itself(error: unknown): unknown {
  return error;
}
