/**
 * A `Deno.Conn` as a duplex that keeps the contract.
 *
 * A `Deno.Conn` has streams of its own, but they break the contract: closing
 * one half closes all (the other then fails with BadResource), so its `read`,
 * `write` and `closeWrite` are used instead.
 *
 * Invariants owned here:
 * - The connection is closed when both directions are done, and not before.
 * - One read and one write at a time.
 *
 * @module
 */

import type { Duplex, DuplexInfo } from "../types/duplex.ts";
import { lost, printAddress } from "./address.ts";
import { checkDuplex } from "./duplex.ts";
import { BUFFER, ReadHalf, type ReadHalfEvents } from "./read_half.ts";
import { WriteHalf } from "./write_half.ts";
import { ownDuplex } from "./native_duplex.ts";

/** What is used of a `Deno.Conn`: a `Deno.TcpConn`, `Deno.TlsConn` or `Deno.UnixConn`. */
export interface DenoConnLike {
  /** Reads into `buffer`: how many bytes, or `null` at the end. */
  read(buffer: Uint8Array): Promise<number | null>;
  /** Writes from `buffer`: how many bytes were taken. */
  write(buffer: Uint8Array): Promise<number>;
  /** Ends the writing direction. */
  closeWrite(): Promise<void>;
  /** Lets the connection go. */
  close(): void;
  /** Keeps the process alive while it is open. */
  ref?(): void;
  /** Lets the process end although it is open. */
  unref?(): void;
  /** The peer's address. */
  readonly remoteAddr?: unknown;
  /** Our own address. */
  readonly localAddr?: unknown;
}

/**
 * Checks what a user hands in as a connection, and adapts a `Deno.Conn`, whose
 * own streams break the contract of a duplex: closing one half closes all.
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
  return isDenoConn(value) ? fromDenoConn(value) : checkDuplex(value);
}

/** Whether a value has the methods of a `Deno.Conn`. */
function isDenoConn(value: Duplex | DenoConnLike): value is DenoConnLike {
  const conn = value as Partial<Record<keyof DenoConnLike, unknown>> | null;
  return typeof conn?.read === "function" && typeof conn.write === "function" &&
    typeof conn.closeWrite === "function" && typeof conn.close === "function";
}

/**
 * A duplex over a `Deno.Conn`.
 *
 * @param conn Open, and no one else's from then on.
 * @param info Its addresses, if it does not know them itself.
 * @param apart Whether its two directions are not one socket, so that unread
 *   input does no harm to what was written.
 */
export function fromDenoConn(
  conn: DenoConnLike,
  info: DenoConnInfo = addressesOf(conn),
  apart = false,
): DenoConnInfo & {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
} {
  const link = new DenoConnAdapter(conn, apart);
  return ownDuplex(link.readHalf, link, info);
}

interface DenoConnInfo {
  readonly remote?: string;
  readonly local?: string;
}

class DenoConnAdapter extends WriteHalf implements ReadHalfEvents {
  readonly readHalf: ReadHalf = new ReadHalf(BUFFER, this);
  readonly #conn: DenoConnLike;
  readonly #apart: boolean;
  readonly #buffer = new ReadBuffer(BUFFER);
  #cancelled = false;
  #running = false;
  #readingDone = false;
  #writingDone = false;
  #closed = false;

  constructor(conn: DenoConnLike, apart: boolean) {
    super();
    this.#conn = conn;
    this.#apart = apart;
    this.onRead();
  }

  /** Starts the loop of reads, unless it runs. */
  onRead(): void {
    if (this.#running || this.#readingDone) return;
    this.#running = true;
    this.#readLoop().catch((error) => this.#lose(lost(error)));
  }

  onCancel(): void {
    this.#cancelled = true;
    this.onRead();
    this.#settleEnds();
  }

  async #readLoop(): Promise<void> {
    while (this.#cancelled || this.readHalf.hasCapacity) {
      const length = await this.#conn.read(this.#buffer.bytes);
      if (this.#readingDone) return;
      if (length === null) {
        this.#readingDone = true;
        this.readHalf.end();
        this.#settleEnds();
        return;
      }
      if (!this.#cancelled) this.readHalf.push(this.#buffer.take(length));
    }
    // Here and not in a `then`: in between, room would be made in vain.
    this.#running = false;
  }

  write(chunks: readonly Uint8Array[]): Promise<void> {
    return this.wait((done) => {
      const written = chunks.length === 1
        ? this.#writeOne(chunks[0])
        : writeTogether(chunks, (chunk) => this.#writeOne(chunk));
      written.then(() => done(), done);
    });
  }

  async #writeOne(chunk: Uint8Array): Promise<void> {
    let written = await this.#conn.write(chunk);
    while (written < chunk.byteLength) {
      written += await this.#conn.write(chunk.subarray(written));
    }
  }

  close(): Promise<void> {
    return this.wait((done) => {
      this.#conn.closeWrite().then(() => {
        this.#writingDone = true;
        this.#settleEnds();
        done();
      }, done);
    });
  }

  abort(reason: unknown): void {
    this.#readingDone = true;
    this.#writingDone = true;
    this.readHalf.drop(reason);
    super.fail(reason);
    this.#settleEnds();
  }

  override setRef(on: boolean): void {
    if (this.#closed) return;
    if (on) this.#conn.ref?.();
    else this.#conn.unref?.();
  }

  /** Writing alone: what the peer sent before it went is still read. */
  override fail(reason: unknown): void {
    if (this.#writingDone) return;
    this.#writingDone = true;
    super.fail(reason);
    this.#settleEnds();
  }

  #lose(reason: unknown): void {
    this.#readingDone = true;
    this.readHalf.fail(reason);
    this.fail(reason);
    this.#settleEnds();
  }

  #settleEnds(): void {
    const read = this.#readingDone || (this.#apart && this.#cancelled);
    if (!read || !this.#writingDone || this.#closed) return;
    this.#closed = true;
    try {
      this.#conn.close();
    } catch {
      // Closed already: BadResource.
    }
  }
}

function addressesOf(conn: DenoConnLike): DenoConnInfo {
  return { remote: print(conn.remoteAddr), local: print(conn.localAddr) };
}

/** A `Deno.NetAddr` or `Deno.UnixAddr`, printable. */
function print(address: unknown): string | undefined {
  const { hostname, port, path } = (address ?? {}) as Record<string, unknown>;
  if (typeof hostname === "string" && typeof port === "number") {
    return printAddress({ host: hostname, port });
  }
  return typeof path === "string" && path !== "" ? path : undefined;
}

/** Bytes to start with, and how much larger or smaller the next size is. */
const SMALLEST = 1024;
const STEP = 4;

/** Reads in a row that use less than the next smaller size, before it is taken. */
const PATIENCE = 8;

/** What to read into. */
export class ReadBuffer {
  /** Valid until `take`. */
  bytes: Uint8Array<ArrayBuffer> = new Uint8Array(SMALLEST);
  readonly #largest: number;
  #sparse = 0;

  constructor(largest: number) {
    this.#largest = largest;
  }

  /** The first `length` bytes, which have been read, as the reader's own. */
  take(length: number): Uint8Array {
    const { bytes } = this;
    const size = bytes.length;
    if (length < size / STEP) {
      // A view of it would keep all of the buffer.
      const chunk = bytes.slice(0, length);
      if (size > SMALLEST && ++this.#sparse === PATIENCE) {
        this.#resize(size / STEP);
      }
      return chunk;
    }
    this.#resize(
      length < size ? size : Math.min(size * STEP, this.#largest),
    );
    return bytes.subarray(0, length);
  }

  #resize(size: number): void {
    this.bytes = new Uint8Array(size);
    this.#sparse = 0;
  }
}

/** Bytes that are written at once. */
const TOGETHER = 256 * 1024;

let spare: Uint8Array | undefined;

/** Writes `chunks` in order by `write`, whose argument is only lent until it resolves. */
export async function writeTogether(
  chunks: readonly Uint8Array[],
  write: (chunk: Uint8Array) => Promise<void>,
): Promise<void> {
  const buffer = spare ?? new Uint8Array(TOGETHER);
  spare = undefined;
  let fill = 0;
  for (let chunk of chunks) {
    while (fill + chunk.length > TOGETHER) {
      const part = chunk.subarray(0, TOGETHER - fill);
      chunk = chunk.subarray(part.length);
      if (fill === 0) await write(part);
      else {
        buffer.set(part, fill);
        fill = 0;
        await write(buffer);
      }
    }
    buffer.set(chunk, fill);
    fill += chunk.length;
  }
  if (fill > 0) await write(buffer.subarray(0, fill));
  // Not after a failure: the system may have it still.
  spare = buffer;
}
