/**
 * Measures the costs that have a target: the memory of a pending call, one more
 * call among many, abort, idle connections, chunks written, and the gain of
 * pipelining over a slow network. Each is measured in new processes, and printed
 * beside its target. A missed target is not an error; a wrong reply is.
 *
 * @module
 */

import { tool } from "../tools/process.ts";
import { COSTS } from "./costs/costs.ts";
import { findings } from "./support/findings.ts";

const ABOUT =
  `Measures single costs, each in processes of its own, and prints them beside
their targets.`;

if (import.meta.main) {
  await tool(() => findings("bench:costs", ABOUT, COSTS));
}
