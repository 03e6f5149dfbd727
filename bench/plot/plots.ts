/**
 * The plots: the data of each, and how it looks.
 *
 * They can be read on any page: black on white, and labels distinguish the lines,
 * not only colours.
 *
 * @module
 */

import type { Canvas, Mark } from "./library.ts";
import type { Point } from "./rows.ts";

/** A plot of some of the points. */
export interface Plot {
  readonly file: string;
  readonly title: string;
  /** The points it shows. */
  readonly of: (point: Point) => boolean;
  /** Draws them. */
  readonly draw: (canvas: Canvas, points: Point[], title: Title) => string;
}

/** The text above a plot. */
export interface Title {
  readonly title: string;
  readonly subtitle: string;
}

const WIDTH = 960;
const HEIGHT = 440;
const MARGINS = {
  marginTop: 120,
  marginRight: 76,
  marginBottom: 48,
  marginLeft: 60,
};
const INK = "#1f2328";
const FAINT = "#59636e";

/** Colours of Okabe and Ito, which colour-blind readers can distinguish. */
const RUNTIMES = ["deno", "bun", "node"];
const COLORS = ["#0072b2", "#d55e00", "#007a5a"];

const SMALL = 16;

/** Numbers as people write them on axes: 20k, 1.5M. */
function compact(n: number): string {
  return n.toLocaleString("en-US", {
    notation: "compact",
    maximumSignificantDigits: 3,
  }).toLowerCase().replace("m", "M");
}

/** Depths in order, from one call to as many as the window allows. */
function byDepth(a: Point["depth"], b: Point["depth"]): number {
  const size = (depth: Point["depth"]) =>
    depth === "unlimited" ? Infinity : depth;
  return size(a) === size(b) ? 0 : size(a) - size(b);
}

function depthsOf(points: readonly Point[]): Point["depth"][] {
  return [...new Set(points.map(({ depth }) => depth))].sort(byDepth);
}

function depthText(depth: Point["depth"]): string {
  return depth === "unlimited" ? "∞" : String(depth);
}

function transportsOf(points: readonly Point[]): string[] {
  const order = ["tcp", "unix", "stdio", "memory"];
  return order.filter((each) => points.some((p) => p.transport === each));
}

/** The smallest size among the points, for which rates of calls are shown. */
function smallest({ payload, rtt_ms }: Point): boolean {
  return payload === SMALL && rtt_ms === 0;
}

/** Makes a drawing with margins, title and white background. */
function finish(
  { plot, document }: Canvas,
  { title, subtitle }: Title,
  yLabel: string,
  options: { marks: readonly Mark[] } & Record<string, unknown>,
): string {
  const svg = plot.plot({
    ...{ document, width: WIDTH, height: HEIGHT },
    ...MARGINS,
    style: {
      fontFamily: "system-ui, sans-serif",
      fontSize: "13px",
      color: INK,
    },
    ...options,
  });
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", title);
  svg.insertAdjacentHTML(
    "afterbegin",
    `<rect width="100%" height="100%" fill="white"></rect>` +
      heading(24, 18, "bold", INK, title) +
      heading(48, 12, "normal", FAINT, subtitle) +
      heading(82, 13, "normal", INK, "↑ " + yLabel),
  );
  return svg.outerHTML + "\n";
}

function heading(
  y: number,
  size: number,
  weight: string,
  fill: string,
  text: string,
): string {
  const escaped = text.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`);
  return `<text x="16" y="${y}" font-size="${size}" font-weight="${weight}" ` +
    `text-anchor="start" fill="${fill}">${escaped}</text>`;
}

/** An axis of powers of ten; what it shows is written above the plot. */
const logAxis = {
  ...{ type: "log", nice: true, grid: true, label: null },
  tickFormat: compact,
};

/** A point of a line: where it is, in which facet, on which line. */
interface Spot {
  readonly x: number | string;
  readonly y: number;
  readonly fx: string;
  readonly name: string;
}

/** Lines with dots, their names behind their last points. */
function lines({ plot }: Canvas, spots: readonly Spot[]): Mark[] {
  const channels = { x: "x", y: "y", fx: "fx", z: "name" };
  const labels = ends(spots);
  return [
    plot.line(spots, { ...channels, stroke: "name", strokeWidth: 2 }),
    plot.dot(spots, { ...channels, fill: "name", r: 3.5 }),
    plot.text(labels, {
      ...{ ...channels, text: "name", fill: "name", dx: 9 },
      ...{ textAnchor: "start", fontWeight: "bold" },
    }),
  ];
}

/** Smallest distance between two labels, in pixels. */
const LABEL_HEIGHT = 15;

/** The last spot of every line, moved up where its label would cover another. */
function ends(spots: readonly Spot[]): Spot[] {
  const last = new Map(spots.map((spot) => [spot.fx + "\n" + spot.name, spot]));
  const logs = spots.map(({ y }) => Math.log10(y));
  // As the axis has it: from one power of ten to another.
  const range = Math.ceil(Math.max(...logs)) - Math.floor(Math.min(...logs));
  const pixels = HEIGHT - MARGINS.marginTop - MARGINS.marginBottom;
  const least = 10 ** (LABEL_HEIGHT * Math.max(1, range) / pixels);
  const free = new Map<string, number>();
  return [...last.values()].sort((a, b) => a.y - b.y).map((spot) => {
    const y = Math.max(spot.y, free.get(spot.fx) ?? 0);
    free.set(spot.fx, y * least);
    return { ...spot, y };
  });
}

const byDepthPlot: Plot = {
  file: "calls-by-depth.svg",
  title: "Calls per second, by calls in flight",
  of: smallest,
  draw(canvas, points, title) {
    points.sort((a, b) => byDepth(a.depth, b.depth));
    return finish(canvas, title, "calls per second", {
      x: {
        ...{ type: "point", domain: depthsOf(points).map(depthText) },
        label: "calls in flight (∞: as many as the window allows) →",
      },
      y: logAxis,
      fx: { domain: transportsOf(points), label: null, padding: 0.25 },
      color: { domain: RUNTIMES, range: COLORS },
      marks: lines(
        canvas,
        points.map((p) => ({
          ...{ x: depthText(p.depth), y: p.calls_per_s },
          ...{ fx: p.transport, name: p.runtime },
        })),
      ),
    });
  },
};

/** The three styles, by calls in flight. */
const STYLES: readonly Point["depth"][] = [1, 64, "unlimited"];

const STYLE_NAMES = new Map<Point["depth"], string>([
  [1, "one by one"],
  [64, "64 tasks"],
  ["unlimited", "pipeline"],
]);

const styleOf = ({ depth }: Point) => STYLE_NAMES.get(depth)!;

const byRuntimePlot: Plot = {
  file: "calls-by-runtime.svg",
  title: "Calls per second over TCP, by runtime",
  of: (point) =>
    smallest(point) && point.transport === "tcp" &&
    STYLES.includes(point.depth),
  draw(canvas, points, title) {
    const { plot } = canvas;
    const channels = { x: styleOf, y: "calls_per_s", fx: "runtime" };
    return finish(canvas, title, "calls per second", {
      x: { domain: [...STYLE_NAMES.values()], label: null },
      y: { grid: true, label: null, tickFormat: compact, insetTop: 20 },
      fx: { domain: RUNTIMES, label: null },
      color: { domain: RUNTIMES, range: COLORS },
      marks: [
        plot.barY(points, { ...channels, fill: "runtime" }),
        plot.text(points, {
          ...{ ...channels, dy: -8, fill: INK },
          text: (point: Point) => compact(point.calls_per_s),
        }),
        plot.ruleY([0]),
      ],
    });
  },
};

const byRttPlot: Plot = {
  file: "calls-by-rtt.svg",
  title: "Calls per second over TCP, by added round-trip time",
  of: ({ payload, transport, depth }) =>
    payload === SMALL && transport === "tcp" && STYLES.includes(depth),
  draw(canvas, points, title) {
    points.sort((a, b) => a.rtt_ms - b.rtt_ms);
    const rtts = [...new Set(points.map(({ rtt_ms }) => rtt_ms))];
    return finish(canvas, title, "calls per second", {
      x: { type: "point", domain: rtts, label: "added round-trip time, ms →" },
      y: logAxis,
      fx: { domain: RUNTIMES, label: null, padding: 0.3 },
      color: { domain: [...STYLE_NAMES.values()], range: COLORS },
      marks: lines(
        canvas,
        points.map((p) => ({
          ...{ x: p.rtt_ms, y: p.calls_per_s },
          ...{ fx: p.runtime, name: styleOf(p) },
        })),
      ),
    });
  },
};

const PERCENTILES = {
  "50": "p50_us",
  "90": "p90_us",
  "99": "p99_us",
  "99.9": "p999_us",
} as const;

const latencyPlot: Plot = {
  file: "latency.svg",
  title: "Latency over TCP: from a call to its reply",
  of: (point) => smallest(point) && point.transport === "tcp",
  draw(canvas, points, title) {
    points.sort((a, b) => byDepth(a.depth, b.depth));
    const spots = points.flatMap((point) =>
      Object.entries(PERCENTILES).map(([percentile, name]) => ({
        ...{ x: percentile, y: point[name] },
        ...{ fx: point.runtime, name: depthText(point.depth) },
      }))
    );
    const depths = depthsOf(points).map(depthText);
    const shades = ["#0072b2", "#007a5a", "#8a6d00", "#d55e00", "#a3387f"];
    const what =
      "microseconds; lines: calls in flight (∞: as many as the window allows)";
    return finish(canvas, title, what, {
      x: {
        ...{ type: "point", domain: Object.keys(PERCENTILES) },
        label: "percentile of calls →",
      },
      y: logAxis,
      fx: { domain: RUNTIMES, label: null, padding: 0.3 },
      color: { domain: depths, range: shades },
      marks: lines(canvas, spots),
    });
  },
};

/** Bytes as people write them on axes. */
function bytes(n: number): string {
  if (n < 1024) return String(n);
  return n < 1 << 20 ? `${n / 1024} K` : `${n / (1 << 20)} M`;
}

const bySizePlot: Plot = {
  file: "bytes-by-size.svg",
  title: "Bytes echoed per second, by size of a call",
  of: ({ depth, rtt_ms }) => depth === "unlimited" && rtt_ms === 0,
  draw(canvas, points, title) {
    points.sort((a, b) => a.payload - b.payload);
    const sizes = [...new Set(points.map(({ payload }) => payload))];
    return finish(canvas, title, "MB per second, each way", {
      x: {
        ...{ type: "point", domain: sizes.map(bytes) },
        label: "bytes of a call and of its reply (K: 1,024) →",
      },
      y: logAxis,
      fx: { domain: transportsOf(points), label: null, padding: 0.3 },
      color: { domain: RUNTIMES, range: COLORS },
      marks: lines(
        canvas,
        points.map((p) => ({
          ...{ x: bytes(p.payload), y: p.mb_per_s },
          ...{ fx: p.transport, name: p.runtime },
        })),
      ),
    });
  },
};

/** All plots. */
export const PLOTS: readonly Plot[] = [
  byDepthPlot,
  byRuntimePlot,
  byRttPlot,
  latencyPlot,
  bySizePlot,
];
