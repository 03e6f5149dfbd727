/**
 * Garbage collection on demand, and the memory that a process holds after it,
 * on every runtime.
 *
 * @module
 */

import process from "node:process";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { turn } from "./clock.ts";

const gc = collector();

function collector(): () => void {
  const { Bun } = globalThis as { Bun?: { gc(force: boolean): void } };
  if (Bun !== undefined) return () => Bun.gc(true);
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as () => void;
}

/** Collects all garbage and runs the finalizers of what was collected. */
export async function collect(): Promise<void> {
  for (let i = 0; i < 4; i++) {
    await turn();
    gc();
  }
  await turn();
}

/** A process's memory, in bytes. */
export interface Memory {
  /** The live heap, and what it holds outside of itself. */
  readonly live: number;
  /** Resident memory: the pages that the system has given to the process. */
  readonly rss: number;
}

/** One collection is not enough: finalizers and compiled code are freed late. */
const COLLECTIONS = 5;

/** Collects garbage, then measures. */
export async function memory(): Promise<Memory> {
  for (let i = 0; i < COLLECTIONS; i++) {
    await collect();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return await memoryNow();
}

/** Measures without collecting: garbage counts. */
export async function memoryNow(): Promise<Memory> {
  const { heapUsed, external, rss } = process.memoryUsage();
  if (!("Bun" in globalThis)) return { live: heapUsed + external, rss };
  // The size of Bun's heap already contains what the heap holds outside of itself.
  const jsc: {
    heapStats(): { heapSize: number };
  } = await import("bun:jsc" as string);
  return { live: jsc.heapStats().heapSize, rss };
}

/** A number of bytes as megabytes, with two decimals. */
export function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(2);
}
