/**
 * The time axis that the lanes share, and texts of numbers.
 *
 * @module
 */

import type { Settings } from "./run.ts";
import { TASKS } from "../services.ts";

const NICE = [1, 1.5, 2, 3, 4, 5, 6, 8, 10];

/** The next round number that is not below `n`. */
export function roundUp(n: number): number {
  const power = Math.floor(Math.log10(Math.max(n, 1e-9)));
  const size = n / 10 ** power;
  return times(NICE.find((nice) => nice >= size - 1e-9)!, power);
}

/** The next round number that is not above `n`. */
export function roundDown(n: number): number {
  const power = Math.floor(Math.log10(Math.max(n, 1e-9)));
  const size = n / 10 ** power;
  return times(NICE.findLast((nice) => nice <= size + 1e-9)!, power);
}

/** Exact, where a product of floats is not. */
function times(n: number, power: number): number {
  return Number(`${n}e${power}`);
}

/**
 * Milliseconds that the timelines show from the start of a run: until the lane of
 * 64 tasks has ended, and a half more.
 *
 * @param least Something that must be in view.
 */
export function viewOf(settings: Settings, least = 0): number {
  const { calls, rtt, handler, window } = settings;
  const waves = Math.ceil(calls / Math.min(TASKS, window));
  // A call costs a page and its process some 0.1 ms each.
  const expected = waves * (rtt + handler + 1) + calls * 0.1;
  return roundUp(Math.max(1.5 * expected, least));
}

/** Round times from 0 to `view`, some `count` of them. */
export function ticks(view: number, count: number): number[] {
  const steps = [1, 2, 5, 10];
  const power = 10 ** Math.floor(Math.log10(view / count));
  const step = power * steps.find((each) => view / (each * power) <= count)!;
  const all: number[] = [];
  for (let i = 0; i * step <= view * 1.0001; i++) all.push(i * step);
  return all;
}

/** A duration as people write it: `0.42 ms`, `66 ms`, `12.3 s`. */
export function duration(ms: number): string {
  if (Number.isNaN(ms)) return "–";
  if (ms < 10) return `${ms.toFixed(ms < 1 ? 2 : 1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(ms < 100_000 ? 1 : 0)} s`;
}

// Made once: to make one takes longer than to draw a frame.
const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const TENTHS = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });

/** A count or a rate, with separators: `3,030`. */
export function grouped(n: number): string {
  return (n > 0 && n < 10 ? TENTHS : WHOLE).format(n);
}

/** How many times as fast: `4.2×`, `183×`. */
export function ratio(n: number): string {
  return Number.isFinite(n) && n > 0 ? `${grouped(n)}×` : "–";
}
