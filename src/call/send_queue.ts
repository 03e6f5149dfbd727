/**
 * The calls that wait for the peer's window, and what makes them wait.
 *
 * - Requests are written in the order in which they enter: while one waits, so
 *   do all behind it. Urgent calls have a queue of their own, which goes first;
 *   they wait for none of the others, only for each other.
 * - Calls that wait are bounded by `maxQueuedCalls` and `maxQueuedBytes`; what
 *   is sent, by the peer's window and by half of the send buffer, whichever is
 *   less. Calls that are not urgent also wait while more is to be written than
 *   the transport takes in about 8 ms: urgent ones would wait behind that.
 * - A peer that begins to close receives those that wait, as its window allows,
 *   and then a LAST: no request follows it.
 * - A call that can never be sent fails at once, or when the peer's HELLO shows
 *   it. A window that the peer lowers later makes calls wait, and fails none.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { ConnectionError } from "../base/errors.ts";
import { LinkedList } from "../base/linked_list.ts";
import { ReadySignal } from "../base/promises.ts";
import type { CallWindow, Limits, PeerHello } from "../types/connection.ts";
import type { Codec } from "../wire/codec.ts";
import type { FrameBuffer } from "../wire/frame_buffer.ts";
import { MAX_WHOLE } from "../wire/protocol.ts";
import { type Call, type QueuedCall, sizeOf } from "./call.ts";
import {
  deadlineError,
  noServicesError,
  queueFullError,
  unavailableError,
} from "./errors.ts";
import type { InFlightCalls } from "./in_flight.ts";
import type { CallSettler } from "./settle.ts";

/** What the queue needs of its connection. */
export interface SendQueueContext {
  readonly codec: Codec;
  readonly sendBuffer: FrameBuffer;
  readonly clock: Clock;
  readonly limits: Limits;
}

/** Calls wait while so many times the `pace` of the send buffer is to be written. (With one, a burst of small calls on a busy side waits for the next batch.) */
const BATCHES = 4;

/** For how many turns of the event loop a little room is kept: others may take it meanwhile, and calls that wait must not starve. */
const MAX_PATIENCE = 16;

/** What stands between the calls of one connection and the table of those in flight. */
export class SendQueue {
  readonly #calls = new LinkedList<QueuedCall>();
  readonly #urgent = new LinkedList<QueuedCall>();
  /** How many calls wait for the window. */
  #queued = 0;
  /** Calls that wait for the results that they refer to. They enter the queue when they have them. */
  readonly held = new LinkedList<QueuedCall>();
  /** The bytes of the calls that wait. */
  bytes = 0;
  /** Whether the peer takes no request any more: not even one that it has refused is sent again. */
  ended = false;
  readonly #context: SendQueueContext;
  readonly #inFlight: InFlightCalls;
  readonly #settler: CallSettler;
  readonly #ready = new ReadySignal();
  /** Why no new call is accepted: this side closes, the peer went away, or the connection is over. */
  #refusal: ConnectionError | undefined;
  /** Whether the peer, which closes, is to receive a LAST. */
  #owesLast = false;
  /** Whether HELLO has to say first how calls are encoded. */
  #undecided: boolean | undefined;
  /** Whether calls wait a turn for more room. */
  #patient = false;

  constructor(
    context: SendQueueContext,
    inFlight: InFlightCalls,
    settler: CallSettler,
  ) {
    this.#context = context;
    this.#undecided = context.codec.undecided;
    this.#inFlight = inFlight;
    this.#settler = settler;
  }

  /** How many calls there is room for; minus the number of calls that wait, if any do. */
  get desiredSize(): number {
    const queued = this.#queued;
    if (queued > 0) return -queued;
    const refuses = this.#refusal !== undefined || !this.#bufferHasRoom();
    return refuses ? 0 : this.#inFlight.window.free;
  }

  /** How many calls wait, for the window or for results. */
  get length(): number {
    return this.#queued + this.held.length;
  }

  /** The calls that wait: those for the window in the order in which they will be sent, then those for results. */
  all(): QueuedCall[] {
    return [...this.#urgent.all(), ...this.#calls.all(), ...this.held.all()];
  }

  get #first(): QueuedCall | undefined {
    return this.#urgent.first ?? this.#calls.first;
  }

  #queueOf({ call, held }: QueuedCall): LinkedList<QueuedCall> {
    if (held) return this.held;
    return call.extra?.urgent ? this.#urgent : this.#calls;
  }

  /** Resolves when there is room; rejects once no call is accepted any more. */
  get ready(): Promise<void> {
    return this.#ready.wait(this.#hasRoom());
  }

  /**
   * Sends a call whose payload is prepared, or lets it wait. One that is held
   * waits for the results that it refers to.
   *
   * @throws {RpcError} If the call is not accepted.
   */
  enter(call: Call, held: boolean): void {
    if (this.#refusal !== undefined) throw unavailableError(this.#refusal);
    const { extra, size } = call;
    const { codec, clock, limits, sendBuffer } = this.#context;
    if (extra !== undefined) {
      if (extra.expiresAt <= clock.now()) throw deadlineError(call.outcome);
      extra.streams?.checkFit();
    }
    this.#inFlight.window.checkFit(size);
    if (size > sendBuffer.most) {
      throw queueFullError(
        `a call of ${size} bytes exceeds maxSendBuffer, ${limits.maxSendBuffer} bytes`,
      );
    }
    const isNext = this.#queued === 0 ||
      extra !== undefined && extra.urgent && this.#urgent.length === 0;
    if (!held && isNext && this.#canSend(call)) {
      this.#inFlight.send(call);
      return;
    }
    const { maxQueuedCalls, maxQueuedBytes } = limits;
    const { length } = this;
    if (length >= maxQueuedCalls || this.bytes + size > maxQueuedBytes) {
      throw queueFullError(
        `${length} calls of ${this.bytes} bytes wait already`,
      );
    }
    this.push(call, held ? undefined : codec.savePrepared(), held);
  }

  /** Lets an accepted call wait. */
  push(call: Call, draft: unknown, held: boolean): void {
    call.waiting = { call, draft, held, previous: undefined, next: undefined };
    this.#queueOf(call.waiting).push(call.waiting);
    if (!held) this.#queued++;
    this.bytes += call.size;
  }

  /** Takes out a call that waits; returns its payload. */
  remove(call: Call): unknown {
    const waiting = call.waiting as QueuedCall;
    call.waiting = undefined;
    this.#queueOf(waiting).remove(waiting);
    if (!waiting.held) this.#queued--;
    this.bytes -= call.size;
    // Later: the call itself may be written first.
    if (this.#owesLast) queueMicrotask(() => this.#sendLast());
    return waiting.draft;
  }

  #canSend({ size, extra }: Call): boolean {
    const streams = extra?.streams;
    const urgent = extra !== undefined && extra.urgent;
    const { sendBuffer } = this.#context;
    const { window, cutting } = this.#inFlight;
    // Between the fragments of a request only urgent ones pass, in one piece.
    if (cutting && !(urgent && size <= MAX_WHOLE)) return false;
    return !this.#undecided && window.canSend(size, urgent) &&
      this.#bufferHasRoom(urgent) &&
      sendBuffer.size + size <= sendBuffer.most &&
      (streams === undefined || streams.canSend);
  }

  #hasRoom(): boolean {
    return this.#queued === 0 && this.#inFlight.window.free > 0 &&
      this.#bufferHasRoom();
  }

  /** However large a window the peer grants, local calls never overflow the send buffer. */
  #bufferHasRoom(urgent = false): boolean {
    const { sendBuffer, limits } = this.#context;
    const { size, ahead, pace } = sendBuffer;
    return size < limits.maxSendBuffer / 2 &&
      (urgent || ahead < BATCHES * pace);
  }

  /**
   * Sends calls that wait and now fit, and wakes `ready`, as soon as there is a
   * good deal of room. Called once per chunk read, not once per reply.
   *
   * A little room is used only once no reply has come for a turn of the event
   * loop. Otherwise two busy sides settle into passing each other a few calls
   * at a time (measured over TCP on Deno: 18 calls a chunk).
   */
  flushQueue(): void {
    if (this.#queued === 0 && !this.#ready.waited) return;
    const { roomy } = this.#inFlight.window;
    if (roomy || this.#urgent.length > 0) this.sendWaiting();
    else if (!this.#patient) this.#waitForMore();
  }

  async #waitForMore(): Promise<void> {
    this.#patient = true;
    const { window } = this.#inFlight;
    for (let turns = 0; turns < MAX_PATIENCE && !window.roomy; turns++) {
      const { calls } = window;
      await this.#context.clock.turn();
      if (window.calls === calls) break;
    }
    this.#patient = false;
    this.sendWaiting();
  }

  /** Sends calls that wait and now fit, and wakes `ready`. */
  sendWaiting(): void {
    const { clock, codec } = this.#context;
    let call: Call | undefined;
    while ((call = this.#first?.call) !== undefined) {
      if (!this.#canSend(call)) break;
      const draft = this.remove(call);
      try {
        const { extra } = call;
        if (extra !== undefined && extra.expiresAt <= clock.now()) {
          throw deadlineError(call.outcome);
        }
        codec.restorePrepared(draft);
      } catch (error) {
        this.#settler.fail(call, call.outcome, error);
        continue;
      }
      this.#inFlight.send(call);
    }
    if (this.#ready.waited && this.#hasRoom()) this.#ready.wake();
    this.#sendLast();
  }

  // How a connection begins and ends.

  /** The peer grants its window. Calls that can never fit fail. */
  onHello(hello: PeerHello): void {
    const { codec } = this.#context;
    const { window } = this.#inFlight;
    const undecided = this.#undecided;
    this.#undecided = false;
    window.onHello(hello);
    for (const entry of this.all()) {
      const { call, held } = entry;
      // One that is held is encoded, and checked, when it has its results.
      if (held) continue;
      // User code that ran when another call was settled may have ended it.
      if (call.waiting !== entry) continue;
      try {
        if (undecided) {
          // What it is encoded with is known now, and so is its size.
          codec.restorePrepared(entry.draft);
          const size = sizeOf(codec, call);
          entry.draft = codec.savePrepared();
          this.bytes += size - call.size;
          call.size = size;
        }
        window.checkFit(call.size);
        call.extra?.streams?.checkFit();
      } catch (error) {
        this.remove(call);
        this.#settler.fail(call, "not_sent", error);
      }
    }
    if (hello.windowCalls === 0) this.#ready.close(noServicesError);
    this.flushQueue();
  }

  /** The peer moves its window. The ACK is written behind all requests that were sent within the old one. */
  onWindow(id: number, window: CallWindow): void {
    const { codec, sendBuffer } = this.#context;
    this.#inFlight.window.move(id, window, sendBuffer.batch);
    codec.window?.(sendBuffer, id, window, true);
  }

  /** Accepts no call from now on. The first reason stays. With `last` the peer receives a LAST when no call waits any more. */
  refuseNew(reason: ConnectionError, last = false): void {
    const refusal = this.#refusal ??= reason;
    this.#ready.close(() => unavailableError(refusal));
    this.#owesLast ||= last;
    this.#sendLast();
  }

  #sendLast(): void {
    if (!this.#owesLast || this.length > 0 || this.#inFlight.cutting) return;
    this.#owesLast = false;
    this.ended = true;
    this.#context.codec.last?.(this.#context.sendBuffer);
  }

  /** No call will be sent any more: those that wait fail. */
  failOnConnectionLoss(reason: ConnectionError): void {
    this.#owesLast = false;
    this.refuseNew(reason);
    this.ended = true;
    // One at a time: to settle a call may run user code, which may end others.
    let entry: QueuedCall | undefined;
    while ((entry = this.#first ?? this.held.first) !== undefined) {
      const { call } = entry;
      this.remove(call);
      this.#settler.failOnConnectionLoss(call, call.outcome, reason);
    }
  }
}
