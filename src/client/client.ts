/**
 * The slim client: one connection, and typed calls over it.
 *
 * Carries no code for streams, fragments, services, keepalive, middleware or observers.
 * Each of these is an option whose value comes from a function of its own, so
 * that a bundle has what the program imports. `full_client.ts` passes them all.
 *
 * @module
 */

import type { ConnectionError } from "../base/errors.ts";
import type {
  CloseOptions,
  Connection,
  ConnectionOptions,
  Credentials,
  FragmentFeature,
  KeepaliveFeature,
  ServiceDefinition,
  StreamFeature,
  WireMap,
} from "../types/connection.ts";
import type { AsyncDisposal, Duplex } from "../types/duplex.ts";
import type { UntypedServices } from "../types/services.ts";
import { RpcConnection } from "../connection/connection.ts";
import type { ConnectionSetup } from "../connection/contract.ts";
import {
  type CallerOptions,
  ServiceClient,
  toCaller,
} from "./service_client.ts";

/** Options of the slim client of `@sluice/rpc/client`. */
export interface CoreClientOptions extends ConnectionOptions, CallerOptions {
  /** Identifies the client to a server with `authorize`: text or bytes, at most 15,360 bytes. */
  credentials?: Credentials | undefined;
  /** The services that the server may call, made by {@linkcode callable}. Default: none; calls of the server are refused with `not_found`. */
  services?: ServiceDefinition | undefined;
  /** Pass `streams()` to send and receive streams: see {@linkcode streams}. Default: a stream as params is refused with `invalid_argument`. */
  streams?: StreamFeature | undefined;
  /** Pass `fragments()` to send and receive large messages in fragments: see {@linkcode fragments}. Default: each is sent whole, and calls behind it wait. */
  fragments?: FragmentFeature | undefined;
  /** Pass `keepalive()` to detect a peer that is silent or stuck: see {@linkcode keepalive}. Default: only deadlines and the transport end a call. */
  keepalive?: KeepaliveFeature | undefined;
}

/**
 * The client of `@sluice/rpc/client`: calls the services of a server over a
 * duplex, with deadlines, cancellation and outcomes. All other features are
 * passed as options, so that a bundle carries only what the program uses.
 *
 * The type argument is the type of the services. Method names, params and
 * results follow from it; no code is generated.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { memoryPair, Server } from "@sluice/rpc";
 * import { Client, keepalive, map } from "@sluice/rpc/client";
 *
 * const services = { Math: { square: (n: number) => n * n } };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 *
 * const client = new Client<typeof services>(near, {
 *   keepalive: keepalive({ time: 15_000 }),
 * });
 * assertEquals(await client.call("Math.square", 3), 9);
 * const squares = map(client, "Math.square", [1, 2, 3]);
 * assertEquals(await Array.fromAsync(squares), [1, 4, 9]);
 * assertEquals(client.connection.stats().settled.executed, 4);
 * await client.close();
 * await server.close();
 * ```
 */
export class CoreClient<
  S extends object = UntypedServices,
  M extends WireMap = "json",
> extends ServiceClient<S, M> {
  /** The client's connection, with `stats()`, `calls()`, `ping()` and `rtt`. */
  readonly connection: Connection;
  /** Resolves when the connection has closed: with the error, or with `undefined` if one side closed it gracefully. Never rejects. */
  readonly closed: Promise<ConnectionError | undefined>;

  /**
   * Takes over the duplex. Calls can be made at once: the client does not wait
   * for the peer's HELLO.
   *
   * @throws {TypeError} If it is no duplex, one of its streams is locked, the
   *   protocol cannot carry credentials, or the services were not made by
   *   `callable`.
   * @throws {RangeError} If a limit is out of its range, or the credentials are
   *   too long.
   */
  constructor(duplex: Duplex, options: CoreClientOptions = {}) {
    const connection = new RpcConnection(duplex, options as ConnectionSetup);
    // Directly, not through the connection: saves a function call for each call.
    super(toCaller(connection.pending, options));
    this.connection = connection;
    this.closed = connection.closed;
  }

  /** Resolves when the in-flight window has room for a call. Rejects once the client accepts no more calls; that is never reported as unhandled. */
  get ready(): Promise<void> {
    return this.connection.ready;
  }

  /**
   * How many calls the in-flight window has room for now, like a stream
   * writer's `desiredSize`: 0 if the window is full or the client accepts no more
   * calls; negative by the number of calls that are queued. A loop that reads it
   * first does not wait for a `ready` that has resolved already:
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

  /** Lets the open connection keep the process alive, which is the default. Undoes `unref`. */
  ref(): void {
    this.connection.ref();
  }

  /** Lets the process exit while the connection is open, even with calls in flight; see {@linkcode Connection.unref}. */
  unref(): void {
    this.connection.unref();
  }

  /**
   * Closes gracefully: accepts no new calls, waits up to `timeout` (default
   * 5,000 ms) for the accepted ones, then closes the connection. Calls that are
   * still in flight reject with their true outcome. Idempotent; never rejects;
   * see {@linkcode Connection.close}.
   *
   * @throws {TypeError} If `timeout` is not a number.
   */
  close(options?: CloseOptions): Promise<void> {
    return this.connection.close(options);
  }

  /** Closes the connection at once. Calls in flight reject, with outcome `unknown`. */
  abort(reason?: unknown): Promise<void> {
    return this.connection.abort(reason);
  }

  /** The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** `await using` closes the client. */
export interface CoreClient<
  S extends object = UntypedServices,
  M extends WireMap = "json",
> extends AsyncDisposal {}
