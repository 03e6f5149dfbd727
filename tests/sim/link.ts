/**
 * One simulated connection: two sides, the faulty lines between them, and the
 * rules that must hold on it after every step.
 *
 * It checks these rules:
 * - I8: the calls and bytes that each side counts as in flight or receiving are
 *   those on the wire. The server frees them before the client does, and no side
 *   exceeds the window.
 * - Requests are written, and handlers started, in the order of the calls.
 * - Neither side ever reports a protocol error of the other.
 * - A CANCEL follows every call given up in flight, and fires the handler's
 *   signal. So does the end of the connection.
 *
 * @module
 */

import type { Connection, ConnectionStats, Limits } from "../../mod.ts";
import { EARLY_BYTES, EARLY_CALLS } from "../../src/wire/protocol.ts";
import type { FaultLine } from "../../src/testing/fault_line.ts";
import type { LinkedLines } from "../../src/testing/faulty.ts";
import type { Entry } from "../support/call_log.ts";
import { KIND } from "../support/raw_peer.ts";
import { type StreamGrants, StreamTap } from "./stream_tap.ts";
import { FrameTap, Places, type WireFrame } from "./wire_tap.ts";

/** The limits that a side grants. */
export type Grant =
  & Pick<Limits, "windowCalls" | "windowBytes" | "maxRunning">
  & StreamGrants;

/** A handler that runs, its streams included. */
export interface Running {
  readonly id: number;
  readonly aborted: () => boolean;
}

/** One side of a link, as client and as server. */
export class End {
  readonly connection: Connection;
  /** Names the calls that this side makes. */
  readonly name: string;
  readonly grant: Grant;
  /** The line that it writes to. */
  readonly line: FaultLine;
  readonly serves: boolean;
  /** Its calls whose requests it has written and whose replies it has not read. */
  readonly inFlight = new Places();
  /** The peer's calls whose requests it has read and whose replies it has not written. */
  readonly held = new Places();
  /** Its calls that were given up while in flight. */
  readonly givenUp: Entry[] = [];
  readonly running = new Set<Running>();
  /** Its calls by id, once their requests are on the wire. */
  readonly cancelled = new Set<number>();
  readonly streams: StreamTap;
  /** The window that the peer grants, as this side has read it, and those that it has granted: the one in force, and one without an ACK. */
  #window: readonly [calls: number, bytes: number];
  #inForce: readonly [calls: number, bytes: number];
  #unconfirmed: readonly [calls: number, bytes: number] = [0, 0];
  heardHello = false;
  /** Has received a GOAWAY that is no warning. */
  heardGoaway = false;
  #wroteLast = false;
  /** Whether it has been within its window once: from then on it must stay within. */
  #within = false;
  /** Its calls in flight, and the peer's calls held, when it was judged last. */
  #sent = 0;
  #held = 0;
  #heldBytes = 0;
  #lastRequest: number | undefined;
  #lastStarted: number | undefined;
  readonly problems: string[] = [];

  constructor(
    name: string,
    connection: Connection,
    line: FaultLine,
    grant: Grant,
    serves: boolean,
    peerServes: boolean,
  ) {
    this.name = name;
    this.connection = connection;
    this.line = line;
    this.grant = grant;
    this.serves = serves;
    this.streams = new StreamTap(grant, grant);
    const { windowCalls, windowBytes } = grant;
    this.#window = [peerServes ? windowCalls : 0, windowBytes];
    this.#inForce = [
      Math.max(windowCalls, EARLY_CALLS),
      Math.max(windowBytes, EARLY_BYTES),
    ];
  }

  /** Whether it may still be used. */
  get open(): boolean {
    return this.connection.stats().state === "open";
  }

  get over(): boolean {
    const { state } = this.connection.stats();
    return state === "finishing" || state === "closed";
  }

  /** A handler starts on this side. */
  started(id: number): void {
    const last = this.#lastStarted;
    if (last !== undefined && ((id - last) | 0) <= 0) {
      this.problems.push(`started ${id} after ${last}`);
    }
    this.#lastStarted = id;
  }

  /** The side has written a frame. */
  wrote(frame: WireFrame): void {
    const { kind, id, size } = frame;
    this.streams.wrote(frame);
    if (kind === KIND.WINDOW && frame.flags === 0) {
      this.#unconfirmed = frame.window;
    }
    if (kind === KIND.REQUEST) {
      const last = this.#lastRequest;
      if (last !== undefined && ((id - last) | 0) <= 0) {
        this.problems.push(`wrote request ${id} after ${last}`);
      }
      if (this.#wroteLast) this.problems.push(`wrote ${id} after LAST`);
      this.#lastRequest = id;
      this.inFlight.take(id, size);
    } else if (kind === KIND.LAST) {
      if (this.#wroteLast) this.problems.push("wrote LAST twice");
      this.#wroteLast = true;
    } else if (kind === KIND.CANCEL) {
      if (this.cancelled.has(id)) this.problems.push(`cancelled ${id} twice`);
      this.cancelled.add(id);
    } else if (isAnswer(frame)) {
      // A call that arrives after its own GOAWAY gets no reply.
      if (!this.held.has(id)) this.problems.push(`answered ${id} twice`);
      this.held.free(id);
    }
  }

  /** The side has received a frame. */
  heard(frame: WireFrame): void {
    const { kind, id, size } = frame;
    // A closed side discards what it receives.
    if (!this.over) this.streams.heard(frame);
    if (kind === KIND.REQUEST) this.held.take(id, size);
    else if (isAnswer(frame)) this.inFlight.free(id);
    else if (kind === KIND.HELLO) this.heardHello = true;
    else if (kind === KIND.WINDOW && frame.flags === 0) {
      // What fitted the old one may have been sent in this step.
      this.#sent = Math.max(this.#sent, this.#window[0]);
      this.#window = frame.window;
      // What counts when it is lowered may stay above it.
      this.#within = false;
    } else if (kind === KIND.WINDOW) {
      this.#inForce = this.#unconfirmed;
      // What has come before the ACK, perhaps in the same bytes, was legal.
      this.#held = this.held.calls;
      this.#heldBytes = this.held.bytes;
      this.#unconfirmed = [0, 0];
    } else if (kind === KIND.GOAWAY) {
      this.heardGoaway ||= frame.flags !== 2;
    } else if (kind === KIND.CANCEL) this.#cancelHeard.push(id);
  }
  readonly #cancelHeard: number[] = [];

  /** Lists what is wrong on this side. */
  judge(): string[] {
    const wrong = this.problems.splice(0);
    const stats = this.connection.stats();
    this.#judgeSignals(stats, wrong);
    if (stats.state === "finishing" || stats.state === "closed") return wrong;
    this.#judgeCaller(stats, wrong);
    const before = EARLY_CALLS === stats.peerWindowCalls;
    if (
      this.heardHello && stats.peerWindowCalls !== this.#window[0] && !before
    ) {
      wrong.push(
        `a window of ${stats.peerWindowCalls}, not ${this.#window[0]}`,
      );
    }
    this.#judgeCallee(stats, wrong);
    wrong.push(...this.streams.judge(stats, this.#exact(stats)));
    return wrong;
  }

  /** Whether its counts must equal those on the wire: no bytes are between it and its line, and no GOAWAY has refused what was sent. */
  #exact({ state, outgoingBytes, chunksWritten }: ConnectionStats): boolean {
    return state === "open" && outgoingBytes === 0 && !this.heardGoaway &&
      chunksWritten === this.line.chunks;
  }

  /** The same, now. */
  get exact(): boolean {
    return this.#exact(this.connection.stats());
  }

  #judgeSignals(stats: ConnectionStats, wrong: string[]): void {
    const over = stats.state === "finishing" || stats.state === "closed";
    const cancelled = this.#cancelHeard.splice(0);
    for (const { id, aborted } of this.running) {
      if (aborted()) continue;
      if (over) {
        wrong.push(
          `handler ${id} has not been aborted by the end of the connection`,
        );
      }
      if (cancelled.includes(id)) wrong.push(`handler ${id} is not cancelled`);
    }
  }

  #judgeCaller(stats: ConnectionStats, wrong: string[]): void {
    const { inFlight, inFlightBytes, outgoingBytes } = stats;
    const { calls, bytes } = this.inFlight;
    const [windowCalls, windowBytes] = this.#window;
    const within = inFlight <= windowCalls && inFlightBytes <= windowBytes;
    // Not more is sent than there was while it is above the window.
    if (!within && inFlight > Math.max(this.#sent, EARLY_CALLS)) {
      wrong.push(`${inFlight} in flight of ${windowCalls}`);
    }
    this.#sent = inFlight;
    if (this.#within && !within) {
      wrong.push(
        `${inFlight} calls, ${inFlightBytes} B: above the window`,
      );
    }
    this.#within ||= within && this.heardHello;
    // A call that the peer's GOAWAY refuses leaves the table without a reply.
    if (this.heardGoaway) return;
    const exact = outgoingBytes === 0;
    if (
      exact
        ? inFlight !== calls || inFlightBytes !== bytes
        : inFlight < calls || inFlightBytes < bytes
    ) {
      wrong.push(
        `${inFlight} calls of ${inFlightBytes} B in flight; the wire has ${calls} of ${bytes} B`,
      );
    }
    if (!exact) return;
    for (const { handle } of this.givenUp.splice(0)) {
      const id = handle?.id as number;
      if (!this.cancelled.has(id)) wrong.push(`no CANCEL for ${id}`);
    }
  }

  #judgeCallee(stats: ConnectionStats, wrong: string[]): void {
    const {
      receiving: held,
      receivingBytes: heldBytes,
      running,
      waiting,
      state,
    } = stats;
    const { maxRunning } = this.grant;
    const [calls1, bytes1] = this.#inForce;
    const [calls2, bytes2] = this.#unconfirmed;
    const { calls, bytes } = this.held;
    // Calls that were held when a lower window came into force stay.
    const most = Math.max(calls1, calls2, this.#held);
    const mostBytes = Math.max(bytes1, bytes2, this.#heldBytes);
    this.#held = held;
    this.#heldBytes = heldBytes;
    if (running > maxRunning) wrong.push(`${running} run of ${maxRunning}`);
    if (held > most) wrong.push(`${held} held of ${most}`);
    if (heldBytes > mostBytes) {
      wrong.push(`${heldBytes} B held of ${mostBytes}`);
    }
    if (running + waiting > held) {
      wrong.push("a running call is not counted as receiving");
    }
    // Parts of what the writer was given may not have reached the line.
    const exact = stats.chunksWritten === this.line.chunks && state === "open";
    if (
      exact
        ? held !== calls || heldBytes !== bytes
        : held > calls || heldBytes > bytes
    ) {
      wrong.push(
        `${held} calls of ${heldBytes} B held; the wire has ${calls} of ${bytes} B`,
      );
    }
  }
}

/** Whether a frame frees the window of a call: its reply, or the END of a reply that is a stream. */
function isAnswer({ kind, flags, streamed }: WireFrame): boolean {
  if (kind === KIND.END) return (flags & CALLER) === 0;
  return (kind === KIND.REPLY && !streamed) || kind === KIND.ERROR;
}

/** The flag of stream frames whose sender made the call. */
const CALLER = 0x01;

/** Codes with which a connection of two real sides may end. */
const HONEST = [
  "unavailable",
  "deadline_exceeded",
  "cancelled",
  "truncated",
];

/** Two sides, and the lines between them. */
export class Link {
  readonly near: End;
  readonly far: End;
  readonly pair: LinkedLines;
  /** Why each side has ended. */
  readonly ends: string[] = [];

  constructor(pair: LinkedLines, near: End, far: End) {
    this.pair = pair;
    this.near = near;
    this.far = far;
    this.#listen(near, far);
    this.#listen(far, near);
  }

  /** Both sides. */
  get both(): readonly [End, End] {
    return [this.near, this.far];
  }

  /** Both lines. */
  get lines(): readonly [FaultLine, FaultLine] {
    return [this.pair.out, this.pair.back];
  }

  /** Lists what is wrong on this connection. */
  judge(): string[] {
    const wrong: string[] = [];
    for (const end of this.both) {
      for (const what of end.judge()) wrong.push(`${end.name}: ${what}`);
    }
    return wrong;
  }

  #listen(from: End, to: End): void {
    const wrote = new FrameTap((frame) => from.wrote(frame));
    const heard = new FrameTap((frame) => to.heard(frame));
    from.line.onWritten = (bytes) => wrote.push(bytes);
    from.line.onDelivered = (bytes) => heard.push(bytes);
    from.connection.closed.then((reason) => {
      this.ends.push(`${from.name} ${reason?.code ?? "in order"}`);
      if (reason === undefined || HONEST.includes(reason.code)) return;
      from.problems.push(`ended: ${reason.code}, ${reason.message}`);
    });
  }
}
