/**
 * What a connection runs over: a pair of byte streams, and what they promise.
 *
 * The contract, for everything that hands a {@linkcode Duplex} to Sluice:
 * - `readable` yields `Uint8Array` chunks that belong to the reader from then
 *   on. It ends when the peer has sent its FIN, and errors when the connection
 *   is lost: bytes that arrived before are delivered first.
 * - `writable.write()` settles when the transport has room again; a chunk
 *   belongs to the transport until then, and is read, never changed.
 * - `writable.close()` sends what is buffered and then FIN; reading goes on.
 * - `writable.abort()` destroys both directions at once.
 * - `readable.cancel()` stops reading and leaves writing alone.
 *
 * @module
 */

import { type DenoConnLike, fromDenoConn, isDenoConn } from "./deno_conn.ts";
import { halvesOf } from "./native_duplex.ts";
import { ConnectionError, quote } from "../base/errors.ts";
import type { Address } from "./address.ts";
import type { Duplex, DuplexInfo } from "../types/duplex.ts";

export type { DenoConnLike };

/**
 * Checks what a user hands in as a connection, and adapts a `Deno.Conn`, whose
 * own streams break the contract above: closing one half closes all.
 *
 * @param value A duplex, or a `Deno.Conn`.
 * @returns The duplex itself, or one over the `Deno.Conn`.
 * @throws {TypeError} If it is neither, or one of its streams is locked or has
 *   failed. (Streams do not tell whether they have been closed; that shows with
 *   the first read and write.)
 *
 * @example
 * ```ts
 * import { assertStrictEquals, assertThrows } from "@std/assert";
 * import { memoryPair, toDuplex } from "@sluice/rpc";
 *
 * const [a] = memoryPair();
 * assertStrictEquals(toDuplex(a), a);
 *
 * a.readable.getReader();
 * assertThrows(() => toDuplex(a), TypeError, "readable is locked");
 * ```
 */
export function toDuplex(value: Duplex | DenoConnLike): Duplex & DuplexInfo {
  if (typeof value !== "object" || value === null) {
    throw new TypeError(
      `Cannot use as a duplex: expected { readable, writable }, received ${
        value === null ? "null" : typeof value
      }`,
    );
  }
  if (isDenoConn(value)) return fromDenoConn(value);
  // To look at the streams would make them.
  if (halvesOf(value)?.free) return value;
  check(value, "readable", "getReader");
  check(value, "writable", "getWriter");
  const writer = value.writable.getWriter();
  const failed = writer.desiredSize === null;
  writer.releaseLock();
  if (failed) {
    throw new TypeError("Cannot use as a duplex: writable has failed");
  }
  return value;
}

/** By shape, not by `instanceof`: another realm's or a polyfill's streams are streams. */
function check(value: Duplex, side: keyof Duplex, method: string): void {
  const stream = value[side] as unknown as Record<string, unknown> | undefined;
  if (typeof stream?.[method] !== "function") {
    throw new TypeError(`Cannot use as a duplex: ${side} is not a stream`);
  }
  if (stream.locked) {
    throw new TypeError(`Cannot use as a duplex: ${side} is locked`);
  }
}

/** What a read brings. (`ReadableStreamReadResult` is no global of Node's types.) */
export type ReadResult = Awaited<
  ReturnType<ReadableStreamDefaultReader<Uint8Array>["read"]>
>;

/** Both directions of one duplex. */
export interface ByteChannel {
  /** Whether the chunks of a write are its writer's again once it has succeeded. */
  readonly borrows: boolean;
  read(): Promise<ReadResult>;
  /** Writes all chunks, of which there is at least one. The chunks are the transport's from then on, or until then. */
  write(chunks: readonly Uint8Array[]): Promise<void>;
  /** Sends FIN behind what was written; settles in any case. */
  close(): Promise<void>;
  /** Ends both directions at once. */
  destroy(reason: unknown): void;
  /** Calls `failed` once nothing more can be written, also while nobody writes: for after the peer's FIN, when no read tells that it is gone. */
  watch(failed: (reason: unknown) => void): void;
}

/**
 * Takes a duplex over.
 *
 * @throws {TypeError} If one of the streams is locked.
 */
export function takePath(duplex: Duplex): ByteChannel {
  const halves = halvesOf(duplex);
  return halves?.take() ? halves : new WebStreamChannel(duplex);
}

class WebStreamChannel implements ByteChannel {
  readonly borrows = false;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;

  constructor({ readable, writable }: Duplex) {
    this.#reader = readable.getReader();
    this.#writer = writable.getWriter();
    // Failures reach us by read and write; these would only be reported again.
    this.#reader.closed.catch(ignore);
    this.#writer.closed.catch(ignore);
  }

  read(): Promise<ReadResult> {
    return this.#reader.read();
  }

  write(chunks: readonly Uint8Array[]): Promise<void> {
    const last = chunks.length - 1;
    for (let i = 0; i < last; i++) {
      // The last one's promise tells of all: a stream fails for good.
      this.#writer.write(chunks[i]).catch(ignore);
    }
    return this.#writer.write(chunks[last]);
  }

  close(): Promise<void> {
    return this.#writer.close().catch(ignore);
  }

  destroy(reason: unknown): void {
    this.#writer.abort(reason).catch(ignore);
    this.#reader.cancel(reason).catch(ignore);
  }

  watch(failed: (reason: unknown) => void): void {
    this.#writer.closed.catch(failed);
  }
}

function ignore(): void {}

/** What a source of connections tells the listener. */
export interface ListenerEvents {
  /** A connection, ready for use. */
  accept(duplex: Duplex & DuplexInfo): void;
  /** A fault that does not end the listener. */
  fault(error: ConnectionError): void;
}

/** What listens, whatever it is made with. */
export interface ListenerBackend {
  /** Listens; resolves to the real address. */
  open(): Promise<Address>;
  /** Says whether listening keeps the process alive. */
  hold(on: boolean): void;
  /** Stops, and destroys what has not been handed over. Called once, also when `open` has failed. */
  close(): Promise<void>;
}

const BYTES = Uint8Array.prototype;
const bufferLength = Object.getOwnPropertyDescriptor(
  ArrayBuffer.prototype,
  "byteLength",
)?.get as () => number;

/**
 * The bytes of a chunk: a plain `Uint8Array` as it is, any other view, Node's
 * `Buffer` and an `ArrayBuffer`, of any realm, as a view of the same memory;
 * shared memory as a copy, since others can write to it.
 *
 * @throws {ConnectionError} `invalid_argument` if it is anything else, or its
 * memory has been transferred.
 */
export function toChunk(value: unknown): Uint8Array {
  if (Object.getPrototypeOf(value ?? 0) === BYTES) {
    const bytes = value as Uint8Array;
    if (bytes.buffer instanceof ArrayBuffer) return bytes;
  }
  try {
    if (ArrayBuffer.isView(value)) {
      const { buffer, byteOffset, byteLength } = value;
      const bytes = new Uint8Array(buffer, byteOffset, byteLength);
      return isUnshared(buffer) ? bytes : new Uint8Array(bytes);
    }
    if (isUnshared(value)) return new Uint8Array(value);
  } catch {
    throw notBytes("bytes whose memory has been transferred");
  }
  const text = typeof value === "string"
    ? `a string (${quote(value, 24)})`
    : describe(value);
  throw notBytes(text);
}

/** By its brand: one of another realm is no instance of ours. */
function isUnshared(value: unknown): value is ArrayBuffer {
  try {
    bufferLength.call(value);
    return true;
  } catch {
    return false;
  }
}

function describe(value: unknown): string {
  if (value === null) return "null";
  return typeof value === "object"
    ? "an object that is no bytes"
    : typeof value;
}

function notBytes(what: string): ConnectionError {
  return new ConnectionError(
    "invalid_argument",
    `the transport yielded ${what}: a duplex's readable must yield bytes (Uint8Array); encode text before, with a TextEncoderStream or no setEncoding()`,
  );
}
