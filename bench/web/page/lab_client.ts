/**
 * The control connection to the process: sets up runs, strikes them, and compares
 * the clocks of both.
 *
 * @module
 */

import { Client, fromWebSocket } from "../../../client.ts";
import type {
  HandlerLog,
  LabServices,
  Lane,
  RunSettings,
  Strike,
} from "../services.ts";

/** The subprotocol of WebSockets that carry the library's frames. */
export const SUBPROTOCOL = "sluice.1";

/** How often the clocks are compared; the quickest answer counts. */
const COMPARISONS = 9;

/** The process, as the page sees it. */
export class LabClient {
  readonly #client: Client<LabServices>;
  readonly #base: string;
  /** The time of the process's clock at the page's time 0. */
  #offset = 0;

  /** @param base The address of the process: `ws://127.0.0.1:8849`. */
  constructor(base: string) {
    this.#base = base;
    this.#client = new Client(
      fromWebSocket(new WebSocket(`${base}/control`, SUBPROTOCOL)),
    );
  }

  /** Resolves when the process has gone. */
  get closed(): Promise<unknown> {
    return this.#client.closed;
  }

  /** Makes the servers of a run, and compares the clocks; returns the address of each lane. */
  async prepare(settings: RunSettings): Promise<(lane: Lane) => string> {
    await this.#compareClocks();
    const id = await this.#client.call("Lab.prepare", settings);
    return (lane) => `${this.#base}/run/${id}/${lane}`;
  }

  /** Strikes the run; returns when that happened, by the page's clock. */
  async strike(strike: Strike): Promise<number> {
    return this.toLocal(await this.#client.call("Lab.strike", strike));
  }

  /** Which handlers ran. */
  handlers(): Promise<Record<Lane, HandlerLog>> {
    return this.#client.call("Lab.handlers");
  }

  /** A time of the process by the page's clock. */
  toLocal(time: number): number {
    return time - this.#offset;
  }

  close(): Promise<void> {
    return this.#client.close();
  }

  /** With the quickest answer, the process read its clock in the middle, give or take half of that time. */
  async #compareClocks(): Promise<void> {
    let quickest = Infinity;
    for (let i = 0; i < COMPARISONS; i++) {
      const before = performance.now();
      const there = await this.#client.call("Lab.now");
      const after = performance.now();
      if (after - before >= quickest) continue;
      quickest = after - before;
      this.#offset = there - (before + after) / 2;
    }
  }
}
