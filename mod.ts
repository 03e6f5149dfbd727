/**
 * Pipelined RPC over Web Streams: send requests without waiting for replies,
 * and always know what became of each.
 *
 * - {@linkcode Client} calls, {@linkcode Server} serves plain functions; types
 *   follow from the services' type, nothing is generated.
 * - {@linkcode connect} and {@linkcode listen} make TCP, TLS and Unix-socket
 *   duplexes; {@linkcode stdio} and {@linkcode memoryPair} make others; any
 *   `{ readable, writable }` of bytes will do.
 * - {@linkcode RpcError} says of every failed call whether it may have run.
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

// Calling.
export { Client, type ClientOptions } from "./src/client/client.ts";
export {
  type Caller,
  type CallerOptions,
  Calls,
  type Outgoing,
  type OutgoingSettings,
} from "./src/client/service_client.ts";
export { callsOf } from "./src/client/calls_of.ts";
export {
  ReconnectingClient,
  type ReconnectingClientOptions,
} from "./src/client/reconnect/reconnecting_client.ts";
export type { Dial } from "./src/client/reconnect/dial.ts";
export type { CallOrder } from "./src/client/reconnect/call_order.ts";
export type { ReconnectingStats } from "./src/connection/totals.ts";
export type { RetryOptions } from "./src/client/reconnect/backoff.ts";
export type {
  ClientState,
  StateDetail,
  StateListener,
} from "./src/client/reconnect/client_state.ts";
export {
  type ClientMiddleware,
  outgoing,
  type OutgoingCall,
  type OutgoingChange,
} from "./src/client/middleware.ts";
export type {
  CallChange,
  CallEnding,
  Middleware,
  MiddlewareCall,
  Next,
} from "./src/types/middleware.ts";
export { CallHandle } from "./src/call/call.ts";
export { StageError, type Unacknowledged } from "./src/client/stage_error.ts";
export type {
  OnStageError,
  Stage,
  StageItem,
  StageOptions,
  StageOutput,
} from "./src/client/stage_options.ts";
export type {
  CallOptions,
  Inherited,
  MetadataInit,
} from "./src/call/options.ts";

// Serving.
export {
  type DuplexSource,
  Server,
  type ServerOptions,
  type ServerStats,
} from "./src/serve/server.ts";
export {
  type Callable,
  callable,
  type CallableOptions,
  type ErrorInfo,
} from "./src/serve/services.ts";
export type { ServerLimits } from "./src/serve/server_limits.ts";
export type { CallContext } from "./src/serve/incoming_call.ts";
export type { Authorize } from "./src/serve/authorize.ts";
export {
  type Credentials,
  type CredentialsSource,
  timingSafeEqual,
} from "./src/serve/credentials.ts";
export type { IncomingCall, ServerMiddleware } from "./src/serve/incoming.ts";
export { expose } from "./src/serve/method_table.ts";
export {
  method,
  type SchemaIssue,
  type SchemaResult,
  type StandardSchema,
  type ValidatedMethod,
} from "./src/serve/method.ts";
export { ordered, type ParamsIn } from "./src/serve/ordered.ts";
export type { OrderedOptions, OrderKey } from "./src/serve/order.ts";
export { type EchoServices, echoServices } from "./src/serve/echo.ts";

// The connection underneath.
export type { Connection, Peer } from "./src/connection/connection.ts";
export type {
  CallInfo,
  CloseOptions,
  ConnectionOptions,
  ConnectionStats,
} from "./src/connection/contract.ts";
export type { LiveCall, LiveState } from "./src/call/live_calls.ts";
export type {
  OutcomeCounts,
  ServedCounts,
  SummedStats,
} from "./src/connection/totals.ts";
export type { Limits } from "./src/wire/limits.ts";
export type { StreamGrant } from "./src/wire/terms.ts";
export type { StreamNumbers } from "./src/streams/stream_table.ts";
export type { Hello, Metadata, WireProtocol } from "./src/wire/codec.ts";
export type { Serializer } from "./src/wire/payload.ts";
export type { Clock } from "./src/base/clock.ts";

// Observing.
export { observing } from "./src/observe/observe.ts";
export { diagnostics } from "./src/observe/diagnostics_channel.ts";
export { traced, type TraceOptions } from "./src/observe/trace_middleware.ts";
export {
  formatTraceparent,
  nextSpan,
  parseTraceparent,
  startTrace,
  type TraceContext,
  traceMetadata,
  traceOf,
} from "./src/observe/trace_context.ts";
export type {
  CallObserver,
  ObservedCall,
  Observing,
} from "./src/types/observe.ts";

// Errors.
export {
  ConnectionError,
  ERROR_CODES,
  type ErrorCode,
  type Outcome,
  RpcError,
  type RpcErrorOptions,
} from "./src/base/errors.ts";

// Transports.
export {
  type AsyncDisposal,
  type AsyncDisposeKey,
  type Duplex,
  type DuplexInfo,
  toDuplex,
} from "./src/transport/duplex.ts";
export type {
  CertificateNames,
  PeerCertificate,
} from "./src/transport/certificate.ts";
export type { DenoConnLike } from "./src/transport/deno_conn.ts";
export { memoryPair, type MemoryPairOptions } from "./src/transport/memory.ts";
export * from "./src/transport/connect.ts";
export { stdio } from "./src/transport/stdio.ts";
export { nodeDuplex } from "./src/transport/socket.ts";
export type {
  NodeReadable,
  NodeWritable,
} from "./src/transport/node_builtins.ts";

// Frames, for tools that speak the wire themselves.
export {
  type Frame,
  framed,
  type FramedDuplex,
  type FrameDecoderOptions,
  FrameDecoderStream,
  FrameEncoderStream,
} from "./src/wire/frame_transforms.ts";

// Types.
export type * from "./src/types/services.ts";
