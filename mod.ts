/**
 * Pipelined RPC over Web Streams: send requests without waiting for replies,
 * and always know whether a failed call may have run.
 *
 * - {@linkcode Client} makes calls; {@linkcode ReconnectingClient} makes them
 *   over one connection after another.
 * - {@linkcode Server} serves plain functions. The types of the calls follow from
 *   the type of the services; no code is generated.
 * - {@linkcode connect} and {@linkcode listen} open TCP, TLS and Unix sockets.
 *   Any `{ readable, writable }` of bytes will do as well.
 * - {@linkcode RpcError} tells for every failed call whether it may have run.
 *
 * Other entry points: `@sluice/rpc/client` is a small client for pages,
 * `@sluice/rpc/jsonrpc` speaks JSON-RPC, `@sluice/rpc/netrpc` speaks Go's net/rpc,
 * `@sluice/rpc/testing` has what tests need.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, connect, listen, Server } from "@sluice/rpc";
 *
 * const services = { HelloService: { Hello: (name: string) => `hello:${name}` } };
 * const server = new Server(services);
 * const listener = await listen({ port: 0 });
 * server.serve(listener);
 *
 * const client = new Client<typeof services>(await connect(listener.address));
 * const names = ["client 1", "client 2"];
 * const replies = names.map((name) => client.call("HelloService.Hello", name));
 * assertEquals(await Promise.all(replies), ["hello:client 1", "hello:client 2"]);
 * await client.close();
 * await server.close();
 * ```
 *
 * @module
 */

// 1. Make calls.
export { Client, type ClientOptions } from "./src/client/full_client.ts";
export type { CoreClient, CoreClientOptions } from "./src/client/client.ts";
export {
  type CallerOptions,
  clientOf,
  type MiddlewareSettings,
  type MiddlewareStack,
  ServiceClient,
} from "./src/client/service_client.ts";
export { ref } from "./src/call/references.ts";
export type {
  Caller,
  CallHandle,
  CallOptions,
  Metadata,
  MetadataInit,
  ParentCall,
} from "./src/types/call.ts";

// 2. Make calls over one connection after another.
export {
  ReconnectingClient,
  type ReconnectingClientOptions,
} from "./src/client/reconnect/full_reconnecting_client.ts";
export type {
  CoreReconnectingClient,
  CoreReconnectingClientOptions,
} from "./src/client/reconnect/reconnecting_client.ts";
export type { Dial } from "./src/client/reconnect/dial_attempt.ts";
export type { RetryOptions } from "./src/client/reconnect/backoff.ts";
export type {
  ClientState,
  ReconnectingStats,
  StateDetail,
  StateListener,
} from "./src/client/reconnect/client_state.ts";

// 3. Call a method with each item of a stream or an iterable.
export {
  map,
  stage,
  type StageInputsOf,
  type StageOf,
  type StageOutputOf,
} from "./src/client/stage.ts";
export {
  type OnStageError,
  type Stage,
  StageError,
  type StageItem,
  type StageOptions,
  type StageOutput,
  type Unacknowledged,
} from "./src/client/stage_options.ts";

// 4. Serve calls.
export {
  type DuplexSource,
  Server,
  type ServerOptions,
  type ServerStats,
} from "./src/serve/server.ts";
export type { ServerLimits } from "./src/serve/shared_limits.ts";
export type { Authorize } from "./src/serve/authorize.ts";
export type { CallContext } from "./src/types/handler.ts";
export { callable, type CallableOptions } from "./src/serve/services.ts";
export { expose } from "./src/serve/method_table.ts";
export { method } from "./src/serve/method.ts";
export type {
  SchemaIssue,
  SchemaResult,
  StandardSchema,
  ValidatedMethod,
} from "./src/types/schema.ts";
export {
  ordered,
  type OrderedOptions,
  type ParamsIn,
} from "./src/serve/ordered.ts";
export type { OrderKey } from "./src/base/inspect.ts";
export { type EchoServices, echoServices } from "./src/serve/echo.ts";

// 5. Errors and outcomes.
export {
  ConnectionError,
  ERROR_CODES,
  type ErrorCode,
  type Outcome,
  RpcError,
  type RpcErrorOptions,
} from "./src/base/errors.ts";

// 6. Run code around calls: middleware and observers.
export { clientMiddleware } from "./src/client/middleware.ts";
export type {
  CallChange,
  CallEnding,
  ClientMiddleware,
  IncomingCall,
  Middleware,
  MiddlewareCall,
  Next,
  OutgoingCall,
  OutgoingChange,
  ServerMiddleware,
} from "./src/types/middleware.ts";
export { observers } from "./src/observe/observe.ts";
export { diagnostics } from "./src/observe/diagnostics_channel.ts";
export type { CallObserver, ObservedCall } from "./src/types/observe.ts";

// 7. Connections: options, limits and numbers, the same on both sides.
export type {
  CallInfo,
  CallWindow,
  CloseOptions,
  Connection,
  ConnectionOptions,
  Credentials,
  CredentialsSource,
  ErrorInfo,
  FragmentFeature,
  KeepaliveFeature,
  Limits,
  Observers,
  Peer,
  PeerHello,
  Protocol,
  Serializer,
  SerializerList,
  SerializerOption,
  ServiceDefinition,
  StreamFeature,
  StreamGrant,
} from "./src/types/connection.ts";
export type {
  ConnectionStats,
  LiveCall,
  LiveState,
  OutcomeCounts,
  ServedCounts,
  StreamStats,
  TotalStats,
} from "./src/types/stats.ts";
export type { Clock } from "./src/base/clock.ts";

// 8. Open duplexes: sockets, WebSockets, message ports, pipes, memory.
export {
  connect,
  type ConnectOptions,
  type DialOptions,
} from "./src/transport/connect.ts";
export {
  listen,
  type Listener,
  type ListenOptions,
  type ListenSettings,
} from "./src/transport/listen.ts";
export type {
  ConnectTls,
  ListenAddress,
  ListenTls,
  TcpAddress,
  UnixAddress,
  UrlAddress,
} from "./src/transport/address.ts";
export {
  fromWebSocket,
  type WebSocketEventLike,
  type WebSocketLike,
  type WebSocketStreamLike,
} from "./src/transport/web/websocket.ts";
export {
  connectWebSocket,
  type ConnectWebSocketOptions,
} from "./src/transport/web/websocket_dial.ts";
export {
  type WebSocketListener,
  type WebSocketListenerOptions,
  webSockets,
} from "./src/transport/web/websocket_listener.ts";
export type {
  BunSocket,
  BunWebSocketHandlers,
  FetchInfo,
  UpgradeOptions,
  WsServer,
  WsServerClass,
} from "./src/transport/web/websocket_upgrade.ts";
export { stdio } from "./src/transport/stdio.ts";
export { halfCloseByFrame } from "./src/wire/half_close.ts";
export { memoryPair, type MemoryPairOptions } from "./src/transport/memory.ts";
export {
  fromMessagePort,
  type MessagePortLike,
} from "./src/transport/web/message_port.ts";
export { nodeDuplex } from "./src/transport/sockets/node_stream.ts";
export type {
  NodeReadable,
  NodeRequest,
  NodeUpgradeSocket,
  NodeWritable,
} from "./src/transport/sockets/node_builtins.ts";
export {
  type DenoConnLike,
  toDuplex,
} from "./src/transport/sockets/deno_conn.ts";
export type {
  AsyncDisposal,
  AsyncDisposeKey,
  CertificateNames,
  Duplex,
  DuplexInfo,
  PeerCertificate,
  UpgradeRequest,
} from "./src/types/duplex.ts";

// 9. Carry values that JSON cannot.
export { rich } from "./src/wire/rich/rich.ts";
export { messages, withBody } from "./src/streams/wrappers.ts";
export { serializers } from "./src/wire/values/serializer_list.ts";

// 10. Read and write frames, for tools that speak the protocol themselves.
export {
  type Frame,
  framed,
  type FramedDuplex,
  type FrameDecoderOptions,
  FrameDecoderStream,
  FrameEncoderStream,
} from "./src/wire/frame_transforms.ts";

// 11. Types of services: names, params and results of methods.
export type * from "./src/types/services.ts";
export type * from "./src/types/references.ts";
export type { Optional } from "./src/types/optional.ts";
