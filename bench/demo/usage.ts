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
 * The most memory this process has ever held, in MB (10^6 bytes).
 *
 * Linux's own word is taken where there is one: its `maxRSS` starts with the
 * peak of whoever started the process. Elsewhere that is what there is; it is
 * KiB on all three runtimes, or bytes where a runtime passes on macOS's number
 * as it is, and either can be told by what the process holds now.
 */
export function peakMegabytes(): number {
  const now = process.memoryUsage().rss;
  const { maxRSS } = process.resourceUsage();
  const peak = linuxPeak() ?? (maxRSS >= now / 2 ? maxRSS : maxRSS * 1024);
  return Math.max(peak, now) / 1e6;
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
