/**
 * The calls of one lane: when each was made, sent, handled and settled, and how it
 * ended.
 *
 * Times are milliseconds since the start of the run, by the page's clock. `NaN`
 * stands for a time that is not known, or has not come.
 *
 * @module
 */

import type { Outcome } from "../../../mod.ts";

/** The outcomes, in the order in which the page lists them. */
export const OUTCOMES: readonly Outcome[] = [
  "executed",
  "refused",
  "not_sent",
  "unknown",
];

/** What a part of a call's bar shows. */
export type Phase =
  | "waiting"
  | "flight"
  | "request"
  | "handler"
  | "reply"
  | "executed"
  | "refused"
  | "not_sent"
  | "unknown";

/** A part of a call's bar. */
export interface Segment {
  readonly phase: Phase;
  readonly from: number;
  readonly to: number;
}

/** The calls of one lane. */
export class CallLog {
  /** How many calls the run is about to make. */
  readonly calls: number;
  /** How many calls have been made. */
  count = 0;
  /** How many calls have been answered with their result. */
  answered = 0;
  /** When the latest call settled. */
  last = 0;
  readonly made: Float64Array;
  /** When the request was handed to the transport. */
  readonly sent: Float64Array;
  /** When the handler started, and ended. */
  readonly started: Float64Array;
  readonly ended: Float64Array;
  /** When the caller received the result, or the error. */
  readonly done: Float64Array;
  readonly ok: Uint8Array;
  /** How each call ended, once that is final. */
  readonly outcome: (Outcome | undefined)[] = [];
  /** Calls by final outcome. */
  readonly outcomes: Record<Outcome, number> = {
    executed: 0,
    refused: 0,
    not_sent: 0,
    unknown: 0,
  };
  /** The row of each bar: the lowest that was free when the call was made. */
  readonly row: Uint32Array;
  /** How many rows the bars of this lane can have. */
  readonly rows: number;
  readonly #taken: boolean[] = [];

  constructor(calls: number, rows: number) {
    const times = () => new Float64Array(calls).fill(NaN);
    this.calls = calls;
    this.rows = Math.min(rows, calls);
    this.made = times();
    this.sent = times();
    this.started = times();
    this.ended = times();
    this.done = times();
    this.ok = new Uint8Array(calls);
    this.row = new Uint32Array(calls);
  }

  /** A call is made; returns its number. */
  make(now: number): number {
    const i = this.count++;
    this.made[i] = now;
    const free = this.#taken.indexOf(false);
    const row = free < 0 ? this.#taken.length : free;
    this.#taken[row] = true;
    this.row[i] = row;
    return i;
  }

  /** The caller has the result of call `i`, or its error. */
  settle(i: number, now: number, ok: boolean): void {
    this.done[i] = this.last = now;
    this.#taken[this.row[i]] = false;
    if (!ok) return;
    this.ok[i] = 1;
    this.answered++;
  }

  /** The final outcome of call `i` is known. */
  end(i: number, outcome: Outcome): void {
    this.outcome[i] = outcome;
    this.outcomes[outcome]++;
  }

  /** The parts of the bar of call `i` that have come to pass at `now`. */
  segments(i: number, now: number): Segment[] {
    const made = this.made[i];
    if (!(made <= now)) return [];
    const done = known(this.done[i], Infinity);
    const end = Math.min(done, now);
    const sent = Math.min(known(this.sent[i], done), end);
    const settled = done <= now;
    const parts: Segment[] = [];
    const add = (phase: Phase, from: number, to: number) => {
      if (to > from) parts.push({ phase, from, to });
    };
    const outcome = this.outcome[i];
    if (settled && !this.ok[i] && outcome !== undefined) {
      if (outcome === "not_sent") add("not_sent", made, end);
      else {
        add("waiting", made, sent);
        const started = Math.max(this.started[i], sent);
        const handled = this.#handled(i, end);
        // A call that has run shows its way there, unless nothing else could be seen.
        const whole = outcome !== "executed" || !(handled < end);
        if (!whole) add("request", sent, started);
        add(outcome, whole ? sent : handled, end);
        add("handler", started, handled);
      }
      return parts;
    }
    add("waiting", made, sent);
    const started = Math.max(this.started[i], sent);
    // What went before the reply is known only from it.
    if (!(started < end)) add("flight", sent, end);
    else {
      const handled = this.#handled(i, end);
      add("request", sent, started);
      add("handler", started, handled);
      add("reply", handled, end);
    }
    return parts;
  }

  #handled(i: number, end: number): number {
    return Math.min(known(this.ended[i], end), end);
  }
}

function known(time: number, otherwise: number): number {
  return Number.isNaN(time) ? otherwise : time;
}

/** The value below which a share `p` of the sorted values lies; `NaN` without any. */
export function percentile(sorted: ArrayLike<number>, p: number): number {
  if (sorted.length === 0) return NaN;
  return sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)];
}

/** The latencies of the answered calls, from made to answered, in ascending order. */
export function latencies(log: CallLog): Float64Array {
  const all = new Float64Array(log.answered);
  let n = 0;
  for (let i = 0; i < log.count; i++) {
    if (log.ok[i]) all[n++] = log.done[i] - log.made[i];
  }
  return all.sort();
}
