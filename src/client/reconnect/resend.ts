/**
 * The calls of a reconnecting client: those that wait for a connection, and
 * what becomes of those that one hands back.
 *
 * Invariants owned here:
 * - A call is in exactly one place: waiting in the room, or with one link.
 * - Only what surely did not run is sent again, unless its user says that
 *   running twice is as good as once; and only when its connection is why it
 *   failed. Every other failure is the call's.
 * - What is sent later is what params and options were when it was made.
 *
 * @module
 */

import { scopeOfNow } from "../../base/async_context.ts";
import { type Call, madeCall } from "../../call/call.ts";
import { type CallOwner, Handle, promiseOf } from "../../call/handle.ts";
import type { CallHandle } from "../../types/call.ts";
import { type Clock, toTick } from "../../base/clock.ts";
import type { TimerHeap } from "../../base/timers.ts";
import { ConnectionError, type Outcome, RpcError } from "../../base/errors.ts";
import type { ActiveConnection, ActiveConnectionSetup } from "./dial.ts";
import {
  type LiveCall,
  noOutcomes,
  type OutcomeCounts,
} from "../../types/stats.ts";
import type { CallObserverHub } from "../../types/observe.ts";
import {
  dueTime,
  isAbort,
  notePlace,
  type SentOptions,
} from "../../call/options.ts";
import { toMetadata, toRecord } from "../../wire/metadata.ts";
import type { CallOptions } from "../../types/call.ts";
import { snapshot } from "../../wire/payload.ts";
import { unavailableError } from "../../call/errors.ts";
import { ResendableCall, type ResendOwner } from "./resendable_call.ts";
import { discard, isStream } from "../../base/pull_source.ts";
import { isA } from "../../base/user_code.ts";
import { OfflineQueue } from "./offline_queue.ts";

/** What bounds the calls of a client, and which of them it sends again. */
export interface ResendManagerSetup {
  readonly clock: Clock;
  readonly rejectAway: boolean;
  readonly idempotent: ReadonlySet<string>;
  /** Whether no call is sent a second time. */
  readonly neverResend: boolean;
  readonly maxQueuedCalls: number;
  readonly maxQueuedBytes: number;
  readonly connection: ActiveConnectionSetup;
}

/** Where the calls go. */
export interface ResendTarget {
  /** The connection that takes calls; undefined while away. */
  readonly link: ActiveConnection | undefined;
  /** Why there is none: what the latest dial or connection failed with; undefined while there is one, or nothing has failed yet. */
  readonly away: unknown;
  /** Whether all is over: nothing is sent again. */
  readonly over: boolean;
  /** Why no new call is taken; undefined while they are. */
  readonly refusal: RpcError | undefined;
  /** A call is back from a connection, and waits. */
  cameBack(link: ActiveConnection): void;
  /** A connection takes no calls any more. */
  leave(link: ActiveConnection): void;
  /** All that waited is on its way, and there is room for more. */
  flushed(): void;
  /** A call that waited has been settled. */
  settled(): void;
}

/** Calls handed to a new connection before its window is looked at again. */
const BURST = 256;

/** The calls of one client. */
export class ResendManager implements CallOwner, ResendOwner {
  /** Calls that have ended, by the worst outcome of all the ways they were sent. */
  readonly counts: OutcomeCounts = noOutcomes();
  /** Calls that a connection handed back to be sent again. */
  resent = 0;
  readonly #setup: ResendManagerSetup;
  readonly #route: ResendTarget;
  readonly #room: OfflineQueue;
  /** A flush is to come in this turn. */
  #flushes = false;
  #number = 0;

  constructor(
    setup: ResendManagerSetup,
    deadlines: TimerHeap,
    route: ResendTarget,
  ) {
    this.#setup = setup;
    this.#route = route;
    this.#room = new OfflineQueue(
      deadlines,
      setup,
      () => route.away,
      () => route.settled(),
    );
  }

  /** Their bytes, about. */
  get bytes(): number {
    return this.#room.bytes;
  }

  /** How many calls wait for a connection. */
  get length(): number {
    return this.#room.length;
  }

  /** Listeners on abort signals of calls that wait. */
  get listeners(): number {
    return this.#room.settler.listeners;
  }

  /** Those that wait, as they stand. */
  all(): LiveCall[] {
    const away = { now: this.#setup.clock.now(), remote: undefined };
    return this.#room.all().map((call): LiveCall => ({
      ...madeCall(call, false, away),
      state: "away",
    }));
  }

  /** Rejects all that wait, each with an error of its own. */
  end(error: () => unknown): void {
    this.#room.end(error);
  }

  // A call, in the order it travels.

  call(
    method: string,
    params: unknown,
    options: CallOptions | undefined,
  ): Promise<unknown> {
    const call = new ResendableCall(method, this.#number++, this);
    const promise = promiseOf(call);
    this.#observe(call);
    this.#begin(call, params, options);
    return promise;
  }

  go(
    method: string,
    params: unknown,
    options: CallOptions | undefined,
  ): CallHandle {
    const call = new ResendableCall(method, this.#number++, this);
    this.#observe(call);
    this.#begin(call, params, options);
    return new Handle(call, this);
  }

  #observe(call: ResendableCall): void {
    const { clock, connection } = this.#setup;
    const observe = connection.observe as CallObserverHub | undefined;
    if (observe === undefined || !observe.active) return;
    observe.onOutgoing(call, clock, () => call.link?.connection);
  }

  #begin(
    call: ResendableCall,
    params: unknown,
    options: CallOptions | undefined,
  ): void {
    try {
      if (options !== undefined) {
        notePlace(call, options);
        this.#apply(call, options);
      }
      if (isStream(params)) call.extras().scope = scopeOfNow();
      // Runs user code (toJSON, a serializer), which may close the client.
      call.params = snapshot(
        params,
        options?.transfer === true,
        this.#setup.connection,
      );
      const { refusal } = this.#route;
      if (refusal !== undefined) throw refusal;
      if (this.#route.link === undefined || this.#room.length > 0) {
        this.#await(call);
        return;
      }
    } catch (error) {
      if (!isAbort(options, error)) call.blame(error);
      this.#room.settler.settle(call, "not_sent", true, error);
      discard(params, error);
      return;
    }
    this.#submit(call, this.#route.link as ActiveConnection);
  }

  /** Reads the options: what is sent later is what they are now. */
  #apply(call: ResendableCall, options: SentOptions): void {
    const { signal, ctx, metadata, idempotent, oneWay, calledAt } = options;
    if (signal?.aborted) throw signal.reason;
    if (ctx?.signal.aborted) throw ctx.signal.reason;
    call.due = dueTime(options, this.#setup.clock);
    call.options = {
      signal,
      // What is left of its time is in `due`.
      ctx: ctx && { signal: ctx.signal, remaining: Infinity },
      idempotent,
      oneWay,
      calledAt,
      metadata: metadata && toRecord(metadata),
    };
  }

  /** A new call that finds no connection, or must not use it yet. */
  #await(call: ResendableCall): void {
    const { link } = this.#route;
    if (this.#setup.rejectAway && link === undefined) {
      const text = "the client has no connection";
      const cause = this.#route.away;
      throw unavailableError(
        new ConnectionError("unavailable", text, { cause }),
      );
    }
    // What the connection would find wrong with it is told now, not then.
    const metadata = call.options?.metadata;
    if (metadata !== undefined) toMetadata(metadata);
    call.startedAt = toTick(this.#setup.clock.now());
    this.#room.enqueue(call);
  }

  #submit(call: ResendableCall, link: ActiveConnection): void {
    let { options } = call;
    if (call.due !== Infinity) {
      const timeout = call.due - this.#setup.clock.now();
      options = { ...options, timeout };
    }
    call.link = link;
    call.accepted = false;
    link.pending.submit(call, call.params, options);
    call.accepted = true;
  }

  /** Not now: a connection may be in the middle of handing its calls back. */
  flushSoon(): void {
    if (this.#flushes) return;
    this.#flushes = true;
    queueMicrotask(() => {
      this.#flushes = false;
      this.flush();
    });
  }

  /** Hands over what waits, as the connection's window has room. */
  async flush(): Promise<void> {
    const route = this.#route;
    const { link } = route;
    if (link === undefined) return;
    while (route.link === link) {
      for (let i = 0; i < BURST && route.link === link; i++) {
        const call = this.#room.take();
        if (call === undefined) {
          route.flushed();
          return;
        }
        this.#submit(call, link);
      }
      await link.connection.ready.catch(() => route.leave(link));
    }
  }

  // What comes back.

  wants(call: ResendableCall, outcome: Outcome, error: unknown): boolean {
    const link = call.link as ActiveConnection;
    // What it was aborted with is its user's, and not to be looked at.
    const own = !isAborted(call) && isA(error, RpcError);
    const cause = own ? error.cause : undefined;
    if (!isA(cause, ConnectionError)) {
      // Whatever is not the connection's end, nor its user's wish, is its peer's answer.
      if (outcome === "refused") link.hasReplied = true;
      return false;
    }
    link.reason ??= cause;
    if (this.#route.over) return false;
    const { neverResend, rejectAway } = this.#setup;
    // From here on new calls find no connection, in the turn of the loss, too.
    if (neverResend) this.#route.leave(link);
    // A stream can be read only once.
    if (isStream(call.params)) return false;
    if (neverResend) {
      // A call that the connection did not accept is like one made without a connection.
      return !call.accepted && outcome === "not_sent" && !rejectAway;
    }
    return outcome !== "unknown" || this.#isIdempotent(call);
  }

  #isIdempotent({ method, options }: ResendableCall): boolean {
    return options?.idempotent ?? this.#setup.idempotent.has(method);
  }

  finished(outcome: Outcome): void {
    this.counts[outcome]++;
  }

  takeBack(call: ResendableCall): void {
    const { link } = call;
    if (call.accepted) this.resent++;
    this.#room.enter(call);
    this.#route.cameBack(link as ActiveConnection);
  }

  // What a handle asks.

  abort(call: Call, reason: unknown): void {
    const { link } = call as ResendableCall;
    (call as ResendableCall).aborted = true;
    if (link !== undefined) link.pending.abort(call, reason);
    else if (call.state === "waiting") {
      this.#room.abort(call as ResendableCall, reason);
    }
  }

  flushed(call: Call): boolean {
    const { link, worstOutcome: past } = call as ResendableCall;
    return past !== "not_sent" || (link?.pending.flushed(call) ?? false);
  }

  resolveOnFlush(call: Call): void {
    // While it waits here, nobody needs to remember: the connection that gets it looks.
    (call as ResendableCall).link?.pending.resolveOnFlush(call);
  }
}

/** Whether its user has ended it, in whatever way. */
function isAborted({ aborted, options }: ResendableCall): boolean {
  try {
    return aborted || options?.signal?.aborted === true ||
      options?.ctx?.signal.aborted === true;
  } catch {
    // A signal of the user's own making: its call is not sent again.
    return true;
  }
}
