/**
 * A small client for pages: calls, deadlines, cancellation and outcomes. A
 * program imports each further feature and passes it as an option, so that its
 * bundle carries only what it uses.
 *
 * | to | pass or call | without it |
 * | --- | --- | --- |
 * | send and receive streams | `streams: streams()` | a stream as params is refused: `invalid_argument` |
 * | let calls pass between the parts of large messages | `fragments: fragments()` | each message is sent whole |
 * | be called by the server | `services: callable(services)` | its calls are refused: `not_found` |
 * | detect a silent peer | `keepalive: keepalive()` | only deadlines and the transport end a call |
 * | run code around calls | `use: clientMiddleware(log)` | |
 * | be notified of calls | `observe: observers(metrics)` | |
 * | send what JSON cannot carry | `serializer: rich()` | values change as in JSON, or are refused |
 * | use a result in the next call, in one round trip | `ref(handle)` in its params | |
 * | call with each item of a stream | `stage(client, method)`, `map(client, method, inputs)` | |
 *
 * The client of `@sluice/rpc` has streams, fragments, keepalive, stages and maps built in.
 * It opens sockets with `connect` of `@sluice/rpc`; this one takes any duplex, such
 * as that of `connectWebSocket`. `ReconnectingClient` here takes a function that
 * dials, where that of `@sluice/rpc` takes a URL, too.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { memoryPair, Server } from "@sluice/rpc";
 * import { Client, keepalive, stage, streams } from "@sluice/rpc/client";
 *
 * const services = {
 *   Text: {
 *     length: (line: string) => line.length,
 *     count: async (lines: AsyncIterable<string>) => (await Array.fromAsync(lines)).length,
 *   },
 * };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 *
 * const client = new Client<typeof services>(near, {
 *   streams: streams(),
 *   keepalive: keepalive({ time: 15_000, timeout: 5_000 }),
 * });
 * const lines = () => ReadableStream.from(["one", "three"]);
 * assertEquals(await client.call("Text.count", lines()), 2);
 * const lengths = lines().pipeThrough(stage(client, "Text.length"));
 * assertEquals(await Array.fromAsync(lengths), [3, 5]);
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

export {
  CoreReconnectingClient as ReconnectingClient,
  type CoreReconnectingClientOptions as ReconnectingClientOptions,
} from "./src/client/reconnect/reconnecting_client.ts";

// Options: each function makes the value of one.
export { fragments } from "./src/wire/fragments/support.ts";
export { streams } from "./src/streams/support.ts";
export { messages, withBody } from "./src/streams/wrappers.ts";
export { callable, type CallableOptions } from "./src/serve/services.ts";
export { expose } from "./src/serve/method_table.ts";
export { keepalive, type KeepaliveOptions } from "./src/connection/watchdog.ts";
export { clientMiddleware } from "./src/client/middleware.ts";
export { observers } from "./src/observe/observe.ts";
export { rich } from "./src/wire/rich/rich.ts";
export { serializers } from "./src/wire/values/serializer_list.ts";

// Functions that take a client or a connection.
export { map, stage } from "./src/client/stage.ts";
export { clientOf } from "./src/client/service_client.ts";
export { ref } from "./src/call/references.ts";

// Duplexes: a WebSocket, a message port, and one without a network, for tests.
export { fromWebSocket } from "./src/transport/web/websocket.ts";
export { connectWebSocket } from "./src/transport/web/websocket_dial.ts";
export { fromMessagePort } from "./src/transport/web/message_port.ts";
export { halfCloseByFrame } from "./src/wire/half_close.ts";
export { memoryPair } from "./src/transport/memory.ts";

// Errors.
export {
  ConnectionError,
  type ErrorCode,
  type Outcome,
  RpcError,
} from "./src/base/errors.ts";
export { StageError } from "./src/client/stage_options.ts";

// The types of `@sluice/rpc`.
export type * from "./mod.ts";
