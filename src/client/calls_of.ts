/**
 * Typed calls over a connection that somebody else holds.
 *
 * Invariant owned here: none of its own; it is `Calls` over what it is given.
 *
 * @module
 */

import {
  type Caller,
  type CallerOptions,
  Calls,
  type OutgoingSettings,
  toCaller,
} from "./service_client.ts";
import type { UntypedServices, WireMap } from "../types/services.ts";

class BorrowedCalls<S extends object, M extends WireMap> extends Calls<S, M> {}

/**
 * Typed calls to the other end of a connection: for a handler that calls its
 * caller back by `ctx.connection`, or a server that calls one of its
 * `connections`. It holds nothing, and costs an object.
 *
 * A call made for another passes `{ ctx }`, and so ends with it. The other end
 * must serve what is called: see a client's `services`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { callable, callsOf, Client, memoryPair, Server } from "@sluice/rpc";
 *
 * const screen = { Screen: { show: (text: string) => text.length } };
 * const [near, far] = memoryPair();
 * const server = new Server({});
 * const connection = server.accept(far);
 * const client = new Client<object>(near, { services: callable(screen) });
 *
 * const caller = callsOf<typeof screen>(connection, { timeout: 1000 });
 * assertEquals(await caller.call("Screen.show", "hello"), 5);
 * assertEquals(await caller.service("Screen").show("you"), 3);
 * await client.close();
 * await server.close();
 * ```
 */
export function callsOf<
  S extends object = UntypedServices,
  M extends WireMap = "json",
>(
  caller: Caller,
  options: CallerOptions & OutgoingSettings = {},
): Calls<S, M> {
  return new BorrowedCalls<S, M>(toCaller(caller, options));
}
