/**
 * When a call of ours may be sent.
 *
 * Invariants owned here:
 * - Requests are written in the order they enter: while one waits, so do all
 *   behind it.
 * - What waits is bounded by the queue; what was sent, by the peer's window and
 *   by half of the outbox, whichever is less.
 * - A call that can never be sent is told so at once, or when the peer's HELLO
 *   says so.
 *
 * @module
 */

import type { Call, CallExtras, QueuedCall } from "./call.ts";
import type { Clock } from "../base/clock.ts";
import type { Codec } from "../wire/codec.ts";
import type { Limits, PeerHello } from "../types/connection.ts";
import type { ConnectionError } from "../base/errors.ts";
import type { CallSettler } from "./settle.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import type { FrameBuffer } from "../wire/frame_buffer.ts";

import { ReadySignal } from "../base/promises.ts";
import {
  deadlineError,
  noServicesError,
  queueFullError,
  unavailableError,
} from "./errors.ts";
import type { InFlightCalls } from "./in_flight.ts";
import { LinkedList } from "../base/linked_list.ts";

/** What the gate needs of its connection. */
export interface SendQueueContext {
  readonly codec: Codec;
  readonly sendBuffer: FrameBuffer;
  readonly clock: Clock;
  readonly limits: Limits;
}

/** Turns of the event loop that a little room is kept for: others may take it meanwhile, and whoever waits must not starve. */
const MAX_PATIENCE = 16;

/** What stands between the calls of one connection and the table of sent ones. */
export class SendQueue {
  readonly #context: SendQueueContext;
  readonly #queue: QueuedCalls;
  readonly #sent: InFlightCalls;
  readonly #settler: CallSettler;
  readonly #ready = new ReadySignal();
  /** Why no new call is taken: we are closing, the peer went away, or it is over. */
  #refusal: ConnectionError | undefined;
  /** What waits is given a turn's time for more room to come. */
  #patient = false;

  constructor(
    context: SendQueueContext,
    sent: InFlightCalls,
    settler: CallSettler,
  ) {
    const { maxQueuedCalls, maxQueuedBytes } = context.limits;
    this.#context = context;
    this.#queue = new QueuedCalls(maxQueuedCalls, maxQueuedBytes);
    this.#sent = sent;
    this.#settler = settler;
  }

  /** Calls that wait. */
  get length(): number {
    return this.#queue.length;
  }

  /** Their bytes. */
  get bytes(): number {
    return this.#queue.bytes;
  }

  /** All of them, in order. */
  all(): Call[] {
    return this.#queue.all();
  }

  /** How many calls there is room for; negative by those that wait for it already. */
  get desiredSize(): number {
    const { length } = this.#queue;
    if (length > 0) return -length;
    if (this.#refusal !== undefined || !this.#outboxHasRoom()) return 0;
    return this.#sent.window.free;
  }

  /** Resolves when there is room; rejects once no call is taken any more. */
  get ready(): Promise<void> {
    return this.#ready.wait(this.#hasRoom());
  }

  /**
   * Sends a call whose payload is prepared, or has it wait.
   *
   * @throws {RpcError} Why it is not taken at all; or what it was aborted with.
   */
  enter(call: Call): void {
    if (this.#refusal !== undefined) throw unavailableError(this.#refusal);
    const { extra } = call;
    if (extra !== undefined) {
      throwIfAborted(extra);
      if (extra.expiresAt <= this.#context.clock.now()) {
        throw deadlineError("not_sent");
      }
      extra.streams?.checkFit();
    }
    this.#sent.window.checkFit(call.size);
    const { sendBuffer, limits } = this.#context;
    if (call.size > sendBuffer.most) {
      throw queueFullError(
        `a call of ${call.size} bytes; maxSendBuffer, ${limits.maxSendBuffer} bytes, has no room for it`,
      );
    }
    if (this.#queue.length === 0 && this.#canSend(call)) this.#send(call);
    else {
      this.#queue.checkRoom(call.size);
      this.#queue.push(call, this.#context.codec.savePrepared());
    }
  }

  /** Takes out a call that waits. */
  remove(call: Call): void {
    this.#queue.remove(call);
  }

  #canSend(call: Call): boolean {
    const streams = call.extra?.streams;
    const { sendBuffer } = this.#context;
    return this.#sent.window.canSend(call.size) && this.#outboxHasRoom() &&
      sendBuffer.size + call.size <= sendBuffer.most &&
      (streams === undefined || streams.canSend);
  }

  #hasRoom(): boolean {
    return this.#queue.length === 0 && this.#sent.window.open &&
      this.#outboxHasRoom();
  }

  /** However large a window the peer grants, our own calls never overflow the outbox. */
  #outboxHasRoom(): boolean {
    const { sendBuffer, limits } = this.#context;
    return sendBuffer.size < limits.maxSendBuffer / 2;
  }

  /** Writes what is prepared. */
  #send(call: Call): void {
    const { extra } = call;
    let remaining = -1;
    let metadata: MetadataBlock | undefined;
    if (extra !== undefined) {
      metadata = extra.metadata;
      if (extra.expiresAt !== Infinity) {
        const left = Math.ceil(extra.expiresAt - this.#context.clock.now());
        remaining = Math.min(0xffffffff, Math.max(1, left));
      }
    }
    this.#sent.send(call, remaining, metadata);
  }

  /**
   * Sends what waits and now fits, and wakes `ready`, as soon as there is a good
   * deal of room. Called once per chunk read, not once per reply.
   *
   * A little room is given away only once no answer has come for a turn of the
   * event loop. Else two busy ends settle into passing each other a few calls
   * at a time (measured over TCP on Deno: 18 calls a chunk).
   */
  flushQueue(): void {
    if (this.#queue.length === 0 && !this.#ready.waited) return;
    if (this.#sent.window.roomy) this.#release();
    else if (!this.#patient) this.#waitForMore();
  }

  async #waitForMore(): Promise<void> {
    this.#patient = true;
    const { window } = this.#sent;
    for (let turns = 0; turns < MAX_PATIENCE && !window.roomy; turns++) {
      const { calls } = window;
      await this.#context.clock.turn();
      if (window.calls === calls) break;
    }
    this.#patient = false;
    this.#release();
  }

  #release(): void {
    const { clock } = this.#context;
    let call: Call | undefined;
    while ((call = this.#queue.first) !== undefined && this.#canSend(call)) {
      const draft = this.#queue.remove(call);
      const { extra } = call;
      if (extra !== undefined && extra.expiresAt <= clock.now()) {
        this.#settler.fail(call, "not_sent", deadlineError("not_sent"));
      } else {
        this.#sendDraft(call, draft);
      }
    }
    if (this.#ready.waited && this.#hasRoom()) this.#ready.wake();
  }

  #sendDraft(call: Call, draft: unknown): void {
    try {
      this.#context.codec.restorePrepared(draft);
    } catch (error) {
      this.#settler.settle(call, "not_sent", true, error);
      return;
    }
    this.#send(call);
  }

  // Openings and endings.

  /** The peer has said what it grants. Calls that can never fit are settled. */
  onHello(hello: PeerHello): void {
    const { window } = this.#sent;
    window.grant(hello);
    for (const call of this.#queue.all()) {
      try {
        window.checkFit(call.size);
        call.extra?.streams?.checkFit();
      } catch (error) {
        this.#queue.remove(call);
        this.#settler.fail(call, "not_sent", error);
      }
    }
    if (hello.windowCalls === 0) this.#ready.close(noServicesError);
    this.flushQueue();
  }

  /** Takes no new call from now on, and says why. The first reason stays. */
  refuseNew(reason: ConnectionError): void {
    const refusal = this.#refusal ??= reason;
    this.#ready.close(() => unavailableError(refusal));
  }

  /** No call will be sent any more: what waits is settled. */
  failOnConnectionLoss(reason: ConnectionError): void {
    this.refuseNew(reason);
    for (const call of this.#queue.all()) {
      this.#queue.remove(call);
      this.#settler.failOnConnectionLoss(call, "not_sent", reason);
    }
  }
}

/** Throws what a call was aborted with, if it was. */
export function throwIfAborted(extra: CallExtras): void {
  if (extra.signal?.aborted) throw extra.signal.reason;
  if (extra.inherited?.aborted) throw extra.inherited.reason;
}

/** A bounded queue of calls. */
export class QueuedCalls {
  readonly #calls = new LinkedList<QueuedCall>();
  #bytes = 0;
  readonly #maxCalls: number;
  readonly #maxBytes: number;

  constructor(maxCalls: number, maxBytes: number) {
    this.#maxCalls = maxCalls;
    this.#maxBytes = maxBytes;
  }

  get length(): number {
    return this.#calls.length;
  }

  /** Bytes of those that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The call that has waited longest. */
  get first(): Call | undefined {
    return this.#calls.first?.call;
  }

  /**
   * Looks whether a call of this size may wait.
   *
   * @throws {RpcError} `resource_exhausted`, if the queue is full.
   */
  checkRoom(size: number): void {
    const bytes = this.#bytes + size;
    if (this.#calls.length >= this.#maxCalls || bytes > this.#maxBytes) {
      throw queueFullError(
        `${this.#calls.length} calls of ${this.#bytes} bytes are waiting already`,
      );
    }
  }

  /** Enters a call, with its payload. */
  push(call: Call, draft: unknown): void {
    call.waiting = { call, draft, before: undefined, after: undefined };
    this.#calls.push(call.waiting);
    this.#bytes += call.size;
  }

  /** Takes out a call that is in; returns its payload. */
  remove(call: Call): unknown {
    const waiting = call.waiting as QueuedCall;
    call.waiting = undefined;
    this.#calls.remove(waiting);
    this.#bytes -= call.size;
    return waiting.draft;
  }

  /** All of them, in order; safe against changes meanwhile. */
  all(): Call[] {
    return this.#calls.all().map(({ call }) => call);
  }
}
