/**
 * Middleware: functions around calls, on clients and on servers.
 *
 * Order: the first function in the list is the outermost. It sees a call first
 * and its end last.
 *
 * @module
 */

import type { Metadata, MetadataInit, ParentCall } from "./call.ts";
import type { CallContext } from "./handler.ts";

/** A call as middleware of either side sees it. */
export interface MiddlewareCall {
  /** The method called. */
  readonly method: string;
  /** The params as the caller, or the middleware before, has passed them; on a server they are not validated yet. */
  readonly params: unknown;
  /** Fires when the call is aborted, its deadline passes, or its connection is lost. */
  readonly signal: AbortSignal;
  /** Milliseconds until its deadline, 0 once it has passed; `Infinity` without one. */
  readonly remaining: number;
  /**
   * Resolves when the call is over: when its result or error is passed on, or
   * when the stream that is its result has ended. (The promise of `next`
   * resolves when that stream begins.) Never rejects. Do not await it before the
   * middleware returns: the call would wait for itself.
   *
   * @example Count the items of streams
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { Client, clientMiddleware, memoryPair, Server } from "@sluice/rpc";
   *
   * const counts: (number | undefined)[] = [];
   * const use = clientMiddleware((call, next) => {
   *   call.ended.then(({ items }) => counts.push(items));
   *   return next();
   * });
   *
   * const services = {
   *   Letters: {
   *     async *list() {
   *       yield* "abc";
   *     },
   *   },
   * };
   * const [near, far] = memoryPair();
   * const server = new Server(services);
   * server.accept(far);
   * const client = new Client<typeof services>(near, { use });
   * const letters = await client.call("Letters.list");
   * assertEquals(await Array.fromAsync(letters), ["a", "b", "c"]);
   * await client.close();
   * assertEquals(counts, [3]);
   * await server.close();
   * ```
   */
  readonly ended: Promise<CallEnding>;
}

/** How a call ended. */
export interface CallEnding {
  /** How many items the result had, if it was a stream; else `undefined`. */
  readonly items: number | undefined;
  /** The error that the call failed with, else `undefined`: on a server as the caller receives it, on a client as the caller or the reader of its stream gets it. */
  readonly error: unknown;
}

/** Holds how a call ended; makes the promise of it only if somebody asks. */
export class CallEndingCell {
  #ending: CallEnding | undefined;
  #asked: PromiseWithResolvers<CallEnding> | undefined;

  /** Resolves when the call has ended. */
  get promise(): Promise<CallEnding> {
    if (this.#asked === undefined) {
      this.#asked = Promise.withResolvers();
      if (this.#ending !== undefined) this.#asked.resolve(this.#ending);
    }
    return this.#asked.promise;
  }

  /** Sets how the call ended; only the first time counts. */
  end(ending: CallEnding): void {
    if (this.#ending !== undefined) return;
    this.#ending = ending;
    this.#asked?.resolve(ending);
  }
}

/** What middleware can change of a call when it passes the call on. */
export interface CallChange {
  /** Params that replace the call's. */
  readonly params?: unknown;
}

/** Passes the call on: to the next middleware, and at last to the peer or the handler. Resolves with the result, and rejects with the call's error. Without an argument the call is passed on unchanged. */
export type Next<Change> = (change?: Change) => Promise<unknown>;

/**
 * A function around calls. What it returns, or its promise resolves with, is the
 * call's result; if it throws, the call fails. It may call `next` once, never,
 * or several times.
 *
 * @example Middleware for either side
 * ```ts
 * import { type Middleware, RpcError } from "@sluice/rpc";
 *
 * const timed: Middleware = async (call, next) => {
 *   const began = performance.now();
 *   try {
 *     return await next();
 *   } finally {
 *     const ms = Math.round(performance.now() - began);
 *     if (ms > 1000) console.warn(`${call.method} took ${ms} ms`);
 *   }
 * };
 * ```
 */
export type Middleware<
  C extends MiddlewareCall = MiddlewareCall,
  Change extends CallChange = CallChange,
> = (call: C, next: Next<Change>) => unknown;

/** A call as a client's middleware sees it. */
export interface OutgoingCall extends MiddlewareCall {
  /** The metadata that is sent with the call. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The metadata of the latest reply; `undefined` before a reply, and if it had none. */
  readonly replyMetadata: Metadata | undefined;
  /** Whether the caller says that the method may run twice without harm. */
  readonly idempotent: boolean;
  /** The caller's option `ctx`: the context of the handler that makes the call. */
  readonly ctx: ParentCall | undefined;
}

/**
 * What a client's middleware can change of a call when it passes the call on.
 *
 * @example Add metadata
 * ```ts
 * import { type ClientMiddleware } from "@sluice/rpc";
 *
 * const signed: ClientMiddleware = (call, next) =>
 *   next({ metadata: { ...call.metadata, token: "secret" } });
 * ```
 */
export interface OutgoingChange extends CallChange {
  /** Metadata that replaces the call's. */
  readonly metadata?: MetadataInit | undefined;
}

/** Middleware of a client; see {@linkcode clientMiddleware}. */
export type ClientMiddleware = Middleware<OutgoingCall, OutgoingChange>;

/** A call as a server's middleware sees it. */
export interface IncomingCall extends MiddlewareCall {
  /** The metadata that the caller sent with the call. */
  readonly metadata: Metadata;
  /** The very object that the handler receives as `ctx`: a `WeakMap` with it as key can carry values from middleware to the handler. */
  readonly ctx: CallContext;
}

/** Middleware of a server, for its option `use`. */
export type ServerMiddleware = Middleware<IncomingCall, CallChange>;
