/**
 * I am here: answers to the peer's PINGs.
 *
 * Invariant owned here: at most one PONG a batch, for the latest PING, so that
 * a flood of them costs nothing.
 *
 * @module
 */

import type { Codec } from "../wire/codec.ts";
import type { Outbox } from "./send_buffer.ts";

/** The PONGs of one connection. */
export class Pongs {
  readonly #codec: Codec;
  readonly #outbox: Outbox;
  /** The batch that has a PONG already, and the id a further one is due for. */
  #batch = -1;
  #due: number | undefined;

  constructor(codec: Codec, outbox: Outbox) {
    this.#codec = codec;
    this.#outbox = outbox;
  }

  /** Answers a PING: now, or with the next batch. */
  answer(id: number): void {
    if (this.#batch === this.#outbox.batch) this.#due = id;
    else {
      this.#codec.pong(this.#outbox, id);
      this.#batch = this.#outbox.batch;
    }
  }

  /** A batch has gone: what is due goes with the next. */
  batchHandedOver(): void {
    if (this.#due === undefined) return;
    const id = this.#due;
    this.#due = undefined;
    this.answer(id);
  }

  /** What is due is not sent any more. */
  discard(): void {
    this.#due = undefined;
  }
}
