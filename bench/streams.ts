/**
 * What streams cost that have a target: `stage()` beside a loop, bytes beside a
 * plain socket, calls beside bytes, and what very many or slow ones hold. Each
 * is measured in fresh processes.
 *
 * @module
 */

import { tool } from "../tools/process.ts";
import { STREAMS } from "./streams/costs.ts";
import { findings } from "./support/findings.ts";

const ABOUT =
  `Measures streams, each case in processes of its own, and prints what it
found beside the targets.`;

if (import.meta.main) {
  await tool(() => findings("bench:streams", ABOUT, STREAMS));
}
