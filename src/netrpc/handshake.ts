/**
 * A duplex that begins with an HTTP handshake, which its user does not see.
 *
 * Order and bounds:
 * - The handshake begins with the first read or write. So a server has counted
 *   the duplex among its connections by then.
 * - The handshake takes at most {@linkcode HANDSHAKE_TIME} ms. If it fails, the
 *   duplex is destroyed.
 * - Bytes that arrive with the end of the handshake are read first afterwards.
 *
 * @module
 */

import { toChunk } from "../base/bytes.ts";
import { toDuplex } from "../transport/sockets/deno_conn.ts";
import { type ByteChannel, openChannel } from "../transport/duplex.ts";
import type { Duplex, DuplexInfo } from "../types/duplex.ts";
import type { Clock } from "../base/clock.ts";
import { ConnectionError } from "../base/errors.ts";
import {
  BUFFER,
  ReadHalf,
  type ReadHalfEvents,
} from "../transport/read_half.ts";
import { WriteHalf } from "../transport/write_half.ts";
import { nativeDuplex } from "../transport/native_duplex.ts";

/** The longest time of a handshake, in ms. */
const HANDSHAKE_TIME = 10_000;

/** The client's or the server's part of the handshake. `closed` tells whether the duplex has been closed meanwhile. Resolves to the bytes received after the handshake. */
export type HttpExchange = (
  channel: ByteChannel,
  closed: () => boolean,
) => Promise<Uint8Array>;

/** How a handshake is made. */
export interface HttpHandshakeOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal | undefined;
  readonly exchange: HttpExchange;
  /** Written if the duplex is closed before the handshake has ended; may be empty. */
  readonly refusal: Uint8Array;
}

/** The handshake at the beginning of one duplex. */
export class HttpHandshake implements ReadHalfEvents {
  /** The duplex that begins with the handshake. */
  readonly duplex: Duplex & DuplexInfo;
  readonly #channel: ByteChannel;
  readonly #options: HttpHandshakeOptions;
  readonly #readHalf: ReadHalf;
  readonly #writeHalf: HandshakeWriteHalf;
  #done: Promise<void> | undefined;
  /** Continues reading, once the queue of the read half has capacity. */
  #resume: (() => void) | undefined;

  /** @throws {TypeError} If `given` is not a duplex. */
  constructor(given: Duplex, options: HttpHandshakeOptions) {
    const duplex = toDuplex(given);
    const { remote, local, certificate } = duplex;
    const channel = openChannel(duplex);
    this.#channel = channel;
    this.#options = options;
    this.#readHalf = new HandshakeReadHalf(this);
    this.#writeHalf = new HandshakeWriteHalf(
      channel,
      this,
      duplex,
      options.refusal,
    );
    this.duplex = nativeDuplex(this.#readHalf, this.#writeHalf, {
      remote,
      local,
      certificate,
    });
  }

  /** Makes the handshake, or waits for the one under way. Rejects if it fails; the duplex is then destroyed. */
  run(): Promise<void> {
    return this.#done ??= this.#run();
  }

  onRead(): void {
    if (this.#readHalf.hasCapacity) this.#resume?.();
  }

  onCancel(): void {
    this.#resume?.();
  }

  async #run(): Promise<void> {
    const { clock, signal, exchange } = this.#options;
    let failure: unknown;
    const fail = (reason: unknown) => {
      failure ??= reason;
      this.#channel.destroy(reason);
    };
    const onAbort = () => fail(signal?.reason);
    const timer = clock.setTimeout(() => fail(deadlineError()), HANDSHAKE_TIME);
    signal?.addEventListener("abort", onAbort);
    if (signal?.aborted) onAbort();
    try {
      const rest = await exchange(this.#channel, () => this.#writeHalf.closed);
      if (failure !== undefined) throw failure;
      this.#writeHalf.completed = true;
      if (rest.length > 0) this.#readHalf.push(rest);
    } catch (error) {
      const reason = failure ?? error;
      this.#channel.destroy(reason);
      this.#writeHalf.fail(reason);
      this.#readHalf.fail(reason);
      throw reason;
    } finally {
      clock.clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
    this.#readLoop();
  }

  async #readLoop(): Promise<void> {
    const readHalf = this.#readHalf;
    try {
      for (;;) {
        const { done, value } = await this.#channel.read();
        if (done) return readHalf.end();
        readHalf.push(toChunk(value));
        if (!readHalf.hasCapacity) {
          await new Promise<void>((resolve) => this.#resume = resolve);
        }
      }
    } catch (error) {
      readHalf.fail(error);
    }
  }
}

/** The read half, whose first read begins the handshake. */
class HandshakeReadHalf extends ReadHalf {
  readonly #handshake: HttpHandshake;

  constructor(handshake: HttpHandshake) {
    super(BUFFER, handshake);
    this.#handshake = handshake;
  }

  override read(): Promise<ReadableStreamReadResult<Uint8Array>> {
    // If the handshake fails, this read fails, too.
    this.#handshake.run().catch(ignore);
    return super.read();
  }
}

/** The write half, whose writes wait for the handshake. */
class HandshakeWriteHalf extends WriteHalf {
  /** Whether the handshake has succeeded. */
  completed = false;
  closed = false;
  readonly #channel: ByteChannel;
  readonly #handshake: HttpHandshake;
  readonly #transport: DuplexInfo;
  readonly #refusal: Uint8Array;

  constructor(
    channel: ByteChannel,
    handshake: HttpHandshake,
    transport: DuplexInfo,
    refusal: Uint8Array,
  ) {
    super();
    this.#channel = channel;
    this.#handshake = handshake;
    this.#transport = transport;
    this.#refusal = refusal;
  }

  async write(chunks: readonly Uint8Array[]): Promise<void> {
    if (!this.completed) await this.#handshake.run();
    try {
      // A write half lets its writer reuse the chunks after the write. If the
      // channel does not, it gets copies.
      const own = this.#channel.borrows
        ? chunks
        : chunks.map((chunk) => new Uint8Array(chunk));
      await this.#channel.write(own);
    } catch (error) {
      this.fail(error);
      throw error;
    }
  }

  async close(): Promise<void> {
    this.closed = true;
    if (!this.completed && this.#refusal.length > 0) {
      await this.#channel.write([this.#refusal]).catch(ignore);
    }
    await this.#channel.close();
  }

  override setRef(on: boolean): void {
    if (on) this.#transport.ref?.();
    else this.#transport.unref?.();
  }

  abort(reason: unknown): void {
    this.#channel.destroy(reason);
    this.fail(reason);
  }
}

function deadlineError(): ConnectionError {
  return new ConnectionError(
    "deadline_exceeded",
    `the HTTP handshake did not finish within ${HANDSHAKE_TIME} ms`,
  );
}

function ignore(): void {}
