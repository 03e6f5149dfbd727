/**
 * A `Deno.Conn` as a duplex.
 *
 * A `Deno.Conn` has streams of its own, but they break the contract of a
 * duplex: closing one of them closes the connection (and the other fails with
 * BadResource). So its `read`, `write` and `closeWrite` are used instead.
 *
 * Invariants:
 * - The connection is closed when both directions are done, and not before.
 * - One read and one write at a time.
 *
 * @module
 */

import type { Duplex, DuplexInfo } from "../../types/duplex.ts";
import { printAddress } from "../address.ts";
import { checkDuplex } from "../duplex.ts";
import { nativeDuplex } from "../native_duplex.ts";
import { BUFFER, ReadHalf, type ReadHalfEvents } from "../read_half.ts";
import { lostError } from "../system_errors.ts";
import { WriteHalf } from "../write_half.ts";

/** The members of a `Deno.Conn` that are used: of a `Deno.TcpConn`, `Deno.TlsConn` or `Deno.UnixConn`. */
export interface DenoConnLike {
  /** Reads into `buffer`; resolves to the number of bytes, or to `null` at the end. */
  read(buffer: Uint8Array): Promise<number | null>;
  /** Writes from `buffer`; resolves to the number of bytes that were taken. */
  write(buffer: Uint8Array): Promise<number>;
  /** Sends FIN. */
  closeWrite(): Promise<void>;
  /** Closes both directions. */
  close(): void;
  /** Lets the open connection keep the process alive. */
  ref?(): void;
  /** Lets the process exit while the connection is open. */
  unref?(): void;
  /** The peer's address. */
  readonly remoteAddr?: unknown;
  /** The local address. */
  readonly localAddr?: unknown;
}

/**
 * Checks that a value can be used as a connection, and adapts a `Deno.Conn`,
 * whose own streams are no duplex: closing one of them closes the connection.
 *
 * Clients and servers of this module call it on what they are given. Call it
 * yourself to use a `Deno.Conn` elsewhere, such as with {@linkcode framed}; the
 * `Deno.Conn` then belongs to the duplex.
 *
 * @param value A duplex, or a `Deno.Conn`.
 * @returns The duplex itself, or a new one over the `Deno.Conn`.
 * @throws {TypeError} If it is neither, one of its streams is locked, or
 *   `writable` has failed. (A stream does not show that it was closed; its
 *   first read or write does.)
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

/** By its methods: the class is not there on other runtimes. */
function isDenoConn(value: Duplex | DenoConnLike): value is DenoConnLike {
  const conn = value as Partial<Record<keyof DenoConnLike, unknown>> | null;
  return typeof conn?.read === "function" && typeof conn.write === "function" &&
    typeof conn.closeWrite === "function" && typeof conn.close === "function";
}

/**
 * A duplex over a `Deno.Conn`, to which the `Deno.Conn` then belongs.
 *
 * @param info Its addresses, if it does not know them itself.
 * @param separate Whether its directions are two resources, not one socket. On
 *   a socket, unread input would destroy what was written.
 */
export function fromDenoConn(
  conn: DenoConnLike,
  info: DuplexInfo = addressesOf(conn),
  separate = false,
): Duplex & DuplexInfo {
  const adapter = new DenoConnAdapter(conn, separate);
  return nativeDuplex(adapter.readHalf, adapter, info);
}

function addressesOf(conn: DenoConnLike): DuplexInfo {
  return { remote: print(conn.remoteAddr), local: print(conn.localAddr) };
}

/** A `Deno.NetAddr` or `Deno.UnixAddr` as text. */
function print(address: unknown): string | undefined {
  const { hostname, port, path } = (address ?? {}) as Record<string, unknown>;
  if (typeof hostname === "string" && typeof port === "number") {
    return printAddress({ host: hostname, port });
  }
  return typeof path === "string" && path !== "" ? path : undefined;
}

class DenoConnAdapter extends WriteHalf implements ReadHalfEvents {
  readonly readHalf: ReadHalf = new ReadHalf(BUFFER, this);
  readonly #conn: DenoConnLike;
  readonly #separate: boolean;
  readonly #buffer = new ReadBuffer(BUFFER);
  /** Whether the loop of reads runs. */
  #reading = false;
  #cancelled = false;
  #readingDone = false;
  #writingDone = false;
  #closed = false;

  constructor(conn: DenoConnLike, separate: boolean) {
    super();
    this.#conn = conn;
    this.#separate = separate;
    this.onRead();
  }

  /** Starts the loop of reads, unless it runs. */
  onRead(): void {
    if (this.#reading || this.#readingDone) return;
    this.#reading = true;
    this.#readLoop().catch((error) => this.#failBoth(lostError(error)));
  }

  onCancel(): void {
    this.#cancelled = true;
    this.onRead();
    this.#closeIfDone();
  }

  async #readLoop(): Promise<void> {
    while (this.#cancelled || this.readHalf.hasCapacity) {
      const length = await this.#conn.read(this.#buffer.bytes);
      if (this.#readingDone) return;
      if (length === null) {
        this.#readingDone = true;
        this.readHalf.end();
        this.#closeIfDone();
        return;
      }
      if (!this.#cancelled) this.readHalf.push(this.#buffer.take(length));
    }
    // Not in a `then` of the caller: a read in between would not restart the loop.
    this.#reading = false;
  }

  write(chunks: readonly Uint8Array[]): Promise<void> {
    return this.untilDone((done) => {
      const written = chunks.length === 1
        ? this.#writeOne(chunks[0])
        : writeGathered(chunks, (chunk) => this.#writeOne(chunk));
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
    return this.untilDone((done) => {
      this.#conn.closeWrite().then(() => {
        this.#writingDone = true;
        this.#closeIfDone();
        done();
      }, done);
    });
  }

  abort(reason: unknown): void {
    this.#readingDone = true;
    this.#writingDone = true;
    this.readHalf.abort(reason);
    super.fail(reason);
    this.#closeIfDone();
  }

  override setRef(on: boolean): void {
    if (this.#closed) return;
    if (on) this.#conn.ref?.();
    else this.#conn.unref?.();
  }

  /** Ends writing only: what the peer sent before it disconnected is still read. */
  override fail(reason: unknown): void {
    if (this.#writingDone) return;
    this.#writingDone = true;
    super.fail(reason);
    this.#closeIfDone();
  }

  #failBoth(reason: unknown): void {
    this.#readingDone = true;
    this.readHalf.fail(reason);
    this.fail(reason);
    this.#closeIfDone();
  }

  #closeIfDone(): void {
    const read = this.#readingDone || (this.#separate && this.#cancelled);
    if (!read || !this.#writingDone || this.#closed) return;
    this.#closed = true;
    try {
      this.#conn.close();
    } catch {
      // BadResource: it is closed already.
    }
  }
}

/** The smallest size of a read buffer in bytes, and the factor between two sizes. */
const SMALLEST = 1024;
const FACTOR = 4;

/** Reads in a row that would fit into the next smaller size, before the buffer shrinks. */
const READS_BEFORE_SHRINK = 8;

/**
 * The memory to read into. It must be there before anything has arrived, so an
 * idle connection holds it all the time.
 *
 * - It starts at 1 KiB, grows when a read fills it, and shrinks after eight
 *   reads in a row that use little of it.
 * - A chunk keeps at most four times its length alive.
 */
class ReadBuffer {
  /** Valid until `take`. */
  bytes: Uint8Array<ArrayBuffer> = new Uint8Array(SMALLEST);
  readonly #largest: number;
  #smallReads = 0;

  constructor(largest: number) {
    this.#largest = largest;
  }

  /** The first `length` bytes, into which a read has gone. They belong to the caller. */
  take(length: number): Uint8Array {
    const { bytes } = this;
    const size = bytes.length;
    if (length < size / FACTOR) {
      // A view would keep the whole buffer alive.
      const chunk = bytes.slice(0, length);
      if (size > SMALLEST && ++this.#smallReads === READS_BEFORE_SHRINK) {
        this.#resize(size / FACTOR);
      }
      return chunk;
    }
    this.#resize(
      length < size ? size : Math.min(size * FACTOR, this.#largest),
    );
    return bytes.subarray(0, length);
  }

  #resize(size: number): void {
    this.bytes = new Uint8Array(size);
    this.#smallReads = 0;
  }
}

/** Bytes of one gathered write: 256 KiB. */
const GATHER_SIZE = 262_144;

/**
 * The one buffer that the process keeps while nobody writes. One for each
 * connection would be held by idle connections, too, and a new one for each
 * write would have to be cleared each time.
 */
let spareBuffer: Uint8Array | undefined;

/**
 * Writes many chunks as few: `Deno.Conn` writes one at a time, and a write
 * costs more than a copy of 64 KiB.
 *
 * @param write Writes one chunk, which it may use until it resolves.
 */
async function writeGathered(
  chunks: readonly Uint8Array[],
  write: (chunk: Uint8Array) => Promise<void>,
): Promise<void> {
  const buffer = spareBuffer ?? new Uint8Array(GATHER_SIZE);
  spareBuffer = undefined;
  let fill = 0;
  for (let chunk of chunks) {
    while (fill + chunk.length > GATHER_SIZE) {
      const part = chunk.subarray(0, GATHER_SIZE - fill);
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
  // Not after a failure: the system may still read from the buffer.
  spareBuffer = buffer;
}
