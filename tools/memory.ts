/**
 * Measures how much memory hostile peers can make a server hold, and how much
 * both ends of a WebSocket hold while one of them is slow: `deno task memory`.
 * Each case and runtime has a process for each side.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { Child } from "../bench/demo/child.ts";
import { type Runtime, RUNTIMES } from "../bench/demo/runtimes.ts";
import { type Case, CASES } from "./memory/cases.ts";
import type { Report } from "./memory/server.ts";
import { type Side, SLOW_CASES, type SlowCase } from "./memory/slow.ts";
import type { SlowReport } from "./memory/slow_peer.ts";
import { tool, usage } from "./process.ts";

const TEXT = `Usage: deno task memory [options]

  --runtime NAMES  node, bun and deno, or some of them (default all)
  --case ID        one case, such as X16 or "slow page" (default all)
  --quick          Node alone, shorter pauses: what CI runs
  --help           print this

Prints for each case: the bytes sent; the most that the server held at any time
(for X15 at the end), without garbage; the bound of that; and the growth of the
process, garbage included. Cases over WebSockets have a line for each end. Exits
with 1 if a case is above its bound.`;

/** An attack has ended after this many milliseconds in which the server reads no byte. */
const QUIET = 600;
/** Milliseconds that one attack may take. */
const LIMIT = 60_000;
/** Milliseconds for which the slow end of a WebSocket pauses. */
const PAUSE = 10_000;
const QUICK_PAUSE = 2000;

interface Row {
  readonly each: { readonly id: string; readonly title: string };
  readonly bound: number;
  readonly runtime: Runtime;
  readonly sent: number;
  readonly held: number;
  readonly rss: number;
  readonly ok: boolean;
  readonly ended: string;
  readonly seconds: number;
}

function read() {
  try {
    const { values } = parseArgs({
      options: {
        runtime: { type: "string" },
        case: { type: "string" },
        quick: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    const given = values.runtime ?? (values.quick ? "node" : undefined);
    const runtimes = RUNTIMES.filter((name) =>
      given === undefined || given.split(",").includes(name)
    );
    const cases = CASES.filter(({ id }) =>
      values.case === undefined || id === values.case
    );
    const slow = SLOW_CASES.filter(({ id }) =>
      values.case === undefined || id === values.case
    );
    if (runtimes.length === 0) {
      throw new Error(`Cannot run: unknown runtime ${given}`);
    }
    if (cases.length + slow.length === 0) {
      throw new Error(`Cannot run: unknown case ${values.case}`);
    }
    const pause = values.quick ? QUICK_PAUSE : PAUSE;
    return { runtimes, cases, slow, pause, help: values.help };
  } catch (error) {
    usage((error as Error).message, TEXT);
  }
}

/** Runs one case on one runtime. */
async function runCase(each: Case, runtime: Runtime): Promise<Row> {
  const began = performance.now();
  const server = new Child<Report>(
    runtime,
    import.meta.resolve("./memory/server.ts"),
    each.id,
  );
  const address = Promise.withResolvers<{ host: string; port: number }>();
  let [most, last, peak, read, readAt] = [0, 0, 0, 0, 0];
  let ended: Record<string, number> = {};
  const over = server.listen((report) => {
    if ("address" in report) address.resolve(report.address);
    else if ("rss" in report) {
      peak = Math.max(peak, report.rss);
      most = Math.max(most, report.held);
      last = report.held;
      if (report.read !== read) readAt = performance.now();
      read = report.read;
    } else {
      ended = report.ended;
      return true;
    }
    return false;
  });
  const { host, port } = await Promise.race([
    address.promise,
    over.then(() =>
      Promise.reject(new Error("the server exited before it listened"))
    ),
  ]);
  let sent = 0;
  let failed = false;
  // Always on Node: the server is what is measured.
  const attack = new Child<{ sent: number }>(
    "node",
    import.meta.resolve("./memory/attack.ts"),
    ...[each.id, host, String(port)],
  );
  try {
    await attack.listen((report) => {
      sent = report.sent;
      return true;
    });
    const doneAt = performance.now();
    while (
      performance.now() - Math.max(doneAt, readAt) < QUIET &&
      performance.now() - began < LIMIT
    ) await new Promise((resolve) => setTimeout(resolve, 50));
    await Promise.all([server.stop(), over]);
  } catch (error) {
    // The server may have run out of memory.
    ended = { [(error as Error).message]: 1 };
    failed = true;
  } finally {
    await Promise.all([server.stop(), attack.stop()]);
  }
  const held = each.idle ? last : most;
  return {
    each,
    bound: each.bound,
    runtime,
    sent,
    held,
    rss: peak,
    ok: !failed && held <= each.bound,
    ended: Object.entries(ended).map((pair) => pair.join(" ")).join(", "),
    seconds: (performance.now() - began) / 1000,
  };
}

/** Runs one case over a WebSocket on one runtime, and returns a row for each end. */
async function runSlow(
  each: SlowCase,
  runtime: Runtime,
  pause: number,
): Promise<Row[]> {
  const began = performance.now();
  const file = import.meta.resolve("./memory/slow_peer.ts");
  const sides: Record<Side, { held: number; rss: number }> = {
    client: { held: 0, rss: 0 },
    server: { held: 0, rss: 0 },
  };
  const note = (side: Side, { held, rss }: { held: number; rss: number }) => {
    const most = sides[side];
    most.held = Math.max(most.held, held);
    most.rss = Math.max(most.rss, rss);
  };
  const args = [each.id, String(pause)];
  const server = new Child<SlowReport>(runtime, file, "server", ...args);
  let client: Child<SlowReport> | undefined;
  let sent = 0;
  let ended = "";
  try {
    const url = Promise.withResolvers<string>();
    const over = server.listen((report) => {
      if ("url" in report) url.resolve(report.url);
      else if ("held" in report) note("server", report);
      return false;
    });
    over.catch(url.reject);
    client = new Child(runtime, file, "client", ...args, await url.promise);
    await client.listen((report) => {
      if ("held" in report) note("client", report);
      if (!("received" in report)) return false;
      sent = report.received;
      return true;
    });
  } catch (error) {
    // An end may have run out of memory.
    ended = (error as Error).message;
  } finally {
    await Promise.all([server.stop(), client?.stop()]);
  }
  const seconds = (performance.now() - began) / 1000;
  return (["client", "server"] as const).map((side) => ({
    ...{ each: { id: each.id, title: `${side} of ${each.title}` }, runtime },
    ...{ bound: each.bounds[side], sent, ...sides[side], ended, seconds },
    ok: ended === "" && sides[side].held <= each.bounds[side],
  }));
}

const mb = (bytes: number) => (bytes / 1e6).toFixed(bytes < 1e6 ? 2 : 0);

function line(cells: readonly string[]): string {
  const widths = [12, 8, 9, 9, 10, 4, 8, 6];
  return cells.map((cell, i) => {
    const width = widths[i] ?? 0;
    return i < 2 || i === 5 || i > 7
      ? cell.padEnd(width)
      : cell.padStart(width);
  }).join(" ");
}

await tool(async () => {
  const { runtimes, cases, slow, pause, help } = read();
  if (help) return console.log(TEXT);
  const head = ["case", "runtime", "sent, MB", "held, MB", "bound, MB", "ok"];
  console.log(line([...head, "RSS, MB", "s", "what; how connections ended"]));
  let failed = 0;
  const print = (row: Row) => {
    const { each, runtime, sent, held, bound, rss, ok, ended, seconds } = row;
    if (!ok) failed++;
    const sizes = [sent, held, bound].map(mb);
    const cells = [each.id, runtime, ...sizes, ok ? "yes" : "NO", mb(rss)];
    const what = `${each.title}; ${ended || "none"}`;
    console.log(line([...cells, seconds.toFixed(1), what]));
  };
  for (const each of cases) {
    for (const runtime of runtimes) print(await runCase(each, runtime));
  }
  for (const each of slow) {
    for (const runtime of runtimes) {
      for (const row of await runSlow(each, runtime, pause)) print(row);
    }
  }
  if (failed > 0) process.exitCode = 1;
});
