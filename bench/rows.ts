/**
 * The results of measurements, as rows.
 *
 * @module
 */

/** Bytes of a chunk, or of a payload, that is echoed in bulk. */
export const CHUNK = 64 * 1024;

/** Styles that echo chunks of that size. */
const ECHOES = ["bulk", "websocket"];

/** What the work of a client took: CPU in seconds, the peak of its memory in MB. */
export interface Result {
  readonly calls: number;
  readonly seconds: number;
  readonly cpu: number;
  readonly peak: number;
}

/** The last message of a client. */
export type ResultOrFault = Result | { readonly fault: string };

/** One line of `--json`. */
export interface Row {
  readonly peer: string;
  readonly style: string;
  readonly runtime: string;
  readonly calls: number;
  readonly seconds: number;
  readonly calls_per_s: number;
  readonly cpu_s: number;
  readonly rss_mb: number;
  /** Only of styles that echo chunks: MB (10^6 bytes) a second that came back. */
  readonly mb_per_s?: number;
}

/** Makes a row of a result. */
export function toRow(
  peer: string,
  style: string,
  runtime: string,
  { calls, seconds, cpu, peak }: Result,
): Row {
  const row = {
    peer,
    style,
    runtime,
    calls,
    seconds: round(seconds, 4),
    calls_per_s: round(calls / seconds, 1),
    cpu_s: round(cpu, 4),
    rss_mb: round(peak, 1),
  };
  if (!ECHOES.includes(style)) return row;
  return { ...row, mb_per_s: round(calls * CHUNK / seconds / 1e6, 1) };
}

function round(n: number, digits: number): number {
  return Number(n.toFixed(digits));
}
