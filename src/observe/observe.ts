/**
 * Hooks for the start and the end of calls.
 *
 * Invariants:
 * - An observer gets the start of each call and then its end, once each. Its
 *   hooks run when the library is in a consistent state, so that they may call,
 *   abort and close.
 * - A call that started while no observer was active gets no `end`.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { type Metadata, NO_METADATA } from "../types/call.ts";
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
import { callHook, isInstanceOf } from "../base/user_code.ts";

/**
 * Makes the value of the option `observe` of a client or a server. (The option
 * takes this value rather than a list, so that a program without observers does
 * not carry their code.)
 *
 * On a client, observers run inside of middleware and get a call each time that
 * middleware sends it; on a {@linkcode ReconnectingClient} they get a call once,
 * however often the client sends it again. On a server they also get calls that
 * no middleware sees: calls of unknown methods, calls whose deadline had passed,
 * and calls that still wait for their handler to start.
 *
 * `start` runs synchronously, `end` in a microtask after the call has ended.
 * Exceptions that they throw are ignored, and so are rejections of promises that
 * they return.
 *
 * @throws {TypeError} If a hook is not a function.
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
    `Cannot observe calls: ${name} is not a function, received ${typeof hook}`,
  );
}

/** What observers get of a call of either side. */
abstract class ObservedBase {
  replyBytes: number | undefined = undefined;
  outcome: Outcome | undefined = undefined;
  error: unknown = undefined;
  readonly #clock: Clock;
  readonly #startedAt: number;
  #endedAt: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedAt = clock.now();
  }

  get duration(): number {
    return (this.#endedAt ?? this.#clock.now()) - this.#startedAt;
  }

  get code(): string | undefined {
    const { outcome, error } = this;
    if (outcome === undefined) return undefined;
    if (error === undefined) return "ok";
    try {
      if (error instanceof RpcError) return error.code;
    } catch {
      // The reason of an abort may be any object, and throw when it is inspected.
      return "cancelled";
    }
    // Invalid options reject with these errors; any other error is the reason of an abort.
    const mistake = isInstanceOf(error, TypeError) ||
      isInstanceOf(error, RangeError);
    return mistake ? "invalid_argument" : "cancelled";
  }

  /** The call has ended. */
  end(outcome: Outcome, error: unknown): void {
    this.outcome = outcome;
    this.error = error;
    this.#endedAt = this.#clock.now();
  }
}

/** A call that this side makes. */
class ObservedOutgoing extends ObservedBase implements ObservedCall, CallEnd {
  readonly side = "client";
  readonly #call: OutgoingRecord;
  readonly #findConnection: () => Connection | undefined;
  readonly #observers: ObserverList;

  constructor(
    call: OutgoingRecord,
    clock: Clock,
    findConnection: () => Connection | undefined,
    observers: ObserverList,
  ) {
    super(clock);
    this.#call = call;
    this.#findConnection = findConnection;
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
    return this.#findConnection();
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

/** A call that the peer makes. */
class ObservedIncoming extends ObservedBase implements ObservedCall {
  readonly side = "server";
  readonly method: string;
  readonly id: number;
  readonly connection: Connection;
  readonly requestBytes: number;
  readonly #request: RequestInfo;

  constructor(request: RequestInfo, clock: Clock) {
    super(clock);
    this.#request = request;
    this.method = request.method;
    this.id = request.id;
    this.connection = request.connection;
    this.requestBytes = request.size;
  }

  get metadata(): Metadata {
    return this.#request.metadataBlock?.entries ?? NO_METADATA;
  }

  get items(): number | undefined {
    return this.#request.streams?.writer?.items;
  }
}

class ObserverList implements CallObserverHub {
  readonly #list: readonly CallObserver[];
  /** Calls of the peer that started while an observer was active. */
  readonly #incoming = new WeakMap<RequestInfo, ObservedIncoming>();
  /** Calls that have ended in this turn, and whose `end` hooks have not run yet. */
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
    findConnection: () => Connection | undefined,
  ): void {
    const observed = new ObservedOutgoing(call, clock, findConnection, this);
    call.extras().observed = observed;
    this.#start(observed);
  }

  onIncoming(call: RequestInfo, clock: Clock): void {
    const observed = new ObservedIncoming(call, clock);
    this.#incoming.set(call, observed);
    this.#start(observed);
  }

  answered(
    call: RequestInfo,
    outcome: Outcome,
    error: RpcError | undefined,
    bytes: number | undefined,
  ): void {
    const observed = this.#incoming.get(call);
    if (observed === undefined) return;
    observed.replyBytes = bytes;
    observed.end(outcome, error);
    this.ended(observed);
  }

  lost(call: RequestInfo, error: RpcError): void {
    const observed = this.#incoming.get(call);
    if (observed === undefined) return;
    observed.end("unknown", error);
    this.ended(observed);
  }

  refused(
    request: RequestInfo,
    clock: Clock,
    error: RpcError,
    bytes: number,
  ): void {
    const observed = new ObservedIncoming(request, clock);
    this.#start(observed);
    observed.replyBytes = bytes;
    observed.end("refused", error);
    this.ended(observed);
  }

  /** Runs the hooks at once: the library has not done anything for the call yet. */
  #start(observed: ObservedCall): void {
    for (const observer of this.#list) {
      if (isActive(observer)) callHook(observer, "start", observed);
    }
  }

  /** Runs the hooks in a microtask: when a call ends, the library is in the middle of work whose state a hook could change. */
  ended(observed: ObservedCall): void {
    if (this.#ended.push(observed) === 1) {
      queueMicrotask(() => this.#runEndHooks());
    }
  }

  #runEndHooks(): void {
    const ended = this.#ended;
    this.#ended = [];
    for (const observed of ended) {
      for (const observer of this.#list) {
        if (isActive(observer)) callHook(observer, "end", observed);
      }
    }
  }
}

/** Whether an observer wants calls. One whose `active` throws does not. */
function isActive(observer: CallObserver): boolean {
  try {
    return observer.active !== false;
  } catch {
    return false;
  }
}
