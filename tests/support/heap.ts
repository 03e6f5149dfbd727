/**
 * What a process holds, once the collector has taken what it may.
 *
 * @module
 */

import process from "node:process";
import { collect } from "./collect.ts";

/** A process's memory, in bytes. */
export interface Memory {
  /** The live heap, and what it holds outside of itself. */
  readonly live: number;
  /** Pages that the system has given to the process. */
  readonly rss: number;
}

/** How often the collector is asked: finalizers and compiled code go late. */
const COLLECTIONS = 5;

/** Collects, then measures. */
export async function memory(): Promise<Memory> {
  for (let i = 0; i < COLLECTIONS; i++) {
    await collect();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return await memoryNow();
}

/** Measures as it is, garbage included. */
export async function memoryNow(): Promise<Memory> {
  const { heapUsed, external, rss } = process.memoryUsage();
  if (!("Bun" in globalThis)) return { live: heapUsed + external, rss };
  // Its heap's size has what the heap holds outside of itself in it already.
  const jsc: {
    heapStats(): { heapSize: number };
  } = await import("bun:jsc" as string);
  return { live: jsc.heapStats().heapSize, rss };
}

/** A number of bytes in MB, for people. */
export function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(2);
}
