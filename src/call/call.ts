/**
 * One call that this end made, and the handle a user holds of it.
 *
 * Invariants owned here:
 * - A call settles once: `settle` is reached by one path only, for a call that
 *   was just taken out of the table or the queue (or abandoned in it).
 * - What a handle was not asked for costs nothing and is never reported: its
 *   promises are made when they are asked for.
 *
 * @module
 */

import type { Scope } from "../base/async_context.ts";
import type { TimerEntry } from "../base/timers.ts";
import { attribute, type Outcome, RpcError } from "../base/errors.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import type { CallEnd } from "../types/observe.ts";

import type { OutgoingStreams } from "../streams/contract.ts";
import { isA } from "../base/user_code.ts";
import { ticksSince } from "../base/clock.ts";
import type { LiveCall, LiveCallContext, LiveState } from "../types/stats.ts";
import type { ListNode } from "../base/linked_list.ts";

/**
 * Where a call is. It moves to the right only:
 * `waiting` for the window, then `sent` (in the batch or on its way), then
 * perhaps `streaming` (its caller has the stream; its place is held until that
 * ends), then perhaps `abandoned` (its caller was told; its place is held until
 * the peer answers), then `done`.
 */
export type CallState =
  | "waiting"
  | "sent"
  | "streaming"
  | "abandoned"
  | "done";

/** What a promise is settled with. */
export interface PromiseResolvers<T> {
  resolve: (value: T) => void;
  reject: (reason: unknown) => void;
}

/** What only some calls have; the others do not pay for it. */
export interface CallExtras extends TimerEntry {
  /** Aborts the call; listened to while it is waiting or sent. */
  signal: AbortSignal | undefined;
  /** The signal of the handler that makes this call, likewise. */
  inherited: AbortSignal | undefined;
  /** Travels with the request. */
  metadata: MetadataBlock | undefined;
  /** Came with the answer. */
  replyMetadata: MetadataBlock | undefined;
  /** Its streams, if it has any. */
  streams: OutgoingStreams | undefined;
  /** Waits for the final outcome. */
  settled: PromiseResolvers<Outcome> | undefined;
  /** Waits for the hand-over. */
  sent: PromiseResolvers<boolean> | undefined;
  /** Is told the call's end, where somebody observes. */
  observed: CallEnd | undefined;
  /** The async context in which its params are read, if they are a stream and that is not the one in which it is sent. */
  scope: Scope | undefined;
  /** Has the stack of the code that made the call, where its client captures them. */
  calledAt: Error | undefined;
}

/** A failure that nobody has asked for yet: a class of ours, so that no result is taken for one. */
export class Rejection {
  readonly reason: unknown;

  constructor(reason: unknown) {
    this.reason = reason;
  }
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
  /** Its place in the queue, while it waits. */
  waiting: QueuedCall | undefined = undefined;
  extra: CallExtras | undefined = undefined;
  /** The caller's promise; without one, the result or {@linkcode Rejection} is kept for the handle. */
  resolve: ((value: unknown) => void) | undefined = undefined;
  reject: ((reason: unknown) => void) | undefined = undefined;
  result: unknown = undefined;
  /** When it was made, by the `Tick` of who made it; 0 before. */
  startedAt = 0;

  constructor(method: string) {
    this.method = method;
  }

  /** Tells the caller, who has not been told yet. */
  settle(outcome: Outcome, failed: boolean, result: unknown): void {
    this.outcome = outcome;
    if (this.resolve === undefined) {
      this.result = failed ? new Rejection(result) : result;
    } else if (failed) this.reject?.(result);
    else this.resolve(result);
    // A stream has only begun.
    if (this.extra !== undefined && !this.extra.streams?.reader) {
      this.#tellEnd(outcome, failed, result);
    }
  }

  #tellEnd(outcome: Outcome, failed: boolean, result: unknown): void {
    const { extra } = this;
    if (extra?.observed === undefined) return;
    const { observed } = extra;
    extra.observed = undefined;
    observed.ended(outcome, failed, result);
  }

  /** The stream that its caller has been given is over, by a failure if there is one. */
  streamed(failure: { readonly error: unknown } | undefined): void {
    this.state = "done";
    // One that was aborted meanwhile may have been asked only then.
    this.extra?.settled?.resolve(this.outcome);
    this.#tellEnd("executed", failure !== undefined, failure?.error);
  }

  /** Names this call in an error that the library has made for it. Never in what aborted it, which is its user's. */
  blame<T>(error: T): T {
    if (isA(error, RpcError)) {
      attribute(error, this.method, this.extra?.calledAt);
    }
    return error;
  }

  /** Tells the caller of a stream, which is as good as an answer; the call lives on until that has ended. */
  stream(result: unknown): void {
    this.settle("executed", false, result);
    this.finish("executed");
    this.state = "streaming";
  }

  /** Ends its life; an abandoned call's outcome may have become known. */
  finish(outcome: Outcome): void {
    this.state = "done";
    this.outcome = outcome;
    this.extra?.settled?.resolve(outcome);
    this.extra?.sent?.resolve(outcome !== "not_sent");
  }

  /** Its extras, made when first needed. */
  extras(): CallExtras {
    return this.extra ??= {
      expiresAt: Infinity,
      heapIndex: -1,
      onTimeout: never,
      signal: undefined,
      inherited: undefined,
      metadata: undefined,
      replyMetadata: undefined,
      streams: undefined,
      settled: undefined,
      sent: undefined,
      observed: undefined,
      scope: undefined,
      calledAt: undefined,
    };
  }
}

function never(): void {}

/** A call that this end made, as it stands. */
export function madeCall(
  call: Call,
  handedOver: boolean,
  { now, remote }: LiveCallContext,
): LiveCall {
  const { method, seq, startedAt: began, size, extra } = call;
  return {
    side: "client",
    method,
    id: seq < 0 ? undefined : seq >>> 0,
    state: madeState(call.state, handedOver),
    age: ticksSince(began, now),
    remaining: Math.max(0, (extra?.expiresAt ?? Infinity) - now),
    bytes: size,
    remote,
  };
}

function madeState(state: CallState, handedOver: boolean): LiveState {
  if (state === "waiting") return "queued";
  if (state === "sent") return handedOver ? "sent" : "batched";
  if (state === "streaming") return state;
  return "abandoned";
}

/** A call that waits, with its payload. */
export interface QueuedCall extends ListNode<QueuedCall> {
  readonly call: Call;
  readonly draft: unknown;
}

/** What a {@linkcode CallTable} holds. */
export interface Numbered {
  /** The count that was handed out for it. */
  seq: number;
}
