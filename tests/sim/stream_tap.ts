/**
 * The streams of one side, counted from the frames on the wire and not by the
 * library.
 *
 * It checks these rules:
 * - Frames of a stream follow the frame that opens it. There is one END, no
 *   DATA after it, and one STOP.
 * - A side sends no more bytes, and opens no more streams, than were granted.
 * - The credit in a side's statistics is what the frames add up to.
 * - The streams hold at most the connection's credit, and the initial credit of
 *   each call that has not started.
 *
 * @module
 */

import type { ConnectionStats, Limits } from "../../mod.ts";
import { KIND } from "../support/raw_peer.ts";
import type { WireFrame } from "./wire_tap.ts";

/** The stream limits of a side. */
export type StreamGrants = Pick<
  Limits,
  "streamCredit" | "connectionCredit" | "maxStreams"
>;

const CALLER = 0x01;
const CONNECTION = 0x02;
/** The flag of a GOAWAY that is a warning. */
const WARNING = 0x02;
const HEADER = 12;
/** Bytes of credit that a DATA frame takes beside its body. */
const CHARGE = 16;

/** One direction of a stream, as one side knows it. */
interface TappedStream {
  /** Bytes that its writer may still send. */
  credit: number;
  ended: boolean;
  /** Its reader or its call has ended: what arrives still counts, but no CREDIT follows. */
  stopped: boolean;
}

/** The streams that a side writes, or reads. Keys: `c` or `s` for calls that it makes or serves, then the id. */
type TappedStreams = Map<string, TappedStream>;

/** The streams of one side. */
export class StreamTap {
  readonly problems: string[] = [];
  readonly #own: StreamGrants;
  readonly #peer: StreamGrants;
  readonly #sending: TappedStreams = new Map();
  readonly #receiving: TappedStreams = new Map();
  /** Bytes that it may still send, and receive, over all streams together. */
  #maySend: number;
  #mayReceive: number;
  /** It has received a GOAWAY, which ends calls that get no reply. */
  #goaway = false;
  // Streams it opened, streams whose source was stopped, and streams whose call
  // was given up. The last two may precede the frame that opens the stream.
  readonly #sent = new Set<string>();
  readonly #stoppedSources = new Set<string>();
  readonly #givenUp = new Set<string>();
  readonly #cancelled = new Set<string>();
  /** Streams for which it has sent a STOP. */
  readonly #stopSent = new Set<string>();

  constructor(own: StreamGrants, peer: StreamGrants) {
    this.#own = own;
    this.#peer = peer;
    this.#maySend = peer.connectionCredit;
    this.#mayReceive = own.connectionCredit;
  }

  /** How many streams are open, in both directions. */
  get open(): number {
    return this.#sending.size + this.#receiving.size;
  }

  /** The side has written a frame. */
  wrote(frame: WireFrame): void {
    const { kind, id, streamed } = frame;
    const ours = (frame.flags & CALLER) !== 0;
    const key = keyOf(ours, id);
    switch (kind) {
      case KIND.REQUEST:
        if (streamed) this.#opens(`c${id}`);
        return;
      case KIND.REPLY:
      case KIND.ERROR:
        if (streamed) this.#opens(`s${id}`);
        else this.#receiving.delete(`s${id}`);
        return;
      case KIND.CANCEL:
        this.#cancelled.add(`c${id}`);
        this.stop(`c${id}`);
        return;
      case KIND.DATA:
        this.#maySend -= frame.size - HEADER + CHARGE;
        if (this.#maySend < 0) {
          this.problems.push(`DATA of ${key} without the connection's credit`);
        }
        this.#sends(key, frame.size - HEADER + CHARGE);
        return;
      case KIND.END:
        this.#ends(key);
        if (!ours) this.#receiving.delete(key);
        return;
      case KIND.CREDIT:
        if ((frame.flags & CONNECTION) !== 0) this.#mayReceive += frame.grant;
        else this.#granted(this.#receiving, key, frame.grant);
        return;
      case KIND.STOP:
        if (this.#stopSent.has(key)) this.problems.push(`two STOPs of ${key}`);
        this.#stopSent.add(key);
        this.#mark(this.#receiving, key);
        return;
    }
  }

  /** The side has received a frame. */
  heard(frame: WireFrame): void {
    const { kind, id, streamed } = frame;
    const ours = (frame.flags & CALLER) === 0;
    const key = keyOf(ours, id);
    switch (kind) {
      case KIND.REQUEST:
        if (streamed) this.#enter(this.#receiving, `s${id}`, this.#own);
        return;
      case KIND.REPLY:
      case KIND.ERROR:
        if (streamed) this.#enter(this.#receiving, `c${id}`, this.#own);
        else this.#sending.delete(`c${id}`);
        return;
      case KIND.CANCEL:
        this.#cancelled.add(`s${id}`);
        this.stop(`s${id}`);
        return;
      case KIND.GOAWAY:
        this.#goaway ||= frame.flags !== WARNING;
        return;
      case KIND.DATA:
        this.#mayReceive += HEADER - CHARGE - frame.size;
        this.#granted(this.#receiving, key, HEADER - CHARGE - frame.size);
        return;
      case KIND.END:
        if (!ours) this.#mark(this.#receiving, key, true);
        else {
          this.#receiving.delete(key);
          this.#sending.delete(key);
        }
        return;
      case KIND.CREDIT:
        if ((frame.flags & CONNECTION) !== 0) this.#maySend += frame.grant;
        else this.#granted(this.#sending, key, frame.grant);
        return;
      case KIND.STOP:
        this.#mark(this.#sending, key);
        return;
    }
  }

  /** The source of a stream that it writes is stopped. */
  sourceStopped(key: string): void {
    this.#stoppedSources.add(key);
    this.#mark(this.#sending, key);
  }

  /** The call is given up. */
  stop(key: string): void {
    this.#givenUp.add(key);
    this.#mark(this.#sending, key);
    this.#mark(this.#receiving, key);
  }

  /** Whether a CANCEL of the call has been sent or received. */
  isCancelled(key: string): boolean {
    return this.#cancelled.has(key);
  }

  /** Lists what is wrong now. `exact` says that no bytes are between the side and its line. */
  judge(stats: ConnectionStats, exact: boolean): string[] {
    const wrong = this.problems.splice(0);
    const { streams, streamHeld, streamGranted, streamCredit } = stats;
    const { streamCredit: initial, connectionCredit: all } = this.#own;
    const { connectionGranted, connectionCredit } = stats;
    const params = [...this.#receiving.keys()].filter((k) => k[0] === "s");
    const most = all + params.length * initial;
    const [least, granted] = total(this.#receiving);
    if (streamHeld > most || connectionGranted > all) {
      wrong.push(
        `streams hold ${streamHeld} of ${most} B, and ${connectionGranted} B more may arrive`,
      );
    }
    if (streamHeld < 0) wrong.push(`streams hold ${streamHeld} B`);
    if (!exact) return wrong;
    if (streams !== this.open) {
      wrong.push(`${streams} streams; the wire has ${this.open}`);
    }
    if (streamGranted < least || streamGranted > granted) {
      wrong.push(
        `granted ${streamGranted} B; the wire has ${least} to ${granted}`,
      );
    }
    const [some, sum] = total(this.#sending);
    if (streamCredit < some || streamCredit > sum) {
      wrong.push(`credit ${streamCredit} B; the wire has ${some} to ${sum}`);
    }
    // They are 0 until the side has had a stream, or has read the peer's HELLO.
    const mayReceive = this.#mayReceive;
    if (
      connectionGranted !== mayReceive &&
      (connectionGranted > 0 || mayReceive < all)
    ) {
      wrong.push(
        `the connection granted ${connectionGranted} B; the wire has ${mayReceive}`,
      );
    }
    const maySend = this.#maySend;
    const used = maySend < this.#peer.connectionCredit;
    if (connectionCredit !== maySend && (connectionCredit > 0 || used)) {
      wrong.push(
        `the connection's credit ${connectionCredit} B; the wire has ${maySend}`,
      );
    }
    return wrong;
  }

  #opens(key: string): void {
    this.#sent.add(key);
    this.#enter(this.#sending, key, this.#peer);
    if (this.#stoppedSources.has(key)) this.#mark(this.#sending, key);
    const { size } = this.#sending;
    const { maxStreams } = this.#peer;
    if (size > maxStreams && !this.#goaway) {
      this.problems.push(`opened ${size} streams`);
    }
  }

  #enter(
    streams: TappedStreams,
    key: string,
    { streamCredit }: StreamGrants,
  ): void {
    const stopped = this.#givenUp.has(key);
    streams.set(key, { credit: streamCredit, ended: false, stopped });
  }

  #sends(key: string, charge: number): void {
    const stream = this.#sending.get(key);
    if (!this.#sent.has(key)) this.problems.push(`DATA of ${key}, not open`);
    // Its call may have ended while the frame was on its stream.
    if (stream === undefined) return;
    if (stream.ended) this.problems.push(`DATA of ${key} behind its END`);
    stream.credit -= charge;
    if (stream.credit < 0) this.problems.push(`DATA of ${key} without credit`);
  }

  #ends(key: string): void {
    if (!this.#sent.has(key)) this.problems.push(`END of ${key}, not open`);
    const stream = this.#sending.get(key);
    const result = key.startsWith("s");
    // The reply of a call ends its params, whose END may be on its stream.
    if (stream === undefined ? result : stream.ended) {
      this.problems.push(`two ENDs of ${key}`);
    }
    if (result) this.#sending.delete(key);
    else this.#mark(this.#sending, key, true);
  }

  #granted(streams: TappedStreams, key: string, bytes: number): void {
    const stream = streams.get(key);
    if (stream !== undefined) stream.credit += bytes;
  }

  #mark(streams: TappedStreams, key: string, ended = false): void {
    const stream = streams.get(key);
    if (stream === undefined) return;
    stream.ended ||= ended;
    stream.stopped = true;
  }
}

function keyOf(ours: boolean, id: number): string {
  return `${ours ? "c" : "s"}${id}`;
}

/** Credit of the streams that are not stopped, and of those that have not ended. */
function total(streams: TappedStreams): [number, number] {
  let [least, most] = [0, 0];
  for (const { credit, ended, stopped } of streams.values()) {
    if (!stopped) least += credit;
    if (!ended) most += credit;
  }
  return [least, most];
}
