/**
 * The calls that occupy the peer's window: written into the batch that is
 * filling, or flushed and not answered.
 *
 * - A call occupies its slot from entering the batch until its answer is read,
 *   also if its caller was notified meanwhile. One that was taken back from its
 *   batch occupies it until that batch is flushed: so call-then-abort in a loop
 *   is bounded by the window, too.
 * - Only a call that was flushed can be answered. One whose request is written
 *   in fragments counts as flushed when its last fragment is.
 * - While a request is written in fragments, no other request begins but urgent
 *   ones that need none.
 *
 * @module
 */

import { NO_BYTES } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import type { PeerHello } from "../types/connection.ts";
import type { Codec, RequestExtras } from "../wire/codec.ts";
import { FLAG_URGENT } from "../wire/frame.ts";
import type { FrameBuffer, LargeMessage } from "../wire/frame_buffer.ts";
import type { WriteScheduler } from "../wire/fragments/write_scheduler.ts";
import type { Call, CallExtras } from "./call.ts";
import { CallTable } from "./call_table.ts";
import { SendWindow } from "./send_window.ts";

/** What the calls in flight need of their connection. */
export interface InFlightCallsContext {
  readonly codec: Codec;
  readonly sendBuffer: FrameBuffer;
  readonly scheduler: WriteScheduler | undefined;
  readonly clock: Clock;
}

/** The table of calls in flight, and the window that they fill. */
export class InFlightCalls extends CallTable<Call> {
  readonly window: SendWindow;
  /** Whether a request is being written in fragments. */
  cutting = false;
  readonly #context: InFlightCallsContext;
  /** Called when none is any more. */
  readonly #resume: () => void;
  /** The first count of the batch that is filling: ids are handed out in the order of writing. */
  #batchStart: number;
  readonly #firstId: number;
  /** Requests taken back from the batch that is filling. */
  #retractedCalls = 0;
  #retractedBytes = 0;
  /** Calls of that batch of which somebody awaits the flush. */
  #awaited: Call[] = [];
  /** Calls whose last fragment is in that batch. */
  #completed: Call[] = [];

  constructor(
    context: InFlightCallsContext,
    firstId: number,
    resume: () => void,
  ) {
    super(firstId);
    this.#context = context;
    this.#resume = resume;
    this.#firstId = this.#batchStart = firstId;
    this.window = new SendWindow(context.codec);
  }

  /** Registers a call, then writes it with the prepared payload. */
  send(call: Call): void {
    const { codec, sendBuffer, clock } = this.#context;
    this.add(call);
    this.window.acquire(call.size);
    call.state = "sent";
    const { extra } = call;
    let remaining = -1;
    if (extra !== undefined) {
      if (extra.expiresAt !== Infinity) {
        const left = Math.ceil(extra.expiresAt - clock.now());
        remaining = Math.min(0xffffffff, Math.max(1, left));
      }
      if (extra.sent !== undefined || extra.streams !== undefined) {
        this.resolveOnFlush(call);
      }
      extra.streams?.markBody();
    }
    const id = call.seq >>> 0;
    codec.request(
      sendBuffer,
      id,
      call.method,
      remaining,
      extra?.metadata,
      extra === undefined ? undefined : extrasOf(extra, this.window.granted),
    );
    call.batchOffset = sendBuffer.batchOffset;
    if (sendBuffer.large !== undefined) this.#cut(call, sendBuffer.large);
    extra?.streams?.onWritten(id);
  }

  /** The request is written in fragments. */
  #cut(call: Call, message: LargeMessage): void {
    const { sendBuffer, scheduler } = this.#context;
    sendBuffer.large = undefined;
    call.extras().large = message;
    this.cutting = true;
    message.onEnd = () => {
      this.cutting = false;
      this.#completed.push(call);
      this.#resume();
    };
    scheduler?.add(message);
  }

  /** The call of this id that was flushed and is not over. */
  live(id: number): Call | undefined {
    const call = this.get(id);
    return call !== undefined && this.flushed(call) ? call : undefined;
  }

  /** The same, if it has no answer yet. */
  unanswered(id: number): Call | undefined {
    const call = this.live(id);
    return call?.extra?.streams?.reader ? undefined : call;
  }

  /** Whether a call with this id was flushed, or could have been. */
  used(id: number): boolean {
    const last = this.lastFlushed;
    return last >= this.#firstId && ((id - last) | 0) <= 0;
  }

  /** Takes a call out and frees its slot now. */
  drop(call: Call): void {
    this.window.release(1, call.size);
    this.#remove(call);
  }

  /** Takes a call out; its slot is free when the batch that is filling is flushed. */
  dropOnFlush(call: Call): void {
    this.#retractedCalls++;
    this.#retractedBytes += call.size;
    this.#remove(call);
  }

  #remove(call: Call): void {
    this.remove(call);
    if (call.extra !== undefined) call.extra.large = undefined;
    call.extra?.streams?.close();
  }

  /** Takes a request back, if it is still in the batch that is filling. */
  retract(call: Call): boolean {
    const { codec, sendBuffer, scheduler } = this.#context;
    if (this.flushed(call)) return false;
    const large = call.extra?.large;
    if (large !== undefined) {
      if (scheduler?.abort(large)) {
        this.cutting = false;
        // Later: the code that gives this call up is not done yet.
        queueMicrotask(this.#resume);
      }
    } else if (!codec.retract(sendBuffer, call.batchOffset)) return false;
    this.dropOnFlush(call);
    return true;
  }

  /** Takes out the request with this id, which the flush must not send; undefined if it was taken back. */
  spoil(id: number): Call | undefined {
    const call = this.get(id);
    if (call === undefined || this.flushed(call)) return undefined;
    this.dropOnFlush(call);
    return call;
  }

  /** The count of the last call whose batch was flushed. */
  get lastFlushed(): number {
    return this.#batchStart - 1;
  }

  /** Whether the batch that a call was written into was flushed. */
  flushed(call: Call): boolean {
    return call.seq >= 0 && call.seq < this.#batchStart &&
      call.extra?.large === undefined;
  }

  /** Calls `call.extra.sent` when the batch that is filling is flushed. */
  resolveOnFlush(call: Call): void {
    this.#awaited.push(call);
  }

  /** A batch was flushed, or never will be: what was taken back from it frees its slots. */
  freeRetracted(): void {
    this.window.release(this.#retractedCalls, this.#retractedBytes);
    this.#retractedCalls = this.#retractedBytes = 0;
  }

  /** A batch was flushed. */
  onFlush(): void {
    this.#batchStart = this.last + 1;
    this.freeRetracted();
    if (this.#completed.length > 0) this.#complete();
    if (this.#awaited.length === 0) return;
    const awaited = this.#awaited;
    this.#awaited = [];
    for (const call of awaited) {
      // One that was taken back is not sent, though another connection may
      // have given it an id by now.
      if (this.get(call.seq >>> 0) !== call) continue;
      if (!this.flushed(call)) {
        this.#awaited.push(call);
        continue;
      }
      call.extra?.sent?.(true);
      call.extra?.streams?.start();
    }
  }

  /** The last fragments of some calls were flushed. */
  #complete(): void {
    for (const { seq } of this.#completed) {
      const extra = this.get(seq >>> 0)?.extra;
      if (extra !== undefined) extra.large = undefined;
    }
    this.#completed = [];
  }
}

/** What the request has besides, if anything. */
function extrasOf(
  { links, urgent }: CallExtras,
  peer: PeerHello,
): RequestExtras | undefined {
  const extras = links?.fields(peer);
  if (!urgent) return extras;
  const { flags = 0, block = NO_BYTES } = extras ?? {};
  return { flags: flags | FLAG_URGENT, block };
}
