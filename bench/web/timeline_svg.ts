/**
 * Makes a run as the page does, and draws its timelines as the picture in README:
 * `deno run -A bench/web/timeline_svg.ts > docs/pipelining.svg`.
 *
 * The client runs in this process, as the servers do. The colours of the picture
 * follow the reader's light or dark mode.
 *
 * @module
 */

import { cpus, platform } from "node:os";
import process from "node:process";
import { parseArgs } from "node:util";
import { tool, usage } from "../../tools/process.ts";
import { Lab } from "./lab.ts";
import type { CallLog, Phase } from "./page/call_log.ts";
import { LabClient } from "./page/lab_client.ts";
import { type LaneRun, Run, type Settings } from "./page/run.ts";
import { duration, grouped, ratio, ticks } from "./page/scale.ts";
import type { Lane } from "./services.ts";

const USAGE = `Usage: timeline_svg.ts [options] > FILE.svg

Makes runs of the three lanes of demo:web, and draws the quickest: the one with
the smallest product of the lanes' times.

  --runs N    number of runs (3)
  --calls N   calls of each lane (200)
  --rtt MS    round-trip time (50)
  --help      print this`;

const WIDTH = 760;
const LEFT = 170;
const RIGHT = WIDTH - 20;
const TOP = 82;
const GAP = 18;

/** The height of the texts of a lane. */
const TEXTS = 58;

/** What each lane is called, and how high the row of a call is, with its gap. */
const LANES: Record<Lane, readonly [name: string, how: string, row: number]> = {
  sync: ["one at a time", "waits for each reply", 34],
  tasks: ["64 at a time", "64 tasks, each waits", 1],
  pipelined: ["pipelined", "does not wait", 1],
};

/** The parts of a bar, from left to right. */
const PHASES: readonly (readonly [Phase, string])[] = [
  ["waiting", "waiting to be sent"],
  ["request", "request on its way"],
  ["handler", "handler runs"],
  ["reply", "reply on its way"],
];

/** Every colour of the picture, in light and in dark mode. */
const THEME = `
  svg { color-scheme: light dark; }
  text { font-family: system-ui, sans-serif; }
  path { shape-rendering: crispEdges; }
  .card { fill: #ffffff; stroke: #d1d9e0; }
  .ground { fill: #ffffff; }
  .ink { fill: #1f2328; }
  .faint { fill: #59636e; }
  .best { fill: #0860ca; }
  .grid { stroke: #e6eaef; }
  .waiting { fill: #c4cbd3; }
  .request { fill: #56b4e9; }
  .handler { fill: #e69f00; }
  .reply { fill: #0072b2; }
  @media (prefers-color-scheme: dark) {
    .card { fill: #0d1117; stroke: #3d444d; }
    .ground { fill: #0d1117; }
    .ink { fill: #f0f6fc; }
    .faint { fill: #9198a1; }
    .best { fill: #58a6ff; }
    .grid { stroke: #21262d; }
    .waiting { fill: #4b545f; }
    .handler { fill: #f0b429; }
    .reply { fill: #2a86c8; }
  }
`;

function options(): { settings: Settings; runs: number } | undefined {
  try {
    const { values } = parseArgs({
      options: {
        runs: { type: "string", default: "3" },
        calls: { type: "string", default: "200" },
        rtt: { type: "string", default: "50" },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) return undefined;
    const [calls, rtt, runs] = [values.calls, values.rtt, values.runs]
      .map(Number);
    if (!(calls >= 1 && rtt >= 1 && runs >= 1)) {
      throw new Error(
        "Cannot use --runs, --calls and --rtt: expected 1 or more",
      );
    }
    const rest = { window: 1024, handler: rtt / 5, payload: 16 };
    return { runs, settings: { calls, rtt, ...rest } };
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

/** Makes runs over a server in this process; returns the quickest. */
async function measure(settings: Settings, runs: number): Promise<Run> {
  const lab = new Lab();
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) => lab.upgrade(request),
  );
  const client = new LabClient(`ws://127.0.0.1:${server.addr.port}`);
  // The first run compiles the code.
  const first = await Run.start(client, { ...settings, calls: 10 });
  await first.over;
  let best: Run | undefined;
  for (let i = 0; i < runs; i++) {
    const run = await Run.start(client, settings);
    await run.over;
    if (best === undefined || run.product < best.product) best = run;
  }
  await client.close();
  await server.shutdown();
  return best!;
}

function draw(run: Run, runs: number): string {
  const tasks = run.lane("tasks").log.last;
  const view = Math.ceil(tasks * 1.35 / 10) * 10;
  const x = (time: number) => LEFT + time / view * (RIGHT - LEFT);
  const parts: string[] = [];
  let y = TOP;
  for (const lane of run.lanes) {
    parts.push(...drawLane(lane, run, y, x, view));
    y += heightOf(lane) + GAP;
  }
  const axis = y - GAP + 10;
  const grid = ticks(view, 6).map((time) =>
    `<line class="grid" x1="${round(x(time))}" x2="${round(x(time))}" ` +
    `y1="${TOP - 8}" y2="${axis}"/>` +
    text(
      x(time),
      axis + 16,
      time === 0 ? "0" : duration(time),
      "faint",
      12,
      time > view * 0.98 ? "end" : "middle",
    )
  );
  const height = axis + 62;
  const title = `The same ${grouped(run.settings.calls)} calls, in three ways`;
  return `<svg xmlns="http://www.w3.org/2000/svg" role="img" ` +
    `aria-label="${labelOf(run)}" viewBox="0 0 ${WIDTH} ${height}" ` +
    `width="${WIDTH}" height="${height}"><style>${THEME}</style>` +
    `<rect class="card" x="0.5" y="0.5" width="${WIDTH - 1}" ` +
    `height="${height - 1}" rx="6"/>` +
    text(20, 30, title, "ink", 17, "start", true) +
    text(20, 53, subtitle(run, runs), "faint", 12) +
    grid.join("") + parts.join("") + legend(axis + 42) + "</svg>\n";
}

function heightOf({ lane, log }: LaneRun): number {
  return Math.max(LANES[lane][2] * log.rows, TEXTS);
}

/** The texts of a lane, and its bars: one path for each part. */
function drawLane(
  { lane, log }: LaneRun,
  run: Run,
  top: number,
  x: (time: number) => number,
  view: number,
): string[] {
  const [name, how, pitch] = LANES[lane];
  const sync = run.lane("sync").log;
  const ink = lane === "pipelined" ? "best" : "ink";
  const faster = lane === "sync" ? "" : ` · ${ratio(sync.last / log.last)}`;
  const parts = [
    text(20, top + 14, name, "ink", 14, "start", true),
    text(20, top + 31, how, "faint", 12),
    text(20, top + 51, duration(log.last) + faster, ink, 15, "start", true),
  ];
  const bar = pitch > 1 ? pitch - 6 : pitch;
  for (const [phase] of PHASES) {
    const d = pathOf(log, phase, top, pitch, bar, x, view);
    if (d !== "") parts.push(`<path class="${phase}" d="${d}"/>`);
  }
  if (lane !== "sync") return parts;
  const rest = `${grouped(log.calls - shown(log, view))} more calls, ` +
    `until ${duration(log.last)} →`;
  // On the colour of the card, so that no grid line crosses it.
  parts.push(
    `<rect class="ground" x="${RIGHT - 190}" y="${top + bar + 5}" ` +
      `width="190" height="17"/>`,
    text(RIGHT, top + bar + 17, rest, "faint", 12, "end"),
  );
  return parts;
}

function shown(log: CallLog, view: number): number {
  return log.made.filter((time) => time < view).length;
}

function pathOf(
  log: CallLog,
  phase: Phase,
  top: number,
  pitch: number,
  bar: number,
  x: (time: number) => number,
  view: number,
): string {
  let d = "";
  for (let i = 0; i < log.count; i++) {
    for (const part of log.segments(i, Infinity)) {
      if (part.phase !== phase) continue;
      const from = round(x(part.from));
      const to = round(x(Math.min(part.to, view)));
      if (to <= from) continue;
      const y = top + log.row[i] * pitch;
      d += `M${from} ${y}H${to}v${bar}H${from}z`;
    }
  }
  return d;
}

function legend(y: number): string {
  let x = LEFT;
  return PHASES.map(([phase, name]) => {
    const part = `<rect class="${phase}" x="${x}" y="${y - 10}" width="12" ` +
      `height="12" rx="2"/>` + text(x + 17, y, name, "faint", 12);
    x += 142;
    return part;
  }).join("");
}

function subtitle({ settings: { rtt, handler } }: Run, runs: number): string {
  return `Over a WebSocket with a round trip of ${rtt} ms; handlers about ` +
    `${handler} ms. Deno ${Deno.version.deno}, ${capital(platform())}, ` +
    `${cpus().length} cores.${runs > 1 ? ` The best of ${runs} runs.` : ""}`;
}

function labelOf(run: Run): string {
  const times = run.lanes.map(({ lane, log }) =>
    `${LANES[lane][0]} ${duration(log.last)}`
  );
  return `Time of the same ${run.settings.calls} calls: ${times.join(", ")}`;
}

function text(
  x: number,
  y: number,
  content: string,
  className: string,
  size: number,
  anchor: "start" | "middle" | "end" = "start",
  bold = false,
): string {
  const weight = bold ? ` font-weight="bold"` : "";
  return `<text x="${round(x)}" y="${y}" class="${className}" ` +
    `font-size="${size}" text-anchor="${anchor}"${weight}>${content}</text>`;
}

function capital(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}

/** A tenth of a pixel is enough. */
function round(n: number): number {
  return Math.round(n * 10) / 10;
}

async function main(): Promise<void> {
  const chosen = options();
  if (chosen === undefined) return console.log(USAGE);
  const { settings, runs } = chosen;
  process.stdout.write(draw(await measure(settings, runs), runs));
}

if (import.meta.main) await tool(main);
