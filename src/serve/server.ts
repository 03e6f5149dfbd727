/**
 * The server: one set of services, any number of connections.
 *
 * - A connection is in `connections` until it has ended.
 * - The failure of one connection, or of one source, ends no other.
 * - There are at most `maxConnections`. Those that exceed it are rejected: the
 *   peer receives GOAWAY in place of HELLO, if its protocol has one. At most
 *   `MAX_REJECTED` are being rejected at a time; further ones are destroyed.
 *
 * @module
 */

import { ConnectionError } from "../base/errors.ts";
import { isPromise, typeName } from "../base/inspect.ts";
import { callHook } from "../base/user_code.ts";
import type {
  CallWindow,
  CloseOptions,
  Connection,
  ConnectionOptions,
  ErrorInfo,
  Protocol,
  SerializerOption,
  WireMap,
} from "../types/connection.ts";
import type { AsyncDisposal, Duplex } from "../types/duplex.ts";
import type { ServerMiddleware } from "../types/middleware.ts";
import type { Optional } from "../types/optional.ts";
import type { Checked } from "../types/services.ts";
import type { LiveCall, TotalStats } from "../types/stats.ts";
import { toLimits } from "../wire/connection_limits.ts";
import { toDuplex } from "../transport/sockets/deno_conn.ts";
import { openChannel } from "../transport/duplex.ts";
import { STREAM_SUPPORT } from "../streams/support.ts";
import { FRAGMENT_SUPPORT } from "../wire/fragments/support.ts";
import { toSerializer } from "../wire/values/serializer_list.ts";
import { type AnySerializer, namesOf } from "../wire/values/serializers.ts";
import { RpcConnection } from "../connection/connection.ts";
import type { ConnectionSetup } from "../connection/contract.ts";
import { checkTimeout } from "../connection/shutdown.ts";
import { Totals } from "../connection/totals.ts";
import { keepalive } from "../connection/watchdog.ts";
import { AuthorizationGate, type Authorize } from "./authorize.ts";
import { type ServerLimits, ServerResources } from "./shared_limits.ts";
import { type Services, toServices } from "./services.ts";
import { changeWindow } from "./window_updates.ts";

/** Rejected connections that are being closed at the same time. */
const MAX_REJECTED = 1024;

/** Options of a {@linkcode Server}. Its limits are those of each connection, except for {@linkcode ServerLimits}. */
export interface ServerOptions<M extends WireMap = "json">
  extends
    Omit<ConnectionOptions, "serializer" | "protocol">,
    Optional<ServerLimits> {
  /** Replaces JSON: see {@linkcode ConnectionOptions.serializer}. A serializer with `wire: "exact"` also turns off the check that JSON can carry the types. */
  serializer?: SerializerOption<M> | undefined;
  /** Middleware around every handler, the first one outermost. */
  use?: readonly ServerMiddleware[] | undefined;
  /** Another protocol than the native one. Every client must speak it. */
  protocol?: Protocol<M> | undefined;
  /** Checks each client before the server serves it; see {@linkcode Authorize}. By default a server accepts every connection. */
  authorize?: Authorize | undefined;
  /** Whether callers receive the message of an exception that is not an `RpcError`. Default false: they receive `internal` and no details. */
  exposeErrors?: boolean | undefined;
  /** Called with the exceptions that callers receive as `internal`, with the reason of each connection that was not closed in order, and with what failed while a connection was accepted. Exceptions that it throws are ignored. */
  onError?: ((error: unknown, info: ErrorInfo) => void) | undefined;
}

/** The numbers of a server at one moment. */
export interface ServerStats extends TotalStats {
  /** Open connections. */
  readonly connections: number;
  /** Connections accepted so far. */
  readonly accepted: number;
}

/** What `serve` accepts connections from: a listener, or anything that yields duplexes. If it has a method `close`, the server calls it when it closes. */
export type DuplexSource = AsyncIterable<Duplex> & {
  close?: (() => unknown) | undefined;
};

/**
 * Serves plain functions to the clients that connect.
 *
 * A handler is called as `handler(params, ctx)`, with a {@linkcode CallContext},
 * and returns its result or a promise of it. A client can call exactly the
 * functions that are own properties of plain objects; {@linkcode expose} makes
 * a service of a class instance.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, connect, listen, Server } from "@sluice/rpc";
 *
 * const services = { Echo: { echo: (text: string) => text } };
 * const server = new Server(services);
 * const listener = await listen({ port: 0 });
 * server.serve(listener);
 *
 * const client = new Client<typeof services>(await connect(listener.address));
 * assertEquals(await client.call("Echo.echo", "x"), "x");
 * await client.close();
 * await server.close();
 * ```
 */
export class Server<S extends object, M extends WireMap = "json"> {
  /** The open connections. */
  readonly connections: ReadonlySet<Connection>;

  readonly #connections = new Set<Connection>();
  readonly #services: Services;
  /** The options that the connections share. */
  readonly #setup: ConnectionSetup;
  readonly #authorize: Authorize | undefined;
  readonly #resources: ServerResources;
  /** Connections above `maxConnections` that are being closed. */
  readonly #rejected = new Set<Connection>();
  /** Stops each source that is being served. */
  readonly #sources = new Set<() => void>();
  #closing: Promise<void> | undefined;
  /** The window that `setWindow` has set. */
  #window: CallWindow | undefined;
  readonly #totals = new Totals();
  #accepted = 0;

  /**
   * Reads the services. Later changes to the object have no effect.
   *
   * @throws {TypeError} If a part of the services is not a plain object of
   *   functions, or a middleware is not a function.
   * @throws {RangeError} If one of {@linkcode ServerLimits} is out of its range,
   *   or the names of the serializers are too long.
   */
  constructor(services: S & Checked<S, M>, options: ServerOptions<M> = {}) {
    const served = toServices(services, options);
    this.#services = {
      ...served,
      // A server limits all its connections together.
      serve: (context) => served.serve(context, this.#resources.fairShare),
    };
    const serializer = toSerializer(options.serializer);
    namesOf(serializer as AnySerializer);
    this.#setup = { ...options, serializer } as ConnectionSetup;
    this.#authorize = options.authorize;
    this.#resources = new ServerResources(options, options.clock);
    this.connections = this.#connections;
  }

  /**
   * Accepts every duplex of `source`. Resolves when the source has ended or the
   * server closes.
   *
   * An exception of the source is passed to `onError` and rejects the promise.
   * The promise may be ignored: it is never reported as unhandled.
   *
   * @throws {TypeError} If `source` is not an async iterable.
   */
  serve(source: DuplexSource): Promise<void> {
    if (typeof source?.[Symbol.asyncIterator] !== "function") {
      const received = isPromise(source)
        ? "a promise; await it first"
        : typeName(source);
      throw new TypeError(
        `Cannot serve: expected a listener, received ${received}`,
      );
    }
    const iterator = source[Symbol.asyncIterator]();
    const served = Promise.withResolvers<void>();
    served.promise.catch(() => {});
    const stop = () => {
      callHook(source, "close");
      callHook(iterator, "return");
      // Not when the loop ends: a source may never settle its last `next`.
      served.resolve();
    };
    if (this.#closing !== undefined) stop();
    else {
      this.#sources.add(stop);
      this.#acceptAll(iterator)
        .then(served.resolve, served.reject)
        .finally(() => this.#sources.delete(stop));
    }
    return served.promise;
  }

  /**
   * Serves one duplex, and takes ownership of it.
   *
   * @throws {TypeError} If it is not a duplex, if one of its streams is locked,
   *   or if the server is closed.
   * @throws {ConnectionError} `resource_exhausted`, if the server has
   *   `maxConnections` already. The peer receives the same code, and the
   *   connection is closed.
   */
  accept(duplex: Duplex): Connection {
    if (this.#closing !== undefined) {
      throw new TypeError("Cannot accept a connection: the server is closed");
    }
    const { maxConnections, memory, largeReads } = this.#resources;
    if (this.#connections.size >= maxConnections) {
      throw this.#reject(duplex, maxConnections);
    }
    const connection = new RpcConnection(toDuplex(duplex), {
      ...this.#setup,
      services: this.#services,
      streams: STREAM_SUPPORT,
      fragments: FRAGMENT_SUPPORT,
      keepalive: keepalive(),
      memory,
      largeReads,
      makeGate: this.#authorize && gate(this.#authorize),
    });
    this.#connections.add(connection);
    if (this.#window !== undefined) connection.setWindow(this.#window);
    this.#accepted++;
    connection.closed.then((reason) => {
      this.#connections.delete(connection);
      this.#totals.end(connection.stats());
      // A peer that closes in order is no error.
      if (reason !== undefined && reason.code !== "cancelled") {
        this.#report(reason, { connection });
      }
    });
    return connection;
  }

  /** The sums of the numbers of all connections. Those that only grow include the connections that have ended. */
  stats(): ServerStats {
    const live = [...this.#connections].map((c) => c.stats());
    return {
      connections: live.length,
      accepted: this.#accepted,
      ...this.#totals.sum(live),
    };
  }

  /**
   * Changes how many calls each client may have in flight, and how many bytes of
   * them: on the open connections, and on those that the server accepts from now
   * on. See {@linkcode Connection.setWindow}, also for what this does to calls.
   *
   * A new client may send its first calls, at most 64 of 64 KiB together, before
   * it learns of the change.
   *
   * @throws {TypeError} If the server serves no calls, or its protocol has no
   *   windows.
   * @throws {RangeError} If `windowCalls` is not from 0 to 2^24, or
   *   `windowBytes` not from one message of `maxMessage` (or the limit
   *   `windowBytes`, if that is less) to 2^32 - 1.
   *
   * @example Fewer calls at a time while the machine is busy
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { Client, echoServices, memoryPair, Server } from "@sluice/rpc";
   *
   * const [near, far] = memoryPair();
   * const server = new Server(echoServices());
   * server.accept(far);
   * const client = new Client<ReturnType<typeof echoServices>>(near);
   *
   * server.setWindow({ windowCalls: 8 });
   * await client.call("HelloService.Hello", "x"); // Its reply comes behind that.
   * assertEquals(client.stats().peerWindowCalls, 8);
   * await client.close();
   * await server.close();
   * ```
   */
  setWindow(window: Partial<CallWindow>): void {
    const { protocol } = this.#setup;
    if (protocol !== undefined) {
      throw new TypeError("Cannot set the window: the protocol has none");
    }
    const limits = toLimits(this.#setup);
    if (this.#services.methods.size === 0) limits.windowCalls = 0;
    this.#window = changeWindow(this.#window ?? limits, window, limits);
    for (const connection of this.#connections) {
      connection.setWindow(this.#window);
    }
  }

  /** Lists the calls of all connections that have not ended, in both directions; see {@linkcode Connection.calls}. Use it to find hung requests. */
  calls(): LiveCall[] {
    return [...this.#connections].flatMap((c) => c.calls());
  }

  /**
   * Stops accepting connections, and drains every open one; see
   * {@linkcode Connection.close}. Resolves when all have ended. It never
   * rejects, and may be called again: the shortest `timeout` applies.
   *
   * @throws {TypeError} If `timeout` is not a number.
   */
  close(options: CloseOptions = {}): Promise<void> {
    checkTimeout(options.timeout);
    if (this.#closing === undefined) {
      for (const stop of this.#sources) stop();
      return this.#closing = this.#closeAll(options);
    }
    if (options.timeout !== undefined) this.#closeAll(options);
    return this.#closing;
  }

  /** The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #closeAll(options: CloseOptions): Promise<void> {
    const connections = [...this.#connections, ...this.#rejected];
    await Promise.all(connections.map((c) => c.close(options)));
  }

  async #acceptAll(iterator: AsyncIterator<Duplex>): Promise<void> {
    try {
      for (;;) {
        const next = await iterator.next();
        if (next.done) return;
        this.#acceptNext(next.value);
      }
    } catch (error) {
      this.#report(error, {});
      throw error;
    }
  }

  #acceptNext(duplex: Duplex): void {
    try {
      this.accept(duplex);
    } catch (error) {
      if (this.#closing !== undefined) discard(duplex, error);
      this.#report(error, {});
    }
  }

  /** Closes a connection that the server has no room for, and returns why. */
  #reject(duplex: Duplex, maxConnections: number): ConnectionError {
    const reason = new ConnectionError(
      "resource_exhausted",
      `the server has reached its maxConnections, ${maxConnections}`,
    );
    const transport = toDuplex(duplex);
    if (this.#rejected.size >= MAX_REJECTED) {
      openChannel(transport).destroy(reason);
      return reason;
    }
    const connection = new RpcConnection(transport, {
      ...this.#setup,
      // Holds back HELLO, which GOAWAY then replaces.
      makeGate: gate(undefined),
    });
    this.#rejected.add(connection);
    connection.closed.then(() => this.#rejected.delete(connection));
    connection.shutdown.end(reason, "goaway");
    return reason;
  }

  #report(error: unknown, info: ErrorInfo): void {
    this.#services.onError(error, info);
  }
}

function gate(authorize: Authorize | undefined): ConnectionSetup["makeGate"] {
  return (channel) => new AuthorizationGate(channel, authorize);
}

/** Destroys a duplex that a source has yielded after the server closed; does nothing if it is not a duplex. */
function discard(duplex: Duplex, reason: unknown): void {
  try {
    toDuplex(duplex).writable.abort(reason).catch(() => {});
  } catch {
    return;
  }
}

/** Can be used with `await using`, which closes it. */
export interface Server<S extends object, M extends WireMap = "json">
  extends AsyncDisposal {}
