/**
 * Compares the library with other RPC libraries and with the physical limits, in
 * one run. Each round measures everything once, so that other work of the machine
 * affects all of them alike. Every reply is checked.
 *
 * @module
 */

import { rm } from "node:fs/promises";
import process from "node:process";
import { parseArgs } from "node:util";
import { tool, usage } from "../tools/process.ts";
import { type Runtime, RUNTIMES } from "./demo/runtimes.ts";
import {
  entries,
  FULL,
  type PeerName,
  PEERS,
  QUICK,
  type Size,
  SMOKE,
} from "./peers/entries.ts";
import { Medians } from "./peers/medians.ts";
import {
  available,
  buildGo,
  GO_PEERS,
  installPackages,
} from "./peers/needs.ts";
import { type Origin, writePage } from "./peers/page.ts";
import { report } from "./peers/report.ts";
import type { Row } from "./rows.ts";

const USAGE = `Usage: deno task bench:peers [options]

Measures the library and its peers (${PEERS.join(", ")}),
client and server in processes of their own, in three styles each, and prints
medians and ratios. Slow peers make fewer calls.

  --only NAMES      only these, separated by commas
  --rounds N        number of rounds (${FULL.rounds})
  --quick           fewer calls: less than 5 minutes on 2 cores
  --smoke           very few calls of everything: shows that it works
  --runtime NAME    ${
  RUNTIMES.join(", ")
}: runtime of the JavaScript peers (node);
                    the library and the limits always run on all three
  --json            print one line of JSON for each result, and nothing else
  --write           write tables and plot into docs/performance.md
  --help            print this`;

interface Options {
  readonly names: ReadonlySet<PeerName>;
  readonly size: Size;
  readonly peerRuntime: Runtime;
  readonly smoke: boolean;
  readonly json: boolean;
  readonly write: boolean;
  readonly help: boolean;
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      only: { type: "string", default: PEERS.join(",") },
      rounds: { type: "string" },
      quick: { type: "boolean", default: false },
      smoke: { type: "boolean", default: false },
      runtime: { type: "string", default: "node" },
      json: { type: "boolean", default: false },
      write: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const { smoke, json, write, help, rounds } = values;
  const size = smoke ? SMOKE : values.quick ? QUICK : FULL;
  return {
    names: new Set(
      values.only.split(",").map((name) => oneOf("only", name, PEERS)),
    ),
    size: rounds === undefined ? size : { ...size, rounds: whole(rounds) },
    peerRuntime: oneOf("runtime", values.runtime, RUNTIMES),
    smoke,
    json,
    write,
    help,
  };
}

function oneOf<T extends string>(
  option: string,
  text: string,
  names: readonly T[],
): T {
  const found = names.find((name) => name === text);
  if (found !== undefined) return found;
  throw new Error(
    `Cannot use --${option}: expected ${names.join(", ")}, received "${text}"`,
  );
}

function whole(text: string): number {
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text);
  throw new Error(
    `Cannot use --rounds: expected a whole number from 1 to 9999, received "${text}"`,
  );
}

function options(): Options {
  try {
    return readOptions();
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

async function main(): Promise<void> {
  const chosen = options();
  if (chosen.help) return console.log(USAGE);
  const { names, versions } = await available(chosen.names);
  if (names.size === 0) throw new Error("Cannot measure: no peer is left");
  await installPackages(names);
  const usesGo = GO_PEERS.some((name) => names.has(name));
  const go = usesGo ? await buildGo() : undefined;
  let rows: Row[];
  try {
    rows = await runAll({ ...chosen, names }, go?.program ?? "");
  } finally {
    if (go !== undefined) await rm(go.dir, { recursive: true });
  }
  if (chosen.smoke) return console.error(`${rows.length} results, all right`);
  const medians = new Medians(rows);
  if (!chosen.json) console.log(`\n${report(medians)}`);
  if (chosen.write) await writePage(medians, origin(chosen, versions));
}

async function runAll(
  { names, size, peerRuntime, json }: Options,
  goPeer: string,
): Promise<Row[]> {
  const rows: Row[] = [];
  const list = entries(names, size, { peerRuntime, goPeer });
  for (let round = 1; round <= size.rounds; round++) {
    for (const { peer, style, runtime, run } of list) {
      const name = `${peer} ${style} on ${runtime}`;
      const row = await run().catch((cause) => {
        throw new Error(`${name}: ${(cause as Error).message}`, { cause });
      });
      rows.push(row);
      if (json) console.log(JSON.stringify(row));
      else console.error(`${round}/${size.rounds} ${name}: ${rate(row)}`);
    }
  }
  return rows;
}

function rate({ calls_per_s, mb_per_s }: Row): string {
  return mb_per_s === undefined
    ? `${Math.round(calls_per_s).toLocaleString("en-US")} calls/s`
    : `${Math.round(mb_per_s).toLocaleString("en-US")} MB/s`;
}

function origin({ size }: Options, versions: string[]): Origin {
  const args = ["deno task bench:peers", ...process.argv.slice(2)];
  return { command: args.join(" "), rounds: size.rounds, versions };
}

if (import.meta.main) await tool(main);
