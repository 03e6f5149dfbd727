/**
 * The echo services: what tests, examples and benchmarks call.
 *
 * @module
 */

import type { CallContext } from "../types/handler.ts";
import { RpcError } from "../base/errors.ts";

/** The services that {@linkcode echoServices} makes. */
export interface EchoServices {
  /** The service of the experiment this library grew from. */
  readonly HelloService: {
    /** `"x"` to `"hello:x"`. */
    readonly Hello: (name: string) => string;
  };
  /** Gives back what it gets. */
  readonly Echo: {
    /** Any payload back as it came: bytes as bytes, uncopied. */
    readonly echo: (value: unknown, ctx: CallContext) => unknown;
  };
}

/**
 * Services that answer with what they were sent.
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

/** Checks its type by hand, as a handler without a schema must. */
function hello(name: string): string {
  if (typeof name !== "string") {
    throw new RpcError(
      "invalid_argument",
      `Hello takes a string, received ${name === null ? "null" : typeof name}`,
    );
  }
  return "hello:" + name;
}

function echo(value: unknown, ctx: CallContext): unknown {
  return value instanceof Uint8Array ? ctx.transfer(value) : value;
}
