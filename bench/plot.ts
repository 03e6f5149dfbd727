/**
 * Draws the results of `bench:e2e --json` as SVG.
 *
 * @module
 */

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { cpus, platform, release, totalmem } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { text } from "node:stream/consumers";
import { parseArgs } from "node:util";
import { currentBin, versionOf } from "../tools/floors.ts";
import { ROOT, tool, usage } from "../tools/process.ts";
import { loadCanvas } from "./plot/library.ts";
import { PLOTS } from "./plot/plots.ts";
import { type Point, readPoints } from "./plot/rows.ts";

const USAGE = `Usage: deno task bench:plot [options] [FILE...]

Draws the rows that bench:e2e --json printed into the files, or into standard
input. Of rows with the same settings, the medians are drawn. A plot that no
row belongs to is left out.

  --out DIR        folder for the pictures (docs/performance)
  --machine TEXT   the machine and runtimes that were measured (these)
  --help           print this`;

function options() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        out: { type: "string", default: join(ROOT, "docs", "performance") },
        machine: { type: "string" },
        help: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

async function readAll(files: readonly string[]): Promise<string> {
  if (files.length === 0) return await text(process.stdin);
  const texts = files.map((file) => readFile(file, "utf8"));
  return (await Promise.all(texts)).join("\n");
}

/** This machine, and the versions of the runtimes that were measured. */
async function thisMachine(points: readonly Point[]): Promise<string> {
  const runtimes = [...new Set(points.map(({ runtime }) => runtime))];
  const versions = await Promise.all(
    runtimes.map((runtime) => versionOf(runtime, currentBin(runtime))),
  );
  const cores = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  const machine = `${cores.length} x ${cores[0]?.model.trim() ?? "CPU"}, ` +
    `${memory} GiB, ${platform()} ${release().split("-")[0]}`;
  return [machine, ...versions].join("; ");
}

async function main(): Promise<void> {
  const { values, positionals } = options();
  if (values.help) return console.log(USAGE);
  const points = readPoints(await readAll(positionals));
  if (points.length === 0) throw new Error("Cannot draw: no row of bench:e2e");
  const machine = values.machine ?? await thisMachine(points);
  const canvas = await loadCanvas();
  await mkdir(values.out, { recursive: true });
  for (const { file, title, of, draw } of PLOTS) {
    const own = points.filter(of);
    if (own.length === 0) continue;
    const sizes = new Set(own.map(({ payload }) => payload));
    const size = sizes.size === 1 ? `${own[0].payload}-byte calls; ` : "";
    const subtitle = size + machine;
    await writeFile(
      join(values.out, file),
      draw(canvas, own, { title, subtitle }),
    );
    console.log(file);
  }
}

if (import.meta.main) await tool(main);
