/**
 * The runtimes that tools start: the current ones, pinned in `package.json` (Deno
 * is the one that runs the task), and the floors, which are the oldest supported
 * versions, pinned in `tools/floors/package.json` and installed on first use.
 *
 * @module
 */

import { join } from "node:path";
import process from "node:process";
import { ROOT, run } from "./process.ts";
import { ensureInstalled } from "./setup.ts";

/** A runtime by name. */
export type Runtime = "node" | "bun" | "deno";

/** All runtimes, in the order in which they run. */
export const RUNTIMES: readonly Runtime[] = ["node", "bun", "deno"];

/** The path of a current runtime's executable. */
export function currentBin(runtime: Runtime): string {
  return runtime === "deno" ? process.execPath : binIn(ROOT, runtime);
}

/** The path of a floor runtime's executable, installed if need be. */
export async function floorBin(runtime: Runtime): Promise<string> {
  const dir = join(ROOT, "tools", "floors");
  await ensureInstalled(dir);
  return binIn(dir, runtime);
}

/** The arguments that make a runtime run a TypeScript file. */
export function scriptArgs(runtime: Runtime, file: string): string[] {
  return runtime === "deno" ? ["run", "-A", file] : [file];
}

/** The version that an executable reports, like `node 1.2.3`. */
export async function versionOf(
  runtime: Runtime,
  bin: string,
): Promise<string> {
  const { output } = await run(bin, ["--version"], { timeout: 60_000 });
  return `${runtime} ${/\d+\.\d+\.\d+/.exec(output)?.[0] ?? "unknown"}`;
}

function binIn(dir: string, runtime: Runtime): string {
  return join(dir, "node_modules", ".bin", runtime);
}
