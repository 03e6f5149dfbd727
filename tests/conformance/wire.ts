/**
 * A duplex driven by hand: bytes out, whole frames in.
 *
 * It reads with a decoder of its own, so that it sees PADs as well, and so that
 * nothing of the library under test judges itself. Every frame that comes is
 * held against the rules for senders: a breach fails whatever case reads next.
 *
 * @module
 */

import type { Duplex } from "../../mod.ts";
import { KIND } from "../support/raw_peer.ts";
import { StreamCheck } from "./stream_check.ts";

/** One frame as it came. */
export interface RawFrame {
  readonly kind: number;
  readonly flags: number;
  readonly reserved: number;
  readonly id: number;
  readonly body: Uint8Array;
}

/** How long things may take where a case runs. */
export interface Pace {
  /** The promise's value; rejects if it takes longer than an honest end needs, `extra` ms not counted. */
  within<T>(what: string, promise: Promise<T>, extra?: number): Promise<T>;
  /** As long as an end may take to say what it has to say. */
  quiet(): Promise<void>;
  /** Lets time pass at the end under test. */
  lapse(ms: number): Promise<void>;
}

const HEADER = 12;

/** The flag bits a sender may set, by kind. */
const SENDER_FLAGS: Record<number, number> = {
  [KIND.HELLO]: 0,
  [KIND.REQUEST]: 0x2f,
  [KIND.REPLY]: 2,
  [KIND.ERROR]: 3,
  [KIND.CANCEL]: 0,
  [KIND.PING]: 0,
  [KIND.PONG]: 0,
  [KIND.GOAWAY]: 3,
  [KIND.LAST]: 1,
  [KIND.WINDOW]: 1,
  [KIND.FRAGMENT]: 3,
  [KIND.RELEASE]: 0,
};
/** What only an end with streams is sent besides. */
const STREAM_FLAGS: Record<number, number> = {
  [KIND.REQUEST]: 0x10,
  [KIND.REPLY]: 0x10,
  [KIND.DATA]: 3,
  [KIND.END]: 7,
  [KIND.STOP]: 1,
  [KIND.CREDIT]: 3,
};

/** One connection to the end under test. */
export class Wire {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #pace: Pace;
  readonly #frames: RawFrame[] = [];
  readonly #came = new Cutter();
  readonly #sent = new Cutter();
  readonly #streams = new StreamCheck((rule, what) => {
    throw new Breach(rule, what);
  });
  #any = false;
  /** Whether the transport has refused bytes of ours. */
  #refused = false;
  /** How it ended, once it has. */
  #end: "FIN" | "reset" | undefined;
  #fault: Error | undefined;
  #wake = Promise.withResolvers<void>();

  constructor(duplex: Duplex, pace: Pace) {
    this.#reader = duplex.readable.getReader();
    this.#writer = duplex.writable.getWriter();
    this.#writer.closed.catch(ignore);
    this.#pace = pace;
    this.#read();
  }

  /** Sends bytes as one chunk. */
  async send(...parts: Uint8Array[]): Promise<void> {
    const bytes = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    for (const frame of this.#sent.push(bytes)) this.#streams.sent(frame);
    // The end may have closed meanwhile; what it said is still to be read.
    const written = this.#writer.write(bytes).catch(() => {
      this.#refused = true;
    });
    await this.#pace.within("no reading of what is sent", written);
  }

  /** The next frame; undefined when the end has sent FIN. `extra` ms may pass. */
  async next(extra = 0): Promise<RawFrame | undefined> {
    for (;;) {
      const frame = this.#frames.shift();
      if (frame !== undefined) return frame;
      if (this.#fault !== undefined) throw this.#fault;
      if (this.#end === "reset") throw new Error("the connection was reset");
      if (this.#end === "FIN") return undefined;
      await this.#pace.within("no frame", this.#wake.promise, extra);
    }
  }

  /** All frames up to the FIN. */
  async rest(extra = 0): Promise<RawFrame[]> {
    const frames: RawFrame[] = [];
    for (;;) {
      const frame = await this.next(extra);
      if (frame === undefined) return frames;
      frames.push(frame);
    }
  }

  /** What has come and nobody has read, after a while. */
  async leftovers(): Promise<RawFrame[]> {
    await this.#pace.quiet();
    if (this.#fault !== undefined) throw this.#fault;
    return this.#frames.splice(0);
  }

  /** Whether the end still reads, or lets the transport take, what is sent to it. */
  get reads(): boolean {
    return !this.#refused && this.#end !== "reset";
  }

  /** Whether nothing more can come. */
  get ended(): boolean {
    return this.#end !== undefined;
  }

  /** Sends FIN. */
  async fin(): Promise<void> {
    await this.#pace.within("no FIN taken", this.#writer.close().catch(ignore));
  }

  /** Ends both directions at once. */
  async destroy(): Promise<void> {
    const gone = new Error("the case is over");
    const ends = [this.#writer.abort(gone), this.#reader.cancel(gone)];
    const over = Promise.allSettled(ends).then(ignore);
    await this.#pace.within("no end", over).catch(ignore);
  }

  async #read(): Promise<void> {
    try {
      for (;;) {
        const { done, value } = await this.#reader.read();
        if (done) break;
        this.#take(value);
      }
      this.#end = "FIN";
      if (this.#came.unfinished) {
        this.#fault ??= new Error("it ended inside a frame");
      }
    } catch (error) {
      this.#end = "reset";
      if (error instanceof Breach) this.#fault = error;
    }
    this.#wake.resolve();
  }

  #take(chunk: Uint8Array): void {
    for (const frame of this.#came.push(chunk)) {
      this.#check(frame);
      this.#follow(frame);
      this.#frames.push(frame);
    }
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }

  #follow(frame: RawFrame): void {
    try {
      this.#streams.came(frame);
    } catch (error) {
      if (error instanceof Breach) throw error;
      throw new Breach("FR3", (error as Error).message);
    }
  }

  /** What holds for every frame of every sender. */
  #check({ kind, flags, reserved, id }: RawFrame): void {
    const name = `kind 0x${kind.toString(16)}`;
    if (reserved !== 0) throw new Breach("FR1", `${name} with reserved bits`);
    if (kind === KIND.PAD || kind >= 0x80) return;
    const more = this.#streams.able ? STREAM_FLAGS[kind] : undefined;
    const known = (SENDER_FLAGS[kind] ?? 0) | (more ?? 0);
    if (SENDER_FLAGS[kind] === undefined && more === undefined) {
      throw new Breach("FR10", `${name} was sent`);
    }
    if ((flags & ~known) !== 0) throw new Breach("FR9", `${name}, ${flags}`);
    if (kind === KIND.WINDOW && flags === 0 && !this.#streams.windows) {
      throw new Breach("WI6", "a WINDOW was sent");
    }
    if (kind === KIND.HELLO) {
      if (this.#any) throw new Breach("HE2", "HELLO is not the first frame");
      if (id !== 0) throw new Breach("FR11", `HELLO has id ${id}`);
    } else if (!this.#any && kind !== KIND.GOAWAY) {
      throw new Breach("HE1", `the first frame is of ${name}`);
    }
    this.#any = true;
  }
}

/** Cuts bytes into frames, whatever they say. */
export class Cutter {
  #bytes = new Uint8Array(0);

  /** Whether bytes of a frame are left over. */
  get unfinished(): boolean {
    return this.#bytes.length > 0;
  }

  /** Gives up the bytes that make no whole frame yet. */
  rest(): Uint8Array {
    const rest = this.#bytes;
    this.#bytes = new Uint8Array(0);
    return rest;
  }

  push(chunk: Uint8Array): RawFrame[] {
    const bytes = new Uint8Array(this.#bytes.length + chunk.length);
    bytes.set(this.#bytes);
    bytes.set(chunk, this.#bytes.length);
    const view = new DataView(bytes.buffer);
    const frames: RawFrame[] = [];
    let at = 0;
    while (at + HEADER <= bytes.length) {
      const end = at + HEADER + view.getUint32(at);
      if (end > bytes.length) break;
      frames.push({
        kind: bytes[at + 4],
        flags: bytes[at + 5],
        reserved: view.getUint16(at + 6),
        id: view.getUint32(at + 8),
        body: bytes.slice(at + HEADER, end),
      });
      at = end;
    }
    this.#bytes = bytes.slice(at);
    return frames;
  }
}

/** A sender's rule broken by the end under test. */
class Breach extends Error {
  constructor(rule: string, what: string) {
    super(`[${rule}] is broken: ${what}`);
  }
}

function ignore(): void {}
