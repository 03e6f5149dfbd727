/**
 * What stands around calls, the same on both sides: an onion of functions that
 * each get a call and the way on.
 *
 * Invariants owned here:
 * - The first one named is outermost: it sees a call first and its end last.
 * - Who uses none pays nothing: calls and handlers are wrapped when a client
 *   or a server is made, never asked when a call is.
 *
 * @module
 */

import type { Metadata, MetadataInit, ParentCall } from "./call.ts";
import type { CallContext } from "./handler.ts";

/** What a middleware knows of a call, on either side. */
export interface MiddlewareCall {
  /** The method called. */
  readonly method: string;
  /** As its caller, or the middleware before, gave them; on a server before any schema has seen them. */
  readonly params: unknown;
  /** Fires when the call is given up: aborted, late, or its connection gone. */
  readonly signal: AbortSignal;
  /** What is left of its deadline, in ms; `Infinity` without one. */
  readonly remaining: number;
  /**
   * Resolves when the call is over: when its result, or its error, is on its
   * way, or the stream that is its result has ended. Never rejects. (The
   * promise of `next` resolves when that stream begins.) It must not be awaited
   * by the middleware before that returns, as the call would wait for itself.
   */
  readonly ended: Promise<CallEnding>;
}

/** How a call ended. */
export interface CallEnding {
  /** How many items the stream of its result had; `undefined` if the result is no stream. */
  readonly items: number | undefined;
  /** What it ended with, if that is an error: on a server what its caller is told, on a client what its caller, or the reader of the stream, gets. */
  readonly error: unknown;
}

/** A promise of a call's ending, made if somebody asks for it. */
export class CallEndingCell {
  #ending: CallEnding | undefined;
  #asked: PromiseWithResolvers<CallEnding> | undefined;

  get promise(): Promise<CallEnding> {
    if (this.#asked === undefined) {
      this.#asked = Promise.withResolvers();
      if (this.#ending !== undefined) this.#asked.resolve(this.#ending);
    }
    return this.#asked.promise;
  }

  /** It has ended; the first one counts. */
  end(ending: CallEnding): void {
    if (this.#ending !== undefined) return;
    this.#ending = ending;
    this.#asked?.resolve(ending);
  }
}

/** What a middleware can change on the way on. */
export interface CallChange {
  /** Other params. */
  readonly params?: unknown;
}

/** The way on: to the next middleware, and at last to the call itself. Without an argument nothing changes; a call may be passed as it is. */
export type Next<Change> = (change?: Change) => Promise<unknown>;

/**
 * Stands around calls: returns their result, or something in its place, or
 * throws. It may go on (`next`) once, never, or several times.
 *
 * @example One that fits both sides
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

/** What a client's middleware knows of a call. */
export interface OutgoingCall extends MiddlewareCall {
  /** What is sent along. */
  readonly metadata: Readonly<Record<string, string>>;
  /** What came along with the latest answer. */
  readonly replyMetadata: Metadata | undefined;
  /** Whether its caller says that running twice is as good as once. */
  readonly idempotent: boolean;
  /** The `ctx` of the handler that makes it, if its caller said so. */
  readonly ctx: ParentCall | undefined;
}

/** What a client's middleware can change on the way on. */
export interface OutgoingChange extends CallChange {
  /** What is sent along in place of what was. */
  readonly metadata?: MetadataInit | undefined;
}

/** Middleware of a client. */
export type ClientMiddleware = Middleware<OutgoingCall, OutgoingChange>;

/** What a server's middleware knows of a call. */
export interface IncomingCall extends MiddlewareCall {
  /** What its caller sent along. */
  readonly metadata: Metadata;
  /** What its handler gets: this very object, so a `WeakMap` can carry things from here to there. */
  readonly ctx: CallContext;
}

/** Middleware of a server. */
export type ServerMiddleware = Middleware<IncomingCall, CallChange>;
