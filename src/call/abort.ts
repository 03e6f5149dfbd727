/**
 * What an abort, a deadline or a lost caller does to a call, and what the peer
 * is sent.
 *
 * A call that waits is taken out of the queue, and one in the batch that is
 * filling is taken back: the peer never learns of either. A call that the peer
 * may know of gets a CANCEL, and keeps its slot until the peer has answered.
 *
 * @module
 */

import type { Outcome } from "../base/errors.ts";
import type { Codec, WireFeatures } from "../wire/codec.ts";
import type { FrameBuffer } from "../wire/frame_buffer.ts";
import type { Call } from "./call.ts";
import type { InFlightCalls } from "./in_flight.ts";
import type { SendQueue } from "./send_queue.ts";
import type { CallSettler } from "./settle.ts";

/** What aborting needs of its connection. */
export interface CallAborterContext {
  readonly codec: Codec;
  readonly sendBuffer: FrameBuffer;
}

/** Ends calls before their reply. */
export class CallAborter {
  readonly #context: CallAborterContext;
  readonly #queue: SendQueue;
  readonly #inFlight: InFlightCalls;
  readonly #settler: CallSettler;

  constructor(
    context: CallAborterContext,
    queue: SendQueue,
    inFlight: InFlightCalls,
    settler: CallSettler,
  ) {
    this.#context = context;
    this.#queue = queue;
    this.#inFlight = inFlight;
    this.#settler = settler;
  }

  /** Rejects the caller now, and notifies the peer if it may know of the call. */
  abandon(call: Call, reason: (outcome: Outcome) => unknown): void {
    switch (call.state) {
      case "waiting":
        this.#queue.remove(call);
        break;
      case "sent":
        if (this.#inFlight.retract(call)) break;
        this.#cancel(call, "unknown", reason("unknown"));
        return;
      case "streaming":
        this.#cancel(call, "executed", reason("executed"));
        return;
      case "abandoned":
      case "done":
        return;
    }
    // It may have been sent before, and refused.
    const { outcome } = call;
    this.#settler.settle(call, outcome, true, reason(outcome));
  }

  /** Abandons a call that the peer knows of. It keeps its slot until the peer has answered, or has ended the stream that the caller has. */
  #cancel(call: Call, outcome: Outcome, reason: unknown): void {
    const { extra } = call;
    call.state = "abandoned";
    if (extra !== undefined) this.#settler.unwatch(call, extra);
    const cancel = this.sendCancel(call);
    if (outcome === "unknown") {
      call.settle(outcome, true, reason);
      if (cancel === "silent") {
        this.#inFlight.dropOnFlush(call);
        this.#settler.finish(call, outcome);
      }
    }
    extra?.streams?.release(reason);
  }

  /** Sends CANCEL if the protocol has it, and returns what the peer does with it. */
  sendCancel(call: Call): WireFeatures["cancel"] {
    const { codec, sendBuffer } = this.#context;
    const { cancel } = codec.features;
    if (cancel !== "none") codec.cancel(sendBuffer, call.seq >>> 0);
    return cancel;
  }
}
