/**
 * The reconnecting client of `@sluice/rpc`: the slim one with streams, fragments, keepalive,
 * URLs and Deno's connections as duplexes, and the functions of
 * `@sluice/rpc/client` as methods.
 *
 * @module
 */

import { isPromise, typeName } from "../../base/inspect.ts";
import { parseTarget } from "../../transport/address.ts";
import { connect } from "../../transport/connect.ts";
import { toDuplex } from "../../transport/sockets/deno_conn.ts";
import { keepalive } from "../../connection/watchdog.ts";
import { fragments } from "../../wire/fragments/support.ts";
import { streams } from "../../streams/support.ts";
import { toSerializer } from "../../wire/values/serializer_list.ts";
import type { SerializerOption, WireMap } from "../../types/connection.ts";
import type { MethodName, UntypedServices } from "../../types/services.ts";
import {
  map,
  stage,
  type StageInputsOf,
  type StageOf,
  type StageOutputOf,
} from "../stage.ts";
import type { OnStageError, StageOptions } from "../stage_options.ts";
import type { Dial } from "./dial_attempt.ts";
import {
  CoreReconnectingClient,
  type CoreReconnectingClientOptions,
} from "./reconnecting_client.ts";

/** Options of a {@linkcode ReconnectingClient}. Limits apply to each of its connections; `maxQueuedCalls` and `maxQueuedBytes` also to the calls that wait for a connection. */
export interface ReconnectingClientOptions extends
  Omit<
    CoreReconnectingClientOptions,
    "streams" | "fragments" | "keepalive" | "serializer"
  > {
  /** Encodes values in place of JSON: one serializer, or a list in order of preference, in which `"json"` stands for JSON: see {@linkcode serializers}. Both sides need a common one, or the connection closes with `serializer_mismatch`. */
  serializer?: SerializerOption | undefined;
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
 * import { echoServices, listen, ReconnectingClient, Server } from "@sluice/rpc";
 *
 * type Services = ReturnType<typeof echoServices>;
 * const listener = await listen("tcp://127.0.0.1:0");
 * const first = new Server(echoServices());
 * first.serve(listener);
 * const client = new ReconnectingClient<Services>(listener.url);
 * assertEquals(await client.call("HelloService.Hello", "x"), "hello:x");
 *
 * // The server restarts, and the client's calls wait for it.
 * await first.close();
 * const second = new Server(echoServices());
 * second.serve(await listen(listener.url));
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
> extends CoreReconnectingClient<S, M> {
  /**
   * Starts to dial. Calls can be made at once: they wait for the connection.
   *
   * @param to The server's URL, as for {@linkcode connect}; or a function that
   *   makes a duplex for each connection.
   * @throws {RangeError} If a limit or a time is out of its range, or the
   *   credentials are too long.
   * @throws {TypeError} If `to` is no such URL and no function, or `resend` is
   *   neither `"safe"` nor `"never"`.
   */
  constructor(
    to: string | URL | Dial,
    options: ReconnectingClientOptions = {},
  ) {
    super(toDial(to), {
      ...options,
      serializer: toSerializer(options.serializer),
      streams: streams(),
      fragments: fragments(),
      keepalive: keepalive(),
    });
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
}

function toDial(to: string | URL | Dial): Dial {
  if (typeof to === "function") {
    return async (signal) => toDuplex(await to(signal));
  }
  if (typeof to !== "string" && !(to instanceof URL)) {
    const received = isPromise(to)
      ? "a promise; pass () => connect(...)"
      : typeName(to);
    throw new TypeError(
      `Cannot dial: expected a URL or a function, received ${received}`,
    );
  }
  // Now: in a dial, the client would only report it after many of them.
  parseTarget("Cannot connect", { url: to }, 1);
  return (signal) => connect(to, { signal });
}
