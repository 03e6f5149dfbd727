/**
 * What the two users of one stream saw of it, and whether the two agree.
 *
 * Laws owned here:
 * - What a reader gets is what the source gave, in order and intact: all of it
 *   if the stream ended plainly or by the source's own failure. Bytes may be
 *   cut and joined.
 * - It ends once, and the same way however often the reader asks.
 * - A source is asked for one item at a time, and no more once it has ended or
 *   was told to stop; it is told once, and not if it has ended of itself.
 * - An error is the source's own, or true of the call or the connection.
 *
 * @module
 */

import { show } from "../support/call_log.ts";

/** How a source ends that is not told to. */
export type Ending = "done" | "threw" | "unsayable";

/** What a reader may be told. */
export interface Truth {
  /** Says of an error whether it is true, by what it is about; undefined if nothing is known that it could be about. */
  about(error: unknown, life: StreamLife): string | undefined;
  /** Whether a CANCEL of the call has been written or heard: its streams have no items any more. */
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
  /** The user has let go of the source: it ended, or was told to stop. */
  #told = 0;
  #asked = false;
  #read = false;
  /** Given and not got: items as text, bytes as they are. */
  readonly #under: (string | Uint8Array)[] = [];
  /** Bytes of the first one that were got. */
  #at = 0;
  #lastError: { readonly error: unknown } | undefined;

  constructor(name: string) {
    this.name = name;
  }

  /** Whether the source has nothing to do with it any more. */
  get sourceOver(): boolean {
    return this.ending === "done" || this.ending === "threw" || this.#told > 0;
  }

  /** Whether nobody reads it who does not know how it ended. */
  get readerOver(): boolean {
    return !this.#read || this.end !== undefined;
  }

  /** The largest that is given and not got, in bytes or characters. */
  get largest(): number {
    return Math.max(0, ...this.#under.map(({ length }) => length));
  }

  /** Whether all was got that was given. */
  get whole(): boolean {
    return this.#under.length === 0;
  }

  // The source.

  /** It is asked for an item. */
  asked(): void {
    if (this.#asked) this.#wrong("asked while it makes an item");
    if (this.#told > 0) this.#wrong("asked after it was told to stop");
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

  /** It is told to stop. */
  told(): void {
    if (++this.#told > 1) this.#wrong("told to stop twice");
    if (this.ending === "done" || this.ending === "threw") {
      this.#wrong("told to stop after its end");
    }
  }

  // The reader.

  /** Somebody reads it. */
  begun(): void {
    if (this.#read) this.#wrong("has two readers");
    this.#read = true;
  }

  /** An item comes; `cancelled` says that its call was, before it was asked for. */
  take(item: unknown, cancelled: boolean): void {
    if (cancelled) this.#wrong("an item of a call that is cancelled");
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

  /** The end comes. */
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

  /** An error comes. */
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

  /** The reader has had enough. */
  left(): void {
    this.end = "left";
  }

  /** What is wrong once nothing can happen any more. */
  judgeEnd(): void {
    if (!this.sourceOver) this.#wrong("its source was never told");
    if (!this.readerOver) this.#wrong("its reader was never told");
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

/** What acts when it is told to. */
export interface Actor {
  readonly life: StreamLife;
  /** Whether it acts as soon as it can. */
  readonly eager: boolean;
  /** Whether it can. */
  readonly ready: boolean;
  /** Whether it never will any more. */
  readonly over: boolean;
  act(): void;
}
