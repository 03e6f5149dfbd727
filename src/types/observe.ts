/**
 * What observers of calls receive, and what connections notify them of. These
 * are types alone: a program without observers carries no code for them.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { Metadata } from "./call.ts";
import type { Outcome, RpcError } from "../base/errors.ts";
import type { Connection, Observers } from "./connection.ts";

/** A call as an observer sees it. It is the same object at the call's start and at its end, so it can be the key of a `WeakMap`. */
export interface ObservedCall {
  /** `client` if the local side made the call, `server` if it serves it. */
  readonly side: "client" | "server";
  /** The method called; on a server as the caller wrote it, even if there is no such method. */
  readonly method: string;
  /** The call's id on its connection; `undefined` while an outgoing call waits to be sent. */
  readonly id: number | undefined;
  /** The connection of the call; `undefined` while a {@linkcode ReconnectingClient} has none for it. */
  readonly connection: Connection | undefined;
  /** The metadata that was sent with the call. */
  readonly metadata: Metadata;
  /** The bytes of the request; 0 before it is encoded. */
  readonly requestBytes: number;
  /** The bytes of the reply, without the items of a stream. `undefined` without a reply, on a server if the result is a stream, and on a client of another protocol than Sluice's own. */
  readonly replyBytes: number | undefined;
  /** How many items the result has had so far, if it is a stream; else `undefined`. Small items of bytes may be joined, and then count as one. */
  readonly items: number | undefined;
  /** Milliseconds from its start to its end, or to now. On a client a call ends when its promise settles, on a server when the reply is written; if the result is a stream, when that has ended. */
  readonly duration: number;
  /** Whether the call has run; `undefined` before its end. On a client as its caller got it; on a server `executed`, `refused`, or `unknown` if the connection was lost before the reply. */
  readonly outcome: Outcome | undefined;
  /** How it ended: `ok`, the code of an {@linkcode RpcError}, or `cancelled` if the caller aborted it with a reason of its own. `undefined` before its end. */
  readonly code: string | undefined;
  /** The error that it failed with, else `undefined`; on a server as the caller receives it. */
  readonly error: unknown;
}

/**
 * Is notified when calls start and end. Errors that its functions throw, or
 * their promises reject with, are ignored.
 *
 * @example Log how long calls take
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { type CallObserver, Client, echoServices, memoryPair, observers, Server } from "@sluice/rpc";
 *
 * const lines: string[] = [];
 * const log: CallObserver = {
 *   end: (call) => void lines.push(`${call.side} ${call.method}: ${call.code}`),
 * };
 * const [near, far] = memoryPair();
 * const server = new Server(echoServices());
 * server.accept(far);
 * const client = new Client<ReturnType<typeof echoServices>>(near, {
 *   observe: observers(log),
 * });
 * await client.call("HelloService.Hello", "x");
 * await client.close();
 * assertEquals(lines, ["client HelloService.Hello: ok"]);
 * await server.close();
 * ```
 */
export interface CallObserver {
  /** Whether it wants to be notified of a call that starts now. It is read for every call, so an observer that is not needed yet costs next to nothing. Default true. */
  readonly active?: boolean;
  /** Called when a call starts: it was made and is about to be sent, or it has arrived. */
  start?(call: ObservedCall): void;
  /** Called in a microtask of its own when a call has ended. */
  end?(call: ObservedCall): void;
}

/** Metadata that is decoded when it is first read. */
interface LazyMetadata {
  readonly entries: Metadata;
}

/** What observers read of an outgoing call: an entry of the pending table. */
export interface OutgoingRecord {
  readonly method: string;
  /** The number that the id is made from; negative while the call waits to be sent. */
  readonly seq: number;
  readonly size: number;
  readonly extra: {
    readonly metadata: LazyMetadata | undefined;
    readonly streams: {
      readonly reader: { readonly items: number } | undefined;
    } | undefined;
  } | undefined;
  /** Returns the object that keeps the call's observer until the call has ended. */
  extras(): { observed: CallEnd | undefined };
}

/** An incoming request, as far as its header is known. */
export interface RequestInfo {
  readonly connection: Connection;
  readonly method: string;
  readonly id: number;
  readonly size: number;
  /** The metadata that was sent with the call. */
  readonly metadataBlock: LazyMetadata | undefined;
  /** Its streams, if it has any. */
  readonly streams?: {
    readonly writer: { readonly items: number } | undefined;
  };
}

/** What connections notify: implemented by {@linkcode ObserverList}. */
export interface CallObserverHub extends Observers {
  /** The local side makes a call. */
  onOutgoing(
    call: OutgoingRecord,
    clock: Clock,
    by: () => Connection | undefined,
  ): void;
  /** The peer has made a call. */
  onIncoming(call: RequestInfo, clock: Clock): void;
  /** An incoming call was answered with a reply of `bytes`, or its result stream has ended: then `bytes` is undefined. */
  answered(
    call: RequestInfo,
    outcome: Outcome,
    error: RpcError | undefined,
    bytes: number | undefined,
  ): void;
  /** An incoming call will never be answered. */
  lost(call: RequestInfo, error: RpcError): void;
  /** An incoming call was refused before its body was read. */
  refused(
    request: RequestInfo,
    clock: Clock,
    error: RpcError,
    bytes: number,
  ): void;
}

/** Is notified of the end of one outgoing call. */
export interface CallEnd {
  /** The reply, of so many bytes, has arrived. */
  answered(bytes: number | undefined): void;
  /** The call has settled for its caller. */
  ended(outcome: Outcome, failed: boolean, result: unknown): void;
}
