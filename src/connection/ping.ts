/**
 * Are you there? PINGs, and the round-trip time their PONGs tell.
 *
 * Invariants owned here:
 * - A PONG answers the PING it names and all before it: a peer sends at most
 *   one a batch, for the latest.
 * - A `ping` nobody waits for is never reported as unhandled.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { Codec } from "../wire/codec.ts";
import type { ConnectionError } from "../base/errors.ts";
import type { SendBuffer } from "./send_buffer.ts";
import { unavailableError } from "../call/errors.ts";

interface Sent {
  readonly id: number;
  readonly at: number;
  readonly answer: PromiseWithResolvers<number>;
}

/** The PINGs of one connection. */
export class Pings {
  /** Milliseconds from the latest answered PING to its PONG. */
  rtt: number | undefined;
  readonly #codec: Codec;
  readonly #sendBuffer: SendBuffer;
  readonly #clock: Clock;
  #sent: Sent[] = [];
  #lastId = 0;
  #over: ConnectionError | undefined;

  constructor(codec: Codec, sendBuffer: SendBuffer, clock: Clock) {
    this.#codec = codec;
    this.#sendBuffer = sendBuffer;
    this.#clock = clock;
  }

  /** Sends one; resolves with the round-trip time in ms, rejects if the connection ends first. */
  send(): Promise<number> {
    const answer = Promise.withResolvers<number>();
    answer.promise.catch(() => {});
    if (this.#over !== undefined) answer.reject(unavailableError(this.#over));
    else {
      const id = this.#lastId = (this.#lastId + 1) >>> 0;
      this.#sent.push({ id, at: this.#clock.now(), answer });
      this.#codec.ping(this.#sendBuffer, id);
    }
    return answer.promise;
  }

  /** Sends one that nobody waits for: to a peer that only reads, where all that counts is whether it can be written. */
  probe(): void {
    const id = this.#lastId = (this.#lastId + 1) >>> 0;
    this.#codec.ping(this.#sendBuffer, id);
  }

  /** The peer has answered. A PONG for no PING of ours is nobody's. */
  pong(id: number): void {
    if (this.#sent.length === 0) return;
    // Ids count up, so that one nobody sent needs no search.
    const last = (id - this.#sent[0].id) >>> 0;
    if (last >= this.#sent.length) return;
    const now = this.#clock.now();
    this.rtt = now - this.#sent[last].at;
    for (const { at, answer } of this.#sent.splice(0, last + 1)) {
      answer.resolve(now - at);
    }
  }

  /** No PONG comes any more. */
  end(reason: ConnectionError): void {
    this.#over = reason;
    for (const { answer } of this.#sent) {
      answer.reject(unavailableError(reason));
    }
    this.#sent = [];
  }
}

/** The PONGs of one connection. */
export class Pongs {
  readonly #codec: Codec;
  readonly #sendBuffer: SendBuffer;
  /** The batch that has a PONG already, and the id a further one is due for. */
  #batch = -1;
  #due: number | undefined;

  constructor(codec: Codec, sendBuffer: SendBuffer) {
    this.#codec = codec;
    this.#sendBuffer = sendBuffer;
  }

  /** Answers a PING: now, or with the next batch. */
  answer(id: number): void {
    if (this.#batch === this.#sendBuffer.batch) this.#due = id;
    else {
      this.#codec.pong(this.#sendBuffer, id);
      this.#batch = this.#sendBuffer.batch;
    }
  }

  /** A batch has gone: what is due goes with the next. */
  onFlush(): void {
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
