/**
 * Runs the conformance suite of the native protocol over TCP, against any server
 * or client, or (without arguments) against this library's own on every runtime.
 * `docs/conformance.md` says which services the program under test must have.
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
  --listen PORT     test clients that connect to this port; 0 picks a free one
  --only ID         run only cases whose id starts with ID, such as FR2
  --verbose         also print cases that pass
  --help            print this

Without HOST:PORT and --listen it tests this library's server and client on
Node, Bun and Deno, all at once.`;

/** Milliseconds in which the library's own client must run the whole suite. */
const RUN_LIMIT = 120_000;

interface Options {
  only: string;
  verbose: boolean;
}

let failed = false;

/** Runs all cases of a target. Prints the cases that fail, how many are skipped for each reason, and a line of counts. */
async function runSuite(
  name: string,
  target: Target,
  { only, verbose }: Options,
): Promise<void> {
  const began = performance.now();
  const reasons = new Map<string, number>();
  const lines: string[] = [];
  const report = ({ id, about }: Case, { result, why }: CaseResult) => {
    if (result === "skipped") reasons.set(why, (reasons.get(why) ?? 0) + 1);
    if (result === "passed" && !verbose) return;
    lines.push(`${result} ${id} ${about}${why && `\n  ${why}`}`);
  };
  const { passed, failed: faults, skipped } = await runAll(
    target,
    only,
    report,
  );
  for (const [why, count] of reasons) lines.push(`${count} skipped: ${why}`);
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  lines.push(
    `${name}: ${passed} passed, ${faults} failed, ${skipped} skipped (${seconds} s)`,
  );
  // All at once: other targets may be printing, too.
  console.log(lines.join("\n"));
  if (faults > 0 || passed === 0) failed = true;
}

/** Tests the library's own server on one runtime. */
async function ownServer(runtime: Runtime, options: Options): Promise<void> {
  const args = scriptArgs(runtime, "tests/conformance/serve.ts");
  const child = start(currentBin(runtime), args);
  try {
    const { host, port } = address(await listening(child));
    await runSuite(`server on ${runtime}`, serverAt(host, port), options);
  } finally {
    kill(child);
  }
}

/** Tests the library's own client on one runtime. */
async function ownClient(runtime: Runtime, options: Options): Promise<void> {
  const clients = await ClientsAt.listen(0);
  const args = scriptArgs(runtime, "tests/conformance/client.ts");
  const ended = run(currentBin(runtime), [...args, clients.address], {
    timeout: RUN_LIMIT,
  });
  await clients.first();
  await runSuite(`client on ${runtime}`, clients, options);
  await clients.close();
  const { fault, output } = await ended;
  if (fault === "") return;
  failed = true;
  console.log(`client on ${runtime}: ${fault}\n${output}`);
}

/** Tests clients that connect to a port. */
async function anyClient(port: number, options: Options): Promise<void> {
  const clients = await ClientsAt.listen(port);
  console.log(`listening on ${clients.address}`);
  await clients.first();
  await runSuite("client", clients, options);
  await clients.close();
}

function address(text: string): { host: string; port: number } {
  const found = /^(.+):(\d{1,5})$/.exec(text);
  if (found === null) usage(`Cannot test ${text}: it is not HOST:PORT`, USAGE);
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
  if (positionals.length > 1) {
    usage(`Cannot test ${positionals.length} servers at once`, USAGE);
  }
  if (values.listen !== undefined) {
    await anyClient(Number(values.listen), values);
  } else if (positionals.length === 1) {
    const { host, port } = address(positionals[0]);
    await runSuite("server", serverAt(host, port), values);
  } else {
    // The suite mostly waits for silence, so all runtimes take little more time than one.
    await Promise.all(RUNTIMES.flatMap((runtime) => [
      ownServer(runtime, values),
      ownClient(runtime, values),
    ]));
  }
  if (failed) process.exitCode = 1;
}

if (import.meta.main) await tool(main);
