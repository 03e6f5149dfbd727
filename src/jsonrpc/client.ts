/**
 * A client on a JSON-RPC wire, which the other end may call as well.
 *
 * @module
 */

import {
  type ErrorInfo,
  type ServiceDefinition,
  toCallable,
} from "../serve/services.ts";
import { Client, type ClientOptions } from "../client/client.ts";
import type { Duplex } from "../types/duplex.ts";
import type { ServerMiddleware } from "../types/middleware.ts";
import type { Checked, UntypedServices } from "../types/services.ts";
import type { JsonRpcCodec } from "./codec.ts";
import { type JsonRpcOptions, toShape } from "./options.ts";
import { toWire } from "./wire.ts";
import { Server, type ServerOptions } from "../serve/server.ts";

/** Past this many bytes of unsent answers a connection ends, unless `maxSendBuffer` is set: 16 MiB. */
export const MAX_UNSENT = 16 * 1024 * 1024;

/** Options of a {@linkcode JsonRpcClient}. */
export interface JsonRpcClientOptions<L extends object = object> extends
  Omit<
    ClientOptions,
    "wire" | "serializer" | "metadata" | "handshakeTimeout" | "services"
  >,
  JsonRpcOptions {
  /** What the other end may call and notify; or what `callable` made of it, which then has the three options below. */
  services?: (L & Checked<L>) | ServiceDefinition | undefined;
  /** What stands around their handlers, as `use` of a server. */
  incoming?: readonly ServerMiddleware[] | undefined;
  /** As of a server, for those services. */
  exposeErrors?: boolean | undefined;
  /** As of a server, for those services; told as well of the lines that a child process prints and that are no messages. */
  onError?: ((error: unknown, info: ErrorInfo) => void) | undefined;
}

/**
 * Calls the methods at the other end, and serves its calls.
 *
 * Method names are whatever the peer's are: keys of a flat object
 * (`"textDocument/hover"`), or dotted paths of a nested one. Params are an
 * array or an object, or left out; a handler gets what came. A result that is
 * `undefined` arrives as `null`.
 *
 * Everything a `Client` promises holds, but for what `docs/wires.md` says that
 * JSON-RPC has no words for.
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
   * Takes the duplex over.
   *
   * @throws {TypeError} If it is no duplex, one of its streams is locked, or
   * an option or service is not what it must be.
   * @throws {RangeError} If a limit is out of its range.
   */
  constructor(duplex: Duplex, options: JsonRpcClientOptions<L> = {}) {
    const made: JsonRpcCodec[] = [];
    const { services, incoming, exposeErrors, onError } = options;
    super(duplex, {
      ...options,
      maxSendBuffer: options.maxSendBuffer ??
        Math.max(MAX_UNSENT, 2 * (options.maxMessage ?? 0)),
      protocol: toWire(toShape(options), (codec) => made.push(codec)),
      services: services !== undefined && isCallable(services)
        ? services
        : toCallable(services ?? {}, { use: incoming, exposeErrors, onError }),
    });
    this.#codec = made[0];
  }

  /**
   * Runs `calls` at once, and sends what it calls and notifies as one array: a
   * JSON-RPC batch. For peers that ask for it: calls are pipelined anyway.
   * What waits for the window is sent by itself. Returns what `calls` does.
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

function isCallable(services: object): services is ServiceDefinition {
  return (services as Partial<ServiceDefinition>).methods instanceof Map;
}

/** Options of a {@linkcode JsonRpcServer}; limits hold for each of its connections. */
export interface JsonRpcServerOptions
  extends
    Omit<ServerOptions, "wire" | "serializer" | "handshakeTimeout">,
    JsonRpcOptions {}

/**
 * Serves plain functions to callers that speak JSON-RPC 2.0. A handler may
 * call back by its `ctx.connection`, and {@linkcode notify} by it.
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
   * Reads the services.
   *
   * @throws {TypeError} If something in them is no plain object of functions,
   * or an option is none of its values.
   */
  constructor(services: S & Checked<S>, options: JsonRpcServerOptions = {}) {
    const wire = toWire(toShape(options), () => {});
    const { maxMessage = 0 } = options;
    const maxSendBuffer = options.maxSendBuffer ??
      Math.max(MAX_UNSENT, 2 * maxMessage);
    super(services, {
      ...options,
      maxSendBuffer: maxSendBuffer,
      protocol: wire,
    });
  }
}
