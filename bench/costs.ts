/**
 * The single costs that have a target: memory of a pending call, one more call
 * among many, abort, idle connections, chunks written, and what pipelining is
 * worth where the network is slow. Each is measured in fresh processes, and
 * printed beside its target. A miss is not an error; a wrong reply is.
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
