/**
 * Aborts millions of calls on every runtime, and checks that nothing is left:
 * `deno task leak [ABORTED [SEED]]`. Both modes of `tests/leak/aborts.ts` run at
 * once, each in a process of its own.
 *
 * @module
 */

import process from "node:process";
import { currentBin, RUNTIMES, scriptArgs } from "./floors.ts";
import { run, tool } from "./process.ts";

const SCRIPT = "tests/leak/aborts.ts";
const MODES = ["shared", "separate"] as const;
const LIMIT = 600_000;

await tool(async () => {
  let failed = 0;
  for (const runtime of RUNTIMES) {
    const results = await Promise.all(MODES.map((mode) => {
      const args = [...scriptArgs(runtime, SCRIPT), mode];
      args.push(...process.argv.slice(2));
      return run(currentBin(runtime), args, { timeout: LIMIT });
    }));
    for (const result of results) {
      console.log(`${runtime}: ${result.output.trim()}`);
      if (result.ok) continue;
      console.log(result.fault);
      failed++;
    }
  }
  if (failed > 0) process.exitCode = 1;
});
