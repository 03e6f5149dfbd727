/**
 * The streams of one connection. Made when the first of them is.
 *
 * Order and bounds:
 * - No more streams are open towards a side than it granted, counted on both
 *   sides. A stream counts as long as its call does.
 * - A frame is for a stream of a call in flight. A frame for a call that is over
 *   is late, and ignored; any other breaks the protocol.
 * - Every DATA that is read uses the connection's credit, also one that is
 *   ignored: so both sides count alike, whatever crosses the end of a stream.
 * - A control frame (END, STOP, CREDIT) that changes nothing costs one look-up
 *   and makes no error; and a peer may send only so many in a row.
 *
 * @module
 */

import {
  ConnectionError,
  type ErrorCode,
  type Outcome,
  protocolError,
  RpcError,
} from "../base/errors.ts";
import type { StreamStats } from "../types/stats.ts";
import type { StreamFrameWriter } from "../wire/codec.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import type { PayloadView } from "../wire/values/payload.ts";
import { STREAM_CHARGE } from "../wire/connection_limits.ts";
import type { WriteScheduler } from "../wire/fragments/write_scheduler.ts";
import { CHARGE_BESIDE } from "../wire/protocol.ts";
import {
  CalleeStreams,
  CallerStreams,
  type CallStreams,
  type CallStreamsHost,
} from "./call_streams.ts";
import type {
  ConnectionStreams,
  IncomingStreamCall,
  IncomingStreamHost,
  IncomingStreams,
  OutgoingStreamCall,
  OutgoingStreams,
  StreamTableContext,
} from "./contract.ts";
import { ReceiveCredit } from "./flow_control.ts";
import { SendCredit } from "./send_credit.ts";

/** The connection is notified each time that the unsent items have grown by so many bytes. */
const STEP = 16 * 1024;

/** How many control frames in a row may change nothing. */
export const MAX_IDLE = 10_000;
/**
 * How many more for each stream that the connection has had. Frames of a stream
 * can cross its end, but no more than these for one of the local side: END,
 * STOP, and some CREDITs, each for at least half of its window.
 */
export const IDLE_PER_STREAM = 8;

/** All streams of one connection. */
export class StreamTable implements ConnectionStreams, CallStreamsHost {
  readonly context: StreamTableContext;
  readonly frames: StreamFrameWriter;
  readonly scheduler: WriteScheduler;
  readonly receiveCredit: ReceiveCredit;
  #sendCredit: SendCredit | undefined;
  peerHalfClosed = false;
  ending: RpcError | undefined;
  readonly #open = new Set<CallStreams>();
  /** Bytes of items that wait to be sent, and how many there are at the next notice. */
  #unsent = 0;
  #noticeAt = STEP;
  /** Bytes of the trailers that have arrived for calls that are not over. */
  #trailers = 0;
  /** Open streams that the peer sends, and that it receives. */
  #incoming = 0;
  #outgoing = 0;
  /** Control frames in a row that changed nothing, and how many there may be. */
  #idle = 0;
  #maxIdle = MAX_IDLE;

  constructor(context: StreamTableContext) {
    const { codec, limits, scheduler, sendBuffer } = context;
    this.context = context;
    // A protocol without streams never uses it: `refusal` comes first.
    this.frames = codec.streams as StreamFrameWriter;
    // The feature that makes this table has it made.
    this.scheduler = scheduler as WriteScheduler;
    this.receiveCredit = new ReceiveCredit(limits.connectionCredit, (bytes) => {
      if (context.shutdown.ended) return;
      this.frames.connectionCredit(sendBuffer, bytes);
    });
  }

  get sendCredit(): SendCredit {
    return this.#sendCredit ??= new SendCredit(
      this.context.helloReceived()?.streams?.connectionCredit ?? 0,
    );
  }

  get hasRoom(): boolean {
    const granted = this.context.helloReceived()?.streams;
    return granted !== undefined && this.#outgoing < granted.max;
  }

  get maxControl(): number {
    const { codec, sendBuffer } = this.context;
    const most = sendBuffer.most - codec.overhead;
    return Math.min(this.context.peerMaxMessage(), most);
  }

  refusal(outcome: Outcome): RpcError | undefined {
    const { codec } = this.context;
    const hello = this.context.helloReceived();
    let code: ErrorCode = "invalid_argument";
    let text = "the peer accepts no streams";
    if (codec.streams === undefined) text = "the protocol has no streams";
    else if (hello === undefined) return undefined;
    else if (hello.streams !== undefined) {
      const { max } = hello.streams;
      if (outcome === "executed" ? this.#outgoing < max : max > 0) {
        return undefined;
      }
      code = "resource_exhausted";
      text = `the peer accepts at most ${max} streams at once`;
    }
    return new RpcError(code, text, { outcome });
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

  // What is open, and what it holds.

  checkRoom(): void {
    const { maxStreams } = this.context.limits;
    if (this.#incoming < maxStreams) return;
    throw new ConnectionError(
      "resource_exhausted",
      `the peer opened more than the ${maxStreams} streams it was granted`,
    );
  }

  opened(streams: CallStreams, incoming: number, outgoing: number): void {
    this.#incoming += incoming;
    this.#outgoing += outgoing;
    this.#open.add(streams);
    this.#maxIdle += IDLE_PER_STREAM;
  }

  closed(streams: CallStreams, incoming: number, outgoing: number): void {
    this.#incoming -= incoming;
    this.#outgoing -= outgoing;
    // The second time there is nothing to count off.
    if (this.#open.delete(streams)) {
      this.#trailers -= streams.trailers?.size ?? 0;
    }
  }

  get heldBytes(): number {
    const open = this.#incoming + this.#outgoing;
    const { held, waiting } = this.receiveCredit;
    return held + waiting + this.#unsent + this.#trailers +
      STREAM_CHARGE * open;
  }

  addUnsent(bytes: number): void {
    const unsent = this.#unsent += bytes;
    const grown = unsent >= this.#noticeAt;
    const next = unsent + STEP;
    if (grown || next < this.#noticeAt) this.#noticeAt = next;
    if (grown) this.context.onGrown();
  }

  get numbers(): StreamStats {
    let [streamHeld, streamGranted, streamCredit] = [0, 0, 0];
    for (const { reader, writer } of this.#open) {
      streamHeld += reader?.held ?? 0;
      streamGranted += reader?.granted ?? 0;
      streamCredit += writer?.granted ?? 0;
    }
    const streams = this.#incoming + this.#outgoing;
    const connectionGranted = this.receiveCredit.credit;
    const connectionCredit = this.#sendCredit?.left ??
      this.context.helloReceived()?.streams?.connectionCredit ?? 0;
    const all = { connectionGranted, connectionCredit };
    return { streams, streamHeld, streamGranted, streamCredit, ...all };
  }

  // What the connection does.

  onPeerHalfClose(): void {
    this.peerHalfClosed = true;
    for (const { writer } of this.#open) writer?.advance();
  }

  endResults(reason: RpcError): void {
    if (this.ending !== undefined) return;
    this.ending = reason;
    for (const streams of this.#open) streams.endResult(reason);
  }

  // What the peer sends.

  onData(
    id: number,
    caller: boolean,
    view: PayloadView,
    more: boolean,
    owned: boolean,
  ): void {
    const reader = this.#find(id, caller, "DATA", true)?.reader;
    if (reader !== undefined) reader.data(view, more, owned);
    else this.receiveCredit.take(view.end - view.at + CHARGE_BESIDE);
  }

  onEnd(
    id: number,
    caller: boolean,
    trailers: MetadataBlock | undefined,
    code?: string,
    message = "",
  ): void {
    const streams = this.#find(id, caller, "END", true);
    if (!this.#changes("END", streams?.reader?.live)) return;
    if (streams !== undefined && trailers !== undefined) {
      streams.trailers = trailers;
      this.#trailers += trailers.size;
    }
    let failure: { readonly error: unknown } | undefined;
    if (code !== undefined) {
      let data: unknown;
      try {
        data = this.context.codec.value();
      } catch {
        // The failure counts even if its data does not parse.
      }
      const outcome = caller ? "unknown" : "executed";
      const options = { outcome, data, remote: true } as const;
      const error = new RpcError(code, message, options);
      failure = { error: streams?.annotate(error) };
    }
    streams?.reader?.end(failure);
    streams?.onEnd?.();
  }

  onStop(id: number, caller: boolean, code: string, text: string): void {
    const streams = this.#find(id, caller, "STOP", false);
    if (!this.#changes("STOP", streams?.writer?.live)) return;
    const options = { outcome: "unknown", remote: true } as const;
    streams?.onStop(new RpcError(code, text, options));
  }

  onCredit(id: number, caller: boolean, bytes: number): void {
    const writer = this.#find(id, caller, "CREDIT", false)?.writer;
    const changes = bytes > 0 && writer?.live;
    if (this.#changes("CREDIT", changes)) writer?.grant(bytes);
  }

  onConnectionCredit(bytes: number): void {
    if (!this.#changes("CREDIT", bytes > 0)) return;
    this.sendCredit.grant(bytes);
    this.scheduler.writeReady();
  }

  /**
   * Counts a control frame; returns whether it changes anything, as `changes` says.
   *
   * @throws {ConnectionError} `resource_exhausted`, if too many in a row did not.
   */
  #changes(kind: string, changes: boolean | undefined): boolean {
    this.#idle = changes ? 0 : this.#idle + 1;
    if (this.#idle <= this.#maxIdle) return changes === true;
    throw new ConnectionError(
      "resource_exhausted",
      `the peer sent ${this.#idle} frames of streams in a row that change nothing, the last one ${kind}`,
    );
  }

  /**
   * Finds the streams of the call that a frame is for, by whether the frame is
   * for the stream that is `read` here; undefined if the call is over.
   *
   * @throws {ConnectionError} `protocol_error`, if the call has no such stream.
   */
  #find(
    id: number,
    caller: boolean,
    kind: string,
    read: boolean,
  ): CallStreams | undefined {
    // The streams of all calls were made by this table.
    const streams = this.context.find(id, !caller) as
      | CallStreams
      | null
      | undefined;
    if (streams === undefined) return undefined;
    if (streams && (read ? streams.reader : streams.writer)) return streams;
    protocolError(`${kind} for call ${id}, which has no such stream`);
  }
}
