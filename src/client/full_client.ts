/**
 * The client with everything: the core, streams, services, stages, keepalive,
 * statistics.
 *
 * @module
 */

import { streams } from "../streams/support.ts";
import { toDuplex } from "../transport/deno_conn.ts";
import type { Duplex } from "../types/duplex.ts";
import { keepalive } from "../connection/watchdog.ts";
import type { ConnectionStats, LiveCall } from "../types/stats.ts";
import { CoreClient, type CoreClientOptions } from "./client.ts";
import type { MethodName, UntypedServices } from "../types/services.ts";
import type { WireMap } from "../types/connection.ts";
import {
  map,
  stage,
  type StageInputs,
  type StageOf,
  type StageOutputOf,
} from "./stage.ts";
import type { OnStageError, StageOptions } from "./stage_options.ts";

/** Options of a {@linkcode Client}. */
export interface ClientOptions
  extends Omit<CoreClientOptions, "streams" | "keepalive"> {}

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
export class Client<
  S extends object = UntypedServices,
  M extends WireMap = "json",
> extends CoreClient<S, M> {
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
  constructor(duplex: Duplex, options: ClientOptions = {}) {
    super(toDuplex(duplex), {
      ...options,
      streams: streams(),
      keepalive: keepalive(),
    });
  }

  /** The connection in numbers. */
  stats(): ConnectionStats {
    return this.connection.stats();
  }

  /** Lists the calls of the connection that have not ended, outgoing first. Use it to find hung requests. */
  calls(): LiveCall[] {
    return this.connection.calls();
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
}
