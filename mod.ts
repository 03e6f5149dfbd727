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
export { Client, type ClientOptions } from "./src/client.ts";
export {
  type Caller,
  type CallerOptions,
  Calls,
  type Outgoing,
  type OutgoingSettings,
} from "./src/calls.ts";
export { callsOf } from "./src/calls_of.ts";
export {
  ReconnectingClient,
  type ReconnectingClientOptions,
} from "./src/reconnecting.ts";
export type { Dial } from "./src/link.ts";
export type { CallOrder } from "./src/sequences.ts";
export type { ReconnectingStats } from "./src/stats.ts";
export type { RetryOptions } from "./src/backoff.ts";
export type {
  ClientState,
  StateDetail,
  StateListener,
} from "./src/client_state.ts";
export {
  type ClientMiddleware,
  outgoing,
  type OutgoingCall,
  type OutgoingChange,
} from "./src/outgoing.ts";
export type {
  CallChange,
  CallEnding,
  Middleware,
  MiddlewareCall,
  Next,
} from "./src/middleware.ts";
export { CallHandle } from "./src/call.ts";
export { StageError, type Unacknowledged } from "./src/stage_error.ts";
export type {
  OnStageError,
  Stage,
  StageItem,
  StageOptions,
  StageOutput,
} from "./src/stage_options.ts";
export type { CallOptions, Inherited, MetadataInit } from "./src/options.ts";

// Serving.
export {
  type DuplexSource,
  Server,
  type ServerOptions,
  type ServerStats,
} from "./src/server.ts";
export {
  type Callable,
  callable,
  type CallableOptions,
  type ErrorInfo,
} from "./src/callable.ts";
export type { ServerLimits } from "./src/server_limits.ts";
export type { CallContext } from "./src/context.ts";
export type { Authorize } from "./src/verdict.ts";
export {
  type Credentials,
  type CredentialsSource,
  timingSafeEqual,
} from "./src/credentials.ts";
export type { IncomingCall, ServerMiddleware } from "./src/incoming.ts";
export { expose } from "./src/registry.ts";
export {
  method,
  type SchemaIssue,
  type SchemaResult,
  type StandardSchema,
  type ValidatedMethod,
} from "./src/method.ts";
export { ordered, type ParamsIn } from "./src/ordered.ts";
export type { OrderedOptions, OrderKey } from "./src/order.ts";
export { type EchoServices, echoServices } from "./src/echo.ts";

// The connection underneath.
export type { Connection, Peer } from "./src/connection.ts";
export type {
  CallInfo,
  CloseOptions,
  ConnectionOptions,
  ConnectionStats,
} from "./src/connection_options.ts";
export type { LiveCall, LiveState } from "./src/live_calls.ts";
export type { OutcomeCounts, ServedCounts, SummedStats } from "./src/stats.ts";
export type { Limits } from "./src/limits.ts";
export type { StreamGrant } from "./src/streams/terms.ts";
export type { StreamNumbers } from "./src/streams/streams.ts";
export type { Hello, Metadata, WireProtocol } from "./src/codec.ts";
export type { Serializer } from "./src/payload.ts";
export type { Clock } from "./src/clock.ts";

// Observing.
export { observing } from "./src/observing.ts";
export { diagnostics } from "./src/diagnostics.ts";
export { traced, type TraceOptions } from "./src/traced.ts";
export {
  formatTraceparent,
  nextSpan,
  parseTraceparent,
  startTrace,
  type TraceContext,
  traceMetadata,
  traceOf,
} from "./src/trace_context.ts";
export type { CallObserver, ObservedCall, Observing } from "./src/observe.ts";

// Errors.
export {
  ConnectionError,
  ERROR_CODES,
  type ErrorCode,
  type Outcome,
  RpcError,
  type RpcErrorOptions,
} from "./src/errors.ts";

// Transports.
export {
  type AsyncDisposal,
  type AsyncDisposeKey,
  type Duplex,
  type DuplexInfo,
  toDuplex,
} from "./src/duplex.ts";
export type {
  CertificateNames,
  PeerCertificate,
} from "./src/transport/certificate.ts";
export type { DenoConnLike } from "./src/transport/deno_conn.ts";
export { memoryPair, type MemoryPairOptions } from "./src/transport/memory.ts";
export * from "./src/transport/tcp.ts";
export { stdio } from "./src/transport/stdio.ts";
export { nodeDuplex } from "./src/transport/socket.ts";
export type { NodeReadable, NodeWritable } from "./src/transport/node.ts";

// Frames, for tools that speak the wire themselves.
export {
  type Frame,
  framed,
  type FramedDuplex,
  type FrameDecoderOptions,
  FrameDecoderStream,
  FrameEncoderStream,
} from "./src/frame_stream.ts";

// Types.
export type * from "./src/types.ts";
