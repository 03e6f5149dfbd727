/**
 * The demo's command line.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { OWN, type Runtime, RUNTIMES } from "./runtimes.ts";

/** The text of `--help`. */
export const USAGE = `Usage: deno task demo [options]

Calls an echo server over one TCP connection in three styles, checks every
reply, and compares: sync (a loop that waits for each reply), concurrent (many
tasks that each wait), pipeline (a loop that waits only for room in the window).
Then makes chains of three calls, each of which needs the result of the one
before: by await, and by ref(). These have 10 ms of network if --rtt adds none.

  --calls N         number of calls of each style (524288); sync stops after 10 s
  --tasks N         number of tasks of the concurrent style (64); at most 1048576
  --runtime NAME    deno, bun or node, for client and server (${OWN})
  --rtt MS          network latency to add, there and back (0)
  --server ADDRESS  HOST:PORT of an echo server that is already running
  --json            print one line of JSON for each style and way of chaining
  --help            print this`;

/** The options of the command line. */
export interface Options {
  readonly calls: number;
  readonly tasks: number;
  readonly runtime: Runtime;
  readonly rtt: number;
  readonly server: Address | undefined;
  readonly json: boolean;
  readonly help: boolean;
}

/** Where a server listens. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** The default number of calls that may wait for the window. */
const MAX_TASKS = 1024 * 1024;
const MAX_CALLS = 1_000_000_000;
const MAX_RTT = 60_000;

/**
 * Reads the command line.
 *
 * @throws {Error} If an option is wrong.
 */
export function readOptions(args?: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      calls: { type: "string", default: "524288" },
      tasks: { type: "string", default: "64" },
      runtime: { type: "string", default: OWN },
      rtt: { type: "string", default: "0" },
      server: { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  return {
    calls: whole("calls", values.calls, MAX_CALLS),
    tasks: whole("tasks", values.tasks, MAX_TASKS),
    runtime: runtime(values.runtime),
    rtt: milliseconds("rtt", values.rtt),
    server: values.server === undefined ? undefined : toAddress(values.server),
    json: values.json,
    help: values.help,
  };
}

function whole(name: string, text: string, most: number): number {
  const n = Number(text);
  if (/^\d+$/.test(text) && n >= 1 && n <= most) return n;
  throw wrong(name, `a whole number from 1 to ${most}`, text);
}

function milliseconds(name: string, text: string): number {
  const ms = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && ms <= MAX_RTT) return ms;
  throw wrong(name, `milliseconds from 0 to ${MAX_RTT}`, text);
}

function runtime(text: string): Runtime {
  const found = RUNTIMES.find((name) => name === text);
  if (found !== undefined) return found;
  throw wrong("runtime", RUNTIMES.join(", "), text);
}

/** Reads `127.0.0.1:8848`, `[::1]:8848`. */
export function toAddress(text: string): Address {
  const [, host, digits] = /^\[?([^\]]+)\]?:(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  if (host !== undefined && port >= 1 && port <= 65_535) return { host, port };
  throw wrong("server", "HOST:PORT", text);
}

function wrong(name: string, expected: string, received: string): Error {
  return new Error(
    `Cannot use --${name}: expected ${expected}, received "${received}"`,
  );
}
