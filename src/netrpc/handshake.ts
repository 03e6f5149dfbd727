/**
 * A duplex that begins with an HTTP handshake, of which its taker sees nothing.
 *
 * Invariants owned here:
 * - The handshake takes place when somebody first reads, so that whoever takes
 *   the duplex has counted it as a connection by then.
 * - It is bounded in bytes and in time; one that fails ends the duplex.
 * - What came behind the handshake is not lost.
 *
 * @module
 */

import { toChunk } from "../base/bytes.ts";
import { toDuplex } from "../transport/deno_conn.ts";
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

/** The time that a handshake may take, in ms. */
const HANDSHAKE_TIME = 10_000;

/** Speaks one end's part; returns the bytes that came behind it. */
export type Shake = (path: ByteChannel, closed: () => boolean) => Promise<
  Uint8Array
>;

/** How a handshake is made. */
export interface HandshakeOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal | undefined;
  readonly shake: Shake;
  /** What is written if the duplex is closed before the handshake is over. */
  readonly refusal: Uint8Array;
}

/** The handshake at the beginning of one duplex. */
export class Handshake implements ReadHalfEvents {
  /** The duplex behind it. */
  readonly duplex: Duplex & DuplexInfo;
  readonly #path: ByteChannel;
  readonly #options: HandshakeOptions;
  readonly #intake: ReadHalf;
  readonly #outlet: ShakenOutlet;
  #done: Promise<void> | undefined;
  /** Goes on reading, when there is room. */
  #resume: (() => void) | undefined;

  /** @throws {TypeError} If it is no duplex. */
  constructor(given: Duplex, options: HandshakeOptions) {
    const duplex = toDuplex(given);
    const { remote, local, certificate } = duplex;
    const path = openChannel(duplex);
    this.#path = path;
    this.#options = options;
    this.#intake = new ShakenIntake(this);
    this.#outlet = new ShakenOutlet(path, this, duplex, options.refusal);
    this.duplex = nativeDuplex(this.#intake, this.#outlet, {
      remote,
      local,
      certificate,
    });
  }

  /** Makes the handshake, unless it has been begun. Rejects if it fails, and the duplex is over then. */
  run(): Promise<void> {
    return this.#done ??= this.#run();
  }

  onRead(): void {
    if (this.#intake.hasCapacity) this.#resume?.();
  }

  onCancel(): void {
    this.#resume?.();
  }

  async #run(): Promise<void> {
    const { clock, signal, shake } = this.#options;
    let reason: unknown;
    const giveUp = (why: unknown) => {
      reason ??= why;
      this.#path.destroy(why);
    };
    const onAbort = () => giveUp(signal?.reason);
    const timer = clock.setTimeout(() => giveUp(late()), HANDSHAKE_TIME);
    signal?.addEventListener("abort", onAbort);
    if (signal?.aborted) onAbort();
    try {
      const rest = await shake(this.#path, () => this.#outlet.closed);
      if (reason !== undefined) throw reason;
      this.#outlet.shaken = true;
      if (rest.length > 0) this.#intake.push(rest);
    } catch (error) {
      const why = reason ?? error;
      this.#path.destroy(why);
      this.#outlet.fail(why);
      this.#intake.fail(why);
      throw why;
    } finally {
      clock.clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
    this.#pump();
  }

  async #pump(): Promise<void> {
    const intake = this.#intake;
    try {
      for (;;) {
        const { done, value } = await this.#path.read();
        if (done) return intake.end();
        intake.push(toChunk(value));
        if (!intake.hasCapacity) {
          await new Promise<void>((resolve) => this.#resume = resolve);
        }
      }
    } catch (error) {
      intake.fail(error);
    }
  }
}

/** Begins with the handshake. */
class ShakenIntake extends ReadHalf {
  readonly #handshake: Handshake;

  constructor(handshake: Handshake) {
    super(BUFFER, handshake);
    this.#handshake = handshake;
  }

  override read(): Promise<ReadableStreamReadResult<Uint8Array>> {
    // Its failure is the stream's.
    this.#handshake.run().catch(ignore);
    return super.read();
  }
}

/** Writes behind the handshake. */
class ShakenOutlet extends WriteHalf {
  shaken = false;
  closed = false;
  readonly #path: ByteChannel;
  readonly #handshake: Handshake;
  readonly #transport: DuplexInfo;
  readonly #refusal: Uint8Array;

  constructor(
    path: ByteChannel,
    handshake: Handshake,
    transport: DuplexInfo,
    refusal: Uint8Array,
  ) {
    super();
    this.#path = path;
    this.#handshake = handshake;
    this.#transport = transport;
    this.#refusal = refusal;
  }

  async write(chunks: readonly Uint8Array[]): Promise<void> {
    if (!this.shaken) await this.#handshake.run();
    try {
      // Who writes to a duplex of ours may use the bytes again afterwards.
      const own = this.#path.borrows
        ? chunks
        : chunks.map((chunk) => new Uint8Array(chunk));
      await this.#path.write(own);
    } catch (error) {
      this.fail(error);
      throw error;
    }
  }

  async close(): Promise<void> {
    this.closed = true;
    if (!this.shaken && this.#refusal.length > 0) {
      await this.#path.write([this.#refusal]).catch(ignore);
    }
    await this.#path.close();
  }

  override setRef(on: boolean): void {
    if (on) this.#transport.ref?.();
    else this.#transport.unref?.();
  }

  abort(reason: unknown): void {
    this.#path.destroy(reason);
    this.fail(reason);
  }
}

function late(): ConnectionError {
  return new ConnectionError(
    "deadline_exceeded",
    "the HTTP handshake did not end in time",
  );
}

function ignore(): void {}
