/**
 * What lies under the public streams of our own adapters, for a connection to
 * use instead.
 *
 * Invariant owned here: a stream is passed by only if nobody has read or
 * written it before; else chunks might still be in it.
 *
 * @module
 */

/** Where an adapter's bytes come from, under its `readable`. One read at a time. */
export interface ByteSource {
  /** Whether somebody has read through the stream. */
  readonly touched: boolean;
  /** As a stream reader's `read`. */
  read(): Promise<ReadableStreamReadResult<Uint8Array>>;
}

/** Where an adapter's bytes go, under its `writable`. One write at a time. */
export interface ByteSink {
  /** Whether somebody has written through the stream. */
  readonly touched: boolean;
  /** Writes all chunks, in order; settles as a stream writer's last `write` would. */
  write(chunks: readonly Uint8Array[]): Promise<void>;
}

/** On a stream of ours: what lies under it. Not enumerable, so a copy of the stream's wrapper never carries it to another stream. */
const UNDER: unique symbol = Symbol("sluice.under");

/** Lets a connection pass `stream` by. */
export function offer(
  stream: ReadableStream<Uint8Array> | WritableStream<Uint8Array>,
  under: ByteSource | ByteSink,
): void {
  Object.defineProperty(stream, UNDER, { value: under });
}

/** What lies under a stream, if that is ours and untouched. */
export function under<T extends ByteSource | ByteSink>(
  stream: object,
): T | undefined {
  const found = (stream as { [UNDER]?: T })[UNDER];
  return found?.touched === false ? found : undefined;
}
