/**
 * The client's log: every call, what its caller received, and whether that
 * agrees with the server's journal.
 *
 * @module
 */

import { type CallHandle, type Outcome, RpcError } from "../../mod.ts";
import type { Runs } from "./journal.ts";

/** What the caller of one call received. */
interface Entry {
  readonly idempotent: boolean;
  /** The outcome that the caller received; a reply counts as `executed`. */
  received: Outcome | undefined;
  /** The final outcome. */
  settled: Outcome | undefined;
  replied: boolean;
}

/** The result of a run. */
export interface Comparison {
  /** A sentence for each contradiction; empty if client and journal agree. */
  readonly disagreements: string[];
  /** One line of figures. */
  readonly figures: string;
}

/** Numbers every call. */
export class CallLog {
  readonly #entries: Entry[] = [];
  readonly #open = new Set<Promise<unknown>>();
  readonly #faults: string[] = [];
  /** Calls that are settled. */
  done = 0;

  /** How many calls did not get a reply from their handler. */
  get failed(): number {
    return this.#entries.filter(({ replied }) => !replied).length;
  }

  /** The number of the next call. */
  get next(): number {
    return this.#entries.length;
  }

  /** Adds a call by its handle, right after it was made. */
  enter(handle: CallHandle, idempotent: boolean): void {
    const key = this.#entries.length;
    const entry: Entry = {
      idempotent,
      received: undefined,
      settled: undefined,
      replied: false,
    };
    this.#entries.push(entry);
    const whole = Promise.all([
      handle.reply.then((value) => {
        entry.received = "executed";
        entry.replied = true;
        if (value !== key) this.#fault(key, `was answered ${value}`);
      }, (error) => {
        entry.received = error instanceof RpcError
          ? error.outcome
          : handle.outcome;
        if (error instanceof RpcError && error.code === "out_of_luck") {
          entry.replied = true;
          if (error.data !== key) this.#fault(key, `failed as ${error.data}`);
        }
      }),
      handle.settled.then((outcome) => entry.settled = outcome),
    ]).then(() => {
      this.done++;
      this.#open.delete(whole);
    });
    this.#open.add(whole);
  }

  /** Resolves when every call is settled. */
  async settled(): Promise<void> {
    await Promise.all(this.#open);
  }

  #fault(key: number, what: string): void {
    this.#faults.push(`call ${key} ${what}`);
  }

  /** Compares the log with the journal. */
  compare({ started, ended }: Runs): Comparison {
    const count = { executed: 0, unknown: 0, refused: 0, not_sent: 0 };
    let ran = 0;
    let twice = 0;
    for (const [key, entry] of this.#entries.entries()) {
      const runs = started.get(key) ?? 0;
      const ends = ended.get(key) ?? 0;
      const { received, settled, replied, idempotent } = entry;
      if (received === undefined || settled === undefined) {
        this.#fault(key, "was never settled");
        continue;
      }
      count[settled]++;
      if (settled === "unknown" && runs > 0) ran++;
      if (runs > 1) twice++;
      if (received !== settled && received !== "unknown") {
        this.#fault(key, `was reported ${received}, and settled ${settled}`);
      }
      if (runs > 1 && !idempotent) this.#fault(key, `ran ${runs} times`);
      if (settled === "executed" && runs === 0) {
        this.#fault(key, "is executed, but did not run");
      }
      if (replied && ends === 0) {
        this.#fault(key, "was answered before its end");
      }
      const safe = settled === "not_sent" || settled === "refused";
      if (safe && runs > 0) this.#fault(key, `is ${settled}, but ran`);
    }
    for (const key of started.keys()) {
      if (key >= this.#entries.length) this.#fault(key, "was never made");
    }
    return {
      disagreements: this.#faults,
      figures: `${this.#entries.length} calls: ${count.executed} executed (` +
        `${twice} more than once, all idempotent), ` +
        `${count.unknown} unknown (${ran} of them ran), ` +
        `${count.refused} refused, ${count.not_sent} not sent`,
    };
  }
}
