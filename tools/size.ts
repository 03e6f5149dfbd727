/**
 * Bundles the library for a browser, as a user would, and prints its size:
 * `deno task size [--max-client-gzip BYTES]`.
 *
 * Fails if the bundle needs anything that a browser lacks (esbuild resolves no
 * `node:` module for browsers), or if the client alone is larger than allowed
 * or carries what it does not use.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { ROOT, run, tool, usage } from "./process.ts";

const USAGE = `Usage: deno task size [options]

  --max-client-gzip BYTES    fail if the client is larger than this, gzipped
  --help                     print this`;

/** What the client alone should come to, gzipped: an aim, not a gate. */
const AIM = 7_000;

const ENTRIES = [
  { name: "jsonrpc", file: "jsonrpc.ts" },
  { name: "everything", file: "mod.ts" },
  { name: "netrpc", file: "netrpc.ts" },
  { name: "client only", file: "tools/size_client.ts" },
];

/** Texts of what only some programs use: the reconnecting client, middleware, services and their orders, hooks, channels and traces have no place in the client alone. */
const ABSENT = [
  ...["the dial did not finish", "its middleware may not go on"],
  ...["it contains itself", "Cannot order"],
  ...["Cannot observe", "node:diagnostics_channel", "traceparent"],
];
/** What shows that a wire is in a bundle; only its own may have it. */
const MARKS = [
  { name: "jsonrpc", mark: "$/cancelRequest" },
  { name: "netrpc", mark: "rpc: can't find service" },
  { name: "netrpc", mark: "/_goRPC_" },
];

interface Size {
  code: string;
  minified: number;
  gzipped: number;
}

async function bundle(file: string): Promise<Size> {
  const result = await run(
    join(ROOT, "node_modules", ".bin", "esbuild"),
    ["--bundle", "--minify", "--format=esm", "--log-level=warning", file],
    { timeout: 60_000 },
  );
  if (!result.ok) throw new Error(`Cannot bundle ${file}:\n${result.output}`);
  const code = Buffer.from(result.stdout);
  for (const { name, mark } of MARKS) {
    if (code.includes(mark) !== (file === `${name}.ts`)) {
      throw new Error(`The wire ${name} is not where it belongs: see ${file}`);
    }
  }
  return {
    code: result.stdout,
    minified: code.length,
    gzipped: gzipSync(code, { level: 9 }).length,
  };
}

function options(): { limit: number; help: boolean } {
  try {
    const { values } = parseArgs({
      options: {
        "max-client-gzip": { type: "string", default: "9000" },
        help: { type: "boolean", default: false },
      },
    });
    const limit = Number(values["max-client-gzip"]);
    if (!(limit > 0)) throw new Error("Cannot use a limit that is no number");
    return { limit, help: values.help };
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

async function main(): Promise<void> {
  const { limit, help } = options();
  if (help) return console.log(USAGE);
  const size = (bytes: number) => `${(bytes / 1000).toFixed(2)} kB`.padStart(9);
  let client = 0;
  let carried: string[] = [];
  for (const { name, file } of ENTRIES) {
    const { code, minified, gzipped } = await bundle(file);
    console.log(
      `${name.padEnd(12)}${size(minified)} minified${size(gzipped)} gzip`,
    );
    client = gzipped;
    carried = ABSENT.filter((text) => code.includes(text));
  }
  console.log(
    `client only: aim ${size(AIM).trim()}, limit ${size(limit).trim()}`,
  );
  if (carried.length > 0) {
    throw new Error(`The client alone carries ${JSON.stringify(carried)}`);
  }
  if (client <= limit) return;
  throw new Error(`The client is ${client - limit} bytes over its limit`);
}

if (import.meta.main) await tool(main);
