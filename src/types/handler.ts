/**
 * What a handler receives besides its params.
 *
 * @module
 */

import type { Metadata, MetadataInit, ParentCall } from "./call.ts";
import type { Connection, Peer } from "./connection.ts";

/**
 * The second argument of every handler: the call's caller, deadline, metadata
 * and connection. Pass it as the option `ctx` of calls that the handler makes.
 * `Body` is the type of the items of {@linkcode CallContext.body}.
 *
 * @example A handler that stops when nobody waits for it
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { type CallContext, Client, memoryPair, Server } from "@sluice/rpc";
 *
 * const services = {
 *   Files: {
 *     read: (path: string, ctx: CallContext) => {
 *       ctx.signal.throwIfAborted();
 *       ctx.setReplyMetadata({ path });
 *       return `${path}, ${ctx.remaining} ms left`;
 *     },
 *   },
 * };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 * const client = new Client<typeof services>(near);
 * const handle = client.go("Files.read", "a.txt");
 * assertEquals(await handle.reply, "a.txt, Infinity ms left");
 * assertEquals(handle.metadata?.get("path"), "a.txt");
 * await client.close();
 * await server.close();
 * ```
 */
export interface CallContext<Body = unknown> extends ParentCall {
  /** The method called. */
  readonly method: string;
  /** The call's id on its connection. */
  readonly id: number;
  /**
   * Fires when the caller has cancelled the call, its deadline has passed, or
   * the connection is lost: the handler should stop, as nobody waits for its
   * result. The signal's `reason` is an {@linkcode RpcError} that says which.
   */
  readonly signal: AbortSignal;
  /**
   * Fires when the client or the server begins to close the connection
   * gracefully, and when the connection is lost. A handler that would run
   * forever, such as a live feed, should then return. The call goes on until
   * it does, or until the time for closing is over.
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
  /** When the caller stops waiting, in milliseconds since the epoch by the local wall clock; `undefined` without a deadline. */
  readonly deadline: number | undefined;
  /** Milliseconds until the deadline, 0 once it has passed; `Infinity` without one. Changes of the wall clock do not affect it. */
  readonly remaining: number;
  /** The metadata that the caller sent with the call; empty if it sent none. */
  readonly metadata: Metadata;
  /**
   * The stream that the caller sends beside the params, its option `body`;
   * `undefined` if it sends none. What is not read when the handler has settled
   * is dropped, and its producer is stopped. The type of the items is what the
   * handler says: nothing checks it.
   */
  readonly body: ReadableStream<Body> | undefined;
  /**
   * Adds metadata to the reply, be that a result or an error. A second call
   * adds to the first, and replaces values of the same name. The caller finds
   * it as `metadata` of the call's handle.
   *
   * @throws {TypeError} If `metadata` is neither a plain object nor a `Map`, or a value is not a string.
   * @throws {RangeError} If it is larger than {@linkcode CallOptions.metadata} may be.
   */
  setReplyMetadata(metadata: MetadataInit): void;
  /**
   * Sets metadata that travels with the end of the result, if that is a stream,
   * be it an end in order or a failure. Call it before the stream ends: in the
   * generator, for example. A second call adds to the first, and replaces values
   * of the same name. The caller finds it as `trailers` of the call's handle. A
   * result that is no stream has no trailers.
   *
   * @throws {TypeError} If `metadata` is neither a plain object nor a `Map`, or a value is not a string.
   * @throws {RangeError} If it is larger than 65,535 bytes, or than the caller's `maxMessage` less 4,200 if that is less. What was set before stays.
   *
   * @example How many rows there were, known only at the end
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { type CallContext, Client, memoryPair, Server } from "@sluice/rpc";
   *
   * const services = {
   *   Table: {
   *     async *rows(_: undefined, ctx: CallContext) {
   *       let rows = 0;
   *       for (const name of ["a", "b"]) {
   *         rows++;
   *         yield { name };
   *       }
   *       ctx.setTrailers({ rows: `${rows}` });
   *     },
   *   },
   * };
   * const [near, far] = memoryPair();
   * const server = new Server(services);
   * server.accept(far);
   * const client = new Client<typeof services>(near);
   * const handle = client.go("Table.rows");
   * const rows = await Array.fromAsync(await handle.reply);
   * assertEquals(handle.trailers?.get("rows"), `${rows.length}`);
   * await client.close();
   * await server.close();
   * ```
   */
  setTrailers(metadata: MetadataInit): void;
  /** The metadata that came with the end of the caller's stream; `undefined` before that end has arrived, and if it had none. It has arrived when the stream has been read to its end. */
  readonly trailers: Metadata | undefined;
  /**
   * Returns the bytes, which are then sent without a copy if they are the
   * handler's result. The handler must not change them afterwards. Saves time
   * from some 16 KiB on. Above 32 KiB it saves nothing with a client that reads
   * fragments: the bytes are copied once, into those.
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
  /**
   * In a method that is `ordered`, lets the next call of the order and key
   * start while this one goes on. So calls begin in their order, one at a time,
   * and then wait side by side: for the disk (group commit), or for a reply.
   *
   * The next call starts after the code that runs now, in a microtask, if the
   * limits such as `maxRunning` permit; this call counts in them until it has
   * settled. A second `passTurn()` does nothing, and neither does one in a method
   * that is not ordered: a handler need not know how its service is served.
   *
   * @example Appends that arrive together share one fsync
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { type CallContext, Client, memoryPair, ordered, Server } from "@sluice/rpc";
   *
   * const lines: string[] = [];
   * let syncs = 0;
   * const fsync = () => new Promise<void>((done) => setTimeout(done, ++syncs));
   *
   * let last = Promise.resolve();
   * let next: Promise<void> | undefined;
   * // Resolves after an fsync that begins after this call. All calls until it begins share it.
   * function synced(): Promise<void> {
   *   return next ??= last = last.then(async () => {
   *     await new Promise((turn) => setTimeout(turn)); // Calls that have arrived write first.
   *     next = undefined;
   *     await fsync();
   *   });
   * }
   *
   * const services = {
   *   Log: ordered({
   *     append: async (line: string, ctx: CallContext) => {
   *       const index = lines.push(line); // In the order of arrival.
   *       ctx.passTurn();
   *       await synced();
   *       return index;
   *     },
   *   }),
   * };
   * const [near, far] = memoryPair();
   * const server = new Server(services);
   * server.accept(far);
   * const client = new Client<typeof services>(near);
   * const calls = Array.from({ length: 10 }, (_, n) => client.call("Log.append", `line ${n}`));
   * assertEquals(await Promise.all(calls), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
   * assertEquals(syncs, 1);
   * await client.close();
   * await server.close();
   * ```
   */
  passTurn(): void;
  /** What the server's `authorize` returned for this connection; `undefined` if the server has none. */
  readonly auth: unknown;
  /** The caller's address, and its certificate over TLS, as far as the transport knows them. */
  readonly peer: Peer;
  /** The connection that the call arrived on. The handler can call the client back on it, or close it. */
  readonly connection: Connection;
}
