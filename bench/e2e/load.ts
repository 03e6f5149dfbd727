/**
 * The load of the end-to-end benchmark: echoes bytes, and checks each reply.
 *
 * @module
 */

import { createHistogram } from "node:perf_hooks";
import type { Client, EchoServices } from "../../mod.ts";
import type { Depth } from "./options.ts";

/** Calls between two reads of the clock, if many are in flight. */
const LOOK_EVERY = 16;

/** With more calls in flight than this, only a share of them is timed, because timing slows all calls. */
const MANY = 64;

/** Makes calls of one size over one client. */
export class EchoLoad {
  /** Latencies in nanoseconds, from a call to its reply. */
  readonly histogram = createHistogram();
  readonly #client: Client<EchoServices>;
  readonly #payload: Uint8Array;
  readonly #view: DataView;
  #made = 0;
  #answered = 0;
  #every = 1;
  /** Called whenever all calls have their replies. */
  #lastAnswered: () => void = () => {};

  /** @param size Bytes of a call; the first four are its number. */
  constructor(client: Client<EchoServices>, size: number) {
    this.#client = client;
    this.#payload = new Uint8Array(size).fill(0xa5);
    this.#view = new DataView(this.#payload.buffer);
  }

  /** Makes calls for a time, and waits for the last reply. */
  async run(
    depth: Depth,
    seconds: number,
  ): Promise<{ calls: number; seconds: number }> {
    this.#every = depth === "unlimited" || depth >= MANY ? LOOK_EVERY : 1;
    const before = this.#answered;
    const began = performance.now();
    const end = began + seconds * 1000;
    await (depth === "unlimited"
      ? this.#pipeline(end)
      : this.#wait(end, depth));
    const took = (performance.now() - began) / 1000;
    return { calls: this.#answered - before, seconds: took };
  }

  /** Several tasks, each of which waits for its replies. */
  async #wait(end: number, tasks: number): Promise<void> {
    let over = false;
    const task = async () => {
      try {
        while (!over) {
          if (this.#made % this.#every === 0) {
            if (await this.#timed() >= end) over = true;
          } else await this.#call();
        }
      } finally {
        over = true; // If one has failed, all stop.
      }
    };
    await Promise.all(Array.from({ length: tasks }, task));
  }

  /** One loop that waits only for room in the window. */
  async #pipeline(end: number): Promise<void> {
    const fault = Promise.withResolvers<never>();
    let failed = false;
    const fail = (reason: unknown) => {
      failed = true;
      fault.reject(reason);
    };
    fault.promise.catch(() => {});
    do {
      await this.#client.ready;
      const timed = this.#made % this.#every === 0;
      (timed ? this.#timed() : this.#call()).catch(fail);
    } while (!failed && !this.#late(end));
    await Promise.race([fault.promise, this.#drained()]);
  }

  /** Whether it is time to stop. Reads the clock from time to time. */
  #late(end: number): boolean {
    return this.#made % this.#every === 0 && performance.now() >= end;
  }

  /** Resolves when every call has its reply. */
  #drained(): Promise<void> {
    if (this.#answered === this.#made) return Promise.resolve();
    return new Promise((resolve) => this.#lastAnswered = resolve);
  }

  /** Makes a call that goes into the histogram. Resolves with the time of its end. */
  async #timed(): Promise<number> {
    const began = performance.now();
    await this.#call();
    const now = performance.now();
    this.histogram.record(Math.max(1, Math.round((now - began) * 1e6)));
    return now;
  }

  async #call(): Promise<void> {
    const number = this.#made++ >>> 0;
    this.#view.setUint32(0, number);
    const reply = await this.#client.call("Echo.echo", this.#payload);
    this.#check(number, reply);
    if (++this.#answered === this.#made) this.#lastAnswered();
  }

  #check(number: number, reply: unknown): void {
    const size = this.#payload.length;
    if (!(reply instanceof Uint8Array) || reply.length !== size) {
      throw new Error(
        `call ${number} has a reply of another size than ${size} bytes`,
      );
    }
    const found =
      ((reply[0] << 24) | (reply[1] << 16) | (reply[2] << 8) | reply[3]) >>> 0;
    const tail = size === 4 ? 0xa5 : reply[size - 1];
    if (found !== number || tail !== 0xa5) {
      throw new Error(`call ${number} has a reply with other bytes`);
    }
  }
}
