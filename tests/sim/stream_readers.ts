/**
 * Readers of streams that came. They read an item, or cancel, when they are
 * told to act; what they see they tell their stream's life.
 *
 * @module
 */

import { RpcError } from "../../mod.ts";
import type { Random } from "../support/random.ts";
import type { Actor, StreamLife, Truth } from "./stream_life.ts";
import type { Given, Supply } from "./stream_sources.ts";

/** What a reader means to do. */
export interface Plan {
  /** Items it reads before it cancels. */
  readonly most: number;
  /** What it cancels with. */
  readonly reason: unknown;
  /** Items it reads before it lets its owner go on. */
  readonly enough: number;
  /** It reads as soon as it can. */
  readonly eager: boolean;
  /** It does nothing before all faults are over. */
  readonly late: boolean;
}

/** A reader of a stream that came. */
export class SimReader implements Actor {
  readonly life: StreamLife;
  readonly eager: boolean;
  /** It has read enough, or is over. */
  readonly enough: Promise<void>;
  readonly #reader: ReadableStreamDefaultReader<unknown>;
  readonly #truth: Truth;
  readonly #plan: Plan;
  #late: boolean;
  #items = 0;
  #reading = false;
  #let!: () => void;

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
    this.enough = new Promise((resolve) => this.#let = resolve);
    if (plan.enough === 0) this.#let();
  }

  get ready(): boolean {
    return !this.#late && !this.#reading && this.life.end === undefined;
  }

  get over(): boolean {
    return this.life.end !== undefined;
  }

  /** All faults are over: it waits no longer. */
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
    this.#let();
    // It fails if the stream has, which nobody has seen.
    this.#reader.cancel(reason).catch(ignore);
  }

  /** Reads an item; rejects as the stream does. */
  async read(): Promise<ReadableStreamReadResult<unknown>> {
    this.#reading = true;
    try {
      const next = await this.#next();
      // Cancelled meanwhile: that ends what waits.
      if (next.done || this.life.end === "left") this.#let();
      else if (++this.#items >= this.#plan.enough) this.#let();
      return next;
    } catch (error) {
      this.#let();
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

/** Gives the items of a stream that came, and ends as that does. */
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

/** Everything, at once. */
export const ALL: Plan = {
  most: Infinity,
  reason: undefined,
  enough: Infinity,
  eager: true,
  late: false,
};

/** All, or some, or nothing before the end. */
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
