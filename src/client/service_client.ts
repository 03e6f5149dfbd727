/**
 * Typed calls, made by a caller that knows no types: what every client extends.
 *
 * Adds types, default options and the service proxy. A client without default
 * options and middleware calls its connection directly, so that they cost
 * nothing unless they are used.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type {
  Caller,
  CallHandle,
  CallOptions,
  MetadataInit,
} from "../types/call.ts";
import type {
  Protocol,
  Serializer,
  SerializerList,
  WireMap,
} from "../types/connection.ts";
import type {
  CallArguments,
  MethodAt,
  MethodName,
  ParamsOf,
  ResultOf,
  ServiceProxy,
  UntypedServices,
} from "../types/services.ts";
import { toRecord } from "../wire/metadata.ts";
import type { SentOptions } from "../call/options.ts";

/** Middleware between a client and its connection; made by {@linkcode clientMiddleware}. */
export interface MiddlewareStack {
  /** Returns a caller whose calls pass through the middleware to `caller`. A client calls it once, when it is made. */
  wrap(caller: Caller, settings: MiddlewareSettings): Caller;
}

/** The options of a client that its middleware needs, to serialize params as the client does. */
export interface MiddlewareSettings {
  /** Replaces JSON. */
  readonly serializer?: Serializer | SerializerList | undefined;
  /** Replaces the native protocol. */
  readonly protocol?: Protocol<WireMap> | undefined;
  /** Replaces the system's clock, for tests. */
  readonly clock?: Clock | undefined;
}

/** Options that a client applies to every call it makes. */
export interface CallerOptions {
  /** The `timeout` of every call that sets neither `timeout` nor `deadline`, in ms. Default: none. */
  timeout?: number | undefined;
  /** Metadata of every call. The call's own is added to it, and replaces entries of the same name. */
  metadata?: MetadataInit | undefined;
  /** Middleware around every call: see {@linkcode clientMiddleware}. */
  use?: MiddlewareStack | undefined;
  /**
   * Whether the `stack` of a call's error also shows the code that made the
   * call. That costs a stack trace for every call, failed or not. Default false.
   */
  captureStacks?: boolean | undefined;
}

/** Adds the options to a caller. Returns `caller` itself if they add nothing. */
export function toCaller(
  caller: Caller,
  options: CallerOptions & MiddlewareSettings,
): Caller {
  const { timeout, metadata, use, captureStacks } = options;
  const wrapped = use === undefined ? caller : use.wrap(caller, options);
  // The stack is that of the code that made the call.
  const inner = captureStacks === true
    ? withOptions(wrapped, (options): SentOptions => ({
      ...options,
      calledAt: new Error(),
    }))
    : wrapped;
  if (timeout === undefined && metadata === undefined) return inner;
  return withOptions(inner, (options = {}) => {
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
  });
}

/** A caller whose calls have the options that `change` returns. */
function withOptions(
  caller: Caller,
  change: (options?: CallOptions) => CallOptions,
): Caller {
  return {
    call: (method, params, options) =>
      caller.call(method, params, change(options)),
    go: (method, params, options) => caller.go(method, params, change(options)),
  };
}

/** Options that throw when they are read: the call rejects with `error`. */
function unreadable(error: unknown): CallOptions {
  return {
    get signal(): never {
      throw error;
    },
  };
}

/** Typed calls of the peer's services: what {@linkcode Client}, {@linkcode ReconnectingClient} and {@linkcode clientOf} have in common. */
export class ServiceClient<
  S extends object = UntypedServices,
  M extends WireMap = "json",
> {
  /** Never set. TypeScript reads from it the services of a client that is passed to {@linkcode stage} or {@linkcode map}. */
  declare readonly "~types"?: { readonly services: S; readonly wire: M };
  readonly #caller: Caller;

  /** Called by subclasses. */
  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /**
   * Calls a method; resolves with its result.
   *
   * Calls that do not wait for each other are pipelined: they are sent in the
   * order in which they were made, and may be answered in any order. A call that
   * exceeds the peer's window waits in a queue, up to the limits `maxQueuedCalls`
   * and `maxQueuedBytes`.
   *
   * Rejects with an {@linkcode RpcError} whose `outcome` tells whether the call
   * may have run, or with the signal's own `reason` if the call was aborted.
   */
  call<N extends { [K in MethodName<S>]: K }[MethodName<S>]>(
    method: N,
    ...args: CallArguments<ParamsOf<MethodAt<S, N>>>
  ): Promise<ResultOf<MethodAt<S, N>, M>> {
    // By index: destructuring would run an iterator for each call.
    return this.#caller.call(method, args[0], args[1]) as Promise<
      ResultOf<MethodAt<S, N>, M>
    >;
  }

  /**
   * Calls a method and returns a handle at once: use it to watch the call's
   * outcome, to abort the call, or to read its reply later or never. A failure
   * is not reported as unhandled unless `reply` was read.
   *
   * Never waits. To stay within the peer's window, `await client.ready` first.
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
   * Calls a method and drops its result. Resolves when the request was handed
   * to the transport; rejects if it cannot be sent. The promise may be ignored:
   * its rejection is not reported as unhandled.
   *
   * Like any call it occupies the window until the peer has replied; the reply,
   * a failure included, is dropped. On a protocol with notifications (JSON-RPC)
   * the client sends one, to which the peer does not reply.
   */
  notify<N extends { [K in MethodName<S>]: K }[MethodName<S>]>(
    method: N,
    ...args: CallArguments<ParamsOf<MethodAt<S, N>>>
  ): Promise<void> {
    return sendOneWay(this.#caller, method, args[0], args[1]);
  }

  /**
   * Returns a service's methods as functions: `client.service("Math").square(3)`.
   *
   * Awaiting, printing or converting the proxy makes no call. So methods named
   * `then`, `toJSON`, `toString`, `toLocaleString` or `valueOf` can only be
   * called by `call`.
   */
  service<K extends keyof S & string>(name: K): ServiceProxy<S[K], M> {
    return proxy(this.#caller, name) as ServiceProxy<S[K], M>;
  }
}

/** Makes a call whose reply nobody reads. Resolves when the request was handed to the transport. */
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

/** Members that return text instead of a method, because the platform reads them to print the proxy. */
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
 * Returns typed calls over an existing connection: for a handler that calls
 * back over `ctx.connection`, or a server that calls a client over one of its
 * `connections`. It needs no cleanup.
 *
 * The peer must serve what is called: see the option `services` of a client. A
 * handler passes `{ ctx }` with each call that it makes for its own caller: the
 * call is then cancelled, and its deadline passes, with the handler's.
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
