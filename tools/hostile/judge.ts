/**
 * Checks whether a server under attack kept its promises, and prints the figures.
 *
 * @module
 */

import type { HonestResult } from "./honest.ts";
import { KINDS } from "./kinds.ts";
import { LIMITS, memoryBound } from "./limits.ts";
import type { KindResult } from "./peers.ts";

/** The measurements of a run. */
export interface Run {
  readonly options: {
    readonly peers: number;
    readonly silent: number;
    readonly rate: number;
    readonly seconds: number;
    readonly timeout: number;
    readonly clients: number;
    readonly runtime: string;
  };
  /** Calls a second that the honest clients reached before the attack. */
  readonly capacity: number;
  /** The server's memory before the attack, in bytes. */
  readonly before: number;
  /** Seconds of CPU that the server took under attack. */
  readonly cpu: number;
  readonly worst: {
    readonly rss: number;
    readonly running: number;
    readonly buffered: number;
    readonly connections: number;
  };
  readonly served: HonestResult;
  readonly kinds: readonly KindResult[];
  /** How connections ended, as the server counts them. */
  readonly ended: Readonly<Record<string, number>>;
}

/** Lists what is wrong. */
export function judge(run: Run): string[] {
  return [
    ...honestFaults(run.served),
    ...limitFaults(run),
    ...run.kinds
      .flatMap((kind) => kindFaults(kind, run.options.seconds)),
  ];
}

function honestFaults(served: HonestResult): string[] {
  const faults: string[] = [];
  const { made, inTime, wrong, failed, lost } = served;
  if (made === 0 || inTime < made / 2) {
    faults.push(`only ${inTime} of ${made} honest calls came back in time`);
  }
  if (wrong > 0) faults.push(`${wrong} honest calls got a wrong answer`);
  if (lost > 0) faults.push(`${lost} honest connections were closed`);
  for (const [code, count] of Object.entries(failed)) {
    faults.push(`${count} honest calls failed: ${code}`);
  }
  return faults;
}

function limitFaults({ worst, before, options }: Run): string[] {
  const faults: string[] = [];
  const check = (what: string, value: number, most: number) => {
    if (value > most) faults.push(`${what}: ${value}, at most ${most}`);
  };
  const { peers, silent, clients } = options;
  const bound = memoryBound(peers, silent + clients);
  check("running handlers", worst.running, LIMITS.maxTotalRunning);
  const slack = 16_384 * (peers + clients);
  check("buffered bytes", worst.buffered, LIMITS.maxTotalBuffered + slack);
  check("bytes of memory", worst.rss - before, bound);
  return faults;
}

function kindFaults(
  { name, dials, ended }: KindResult,
  seconds: number,
): string[] {
  const kind = KINDS.find((kind) => kind.name === name);
  if (kind === undefined || kind.deaf) return [];
  const faults: string[] = [];
  const { ends, may } = kind;
  for (const [code, count] of Object.entries(ended)) {
    if (code !== ends && code !== may) {
      faults.push(`${name}: ${count} closed, ${code}`);
    }
  }
  const times = (ended[ends ?? ""] ?? 0) / dials;
  // Each may have dialled just before the end.
  if (ends !== undefined && seconds >= 12 && times < 0.4) {
    faults.push(`${name}: of ${dials} connections not half were closed`);
  }
  return faults;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}

function counts(record: Readonly<Record<string, number>>): string {
  const all = Object.entries(record).map(([code, n]) => `${n} ${code}`);
  return all.join(", ") || "none closed";
}

/** Prints a run; the last line has the figures. */
export function printRun(run: Run, faults: readonly string[]): void {
  const { options, capacity, served, kinds, worst, before, cpu, ended } = run;
  for (const { name, dials, bytes, ended } of kinds) {
    console.log(
      `${name.padEnd(18)} ${dials} dials, ${bytes} bytes: ${counts(ended)}`,
    );
  }
  console.log(`ends counted by the server: ${counts(ended)}`);
  for (const fault of faults.slice(0, 20)) console.error(fault);
  const { peers, silent, rate, seconds, timeout, runtime } = options;
  const share = (100 * served.inTime / served.made).toFixed(1);
  console.log(
    `${peers} hostile peers of ${rate} bytes/s and ${silent} silent ones, ` +
      `${seconds} s on ${runtime}: ` +
      `${served.inTime} of ${served.made} honest calls (${share} %) in time ` +
      `(${timeout} ms, median ${served.p50.toFixed(1)}, p99 ${
        served.p99.toFixed(1)
      }) ` +
      `at ${Math.round(served.made / served.seconds)} a second of ${
        Math.round(capacity)
      }; ` +
      `at most ${worst.connections} connections, ${worst.running} handlers, ` +
      `${megabytes(worst.buffered)} buffered, ` +
      `${megabytes(worst.rss - before)} more memory, ` +
      `${cpu.toFixed(1)} s of CPU; ` +
      `${faults.length} disagreements`,
  );
}
