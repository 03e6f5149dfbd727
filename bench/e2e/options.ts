/**
 * The end-to-end benchmark's command line.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { type Runtime, RUNTIMES } from "../demo/runtimes.ts";
import { choices, decimal, wholes } from "../support/options.ts";

/** How the client reaches the server. */
export const TRANSPORTS = ["tcp", "unix", "ws", "stdio", "memory"] as const;

/** The name of a transport. */
export type Transport = typeof TRANSPORTS[number];

/** Number of calls in flight; "unlimited" is as many as the window allows. */
export type Depth = number | "unlimited";

/** The text of `--help`. */
export const USAGE = `Usage: deno task bench:e2e [options]

Echoes bytes between a client and a server, each in a process of its own (over
memory: both in one), checks every reply, and prints rate and latency.

  --runtime LIST    some of ${RUNTIMES.join(", ")} (all)
  --transport LIST  some of ${TRANSPORTS.join(", ")} (all)
  --depth LIST      calls in flight: whole numbers, or "unlimited" for
                    what the window admits (1,8,64,512,unlimited)
  --payload LIST    bytes of each call and reply, from 4 to 1048576
                    (16,256,4096,65536,1048576)
  --rtt LIST        milliseconds of network latency to add, there and back (0)
  --seconds N       of measuring for each row (1)
  --quick           a few short rows: shows that it works, not how fast
  --json            print one line of JSON for each row, and nothing else
  --help            print this`;

/** The options of the command line. */
export interface Options {
  readonly runtimes: readonly Runtime[];
  readonly transports: readonly Transport[];
  readonly depths: readonly Depth[];
  readonly payloads: readonly number[];
  readonly rtts: readonly number[];
  readonly seconds: number;
  readonly json: boolean;
  readonly help: boolean;
}

/** The defaults with `--quick`. */
const QUICK = { depth: "64,unlimited", payload: "16,65536", seconds: "0.05" };
const FULL = {
  depth: "1,8,64,512,unlimited",
  payload: "16,256,4096,65536,1048576",
  seconds: "1",
};

/**
 * Reads the command line.
 *
 * @throws {Error} If an option is wrong.
 */
export function readOptions(args?: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      runtime: { type: "string", default: RUNTIMES.join() },
      transport: { type: "string", default: TRANSPORTS.join() },
      depth: { type: "string" },
      payload: { type: "string" },
      rtt: { type: "string", default: "0" },
      seconds: { type: "string" },
      quick: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const defaults = values.quick ? QUICK : FULL;
  const { depth, payload, seconds } = { ...defaults, ...values };
  return {
    runtimes: choices("runtime", values.runtime, RUNTIMES),
    transports: choices("transport", values.transport, TRANSPORTS),
    depths: depth.split(",").map(toDepth),
    payloads: wholes("payload", payload, 4, 1 << 20),
    rtts: values.rtt.split(",").map((ms) => decimal("rtt", ms, 60_000)),
    seconds: decimal("seconds", seconds, 3600),
    json: values.json,
    help: values.help,
  };
}

function toDepth(text: string): Depth {
  return text === "unlimited" ? text : wholes("depth", text, 1, 1 << 20)[0];
}
