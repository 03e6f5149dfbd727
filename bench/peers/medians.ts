/**
 * The medians of the rows of all rounds, their ratios, and the targets.
 *
 * @module
 */

import { RUNTIMES } from "../demo/runtimes.ts";
import type { Row } from "../rows.ts";
import { JS_PEERS } from "./entries.ts";

/** The median of a peer's rows in one style, on one runtime. */
export interface Median extends Row {
  /** CPU microseconds for a call, of the client's process. */
  readonly cpu_us: number;
  /** The lowest and highest rate of the rounds. */
  readonly span: readonly [number, number];
}

/** One target, and the result on each runtime. */
export interface Target {
  readonly what: string;
  /** Its text, such as "at least 12 x". */
  readonly goal: string;
  /** The values by runtime, in order; undefined where there is none. */
  readonly values: readonly (number | undefined)[];
  readonly met: readonly boolean[];
}

/** A limit below this many times Go's pipeline on Node would flatter the library. */
const FAST_ENOUGH = { raw: 40, promise: 14 };

/** Medians of rows. */
export class Medians {
  readonly all: readonly Median[];
  readonly #byKey: Map<string, Median>;

  constructor(rows: readonly Row[]) {
    const groups = Map.groupBy(rows, key);
    this.#byKey = new Map();
    for (const [key, group] of groups) this.#byKey.set(key, toMedian(group));
    this.all = [...this.#byKey.values()];
  }

  get(peer: string, style: string, runtime: string): Median | undefined {
    return this.#byKey.get(key({ peer, style, runtime }));
  }

  /** Rows of one style, the fastest first. */
  style(style: string): Median[] {
    return this.all.filter((row) => row.style === style)
      .sort((a, b) => b.calls_per_s - a.calls_per_s);
  }

  /** The JavaScript peer that is fastest in the pipeline style. */
  get fastestJs(): Median | undefined {
    const names = new Set<string>(JS_PEERS);
    return this.style("pipeline").find(({ peer }) => names.has(peer));
  }

  /** How many times Go's pipeline a limit is on Node. */
  overGo(limit: keyof typeof FAST_ENOUGH): number | undefined {
    return ratio(
      this.get("limit", limit, "node")?.calls_per_s,
      this.get("go", "pipeline", "go")?.calls_per_s,
    );
  }

  /** Whether the limits are fast enough for a comparison. */
  get limitsHold(): boolean {
    return (this.overGo("raw") ?? 0) >= FAST_ENOUGH.raw &&
      (this.overGo("promise") ?? 0) >= FAST_ENOUGH.promise;
  }

  targets(): Target[] {
    const rate = (peer: string, style: string) => (runtime: string) =>
      this.get(peer, style, peer === "go" ? "go" : runtime)?.calls_per_s;
    const cost = (peer: string, style: string) => (runtime: string) =>
      this.get(peer, style, peer === "go" ? "go" : runtime)?.cpu_us;
    const limit = (style: string) => (runtime: string) =>
      this.limitsHold ? rate("limit", style)(runtime) : undefined;
    const js = this.fastestJs;
    return [
      target(
        "pipeline: calls/s over Go's",
        12,
        rate("sluice", "pipeline"),
        rate("go", "pipeline"),
      ),
      target(
        `pipeline: calls/s over ${js?.peer ?? "the fastest JavaScript peer"}'s`,
        4,
        rate("sluice", "pipeline"),
        () => js?.calls_per_s,
      ),
      target(
        "pipeline: share of the limit with a promise a call",
        0.75,
        rate("sluice", "pipeline"),
        limit("promise"),
      ),
      target(
        "pipeline: CPU of the client a call, over Go's",
        -0.15,
        cost("sluice", "pipeline"),
        cost("go", "pipeline"),
      ),
      target(
        "concurrent: calls/s over Go's",
        3,
        rate("sluice", "concurrent"),
        rate("go", "concurrent"),
      ),
      target(
        "gob pipeline: our client on Go's server, over Go's client on it",
        1,
        rate("sluice-to-go", "pipeline"),
        rate("go", "pipeline"),
      ),
      target(
        "gob pipeline: Go's client on our server, over it on Go's",
        1,
        rate("go-to-sluice", "pipeline"),
        rate("go", "pipeline"),
      ),
      target(
        "sync: share of a ping-pong over bare Web Streams",
        0.85,
        rate("sluice", "sync"),
        limit("webstreams"),
      ),
      target(
        "bulk: share of a plain socket's",
        0.7,
        rate("sluice", "bulk"),
        limit("bulk"),
      ),
    ];
  }
}

/** A negative goal is an upper bound. */
function target(
  what: string,
  goal: number,
  over: (runtime: string) => number | undefined,
  under: (runtime: string) => number | undefined,
): Target {
  const values = RUNTIMES.map((name) => ratio(over(name), under(name)));
  const most = goal < 0;
  return {
    what,
    goal: most ? `at most ${-goal}` : `at least ${goal}`,
    values,
    met: values.map((value) =>
      value !== undefined && (most ? value <= -goal : value >= goal)
    ),
  };
}

function ratio(over?: number, under?: number): number | undefined {
  return over === undefined || under === undefined ? undefined : over / under;
}

function key(row: Pick<Row, "peer" | "style" | "runtime">): string {
  return `${row.peer} ${row.style} ${row.runtime}`;
}

function toMedian(rows: readonly Row[]): Median {
  const [{ peer, style, runtime }] = rows;
  const of = (field: (row: Row) => number) => median(rows.map(field));
  const rates = rows.map((row) => row.calls_per_s);
  const all = {
    peer,
    style,
    runtime,
    calls: of((row) => row.calls),
    seconds: of((row) => row.seconds),
    calls_per_s: of((row) => row.calls_per_s),
    cpu_s: of((row) => row.cpu_s),
    rss_mb: of((row) => row.rss_mb),
    cpu_us: of((row) => row.cpu_s / row.calls * 1e6),
    span: [Math.min(...rates), Math.max(...rates)] as const,
  };
  if (style !== "bulk") return all;
  return { ...all, mb_per_s: of((row) => row.mb_per_s!) };
}

function median(numbers: number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[middle];
  return (sorted[middle - 1] + sorted[middle]) / 2;
}
