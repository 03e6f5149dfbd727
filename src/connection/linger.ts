/**
 * The last part of a connection's life: flush, FIN, linger, destroy.
 *
 * - After the local FIN, what the peer sends is read and discarded until its
 *   FIN, within bounds: a socket closed with unread input sends a reset, and the
 *   reset destroys what the peer has not read yet (measured on loopback: of
 *   200,000 bytes none arrived).
 * - Every step is bounded in time, so a peer that neither reads nor closes
 *   occupies nothing for long.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { ConnectionError } from "../base/errors.ts";
import { Timeout, type TimerHeap } from "../base/timers.ts";
import type { ByteChannel } from "../transport/duplex.ts";
import type { SendBuffer } from "./send_buffer.ts";

/** How long the flush may take, in ms. */
const FLUSH_TIME = 5000;
/** After the local FIN: how long to wait for the peer's, in ms. */
const LINGER_TIME = 1000;
/** How much is read and discarded meanwhile, in bytes. */
const LINGER_BYTES = 16 * 1024 * 1024;

/** What is ended, and with what. */
export interface LingerContext {
  readonly channel: ByteChannel;
  readonly sendBuffer: SendBuffer;
  readonly clock: Clock;
  readonly deadlines: TimerHeap;
}

/** Ends one duplex. */
export class Linger {
  readonly #context: LingerContext;
  readonly #timer: Timeout;
  /** When the current step must be over, and when all of it. */
  #stepBy = Infinity;
  #allBy = Infinity;
  #over = false;
  #flushed: (() => void) | undefined;
  #discarded = 0;

  constructor(context: LingerContext) {
    this.#context = context;
    this.#timer = new Timeout(context.clock, context.deadlines);
  }

  /**
   * Runs all steps. `reading` resolves when the peer's stream has ended. Calls
   * `onLinger` when the FIN was sent. Never rejects.
   */
  async run(reading: Promise<void>, onLinger: () => void): Promise<void> {
    const { channel, sendBuffer } = this.#context;
    this.#begin(FLUSH_TIME);
    if (!sendBuffer.idle) {
      await new Promise<void>((resolve) => this.#flushed = resolve);
    }
    await channel.close();
    onLinger();
    this.#begin(LINGER_TIME);
    await reading;
    this.#over = true;
    this.#timer.clear();
    this.destroy();
  }

  /** Ends it within `ms`, at whatever step it is then; the limits of the steps stay. */
  within(ms: number): void {
    this.#allBy = Math.min(this.#allBy, this.#context.clock.now() + ms);
    this.#arm();
  }

  /** Begins a step, which may take `ms`. */
  #begin(ms: number): void {
    this.#stepBy = this.#context.clock.now() + ms;
    this.#arm();
  }

  #arm(): void {
    if (this.#over) return;
    const by = Math.min(this.#stepBy, this.#allBy);
    this.#timer.set(by - this.#context.clock.now(), () => this.destroy());
  }

  /** The send buffer was written, or failed. */
  onWritten(): void {
    if (this.#context.sendBuffer.idle) this.#flushed?.();
  }

  /** Counts bytes of the peer that nobody handles any more. */
  discard(bytes: number): void {
    this.#discarded += bytes;
    if (this.#discarded > LINGER_BYTES) this.destroy();
  }

  /** Ends both directions at once. */
  destroy(): void {
    const reason = new ConnectionError("cancelled", "the connection is over");
    this.#context.channel.destroy(reason);
  }
}
