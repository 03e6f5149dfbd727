/**
 * The runtimes that the demo's client and server run on.
 *
 * @module
 */

import { join } from "node:path";
import process from "node:process";
import { ROOT } from "../../tools/process.ts";

/** A runtime by name. */
export type Runtime = "deno" | "bun" | "node";

/** All runtimes. */
export const RUNTIMES: readonly Runtime[] = ["deno", "bun", "node"];

/** The runtime of this program. */
export const OWN: Runtime = process.versions.deno
  ? "deno"
  : process.versions.bun
  ? "bun"
  : "node";

/**
 * The command that runs a TypeScript file. This runtime is the executable of this
 * process; Bun and Node are the installed development packages; Deno is on the
 * PATH.
 */
export function command(runtime: Runtime, file: string): [string, string[]] {
  const args = runtime === "deno" ? ["run", "-A", file] : [file];
  if (runtime === OWN) return [process.execPath, args];
  if (runtime === "deno") return ["deno", args];
  return [join(ROOT, "node_modules", ".bin", runtime), args];
}
