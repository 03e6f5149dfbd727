/**
 * Go's wires, as the `wire` option of a client or a server takes them.
 *
 * @module
 */

import type { CodecFactory } from "../wire/codec.ts";
import type { Protocol } from "../types/connection.ts";
import { checkWindow } from "../wire/limits.ts";
import type { RegisteredTypes } from "./gob/encoder.ts";
import { GOB_LIMITS, type GobLimits } from "./gob/input.ts";
import { GobCodec } from "./gob_codec.ts";
import { JsonCodec } from "./json_codec.ts";
import { type GoMethods, toMethodTypes } from "./methods.ts";
import type { Optional } from "../types/optional.ts";

/** Options of {@linkcode netrpc}. */
export interface NetrpcOptions extends Optional<GobLimits> {
  /** Calls of ours in flight at once, as Go grants no window. Default: 1,024, or `windowCalls` if that is less. */
  readonly window?: number | undefined;
  /** How values are written: as `net/rpc` does it, or as `net/rpc/jsonrpc`. Default `gob`. */
  readonly encoding?: "gob" | "json" | undefined;
  /** The types of methods whose plain values do not say them; gob only. */
  readonly methods?: GoMethods | undefined;
  /** The types behind names that Go has registered (`gob.Register`), for values in interfaces; gob only. */
  readonly registered?: RegisteredTypes | undefined;
}

/**
 * The wire of Go's `net/rpc`, with gob or, as `net/rpc/jsonrpc` has it, JSON.
 *
 * A client with it calls a Go server, a server with it answers Go clients. A
 * call has one argument, as in Go. There is no cancel, no metadata and no
 * window: aborts, deadlines and the window are kept by the caller alone, and
 * `docs/guides/other_wires.md` says what becomes of each promise.
 *
 * @throws {RangeError} If `window` is no whole number from 1.
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
 * const wire = netrpc({ methods });
 *
 * const services: ServicesOf<typeof methods> = {
 *   Arith: { Multiply: ({ A, B }) => A * B },
 * };
 * const [near, far] = memoryPair();
 * const server = new Server(services, { protocol: wire });
 * server.accept(far);
 *
 * const client = new Client<typeof services, "exact">(near, { protocol: wire });
 * assertEquals(await client.call("Arith.Multiply", { A: 7, B: 8 }), 56);
 * await client.close();
 * await server.close();
 * ```
 */
export function netrpc(
  options?: NetrpcOptions & { readonly encoding?: "gob" },
): Protocol<"exact">;
/** The same with JSON. */
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
    const codec: CodecFactory = (receiver, settings) =>
      new JsonCodec(receiver, settings, { window, limits });
    return { name: "net/rpc/jsonrpc", json: true, codec };
  }
  const settings = {
    methods: toMethodTypes(options.methods ?? {}),
    registered: options.registered ?? {},
    limits,
    window,
  };
  const codec: CodecFactory = (receiver, own) =>
    new GobCodec(receiver, own, settings);
  return { name: "net/rpc", codec };
}
