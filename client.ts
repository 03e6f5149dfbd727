/**
 * A client for pages and small programs: calls, deadlines, cancellation and
 * outcomes. Everything else is passed in, so that a bundle carries what it uses
 * and nothing more: {@linkcode streams}, {@linkcode callable} services,
 * {@linkcode stage} and {@linkcode map}, {@linkcode keepalive},
 * {@linkcode clientMiddleware}, {@linkcode observers}.
 *
 * `@sluice/rpc` has the client with all of these built in.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { echoServices, memoryPair, Server } from "@sluice/rpc";
 * import { Client, streams } from "@sluice/rpc/client";
 *
 * const services = { Text: { count: async (lines: AsyncIterable<string>) => (await Array.fromAsync(lines)).length } };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 *
 * const client = new Client<typeof services>(near, { streams: streams() });
 * assertEquals(await client.call("Text.count", ReadableStream.from(["a", "b"])), 2);
 * await client.close();
 * await server.close();
 * ```
 *
 * @module
 */

export {
  CoreClient as Client,
  type CoreClientOptions as ClientOptions,
} from "./src/client/client.ts";

// Features.
export { streams } from "./src/streams/support.ts";
export { keepalive, type KeepaliveOptions } from "./src/connection/watchdog.ts";
export { callable, type CallableOptions } from "./src/serve/services.ts";
export { expose } from "./src/serve/method_table.ts";
export { map, stage } from "./src/client/stage.ts";
export { clientMiddleware } from "./src/client/middleware.ts";
export { clientOf } from "./src/client/service_client.ts";
export { observers } from "./src/observe/observe.ts";
export { memoryPair } from "./src/transport/memory.ts";

// Errors.
export {
  ConnectionError,
  type ErrorCode,
  type Outcome,
  RpcError,
} from "./src/base/errors.ts";
export { StageError } from "./src/client/stage_options.ts";

// Types, as `@sluice/rpc` has them.
export type * from "./mod.ts";
