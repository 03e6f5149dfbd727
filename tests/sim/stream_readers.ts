/**
 * Readers of received streams. A reader reads an item or cancels only when the
 * simulation lets it act. It reports what happens to its `StreamLife`.
 *
 * @module
 */

import { RpcError } from "../../mod.ts";
import type { Random } from "../support/random.ts";
import type { Actor, StreamLife, Truth } from "./stream_life.ts";
import type { Given, Supply } from "./stream_sources.ts";

/** What a reader is going to do. */
export interface Plan {
  /** Items it reads before it cancels. */
  readonly most: number;
  /** What it cancels with. */
  readonly reason: unknown;
  /** Items it reads before its handler continues. */
  readonly enough: number;
  /** It reads as soon as it can. */
  readonly eager: boolean;
  /** It does nothing before the last fault is over. */
  readonly late: boolean;
}

/** A reader of a received stream. */
export class SimReader implements Actor {
  readonly life: StreamLife;
  readonly eager: boolean;
  /** Resolves when it has read enough, or has ended. */
  readonly enough: Promise<void>;
  readonly #reader: ReadableStreamDefaultReader<unknown>;
  readonly #truth: Truth;
  readonly #plan: Plan;
  #late: boolean;
  #items = 0;
  #reading = false;
  #resolveEnough!: () => void;

  constructor(
    life: StreamLife,
    stream: ReadableStream<unknown>,
    plan: Plan,
    truth: Truth,
  ) {
    life.begun();
    this.life = life;
    this.#reader = stream.getReader();
    this.#plan = plan;
    this.#late = plan.late;
    this.#truth = truth;
    this.eager = plan.eager;
    this.enough = new Promise((resolve) => this.#resolveEnough = resolve);
    if (plan.enough === 0) this.#resolveEnough();
  }

  get ready(): boolean {
    return !this.#late && !this.#reading && this.life.end === undefined;
  }

  get over(): boolean {
    return this.life.end !== undefined;
  }

  /** The last fault is over: it waits no longer. */
  wake(): void {
    this.#late = false;
  }

  act(): void {
    if (this.#items >= this.#plan.most) this.cancel(this.#plan.reason);
    else this.read().catch(ignore);
  }

  cancel(reason: unknown): void {
    if (this.life.end !== undefined) return;
    this.life.left();
    this.#resolveEnough();
    // It rejects if the stream has failed unseen.
    this.#reader.cancel(reason).catch(ignore);
  }

  /** Reads an item; rejects if the stream fails. */
  async read(): Promise<ReadableStreamReadResult<unknown>> {
    this.#reading = true;
    try {
      const next = await this.#next();
      // Cancelled in the meantime: that ends the wait.
      if (next.done || this.life.end === "left") this.#resolveEnough();
      else if (++this.#items >= this.#plan.enough) this.#resolveEnough();
      return next;
    } catch (error) {
      this.#resolveEnough();
      throw error;
    } finally {
      this.#reading = false;
    }
  }

  async #next(): Promise<ReadableStreamReadResult<unknown>> {
    const { cancelled } = this.#truth;
    try {
      const next = await this.#reader.read();
      if (this.life.end === "left") return next;
      if (!next.done) this.life.take(next.value, cancelled);
      else {
        this.life.finished();
        if ((await this.#reader.read()).done) this.life.finished();
      }
      return next;
    } catch (error) {
      if (this.life.end === "left") throw error;
      this.life.failed(error, this.#truth);
      await this.#reader.read().then(
        () => this.life.finished(),
        (again) => this.life.failed(again, this.#truth),
      );
      throw error;
    }
  }
}

function ignore(): void {}

/** Passes on the items of a received stream, and its end. */
export class Relay implements Supply {
  readonly #reader: SimReader;

  constructor(reader: SimReader) {
    this.#reader = reader;
  }

  async next(): Promise<Given> {
    try {
      const { done, value } = await this.#reader.read();
      return done ? { ending: "done" } : { item: value };
    } catch (error) {
      return { ending: "threw", error };
    }
  }

  stop(reason: unknown): void {
    this.#reader.cancel(reason);
  }
}

/** Reads everything as soon as it can. */
export const ALL: Plan = {
  most: Infinity,
  reason: undefined,
  enough: Infinity,
  eager: true,
  late: false,
};

/** A random plan: reads all, or some, or nothing before the last fault is over. */
export function planOf(random: Random): Plan {
  const reasons = [undefined, new Error("hidden"), new RpcError("full", "no")];
  return {
    most: random.oneIn(3) ? random.below(5) : Infinity,
    reason: random.pick(reasons),
    enough: random.pick([0, 1, 3, Infinity]),
    eager: random.oneIn(2),
    late: random.oneIn(5),
  };
}
