/**
 * Writes the results into `docs/performance.md`, between two comments, and the plot
 * into a file beside it.
 *
 * @module
 */

import { readFile, writeFile } from "node:fs/promises";
import { cpus, release, totalmem, type } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { currentBin, RUNTIMES, versionOf } from "../../tools/floors.ts";
import { ROOT, run } from "../../tools/process.ts";
import { Child } from "../demo/child.ts";
import type { Drawn, Point } from "./js/plot.ts";
import type { Medians } from "./medians.ts";
import { DIR } from "./needs.ts";
import { report } from "./report.ts";

const PAGE = join(ROOT, "docs", "performance.md");
const PLOT = "performance-peers.svg";
const BEGIN = "<!-- bench:peers -->";
const END = "<!-- /bench:peers -->";

/** How the figures were measured. */
export interface Origin {
  readonly command: string;
  readonly rounds: number;
  /** Versions of programs of the system. */
  readonly versions: readonly string[];
}

/**
 * Writes tables and plot.
 *
 * @throws {Error} If the page does not have the two comments.
 */
export async function writePage(
  medians: Medians,
  origin: Origin,
): Promise<void> {
  const page = await readFile(PAGE, "utf8");
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin) {
    throw new Error(`Cannot write ${PAGE}: no ${BEGIN} ... ${END} in it`);
  }
  await writeFile(join(ROOT, "docs", PLOT), await draw(medians));
  const text = [
    BEGIN,
    await provenance(origin),
    `![calls/s of every peer](${PLOT})`,
    report(medians),
    END,
  ].join("\n\n");
  const rest = page.slice(end + END.length);
  await writeFile(PAGE, page.slice(0, begin) + text + rest);
  await run(process.execPath, ["fmt", PAGE]);
}

async function provenance(origin: Origin): Promise<string> {
  const cores = cpus();
  const memory = (totalmem() / 1e9).toFixed(0);
  const versions = [...origin.versions];
  for (const runtime of RUNTIMES) {
    versions.push(await versionOf(runtime, currentBin(runtime)));
  }
  const { dependencies } = JSON.parse(
    await readFile(join(DIR, "package.json"), "utf8"),
  );
  for (const [name, version] of Object.entries(dependencies)) {
    versions.push(`${name} ${version}`);
  }
  return `Medians of ${origin.rounds} interleaved rounds, by \`${origin.command}\`.\n\n` +
    `- Machine: ${
      cores[0].model.trim()
    }, ${cores.length} cores, ${memory} GB, ${type()} ${release()}\n` +
    `- Versions: ${versions.join(", ")}`;
}

async function draw(medians: Medians): Promise<string> {
  const points: Point[] = medians.all
    .filter(({ peer, style }) => peer !== "limit" && style !== "bulk")
    .map(({ peer, style, runtime, calls_per_s }) => ({
      peer: peer.includes("sluice") ? `${peer} on ${runtime}` : peer,
      style,
      calls_per_s,
    }));
  const text = JSON.stringify(points);
  const child = new Child<Drawn>("node", "../peers/js/plot.ts", text);
  try {
    let svg = "";
    await child.listen((drawn) => (svg = drawn.svg) !== "");
    return svg + "\n";
  } finally {
    await child.stop();
  }
}
