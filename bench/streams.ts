/**
 * Measures the costs of streams that have a target: `stage()` compared with a loop,
 * bytes compared with a plain socket, calls beside a stream of bytes, and the
 * memory of very many or slow streams. Each is measured in new processes.
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
