/**
 * The server: one set of services, any number of connections.
 *
 * Invariants owned here:
 * - A connection is in `connections` exactly while it lives.
 * - One connection's failure, or one accept's, ends no other.
 * - There are never more than `maxConnections`; those turned away hold next to
 *   nothing.
 *
 * @module
 */

import { type ServedServices, toCallable } from "./services.ts";
import type {
  CloseOptions,
  Connection,
  ConnectionOptions,
  ErrorInfo,
  Protocol,
  Serializer,
  WireMap,
} from "../types/connection.ts";
import { RpcConnection } from "../connection/connection.ts";
import { keepalive } from "../connection/watchdog.ts";
import { STREAM_SUPPORT } from "../streams/support.ts";
import { toDuplex } from "../transport/deno_conn.ts";
import type { AsyncDisposal, Duplex } from "../types/duplex.ts";
import {
  checkTimeout,
  DRAIN_TIME,
  FINISH_TIME,
} from "../connection/shutdown.ts";
import { ConnectionError } from "../base/errors.ts";
import type { ServerMiddleware } from "../types/middleware.ts";
import type { LiveCall, TotalStats } from "../types/stats.ts";
import { type ServerLimits, ServerResources } from "./server_limits.ts";
import { RejectedConnections } from "./reject.ts";
import { Totals } from "../connection/totals.ts";
import type { Checked } from "../types/services.ts";
import type { Optional } from "../types/optional.ts";
import { tellHook } from "../base/user_code.ts";
import { AuthorizationGate, type Authorize } from "./authorize.ts";

/** Options of a {@linkcode Server}; limits hold for each of its connections, but for {@linkcode ServerLimits}. */
export interface ServerOptions<M extends WireMap = "json">
  extends ConnectionOptions, Optional<ServerLimits> {
  /** Replaces JSON; one that says `wire: "exact"` also turns off the check of what JSON can carry. */
  serializer?: Serializer & { readonly wire?: M } | undefined;
  /** What stands around every handler, the first one outermost. */
  use?: readonly ServerMiddleware[] | undefined;
  /** Another wire than the native one; every caller must speak it. */
  protocol?: Protocol<M> | undefined;
  /** Decides on each peer before anything of it is served; see {@linkcode Authorize}. Without it everybody may come in. */
  authorize?: Authorize | undefined;
  /** Whether callers see the message of what a handler throws that is no `RpcError`. Default false. */
  exposeErrors?: boolean | undefined;
  /** Told what `internal` hides from callers, how connections ended that nobody closed, and what failed in accepting. What it throws is lost. */
  onError?: ((error: unknown, info: ErrorInfo) => void) | undefined;
}

/** A server in numbers, as of now. */
export interface ServerStats extends TotalStats {
  /** Connections that live. */
  readonly connections: number;
  /** Connections accepted so far. */
  readonly accepted: number;
}

/** What `serve` takes: a listener, or anything that yields duplexes. A `close` that is there is called when the server closes. */
export type DuplexSource = AsyncIterable<Duplex> & {
  close?: (() => unknown) | undefined;
};

/**
 * Serves plain functions to whoever connects.
 *
 * A handler is called as `handler(params, ctx)` and returns its result or a
 * promise of it. Only what was written as an own function of a plain object
 * can be called; see {@linkcode expose} for class instances.
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
  /** The connections that live. */
  readonly connections: ReadonlySet<Connection>;

  readonly #connections = new Set<Connection>();
  readonly #services: ServedServices;
  readonly #options: ServerOptions<M>;
  readonly #shared: ServerResources;
  readonly #rejected: RejectedConnections;
  readonly #sources = new Set<() => void>();
  #closing: Promise<void> | undefined;
  readonly #totals = new Totals();
  #accepted = 0;

  /**
   * Reads the services.
   *
   * @throws {TypeError} If something in them is no plain object of functions,
   *   or a middleware is no function.
   * @throws {RangeError} If a limit of the server as a whole is out of its range.
   */
  constructor(services: S & Checked<S, M>, options: ServerOptions<M> = {}) {
    this.#services = toCallable(services, options);
    this.#options = options;
    this.#shared = new ServerResources(options, options.clock);
    this.#rejected = new RejectedConnections(options);
    this.connections = this.#connections;
  }

  /**
   * Accepts every duplex of `source` until it ends or the server closes; then
   * resolves. What the source throws is told to `onError`, and rejects the
   * promise, which is never reported as unhandled.
   */
  serve(source: DuplexSource): Promise<void> {
    const iterator = source[Symbol.asyncIterator]();
    const served = Promise.withResolvers<void>();
    served.promise.catch(() => {});
    const stop = () => {
      this.#stopSource(source, iterator);
      // Not when the loop ends: a source may never answer the `next` it was asked.
      served.resolve();
    };
    if (this.#closing !== undefined) stop();
    else {
      this.#sources.add(stop);
      this.#serve(iterator)
        .then(served.resolve, served.reject)
        .finally(() => this.#sources.delete(stop));
    }
    return served.promise;
  }

  /**
   * Serves one duplex.
   *
   * @throws {TypeError} If it is no duplex, one of its streams is locked, or the server is closed.
   * @throws {ConnectionError} `resource_exhausted`, if the server has `maxConnections` already: the peer is told the same, and closed.
   */
  accept(duplex: Duplex): Connection {
    if (this.#closing !== undefined) {
      throw new TypeError("Cannot accept a connection: the server is closed");
    }
    if (this.#connections.size >= this.#shared.maxConnections) {
      const reason = full(this.#shared.maxConnections);
      this.#rejected.add(duplex, reason);
      throw reason;
    }
    const { authorize } = this.#options;
    const { turns, buffers, largeReads } = this.#shared;
    const connection = new RpcConnection(toDuplex(duplex), {
      ...this.#options,
      services: this.#services,
      serve: (context) => this.#services.serve(context, turns),
      streams: STREAM_SUPPORT,
      keepalive: keepalive(),
      memory: buffers,
      largeReads,
      makeGate: authorize &&
        ((channel) => new AuthorizationGate(channel, authorize)),
    });
    this.#connections.add(connection);
    this.#accepted++;
    connection.closed.then((reason) => {
      this.#connections.delete(connection);
      this.#totals.end(connection.stats());
      if (reason !== undefined && !isDeparture(reason)) {
        this.#report(reason, { connection });
      }
    });
    return connection;
  }

  /** The server in numbers: those of its connections added up; what only grows, over those that are gone as well. */
  stats(): ServerStats {
    const live = [...this.#connections].map((c) => c.stats());
    return {
      connections: live.length,
      accepted: this.#accepted,
      ...this.#totals.sum(live),
    };
  }

  /** What hangs? Every call of its connections that has not ended, served or made by this end; see {@linkcode Connection.calls}. */
  calls(): LiveCall[] {
    return [...this.#connections].flatMap((c) => c.calls());
  }

  /**
   * Accepts no more, and drains every connection: see
   * {@linkcode Connection.close}. Idempotent, and never rejects.
   *
   * @throws {TypeError} If `timeout` is not a number.
   */
  close(options: CloseOptions = {}): Promise<void> {
    checkTimeout(options.timeout);
    if (this.#closing === undefined) {
      return this.#closing = this.#close(options);
    }
    // One that has less time than those before: it holds.
    if (options.timeout !== undefined) this.#closeAll(options);
    return this.#closing;
  }

  /** The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #serve(iterator: AsyncIterator<Duplex>): Promise<void> {
    try {
      for (;;) {
        const next = await iterator.next();
        if (next.done) return;
        this.#admit(next.value);
      }
    } catch (error) {
      this.#report(error, {});
      throw error;
    }
  }

  /** Tells a source that no more is wanted; it may be in the middle of waiting for the next. */
  #stopSource(source: DuplexSource, iterator: AsyncIterator<Duplex>): void {
    tellHook(source, "close");
    tellHook(iterator, "return");
  }

  #admit(duplex: Duplex): void {
    try {
      this.accept(duplex);
    } catch (error) {
      if (this.#closing !== undefined) drop(duplex, error);
      this.#report(error, {});
    }
  }

  #close(options: CloseOptions): Promise<void> {
    for (const stop of this.#sources) stop();
    return this.#closeAll(options);
  }

  async #closeAll(options: CloseOptions): Promise<void> {
    const { timeout = DRAIN_TIME } = options;
    const closing = [...this.#connections].map((c) => c.close(options));
    const gone = this.#rejected.gone(timeout + FINISH_TIME);
    await Promise.all([...closing, gone]);
  }

  #report(error: unknown, info: ErrorInfo): void {
    this.#services.onError(error, info);
  }
}

/** What is no duplex needs no end. */
function drop(duplex: Duplex, reason: unknown): void {
  try {
    toDuplex(duplex).writable.abort(reason).catch(() => {});
  } catch {
    return;
  }
}

function full(most: number): ConnectionError {
  const text = `the server has ${most} connections, and takes no more`;
  return new ConnectionError("resource_exhausted", text);
}

/** Whether a connection ended because its peer said goodbye: no error to report. */
function isDeparture(reason: { readonly code: string }): boolean {
  return reason.code === "cancelled";
}

/** Can be used with `await using`, which closes it. */
export interface Server<S extends object, M extends WireMap = "json">
  extends AsyncDisposal {}
