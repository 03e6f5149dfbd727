/**
 * Compares the serializer `rich()` with others on the same values: the time to
 * encode to bytes and to decode them, and how many bytes they are.
 *
 * All are measured in each round, one after the other, in bursts of a few
 * milliseconds; the figure is the fastest burst, because what else the machine
 * does only makes one slower. A serializer that does not carry a value in full
 * is not measured on it.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { do_not_optimize } from "mitata";
import { describe } from "../tests/support/describe.ts";
import { tool, usage } from "../tools/process.ts";
import { command, OWN, type Runtime, RUNTIMES } from "./demo/runtimes.ts";
import { type Codec, CODECS } from "./serializers/codecs.ts";
import { VALUES } from "./serializers/values.ts";
import { choices } from "./support/options.ts";
import { round, short, table } from "./support/table.ts";

const USAGE = `Usage: deno task bench:serializers [options]

Compares rich() with JSON, superjson, devalue and the runtime's v8.serialize.

  --runtime NAMES   some of ${RUNTIMES.join(", ")}, one after the other (all)
  --only TEXT       only values whose name contains TEXT
  --quick           a few runs of each: shows that it works, not how fast
  --json            print one line of JSON for each result, and nothing else
  --help            print this`;

interface Options {
  readonly runtimes: readonly Runtime[];
  readonly only: string;
  readonly quick: boolean;
  readonly json: boolean;
  readonly help: boolean;
}

/** The result of one serializer on one value; one line of `--json`. */
interface Row {
  readonly peer: "serializer";
  readonly style: string;
  readonly codec: string;
  readonly runtime: string;
  readonly encode_ns: number;
  readonly decode_ns: number;
  readonly bytes: number;
  /** Time of both directions, over that of `rich()`. */
  readonly over_rich: number;
}

/** Code that is measured, and its fastest burst. */
interface Timed {
  readonly run: () => unknown;
  burst: number;
  best: number;
}

function time({ run, burst }: Timed): number {
  const began = performance.now();
  for (let i = 0; i < burst; i++) do_not_optimize(run());
  return performance.now() - began;
}

/** Makes bursts long enough for the clock. This also warms the code up. */
function calibrate(run: () => unknown, least: number): Timed {
  const timed = { run, burst: 1, best: Infinity };
  // A pause of one burst must not end it.
  while (Math.min(time(timed), time(timed), time(timed)) < least) {
    timed.burst *= 2;
  }
  return timed;
}

/** Whether a value arrives in full. */
function carries({ encode, decode }: Codec, value: unknown): boolean {
  try {
    return describe(decode(encode(value))) === describe(value);
  } catch {
    return false;
  }
}

function measureValue(style: string, value: unknown, quick: boolean): Row[] {
  const able = CODECS.filter((codec) => carries(codec, value));
  if (able[0] !== CODECS[0]) throw new Error(`rich() does not carry ${style}`);
  const least = quick ? 0.1 : 3;
  const timed = able.map(({ encode, decode }) => {
    const bytes = encode(value);
    const both = [() => encode(value), () => decode(bytes)];
    return both.map((run) => calibrate(run, least));
  });
  for (let i = 0; i < (quick ? 2 : 40); i++) {
    for (const each of timed.flat()) {
      each.best = Math.min(each.best, time(each) / each.burst);
    }
  }
  const sum = ([encode, decode]: Timed[]) => encode.best + decode.best;
  return able.map(({ name, encode }, i) => ({
    ...{ peer: "serializer", style, codec: name, runtime: OWN } as const,
    encode_ns: round(timed[i][0].best * 1e6, 1),
    decode_ns: round(timed[i][1].best * 1e6, 1),
    bytes: encode(value).length,
    over_rich: round(sum(timed[i]) / sum(timed[0]), 2),
  }));
}

function measureHere({ only, quick, json }: Options): void {
  const rows: Row[] = [];
  for (const [style, value] of Object.entries(VALUES)) {
    if (!style.includes(only)) continue;
    for (const row of measureValue(style, value, quick)) {
      if (json) console.log(JSON.stringify(row));
      rows.push(row);
    }
  }
  if (rows.length === 0) {
    throw new Error(`Cannot measure: no value contains "${only}"`);
  }
  if (json) return;
  const head = ["value", "serializer", "encode ns", "decode ns", "bytes"];
  const cells = rows.map((row) => [
    ...[row.style, row.codec, short(row.encode_ns), short(row.decode_ns)],
    ...[row.bytes.toLocaleString("en-US"), row.over_rich.toFixed(2)],
  ]);
  console.log(`${OWN} ${process.versions[OWN]}\n`);
  console.log(`${table([...head, "time / rich"], cells)}\n`);
}

/** Measures in a process of another runtime, which prints its own results. */
async function measureOn(runtime: Runtime): Promise<void> {
  const [program, args] = command(runtime, fileURLToPath(import.meta.url));
  const given = [...process.argv.slice(2), "--runtime", runtime];
  const child = spawn(program, [...args, ...given], { stdio: "inherit" });
  const [code, signal] = await once(child, "close");
  if (code !== 0) {
    throw new Error(`${runtime}: ${signal ?? `exit status ${code}`}`);
  }
}

function options(): Options {
  try {
    const { values } = parseArgs({
      options: {
        runtime: { type: "string", default: RUNTIMES.join() },
        only: { type: "string", default: "" },
        quick: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    const { runtime, ...others } = values;
    return { runtimes: choices("runtime", runtime, RUNTIMES), ...others };
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

async function main(): Promise<void> {
  const chosen = options();
  if (chosen.help) return console.log(USAGE);
  for (const runtime of chosen.runtimes) {
    const alone = chosen.runtimes.length === 1 && runtime === OWN;
    await (alone ? measureHere(chosen) : measureOn(runtime));
  }
}

if (import.meta.main) await tool(main);
