/** Garbage collection on demand, on every runtime. */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { turn } from "./clock.ts";

type Collector = () => void;

function collector(): Collector {
  const { Bun } = globalThis as { Bun?: { gc(force: boolean): void } };
  if (Bun !== undefined) return () => Bun.gc(true);
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as Collector;
}

const gc = collector();

/** Collects what nothing holds any more, finalizers included. */
export async function collect(): Promise<void> {
  for (let i = 0; i < 4; i++) {
    await turn();
    gc();
  }
  await turn();
}
