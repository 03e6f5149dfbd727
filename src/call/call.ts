/**
 * One call that this side makes: the entry of the pending table.
 *
 * - A call settles once: only the code that has just taken it out of the table
 *   or the queue (or abandoned it there) calls `settle`.
 * - What its handle was not asked for costs nothing: the promises of a handle
 *   are made when they are asked for.
 *
 * @module
 */

import type { Scope } from "../base/async_context.ts";
import { ticksSince } from "../base/clock.ts";
import { annotateError, type Outcome } from "../base/errors.ts";
import type { ListNode } from "../base/linked_list.ts";
import type { TimerEntry } from "../base/timers.ts";
import type { OutgoingStreams } from "../streams/contract.ts";
import type { PeerHello } from "../types/connection.ts";
import type { CallEnd } from "../types/observe.ts";
import type { LiveCall, LiveCallContext, LiveState } from "../types/stats.ts";
import type { Codec, RequestExtras } from "../wire/codec.ts";
import type { LargeMessage } from "../wire/frame_buffer.ts";
import type { MetadataBlock } from "../wire/metadata.ts";

/**
 * Where a call is. It moves to the right only: it is `waiting` for the window,
 * then `sent` (in the batch or flushed), then perhaps `streaming` (its caller
 * has the stream; its slot is occupied until that ends), then perhaps
 * `abandoned` (its caller was notified; its slot is occupied until the peer
 * answers), then `done`.
 */
export type CallState =
  | "waiting"
  | "sent"
  | "streaming"
  | "abandoned"
  | "done";

/** What only some calls have; the others do not pay for it. */
export interface CallExtras extends TimerEntry {
  /** Aborts the call; listened to while it is waiting or sent. */
  signal: AbortSignal | undefined;
  /** The signal of the handler that makes this call, likewise. */
  inherited: AbortSignal | undefined;
  /** Travels with the request. */
  metadata: MetadataBlock | undefined;
  /** Came with the reply. */
  replyMetadata: MetadataBlock | undefined;
  /** Its streams, if it has any. */
  streams: OutgoingStreams | undefined;
  /** What it has to do with the results of other calls, if anything. */
  links: CallLinks | undefined;
  /** Whether it goes ahead of calls that wait. */
  urgent: boolean;
  /** Its request, if that is written in fragments and the last of them was not flushed. */
  large: LargeMessage | undefined;
  /** Resolves the handle's `settled`. */
  settled: ((outcome: Outcome) => void) | undefined;
  /** Resolves the handle's `sent`. */
  sent: ((sent: boolean) => void) | undefined;
  /** Notified of the call's end, if there are observers. */
  observed: CallEnd | undefined;
  /** The async context in which its params are read, if they are a stream and that is not the one in which it is sent. */
  scope: Scope | undefined;
  /** Has the stack of the code that made the call, if its client captures stacks. */
  calledAt: Error | undefined;
}

/** What a call has to do with the results of others: made by `references.ts`. */
export interface CallLinks {
  /** The bytes that its references add to its request. 0 if it is held: it waits for the results, and not for the window. Undefined if it has none. */
  readonly size: number | undefined;
  /** The call is written in this turn, to a peer that has sent this HELLO. */
  fields(peer: PeerHello): RequestExtras | undefined;
  /** The peer has answered. */
  onAnswered(): void;
  /** The peer has refused it. Returns whether it was held back, to be sent again. */
  onRefused(code: string): boolean;
  /** Its caller has been notified. */
  onSettled(failed: boolean, result: unknown): void;
  /** It refers to no result any more. */
  drop(): void;
}

/** A failure that nobody has asked for yet. It has a class of its own, so that no result is taken for one. */
export class Rejection {
  readonly reason: unknown;

  constructor(reason: unknown) {
    this.reason = reason;
  }
}

/** A call that waits, with its payload. */
export interface QueuedCall extends ListNode<QueuedCall> {
  readonly call: Call;
  draft: unknown;
  /** Whether it waits for the results that it refers to, and not for the window. */
  readonly held: boolean;
}

/** What a {@linkcode CallTable} holds. */
export interface Numbered {
  /** The count that its id is made from; negative before there is one. */
  seq: number;
}

/**
 * An entry of the pending table: one object of one shape. A million of them may
 * be pending, so what few calls need, or none for long, is kept elsewhere.
 */
export class Call implements Numbered {
  seq = -1;
  state: CallState = "waiting";
  outcome: Outcome = "not_sent";
  readonly method: string;
  /** What it counts in the window. */
  size = 0;
  /** Where it stands in the batch it was written into. */
  batchOffset = 0;
  /** Its entry in the queue, while it waits. */
  waiting: QueuedCall | undefined = undefined;
  extra: CallExtras | undefined = undefined;
  /** The caller's promise; without one, the result or {@linkcode Rejection} is kept for the handle. */
  resolve: ((value: unknown) => void) | undefined = undefined;
  reject: ((reason: unknown) => void) | undefined = undefined;
  result: unknown = undefined;
  /** When it was made, as a tick of the clock (see `toTick`); 0 before. */
  startedAt = 0;

  constructor(method: string) {
    this.method = method;
  }

  /** Notifies the caller, who has not been notified yet. */
  settle(outcome: Outcome, failed: boolean, result: unknown): void {
    this.outcome = outcome;
    if (this.resolve === undefined) {
      this.result = failed ? new Rejection(result) : result;
    } else if (failed) this.reject?.(result);
    else this.resolve(result);
    this.extra?.links?.onSettled(failed, result);
    // A stream has only begun.
    if (this.extra !== undefined && !this.extra.streams?.reader) {
      this.#notifyObservers(outcome, failed, result);
    }
  }

  #notifyObservers(outcome: Outcome, failed: boolean, result: unknown): void {
    const { extra } = this;
    const observed = extra?.observed;
    if (extra === undefined || observed === undefined) return;
    extra.observed = undefined;
    observed.ended(outcome, failed, result);
  }

  /** The stream that its caller got has ended, with a failure if there is one. */
  endStream(failure: { readonly error: unknown } | undefined): void {
    this.state = "done";
    // If it was aborted meanwhile, its handle may have been asked only then.
    this.extra?.settled?.(this.outcome);
    this.#notifyObservers("executed", failure !== undefined, failure?.error);
  }

  /** Names this call in an error that the library has made for it. Never in the reason of an abort, which belongs to the caller. */
  annotate<T>(error: T): T {
    annotateError(error, this.method, this.extra?.calledAt);
    return error;
  }

  /** Its outcome is known, which ends its life, unless a stream lives on. */
  finish(outcome: Outcome, state: CallState = "done"): void {
    this.state = state;
    this.outcome = outcome;
    this.extra?.settled?.(outcome);
    this.extra?.sent?.(outcome !== "not_sent");
  }

  /** Its extras, made when first needed. */
  extras(): CallExtras {
    return this.extra ??= {
      expiresAt: Infinity,
      heapIndex: -1,
      onTimeout: nothing,
      signal: undefined,
      inherited: undefined,
      metadata: undefined,
      replyMetadata: undefined,
      streams: undefined,
      links: undefined,
      urgent: false,
      large: undefined,
      settled: undefined,
      sent: undefined,
      observed: undefined,
      scope: undefined,
      calledAt: undefined,
    };
  }
}

function nothing(): void {}

/** What the call counts in the window, with the payload that is prepared. */
export function sizeOf(codec: Codec, { method, extra }: Call): number {
  const timed = extra !== undefined && extra.expiresAt !== Infinity;
  return codec.requestSize(method, timed, extra?.metadata);
}

/** What `calls()` lists for a call. */
export function madeCall(
  call: Call,
  flushed: boolean,
  { now, remote }: LiveCallContext,
): LiveCall {
  const { method, seq, startedAt, size, extra } = call;
  return {
    side: "client",
    method,
    id: seq < 0 ? undefined : seq >>> 0,
    state: liveState(call.state, flushed),
    age: ticksSince(startedAt, now),
    remaining: Math.max(0, (extra?.expiresAt ?? Infinity) - now),
    bytes: size,
    remote,
  };
}

function liveState(state: CallState, flushed: boolean): LiveState {
  if (state === "waiting") return "queued";
  if (state === "sent") return flushed ? "sent" : "batched";
  return state === "streaming" ? state : "abandoned";
}
