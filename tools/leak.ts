/**
 * Runs `tests/leak/aborts.ts` on every runtime: `leak.ts [ABORTED [SEED]]`.
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
    for (const mode of MODES) {
      const args = [...scriptArgs(runtime, SCRIPT), mode];
      args.push(...process.argv.slice(2));
      const result = await run(currentBin(runtime), args, { timeout: LIMIT });
      console.log(`${runtime}: ${result.output.trim()}`);
      if (result.ok) continue;
      console.log(result.fault);
      failed++;
    }
  }
  if (failed > 0) process.exitCode = 1;
});
