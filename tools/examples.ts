/**
 * Runs every example on every runtime, each pair of a server and a client in all
 * nine combinations of runtimes, and the server of the page, which is built first:
 * `deno task examples [--floors] [NAME ...]`.
 *
 * An example passes if it exits with 0 by itself. A server prints
 * `listening on HOST:PORT` and serves until it gets SIGTERM.
 *
 * @module
 */

import type { ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import type { Services as PageServices } from "../examples/browser/server.ts";
import { Client, connect } from "../mod.ts";
import {
  currentBin,
  floorBin,
  type Runtime,
  RUNTIMES,
  scriptArgs,
  versionOf,
} from "./floors.ts";
import {
  kill,
  listening,
  ROOT,
  run,
  SERVER_LIMIT,
  start,
  tool,
  usage,
} from "./process.ts";
import { ensureInstalled } from "./setup.ts";

const USAGE = `Usage: deno task examples [options] [NAME ...]

  NAME        run only examples whose file name contains this
  --floors    also run them on the oldest supported versions
  --help      print this`;

/** A server and its client, which do not run alone. `address` is the argument with which the server picks a free port. */
interface Pair {
  name: string;
  server: string;
  client: string;
  address: string;
}

const PAIRS: Pair[] = [
  {
    name: "echo",
    server: "echo_server.ts",
    client: "echo_client.ts",
    address: "0",
  },
  {
    name: "go",
    server: "go_server.ts",
    client: "go_client.ts",
    address: "127.0.0.1:0",
  },
];

/** The folder of the page, whose server serves what `vite build` makes. */
const PAGE = "browser";

const APART = PAIRS.flatMap(({ server, client }) => [server, client]);

/** Milliseconds that one example may take. */
const RUN_LIMIT = 120_000;

/** One executable of one runtime. */
interface Host {
  runtime: Runtime;
  bin: string;
  label: string;
}

const tally = { passed: 0, failed: 0 };

function report(name: string, seconds: number, fault: string, output: string) {
  tally[fault ? "failed" : "passed"]++;
  const line = `${fault ? "FAILED" : "ok    "} ${name}`;
  console.log(`${line} (${seconds.toFixed(1)} s)${fault && `: ${fault}`}`);
  if (fault) console.log(output.trimEnd());
}

async function runExample(host: Host, file: string): Promise<void> {
  const args = scriptArgs(host.runtime, join("examples", file));
  const result = await run(host.bin, args, { timeout: RUN_LIMIT });
  report(
    `${file} on ${host.label}`,
    result.seconds,
    result.fault,
    result.output,
  );
}

async function runPair(pair: Pair, server: Host, client: Host): Promise<void> {
  const name = `${pair.name}: ${client.label} calls ${server.label}`;
  await runServer(name, server, pair.server, pair.address, (address) => {
    const args = scriptArgs(client.runtime, join("examples", pair.client));
    return run(client.bin, [...args, address], { timeout: RUN_LIMIT });
  });
}

/** Starts a server, uses it, and stops it. */
async function runServer(
  name: string,
  { bin, runtime }: Host,
  file: string,
  argument: string,
  use: (address: string) => Promise<{ fault: string; output: string }>,
): Promise<void> {
  const began = performance.now();
  const seconds = () => (performance.now() - began) / 1000;
  const args = scriptArgs(runtime, join("examples", file));
  const child = start(bin, [...args, argument]);
  try {
    const { fault, output } = await use(await listening(child));
    report(name, seconds(), fault || await stop(child), output);
  } catch (error) {
    report(name, seconds(), (error as Error).message, "");
  } finally {
    kill(child);
  }
}

/** Builds the page with Vite, and has the server of each host serve and answer it. */
async function runPage(on: Host[]): Promise<void> {
  const dir = join(ROOT, "examples", PAGE);
  await ensureInstalled(dir);
  const vite = join("node_modules", "vite", "bin", "vite.js");
  const node = currentBin("node");
  const built = await run(node, [vite, "build"], {
    cwd: dir,
    timeout: RUN_LIMIT,
  });
  report(`${PAGE}: vite build`, built.seconds, built.fault, built.output);
  if (!built.ok) return;
  for (const host of on) {
    const name = `${PAGE}: the page's files and calls, ${host.label}`;
    await runServer(name, host, join(PAGE, "server.ts"), "0", async (at) => {
      await usePage(at);
      return { fault: "", output: "" };
    });
  }
}

/** Loads what a browser would load, and makes the calls of the page. */
async function usePage(address: string): Promise<void> {
  const html = await text(`http://${address}/`);
  const [, script] = /<script [^>]*src="([^"]+)"/.exec(html) ?? [];
  if (!script) throw new Error(`the page has no script:\n${html}`);
  await text(`http://${address}${script}`);
  const duplex = await connect(`ws://${address}/rpc`);
  await using client = new Client<PageServices>(duplex);
  const reply = await client.call("Hello.greet", "Ada", { timeout: 5000 });
  if (reply !== "hello, Ada") throw new Error(`the server replied ${reply}`);
  const ticks = await client.call("Clock.ticks");
  for await (const tick of ticks) {
    if (tick.endsWith("Z")) return;
    throw new Error(`the time is ${tick}`);
  }
}

async function text(url: string): Promise<string> {
  const response = await fetch(url);
  const body = await response.text();
  if (response.ok) return body;
  throw new Error(`${url}: ${response.status} ${body}`);
}

/** Asks the server to stop. Returns the fault if it does not, or has exited before. */
function stop(child: ChildProcess): Promise<string> {
  if (child.exitCode !== null || child.signalCode !== null) {
    return Promise.resolve("the server ended early");
  }
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, SERVER_LIMIT, "the server did not stop");
    child.on("close", () => {
      clearTimeout(timer);
      resolve("");
    });
    kill(child, "SIGTERM");
  });
}

async function hosts(bin: (runtime: Runtime) => string | Promise<string>) {
  const found: Host[] = [];
  for (const runtime of RUNTIMES) {
    const path = await bin(runtime);
    found.push({ runtime, bin: path, label: await versionOf(runtime, path) });
  }
  return found;
}

/** The example files; of a folder its `main.ts`. */
async function examples(): Promise<string[]> {
  const entries = await readdir(join(ROOT, "examples"), {
    withFileTypes: true,
  });
  return entries
    .map((entry) =>
      entry.isDirectory() ? join(entry.name, "main.ts") : entry.name
    )
    .filter((file) => file.endsWith(".ts") && !APART.includes(file))
    .filter((file) => dirname(file) !== PAGE)
    .sort();
}

async function runAll(on: Host[], wanted: (file: string) => boolean) {
  for (const file of await examples()) {
    if (!wanted(file)) continue;
    const dir = dirname(file);
    const at = join(ROOT, "examples", dir);
    if (dir !== "." && existsSync(join(at, "package.json"))) {
      await ensureInstalled(at);
    }
    for (const host of on) await runExample(host, file);
  }
  for (const pair of PAIRS) {
    if (!wanted(pair.server) && !wanted(pair.client)) continue;
    for (const server of on) {
      for (const client of on) await runPair(pair, server, client);
    }
  }
  if (wanted(PAGE)) await runPage(on);
}

function options() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: { floors: { type: "boolean" }, help: { type: "boolean" } },
    });
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

async function main(): Promise<void> {
  const { values, positionals } = options();
  if (values.help) return console.log(USAGE);
  const wanted = (file: string) =>
    positionals.length === 0 || positionals.some((part) => file.includes(part));
  // One example starts an installed language server.
  await ensureInstalled(join(ROOT, "tests", "interop"));
  await runAll(await hosts(currentBin), wanted);
  if (values.floors) await runAll(await hosts(floorBin), wanted);
  console.log(`${tally.passed} passed, ${tally.failed} failed`);
  if (tally.passed + tally.failed === 0) {
    throw new Error(`No such example: ${positionals.join(" ")}`);
  }
  if (tally.failed > 0) process.exit(1);
}

if (import.meta.main) await tool(main);
