/**
 * The streams of one end by what went over the wire, apart from the library's
 * own counting.
 *
 * Laws owned here:
 * - Frames of a stream follow the frame that opens it; one END, no DATA behind
 *   it, one STOP.
 * - No more is sent than was granted, and no more streams are opened.
 * - What an end says it may send, and has granted, is what the wire says.
 * - What streams hold, and may still be sent, is at most their number times
 *   the initial credit, and the budget.
 *
 * @module
 */

import type { ConnectionStats, Limits } from "../../mod.ts";
import { KIND } from "../support/raw_peer.ts";
import type { WireFrame } from "./wire_tap.ts";

/** What an end may be set to. */
export type StreamGrants = Pick<
  Limits,
  "streamCredit" | "streamBudget" | "maxStreams"
>;

const CALLER = 0x01;
const HEADER = 12;
/** What a DATA counts besides its body. */
const CHARGE = 16;

/** One stream, as one of its ends knows it. */
interface Way {
  /** What its producer may still send. */
  credit: number;
  ended: boolean;
  /** Its reader, or its call, wants no more of it: what it counts is not told. */
  stopped: boolean;
}

/** The streams that one end produces, or reads: by `c` or `s` for calls it makes or serves, and their id. */
type Ways = Map<string, Way>;

/** The streams of one end. */
export class StreamTap {
  readonly problems: string[] = [];
  readonly #own: StreamGrants;
  readonly #peer: StreamGrants;
  readonly #sending: Ways = new Map();
  readonly #receiving: Ways = new Map();
  /** It was told of a GOAWAY, which ends calls that no answer ends. */
  #goaway = false;
  /** All that it produced; those whose source is told to stop; and those whose call is given up: be it before they are seen on the wire. */
  readonly #sent = new Set<string>();
  readonly #told = new Set<string>();
  readonly #givenUp = new Set<string>();
  readonly #cancelled = new Set<string>();
  /** Those it has told that it wants no more. */
  readonly #refused = new Set<string>();

  constructor(own: StreamGrants, peer: StreamGrants) {
    this.#own = own;
    this.#peer = peer;
  }

  /** Open ones, both ways. */
  get open(): number {
    return this.#sending.size + this.#receiving.size;
  }

  /** The end has written a frame. */
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
        this.#sends(key, frame.size - HEADER + CHARGE);
        return;
      case KIND.END:
        this.#ends(key);
        if (!ours) this.#receiving.delete(key);
        return;
      case KIND.CREDIT:
        this.#granted(this.#receiving, key, frame.grant);
        return;
      case KIND.STOP:
        if (this.#refused.has(key)) this.problems.push(`two STOPs of ${key}`);
        this.#refused.add(key);
        this.#mark(this.#receiving, key);
        return;
    }
  }

  /** A frame has reached it. */
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
        this.#goaway = true;
        return;
      case KIND.DATA:
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
        this.#granted(this.#sending, key, frame.grant);
        return;
      case KIND.STOP:
        this.#mark(this.#sending, key);
        return;
    }
  }

  /** The source of what goes out is told to stop. */
  told(key: string): void {
    this.#told.add(key);
    this.#mark(this.#sending, key);
  }

  /** The call is given up. */
  stop(key: string): void {
    this.#givenUp.add(key);
    this.#mark(this.#sending, key);
    this.#mark(this.#receiving, key);
  }

  /** Whether a CANCEL of a call has been written, or heard. */
  isCancelled(key: string): boolean {
    return this.#cancelled.has(key);
  }

  /** What is wrong now; `exact` says that nothing is between the end and its line. */
  judge(stats: ConnectionStats, exact: boolean): string[] {
    const wrong = this.problems.splice(0);
    const { streams, streamHeld, streamGranted, streamCredit } = stats;
    const { streamCredit: initial, streamBudget } = this.#own;
    const most = this.#receiving.size * initial + streamBudget;
    const [least, granted] = total(this.#receiving);
    // An answer may wait to be written, while what its call was granted is another's already.
    const free = exact ? Math.max(granted, streamGranted) : streamGranted;
    if (streamHeld + free > most) {
      wrong.push(`streams hold ${streamHeld} of ${most} B, ${free} B may come`);
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
    const [some, all] = total(this.#sending);
    if (streamCredit < some || streamCredit > all) {
      wrong.push(`credit ${streamCredit} B; the wire has ${some} to ${all}`);
    }
    return wrong;
  }

  #opens(key: string): void {
    this.#sent.add(key);
    this.#enter(this.#sending, key, this.#peer);
    if (this.#told.has(key)) this.#mark(this.#sending, key);
    const { size } = this.#sending;
    const { maxStreams } = this.#peer;
    if (size > maxStreams && !this.#goaway) {
      this.problems.push(`opened ${size} streams`);
    }
  }

  #enter(ways: Ways, key: string, { streamCredit }: StreamGrants): void {
    const stopped = this.#givenUp.has(key);
    ways.set(key, { credit: streamCredit, ended: false, stopped });
  }

  #sends(key: string, charge: number): void {
    const way = this.#sending.get(key);
    if (!this.#sent.has(key)) this.problems.push(`DATA of ${key}, not open`);
    // Its call may be over, and the frame under way already.
    if (way === undefined) return;
    if (way.ended) this.problems.push(`DATA of ${key} behind its END`);
    way.credit -= charge;
    if (way.credit < 0) this.problems.push(`DATA of ${key} without credit`);
  }

  #ends(key: string): void {
    if (!this.#sent.has(key)) this.problems.push(`END of ${key}, not open`);
    const way = this.#sending.get(key);
    const result = key.startsWith("s");
    // A call's answer ends its params, and an END of theirs may be under way.
    if (way === undefined ? result : way.ended) {
      this.problems.push(`two ENDs of ${key}`);
    }
    if (result) this.#sending.delete(key);
    else this.#mark(this.#sending, key, true);
  }

  #granted(ways: Ways, key: string, bytes: number): void {
    const way = ways.get(key);
    if (way !== undefined) way.credit += bytes;
  }

  #mark(ways: Ways, key: string, ended = false): void {
    const way = ways.get(key);
    if (way === undefined) return;
    way.ended ||= ended;
    way.stopped = true;
  }
}

function keyOf(ours: boolean, id: number): string {
  return `${ours ? "c" : "s"}${id}`;
}

/** What streams that nobody has stopped may still send, and those that are not ended. */
function total(ways: Ways): [number, number] {
  let [least, most] = [0, 0];
  for (const { credit, ended, stopped } of ways.values()) {
    if (!stopped) least += credit;
    if (!ended) most += credit;
  }
  return [least, most];
}
