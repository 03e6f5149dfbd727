/**
 * Go's `net/rpc`, with the same client and server: call a Go server, answer Go
 * clients, over gob or over JSON.
 *
 * - {@linkcode netrpc} makes the `wire` option of `Client` and `Server`.
 * - {@linkcode struct}, {@linkcode goMethod} and the rest say what plain values
 *   do not: Go's types.
 * - {@linkcode httpConnect} and {@linkcode httpListener} are Go's `DialHTTP`
 *   and `HandleHTTP`.
 * - {@linkcode encodeGob} and {@linkcode decodeGob} read and write gob by
 *   itself.
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
 * const names = ["client 1", "client 2"];
 * const replies = names.map((name) => client.call("HelloService.Hello", name));
 * assertEquals(await Promise.all(replies), ["hello:client 1", "hello:client 2"]);
 * await client.close();
 * await server.close();
 * ```
 *
 * @module
 */

// The wire.
export { netrpc, type NetrpcOptions } from "./src/netrpc/wire.ts";
export {
  GoMethod,
  goMethod,
  type GoMethods,
  type ServicesOf,
} from "./src/netrpc/methods.ts";
export {
  httpAccept,
  httpConnect,
  httpListener,
  type HttpOptions,
  RPC_PATH,
} from "./src/netrpc/http.ts";

// Go's types.
export {
  any,
  array,
  bool,
  bytes,
  complex,
  float,
  type GobFields,
  type GobKind,
  type GobType,
  int,
  int64,
  lazy,
  map,
  type Marshal,
  opaque,
  optional,
  slice,
  string,
  struct,
  type StructOf,
  time,
  uint,
  uint64,
  type ValueOf,
} from "./src/netrpc/gob/schema.ts";
export { Complex, GobError, Registered } from "./src/netrpc/gob/values.ts";

// Gob by itself.
export { decodeGob } from "./src/netrpc/gob/decoder.ts";
export { encodeGob, type RegisteredTypes } from "./src/netrpc/gob/encoder.ts";
export type { GobLimits } from "./src/netrpc/gob/input.ts";

// What the wire's types name.
export type { Protocol, WireMap } from "./src/types/connection.ts";
export type { Clock } from "./src/base/clock.ts";
export type { Duplex, DuplexInfo } from "./src/types/duplex.ts";
