/**
 * The slim client that dials a new connection whenever it has lost the old one:
 * its options and its typed interface. `reconnector.ts` has the connections, and
 * `resend.ts` what becomes of calls between them. As the slim `Client`, it
 * carries no optional feature; `full_reconnecting_client.ts` passes them.
 *
 * @module
 */

import { type RetryOptions, toRetry } from "./backoff.ts";
import type {
  CloseOptions,
  Connection,
  ConnectionOptions,
  Credentials,
  CredentialsSource,
  FragmentFeature,
  KeepaliveFeature,
  ServiceDefinition,
  StreamFeature,
  WireMap,
} from "../../types/connection.ts";
import {
  type CallerOptions,
  ServiceClient,
  toCaller,
} from "../service_client.ts";
import type {
  ClientState,
  ReconnectingStats,
  StateListener,
} from "./client_state.ts";
import { systemClock } from "../../base/clock.ts";
import { toCredentials } from "../../wire/hello.ts";
import type { AsyncDisposal } from "../../types/duplex.ts";
import type { ConnectionError } from "../../base/errors.ts";
import { typeName } from "../../base/inspect.ts";
import { type AnySerializer, namesOf } from "../../wire/values/serializers.ts";
import { toLimits } from "../../wire/connection_limits.ts";
import type { ActiveConnectionSetup, Dial } from "./dial_attempt.ts";
import type { LiveCall } from "../../types/stats.ts";
import { Reconnector } from "./reconnector.ts";
import type { UntypedServices } from "../../types/services.ts";

/** Options of the slim `ReconnectingClient` of `@sluice/rpc/client`. Limits apply to each of its connections; `maxQueuedCalls` and `maxQueuedBytes` also to the calls that wait for a connection. */
export interface CoreReconnectingClientOptions
  extends ConnectionOptions, CallerOptions {
  /** Credentials for a server with `authorize`: text or bytes, at most 15,360 bytes. If it is a function, the client calls it before each dial, so that the server always gets a fresh token. Default none. */
  credentials?: Credentials | CredentialsSource | undefined;
  /** What the server may call here, on each connection: see {@linkcode callable}. Default nothing. */
  services?: ServiceDefinition | undefined;
  /** Pass `streams()` to send and receive streams: see {@linkcode streams}. Default: a stream as params is refused with `invalid_argument`. */
  streams?: StreamFeature | undefined;
  /** Pass `fragments()` to send and receive large messages in fragments: see {@linkcode fragments}. Default: each is sent whole, and calls behind it wait. */
  fragments?: FragmentFeature | undefined;
  /** Pass `keepalive()` to detect a peer that is silent or stuck: see {@linkcode keepalive}. Default: only deadlines and the transport end a call. */
  keepalive?: KeepaliveFeature | undefined;
  /** Delays between dials, and when the client gives up. */
  retry?: RetryOptions | undefined;
  /** Milliseconds, above 0, for one dial and its credentials. The handshake that follows has its own `handshakeTimeout`. Default 10,000. */
  dialTimeout?: number | undefined;
  /** What a call does while there is no connection: it waits for one (`"wait"`, the default), or rejects at once, `unavailable` and `not_sent` (`"reject"`). */
  whenOffline?: "wait" | "reject" | undefined;
  /** Methods whose calls the client may send again although they may have run. The option `idempotent` of a call has priority. Default none. */
  idempotent?: Iterable<string> | undefined;
  /**
   * Which calls the client sends again by itself when their connection is lost
   * or closed.
   *
   * - `"safe"` (the default): calls that certainly did not run (`not_sent`,
   *   `refused`), and idempotent ones.
   * - `"never"`: none. If a connection ends, each call that was made on it
   *   rejects with its true outcome, even a call that waited for the window or
   *   is idempotent. A call made while there is no connection waits or rejects
   *   as `whenOffline` says.
   *
   * Use `"never"` if the caller keeps an order of its own, such as that of a
   * replicated log, and decides itself what follows a failed call. Such a caller
   * should do two more things. Set `whenOffline: "reject"`, so that no call that
   * was made before the caller learned of a failure is sent after it. And when
   * `onStateChange` reports that the state is no longer `ready`, let all earlier
   * calls settle before the next one: after a graceful close the old connection
   * finishes its calls while the next connection takes new ones.
   */
  resend?: "safe" | "never" | undefined;
  /** Called on every state change. Exceptions it throws are ignored. */
  onStateChange?: StateListener | undefined;
}

/**
 * The reconnecting client of `@sluice/rpc/client`: a client that outlives its
 * connections, as {@linkcode ReconnectingClient} of `@sluice/rpc` says. Its other
 * features are passed as options, so that a bundle carries only what the program
 * uses.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { memoryPair, Server } from "@sluice/rpc";
 * import { keepalive, ReconnectingClient } from "@sluice/rpc/client";
 *
 * const services = { Math: { square: (n: number) => n * n } };
 * const server = new Server(services);
 * // In a page: (signal) => connectWebSocket("/rpc", { signal })
 * const dial = () => {
 *   const [near, far] = memoryPair();
 *   server.accept(far);
 *   return near;
 * };
 * const client = new ReconnectingClient<typeof services>(dial, {
 *   keepalive: keepalive(),
 * });
 * assertEquals(await client.call("Math.square", 3), 9);
 * await client.close();
 * await server.close();
 * ```
 */
export class CoreReconnectingClient<
  S extends object = UntypedServices,
  M extends WireMap = "json",
> extends ServiceClient<S, M> {
  readonly #reconnector: Reconnector;

  /**
   * Starts to dial. Calls can be made at once: they wait for the connection.
   *
   * @param dial Makes a duplex for each connection.
   * @throws {RangeError} If a limit or a time is out of its range, or the
   *   credentials are too long.
   * @throws {TypeError} If `dial` is not a function, or `resend` is neither
   *   `"safe"` nor `"never"`.
   */
  constructor(dial: Dial, options: CoreReconnectingClientOptions = {}) {
    const {
      dialTimeout = 10_000,
      whenOffline = "wait",
      resend = "safe",
      credentials,
    } = options;
    if (typeof credentials !== "function" && credentials !== undefined) {
      toCredentials(credentials);
    }
    namesOf(options.serializer as AnySerializer);
    if (typeof dial !== "function") {
      throw new TypeError(
        `Cannot dial: expected a function, received ${typeName(dial)}`,
      );
    }
    if (!(dialTimeout > 0)) {
      throw new RangeError(
        `Cannot use dialTimeout: give a number above 0, received ${dialTimeout}`,
      );
    }
    if (resend !== "safe" && resend !== "never") {
      throw new TypeError(
        `Cannot use resend: give "safe" or "never", received ${String(resend)}`,
      );
    }
    const { maxQueuedCalls, maxQueuedBytes } = toLimits(options);
    const reconnector = new Reconnector({
      dial,
      dialTimeout,
      retry: toRetry(options.retry),
      clock: options.clock ?? systemClock,
      rejectOffline: whenOffline === "reject",
      idempotent: new Set(options.idempotent),
      neverResend: resend === "never",
      maxQueuedCalls,
      maxQueuedBytes,
      onStateChange: options.onStateChange,
      connection: options as ActiveConnectionSetup,
    });
    super(toCaller(reconnector.calls, options));
    this.#reconnector = reconnector;
  }

  /** The connection that takes calls; `undefined` while there is none. */
  get connection(): Connection | undefined {
    return this.#reconnector.active?.connection;
  }

  /** Resolves when there is a connection whose in-flight window has room; rejects once the client accepts no more calls. It is safe to ignore. */
  get ready(): Promise<void> {
    return this.#reconnector.ready;
  }

  /** How many calls can be made now without waiting: see {@linkcode Client.desiredSize}. While there is no connection it is 0, or minus the number of calls that wait. */
  get desiredSize(): number {
    return this.#reconnector.desiredSize;
  }

  /** The state now. */
  get state(): ClientState {
    return this.#reconnector.state.current;
  }

  /**
   * Yields the state now, then the latest state after each change; ends after
   * `closed`. A slow reader may miss states that did not last; `onStateChange`
   * gets them all.
   */
  states(): AsyncIterableIterator<ClientState> {
    return this.#reconnector.state.watch();
  }

  /** Resolves when the client has ended: with the error that ended it, or with `undefined` after `close`. Never rejects. */
  get closed(): Promise<ConnectionError | undefined> {
    return this.#reconnector.closed;
  }

  /** Returns the numbers of all its connections. */
  stats(): ReconnectingStats {
    return this.#reconnector.stats();
  }

  /** Lists in-flight calls, those that wait for a connection last. Use it to find hung requests. See {@linkcode Connection.calls}. */
  calls(): LiveCall[] {
    return this.#reconnector.listCalls();
  }

  /** Keeps the process alive, which is the default; undoes `unref`. */
  ref(): void {
    this.#reconnector.setReferenced(true);
  }

  /**
   * Lets the process exit although the client is open: neither its connections,
   * nor delays between dials, nor calls that wait for a connection keep it alive.
   * A dial that is in progress still may; that is up to the `dial` function. See
   * {@linkcode Connection.unref}.
   */
  unref(): void {
    this.#reconnector.setReferenced(false);
  }

  /**
   * Closes the client gracefully: it accepts no new calls, finishes those it has
   * accepted, including those that wait for a connection, and closes its
   * connections. Calls that have not finished within `timeout` (default 5,000 ms)
   * reject with their true outcome. May be called again, and never rejects: see
   * {@linkcode Connection.close}.
   *
   * @throws {TypeError} If `timeout` is not a number.
   */
  close(options: CloseOptions = {}): Promise<void> {
    return this.#reconnector.close(options);
  }

  /** Ends the client at once: it stops dialling, and calls reject, those in flight with the outcome `unknown`. Resolves when the connections are closed. */
  abort(reason?: unknown): Promise<void> {
    return this.#reconnector.abort(reason);
  }

  /** The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Can be used with `await using`, which closes it. */
export interface CoreReconnectingClient<
  S extends object = UntypedServices,
  M extends WireMap = "json",
> extends AsyncDisposal {}
