/**
 * What the parts that serve one connection need of it, and of its services.
 *
 * @module
 */

import type { ServeContext } from "../connection/contract.ts";
import type { FairShare } from "./fair_share.ts";
import type { MethodTable } from "./method.ts";
import type { ServerCall } from "./server_call.ts";

/** What a {@linkcode Dispatcher} is made with; each of its parts reads some of it. */
export interface DispatcherContext extends ServeContext {
  readonly methodTable: MethodTable;
  /** Whether callers receive the message of an exception that is not an `RpcError`. */
  readonly exposeErrors: boolean;
  /** The running handlers of all connections, on a server. */
  readonly fairShare: FairShare | undefined;
  /** Reports to the operator what the caller does not receive. */
  readonly onError: (error: unknown, call: ServerCall) => void;
}
