/**
 * The resources that a process has used: CPU time and peak memory.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import process from "node:process";

/** CPU seconds of all threads of this process, user and system. */
export function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/**
 * The peak memory of this process.
 *
 * On Linux it is the number that the system keeps for the process, because `maxRSS`
 * starts with the peak of the parent process. Elsewhere it is `maxRSS`, in KiB, or
 * in bytes where a runtime passes on the number of macOS; the memory that the
 * process holds now shows which. Deno has `maxRSS` since 2.9; before, the largest
 * value that `sample` saw counts.
 */
export class Peak {
  #seen = 0;

  /** Measures once. Call it from time to time. */
  sample(): void {
    this.#seen = Math.max(this.#seen, process.memoryUsage().rss);
  }

  /** In MB, of 10^6 bytes. */
  megabytes(): number {
    this.sample();
    const bytes = linuxPeak() ?? maxRSS(this.#seen) ?? 0;
    return Math.max(bytes, this.#seen) / 1e6;
  }
}

function linuxPeak(): number | undefined {
  try {
    const status = readFileSync("/proc/self/status", "utf8");
    const kib = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1];
    return kib === undefined ? undefined : Number(kib) * 1024;
  } catch {
    return undefined; // Not Linux, or not readable.
  }
}

function maxRSS(seen: number): number | undefined {
  const { resourceUsage }: Partial<typeof process> = process;
  const number = resourceUsage?.().maxRSS;
  if (number === undefined) return undefined;
  return number >= seen / 2 ? number : number * 1024;
}
