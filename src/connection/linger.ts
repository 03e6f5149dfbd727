/**
 * The last part of a connection's life: flush, FIN, linger, destroy.
 *
 * Invariants owned here:
 * - After our FIN we read and discard until the peer's, within bounds: a socket
 *   closed with unread input resets, and the reset destroys what the peer has
 *   not read yet (measured on loopback: of 200,000 bytes none arrived).
 * - Every step is bounded in time, so a peer that neither reads nor closes
 *   holds nothing for long.
 *
 * @module
 */

import type { ByteChannel } from "../transport/duplex.ts";
import type { Clock } from "../base/clock.ts";
import { Timeout, type TimerHeap } from "../base/timers.ts";
import { ConnectionError } from "../base/errors.ts";
import type { SendBuffer } from "./send_buffer.ts";

/** How long what was said last may take to be written, in ms. */
const FLUSH_TIME = 5000;
/** After our FIN: how long the peer's is waited for, in ms. */
const LINGER_TIME = 1000;
/** And how much is read and discarded meanwhile, in bytes. */
const LINGER_BYTES = 16 * 1024 * 1024;

/** Ends one duplex. */
export class Linger {
  readonly #channel: ByteChannel;
  readonly #sendBuffer: SendBuffer;
  readonly #clock: Clock;
  readonly #timer: Timeout;
  /** By when the step under way has to be over, and all of it. */
  #stepBy = Infinity;
  #allBy = Infinity;
  #over = false;
  #flushed: (() => void) | undefined;
  #discarded = 0;

  constructor(
    channel: ByteChannel,
    sendBuffer: SendBuffer,
    clock: Clock,
    deadlines: TimerHeap,
  ) {
    this.#channel = channel;
    this.#sendBuffer = sendBuffer;
    this.#clock = clock;
    this.#timer = new Timeout(clock, deadlines);
  }

  /**
   * Runs its course; `reading` resolves when the peer's stream has ended. Calls
   * `lingers` when the FIN has been sent. Never rejects.
   */
  async run(reader: Promise<void>, lingers: () => void): Promise<void> {
    this.#begin(FLUSH_TIME);
    if (!this.#sendBuffer.idle) {
      await new Promise<void>((resolve) => this.#flushed = resolve);
    }
    await this.#channel.close();
    lingers();
    this.#begin(LINGER_TIME);
    await reader;
    this.#over = true;
    this.#timer.clear();
    this.destroy();
  }

  /** Has it end within `ms`, wherever it is by then; it keeps the limits of its steps. */
  within(ms: number): void {
    this.#allBy = Math.min(this.#allBy, this.#clock.now() + ms);
    this.#arm();
  }

  /** A step begins, which may take `ms`. */
  #begin(ms: number): void {
    this.#stepBy = this.#clock.now() + ms;
    this.#arm();
  }

  #arm(): void {
    if (this.#over) return;
    const by = Math.min(this.#stepBy, this.#allBy);
    this.#timer.set(by - this.#clock.now(), () => this.destroy());
  }

  /** The outbox has been written, or has failed. */
  written(): void {
    if (this.#sendBuffer.idle) this.#flushed?.();
  }

  /** The peer has sent bytes that nobody handles any more. */
  discard(bytes: number): void {
    this.#discarded += bytes;
    if (this.#discarded > LINGER_BYTES) this.destroy();
  }

  /** Ends both directions at once. */
  destroy(): void {
    const reason = new ConnectionError("cancelled", "the connection is over");
    this.#channel.destroy(reason);
  }
}
