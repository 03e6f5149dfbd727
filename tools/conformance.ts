/**
 * The conformance suite of the native wire, over TCP: against any server or
 * client, or (without arguments) against this library's own on every runtime.
 * docs/conformance.md says what the end under test has to offer.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import type { Case } from "../tests/conformance/case.ts";
import type { Target } from "../tests/conformance/session.ts";
import type { CaseResult } from "../tests/conformance/suite.ts";
import { ClientsAt, runAll, serverAt } from "../tests/conformance/tcp.ts";
import { currentBin, type Runtime, RUNTIMES, scriptArgs } from "./floors.ts";
import { kill, listening, run, start, tool, usage } from "./process.ts";

const USAGE = `Usage: deno task conformance [options] [HOST:PORT]

  HOST:PORT         the server under test
  --listen PORT     test clients that connect to this port; 0 takes a free one
  --only ID         run only cases whose id starts with this, as FR2
  --verbose         print cases that pass, too
  --help            print this

Without HOST:PORT and --listen: this library's server and client on Node, Bun
and Deno.`;

/** Milliseconds for a client of ours to run the whole suite. */
const RUN_LIMIT = 120_000;

interface Options {
  only: string;
  verbose: boolean;
}

let failed = false;

/** Runs all cases of a target, and prints what failed, what was skipped, why and how often, and a line of counts. */
async function judge(
  name: string,
  target: Target,
  { only, verbose }: Options,
): Promise<void> {
  const began = performance.now();
  const reasons = new Map<string, number>();
  const tell = ({ id, about }: Case, { result, why }: CaseResult) => {
    if (result === "skipped") reasons.set(why, (reasons.get(why) ?? 0) + 1);
    if (result === "passed" && !verbose) return;
    console.log(`${result} ${id} ${about}${why && `\n  ${why}`}`);
  };
  const { passed, failed: faults, skipped } = await runAll(target, only, tell);
  for (const [why, count] of reasons) console.log(`${count} skipped: ${why}`);
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  console.log(
    `${name}: ${passed} passed, ${faults} failed, ${skipped} skipped (${seconds} s)`,
  );
  if (faults > 0 || passed === 0) failed = true;
}

/** Our own server on one runtime. */
async function ownServer(runtime: Runtime, options: Options): Promise<void> {
  const args = scriptArgs(runtime, "tests/conformance/serve.ts");
  const child = start(currentBin(runtime), args);
  try {
    const { host, port } = address(await listening(child));
    await judge(`server on ${runtime}`, serverAt(host, port), options);
  } finally {
    kill(child);
  }
}

/** Our own client on one runtime. */
async function ownClient(runtime: Runtime, options: Options): Promise<void> {
  const clients = await ClientsAt.listen(0);
  const args = scriptArgs(runtime, "tests/conformance/client.ts");
  const ended = run(currentBin(runtime), [...args, clients.address], {
    timeout: RUN_LIMIT,
  });
  await clients.first();
  await judge(`client on ${runtime}`, clients, options);
  await clients.close();
  const { fault, output } = await ended;
  if (fault === "") return;
  failed = true;
  console.log(`client on ${runtime}: ${fault}\n${output}`);
}

/** Somebody's client. */
async function anyClient(port: number, options: Options): Promise<void> {
  const clients = await ClientsAt.listen(port);
  console.log(`listening on ${clients.address}`);
  await clients.first();
  await judge("client", clients, options);
  await clients.close();
}

function address(text: string): { host: string; port: number } {
  const found = /^(.+):(\d{1,5})$/.exec(text);
  if (found === null) usage(`not HOST:PORT: ${text}`, USAGE);
  return { host: found[1], port: Number(found[2]) };
}

function options() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        listen: { type: "string" },
        only: { type: "string", default: "" },
        verbose: { type: "boolean", default: false },
        help: { type: "boolean" },
      },
    });
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

async function main(): Promise<void> {
  const { values, positionals } = options();
  if (values.help) return console.log(USAGE);
  if (positionals.length > 1) usage("one server at a time", USAGE);
  if (values.listen !== undefined) {
    await anyClient(Number(values.listen), values);
  } else if (positionals.length === 1) {
    const { host, port } = address(positionals[0]);
    await judge("server", serverAt(host, port), values);
  } else {
    for (const runtime of RUNTIMES) {
      await ownServer(runtime, values);
      await ownClient(runtime, values);
    }
  }
  if (failed) process.exitCode = 1;
}

if (import.meta.main) await tool(main);
