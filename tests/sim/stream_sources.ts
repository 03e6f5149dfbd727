/**
 * Sources of streams. A source gives an item, ends, or finishes its cleanup only
 * when the simulation lets it act. It reports what happens to its `StreamLife`.
 *
 * @module
 */

import { RpcError } from "../../mod.ts";
import type { Random } from "../support/random.ts";
import type { Actor, Ending, StreamLife } from "./stream_life.ts";

/** What a source gives. */
export interface Supply {
  /** Returns the next item, or how the source ends when there is none. */
  next(): Promise<Given> | Given;
  /** Called when no further items are wanted. */
  stop(reason: unknown): void;
}

/** The next item, or how it ends. */
export type Given =
  | { readonly item: unknown }
  | { readonly ending: Ending; readonly error?: unknown };

/** A promise that the source settles later. */
interface Waiting<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}

/** A source as users write it: an async iterable or a `ReadableStream`. */
export class SimSource implements Actor {
  readonly life: StreamLife;
  readonly value: AsyncIterable<unknown> | ReadableStream<unknown>;
  readonly eager: boolean;
  /** Called when the source is stopped; only a `ReadableStream` receives a reason. */
  onStop: ((why?: { readonly reason: unknown }) => void) | undefined;
  /** Called when the source has ended, or its cleanup is over. */
  onOver: (() => void) | undefined;
  readonly #supply: Supply;
  /** The error that its cleanup throws, if any. */
  readonly #mess: { readonly error: unknown } | undefined;
  #output: ReadableStreamDefaultController<unknown> | undefined;
  #asked: Waiting<IteratorResult<unknown>> | undefined;
  #stopping: Waiting<void> | undefined;
  #busy = false;

  constructor(life: StreamLife, supply: Supply, random: Random) {
    this.life = life;
    this.#supply = supply;
    this.eager = random.oneIn(2);
    this.#mess = random.oneIn(4) ? { error: new Error("a mess") } : undefined;
    this.value = random.oneIn(3)
      ? this.#readable()
      : { [Symbol.asyncIterator]: () => this.#iterator() };
  }

  get ready(): boolean {
    if (this.#stopping !== undefined) return true;
    return this.#asked !== undefined && !this.#busy;
  }

  get over(): boolean {
    return this.life.sourceOver && this.#stopping === undefined;
  }

  act(): void {
    if (this.#stopping !== undefined) this.#clean(this.#stopping);
    else this.#produce();
  }

  #iterator(): AsyncIterator<unknown> {
    return {
      next: () => this.#ask(),
      return: async () => {
        await this.#stop();
        return DONE;
      },
    };
  }

  /** A stream without a queue: it pulls an item only when the library reads. */
  #readable(): ReadableStream<unknown> {
    return new ReadableStream({
      start: (controller) => void (this.#output = controller),
      pull: async () => void await this.#ask(),
      cancel: (reason) => this.#stop({ reason }),
    }, { highWaterMark: 0 });
  }

  #ask(): Promise<IteratorResult<unknown>> {
    this.life.asked();
    return new Promise((resolve, reject) => {
      this.#asked = { resolve, reject };
    });
  }

  #stop(why?: { readonly reason: unknown }): Promise<void> {
    this.life.stopped();
    this.onStop?.(why);
    this.#supply.stop(why?.reason);
    return new Promise((resolve, reject) => {
      this.#stopping = { resolve, reject };
    });
  }

  #clean({ resolve, reject }: Waiting<void>): void {
    this.#stopping = undefined;
    // If it was making an item when it was stopped, it gives none.
    this.#asked?.resolve(DONE);
    this.#asked = undefined;
    if (this.#mess === undefined) resolve();
    else reject(this.#mess.error);
    this.onOver?.();
  }

  async #produce(): Promise<void> {
    this.#busy = true;
    const next = this.#supply.next();
    const given = next instanceof Promise ? await next : next;
    this.#busy = false;
    const asked = this.#asked;
    if (asked === undefined || this.#stopping !== undefined) return;
    this.#asked = undefined;
    if ("item" in given) this.#give(asked, given.item);
    else this.#end(asked, given.ending, given.error);
  }

  #give({ resolve }: Waiting<IteratorResult<unknown>>, value: unknown): void {
    this.life.give(value);
    this.#output?.enqueue(value);
    resolve({ done: false, value });
  }

  #end(
    { resolve, reject }: Waiting<IteratorResult<unknown>>,
    ending: Ending,
    error: unknown,
  ): void {
    this.life.close(ending, error);
    switch (ending) {
      case "done":
        this.#output?.close();
        resolve(DONE);
        break;
      case "threw":
        this.#output?.error(error);
        if (this.#output === undefined) reject(error);
        else resolve(DONE);
        break;
      case "unsayable":
        this.#output?.enqueue(1n);
        resolve({ done: false, value: 1n });
        return;
    }
    this.onOver?.();
  }
}

const DONE: IteratorResult<unknown> = { done: true, value: undefined };

/** Random items, of one kind or of several: mostly small, some larger than a frame. */
export class Items implements Supply {
  readonly #random: Random;
  readonly #kind: number;
  readonly #large: boolean;
  #left: number;

  constructor(random: Random) {
    this.#random = random;
    this.#kind = random.below(6);
    this.#large = random.oneIn(4);
    this.#left = this.#large ? random.below(5) : random.pick([0, 1, 3, 8, 20]);
  }

  next(): Given {
    if (this.#left-- > 0) return { item: this.#item() };
    switch (this.#random.below(8)) {
      case 0:
        return { ending: "threw", error: new RpcError("dry", "no more") };
      case 1:
        return { ending: "threw", error: new Error("hidden") };
      case 2:
        return { ending: "unsayable" };
      default:
        return { ending: "done" };
    }
  }

  stop(): void {}

  #item(): unknown {
    const random = this.#random;
    const n = random.below(1000);
    const size = this.#large
      ? random.pick([10_000, 25_000, 40_000, 100_000])
      : random.pick([0, 1, 30, 300, 3000]);
    switch (this.#kind < 4 ? this.#kind : random.below(4)) {
      case 0:
        return n;
      case 1:
        return { n, pad: "z".repeat(size) };
      case 2:
        return `${n}é`.padEnd(size, "s");
      default:
        return pattern(size, n);
    }
  }
}

/** Bytes that differ from place to place. */
function pattern(size: number, n: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = n + i * 7 + (i >>> 8);
  return bytes;
}
