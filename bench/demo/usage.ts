/**
 * What a process has used: CPU time, and memory at its peak.
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
 * The most memory this process has ever held.
 *
 * Linux's own word is taken where there is one: its `maxRSS` starts with the
 * peak of whoever started the process. Elsewhere that is what there is, in KiB
 * on all three runtimes, or in bytes where one passes on macOS's number as it
 * is: what the process holds now tells which. Deno has it since 2.9; before,
 * the most that was seen by `sample` counts.
 */
export class Peak {
  #seen = 0;

  /** Looks; to be called now and then. */
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
    return undefined; // Not Linux, or not told.
  }
}

function maxRSS(seen: number): number | undefined {
  const { resourceUsage }: Partial<typeof process> = process;
  const number = resourceUsage?.().maxRSS;
  if (number === undefined) return undefined;
  return number >= seen / 2 ? number : number * 1024;
}
