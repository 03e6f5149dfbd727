/**
 * The client that stays: a new connection whenever the old one has gone.
 *
 * Invariant owned here: none of its own; it reads options and adds types.
 * Everything that can happen to a call between two connections happens in
 * `reconnector.ts`.
 *
 * @module
 */

import {
  map,
  stage,
  type StageInputs,
  type StageOf,
  type StageOutputOf,
} from "../stage.ts";
import type { OnStageError, StageOptions } from "../stage_options.ts";
import { type RetryOptions, toRetry } from "./dialer.ts";
import type { ServiceDefinition } from "../../types/connection.ts";
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
import type { Connection } from "../../types/connection.ts";
import type {
  CloseOptions,
  ConnectionOptions,
  Credentials,
  CredentialsSource,
  WireMap,
} from "../../types/connection.ts";
import { toCredentials } from "../../wire/hello.ts";
import type { AsyncDisposal } from "../../types/duplex.ts";
import type { ConnectionError } from "../../base/errors.ts";
import { toLimits } from "../../wire/limits.ts";
import type { Dial } from "./dial.ts";
import type { LiveCall } from "../../types/stats.ts";
import { Reconnector } from "./reconnector.ts";
import type { MethodName, UntypedServices } from "../../types/services.ts";

/** Options of a {@linkcode ReconnectingClient}; limits hold for each of its connections, and those on queued calls for the ones that wait for a connection, too. */
export interface ReconnectingClientOptions
  extends ConnectionOptions, CallerOptions {
  /** Who this is, for a server with `authorize`; a function is asked before each dial, so that what it gives is fresh. */
  credentials?: Credentials | CredentialsSource | undefined;
  /** What the server may call here, on each connection: see {@linkcode callable}. */
  services?: ServiceDefinition | undefined;
  /** How long it waits between dials, and how often it tries. */
  retry?: RetryOptions | undefined;
  /** Milliseconds for one dial and the credentials for it; the handshake then has its own `handshakeTimeout`. Default 10,000. */
  dialTimeout?: number | undefined;
  /** What a call made without a connection does: `wait` for one (the default), or `reject` at once, `unavailableError`, `not_sent`. */
  whenOffline?: "wait" | "reject" | undefined;
  /** Methods whose calls may be sent again though they may have run; a call's own `idempotent` goes before. */
  idempotent?: Iterable<string> | undefined;
  /**
   * Which calls the client sends again by itself when their connection goes.
   *
   * - `"safe"` (the default): calls that certainly did not run (`not_sent`,
   *   `refused`), and idempotent ones.
   * - `"never"`: none. A call that a connection has accepted rejects with its
   *   true outcome when that connection goes, also if it still waited there for
   *   the window, and whatever `idempotent` says. A call that no connection has
   *   accepted yet still waits or rejects as `whenOffline` says.
   *
   * Use `"never"` where the caller keeps an order of its own, such as that of a
   * replicated log, and decides itself what follows a failed call. Such a caller
   * should also set `whenOffline: "reject"`, so that no call it made before it
   * learned of a failure is sent after that. And it should not send before all
   * earlier calls have settled whenever `onStateChange` reports that the state
   * is no longer `ready`: after a GOAWAY the old connection finishes its calls
   * while the next connection takes new ones.
   */
  resend?: "safe" | "never" | undefined;
  /** Told of every change of state; what it throws is lost. */
  onStateChange?: StateListener | undefined;
}

/**
 * A {@linkcode Client} over one connection after another: when one is lost, or
 * its peer says goodbye, the next is dialled, with growing, random delays.
 *
 * A call that surely did not run (`not_sent`, `refused`) because its connection
 * went is sent again by itself, in the order the calls were made. One that may
 * have run (`unknown`) rejects, unless it is `idempotent`. Any other failure is
 * the call's own and rejects it. Deadlines and signals hold all the time, also
 * while there is no connection.
 *
 * The delays begin anew after a connection that has lived for
 * `retry.stableAfter`. A server that answers a call and closes, again and again,
 * is dialled ever more slowly.
 *
 * It ends by `close` or `abort`, after `retry.attempts` dials in a row that
 * failed, when two in a row are told `unauthenticated`, or after
 * `retry.fatalAttempts` in a row that failed for a reason that lasts: a peer
 * with another serializer or version, one that is no Sluice peer, a `dial` that
 * throws a `TypeError`. A call that is rejected while there is no connection
 * has what the latest dial failed with as its `cause`.
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
 * // The server is restarted; the client's calls wait for it.
 * await first.close();
 * const second = new Server(echoServices());
 * second.serve(await listen(listener.address));
 * assertEquals(await client.call("HelloService.Hello", "y"), "hello:y");
 * await client.close();
 * await second.close();
 * ```
 */
export class ReconnectingClient<
  S extends object = UntypedServices,
  M extends WireMap = "json",
> extends ServiceClient<S, M> {
  readonly #reconnector: Reconnector;

  /**
   * Dials at once. Calls can be made at once, too.
   *
   * @param dial Makes a duplex, whenever one is needed. Its signal fires when
   *   the duplex is not wanted any more; what it still returns is destroyed.
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
        `Cannot use dialTimeout: a number above 0, received ${dialTimeout}`,
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
      rejectAway: whenOffline === "reject",
      idempotent: new Set(options.idempotent),
      neverResend: resend === "never",
      maxQueuedCalls,
      maxQueuedBytes,
      onStateChange: options.onStateChange,
      connection: options,
    });
    super(toCaller(reconnector, options));
    this.#reconnector = reconnector;
  }

  /** The connection that takes calls; `undefined` while there is none. */
  get connection(): Connection | undefined {
    return this.#reconnector.connection;
  }

  /** Resolves when there is a connection with room in its window; rejects once no call is taken any more. Ignoring it is safe. */
  get ready(): Promise<void> {
    return this.#reconnector.ready;
  }

  /** How many calls can be made now without waiting, as {@linkcode Client.desiredSize}; 0 or less while there is no connection. */
  get desiredSize(): number {
    return this.#reconnector.desiredSize;
  }

  /** Where it is. */
  get state(): ClientState {
    return this.#reconnector.state.current;
  }

  /**
   * The state now, then the latest after each change; ends after `closed`. One
   * that reads slowly may miss a state that did not last: `onStateChange` is told all.
   */
  states(): AsyncIterableIterator<ClientState> {
    return this.#reconnector.state.watch();
  }

  /** Resolves when it is over: with what ended it, or with `undefined` after `close`. Never rejects. */
  get closed(): Promise<ConnectionError | undefined> {
    return this.#reconnector.closed;
  }

  /** The client in numbers. */
  stats(): ReconnectingStats {
    return this.#reconnector.stats();
  }

  /** What hangs? Every call that has not ended, those that wait for a connection last; see {@linkcode Connection.calls}. */
  calls(): LiveCall[] {
    return this.#reconnector.calls();
  }

  /** Keeps the process alive, as it does from the start; undoes `unref`. */
  ref(): void {
    this.#reconnector.hold(true);
  }

  /**
   * Lets the process end although this client is open: its connections, the
   * waits between dials, and calls that wait for a connection. (A dial that is
   * under way is the business of whoever makes it.) See
   * {@linkcode Connection.unref}.
   */
  unref(): void {
    this.#reconnector.hold(false);
  }

  /**
   * Takes no new call, lets those accepted finish within `timeout` (default
   * 5,000 ms), those that wait for a connection included; closes. What is not
   * finished by then is settled with its true outcome. Idempotent, and never
   * rejects; see {@linkcode Connection.close}.
   *
   * @throws {TypeError} If `timeout` is not a number.
   */
  close(options: CloseOptions = {}): Promise<void> {
    return this.#reconnector.close(options);
  }

  /** Ends it at once: gives up the dial, and rejects calls, those in flight with outcome `unknown`. Resolves when it is over. */
  abort(reason?: unknown): Promise<void> {
    return this.#reconnector.stop(reason);
  }

  /** The method as a transform of streams; see {@linkcode stage}. */
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

  /** The results of the method called with each of `inputs`; see {@linkcode map}. */
  map<
    N extends { [K in MethodName<S>]: K }[MethodName<S>],
    Ordered extends boolean = true,
    OnError extends OnStageError = "fail",
  >(
    method: N,
    inputs: StageInputs<S, N>,
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
