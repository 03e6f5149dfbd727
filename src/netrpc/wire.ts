/**
 * Go's protocols, as values for the `protocol` option of a client or a server.
 *
 * @module
 */

import type { Protocol } from "../types/connection.ts";
import type { Optional } from "../types/optional.ts";
import type { CodecFactory } from "../wire/codec.ts";
import { checkWindow } from "../wire/connection_limits.ts";
import type { RegisteredTypes } from "./gob/encoder.ts";
import { GOB_LIMITS, type GobLimits } from "./gob/input.ts";
import { GobCodec } from "./gob_codec.ts";
import { JsonCodec } from "./json_codec.ts";
import { type GoMethods, toMethodTypes } from "./methods.ts";

/**
 * The options of {@linkcode netrpc}. The limits `maxDepth`, `maxElements` and
 * `maxExpansion` apply to gob; `maxDepth` also to JSON.
 */
export interface NetrpcOptions extends Optional<GobLimits> {
  /** How many calls a client has in flight at most, as a Go server grants no window. Default: 1,024, or the client's `windowCalls` if that is lower. */
  readonly window?: number | undefined;
  /** How values are encoded: `gob` as in Go's `net/rpc`, `json` as in `net/rpc/jsonrpc`. Default: `gob`. */
  readonly encoding?: "gob" | "json" | undefined;
  /** The types of arguments and replies that plain values do not determine; for gob only. Default: all types are inferred. */
  readonly methods?: GoMethods | undefined;
  /** The types of values in interfaces, by the names under which Go has registered them (`gob.Register`); for gob only. */
  readonly registered?: RegisteredTypes | undefined;
}

/**
 * Returns Go's `net/rpc` protocol, for the `protocol` option of `Client`,
 * `ReconnectingClient` and `Server`. A client with it calls a Go server, and a
 * server with it answers Go clients.
 *
 * A call has one argument, as in Go. The protocol supports no cancellation,
 * deadlines, metadata, streams or window: an abort or a deadline rejects the
 * call at the client while the handler runs on, and metadata and streams reject
 * with `invalid_argument`. `docs/guides/other_wires.md` lists what holds. The protocol is
 * that of Go's packages `net/rpc` (https://pkg.go.dev/net/rpc) and
 * `net/rpc/jsonrpc` (https://pkg.go.dev/net/rpc/jsonrpc).
 *
 * @throws {RangeError} If `window` is not a whole number of at least 1.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, connect, listen, Server } from "@sluice/rpc";
 * import { netrpc } from "@sluice/rpc/netrpc";
 *
 * const services = { HelloService: { Hello: (name: string) => `hello:${name}` } };
 * const server = new Server(services, { protocol: netrpc() });
 * const listener = await listen({ port: 0 });
 * server.serve(listener);
 *
 * const client = new Client<typeof services>(
 *   await connect(listener.address),
 *   { protocol: netrpc() },
 * );
 * assertEquals(await client.call("HelloService.Hello", "client 1"), "hello:client 1");
 * await client.close();
 * await server.close();
 * ```
 *
 * @example Types for structs
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, memoryPair, Server } from "@sluice/rpc";
 * import { goMethod, int, netrpc, type ServicesOf, struct } from "@sluice/rpc/netrpc";
 *
 * const Args = struct({ A: int, B: int }, "Args");
 * const methods = { Arith: { Multiply: goMethod(Args, int) } };
 * const protocol = netrpc({ methods });
 *
 * const services: ServicesOf<typeof methods> = {
 *   Arith: { Multiply: ({ A, B }) => A * B },
 * };
 * const [near, far] = memoryPair();
 * const server = new Server(services, { protocol });
 * server.accept(far);
 *
 * const client = new Client<typeof services, "exact">(near, { protocol });
 * assertEquals(await client.call("Arith.Multiply", { A: 7, B: 8 }), 56);
 * await client.close();
 * await server.close();
 * ```
 */
export function netrpc(
  options?: NetrpcOptions & { readonly encoding?: "gob" },
): Protocol<"exact">;
/**
 * Returns the protocol of Go's `net/rpc/jsonrpc`, which sends values as JSON.
 *
 * @throws {RangeError} If `window` is not a whole number of at least 1.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, memoryPair, Server } from "@sluice/rpc";
 * import { netrpc } from "@sluice/rpc/netrpc";
 *
 * const protocol = netrpc({ encoding: "json" });
 * const services = { Arith: { Add: ([a, b]: number[]) => a + b } };
 * const [near, far] = memoryPair();
 * const server = new Server(services, { protocol });
 * server.accept(far);
 *
 * const client = new Client<typeof services>(near, { protocol });
 * assertEquals(await client.call("Arith.Add", [7, 8]), 15);
 * await client.close();
 * await server.close();
 * ```
 */
export function netrpc(
  options: NetrpcOptions & { readonly encoding: "json" },
): Protocol<"json">;
export function netrpc(options: NetrpcOptions = {}): Protocol {
  const { maxDepth, maxElements, maxExpansion, window } = options;
  checkWindow(window);
  const limits: GobLimits = {
    maxDepth: maxDepth ?? GOB_LIMITS.maxDepth,
    maxElements: maxElements ?? GOB_LIMITS.maxElements,
    maxExpansion: maxExpansion ?? GOB_LIMITS.maxExpansion,
  };
  if (options.encoding === "json") {
    const codec: CodecFactory = (handler, settings) =>
      new JsonCodec(handler, settings, { window, limits });
    return { name: "net/rpc/jsonrpc", json: true, codec };
  }
  const settings = {
    methods: toMethodTypes(options.methods ?? {}),
    registered: options.registered ?? {},
    limits,
    window,
  };
  const codec: CodecFactory = (handler, own) =>
    new GobCodec(handler, own, settings);
  return { name: "net/rpc", codec };
}
