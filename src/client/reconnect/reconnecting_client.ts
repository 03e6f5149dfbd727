/**
 * The client that dials a new connection whenever it has lost the old one: its
 * options and its typed interface. `reconnector.ts` has the connections, and
 * `resend.ts` what becomes of calls between them.
 *
 * @module
 */

import {
  map,
  stage,
  type StageInputsOf,
  type StageOf,
  type StageOutputOf,
} from "../stage.ts";
import type { OnStageError, StageOptions } from "../stage_options.ts";
import { type RetryOptions, toRetry } from "./backoff.ts";
import type {
  CloseOptions,
  Connection,
  ConnectionOptions,
  Credentials,
  CredentialsSource,
  ServiceDefinition,
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
import { toLimits } from "../../wire/connection_limits.ts";
import type { ActiveConnectionSetup, Dial } from "./dial_attempt.ts";
import type { LiveCall } from "../../types/stats.ts";
import { Reconnector } from "./reconnector.ts";
import type { MethodName, UntypedServices } from "../../types/services.ts";

/** Options of a {@linkcode ReconnectingClient}. Limits apply to each of its connections; `maxQueuedCalls` and `maxQueuedBytes` also to the calls that wait for a connection. */
export interface ReconnectingClientOptions
  extends ConnectionOptions, CallerOptions {
  /** Credentials for a server with `authorize`: text or bytes, at most 15,360 bytes. If it is a function, the client calls it before each dial, so that the server always gets a fresh token. Default none. */
  credentials?: Credentials | CredentialsSource | undefined;
  /** What the server may call here, on each connection: see {@linkcode callable}. Default nothing. */
  services?: ServiceDefinition | undefined;
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
 * A {@linkcode Client} that outlives its connections. When a connection is lost,
 * or the server closes it, the client dials the next one, with random delays
 * that grow.
 *
 * If a call fails because of its connection, its outcome decides. A call that
 * certainly did not run (`not_sent`, `refused`) is sent again by itself, in the
 * order in which calls were made. A call that may have run (`unknown`) rejects,
 * unless it is `idempotent`. {@linkcode ReconnectingClientOptions.resend} turns
 * this off. Every other failure rejects the call, as with a `Client`. Deadlines
 * and signals apply all the time, also while there is no connection.
 *
 * Delays start at `retry.base` again after a connection that lived for
 * `retry.stableAfter`. So the client dials a server that replies to one call and
 * closes, again and again, ever more slowly.
 *
 * The client ends with `close` or `abort`, and it gives up when:
 *
 * - `retry.attempts` dials in a row have failed;
 * - two dials in a row have failed with `unauthenticated`;
 * - `retry.fatalAttempts` dials in a row have failed for a lasting reason: the
 *   peer uses another serializer or protocol version, or is no Sluice peer, or
 *   `dial` threw a programming error such as a `TypeError`.
 *
 * Then all calls that wait reject, `unavailable` and `not_sent`, with the reason
 * as their `cause`. A call that rejects for another reason while there is no
 * connection has the error of the latest dial as its `cause`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { connect, echoServices, listen, ReconnectingClient, Server } from "@sluice/rpc";
 *
 * type Services = ReturnType<typeof echoServices>;
 * const listener = await listen({ port: 0 });
 * const first = new Server(echoServices());
 * first.serve(listener);
 * const client = new ReconnectingClient<Services>((signal) =>
 *   connect({ ...listener.address, signal })
 * );
 * assertEquals(await client.call("HelloService.Hello", "x"), "hello:x");
 *
 * // The server restarts, and the client's calls wait for it.
 * await first.close();
 * const second = new Server(echoServices());
 * second.serve(await listen(listener.address));
 * assertEquals(await client.call("HelloService.Hello", "y"), "hello:y");
 * await client.close();
 * await second.close();
 * ```
 *
 * @example A caller that sends nothing again
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { memoryPair, ReconnectingClient, RpcError, Server } from "@sluice/rpc";
 *
 * const services = { Log: { append: (_: string) => new Promise<void>(() => {}) } };
 * const server = new Server(services);
 * const client = new ReconnectingClient<typeof services>(() => {
 *   const [near, far] = memoryPair();
 *   server.accept(far);
 *   return near;
 * }, { resend: "never", whenOffline: "reject" });
 * await client.ready;
 * const handle = client.go("Log.append", "entry 1");
 * await handle.sent;
 * await client.connection?.abort();
 * const error = await handle.reply.catch((error) => error);
 * assertEquals(error instanceof RpcError && error.outcome, "unknown");
 * await client.close();
 * await server.close({ timeout: 0 });
 * ```
 */
export class ReconnectingClient<
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
   * @throws {TypeError} If `resend` is neither `"safe"` nor `"never"`.
   */
  constructor(dial: Dial, options: ReconnectingClientOptions = {}) {
    const {
      dialTimeout = 10_000,
      whenOffline = "wait",
      resend = "safe",
      credentials,
    } = options;
    if (typeof credentials !== "function" && credentials !== undefined) {
      toCredentials(credentials);
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

  /** Returns the method as a stream transform, which calls it with each chunk: see {@linkcode stage}. */
  stage<
    N extends { [K in MethodName<S>]: K }[MethodName<S>],
    Ordered extends boolean = true,
    OnError extends OnStageError = "fail",
  >(
    method: N,
    options: StageOptions<Ordered, OnError> = {},
  ): StageOf<S, N, M, Ordered, OnError> {
    return stage(this, method, options);
  }

  /** Calls the method with each of `inputs` and yields the results: see {@linkcode map}. */
  map<
    N extends { [K in MethodName<S>]: K }[MethodName<S>],
    Ordered extends boolean = true,
    OnError extends OnStageError = "fail",
  >(
    method: N,
    inputs: StageInputsOf<S, N>,
    options: StageOptions<Ordered, OnError> = {},
  ): AsyncIterableIterator<StageOutputOf<S, N, M, Ordered, OnError>> {
    return map(this, method, inputs, options);
  }

  /** The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Can be used with `await using`, which closes it. */
export interface ReconnectingClient<
  S extends object = UntypedServices,
  M extends WireMap = "json",
> extends AsyncDisposal {}
