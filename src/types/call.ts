/**
 * What a caller passes with a call, and gets back for it.
 *
 * @module
 */

import type { Outcome } from "../base/errors.ts";

/**
 * What a nested call takes over from the call whose handler makes it. Every
 * handler's {@linkcode CallContext} is one: pass it as the option `ctx`.
 */
export interface ParentCall {
  /** Fires when the outer call is cancelled, its deadline passes, or its connection is lost. */
  readonly signal: AbortSignal;
  /** Milliseconds until the outer call's deadline, 0 once it has passed; `Infinity` without one. */
  readonly remaining: number;
}

/** Metadata to send: a plain object of strings, or a `Map` such as a handler's `ctx.metadata`. */
export type MetadataInit =
  | Readonly<Record<string, string>>
  | ReadonlyMap<string, string>;

/**
 * Options of one call. Every member may be left out.
 *
 * A call with an option of the wrong type rejects with `TypeError`, one with
 * too much metadata with `RangeError`. Neither is sent.
 *
 * @example A call with a time limit
 * ```ts
 * import { assertEquals, assertRejects } from "@std/assert";
 * import { Client, memoryPair, RpcError, Server } from "@sluice/rpc";
 *
 * const services = { Slow: { wait: () => new Promise<string>(() => {}) } };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 * const client = new Client<typeof services>(near);
 *
 * const error = await assertRejects(
 *   () => client.call("Slow.wait", undefined, { timeout: 10 }),
 *   RpcError,
 * );
 * assertEquals(error.code, "deadline_exceeded");
 * await client.close({ timeout: 0 });
 * await server.close({ timeout: 0 });
 * ```
 */
export interface CallOptions {
  /**
   * Aborts the call when it fires: the call rejects at once with the signal's
   * `reason`, and on the server the handler's `ctx.signal` fires. A call whose
   * signal has fired before is not sent.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { Client, echoServices, memoryPair, Server } from "@sluice/rpc";
   *
   * const [near, far] = memoryPair();
   * const server = new Server(echoServices());
   * server.accept(far);
   * const client = new Client(near);
   * const signal = AbortSignal.abort("changed my mind");
   * const reason = await client.call("HelloService.Hello", "x", { signal })
   *   .catch((reason) => reason);
   * assertEquals(reason, "changed my mind");
   * await client.close();
   * await server.close();
   * ```
   */
  signal?: AbortSignal | undefined;
  /**
   * Milliseconds until the call rejects with `deadline_exceeded`; the server
   * then cancels the handler. A call with 0 or less is not sent. Default
   * `Infinity`, or the client's own `timeout`.
   */
  timeout?: number | undefined;
  /**
   * The moment at which the call rejects with `deadline_exceeded`: a `Date`, or
   * milliseconds since the epoch. With a `timeout` as well, the earlier of both
   * holds.
   */
  deadline?: Date | number | undefined;
  /**
   * The `ctx` of the handler that makes this call. The call is then aborted
   * when the handler's own call is, and has at most as much time left.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { type CallContext, Client, echoServices, memoryPair, Server } from "@sluice/rpc";
   *
   * const [near, far] = memoryPair();
   * const server = new Server(echoServices());
   * server.accept(far);
   * const inner = new Client<ReturnType<typeof echoServices>>(near);
   *
   * const outer = {
   *   Front: {
   *     greet: (name: string, ctx: CallContext) =>
   *       inner.call("HelloService.Hello", name, { ctx }),
   *   },
   * };
   * const [left, right] = memoryPair();
   * const front = new Server(outer);
   * front.accept(right);
   * const client = new Client<typeof outer>(left);
   * assertEquals(await client.call("Front.greet", "x", { timeout: 1000 }), "hello:x");
   * for (const each of [client, front, inner, server]) await each.close();
   * ```
   */
  ctx?: ParentCall | undefined;
  /**
   * Short texts for the handler, which finds them in `ctx.metadata`. Names have
   * at most 255 bytes of UTF-8, and all names and values together 65,535 bytes
   * with three bytes for each entry.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { type CallContext, Client, memoryPair, Server } from "@sluice/rpc";
   *
   * const services = {
   *   Who: { am: (_: undefined, ctx: CallContext) => ctx.metadata.get("user") },
   * };
   * const [near, far] = memoryPair();
   * const server = new Server(services);
   * server.accept(far);
   * const client = new Client<typeof services>(near);
   * const metadata = { user: "ada" };
   * assertEquals(await client.call("Who.am", undefined, { metadata }), "ada");
   * await client.close();
   * await server.close();
   * ```
   */
  metadata?: MetadataInit | undefined;
  /**
   * A stream beside the params: an upload, whose params are its name. The
   * handler reads it as `ctx.body`. The rules for params that are a stream apply
   * to it; params that are a stream cannot have a body as well. For the other
   * direction see {@linkcode withBody}.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { type CallContext, Client, memoryPair, Server } from "@sluice/rpc";
   *
   * const services = {
   *   Files: {
   *     async save({ name }: { name: string }, ctx: CallContext<Uint8Array>) {
   *       let size = 0;
   *       for await (const chunk of ctx.body ?? []) size += chunk.length;
   *       return `${name}: ${size} bytes`;
   *     },
   *   },
   * };
   * const [near, far] = memoryPair();
   * const server = new Server(services);
   * server.accept(far);
   * const client = new Client<typeof services>(near);
   * const body = new Blob(["hello"]).stream();
   * assertEquals(
   *   await client.call("Files.save", { name: "a.txt" }, { body }),
   *   "a.txt: 5 bytes",
   * );
   * await client.close();
   * await server.close();
   * ```
   */
  body?: ReadableStream<unknown> | AsyncIterable<unknown> | undefined;
  /**
   * Makes metadata that the handler finds in `ctx.trailers` once it has read all
   * of the stream that is the params or the body: a checksum, say. Called when
   * that stream has ended in order. If it throws, or returns more than fits
   * (65,535 bytes, or the peer's `maxMessage` less 4,200 if that is less), the
   * stream fails for its reader. Without a stream it is not called.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { type CallContext, Client, memoryPair, Server } from "@sluice/rpc";
   *
   * const services = {
   *   Sum: {
   *     async check(items: AsyncIterable<number>, ctx: CallContext) {
   *       let sum = 0;
   *       for await (const n of items) sum += n;
   *       return ctx.trailers?.get("sum") === `${sum}`;
   *     },
   *   },
   * };
   * const [near, far] = memoryPair();
   * const server = new Server(services);
   * server.accept(far);
   * const client = new Client<typeof services>(near);
   * let sum = 0;
   * async function* items() {
   *   for (const n of [1, 2]) {
   *     sum += n;
   *     yield n;
   *   }
   * }
   * const trailers = () => ({ sum: `${sum}` });
   * assertEquals(await client.call("Sum.check", items(), { trailers }), true);
   * await client.close();
   * await server.close();
   * ```
   */
  trailers?: (() => MetadataInit) | undefined;
  /**
   * Whether `Uint8Array` params are sent without a copy. The caller must not
   * change them afterwards. Saves time from some 16 KiB on. Above 32 KiB it saves
   * nothing with a server that reads fragments: the bytes are copied once, into
   * those. Default false.
   */
  transfer?: boolean | undefined;
  /**
   * `"urgent"` for a call that goes ahead of others, such as a heartbeat or a
   * cancellation: it does not wait behind calls that are not urgent, large
   * messages or streams, on either side, and its reply does not, either. Up to
   * 16 urgent calls of together 65,536 bytes have places beside the window and
   * beyond `maxRunning`; more of them need room in the window. Calls that the
   * handler makes are not urgent by that. Other protocols than Sluice's own
   * ignore it. Default: not urgent.
   *
   * One with more than 32 KiB is urgent until it is sent, which takes several
   * pieces: it waits for another large call that is being sent, and other calls
   * pass between its pieces.
   *
   * @throws {TypeError} If it is any other value. The call rejects with it.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { Client, memoryPair, Server } from "@sluice/rpc";
   *
   * const log: string[] = [];
   * const services = {
   *   Files: { put: (data: Uint8Array) => void log.push(`${data.length} bytes`) },
   *   Health: { beat: () => void log.push("beat") },
   * };
   * const [near, far] = memoryPair();
   * const server = new Server(services);
   * server.accept(far);
   * const client = new Client<typeof services>(near);
   * await client.connection.opened;
   * await Promise.all([
   *   client.call("Files.put", new Uint8Array(1_000_000)),
   *   client.call("Health.beat", undefined, { priority: "urgent" }),
   * ]);
   * assertEquals(log, ["beat", "1000000 bytes"]);
   * await client.close();
   * await server.close();
   * ```
   */
  priority?: "urgent" | undefined;
  /**
   * Whether the method may run twice without harm. A
   * {@linkcode ReconnectingClient} then sends the call again even if it may
   * have run already; other clients ignore this. Default false.
   */
  idempotent?: boolean | undefined;
}

/** Metadata that was received: short texts by name. */
export type Metadata = ReadonlyMap<string, string>;

/** What a call without metadata has. */
export const NO_METADATA: Metadata = new Map();

/**
 * A call made by `go`: watches it, and aborts it. If the call fails and nobody
 * has read `reply`, there is no unhandled rejection.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, echoServices, memoryPair, Server } from "@sluice/rpc";
 *
 * const [near, far] = memoryPair();
 * const server = new Server(echoServices());
 * server.accept(far);
 * const client = new Client<ReturnType<typeof echoServices>>(near);
 * const handle = client.go("HelloService.Hello", "x");
 * assertEquals(await handle.reply, "hello:x");
 * assertEquals(handle.outcome, "executed");
 * await client.close();
 * await server.close();
 * ```
 */
export interface CallHandle<T = unknown> {
  /** The call's id on its connection; `undefined` until it is sent, and for good if it never is. */
  readonly id: number | undefined;
  /** The method called. */
  readonly method: string;
  /** The bytes of the request: exact once it was sent, an estimate before, and 0 if it cannot be encoded. */
  readonly size: number;
  /** Resolves with the result. Rejects with an {@linkcode RpcError}, or with the reason that the call was aborted with. */
  readonly reply: Promise<T>;
  /** Resolves with `true` once the request was handed to the transport, or with `false` once that cannot happen any more. Never rejects. */
  readonly sent: Promise<boolean>;
  /** The metadata that the handler sent with its reply; `undefined` before the reply, and if it sent none. */
  readonly metadata: Metadata | undefined;
  /** The metadata that came with the end of the result's stream; `undefined` before that end has arrived, and if it had none. It has arrived when the stream has been read to its end. */
  readonly trailers: Metadata | undefined;
  /** Whether the call may have run, as far as is known now: a late reply turns `unknown` into `executed`. */
  readonly outcome: Outcome;
  /**
   * Resolves with the final outcome: when the peer has replied, or when the
   * call or its connection has ended without a reply. Never rejects. For an
   * aborted call this is later than its `reply`.
   */
  readonly settled: Promise<Outcome>;
  /** Aborts the call, as its signal would; `reply` rejects with `reason`. Has no effect once the call has settled and its result stream, if any, has ended. */
  abort(reason?: unknown): void;
}

/** Makes untyped calls: a {@linkcode Connection} is one, and so is what middleware puts in front of it. */
export interface Caller {
  /** Calls a method. The promise resolves with the result, and rejects with an {@linkcode RpcError} or with the reason of an abort. */
  call(
    method: string,
    params?: unknown,
    options?: CallOptions,
  ): Promise<unknown>;
  /** Calls a method and returns a handle at once. Never throws: a call that cannot be made is a handle whose `reply` rejects. */
  go(method: string, params?: unknown, options?: CallOptions): CallHandle;
  /** Why calls wait for a connection, on a caller that reconnects; `undefined` if they do not, or if the reason is not known. */
  readonly away?: unknown;
}
