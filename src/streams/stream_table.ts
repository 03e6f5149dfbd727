/**
 * The streams of one connection. Made when its first one is.
 *
 * Invariants owned here:
 * - No more streams are open towards an end than it granted, counted at both
 *   ends; each holds its place as long as its call does.
 * - A frame is about a stream of a call that lives. For a call that is over it
 *   is late, and ignored; for any other the peer breaks the rules.
 * - A control frame (END, STOP, CREDIT) that changes nothing costs one look-up,
 *   and makes no error; and a peer may send only so many in a row.
 *
 * @module
 */

import { STREAM_CHARGE } from "../wire/limits.ts";
import type {
  ConnectionStreams,
  IncomingStreamCall,
  IncomingStreamHost,
  IncomingStreams,
  OutgoingStreamCall,
  OutgoingStreams,
  StreamTableContext,
} from "./contract.ts";
import type { PayloadView, StreamFrameWriter } from "../wire/codec.ts";
import {
  ConnectionError,
  type ErrorCode,
  type Outcome,
  RpcError,
} from "../base/errors.ts";
import type { LargeRead } from "../base/large_reads.ts";
import type { StreamGrant } from "../types/connection.ts";
import type { FrameBuffer } from "../wire/frame_buffer.ts";
import {
  CalleeStreams,
  CallerStreams,
  type CallStreams,
  type StreamHub,
} from "./call_streams.ts";
import { WindowBudget } from "./flow_control.ts";
import { StreamReader, type StreamReaderOwner } from "./stream_reader.ts";
import { WriteScheduler } from "./write_scheduler.ts";
import type { StreamStats } from "../types/stats.ts";

/** By how many bytes what waits to be sent grows until somebody is told. */
const STEP = 16 * 1024;

/** How many control frames that change nothing are taken in a row. */
export const MAX_IDLE = 10_000;
/**
 * And how many more for each stream that the connection has had. Frames of a
 * stream can cross its end, but no more than these of one of ours: END, STOP,
 * and some CREDITs, each for at least half of its window.
 */
export const IDLE_PER_STREAM = 8;

/** All streams of one connection. */
export class StreamTable implements ConnectionStreams, StreamHub {
  readonly sendBuffer: FrameBuffer;
  readonly turns: WriteScheduler;
  /** The peer has sent its FIN, and so grants nothing any more. */
  peerHalfClosed = false;
  /** Why results that are streams are ended in order, those that are open and those that come, if they are. */
  ending: RpcError | undefined;
  readonly #context: StreamTableContext;
  readonly #budget: WindowBudget;
  readonly #open = new Set<CallStreams>();
  /** Bytes of items that wait to be sent, and how many of them are told next. */
  #waiting = 0;
  #notice = STEP;
  /** Streams open towards this end, and towards the peer. */
  #in = 0;
  #out = 0;
  /** Control frames in a row that changed nothing, and how many there may be. */
  #idle = 0;
  #maxIdle = MAX_IDLE;

  constructor(context: StreamTableContext) {
    const { sendBuffer, limits } = context;
    this.#context = context;
    this.sendBuffer = sendBuffer;
    this.turns = new WriteScheduler(sendBuffer, limits);
    this.#budget = new WindowBudget(limits.streamBudget);
  }

  get frames(): StreamFrameWriter {
    return this.#context.codec.streams as StreamFrameWriter;
  }

  /** The largest body the peer accepts. */
  get most(): number {
    return this.#context.peerMaxMessage();
  }

  /** What the peer grants; only asked once it has said so. */
  get grant(): StreamGrant {
    return this.#context.granted()?.streams as StreamGrant;
  }

  /** Whether one more may be opened towards the peer. */
  get room(): boolean {
    const granted = this.#context.granted()?.streams;
    return granted !== undefined && this.#out < granted.max;
  }

  /** Why a stream can never be sent, or (`executed`) not now; undefined if it can, and before the peer's HELLO, when nobody knows. */
  refusal(outcome: Outcome): RpcError | undefined {
    const granted = this.#context.granted();
    const refuse = (code: ErrorCode, text: string) =>
      new RpcError(code, text, { outcome });
    if (this.#context.codec.streams === undefined) {
      return refuse("invalid_argument", "the wire has no streams");
    }
    if (granted === undefined) return undefined;
    if (granted.streams === undefined) {
      return refuse("invalid_argument", "the peer takes no streams");
    }
    const { max } = granted.streams;
    const full = outcome === "executed" ? this.#out >= max : max === 0;
    if (!full) return undefined;
    const text = `the peer takes at most ${max} streams at once`;
    return refuse("resource_exhausted", text);
  }

  /** Prepares an item. Throws if it has no form on the wire. */
  prepare(item: unknown): void {
    this.#context.codec.prepare(item, false, undefined, "item");
  }

  outgoing(call: OutgoingStreamCall, ended: () => void): OutgoingStreams {
    return new CallerStreams(this, call, ended);
  }

  incoming<C extends IncomingStreamCall>(
    call: C,
    host: IncomingStreamHost<C>,
  ): IncomingStreams {
    return new CalleeStreams(this, call, host);
  }

  // Places.

  /**
   * Says whether one more may come in.
   *
   * @throws {ConnectionError} `resource_exhausted`, if it is one too many.
   */
  checkRoom(): void {
    const { maxStreams } = this.#context.limits;
    if (this.#in < maxStreams) return;
    throw new ConnectionError(
      "resource_exhausted",
      `the peer opened more than the ${maxStreams} streams it was granted`,
    );
  }

  /** One more comes in. */
  enter(streams: CallStreams): void {
    this.#in++;
    this.#opened(streams);
  }

  /** One more goes out. */
  leave(streams: CallStreams): void {
    this.#out++;
    this.#opened(streams);
  }

  #opened(streams: CallStreams): void {
    this.#open.add(streams);
    this.#maxIdle += IDLE_PER_STREAM;
  }

  /** A call and its streams give their places back. */
  close(streams: CallStreams, ins: number, outs: number): void {
    this.#in -= ins;
    this.#out -= outs;
    this.#open.delete(streams);
  }

  /** The reading end of a stream. */
  streamReader(owner: StreamReaderOwner): StreamReader {
    return new StreamReader(
      owner,
      this.#context.limits.streamCredit,
      this.#budget,
    );
  }

  /** Who says when a large item may be parsed. */
  largeRead(again: () => void): LargeRead | undefined {
    return this.#context.largeReads?.reader(again);
  }

  /** The peer's FIN has come: who needs credit gets none. */
  onPeerHalfClose(): void {
    this.peerHalfClosed = true;
    for (const { writer } of this.#open) writer?.advance();
  }

  /** This end closes, and waits for no result to end of itself. */
  endResults(reason: RpcError): void {
    if (this.ending || this.#context.codec.streams === undefined) return;
    this.ending = reason;
    for (const streams of this.#open) streams.endResult(reason);
  }

  /** Lets write who may. */
  writeReady(): void {
    this.turns.writeReady();
  }

  /** What the items take that wait, either way, with a charge for each stream. */
  get heldBytes(): number {
    return this.#budget.held + this.#waiting +
      STREAM_CHARGE * (this.#in + this.#out);
  }

  /** Items that wait to be sent have grown by so many bytes. */
  waits(bytes: number): void {
    this.#waiting += bytes;
    if (this.#waiting < this.#notice) {
      this.#notice = Math.min(this.#notice, this.#waiting + STEP);
      return;
    }
    this.#notice = this.#waiting + STEP;
    this.#context.onGrown();
  }

  get numbers(): StreamStats {
    let [streamHeld, streamGranted, streamCredit] = [0, 0, 0];
    for (const { reader, writer } of this.#open) {
      streamHeld += reader?.held ?? 0;
      streamGranted += reader?.granted ?? 0;
      streamCredit += writer?.granted ?? 0;
    }
    const streams = this.#in + this.#out;
    return { streams, streamHeld, streamGranted, streamCredit };
  }

  // What the peer says.

  onData(
    id: number,
    caller: boolean,
    view: PayloadView,
    more: boolean,
    owned: boolean,
  ): void {
    this.#streamReader(id, caller, "DATA")?.reader?.data(
      view,
      more,
      owned,
    );
  }

  onEnd(id: number, caller: boolean): void {
    const streams = this.#streamReader(id, caller, "END");
    const live = streams?.reader?.live === true;
    if (!this.#counts("END", live)) return;
    streams?.reader?.end();
    streams?.ended();
  }

  onFail(id: number, caller: boolean, code: string, message: string): void {
    const streams = this.#streamReader(id, caller, "END");
    const live = streams?.reader?.live === true;
    if (!this.#counts("END", live)) return;
    let data: unknown;
    try {
      data = this.#context.codec.value();
    } catch {
      // The failure is what counts; data that does not parse is no data.
    }
    const error = streams?.failure(code, message, data);
    streams?.reader?.end({ error });
    streams?.ended();
  }

  onStop(id: number, caller: boolean, code: string, text: string): void {
    const streams = this.#streamWriter(id, caller, "STOP");
    const live = streams?.writer?.live === true;
    if (!this.#counts("STOP", live)) return;
    const options = { outcome: "unknown", remote: true } as const;
    streams?.stopped(new RpcError(code, text, options));
  }

  onCredit(id: number, caller: boolean, bytes: number): void {
    const streams = this.#streamWriter(id, caller, "CREDIT");
    const live = streams?.writer?.live === true;
    if (this.#counts("CREDIT", live && bytes > 0)) {
      streams?.writer?.grant(bytes);
    }
  }

  /**
   * Counts a control frame; returns whether it changes anything, as `counts` says.
   *
   * @throws {ConnectionError} `resource_exhausted`, if too many in a row did not.
   */
  #counts(what: string, counts: boolean): boolean {
    this.#idle = counts ? 0 : this.#idle + 1;
    if (this.#idle <= this.#maxIdle) return counts;
    throw new ConnectionError(
      "resource_exhausted",
      `the peer sent ${this.#idle} frames of streams in a row that change nothing, the last one ${what}`,
    );
  }

  /** The calls' streams are those that this table has made. */
  #find(id: number, caller: boolean): CallStreams | null | undefined {
    return this.#context.find(id, !caller) as CallStreams | null | undefined;
  }

  #streamReader(
    id: number,
    caller: boolean,
    what: string,
  ): CallStreams | undefined {
    const streams = this.#find(id, caller);
    if (streams === undefined) return undefined;
    if (streams?.reader === undefined) none(what, id);
    return streams;
  }

  #streamWriter(
    id: number,
    caller: boolean,
    what: string,
  ): CallStreams | undefined {
    const streams = this.#find(id, caller);
    if (streams === undefined) return undefined;
    if (streams?.writer === undefined) none(what, id);
    return streams;
  }
}

function none(what: string, id: number): never {
  throw new ConnectionError(
    "protocol_error",
    `${what} for call ${id}, which has no such stream`,
  );
}
