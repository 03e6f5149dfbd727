/**
 * A peer of the simulation that breaks the protocol on purpose.
 *
 * It sends legal frames for a while, so that the connection gets deep into its
 * states, and then breaks one or several rules, with legal frames in between.
 * At the end it sends FIN, resets, falls silent, or stops reading.
 *
 * @module
 */

import type { Duplex } from "../../mod.ts";
import type { Random } from "../support/random.ts";
import { CALLER, goaway, hello, KIND } from "../support/raw_peer.ts";
import {
  BREACHES,
  concat,
  LEGAL,
  type Situation,
  type WireCall,
} from "./hostile_frames.ts";
import { count, type Tally } from "./tally.ts";
import { FrameTap, type WireFrame } from "./wire_tap.ts";

/** How it ends its side. */
const EXITS = [
  "FIN",
  "FIN",
  "GOAWAY, FIN",
  "GOAWAY, FIN",
  "reset",
  "silence",
] as const;

/** How many ids it remembers of calls that may have ended. */
const REMEMBERED = 30;

/** One hostile peer. */
export class HostilePeer implements Situation {
  readonly random: Random;
  lastId: number;
  readonly made: Map<number, WireCall> = new Map();
  readonly asked: Map<number, WireCall> = new Map();
  readonly madeIds: number[] = [];
  readonly askedIds: number[] = [];
  said: Uint8Array[] = [];
  readonly hello: Parameters<typeof hello>[0];
  maxStreams = 0;
  nextWindow = 0;
  /** Its WINDOWs so far that were confirmed. */
  #confirmed = 0;
  keepsResults = false;
  /** Whether it sends nothing any more. */
  gone = false;
  /** How many frames it has sent, by kind. */
  readonly frames: Tally;
  readonly breaches: Tally;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #heard: FrameTap;
  readonly #spoke: FrameTap;
  /** Legal steps before the first breach, and the number of breaches to come. */
  #legal: number;
  #breaches: number;
  #helloSent = false;
  readonly #granted: number;
  readonly #serves: boolean;
  readonly #helloSteps: number;

  /**
   * @param granted How many streams its peer accepts.
   * @param serves Whether its peer serves calls.
   */
  constructor(
    random: Random,
    duplex: Duplex,
    granted: number,
    serves: boolean,
    frames: Tally,
    breaches: Tally,
  ) {
    this.random = random;
    this.#serves = serves;
    this.frames = frames;
    this.breaches = breaches;
    this.#writer = duplex.writable.getWriter();
    this.#writer.closed.catch(ignore);
    this.#reader = duplex.readable.getReader();
    this.#reader.closed.catch(ignore);
    this.#heard = new FrameTap((frame) => this.#hear(frame));
    this.#spoke = new FrameTap((frame) => this.#say(frame));
    this.#legal = random.pick([0, 2, 5, 10, 20, 40]);
    this.#breaches = random.pick([0, 1, 1, 1, 2, 4]);
    // It sends its HELLO mostly at once, sometimes late, and now and then never.
    const late = random.oneIn(12);
    this.#helloSteps = late ? random.pick([1, 3, Infinity]) : 0;
    this.lastId = random.pick([0, 0, 0x7ffffff0, 0xffffffe0]);
    this.hello = {
      maxMessage: 131_072,
      calls: random.pick([0, 1, 64, 64]),
      bytes: random.pick([1000, 1_000_000]),
      keepsResults: random.oneIn(2),
      streams: random.oneIn(8) ? false : {
        credit: random.pick([16_384, 65_536]),
        max: random.pick([0, 3, 9]),
      },
    };
    this.#granted = this.hello?.streams === false ? 0 : granted;
    // If it reads nothing, bytes written to it pile up.
    if (!random.oneIn(10)) this.#read();
  }

  /** Sees the frames that its peer has written, whether it reads them or not. */
  hear(bytes: Uint8Array): void {
    this.#heard.push(bytes);
  }

  /** Takes the next step. */
  step(): void {
    if (this.gone) return;
    const { random } = this;
    if (!this.#helloSent && this.#helloSteps === 0) return this.#sendHello();
    if (!this.#helloSent && random.oneIn(2)) return;
    if (this.#legal > 0) {
      const parts: Uint8Array[] = [];
      do parts.push(...this.#sayLegal()); while (random.oneIn(3));
      this.#send(parts);
      this.#legal--;
    } else if (this.#breaches > 0) {
      this.#breaches--;
      this.#legal = random.pick([0, 0, 1, 4]);
      const [name, say] = random.pick(BREACHES);
      count(this.breaches, name);
      const parts = [...say(this)];
      // The peer must not act on frames that follow a breach.
      if (random.oneIn(2)) parts.push(...this.#sayLegal());
      this.#send(parts);
    } else if (random.oneIn(4)) this.leave();
  }

  /** Ends its side in a random manner. */
  leave(): void {
    if (this.gone) return;
    const exit = this.random.pick(EXITS);
    count(this.breaches, `${exit} at the end`);
    switch (exit) {
      case "GOAWAY, FIN":
        this.#send([goaway(this.askedIds.at(-1))]);
        this.#writer.close().catch(ignore);
        break;
      case "FIN":
        this.#writer.close().catch(ignore);
        break;
      case "reset":
        this.#writer.abort(new Error("reset")).catch(ignore);
        break;
      case "silence":
        break;
    }
    this.gone = true;
  }

  #sendHello(): void {
    this.#helloSent = true;
    this.#send([hello(this.hello)]);
  }

  #sayLegal(): readonly Uint8Array[] {
    const { random } = this;
    if (!this.#helloSent && random.below(6) >= this.#helloSteps) {
      this.#sendHello();
    }
    for (;;) {
      let at = random.below(TOTAL);
      const parts = LEGAL.find(([, weight]) => (at -= weight) < 0)?.[2](this);
      // There always is a legal frame, if only a PING.
      if (parts !== undefined && parts.length > 0) return parts;
    }
  }

  /** Sends frames as one chunk, as several, or cut anywhere. */
  #send(parts: readonly Uint8Array[]): void {
    const { random } = this;
    for (const part of parts) {
      this.#spoke.push(part);
      if (part.length < 1000) this.said.push(part);
    }
    this.said = this.said.slice(-8);
    const bytes = concat(parts);
    const cuts = random.pick([1, 1, 1, 2, 5]);
    const size = Math.ceil(bytes.length / cuts);
    for (let at = 0; at < bytes.length; at += size) {
      this.#writer.write(bytes.slice(at, at + size)).catch(ignore);
    }
  }

  async #read(): Promise<void> {
    try {
      while (!(await this.#reader.read()).done);
    } catch {
      // The connection was destroyed.
    }
  }

  /** Records the frames that it has sent itself, as far as they are frames. */
  #say(frame: WireFrame): void {
    const { kind } = frame;
    const unnamed = kind < 0x80 ? "unknown" : "skippable";
    count(this.frames, NAMES.get(kind) ?? unnamed);
    if (kind === KIND.REQUEST) began(frame, this.made, this.madeIds);
    else went(frame, this.made, this.asked);
  }

  #hear(frame: WireFrame): void {
    const { kind } = frame;
    if (kind === KIND.REQUEST) began(frame, this.asked, this.askedIds);
    else if (kind === KIND.HELLO) {
      this.maxStreams = this.#granted;
      this.keepsResults = this.#serves;
      if (this.hello?.calls) this.nextWindow = 1;
    } else if (kind === KIND.WINDOW) this.nextWindow = ++this.#confirmed + 1;
    else went(frame, this.asked, this.made);
  }
}

/** A call has been made. */
function began(
  { id, streamed }: WireFrame,
  calls: Map<number, WireCall>,
  ids: number[],
): void {
  calls.set(id, { id, params: streamed, result: false });
  ids.push(id);
  if (ids.length > REMEMBERED) ids.shift();
}

/** Records a frame about a call: `mine` are the calls of its sender, `others` those of the receiver. */
function went(
  { kind, flags, id, streamed }: WireFrame,
  mine: Map<number, WireCall>,
  others: Map<number, WireCall>,
): void {
  const caller = (flags & CALLER) !== 0;
  const call = (kind >= KIND.DATA && caller ? mine : others).get(id);
  if (call === undefined) return;
  const answer = kind === KIND.REPLY || kind === KIND.ERROR;
  if (answer && streamed) call.result = true;
  else if (answer || kind === KIND.END && !caller) others.delete(id);
  else if (kind === KIND.END) call.params = false;
}

const NAMES = new Map<number, string>(
  Object.entries(KIND).map(([name, kind]) => [kind, name]),
);
const TOTAL = LEGAL.reduce((sum, [, weight]) => sum + weight, 0);

function ignore(): void {}
