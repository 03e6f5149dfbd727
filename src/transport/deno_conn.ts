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
 * This file is below `duplex.ts`, which imports it; it imports none of its types.
 *
 * @module
 */

import { ConnectionError } from "../errors.ts";
import { describeFault, printAddress } from "./address.ts";
import { type ByteSink, offer } from "./direct.ts";
import { BUFFER, byteStrategy, Intake, notBytes } from "./intake.ts";

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
  /** The peer's address. */
  readonly remoteAddr?: unknown;
  /** Our own address. */
  readonly localAddr?: unknown;
}

/** Whether a value has the methods of a `Deno.Conn`. */
export function isDenoConn(value: object): value is DenoConnLike {
  const conn = value as Partial<Record<keyof DenoConnLike, unknown>>;
  return typeof conn.read === "function" && typeof conn.write === "function" &&
    typeof conn.closeWrite === "function" && typeof conn.close === "function";
}

/**
 * A duplex over a `Deno.Conn`.
 *
 * @param conn Open, and no one else's from then on.
 * @param apart Whether its two directions are not one socket, so that unread
 *   input does no harm to what was written.
 */
export function fromDenoConn(conn: DenoConnLike, apart = false): {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  readonly remote?: string;
  readonly local?: string;
} {
  const { readable, writable } = new Link(conn, apart);
  return {
    readable,
    writable,
    remote: print(conn.remoteAddr),
    local: print(conn.localAddr),
  };
}

class Link implements ByteSink {
  /** Whether somebody has written through the stream. */
  touched = false;
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  readonly #conn: DenoConnLike;
  readonly #apart: boolean;
  readonly #intake: Intake;
  #control!: WritableStreamDefaultController;
  #cancelled = false;
  #running = false;
  #readingDone = false;
  #writingDone = false;
  #closed = false;
  /** Why nothing more can be written. */
  #failure: { reason: unknown } | undefined;
  /** The write under way rejects with this when the connection is lost. */
  #rejectWrite: ((reason: unknown) => void) | undefined;

  constructor(conn: DenoConnLike, apart: boolean) {
    this.#conn = conn;
    this.#apart = apart;
    this.#intake = new Intake(BUFFER, {
      taken: () => this.#run(),
      cancelled: () => {
        this.#cancelled = true;
        this.#run();
        this.#settleEnds();
      },
    });
    this.readable = this.#intake.readable;
    this.writable = new WritableStream<Uint8Array>({
      start: (controller) => {
        this.#control = controller;
        // The sink's `abort` would wait for the write under way.
        const { signal } = controller;
        signal.addEventListener("abort", () => this.#abort(signal.reason));
      },
      write: (chunk) => this.#writeChunk(chunk),
      close: () => this.#guard(() => this.#closeWrite()),
    }, byteStrategy(BUFFER));
    offer(this.writable, this);
    this.#run();
  }

  /** Starts the loop of reads, unless it runs. */
  #run(): void {
    if (this.#running || this.#readingDone) return;
    this.#running = true;
    this.#readLoop().catch((error) => this.#fail(lost(error)));
  }

  async #readLoop(): Promise<void> {
    let buffer = new Uint8Array(BUFFER);
    while (this.#cancelled || this.#intake.room) {
      const length = await this.#conn.read(buffer);
      if (this.#readingDone) return;
      if (length === null) {
        this.#readingDone = true;
        this.#intake.end();
        this.#settleEnds();
        return;
      }
      if (this.#cancelled) continue;
      if (length < BUFFER / 4) {
        // A view of it would keep all of the buffer.
        this.#intake.push(buffer.slice(0, length));
      } else {
        this.#intake.push(buffer.subarray(0, length));
        buffer = new Uint8Array(BUFFER);
      }
    }
    // Here and not in a `then`: in between, room would be made in vain.
    this.#running = false;
  }

  /** Writes chunks one by one; for a connection that passes the stream by. */
  write(chunks: readonly Uint8Array[]): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure.reason);
    return this.#guard(async () => {
      for (const chunk of chunks) await this.#writeAll(chunk);
    });
  }

  #writeChunk(chunk: unknown): Promise<void> {
    this.touched = true;
    if (!(chunk instanceof Uint8Array)) {
      const reason = notBytes(chunk);
      this.#abort(reason);
      throw reason;
    }
    return this.#guard(() => this.#writeAll(chunk));
  }

  async #writeAll(chunk: Uint8Array): Promise<void> {
    let written = 0;
    while (written < chunk.byteLength) {
      written += await this.#conn.write(
        written === 0 ? chunk : chunk.subarray(written),
      );
    }
  }

  async #closeWrite(): Promise<void> {
    await this.#conn.closeWrite();
    this.#writingDone = true;
    this.#settleEnds();
  }

  /** Settles with what it starts, or at once when the connection is lost. */
  #guard(start: () => Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#rejectWrite = reject;
      start().then(
        () => {
          this.#rejectWrite = undefined;
          resolve();
        },
        (error) => this.#failWriting(lost(error)),
      );
    });
  }

  #abort(reason: unknown): void {
    this.#readingDone = true;
    this.#writingDone = true;
    this.#failure = { reason };
    this.#intake.drop(reason);
    // The stream fails by itself. To fail it from here, before it has noted the
    // abort, would make the promise of `abort` reject.
    this.#rejectWrite?.(reason);
    this.#settleEnds();
  }

  /** Writing alone: what the peer sent before it went is still read. */
  #failWriting(reason: unknown): void {
    if (this.#writingDone) return;
    this.#writingDone = true;
    this.#failure = { reason };
    this.#rejectWrite?.(reason);
    this.#rejectWrite = undefined;
    this.#control.error(reason);
    this.#settleEnds();
  }

  #fail(reason: unknown): void {
    this.#readingDone = true;
    this.#intake.fail(reason);
    this.#failWriting(reason);
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

function lost(cause: unknown): ConnectionError {
  return new ConnectionError(
    "unavailable",
    `Connection lost: ${describeFault(cause)}`,
    { cause },
  );
}

/** A `Deno.NetAddr` or `Deno.UnixAddr`, printable. */
function print(address: unknown): string | undefined {
  const { hostname, port, path } = (address ?? {}) as Record<string, unknown>;
  if (typeof hostname === "string" && typeof port === "number") {
    return printAddress({ host: hostname, port });
  }
  return typeof path === "string" && path !== "" ? path : undefined;
}
