/**
 * What the two users of one stream saw of it, and whether the two agree.
 *
 * It checks these rules:
 * - A reader gets what the source gave, in order and intact: all of it if the
 *   stream ended by itself or by the source's own failure. Bytes may be split
 *   and joined.
 * - A stream ends once, and in the same manner however often the reader asks.
 * - A source is asked for one item at a time, and for none once it has ended or
 *   was stopped. It is stopped once, and never after it ended by itself.
 * - An error is the source's own, or true of the call or the connection.
 *
 * @module
 */

import { show } from "../support/call_log.ts";

/** How a source ends by itself. */
export type Ending = "done" | "threw" | "unsayable";

/** The errors that a reader may receive. */
export interface Truth {
  /** What a true error is about; undefined if there is no reason for the error. */
  about(error: unknown, life: StreamLife): string | undefined;
  /** Whether a CANCEL of the call has been sent or received: its streams must have no further items. */
  readonly cancelled: boolean;
}

/** One stream, from the source to the reader. */
export class StreamLife {
  /** The call's number, and which of its streams it is. */
  readonly name: string;
  readonly problems: string[] = [];
  /** What the source has given in all, in items, bytes as one each. */
  gave = 0;
  got = 0;
  /** How the source ended of itself, and what it threw. */
  ending: Ending | undefined;
  thrown: unknown;
  /** How the stream ended for its reader. */
  end: string | undefined;
  /** How often the source was stopped. */
  #stopped = 0;
  #asked = false;
  #read = false;
  /** Given and not received yet: items as text, bytes as they are. */
  readonly #under: (string | Uint8Array)[] = [];
  /** Bytes of the first one that the reader has received. */
  #at = 0;
  #lastError: { readonly error: unknown } | undefined;

  constructor(name: string) {
    this.name = name;
  }

  /** Whether the source has ended or was stopped. */
  get sourceOver(): boolean {
    return this.ending === "done" || this.ending === "threw" ||
      this.#stopped > 0;
  }

  /** Whether the stream has no reader, or its reader knows how it ended. */
  get readerOver(): boolean {
    return !this.#read || this.end !== undefined;
  }

  /** Size of the largest item given and not received yet, in bytes or characters. */
  get largest(): number {
    return Math.max(0, ...this.#under.map(({ length }) => length));
  }

  /** Whether the reader has received all that was given. */
  get whole(): boolean {
    return this.#under.length === 0;
  }

  // The source.

  /** It is asked for an item. */
  asked(): void {
    if (this.#asked) this.#wrong("asked while it makes an item");
    if (this.#stopped > 0) this.#wrong("asked after it was stopped");
    if (this.ending !== undefined) this.#wrong("asked after its end");
    this.#asked = true;
  }

  /** It gives one. */
  give(item: unknown): void {
    this.#asked = false;
    if (!(item instanceof Uint8Array)) {
      this.gave++;
      this.#under.push(show(item));
    } else if (item.length > 0) {
      this.gave += item.length;
      this.#under.push(item.slice());
    }
  }

  /** It ends. */
  close(ending: Ending, thrown?: unknown): void {
    this.#asked = false;
    this.ending = ending;
    this.thrown = thrown;
  }

  /** The source is stopped. */
  stopped(): void {
    if (++this.#stopped > 1) this.#wrong("stopped twice");
    if (this.ending === "done" || this.ending === "threw") {
      this.#wrong("stopped after its end");
    }
  }

  // The reader.

  /** Somebody reads it. */
  begun(): void {
    if (this.#read) this.#wrong("has two readers");
    this.#read = true;
  }

  /** The reader receives an item. `cancelled` says that its call was cancelled before the reader asked. */
  take(item: unknown, cancelled: boolean): void {
    if (cancelled) this.#wrong("an item of a cancelled call");
    if (this.end !== undefined) this.#wrong(`an item after ${this.end}`);
    if (item instanceof Uint8Array) {
      this.got += item.length;
      if (item.length === 0) this.#wrong("a chunk of no bytes");
      if (!this.#takeBytes(item)) this.#wrong("bytes that were not given");
      return;
    }
    this.got++;
    const given = this.#under.shift();
    const shown = show(item);
    if (shown !== given) {
      this.#wrong(`item ${shown.slice(0, 40)}, given ${given?.slice(0, 40)}`);
    }
  }

  /** The reader receives the end. */
  finished(): void {
    const before = this.end;
    this.end = "done";
    if (before !== undefined) {
      if (before !== "done") this.#wrong(`done after ${before}`);
      return;
    }
    if (this.ending !== "done") this.#wrong("done, but the source is not");
    if (!this.whole) this.#wrong("done, but not all was read");
  }

  /** The reader receives an error. */
  failed(error: unknown, truth: Truth): void {
    if (this.end !== undefined) {
      if (error !== this.#lastError?.error) {
        this.#wrong(`${String(error)} after ${this.end}`);
      }
      return;
    }
    this.#lastError = { error };
    const about = truth.about(error, this);
    this.end = about ?? "false";
    if (about === undefined) this.#wrong(`an error without reason: ${error}`);
  }

  /** The reader stops reading. */
  left(): void {
    this.end = "left";
  }

  /** Checks what must hold once nothing can happen any more. */
  judgeEnd(): void {
    if (!this.sourceOver) {
      this.#wrong("its source never ended and was never stopped");
    }
    if (!this.readerOver) this.#wrong("its reader never received an end");
  }

  #takeBytes(bytes: Uint8Array): boolean {
    for (let at = 0; at < bytes.length;) {
      const given = this.#under[0];
      if (!(given instanceof Uint8Array)) return false;
      const n = Math.min(given.length - this.#at, bytes.length - at);
      for (let i = 0; i < n; i++) {
        if (bytes[at + i] !== given[this.#at + i]) return false;
      }
      at += n;
      this.#at += n;
      if (this.#at < given.length) return true;
      this.#under.shift();
      this.#at = 0;
    }
    return true;
  }

  #wrong(what: string): void {
    this.problems.push(`stream ${this.name}: ${what}`);
  }
}

/** A source or reader that acts when the simulation lets it. */
export interface Actor {
  readonly life: StreamLife;
  /** Whether it acts as soon as it can. */
  readonly eager: boolean;
  /** Whether it can act. */
  readonly ready: boolean;
  /** Whether it has nothing left to do. */
  readonly over: boolean;
  act(): void;
}
