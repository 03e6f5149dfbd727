/// <reference lib="dom" />

/**
 * The charts of rate and latency. Both axes are logarithmic, as one lane may end
 * hundreds of times as late as another.
 *
 * @module
 */

import uPlot from "uplot";
import { LANES } from "../services.ts";
import type { CallLog } from "./call_log.ts";
import { grouped, roundDown, roundUp } from "./scale.ts";

/** Dashes tell the lines apart where colours do not. */
const DASHES = [[2, 3], [7, 4], []];

/** Points of a line at most, so that long runs draw quickly. */
const POINTS = 400;

/** Values over time: pairs of equal length. */
type Table = [number[], number[]];

/** A chart with a line, or a cloud of points, for each lane. */
export class Chart {
  readonly #box: HTMLElement;
  readonly #dots: boolean;
  readonly #of: (log: CallLog) => Table;
  #plot: uPlot | undefined;

  private constructor(
    box: HTMLElement,
    dots: boolean,
    of: (log: CallLog) => Table,
  ) {
    this.#box = box;
    this.#dots = dots;
    this.#of = of;
    new ResizeObserver(() =>
      this.#plot?.setSize({ width: box.clientWidth, height: box.clientHeight })
    ).observe(box);
  }

  static rate(box: HTMLElement): Chart {
    return new Chart(box, false, rates);
  }

  static latency(box: HTMLElement): Chart {
    return new Chart(box, true, latenciesOverTime);
  }

  /** Makes the chart again in the current colours. */
  restyle(): void {
    this.#plot?.destroy();
    this.#plot = undefined;
  }

  draw(logs: readonly CallLog[]): void {
    const tables = logs.map((log) => this.#of(log));
    const data = uPlot.join(tables as uPlot.AlignedData[]);
    if (this.#plot === undefined) this.#plot = this.#make(data);
    else this.#plot.setData(data);
  }

  #make(data: uPlot.AlignedData): uPlot {
    const style = getComputedStyle(document.documentElement);
    const color = (name: string) => style.getPropertyValue(`--${name}`);
    const axis = {
      stroke: color("faint"),
      font: "12px system-ui, sans-serif",
      grid: { stroke: color("grid"), width: 1 },
      ticks: { show: false },
      splits: lines,
      filter: (_: uPlot, splits: number[]) => splits,
    };
    return new uPlot(
      {
        width: this.#box.clientWidth,
        height: this.#box.clientHeight,
        padding: [8, 22, 0, 0],
        legend: { show: false },
        cursor: { show: false },
        scales: {
          x: { time: false, distr: 3, range: rounded },
          y: { distr: 3, range: rounded },
        },
        axes: [
          {
            ...axis,
            values: (plot, all) => all.map(crowded(plot) ? decade : shortTime),
            size: 26,
          },
          {
            ...axis,
            values: (_, all) => all.map((n) => isRound(n) ? grouped(n) : ""),
            size: 52,
          },
        ],
        series: [
          {},
          ...LANES.map((lane, i) => ({
            label: lane,
            stroke: color(lane),
            width: 2.5,
            dash: DASHES[i],
            spanGaps: true,
            paths: this.#dots ? () => null : undefined,
            points: this.#dots
              ? {
                show: true,
                size: 4 + 1.5 * (2 - i),
                fill: color(i === 2 ? lane : "page"),
                width: 1,
              }
              : { show: false },
          })),
        ],
      },
      data,
      this.#box,
    );
  }
}

/** From a round number to another, around all values; a factor of ten at least. */
function rounded(
  _: uPlot,
  least: number | null,
  most: number | null,
): [number, number] {
  const from = roundDown((least ?? 10) * 0.95);
  return [from, Math.max(from * 10, roundUp((most ?? 10) * 1.05))];
}

/** Where the axes have lines: 1 to 9, times powers of ten. */
function lines(
  _: uPlot,
  __: number,
  from: number,
  to: number,
): number[] {
  const all: number[] = [];
  for (let p = Math.floor(Math.log10(from) + 1e-9); 10 ** p <= to; p++) {
    for (let n = 1; n < 10; n++) all.push(Number(`${n}e${p}`));
  }
  return all.filter((n) => n >= from && n <= to);
}

/** Whether an axis says the number: 1, 2 and 5, times a power of ten. */
function isRound(n: number | null): boolean {
  if (n === null) return false;
  const first = n / 10 ** Math.floor(Math.log10(n) + 1e-9);
  return [1, 2, 5].some((each) => Math.abs(first - each) < 1e-6);
}

/** Whether there is room for a power of ten only. */
function crowded({ scales: { x }, width }: uPlot): boolean {
  return width / Math.log10(x.max! / x.min!) < 200;
}

function decade(n: number): string {
  return Number.isInteger(Math.log10(n)) ? shortTime(n) : "";
}

function shortTime(n: number | null): string {
  if (!isRound(n)) return "";
  return n! < 1000 ? `${grouped(n!)} ms` : `${n! / 1000} s`;
}

/** The numbers of the answered calls, in the order of their replies, thinned out. */
function answeredCalls(log: CallLog): number[] {
  const all: number[] = [];
  for (let i = 0; i < log.count; i++) if (log.ok[i]) all.push(i);
  return all.sort((a, b) => log.done[a] - log.done[b]);
}

function thinned<T>(all: readonly T[]): T[] {
  const every = Math.ceil(all.length / POINTS);
  return all.filter((_, k) => k % every === 0 || k === all.length - 1);
}

function rates(log: CallLog): Table {
  const done = answeredCalls(log).map((i) => log.done[i]);
  const points = thinned(done.map((time, k) => [time, (k + 1) / time * 1000]));
  return [points.map(([time]) => time), points.map(([, rate]) => rate)];
}

function latenciesOverTime(log: CallLog): Table {
  const calls = thinned(answeredCalls(log));
  return [
    calls.map((i) => log.done[i]),
    calls.map((i) => log.done[i] - log.made[i]),
  ];
}
