/**
 * The client: a connection with the types of the services at its other end.
 *
 * Invariant owned here: none of its own. It only adds types, defaults and the
 * proxy; everything that can happen to a call happens in `pending.ts`.
 *
 * @module
 */

import type { CallHandle } from "./call.ts";
import { Connection } from "./connection.ts";
import type {
  CloseOptions,
  ConnectionOptions,
  ConnectionStats,
} from "./connection_options.ts";
import type { Duplex } from "./duplex.ts";
import type { ConnectionError } from "./errors.ts";
import type { CallOptions } from "./options.ts";
import type {
  CallArguments,
  MethodAt,
  MethodName,
  ParamsOf,
  ResultOf,
  ServiceProxy,
  WireMap,
} from "./types.ts";

/** Options of a {@linkcode Client}. */
export interface ClientOptions extends ConnectionOptions {
  /** The `timeout` of every call that names neither `timeout` nor `deadline`, in ms. */
  timeout?: number;
  /** Metadata of every call; a call's own is added to it, name by name. */
  metadata?: Readonly<Record<string, string>>;
}

/**
 * Calls the services at the other end of a duplex.
 *
 * The type argument is the services' type: method names, params and results
 * follow from it, nothing is generated. Without a network in between, the same
 * holds for a pair of pipes or {@linkcode memoryPair}.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, memoryPair, Server } from "@sluice/rpc";
 *
 * const services = { Math: { square: (n: number) => n * n } };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 *
 * const client = new Client<typeof services>(near);
 * const squares = [1, 2, 3].map((n) => client.call("Math.square", n));
 * assertEquals(await Promise.all(squares), [1, 4, 9]);
 * await client.close();
 * await server.close();
 * ```
 */
export class Client<S extends object, M extends WireMap = "json"> {
  /** The connection underneath. */
  readonly connection: Connection;
  readonly #timeout: number | undefined;
  readonly #metadata: Readonly<Record<string, string>> | undefined;
  readonly #plain: boolean;

  /**
   * Takes the duplex over. Calls can be made at once: nobody waits for the
   * peer's HELLO.
   *
   * @throws {TypeError} If it is no duplex, or one of its streams is locked.
   * @throws {RangeError} If a limit is out of its range.
   */
  constructor(duplex: Duplex, options: ClientOptions = {}) {
    this.connection = new Connection(duplex, options);
    this.#timeout = options.timeout;
    this.#metadata = options.metadata;
    this.#plain = options.timeout === undefined &&
      options.metadata === undefined;
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
  call<N extends MethodName<S>>(
    method: N,
    ...args: CallArguments<ParamsOf<MethodAt<S, N>>>
  ): Promise<ResultOf<MethodAt<S, N>, M>> {
    const [params, options] = args;
    return this.connection.call(
      method,
      params,
      this.#plain ? options : this.#withDefaults(options),
    ) as Promise<ResultOf<MethodAt<S, N>, M>>;
  }

  /**
   * Calls a method and returns a handle at once: to watch the call's outcome,
   * to abort it, or to look at its reply later or never. A failure nobody asks
   * for is not reported.
   *
   * Never blocks; `await client.ready` before it keeps to the window.
   */
  go<N extends MethodName<S>>(
    method: N,
    ...args: CallArguments<ParamsOf<MethodAt<S, N>>>
  ): CallHandle<ResultOf<MethodAt<S, N>, M>> {
    const [params, options] = args;
    return this.connection.go(
      method,
      params,
      this.#plain ? options : this.#withDefaults(options),
    ) as CallHandle<ResultOf<MethodAt<S, N>, M>>;
  }

  /** Resolves when the in-flight window has room for a call; rejects once no call is taken any more. Ignoring it is safe. */
  get ready(): Promise<void> {
    return this.connection.ready;
  }

  /**
   * How many calls the in-flight window has room for now, as a stream writer's
   * `desiredSize`: 0 if it is full or no call is taken any more, negative by
   * the calls that wait already. To look at it first saves a loop the wait for
   * a `ready` that is fulfilled already:
   *
   * ```ts ignore
   * for (const name of names) {
   *   if (client.desiredSize <= 0) await client.ready;
   *   client.call("HelloService.Hello", name).then(handle, fail);
   * }
   * ```
   */
  get desiredSize(): number {
    return this.connection.desiredSize;
  }

  /**
   * A service's methods as functions: `client.service("Math").square(3)`.
   *
   * It answers `undefined` for `then`, `toJSON`, `toString`, `valueOf` and
   * symbols, so that to await or print it calls nothing; methods of those
   * names need `call`.
   */
  service<K extends keyof S & string>(name: K): ServiceProxy<S[K], M> {
    return proxy(this as Client<object, M>, name) as ServiceProxy<S[K], M>;
  }

  /** Resolves when the connection is over: with what went wrong, or with `undefined` if one of its ends closed it in order. Never rejects. */
  get closed(): Promise<ConnectionError | undefined> {
    return this.connection.closed;
  }

  /** The connection in numbers. */
  stats(): ConnectionStats {
    return this.connection.stats();
  }

  /**
   * Takes no new call, lets those accepted finish within `timeout` (default
   * 5,000 ms), closes. What is not finished by then is settled with its true
   * outcome. Idempotent, and never rejects.
   */
  close(options?: CloseOptions): Promise<void> {
    return this.connection.close(options);
  }

  /** Ends the connection at once; calls in flight reject, outcome `unknown`. */
  abort(reason?: unknown): Promise<void> {
    return this.connection.abort(reason);
  }

  /** The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #withDefaults(options: CallOptions = {}): CallOptions {
    const timed = options.timeout !== undefined ||
      options.deadline !== undefined;
    return {
      ...options,
      timeout: timed ? options.timeout : this.#timeout,
      metadata: this.#metadata === undefined
        ? options.metadata
        : { ...this.#metadata, ...options.metadata },
    };
  }
}

/** What must not look like a method: promises, JSON and text ask for these. */
const RESERVED = new Set(["then", "toJSON", "toString", "valueOf"]);

function proxy<M extends WireMap>(
  client: Client<object, M>,
  path: string,
): object {
  const call = (params?: unknown, options?: CallOptions) =>
    (client as Client<Record<string, (params: unknown) => unknown>, M>)
      .call(path, params, options);
  return new Proxy(call, {
    get: (_target, key) =>
      typeof key === "symbol" || RESERVED.has(key)
        ? undefined
        : proxy(client, `${path}.${key}`),
  });
}
