/// <reference lib="dom" />

/**
 * The timeline of a lane: every call is a bar, time goes to the right.
 *
 * Draws on a canvas, in the colours of the style sheet. Outcomes of failed calls
 * have a pattern and, beside the bars, a letter.
 *
 * @module
 */

import type { Outcome } from "../../../mod.ts";
import { type CallLog, OUTCOMES, type Phase } from "./call_log.ts";
import { duration, grouped, ticks } from "./scale.ts";

/** What the timelines of a run have in common. */
export interface View {
  /** Milliseconds from the left to the right edge. */
  readonly width: number;
  /** The moment that is shown: nothing later is drawn. */
  readonly now: number;
  /** When the calls were aborted, or their connections struck; undefined if they were not. */
  readonly struck: { readonly at: number; readonly name: string } | undefined;
  /** Whether a line marks that moment, as in slow motion. */
  readonly replayed: boolean;
}

/** The parts of a bar from bottom to top. */
const PHASES: readonly Phase[] = [
  "waiting",
  "flight",
  "request",
  "reply",
  "executed",
  "refused",
  "not_sent",
  "unknown",
  "handler",
];

const LABELS: Partial<Record<Phase, string>> = {
  waiting: "waits",
  flight: "in flight",
  request: "request",
  handler: "runs",
  reply: "reply",
};

/** The letters and names of outcomes. */
export const OUTCOME_NAMES: Record<Outcome, readonly [string, string]> = {
  executed: ["E", "executed"],
  refused: ["R", "refused"],
  not_sent: ["N", "not sent"],
  unknown: ["?", "unknown"],
};

/** Bars are not higher than this, in CSS pixels. */
const MAX_BAR = 44;
const MARGIN = 6;

/** Colours and patterns; they change with the reader's light or dark mode. */
export class Paint {
  readonly colors: ReadonlyMap<string, string>;
  readonly #patterns = new Map<string, CanvasPattern>();

  constructor() {
    const style = getComputedStyle(document.documentElement);
    const names = [...PHASES, "answered", "ink", "faint", "grid", "page"];
    this.colors = new Map(names.map((name) => [
      name,
      style.getPropertyValue(`--${name === "flight" ? "request" : name}`),
    ]));
    for (const outcome of OUTCOMES) {
      this.#patterns.set(outcome, this.#hatch(outcome));
    }
  }

  color(name: string): string {
    return this.colors.get(name) ?? "";
  }

  fill(phase: Phase): string | CanvasPattern {
    return this.#patterns.get(phase) ?? this.color(phase);
  }

  /** Lines on the outcome's colour: rising, falling, both, or upright. */
  #hatch(outcome: Outcome): CanvasPattern {
    const tile = new OffscreenCanvas(8, 8);
    const pen = tile.getContext("2d")!;
    pen.fillStyle = this.color(outcome);
    pen.fillRect(0, 0, 8, 8);
    pen.strokeStyle = this.color("page");
    pen.globalAlpha = 0.55;
    pen.lineWidth = 1.4;
    const lines: Record<Outcome, number[][]> = {
      executed: [[4, 0, 4, 8]],
      refused: [[0, 8, 8, 0], [-4, 4, 4, -4], [4, 12, 12, 4]],
      not_sent: [[1, 2, 3, 2], [5, 6, 7, 6]],
      unknown: [[0, 0, 8, 8], [0, 8, 8, 0]],
    };
    pen.beginPath();
    for (const [x1, y1, x2, y2] of lines[outcome]) {
      pen.moveTo(x1, y1);
      pen.lineTo(x2, y2);
    }
    pen.stroke();
    return pen.createPattern(tile, "repeat")!;
  }
}

/** Makes the canvas as sharp as the screen; returns its context in CSS pixels. */
export function prepare(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
  const scale = devicePixelRatio;
  const { clientWidth, clientHeight } = canvas;
  const [width, height] = [clientWidth * scale, clientHeight * scale]
    .map(Math.round);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const pen = canvas.getContext("2d")!;
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, clientWidth, clientHeight);
  return pen;
}

/** Where the bars of a lane are. Their edges are whole pixels of the screen: thin rows would else blend into stripes. */
class Layout {
  readonly pitch: number;
  /** The height of a bar that has a gap below it. */
  readonly bar: number;
  readonly #perMs: number;
  readonly #pixels = devicePixelRatio;

  constructor(width: number, height: number, rows: number, view: number) {
    this.pitch = Math.min(MAX_BAR + MARGIN, (height - 2 * MARGIN) / rows);
    this.bar = this.pitch - Math.min(3, this.pitch / 4);
    this.#perMs = width / view;
  }

  x(time: number): number {
    return time * this.#perMs;
  }

  y(row: number): number {
    return this.#snap(MARGIN + row * this.pitch);
  }

  /** The height of the bar of a row. */
  height(row: number): number {
    const next = this.y(row + 1);
    const bottom = this.pitch >= 3
      ? next - this.#snap(this.pitch - this.bar)
      : next;
    return Math.max(bottom - this.y(row), 1 / this.#pixels);
  }

  #snap(length: number): number {
    return Math.round(length * this.#pixels) / this.#pixels;
  }
}

/** The timeline of one lane. */
export class Timeline {
  readonly #canvas: HTMLCanvasElement;
  #log: CallLog | undefined;
  #view: View = {
    width: 1,
    now: 0,
    struck: undefined,
    replayed: false,
  };
  /** The call whose numbers are shown. */
  selected: number | undefined;

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
  }

  draw(log: CallLog, view: View, paint: Paint): void {
    this.#log = log;
    this.#view = view;
    const pen = prepare(this.#canvas);
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const layout = new Layout(width, height, log.rows, view.width);
    this.#grid(pen, layout, width, height, paint);
    this.#bars(pen, layout, log, paint);
    if (view.struck !== undefined && view.struck.at <= view.now) {
      this.#strike(pen, layout, height, paint);
      this.#chips(pen, layout, log, paint);
    }
    this.#beyond(pen, layout, log, paint);
    this.#mark(pen, layout, log, paint);
    if (!view.replayed) return;
    pen.fillStyle = paint.color("ink");
    pen.fillRect(layout.x(view.now), 0, 1.5, height);
  }

  /** The call at a point of the canvas; undefined if there is none. */
  at(x: number, y: number): number | undefined {
    const log = this.#log;
    if (log === undefined) return undefined;
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const layout = new Layout(width, height, log.rows, this.#view.width);
    const row = Math.floor((y - MARGIN) / layout.pitch);
    let found: number | undefined;
    for (let i = 0; i < log.count; i++) {
      if (log.row[i] !== row || layout.x(log.made[i]) > x + 2) continue;
      const done = Math.min(log.done[i] || Infinity, this.#view.now);
      if (layout.x(done) >= x - 2) found = i;
    }
    return found;
  }

  #grid(
    pen: CanvasRenderingContext2D,
    layout: Layout,
    width: number,
    height: number,
    paint: Paint,
  ): void {
    pen.fillStyle = paint.color("grid");
    for (const time of ticks(this.#view.width, tickCount(width))) {
      pen.fillRect(Math.round(layout.x(time)), 0, 1, height);
    }
  }

  #bars(
    pen: CanvasRenderingContext2D,
    layout: Layout,
    log: CallLog,
    paint: Paint,
  ): void {
    const { now, width } = this.#view;
    const bars = new Map<Phase, number[]>();
    for (let i = 0; i < log.count; i++) {
      if (log.made[i] > width) continue;
      const y = layout.y(log.row[i]);
      const height = layout.height(log.row[i]);
      for (const { phase, from, to } of log.segments(i, now)) {
        const left = layout.x(from);
        const right = layout.x(Math.min(to, width));
        if (left >= right) continue;
        const bar = [left, y, right - left, height];
        const known = bars.get(phase);
        if (known === undefined) bars.set(phase, bar);
        else known.push(...bar);
      }
    }
    for (const phase of PHASES) {
      const all = bars.get(phase) ?? [];
      pen.fillStyle = paint.fill(phase);
      for (let k = 0; k < all.length; k += 4) {
        pen.fillRect(all[k], all[k + 1], all[k + 2], all[k + 3]);
      }
      if (layout.bar >= 18) this.#labels(pen, phase, all);
    }
    // The end of an answered call.
    pen.fillStyle = paint.color("answered");
    for (let i = 0; i < log.count; i++) {
      if (!log.ok[i] || !(log.done[i] <= Math.min(now, width))) continue;
      const x = layout.x(log.done[i]);
      const cap = Math.min(1.5, (x - layout.x(log.made[i])) / 12);
      const row = log.row[i];
      pen.fillRect(x - cap, layout.y(row), cap, layout.height(row));
    }
  }

  /** What a part shows, where it has the room. */
  #labels(
    pen: CanvasRenderingContext2D,
    phase: Phase,
    bars: readonly number[],
  ): void {
    const label = LABELS[phase];
    if (label === undefined) return;
    pen.font = "600 11px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.fillStyle = phase === "reply" ? "#ffffff" : "#0d1117";
    const needed = pen.measureText(label).width + 8;
    for (let k = 0; k < bars.length; k += 4) {
      const [x, y, width, height] = bars.slice(k, k + 4);
      if (width < needed) continue;
      pen.fillText(label, x + width / 2, y + height / 2 + 0.5);
    }
  }

  #strike(
    pen: CanvasRenderingContext2D,
    layout: Layout,
    height: number,
    paint: Paint,
  ): void {
    pen.strokeStyle = paint.color("ink");
    pen.lineWidth = 1.5;
    pen.setLineDash([5, 4]);
    pen.beginPath();
    const x = layout.x(this.#view.struck!.at);
    pen.moveTo(x, 0);
    pen.lineTo(x, height);
    pen.stroke();
    pen.setLineDash([]);
  }

  /** Names the outcomes of failed calls, right of their bars. */
  #chips(
    pen: CanvasRenderingContext2D,
    layout: Layout,
    log: CallLog,
    paint: Paint,
  ): void {
    pen.font = "600 12px system-ui, sans-serif";
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    const found = OUTCOMES.flatMap((outcome) => {
      let [count, right, sum] = [0, 0, 0];
      for (let i = 0; i < log.count; i++) {
        if (log.outcome[i] !== outcome || log.ok[i]) continue;
        if (!(log.done[i] <= this.#view.now)) continue;
        count++;
        right = Math.max(right, layout.x(log.done[i]));
        sum += layout.y(log.row[i]) + layout.bar / 2;
      }
      return count === 0 ? [] : [{ outcome, count, right, y: sum / count }];
    }).sort((a, b) => a.y - b.y);
    const x = 10 + Math.max(...found.map(({ right }) => right));
    let below = 0;
    for (const { outcome, count, y } of found) {
      const center = Math.max(y, below + 11);
      below = center + 11;
      const [letter, name] = OUTCOME_NAMES[outcome];
      pen.fillStyle = paint.color(outcome);
      pen.beginPath();
      pen.roundRect(x, center - 9, 18, 18, 3);
      pen.fill();
      pen.fillStyle = "#ffffff";
      pen.fillText(
        letter,
        x + 9 - pen.measureText(letter).width / 2,
        center + 0.5,
      );
      pen.fillStyle = paint.color("ink");
      pen.fillText(`${grouped(count)} ${name}`, x + 24, center + 0.5);
    }
  }

  /** Says what the right edge cuts off. */
  #beyond(
    pen: CanvasRenderingContext2D,
    layout: Layout,
    log: CallLog,
    paint: Paint,
  ): void {
    const { width, now } = this.#view;
    if (now < width || log.rows > 1) return;
    let shown = 0;
    while (shown < log.count && log.made[shown] < width) shown++;
    const rest = log.calls - shown;
    if (rest === 0) return;
    const over = log.count === log.calls && log.last <= now;
    const stopped = this.#view.struck !== undefined;
    if (stopped) return;
    const end = over ? `, until ${duration(log.last)}` : "";
    pen.font = "12px system-ui, sans-serif";
    pen.textAlign = "right";
    pen.textBaseline = "top";
    const text = `${grouped(rest)} more calls to the right${end} →`;
    const [right, y] = [layout.x(width) - 8, layout.y(0) + layout.pitch + 4];
    const space = pen.measureText(text).width + 8;
    pen.clearRect(right - space, y - 2, space + 4, 18); // No grid line behind.
    pen.fillStyle = paint.color("faint");
    pen.fillText(text, right, y);
  }

  #mark(
    pen: CanvasRenderingContext2D,
    layout: Layout,
    log: CallLog,
    paint: Paint,
  ): void {
    const i = this.selected;
    if (i === undefined || i >= log.count) return;
    const from = layout.x(log.made[i]);
    const to = layout.x(Math.min(log.done[i] || Infinity, this.#view.now));
    pen.strokeStyle = paint.color("ink");
    pen.lineWidth = 2;
    pen.strokeRect(
      from - 1,
      layout.y(log.row[i]) - 1.5,
      to - from + 2,
      layout.bar + 3,
    );
  }
}

function tickCount(width: number): number {
  return Math.max(3, Math.round(width / 110));
}

/** Draws the time axis. */
export function drawAxis(
  canvas: HTMLCanvasElement,
  { width: view, now, struck }: View,
  paint: Paint,
): void {
  const pen = prepare(canvas);
  const width = canvas.clientWidth;
  const shown = struck !== undefined && struck.at <= now ? struck : undefined;
  const mark = shown === undefined ? -Infinity : shown.at / view * width;
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "middle";
  pen.fillStyle = paint.color("faint");
  for (const time of ticks(view, tickCount(width))) {
    const x = time / view * width;
    if (Math.abs(x - mark) < 56) continue; // There is the mark.
    pen.textAlign = x < 20 ? "left" : x > width - 30 ? "right" : "center";
    const offset = x < 20 ? 4 : x > width - 30 ? -4 : 0;
    pen.fillText(time === 0 ? "0" : duration(time), x + offset, 12);
  }
  if (shown === undefined) return;
  pen.font = "600 12px system-ui, sans-serif";
  pen.textAlign = "center";
  const half = pen.measureText(shown.name).width / 2 + 6;
  const x = Math.min(Math.max(mark, half), width - half);
  pen.fillStyle = paint.color("ink");
  pen.beginPath();
  pen.roundRect(x - half, 2, 2 * half, 19, 4);
  pen.fill();
  pen.fillStyle = paint.color("page");
  pen.fillText(shown.name, x, 12);
}
