/**
 * What a peer can make a server's process take: `deno task memory`. For each
 * case and runtime a server in a process of its own, and its hostile peers in
 * another.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { Child } from "../bench/demo/child.ts";
import { type Runtime, RUNTIMES } from "../bench/demo/runtimes.ts";
import { type Case, CASES } from "./memory/cases.ts";
import type { Told } from "./memory/server.ts";
import { tool, usage } from "./process.ts";

const TEXT = `Usage: deno task memory [options]

  --runtime NAMES  node, bun and deno, or some of them (default all)
  --case ID        one case, such as X16 (default all)
  --quick          Node alone: what CI runs
  --help           print this

Prints for each case what was sent; what the server held for it, garbage left
out, at its most (of X15 in the end); how much that may be; and by how much the
process grew, garbage included. Ends with 1 if one held more than it may.`;

/** Milliseconds without a further byte read after which an attack is over. */
const QUIET = 600;
/** Milliseconds that one may take in all. */
const LIMIT = 60_000;

interface Row {
  readonly each: Case;
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
    if (runtimes.length === 0) throw new Error(`Cannot run on ${given}`);
    if (cases.length === 0) throw new Error(`Cannot find case ${values.case}`);
    return { runtimes, cases, help: values.help };
  } catch (error) {
    usage((error as Error).message, TEXT);
  }
}

/** Runs one case on one runtime. */
async function runCase(each: Case, runtime: Runtime): Promise<Row> {
  const began = performance.now();
  const server = new Child<Told>(
    runtime,
    import.meta.resolve("./memory/server.ts"),
    each.id,
  );
  const address = Promise.withResolvers<{ host: string; port: number }>();
  let [most, last, peak, read, readAt] = [0, 0, 0, 0, 0];
  let ended: Record<string, number> = {};
  const over = server.listen((told) => {
    if ("address" in told) address.resolve(told.address);
    else if ("rss" in told) {
      peak = Math.max(peak, told.rss);
      most = Math.max(most, told.held);
      last = told.held;
      if (told.read !== read) readAt = performance.now();
      read = told.read;
    } else {
      ended = told.ended;
      return true;
    }
    return false;
  });
  const { host, port } = await Promise.race([
    address.promise,
    over.then(() => Promise.reject(new Error("the server did not listen"))),
  ]);
  let sent = 0;
  let failed = false;
  // The same on every runtime: what is measured is the server.
  const attack = new Child<{ sent: number }>(
    "node",
    import.meta.resolve("./memory/attack.ts"),
    ...[each.id, host, String(port)],
  );
  try {
    await attack.listen((told) => {
      sent = told.sent;
      return true;
    });
    const doneAt = performance.now();
    while (
      performance.now() - Math.max(doneAt, readAt) < QUIET &&
      performance.now() - began < LIMIT
    ) await new Promise((resolve) => setTimeout(resolve, 50));
    await Promise.all([server.stop(), over]);
  } catch (error) {
    // Its memory may have been too little for the attack.
    ended = { [(error as Error).message]: 1 };
    failed = true;
  } finally {
    await Promise.all([server.stop(), attack.stop()]);
  }
  const held = each.idle ? last : most;
  return {
    each,
    runtime,
    sent,
    held,
    rss: peak,
    ok: !failed && held <= each.bound,
    ended: Object.entries(ended).map((pair) => pair.join(" ")).join(", "),
    seconds: (performance.now() - began) / 1000,
  };
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
  const { runtimes, cases, help } = read();
  if (help) return console.log(TEXT);
  const head = ["case", "runtime", "sent, MB", "held, MB", "bound, MB", "ok"];
  console.log(line([...head, "RSS, MB", "s", "what; how connections ended"]));
  let failed = 0;
  for (const each of cases) {
    for (const runtime of runtimes) {
      const row = await runCase(each, runtime);
      const { sent, held, rss, ok, ended, seconds } = row;
      if (!ok) failed++;
      const sizes = [sent, held, each.bound].map(mb);
      const cells = [each.id, runtime, ...sizes, ok ? "yes" : "NO", mb(rss)];
      const what = `${each.title}; ${ended || "none"}`;
      console.log(line([...cells, seconds.toFixed(1), what]));
    }
  }
  if (failed > 0) process.exitCode = 1;
});
