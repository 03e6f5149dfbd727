/**
 * Runs `tests/leak/shared_signal.ts` on every runtime: `leak.ts [CALLS [SEED]]`.
 *
 * @module
 */

import process from "node:process";
import { currentBin, type Runtime, RUNTIMES } from "./floors.ts";
import { run, tool } from "./process.ts";

const SCRIPT = "tests/leak/shared_signal.ts";

/** How each runtime runs the script with its collector in reach. */
const ARGS: Record<Runtime, string[]> = {
  node: ["--expose-gc", SCRIPT],
  bun: [SCRIPT],
  deno: ["run", "-A", "--v8-flags=--expose-gc", SCRIPT],
};

await tool(async () => {
  let failed = 0;
  for (const runtime of RUNTIMES) {
    const args = [...ARGS[runtime], ...process.argv.slice(2)];
    const result = await run(currentBin(runtime), args, { timeout: 180_000 });
    console.log(`${runtime}: ${result.output.trim()}`);
    if (!result.ok) failed++;
  }
  if (failed > 0) process.exitCode = 1;
});
