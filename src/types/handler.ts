/**
 * What a handler is given with its params.
 *
 * @module
 */

import type { Metadata, MetadataInit, ParentCall } from "./call.ts";
import type { Connection } from "../types/connection.ts";
import type { Peer } from "./connection.ts";

/** The second argument of every handler; pass it on as a nested call's `ctx` option. */
export interface CallContext extends ParentCall {
  /** The method called. */
  readonly method: string;
  /** The call's id on its connection. */
  readonly id: number;
  /**
   * Fires when the caller cancelled, the deadline passed, or the connection
   * went away; its `reason` is an {@linkcode RpcError} that says which.
   */
  readonly signal: AbortSignal;
  /**
   * Fires when either end of the connection begins to drain, or it is lost: the
   * time for a handler without an end of its own, a live feed say, to come to
   * one. The call goes on; what the handler does is up to it.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { type CallContext, Client, memoryPair, Server } from "@sluice/rpc";
   *
   * const services = {
   *   Feed: {
   *     async *prices(_: undefined, { draining }: CallContext) {
   *       yield 42;
   *       await new Promise((resolve) => {
   *         if (draining.aborted) resolve(undefined);
   *         else draining.addEventListener("abort", resolve);
   *       });
   *     },
   *   },
   * };
   * const [near, far] = memoryPair();
   * const server = new Server(services);
   * server.accept(far);
   * const client = new Client<typeof services>(near);
   * const prices = (await client.call("Feed.prices")).getReader();
   * assertEquals(await prices.read(), { done: false, value: 42 });
   * const closed = server.close();
   * assertEquals((await prices.read()).done, true);
   * await closed;
   * await client.close();
   * ```
   */
  readonly draining: AbortSignal;
  /** When the caller stops waiting, in milliseconds since the epoch, as near as the wall clock tells; `undefined` without a deadline. */
  readonly deadline: number | undefined;
  /** What is left of that, in ms; `Infinity` without a deadline. */
  readonly remaining: number;
  /** What the caller sent along. */
  readonly metadata: Metadata;
  /**
   * Sends short texts along with the answer, result or error; a later value of
   * a name replaces an earlier one. The caller finds them as its handle's
   * `metadata`.
   *
   * @throws {TypeError} If a value is not a string.
   * @throws {RangeError} If it is too large; see `metadata` of a call's options.
   */
  setReplyMetadata(metadata: MetadataInit): void;
  /**
   * Gives bytes away: as the handler's result they are sent uncopied, as a
   * call's params are with its `transfer` option, and are not to be touched any
   * more. Worth it from some 16 KiB on. Returns them.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { type CallContext, Client, memoryPair, Server } from "@sluice/rpc";
   *
   * const services = {
   *   Zeros: { make: (n: number, ctx: CallContext) => ctx.transfer(new Uint8Array(n)) },
   * };
   * const [near, far] = memoryPair();
   * const server = new Server(services);
   * server.accept(far);
   * const client = new Client<typeof services>(near);
   * assertEquals((await client.call("Zeros.make", 65_536)).length, 65_536);
   * await client.close();
   * await server.close();
   * ```
   */
  transfer<Bytes extends Uint8Array>(bytes: Bytes): Bytes;
  /** What the server's `authorize` returned for this connection; `undefined` without one. */
  readonly auth: unknown;
  /** What the transport tells of the caller: its address, and its certificate over TLS. */
  readonly peer: Peer;
  /** The connection the call came by, to call back on or to close. */
  readonly connection: Connection;
}
