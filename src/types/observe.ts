/**
 * What connections tell of calls to whoever wants to know, and what of it a
 * user sees.
 *
 * Invariant owned here: these are types alone. Who observes nothing carries no
 * code for it, and pays one look at an option that is not there.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { Metadata } from "./call.ts";
import type { Outcome, RpcError } from "../base/errors.ts";
import type { Connection, Observers } from "./connection.ts";

/** A call as an observer sees it: one object from its start to its end. */
export interface ObservedCall {
  /** Whether this end made it (`client`) or serves it (`server`). */
  readonly side: "client" | "server";
  /** The method called; on a server as its caller wrote it, whether there is one or not. */
  readonly method: string;
  /** The id on the wire; `undefined` while a call of ours waits to be sent. */
  readonly id: number | undefined;
  /** The connection it goes or came by; `undefined` while a {@linkcode ReconnectingClient} has none for it. */
  readonly connection: Connection | undefined;
  /** What was sent along. */
  readonly metadata: Metadata;
  /** What the request counts in bytes; 0 before it is encoded. */
  readonly requestBytes: number;
  /** What the answer takes in bytes, its streams left out; `undefined` without one, for a stream that is served, and on a client of another wire than the native one. */
  readonly replyBytes: number | undefined;
  /** How many items the stream of its result has had so far; `undefined` if the result is no stream. Bytes that a producer gives in small pieces may come in fewer. */
  readonly items: number | undefined;
  /** Milliseconds from its start to its end, or to now: on a client until its caller is told, on a server from its arrival until it is answered; on both, if the result is a stream, until that has ended. */
  readonly duration: number;
  /** Whether it has run, once it has ended, as its caller was told; for a server `executed`, `refused`, or `unknown` if nobody was left to answer. */
  readonly outcome: Outcome | undefined;
  /** How it ended: `ok`, an {@linkcode RpcError}'s code, or `cancelled` if it was aborted with a reason of the caller's own. `undefined` before. */
  readonly code: string | undefined;
  /** What it ended with, if that is an error; on a server what its caller is told. */
  readonly error: unknown;
}

/** Is told of calls. What its functions throw or reject with is lost. */
export interface CallObserver {
  /** Whether it wants to be told at all; looked at for every call, so that one who may come later costs next to nothing now. Default true. */
  readonly active?: boolean;
  /** A call begins: it was made, and nothing is done for it yet; or it came. */
  start?(call: ObservedCall): void;
  /** It has ended: told in a microtask of its own. */
  end?(call: ObservedCall): void;
}

/** Metadata that is decoded when somebody reads it. */
interface LazyMetadata {
  readonly entries: Metadata;
}

/** What observers read of an outgoing call: an entry of the pending table. */
export interface OutgoingRecord {
  readonly method: string;
  /** The count that the id is made from; negative while the call waits to be sent. */
  readonly seq: number;
  readonly size: number;
  readonly extra: {
    readonly metadata: LazyMetadata | undefined;
    readonly streams: {
      readonly reader: { readonly items: number } | undefined;
    } | undefined;
  } | undefined;
  /** Where the observer of this call is kept until the call has ended. */
  extras(): { observed: CallEnd | undefined };
}

/** A request that came, as far as its header tells. */
export interface RequestInfo {
  readonly connection: Connection;
  readonly method: string;
  readonly id: number;
  readonly size: number;
  /** What was sent along. */
  readonly metadataBlock: LazyMetadata | undefined;
  /** Its streams, if it has any. */
  readonly streams?: {
    readonly writer: { readonly items: number } | undefined;
  };
}

/** What connections tell: what every {@linkcode ObserverList} is. */
export interface CallObserverHub extends Observers {
  /** This end makes a call. */
  onOutgoing(
    call: OutgoingRecord,
    clock: Clock,
    by: () => Connection | undefined,
  ): void;
  /** The peer has made one. */
  onIncoming(call: RequestInfo, clock: Clock): void;
  /** A call that came was answered, with `bytes` of answer; undefined of a stream, when that has ended. */
  answered(
    call: RequestInfo,
    outcome: Outcome,
    error: RpcError | undefined,
    bytes: number | undefined,
  ): void;
  /** A call that came will never be answered. */
  lost(call: RequestInfo, error: RpcError): void;
  /** A call that came was answered by its header alone. */
  refused(
    request: RequestInfo,
    clock: Clock,
    error: RpcError,
    bytes: number,
  ): void;
}

/** Is told the end of a call of ours. */
export interface CallEnd {
  /** An answer of so many bytes has come. */
  answered(bytes: number | undefined): void;
  /** Its caller is told. */
  ended(outcome: Outcome, failed: boolean, result: unknown): void;
}
