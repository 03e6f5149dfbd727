/**
 * PING and PONG of one connection, in both directions.
 *
 * Bound: at most one PONG goes into a batch. A peer that floods PINGs makes the
 * send buffer grow by one frame for each batch, not for each PING.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { ConnectionError } from "../base/errors.ts";
import { unavailableError } from "../call/errors.ts";
import type { Codec } from "../wire/codec.ts";
import type { FrameBuffer } from "../wire/frame_buffer.ts";

/** A PING that has no PONG yet. */
interface SentPing {
  readonly id: number;
  readonly at: number;
  readonly rtt: PromiseWithResolvers<number>;
}

/** What PINGs need of their connection. */
export interface PingContext {
  readonly codec: Codec;
  readonly sendBuffer: FrameBuffer;
  readonly clock: Clock;
}

/** Sends PINGs, and answers those of the peer. */
export class Ping {
  /** Milliseconds from the latest answered PING to its PONG. */
  rtt: number | undefined;
  readonly #context: PingContext;
  #sent: SentPing[] = [];
  #lastId = 0;
  /** The batch that has a PONG already, and the id that the next one answers. */
  #batch = -1;
  #due: number | undefined;
  #over: ConnectionError | undefined;

  constructor(context: PingContext) {
    this.#context = context;
  }

  /** Sends a PING. Resolves with the round-trip time in ms; rejects if the connection ends first. */
  send(): Promise<number> {
    const rtt = Promise.withResolvers<number>();
    rtt.promise.catch(() => {});
    if (this.#over !== undefined) rtt.reject(unavailableError(this.#over));
    else {
      this.probe();
      this.#sent.push({ id: this.#lastId, at: this.#context.clock.now(), rtt });
    }
    return rtt.promise;
  }

  /** Sends a PING without waiting for its PONG: to a peer that only reads, where all that counts is whether writing succeeds. */
  probe(): void {
    const { codec, sendBuffer } = this.#context;
    this.#lastId = (this.#lastId + 1) >>> 0;
    codec.ping(sendBuffer, this.#lastId);
  }

  /** A PONG has arrived. One that answers no PING is ignored. */
  onPong(id: number): void {
    if (this.#sent.length === 0) return;
    // Ids count up, so the PING is found without a search.
    const last = (id - this.#sent[0].id) >>> 0;
    if (last >= this.#sent.length) return;
    const now = this.#context.clock.now();
    this.rtt = now - this.#sent[last].at;
    for (const { at, rtt } of this.#sent.splice(0, last + 1)) {
      rtt.resolve(now - at);
    }
  }

  /** A PING has arrived: answers it now, or in the next batch. */
  onPing(id: number): void {
    const { codec, sendBuffer } = this.#context;
    if (this.#batch === sendBuffer.batch) this.#due = id;
    else {
      codec.pong(sendBuffer, id);
      this.#batch = sendBuffer.batch;
    }
  }

  /** A batch was handed to the transport: a PONG that waited goes into the next one. */
  onFlush(): void {
    if (this.#due === undefined) return;
    const id = this.#due;
    this.#due = undefined;
    this.onPing(id);
  }

  /** Drops a PONG that waits for the next batch. */
  discard(): void {
    this.#due = undefined;
  }

  /** The connection is over: no PONG will come. */
  end(reason: ConnectionError): void {
    this.#over = reason;
    for (const { rtt } of this.#sent) rtt.reject(unavailableError(reason));
    this.#sent = [];
  }
}
