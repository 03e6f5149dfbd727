/**
 * The streams of one call: at most one each way.
 *
 * Invariants owned here:
 * - They share the call's id; which one a frame is about follows from its kind
 *   and from who made the call.
 * - They take their places among the connection's streams when they are opened,
 *   and give them back once, with the call's own.
 *
 * @module
 */

import { scopeOfNow } from "../base/async_context.ts";
import type { Call } from "../call/call.ts";
import type { Serving } from "../serve/incoming_call.ts";
import { ownWords, RpcError } from "../base/errors.ts";
import type { LargeRead } from "../connection/large_reads.ts";
import type { Outbox } from "../connection/send_buffer.ts";
import type { Inlet, InletOwner } from "./stream_reader.ts";
import { Outlet, type OutletOwner } from "./stream_writer.ts";
import {
  type Source,
  type StreamValue,
  type Thrown,
  toScopedSource,
} from "../base/pull_source.ts";
import type { Streams } from "./stream_table.ts";
import type {
  PayloadView,
  StreamFailure,
  StreamWriter,
} from "../wire/codec.ts";
import type { Turns } from "./write_scheduler.ts";

/** What both ends of a call have in common. */
export abstract class CallStreams implements InletOwner, OutletOwner {
  /** What comes in, and what goes out. */
  inlet: Inlet | undefined;
  outlet: Outlet | undefined;
  /** Whether this end made the call. */
  abstract readonly caller: boolean;
  protected readonly hub: Streams;
  id = 0;
  /** Told when the call has given its place back. */
  closed: (() => void) | undefined;
  /** Places taken. */
  #in = 0;
  #out = 0;

  constructor(hub: Streams) {
    this.hub = hub;
  }

  get outbox(): Outbox {
    return this.hub.outbox;
  }

  get writer(): StreamWriter {
    return this.hub.writer;
  }

  get turns(): Turns {
    return this.hub.turns;
  }

  get deaf(): boolean {
    return this.hub.deaf;
  }

  get most(): number {
    return this.hub.most;
  }

  /** Takes a place for what comes in, and opens it. */
  protected openIn(): ReadableStream<unknown> {
    this.hub.enter(this);
    this.#in = 1;
    const inlet = this.hub.inlet(this);
    this.inlet = inlet;
    return inlet.readable;
  }

  /** Takes a place for what goes out. */
  protected openOut(): void {
    this.hub.leave(this);
    this.#out = 1;
  }

  /** The call has given its place back; so do they. */
  close(): void {
    this.hub.close(this, this.#in, this.#out);
    this.#in = this.#out = 0;
    this.inlet?.settle();
    this.closed?.();
  }

  /** The call has ended, or is given up: both are ended, and nobody is told. */
  release(reason: unknown): void {
    this.inlet?.abort(reason);
    this.outlet?.release(reason);
  }

  /** The result, if it is a stream, ends in order. */
  abstract endResult(reason: RpcError): void;

  // What the inlet asks.

  credit(bytes: number): void {
    this.writer.credit(this.outbox, this.id, this.caller, bytes);
  }

  stop(reason: unknown): void {
    const { code, message } = ownWords(reason) ?? UNWANTED;
    this.writer.stop(this.outbox, this.id, this.caller, code, message);
  }

  largeRead(again: () => void): LargeRead | undefined {
    return this.hub.largeRead(again);
  }

  open(view: PayloadView, owned: boolean): unknown {
    return this.writer.open(view, owned);
  }

  abstract unreadable(cause: unknown): RpcError;
  abstract blame(error: RpcError): RpcError;

  // What the outlet asks.

  waits(bytes: number): void {
    this.hub.waits(bytes);
  }

  abstract prepare(item: unknown): void;
  abstract describe(error: unknown): StreamFailure;
  abstract done(thrown: Thrown | undefined): void;

  // What the peer says.

  /** The stream that comes in has ended. */
  abstract ended(): void;
  /** The reader of what goes out wants no more. */
  abstract stopped(reason: RpcError): void;
  /** The error of a stream that came in. */
  abstract failure(code: string, message: string, data: unknown): RpcError;
}

/** What the streams of a call of ours ask of their table. */
export interface CallerTable {
  /** The result has ended: the call is over. */
  streamEnded(call: Call): void;
}

/** Those of a call that this end makes: its params go out, its result comes in. */
export class CallerStreams extends CallStreams {
  readonly caller = true;
  readonly #call: Call;
  readonly #table: CallerTable;

  constructor(hub: Streams, call: Call, table: CallerTable) {
    super(hub);
    this.#call = call;
    this.#table = table;
  }

  /**
   * Takes the params over.
   *
   * @throws {TypeError} If they are locked, or no stream after all.
   */
  offer(params: StreamValue): void {
    // One that waited for a connection was made in another context than this.
    const scope = this.#call.extra?.scope ?? scopeOfNow();
    this.outlet = new Outlet(this, toScopedSource(params, scope));
  }

  /** Whether the call may be sent now. */
  get admitted(): boolean {
    return this.outlet === undefined || this.hub.room;
  }

  /**
   * Says whether it can ever be sent; before the peer's HELLO is read, nobody knows.
   *
   * @throws {RpcError} If it cannot.
   */
  checkFit(): void {
    if (this.outlet === undefined) return;
    const error = this.hub.refusal("not_sent");
    if (error !== undefined) throw error;
  }

  /** The request has been written. */
  written(id: number): void {
    this.id = id;
    if (this.outlet !== undefined) this.openOut();
  }

  /** It has been handed over: the peer knows of the stream when it reads what follows. */
  handedOver(): void {
    this.outlet?.start(this.hub.grant.credit);
  }

  /** Whether the result is a stream, which has begun. */
  get answered(): boolean {
    return this.inlet !== undefined;
  }

  /** What a failure of the call was brought about by, if by the params. */
  get cause(): { readonly cause: unknown } | undefined {
    const failure = this.outlet?.failure;
    return failure && { cause: failure.error };
  }

  /** The answer is a stream. */
  answer(id: number): ReadableStream<unknown> {
    this.id = id;
    const readable = this.openIn();
    if (this.hub.ending) this.endResult(this.hub.ending);
    return readable;
  }

  endResult(reason: RpcError): void {
    this.inlet?.finish(reason);
  }

  unreadable(cause: unknown): RpcError {
    const text = "an item of the result does not parse";
    return new RpcError("invalid_reply", text, { cause });
  }

  blame(error: RpcError): RpcError {
    return this.#call.blame(error);
  }

  prepare(item: unknown): void {
    this.hub.prepare(item);
  }

  describe(error: unknown): StreamFailure {
    return ownWords(error) ?? FAILED;
  }

  done(): void {}

  ended(): void {
    this.#table.streamEnded(this.#call);
  }

  stopped(reason: RpcError): void {
    this.outlet?.cancel(reason);
  }

  failure(code: string, message: string, data: unknown): RpcError {
    return this.blame(new RpcError(code, message, { data, remote: true }));
  }
}

/** What the streams of a call of the peer's ask of their table. */
export interface CalleeTable {
  /** What the caller is told of what the handler's stream threw. */
  describeStream(serving: Serving, error: unknown): RpcError;
  /** The same of an item that has no form on the wire. */
  unsayable(serving: Serving, error: unknown): RpcError;
  /** It is over, and its cleanup, which threw something if that is given. The call is over. */
  streamDone(serving: Serving, thrown: Thrown | undefined): void;
}

/** Those of a call that this end serves: its params come in, its result goes out. */
export class CalleeStreams extends CallStreams {
  readonly caller = false;
  /** What the caller was told of a result that failed. */
  told: RpcError | undefined;
  readonly #serving: Serving;
  readonly #table: CalleeTable;

  constructor(hub: Streams, serving: Serving, table: CalleeTable) {
    super(hub);
    this.id = serving.id;
    this.#serving = serving;
    this.#table = table;
  }

  /** The params are a stream. */
  accept(): void {
    this.openIn();
  }

  /** Takes the result over; returns what the call fails with if its caller cannot take it. */
  reply(result: Source): RpcError | undefined {
    const error = this.hub.refusal("executed");
    if (error !== undefined) {
      // That the peer, or the wire, has no streams is for the operator.
      const own = error.code === "invalid_argument";
      return own ? this.#table.unsayable(this.#serving, error) : error;
    }
    this.outlet = new Outlet(this, result);
    this.openOut();
    return undefined;
  }

  /** The reply has been written. */
  start(): void {
    this.outlet?.start(this.hub.grant.credit);
    if (this.hub.ending) this.endResult(this.hub.ending);
  }

  endResult(reason: RpcError): void {
    this.outlet?.complete(reason);
  }

  /** The call is cancelled, or late: the result ends when its cleanup is over. */
  cancel(reason: unknown): void {
    this.inlet?.abort(reason);
    this.outlet?.cancel(reason, ownWords(reason));
  }

  /** The peer is gone: params that have come whole can still be read. */
  lose(reason: unknown): void {
    this.inlet?.lose(reason);
    this.outlet?.release(reason);
  }

  unreadable(cause: unknown): RpcError {
    const text = "an item of the params does not parse";
    return new RpcError("invalid_argument", text, { cause });
  }

  /** What comes in is its caller's: no call of this end's has failed. */
  blame(error: RpcError): RpcError {
    return error;
  }

  prepare(item: unknown): void {
    try {
      this.hub.prepare(item);
    } catch (error) {
      throw this.#table.unsayable(this.#serving, error);
    }
  }

  describe(error: unknown): StreamFailure {
    return this.told = this.#table.describeStream(this.#serving, error);
  }

  done(thrown: Thrown | undefined): void {
    this.#table.streamDone(this.#serving, thrown);
  }

  ended(): void {}

  /** Nobody waits for the call any more: its handler may be in the middle of making the next item. */
  stopped(reason: RpcError): void {
    this.#serving.abort(() => reason);
    this.outlet?.cancel(reason);
  }

  failure(code: string, message: string, data: unknown): RpcError {
    const options = { outcome: "unknown", data, remote: true } as const;
    return new RpcError(code, message, options);
  }
}

const UNWANTED: StreamFailure = {
  code: "cancelled",
  message: "the reader has cancelled the stream",
};
const FAILED: StreamFailure = {
  code: "cancelled",
  message: "the caller's stream has failed",
};

/** Why a stream ends whose call does. */
export function callOver(): RpcError {
  const text = "the call is over, and its streams with it";
  return new RpcError("cancelled", text, { outcome: "unknown" });
}
