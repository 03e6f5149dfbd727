/**
 * The client of a limit, in a process of its own: `client.ts ORDER`.
 *
 * @module
 */

import process from "node:process";
import { parentDone, sendToParent } from "../demo/parent.ts";
import { cpuSeconds, Peak } from "../demo/usage.ts";
import type { Result, ResultOrFault } from "../rows.ts";
import { LIMITS, type LimitStyle, type LimitWork } from "./styles.ts";

/** The options of the client: its only argument, as JSON. */
export interface ClientOrder extends LimitWork {
  readonly style: LimitStyle;
  readonly port: number;
}

async function run(order: ClientOrder): Promise<Result> {
  const peak = new Peak();
  let cpu = 0;
  let began = 0;
  const calls = await LIMITS[order.style](order.port, order, () => {
    cpu = cpuSeconds();
    began = performance.now();
  });
  const seconds = (performance.now() - began) / 1000;
  cpu = cpuSeconds() - cpu;
  return { calls, seconds, cpu, peak: peak.megabytes() };
}

if (import.meta.main) {
  parentDone().then(() => process.exit());
  try {
    sendToParent(
      await run(JSON.parse(process.argv[2])) satisfies ResultOrFault,
    );
  } catch (error) {
    const fault = error instanceof Error ? error.message : String(error);
    sendToParent({ fault } satisfies ResultOrFault);
  }
}
