/**
 * Typed calls over something that makes untyped ones.
 *
 * Invariant owned here: it adds types, the proxy and what a client sets of its
 * calls, and nothing to what a call costs that sets nothing.
 *
 * @module
 */

import type { CallHandle } from "../types/call.ts";
import type { Clock } from "../base/clock.ts";
import type { Protocol, Serializer, WireMap } from "../types/connection.ts";
import type { SentOptions } from "../call/options.ts";
import { toRecord } from "../wire/metadata.ts";
import type { Caller, CallOptions, MetadataInit } from "../types/call.ts";
import type {
  CallArguments,
  MethodAt,
  MethodName,
  ParamsOf,
  ResultOf,
  ServiceProxy,
  UntypedServices,
} from "../types/services.ts";

/** What stands between a client and its connection; made by {@linkcode clientMiddleware}. */
export interface MiddlewareStack {
  /** What makes calls by way of the middleware; the client calls it once, when it is made. */
  wrap(caller: Caller, settings: MiddlewareSettings): Caller;
}

/** What of its settings a client tells its middleware. */
export interface MiddlewareSettings {
  /** Replaces JSON. */
  readonly serializer?: Serializer | undefined;
  /** Another wire than the native one. */
  readonly protocol?: Protocol<WireMap> | undefined;
  /** Time, for tests. */
  readonly clock?: Clock | undefined;
}

/** What a client can set of every call it makes. */
export interface CallerOptions {
  /** The `timeout` of every call that names neither `timeout` nor `deadline`, in ms. */
  timeout?: number | undefined;
  /** Metadata of every call; a call's own is added to it, name by name. */
  metadata?: MetadataInit | undefined;
  /** What every call passes through on its way out: see {@linkcode clientMiddleware}. */
  use?: MiddlewareStack | undefined;
  /**
   * Whether the `stack` of a call's error also shows the code that made the
   * call. That costs a stack trace for every call, failed or not. Default false.
   */
  captureStacks?: boolean | undefined;
}

/** `caller` with what the options add to it: itself, if they add nothing, so that who sets nothing pays nothing. */
export function toCaller(
  caller: Caller,
  options: CallerOptions & MiddlewareSettings,
): Caller {
  const { timeout, metadata, use, captureStacks } = options;
  const whole = use === undefined ? caller : use.wrap(caller, options);
  const inner = captureStacks === true ? placed(whole) : whole;
  if (timeout === undefined && metadata === undefined) return inner;
  const complete = (options: CallOptions = {}): CallOptions => {
    try {
      return {
        ...options,
        timeout: options.timeout !== undefined || options.deadline !== undefined
          ? options.timeout
          : timeout,
        metadata: metadata === undefined
          ? options.metadata
          : { ...toRecord(metadata), ...toRecord(options.metadata ?? {}) },
      };
    } catch (error) {
      return unreadable(error);
    }
  };
  return {
    call: (method, params, options) =>
      inner.call(method, params, complete(options)),
    go: (method, params, options) =>
      inner.go(method, params, complete(options)),
  };
}

/** Options that cannot be read: a call with them fails with what reading them threw. */
function unreadable(error: unknown): CallOptions {
  return {
    get signal(): never {
      throw error;
    },
  };
}

/** `caller`, whose calls know where they were made. */
function placed(caller: Caller): Caller {
  const place = (options?: CallOptions): SentOptions => ({
    ...options,
    calledAt: new Error(),
  });
  return {
    call: (method, params, options) =>
      caller.call(method, params, place(options)),
    go: (method, params, options) => caller.go(method, params, place(options)),
  };
}

/** What {@linkcode Client} and {@linkcode ReconnectingClient} have in common: calls with the types of the services at the other end. */
export class ServiceClient<
  S extends object = UntypedServices,
  M extends WireMap = "json",
> {
  readonly #caller: Caller;

  /** Made by its subclasses. */
  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /**
   * Calls a method and promises its result.
   *
   * Calls made without waiting for each other are pipelined: sent in this
   * order, answered in any. One beyond the peer's window waits, up to the
   * limits on queued calls.
   *
   * Rejects with an {@linkcode RpcError} whose `outcome` says whether the call
   * may have run; with the signal's own `reason` if it was aborted.
   */
  call<N extends { [K in MethodName<S>]: K }[MethodName<S>]>(
    method: N,
    ...args: CallArguments<ParamsOf<MethodAt<S, N>>>
  ): Promise<ResultOf<MethodAt<S, N>, M>> {
    // By index: a pattern would iterate, for each call.
    return this.#caller.call(method, args[0], args[1]) as Promise<
      ResultOf<MethodAt<S, N>, M>
    >;
  }

  /**
   * Calls a method and returns a handle at once: to watch the call's outcome,
   * to abort it, or to look at its reply later or never. A failure nobody asks
   * for is not reported.
   *
   * Never blocks; `await client.ready` before it keeps to the window.
   */
  go<N extends { [K in MethodName<S>]: K }[MethodName<S>]>(
    method: N,
    ...args: CallArguments<ParamsOf<MethodAt<S, N>>>
  ): CallHandle<ResultOf<MethodAt<S, N>, M>> {
    return this.#caller.go(method, args[0], args[1]) as CallHandle<
      ResultOf<MethodAt<S, N>, M>
    >;
  }

  /**
   * Calls a method for what it does, not for what it answers. Resolves once
   * the request was handed to the transport; rejects as a call does that could
   * not be sent, and ignoring that is safe.
   *
   * It keeps its place in the window until the peer has answered, like any
   * call; the answer, a failure too, is dropped. A wire that has notifications
   * (JSON-RPC) sends one: it is not answered, and keeps its place until then.
   */
  notify<N extends { [K in MethodName<S>]: K }[MethodName<S>]>(
    method: N,
    ...args: CallArguments<ParamsOf<MethodAt<S, N>>>
  ): Promise<void> {
    return sendOneWay(this.#caller, method, args[0], args[1]);
  }

  /**
   * A service's methods as functions: `client.service("Math").square(3)`.
   *
   * To await it, to print it or to make text or JSON of it calls nothing:
   * methods named `then`, `toJSON`, `toString`, `toLocaleString` or `valueOf`
   * need `call`.
   */
  service<K extends keyof S & string>(name: K): ServiceProxy<S[K], M> {
    return proxy(this.#caller, name) as ServiceProxy<S[K], M>;
  }
}

/** Calls, and promises that the request was handed to the transport. */
export function sendOneWay(
  caller: Caller,
  method: string,
  params: unknown,
  options: CallOptions | undefined,
): Promise<void> {
  const notification: SentOptions = { ...options, notification: true };
  const handle = caller.go(method, params, notification);
  const sent = handle.sent.then(async (sent) => {
    if (!sent) await handle.reply;
  });
  sent.catch(() => {});
  return sent;
}

/** What must not look like a method: who asks for these wants text. */
const RESERVED: ReadonlySet<PropertyKey> = new Set([
  "toString",
  "toLocaleString",
  "valueOf",
  Symbol.toPrimitive,
]);

function proxy(caller: Caller, path: string): object {
  const call = (params?: unknown, options?: CallOptions) =>
    caller.call(path, params, options);
  const text = () => `[service ${path}]`;
  return new Proxy(call, {
    get: (_target, key) => {
      if (key === "then" || key === "toJSON") return undefined;
      if (RESERVED.has(key)) return text;
      return typeof key === "symbol"
        ? undefined
        : proxy(caller, `${path}.${key}`);
    },
  });
}

/**
 * Typed calls to the other end of a connection: for a handler that calls its
 * caller back by `ctx.connection`, or a server that calls one of its
 * `connections`. It holds nothing, and costs an object.
 *
 * A call made for another passes `{ ctx }`, and so ends with it. The other end
 * must serve what is called: see a client's `services`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { callable, clientOf, Client, memoryPair, Server } from "@sluice/rpc";
 *
 * const screen = { Screen: { show: (text: string) => text.length } };
 * const [near, far] = memoryPair();
 * const server = new Server({});
 * const connection = server.accept(far);
 * const client = new Client<object>(near, { services: callable(screen) });
 *
 * const caller = clientOf<typeof screen>(connection, { timeout: 1000 });
 * assertEquals(await caller.call("Screen.show", "hello"), 5);
 * assertEquals(await caller.service("Screen").show("you"), 3);
 * await client.close();
 * await server.close();
 * ```
 */
export function clientOf<
  S extends object = UntypedServices,
  M extends WireMap = "json",
>(
  caller: Caller,
  options: CallerOptions & MiddlewareSettings = {},
): ServiceClient<S, M> {
  return new ServiceClient<S, M>(toCaller(caller, options));
}
