/**
 * The client and the server of JSON-RPC: `Client` and `Server` with that
 * protocol, and what only JSON-RPC has.
 *
 * Bound: a connection holds at most {@linkcode DEFAULT_MAX_SEND_BUFFER} bytes
 * that its peer has not read, or two messages of `maxMessage` if that is more,
 * unless `maxSendBuffer` is set. JSON-RPC has no window that would hold the peer
 * back.
 *
 * @module
 */

import { Client, type ClientOptions } from "../client/full_client.ts";
import { Server, type ServerOptions } from "../serve/server.ts";
import { toServices } from "../serve/services.ts";
import type {
  ConnectionOptions,
  ErrorInfo,
  ServiceDefinition,
} from "../types/connection.ts";
import type { Duplex } from "../types/duplex.ts";
import type { ServerMiddleware } from "../types/middleware.ts";
import type { Checked, UntypedServices } from "../types/services.ts";
import type { JsonRpcCodec } from "./codec.ts";
import { type JsonRpcOptions, toSettings } from "./options.ts";
import { toProtocol } from "./wire.ts";

/** Default of `maxSendBuffer`, in bytes: 16 MiB. */
export const DEFAULT_MAX_SEND_BUFFER = 16 * 1024 * 1024;

/**
 * Options of a {@linkcode JsonRpcClient}: those of a `Client` that JSON-RPC
 * supports, those of the protocol, and the services that the peer may call.
 */
export interface JsonRpcClientOptions<L extends object = object> extends
  Omit<
    ClientOptions,
    "protocol" | "serializer" | "metadata" | "handshakeTimeout" | "services"
  >,
  JsonRpcOptions {
  /**
   * The services that the peer may call and notify. By default none. A value of
   * `callable()` brings its own middleware and error options; the three options
   * below are then ignored.
   */
  services?: (L & Checked<L>) | ServiceDefinition | undefined;
  /** Middleware around the handlers of `services`, the first one outermost, as a server's `use`. */
  incoming?: readonly ServerMiddleware[] | undefined;
  /** Whether the peer receives the message of an exception that is not an `RpcError`. Default false. */
  exposeErrors?: boolean | undefined;
  /**
   * Called with exceptions of handlers that the peer does not see, and with a
   * `ConnectionError` for each line of a child process that is not a message.
   * Exceptions it throws are ignored.
   */
  onError?: ((error: unknown, info: ErrorInfo) => void) | undefined;
}

/**
 * Calls a JSON-RPC 2.0 peer over a duplex, and serves the peer's calls on the
 * same connection.
 *
 * Method names are those of the peer: keys of a flat object
 * (`"textDocument/hover"`), or dotted paths of a nested one. Params are an
 * array, an object, or left out (JSON-RPC 2.0 section 4.2); the handler receives
 * them as they are, and `null` as `undefined`. A result of `undefined` arrives as `null`.
 *
 * A `JsonRpcClient` behaves as a `Client` does, except for what JSON-RPC does
 * not support: metadata, streams, a custom serializer, and a window, deadline,
 * PING or GOAWAY that the peer knows of. `docs/guides/other_wires.md` lists the
 * consequences.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { memoryPair } from "@sluice/rpc";
 * import { JsonRpcClient, JsonRpcServer } from "@sluice/rpc/jsonrpc";
 *
 * const services = {
 *   subtract: ([a, b]: [number, number]) => a - b,
 *   "text/upper": ({ text }: { text: string }) => text.toUpperCase(),
 * };
 * const [near, far] = memoryPair();
 * const server = new JsonRpcServer(services, { dialect: "lsp" });
 * server.accept(far);
 * const client = new JsonRpcClient<typeof services>(near, { dialect: "lsp" });
 * assertEquals(await client.call("subtract", [42, 23]), 19);
 * assertEquals(await client.call("text/upper", { text: "a" }), "A");
 * await client.close();
 * await server.close();
 * ```
 */
export class JsonRpcClient<
  S extends object = UntypedServices,
  L extends object = object,
> extends Client<S> {
  readonly #codec: JsonRpcCodec;

  /**
   * Opens the connection and takes ownership of the duplex. Calls can be made
   * at once: JSON-RPC has no handshake.
   *
   * The default of `maxSendBuffer` is 16 MiB, or twice `maxMessage` if that is
   * more. The connection ends with `resource_exhausted` if the peer leaves more
   * bytes than that unread.
   *
   * @throws {TypeError} If the duplex is invalid or one of its streams is
   *   locked, or if an option or a service is invalid.
   * @throws {RangeError} If a limit is out of its range.
   */
  constructor(duplex: Duplex, options: JsonRpcClientOptions<L> = {}) {
    const codecs: JsonRpcCodec[] = [];
    const { services, incoming, exposeErrors, onError } = options;
    super(duplex, {
      ...options,
      maxSendBuffer: toMaxSendBuffer(options),
      protocol: toProtocol(toSettings(options), (codec) => codecs.push(codec)),
      services: services !== undefined && isServiceDefinition(services)
        ? services
        : toServices(services ?? {}, { use: incoming, exposeErrors, onError }),
    });
    this.#codec = codecs[0];
  }

  /**
   * Sends the calls and notifications that `calls` makes before it returns as
   * one JSON array (JSON-RPC 2.0 section 6). Returns what `calls` returns, and
   * throws what it throws, after the array is written.
   *
   * Use it only for a peer that requires batches, because calls are pipelined
   * in any case. The array has at most 1,024 messages and `maxMessage` bytes;
   * more messages go into further arrays. A single message is sent without an
   * array. A call that waits for the window is sent by itself later.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { memoryPair } from "@sluice/rpc";
   * import { JsonRpcClient, JsonRpcServer } from "@sluice/rpc/jsonrpc";
   *
   * const services = { double: ([n]: [number]) => 2 * n };
   * const [near, far] = memoryPair();
   * const server = new JsonRpcServer(services);
   * server.accept(far);
   * const client = new JsonRpcClient<typeof services>(near);
   * const replies = client.batch(() => [1, 2].map((n) => client.call("double", [n])));
   * assertEquals(await Promise.all(replies), [2, 4]);
   * await client.close();
   * await server.close();
   * ```
   */
  batch<T>(calls: () => T): T {
    return this.#codec.batch(calls);
  }
}

function isServiceDefinition(services: object): services is ServiceDefinition {
  return (services as Partial<ServiceDefinition>).methods instanceof Map;
}

/**
 * Options of a {@linkcode JsonRpcServer}: those of a `Server` that JSON-RPC
 * supports, and those of the protocol. Limits hold for each connection.
 */
export interface JsonRpcServerOptions
  extends
    Omit<ServerOptions, "protocol" | "serializer" | "handshakeTimeout">,
    JsonRpcOptions {}

/**
 * Serves plain functions to JSON-RPC 2.0 clients. A handler can call its client
 * back by `ctx.connection.call()`, and send it notifications by
 * {@linkcode notify}.
 *
 * Calls above `windowCalls` or `windowBytes` are answered with the error -32080
 * (`resource_exhausted`, outcome `refused`). Notifications above them end the
 * connection, because a dropped one would go unnoticed.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { connect, listen } from "@sluice/rpc";
 * import { JsonRpcClient, JsonRpcServer } from "@sluice/rpc/jsonrpc";
 *
 * const services = { sum: (numbers: number[]) => numbers.reduce((a, b) => a + b) };
 * const server = new JsonRpcServer(services);
 * const listener = await listen({ port: 0 });
 * server.serve(listener);
 *
 * const client = new JsonRpcClient<typeof services>(
 *   await connect(listener.address),
 * );
 * assertEquals(await client.call("sum", [1, 2, 3]), 6);
 * await client.close();
 * await server.close();
 * ```
 *
 * @example A server for a client that starts it as a child process
 * ```ts ignore
 * import { stdio } from "@sluice/rpc";
 * import { JsonRpcServer } from "@sluice/rpc/jsonrpc";
 *
 * const services = { ping: () => ({}) };
 * new JsonRpcServer(services, { dialect: "mcp" }).accept(stdio());
 * ```
 */
export class JsonRpcServer<S extends object> extends Server<S> {
  /**
   * Creates a server for these services. Later changes to the object have no
   * effect.
   *
   * The default of `maxSendBuffer` is 16 MiB, or twice `maxMessage` if that is
   * more. A connection ends with `resource_exhausted` if its peer leaves more
   * bytes than that unread.
   *
   * @throws {TypeError} If the services contain anything but plain objects and
   *   functions, or an option is invalid.
   * @throws {RangeError} If a limit is out of its range.
   */
  constructor(services: S & Checked<S>, options: JsonRpcServerOptions = {}) {
    super(services, {
      ...options,
      maxSendBuffer: toMaxSendBuffer(options),
      protocol: toProtocol(toSettings(options)),
    });
  }
}

function toMaxSendBuffer(
  { maxMessage = 0, maxSendBuffer }: ConnectionOptions,
): number {
  return maxSendBuffer ?? Math.max(DEFAULT_MAX_SEND_BUFFER, 2 * maxMessage);
}
