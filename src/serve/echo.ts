/**
 * The echo services, which tests, examples and benchmarks call.
 *
 * @module
 */

import { RpcError } from "../base/errors.ts";
import { typeName } from "../base/inspect.ts";
import type { CallContext } from "../types/handler.ts";

/** The services that {@linkcode echoServices} makes. */
export interface EchoServices {
  /** Greets. */
  readonly HelloService: {
    /** Returns `hello:` and the name: `"hello:x"` for `"x"`. */
    readonly Hello: (name: string) => string;
  };
  /** Returns its params. */
  readonly Echo: {
    /** Returns any value as it arrived. Bytes are sent back without a copy. */
    readonly echo: (value: unknown, ctx: CallContext) => unknown;
  };
}

/**
 * Makes services that send back what they receive, for tests, examples and
 * measurements.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, type EchoServices, echoServices, memoryPair, Server } from "@sluice/rpc";
 *
 * const [near, far] = memoryPair();
 * const server = new Server(echoServices());
 * server.accept(far);
 * const client = new Client<EchoServices>(near);
 * assertEquals(await client.call("HelloService.Hello", "client 7"), "hello:client 7");
 * await client.close();
 * await server.close();
 * ```
 */
export function echoServices(): EchoServices {
  return { HelloService: { Hello: hello }, Echo: { echo } };
}

/** Checks the type of its params itself, as a handler without a schema must. */
function hello(name: string): string {
  if (typeof name !== "string") {
    throw new RpcError(
      "invalid_argument",
      `Cannot greet: not a string, received ${typeName(name)}`,
    );
  }
  return "hello:" + name;
}

function echo(value: unknown, ctx: CallContext): unknown {
  return value instanceof Uint8Array ? ctx.transfer(value) : value;
}
