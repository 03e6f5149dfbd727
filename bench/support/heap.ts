/**
 * The memory that a process holds after a garbage collection, on every runtime and
 * without flags.
 *
 * @module
 */

import process from "node:process";
import v8 from "node:v8";
import vm from "node:vm";

/** The global of Bun; undefined on other runtimes. */
const bun = (globalThis as { Bun?: { gc(force: boolean): void } }).Bun;

/** Runs one collection. */
export const collectOnce: () => void = bun === undefined
  ? exposed()
  : () => void bun.gc(true);

function exposed(): () => void {
  v8.setFlagsFromString("--expose-gc");
  return vm.runInNewContext("gc");
}

/** Runs several collections with turns of the event loop between them, because some memory is freed in steps. */
export async function collect(): Promise<void> {
  for (let i = 0; i < 4; i++) {
    collectOnce();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Bytes of live objects and of the array buffers they hold, after a collection. */
export async function liveBytes(): Promise<number> {
  await collect();
  if (bun === undefined) {
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  }
  const jsc: { heapStats(): { heapSize: number } } = await import(
    "bun:jsc" as string
  );
  return jsc.heapStats().heapSize;
}

/** Bytes of memory this process occupies, after a collection. */
export async function residentBytes(): Promise<number> {
  await collect();
  return process.memoryUsage().rss;
}
