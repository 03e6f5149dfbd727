/**
 * The calls of a reconnecting client, from the moment they are made: which wait
 * for a connection, and which of those that a connection fails are sent again.
 *
 * Invariants:
 * - A call is in exactly one place: in the offline queue, or with one connection.
 * - A call is sent again only if it certainly did not run, or is idempotent; and
 *   only if its connection is why it failed. Every other failure rejects it.
 * - A call is sent with the params and options that it had when it was made.
 *
 * @module
 */

import { scopeOfNow } from "../../base/async_context.ts";
import { type CallOwner, Handle, promiseOf } from "../../call/handle.ts";
import { type Clock, toTick } from "../../base/clock.ts";
import { ConnectionError, type Outcome, RpcError } from "../../base/errors.ts";
import type {
  ActiveConnection,
  ActiveConnectionSetup,
} from "./dial_attempt.ts";
import { noOutcomes, type OutcomeCounts } from "../../types/stats.ts";
import {
  dueTime,
  isAbort,
  notePlace,
  type SentOptions,
} from "../../call/options.ts";
import { toMetadata, toRecord } from "../../wire/metadata.ts";
import type { Caller, CallHandle, CallOptions } from "../../types/call.ts";
import { snapshot } from "../../wire/values/payload.ts";
import { unavailableError } from "../../call/errors.ts";
import { ResendableCall, type ResendOwner } from "./resendable_call.ts";
import { isStream } from "../../base/pull_source.ts";
import { isInstanceOf } from "../../base/user_code.ts";
import type { OfflineQueue } from "./offline_queue.ts";

/** Settings of a client that concern its calls. */
export interface ResendManagerSetup {
  readonly clock: Clock;
  /** Whether a call that finds no connection rejects instead of waiting. */
  readonly rejectOffline: boolean;
  /** Whether no call is sent a second time. */
  readonly neverResend: boolean;
  /** Methods that may run twice. */
  readonly idempotent: ReadonlySet<string>;
  readonly connection: ActiveConnectionSetup;
}

/** The client's connections, as its calls see them. */
export interface ResendTarget {
  /** The connection that takes new calls; undefined while there is none. */
  readonly active: ActiveConnection | undefined;
  /** Why there is no connection: what the latest dial or connection failed with; undefined if nothing has failed. */
  readonly away: unknown;
  /** Whether the client has ended: nothing is sent again. */
  readonly ended: boolean;
  /** Why the client accepts no new calls; undefined while it does. */
  readonly refusal: RpcError | undefined;
  /** A connection gave a call back, which waits in the queue now. */
  onCallReturned(active: ActiveConnection): void;
  /** Gives no further calls to a connection. */
  retire(active: ActiveConnection): void;
  /** No call waits any more, and the connection's window has room. */
  onQueueEmpty(): void;
}

/** Calls handed to a new connection before its window is checked again. */
const BURST = 256;

/** The calls of one client. */
export class ResendManager implements Caller, CallOwner, ResendOwner {
  /** Calls that have ended, by the worst outcome of all times they were sent. */
  readonly counts: OutcomeCounts = noOutcomes();
  /** Calls that a connection had accepted and gave back to be sent again. */
  resent = 0;
  readonly #setup: ResendManagerSetup;
  readonly #queue: OfflineQueue;
  readonly #target: ResendTarget;
  /** Whether a flush follows in this turn. */
  #flushPending = false;
  #nextNumber = 0;

  constructor(
    setup: ResendManagerSetup,
    queue: OfflineQueue,
    target: ResendTarget,
  ) {
    this.#setup = setup;
    this.#queue = queue;
    this.#target = target;
  }

  /** Middleware uses it as the cause when it rejects a call. */
  get away(): unknown {
    return this.#target.away;
  }

  // A call, in the order in which it travels.

  call(
    method: string,
    params?: unknown,
    options?: CallOptions,
  ): Promise<unknown> {
    const call = new ResendableCall(method, this.#nextNumber++, this);
    const promise = promiseOf(call);
    this.#begin(call, params, options);
    return promise;
  }

  go(method: string, params?: unknown, options?: CallOptions): CallHandle {
    const call = new ResendableCall(method, this.#nextNumber++, this);
    this.#begin(call, params, options);
    return new Handle(call, this);
  }

  #begin(
    call: ResendableCall,
    params: unknown,
    options: CallOptions | undefined,
  ): void {
    this.#observe(call);
    try {
      if (options !== undefined) {
        notePlace(call, options);
        this.#apply(call, options);
      }
      if (isStream(params) || call.options?.body !== undefined) {
        call.extras().scope = scopeOfNow();
      }
      // Runs code of the user (toJSON, a serializer), which may close the client.
      call.params = snapshot(
        params,
        options?.transfer === true,
        this.#setup.connection,
      );
      const { refusal } = this.#target;
      if (refusal !== undefined) throw refusal;
      if (this.#target.active === undefined || this.#queue.length > 0) {
        this.#enqueue(call);
        return;
      }
    } catch (error) {
      if (!isAbort(options, error)) call.annotate(error);
      this.#queue.reject(call, error, params);
      return;
    }
    this.#submit(call, this.#target.active);
  }

  #observe(call: ResendableCall): void {
    const { clock, connection } = this.#setup;
    const { observe } = connection;
    if (observe === undefined || !observe.active) return;
    observe.onOutgoing(call, clock, () => call.active?.connection);
  }

  /** Copies the options, so that later changes to them have no effect. */
  #apply(call: ResendableCall, options: SentOptions): void {
    const { signal, ctx, metadata, priority, idempotent } = options;
    const { body, trailers, notification, calledAt } = options;
    // Even a call that is not made owns its body.
    if (body !== undefined) call.options = { body };
    if (signal?.aborted) throw signal.reason;
    if (ctx?.signal.aborted) throw ctx.signal.reason;
    call.deadline = dueTime(options, this.#setup.clock);
    call.options = {
      signal,
      // The time that `ctx` leaves is part of the deadline.
      ctx: ctx && { signal: ctx.signal, remaining: Infinity },
      priority,
      idempotent,
      body,
      trailers,
      notification,
      calledAt,
      metadata: metadata && toRecord(metadata),
    };
  }

  /** A new call waits: there is no connection, or earlier calls wait for it. */
  #enqueue(call: ResendableCall): void {
    const { active, away: cause } = this.#target;
    if (this.#setup.rejectOffline && active === undefined) {
      const text = "the client has no connection";
      throw unavailableError(
        new ConnectionError("unavailable", text, { cause }),
      );
    }
    // Rejects metadata that cannot be sent now, not once there is a connection.
    const metadata = call.options?.metadata;
    if (metadata !== undefined) toMetadata(metadata);
    call.startedAt = toTick(this.#setup.clock.now());
    this.#queue.enqueue(call);
  }

  #submit(call: ResendableCall, active: ActiveConnection): void {
    let { options } = call;
    if (call.deadline !== Infinity) {
      const timeout = call.deadline - this.#setup.clock.now();
      options = { ...options, timeout };
    }
    call.active = active;
    call.accepted = false;
    active.pending.submit(call, call.params, options);
    call.accepted = true;
  }

  /** Flushes at the end of this turn: a connection may be giving calls back just now. */
  flushSoon(): void {
    if (this.#flushPending) return;
    this.#flushPending = true;
    queueMicrotask(() => {
      this.#flushPending = false;
      this.flush();
    });
  }

  /** Hands the calls that wait to the connection, as fast as its window has room. */
  async flush(): Promise<void> {
    const target = this.#target;
    const { active } = target;
    if (active === undefined) return;
    while (target.active === active) {
      for (let i = 0; i < BURST && target.active === active; i++) {
        const call = this.#queue.dequeue();
        if (call === undefined) {
          target.onQueueEmpty();
          return;
        }
        this.#submit(call, active);
      }
      await active.connection.ready.catch(() => target.retire(active));
    }
  }

  // A call that a connection has failed.

  shouldResend(
    call: ResendableCall,
    outcome: Outcome,
    error: unknown,
  ): boolean {
    const active = call.active as ActiveConnection;
    // The reason of an abort belongs to the caller, and is not inspected.
    const cause = !isAborted(call) && isInstanceOf(error, RpcError)
      ? error.cause
      : undefined;
    if (!isInstanceOf(cause, ConnectionError)) {
      // Neither the connection nor the caller ended the call: the peer replied.
      if (outcome === "refused") active.hasReplied = true;
      return false;
    }
    active.lossReason ??= cause;
    if (this.#target.ended) return false;
    const { neverResend, rejectOffline } = this.#setup;
    // Calls made from now on, even in this turn, find no connection.
    if (neverResend) this.#target.retire(active);
    // A stream can be read only once.
    if (isStream(call.params) || call.options?.body) return false;
    if (neverResend) {
      // A call that the connection did not accept is as if made without one.
      return !call.accepted && outcome === "not_sent" && !rejectOffline;
    }
    return outcome !== "unknown" || this.#isIdempotent(call);
  }

  #isIdempotent({ method, options }: ResendableCall): boolean {
    return options?.idempotent ?? this.#setup.idempotent.has(method);
  }

  takeBack(call: ResendableCall): void {
    const active = call.active as ActiveConnection;
    if (call.accepted) this.resent++;
    this.#queue.requeue(call);
    this.#target.onCallReturned(active);
  }

  onFinished(outcome: Outcome): void {
    this.counts[outcome]++;
  }

  // What a handle asks for.

  abort(call: ResendableCall, reason: unknown): void {
    const { active } = call;
    call.aborted = true;
    if (active !== undefined) active.pending.abort(call, reason);
    else if (call.state === "waiting") this.#queue.abort(call, reason);
  }

  flushed(call: ResendableCall): boolean {
    const { active, worstOutcome } = call;
    return worstOutcome !== "not_sent" ||
      (active?.pending.flushed(call) ?? false);
  }

  tableOf(call: ResendableCall): object | undefined {
    return call.active?.pending;
  }

  resolveOnFlush(call: ResendableCall): void {
    // While the call waits there is nothing to do: the connection that gets it checks for `sent`.
    call.active?.pending.resolveOnFlush(call);
  }
}

/** Whether the caller has aborted the call, by its handle or by a signal. */
function isAborted({ aborted, options }: ResendableCall): boolean {
  try {
    return aborted || options?.signal?.aborted === true ||
      options?.ctx?.signal.aborted === true;
  } catch {
    // The caller's own kind of signal throws: its call is not sent again.
    return true;
  }
}
