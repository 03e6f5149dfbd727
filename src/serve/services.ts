/**
 * Services: the functions that a peer may call.
 *
 * - Services are read once. Changes to the object afterwards have no effect,
 *   however many connections are opened.
 * - Exceptions that `onError` throws, and rejections that it returns, are
 *   ignored.
 *
 * @module
 */

import { callHook } from "../base/user_code.ts";
import type {
  ErrorInfo,
  SerializerOption,
  ServiceDefinition,
  WireMap,
} from "../types/connection.ts";
import type { ServerMiddleware } from "../types/middleware.ts";
import type { Checked } from "../types/services.ts";
import type {
  IncomingCalls,
  ServeContext,
  ServiceSetup,
} from "../connection/contract.ts";
import { Dispatcher, type ServedMethods } from "./dispatcher.ts";
import type { FairShare } from "./fair_share.ts";
import { toMethodTable } from "./method_table.ts";
import { withMiddleware } from "./middleware.ts";
import { readLinks } from "../wire/reference_block.ts";

/** Options of {@linkcode callable}. */
export interface CallableOptions<M extends WireMap = "json"> {
  /** Middleware around every handler, the first one outermost. */
  use?: readonly ServerMiddleware[] | undefined;
  /** Whether callers receive the message of an exception that is not an `RpcError`. Default false: they receive `internal` and no details. */
  exposeErrors?: boolean | undefined;
  /** Called with the exceptions that callers receive as `internal`. Exceptions that it throws are ignored. */
  onError?: ((error: unknown, info: ErrorInfo) => void) | undefined;
  /** The serializer of the connection, if it is not JSON. One with `wire: "exact"` turns off the check that JSON can carry the types. */
  serializer?: SerializerOption<M> | undefined;
}

/**
 * Makes services that the peer may call: pass the result as a client's
 * `services`, and a handler of its server can call them on `ctx.connection`.
 *
 * The rules for a {@linkcode Server}'s services apply. The limits are those of
 * the client. It is a function so that TypeScript checks the types, and so that
 * a bundle whose clients serve nothing does not contain the code.
 *
 * @throws {TypeError} If a part of them is not a plain object of functions, or
 *   a middleware is not a function.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { callable, type CallContext, clientOf, Client, memoryPair, Server } from "@sluice/rpc";
 *
 * const seen: number[] = [];
 * const clientServices = {
 *   Progress: { percent: (n: number) => void seen.push(n) },
 * };
 * const serverServices = {
 *   Work: {
 *     run: async (_: undefined, ctx: CallContext) => {
 *       const caller = clientOf<typeof clientServices>(ctx.connection);
 *       await caller.call("Progress.percent", 50, { ctx });
 *       return "done";
 *     },
 *   },
 * };
 * const [near, far] = memoryPair();
 * const server = new Server(serverServices);
 * server.accept(far);
 * const client = new Client<typeof serverServices>(near, {
 *   services: callable(clientServices),
 * });
 * assertEquals(await client.call("Work.run"), "done");
 * assertEquals(seen, [50]);
 * await client.close();
 * await server.close();
 * ```
 */
export function callable<L extends object, M extends WireMap = "json">(
  services: L & Checked<L, M>,
  options: CallableOptions<M> = {},
): ServiceDefinition {
  return toServices(services, options);
}

/** What `callable` makes, as the library uses it. */
export interface Services extends ServiceSetup {
  /** Serves one connection. On a server, `fairShare` limits the handlers of all its connections. */
  readonly serve: (
    context: ServeContext,
    fairShare?: FairShare,
  ) => IncomingCalls;
}

/** Does what {@linkcode callable} does, without its types. */
export function toServices(
  services: object,
  { use = [], exposeErrors = false, onError }: CallableOptions<WireMap>,
): Services {
  const methodTable = withMiddleware(toMethodTable(services), use);
  const report = (error: unknown, info: ErrorInfo) =>
    callHook({ onError }, "onError", error, info);
  const served: ServedMethods = {
    methodTable,
    exposeErrors,
    onError: (error, { method, id, connection }) =>
      report(error, { method, id, connection }),
  };
  return {
    methods: methodTable,
    onError: report,
    serve: (context, fairShare) => new Dispatcher(context, served, fairShare),
    readLinks,
  };
}
