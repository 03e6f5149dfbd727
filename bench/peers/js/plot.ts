/**
 * Draws the results: `plot.ts ROWS` sends `{ svg }` to its parent.
 *
 * @module
 */

import process from "node:process";
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { parentDone, sendToParent } from "../../demo/parent.ts";

/** One point: the peer, the style, and the rate. */
export interface Point {
  readonly peer: string;
  readonly style: string;
  readonly calls_per_s: number;
}

/** Its message. */
export interface Drawn {
  readonly svg: string;
}

/** A dot for every peer in every style, the fastest pipeline at the top. */
function draw(points: readonly Point[]): string {
  // The types of the package lack some of its members.
  const { document } = parseHTML("<!doctype html><html></html>") as unknown as {
    document: Plot.PlotOptions["document"];
  };
  const order = points.filter(({ style }) => style === "pipeline")
    .sort((a, b) => b.calls_per_s - a.calls_per_s)
    .map(({ peer }) => peer);
  const rates = points.map((point) => point.calls_per_s);
  // Room on the right for the figure beside the fastest dot.
  const domain = [Math.min(...rates) / 1.5, Math.max(...rates) * 4];
  const channels = { x: "calls_per_s", y: "peer", fx: "style" };
  const plot = Plot.plot({
    document,
    width: 960,
    height: 60 + 24 * order.length,
    marginLeft: 170,
    x: {
      type: "log",
      domain,
      grid: true,
      label: "calls/s",
      ticks: 4,
      tickFormat: "~s",
    },
    y: { domain: order, label: null },
    fx: { domain: ["pipeline", "concurrent", "sync"], label: null },
    marks: [
      Plot.frame({ stroke: "#ccc" }),
      Plot.dot(points, {
        ...channels,
        r: 5,
        fill: (point: Point) => point.peer.includes("sluice"),
      }),
      Plot.text(points, {
        ...channels,
        text: (point: Point) => brief(point.calls_per_s),
        textAnchor: "start",
        dx: 9,
      }),
    ],
    color: { domain: [true, false], range: ["#d9480f", "#495057"] },
    style: { background: "white", color: "black" },
  });
  plot.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return plot.outerHTML;
}

function brief(n: number): string {
  if (n >= 999_500) return `${(n / 1e6).toFixed(2)}M`;
  return n >= 9_950 ? `${(n / 1e3).toFixed(0)}k` : `${(n / 1e3).toFixed(1)}k`;
}

if (import.meta.main) {
  parentDone().then(() => process.exit());
  sendToParent({ svg: draw(JSON.parse(process.argv[2])) } satisfies Drawn);
}
