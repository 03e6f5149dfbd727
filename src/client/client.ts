/**
 * The client: a connection with the types of the services at its other end.
 *
 * Invariant owned here: none of its own. `calls.ts` adds types, defaults and
 * the proxy; everything that can happen to a call happens in `pending.ts`.
 *
 * @module
 */

import {
  type CallerOptions,
  ServiceClient,
  toCaller,
} from "./service_client.ts";
import { RpcConnection } from "../connection/connection.ts";
import type { ConnectionSetup } from "../connection/contract.ts";
import type {
  CloseOptions,
  Connection,
  ConnectionOptions,
  Credentials,
  KeepaliveFeature,
  ServiceDefinition,
  StreamFeature,
  WireMap,
} from "../types/connection.ts";
import type { AsyncDisposal, Duplex } from "../types/duplex.ts";
import type { ConnectionError } from "../base/errors.ts";
import type { UntypedServices } from "../types/services.ts";

/** Options of a {@linkcode Client}. */
export interface CoreClientOptions extends ConnectionOptions, CallerOptions {
  /** Who this is, for a server with `authorize`: text or bytes, at most 15,360 bytes of them. */
  credentials?: Credentials | undefined;
  /** What the server may call here: see {@linkcode callable}. Without it nothing. */
  services?: ServiceDefinition | undefined;
  /** Lets params and results be streams: see {@linkcode streams}. */
  streams?: StreamFeature | undefined;
  /** Notices a peer that is silent or stuck: see {@linkcode keepalive}. */
  keepalive?: KeepaliveFeature | undefined;
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
export class CoreClient<
  S extends object = UntypedServices,
  M extends WireMap = "json",
> extends ServiceClient<S, M> {
  /** The connection underneath. */
  readonly connection: Connection;

  /**
   * Takes the duplex over. Calls can be made at once: nobody waits for the
   * peer's HELLO.
   *
   * @throws {TypeError} If it is no duplex, one of its streams is locked, the
   *   wire has no place for credentials, or the services are not callable.
   * @throws {RangeError} If a limit is out of its range, or the credentials are
   *   too long.
   */
  constructor(duplex: Duplex, options: CoreClientOptions = {}) {
    const connection = new RpcConnection(duplex, options as ConnectionSetup);
    // Not by way of the connection: a layer less for every call.
    super(toCaller(connection.pending, options));
    this.connection = connection;
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

  /** Resolves when the connection is over: with what went wrong, or with `undefined` if one of its ends closed it in order. Never rejects. */
  get closed(): Promise<ConnectionError | undefined> {
    return this.connection.closed;
  }

  /** Keeps the process alive while the connection is open, as it does from the start; undoes `unref`. */
  ref(): void {
    this.connection.ref();
  }

  /** Lets the process end although the connection is open, calls in flight or not; see {@linkcode Connection.unref}. */
  unref(): void {
    this.connection.unref();
  }

  /**
   * Takes no new call, lets those accepted finish within `timeout` (default
   * 5,000 ms), closes. What is not finished by then is settled with its true
   * outcome. Idempotent, and never rejects; see {@linkcode Connection.close}.
   *
   * @throws {TypeError} If `timeout` is not a number.
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
}

/** Can be used with `await using`, which closes it. */
export interface CoreClient<
  S extends object = UntypedServices,
  M extends WireMap = "json",
> extends AsyncDisposal {}
