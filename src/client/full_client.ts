/**
 * The client of `@sluice/rpc`: the slim client with streams, fragments, keepalive, Deno's
 * connections as duplexes, and the functions of `@sluice/rpc/client` as methods.
 *
 * @module
 */

import type { SerializerOption, WireMap } from "../types/connection.ts";
import type { Duplex } from "../types/duplex.ts";
import type { MethodName, UntypedServices } from "../types/services.ts";
import type { ConnectionStats, LiveCall } from "../types/stats.ts";
import { toDuplex } from "../transport/sockets/deno_conn.ts";
import { streams } from "../streams/support.ts";
import { fragments } from "../wire/fragments/support.ts";
import { toSerializer } from "../wire/values/serializer_list.ts";
import { keepalive } from "../connection/watchdog.ts";
import { CoreClient, type CoreClientOptions } from "./client.ts";
import {
  map,
  stage,
  type StageInputsOf,
  type StageOf,
  type StageOutputOf,
} from "./stage.ts";
import type { OnStageError, StageOptions } from "./stage_options.ts";

/** Options of a {@linkcode Client}. */
export interface ClientOptions extends
  Omit<
    CoreClientOptions,
    "streams" | "fragments" | "keepalive" | "serializer"
  > {
  /** Encodes values in place of JSON: one serializer, or a list in order of preference, in which `"json"` stands for JSON: see {@linkcode serializers}. Both sides need a common one, or the connection closes with `serializer_mismatch`. */
  serializer?: SerializerOption | undefined;
}

/**
 * Calls the services of a server over a duplex: a socket of
 * {@linkcode connect}, pipes, or {@linkcode memoryPair} within a process.
 *
 * The type argument is the type of the services. Method names, params and
 * results follow from it; no code is generated.
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
      serializer: toSerializer(options.serializer),
      streams: streams(),
      fragments: fragments(),
      keepalive: keepalive(),
    });
  }

  /** Returns the numbers of the connection: calls, windows, bytes, streams. */
  stats(): ConnectionStats {
    return this.connection.stats();
  }

  /** Lists the calls of the connection that have not ended, outgoing first. Use it to find hung requests. */
  calls(): LiveCall[] {
    return this.connection.calls();
  }

  /** Returns the method as a transform of streams; see {@linkcode stage}. */
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

  /** Calls the method with each of `inputs` and iterates over the results; see {@linkcode map}. */
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
