/**
 * Hooks for the beginning and the end of calls.
 *
 * Invariants owned here:
 * - An observer is told of each call's start and then its end, once each, and
 *   never in the middle of the library's own work: it may call, abort, close.
 * - A call that began while nobody was there ends untold.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { Metadata } from "../types/call.ts";
import { type Outcome, RpcError } from "../base/errors.ts";
import type {
  CallEnd,
  CallObserver,
  CallObserverHub,
  ObservedCall,
  OutgoingRecord,
  RequestInfo,
} from "../types/observe.ts";
import type { Connection, Observers } from "../types/connection.ts";
import { isA, tellHook } from "../base/user_code.ts";

/**
 * Observers for the option `observe` of a client or a server. (A function, so
 * that a program which observes nothing does not carry the code for it.)
 *
 * On a client they stand inside of middleware and see each sending; on a
 * {@linkcode ReconnectingClient} they see a call once, however often it is
 * sent. On a server they also see what no middleware does: calls of unknown
 * methods, late ones, and those that wait.
 *
 * @throws {TypeError} If a hook is no function.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, memoryPair, observers, Server } from "@sluice/rpc";
 *
 * const log: string[] = [];
 * const services = { Math: { square: (n: number) => n * n } };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 * const client = new Client<typeof services>(near, {
 *   observe: observers({ end: (call) => log.push(`${call.method} ${call.code}`) }),
 * });
 * await client.call("Math.square", 3);
 * await client.close();
 * await server.close();
 * assertEquals(log, ["Math.square ok"]);
 * ```
 */
export function observers(...observers: readonly CallObserver[]): Observers {
  for (const observer of observers) {
    checkHook("start", observer?.start);
    checkHook("end", observer?.end);
  }
  return new ObserverList(observers);
}

function checkHook(name: string, hook: unknown): void {
  if (hook === undefined || typeof hook === "function") return;
  throw new TypeError(
    `Cannot observe: ${name} is not a function, received ${typeof hook}`,
  );
}

const NO_METADATA: Metadata = new Map();

/** What calls of both sides have in common. */
abstract class ObservedBase {
  replyBytes: number | undefined = undefined;
  outcome: Outcome | undefined = undefined;
  error: unknown = undefined;
  readonly #clock: Clock;
  readonly #began: number;
  #ended: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#began = clock.now();
  }

  get duration(): number {
    return (this.#ended ?? this.#clock.now()) - this.#began;
  }

  get code(): string | undefined {
    const { outcome, error } = this;
    if (outcome === undefined) return undefined;
    if (error === undefined) return "ok";
    try {
      if (error instanceof RpcError) return error.code;
    } catch {
      // What a call was aborted with may be anything.
      return "cancelled";
    }
    // Options that do not make sense are the caller's mistake; all else is an abort's reason.
    const mistake = isA(error, TypeError) || isA(error, RangeError);
    return mistake ? "invalid_argument" : "cancelled";
  }

  /** It has ended. */
  end(outcome: Outcome, error: unknown): void {
    this.outcome = outcome;
    this.error = error;
    this.#ended = this.#clock.now();
  }
}

/** A call of ours. */
class ObservedOutgoing extends ObservedBase implements ObservedCall, CallEnd {
  readonly side = "client";
  readonly #call: OutgoingRecord;
  readonly #by: () => Connection | undefined;
  readonly #observers: ObserverList;

  constructor(
    call: OutgoingRecord,
    clock: Clock,
    by: () => Connection | undefined,
    observers: ObserverList,
  ) {
    super(clock);
    this.#call = call;
    this.#by = by;
    this.#observers = observers;
  }

  get method(): string {
    return this.#call.method;
  }

  get id(): number | undefined {
    const { seq } = this.#call;
    return seq < 0 ? undefined : seq >>> 0;
  }

  get connection(): Connection | undefined {
    return this.#by();
  }

  get metadata(): Metadata {
    return this.#call.extra?.metadata?.entries ?? NO_METADATA;
  }

  get requestBytes(): number {
    return this.#call.size;
  }

  get items(): number | undefined {
    return this.#call.extra?.streams?.reader?.items;
  }

  answered(bytes: number | undefined): void {
    this.replyBytes = bytes;
  }

  ended(outcome: Outcome, failed: boolean, result: unknown): void {
    this.end(outcome, failed ? result : undefined);
    this.#observers.ended(this);
  }
}

/** A call of the peer's. */
class ObservedIncoming extends ObservedBase implements ObservedCall {
  readonly side = "server";
  readonly method: string;
  readonly id: number;
  readonly connection: Connection;
  readonly requestBytes: number;
  readonly #request: RequestInfo;
  readonly #block: RequestInfo["block"];

  constructor(request: RequestInfo, clock: Clock) {
    super(clock);
    this.#request = request;
    this.method = request.method;
    this.id = request.id;
    this.connection = request.connection;
    this.requestBytes = request.size;
    this.#block = request.block;
  }

  get metadata(): Metadata {
    return this.#block?.entries ?? NO_METADATA;
  }

  get items(): number | undefined {
    return this.#request.streams?.writer?.items;
  }
}

class ObserverList implements CallObserverHub {
  readonly #list: readonly CallObserver[];
  /** Those of the peer's calls that began while somebody was there. */
  readonly #came = new WeakMap<RequestInfo, ObservedIncoming>();
  /** Those that ended in this turn, and are not told yet. */
  #ended: ObservedCall[] = [];

  constructor(list: readonly CallObserver[]) {
    this.#list = list;
  }

  get active(): boolean {
    return this.#list.some(isActive);
  }

  onOutgoing(
    call: OutgoingRecord,
    clock: Clock,
    by: () => Connection | undefined,
  ): void {
    const seen = new ObservedOutgoing(call, clock, by, this);
    call.extras().observed = seen;
    this.#start(seen);
  }

  onIncoming(call: RequestInfo, clock: Clock): void {
    const seen = new ObservedIncoming(call, clock);
    this.#came.set(call, seen);
    this.#start(seen);
  }

  answered(
    call: RequestInfo,
    outcome: Outcome,
    error: RpcError | undefined,
    bytes: number | undefined,
  ): void {
    const seen = this.#came.get(call);
    if (seen === undefined) return;
    seen.replyBytes = bytes;
    seen.end(outcome, error);
    this.ended(seen);
  }

  lost(call: RequestInfo, error: RpcError): void {
    const seen = this.#came.get(call);
    if (seen === undefined) return;
    seen.end("unknown", error);
    this.ended(seen);
  }

  refused(
    request: RequestInfo,
    clock: Clock,
    error: RpcError,
    bytes: number,
  ): void {
    const seen = new ObservedIncoming(request, clock);
    this.#start(seen);
    seen.replyBytes = bytes;
    seen.end("refused", error);
    this.ended(seen);
  }

  /** At once: nothing has been done for the call yet. */
  #start(seen: ObservedCall): void {
    for (const observer of this.#list) {
      if (isActive(observer)) tellHook(observer, "start", seen);
    }
  }

  /** Told later: calls end in the middle of work whose state a hook could change. */
  ended(seen: ObservedCall): void {
    if (this.#ended.push(seen) === 1) queueMicrotask(() => this.#tellEnds());
  }

  #tellEnds(): void {
    const ended = this.#ended;
    this.#ended = [];
    for (const seen of ended) {
      for (const observer of this.#list) {
        if (isActive(observer)) tellHook(observer, "end", seen);
      }
    }
  }
}

/** Whether it wants to be told; not if it throws when it is asked. */
function isActive(observer: CallObserver): boolean {
  try {
    return observer.active !== false;
  } catch {
    return false;
  }
}
