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
import { duration, grouped } from "./scale.ts";

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
    };
    return new uPlot(
      {
        width: this.#box.clientWidth,
        height: this.#box.clientHeight,
        padding: [8, 10, 0, 0],
        legend: { show: false },
        cursor: { show: false },
        scales: {
          x: { time: false, distr: 3, range: decades },
          y: { distr: 3, range: decades },
        },
        axes: [
          { ...axis, values: (_, all) => all.map(shortTime), size: 26 },
          {
            ...axis,
            values: (_, all) => all.map((n) => isDecade(n) ? grouped(n) : ""),
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

/** From one power of ten to another, around all values. */
function decades(
  _: uPlot,
  least: number | null,
  most: number | null,
): [number, number] {
  const power = (n: number) => Math.log10(Math.max(n, 0.01));
  const from = Math.floor(power(least ?? 1));
  const to = Math.max(from + 1, Math.ceil(power(most ?? 10) - 1e-9));
  return [10 ** from, 10 ** to];
}

function isDecade(n: number | null): boolean {
  return n !== null && Math.abs(Math.log10(n) % 1) < 1e-6;
}

function shortTime(n: number | null): string {
  return isDecade(n) ? duration(n!) : "";
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
