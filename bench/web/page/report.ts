/// <reference lib="dom" />
/// <reference lib="dom.iterable" />

/**
 * The texts of the page: the facts of each lane, the outcomes, the status.
 *
 * The summaries for screen readers change at most every {@linkcode SUMMARY} ms, and
 * when a run is over.
 *
 * @module
 */

import type { Outcome } from "../../../mod.ts";
import { type Lane, LANES } from "../services.ts";
import { latencies, OUTCOMES, percentile } from "./call_log.ts";
import type { Action, LaneRun, Run, Settings } from "./run.ts";
import { duration, grouped, ratio } from "./scale.ts";
import { OUTCOME_NAMES } from "./timeline.ts";

/** Milliseconds between two summaries of a running lane. */
const SUMMARY = 4000;

const NAMES: Record<Lane, string> = {
  sync: "One at a time",
  tasks: "64 at a time",
  pipelined: "Pipelined",
};

const ACTIONS: Record<Action, string> = {
  abort: "All calls were aborted",
  cut: "The connections were cut",
  drain: "The servers were drained",
};

/** How each part of a call's time is named, and when it ends. */
const PARTS = [
  ["waited", "made", "sent"],
  ["request", "sent", "started"],
  ["handler", "started", "ended"],
  ["reply", "ended", "done"],
] as const;

const MEANING: Record<Outcome, string> = {
  executed: "its handler ran",
  refused: "the server did not start it",
  not_sent: "it never left the page",
  unknown: "it may have run",
};

function get(selector: string): HTMLElement {
  return document.querySelector<HTMLElement>(selector)!;
}

/** Changes a text only if it differs, so that screen readers do not repeat it. */
function write(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** The places of one lane's texts. */
class LaneFacts {
  readonly #lane: Lane;
  readonly #section: HTMLElement;
  readonly #row: HTMLTableRowElement;
  #summarized = -Infinity;

  constructor(lane: Lane, table: HTMLTableSectionElement) {
    this.#lane = lane;
    this.#section = get(`[data-lane=${lane}]`);
    this.#row = table.insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = NAMES[lane];
    this.#row.append(head);
    for (const column of [...OUTCOMES, "not_made"]) {
      const cell = this.#row.insertCell();
      cell.dataset.column = column;
      cell.append(document.createElement("b"), document.createElement("small"));
    }
  }

  /** @param times How many times as fast as one call at a time it is. */
  show(lane: LaneRun, now: number, times: string): void {
    const { log } = lane;
    const sorted = latencies(log);
    const rate = `${grouped(lane.rate(now))}/s`;
    const [p50, p99] = [0.5, 0.99].map((p) => duration(percentile(sorted, p)));
    this.#write("time", duration(lane.elapsed(now)));
    this.#write("ratio", times);
    this.#write(
      "answered",
      `${grouped(log.answered)} of ${grouped(log.calls)}`,
    );
    this.#write("rate", rate);
    this.#write("latency", `latency p50 ${p50}, p99 ${p99}`);
    this.#section.querySelector("progress")!.value = log.answered / log.calls;
    this.#outcomes(lane);
    const time = performance.now();
    if (lane.running && time - this.#summarized < SUMMARY) return;
    this.#summarized = time;
    this.#write(
      "summary",
      `${NAMES[this.#lane]}: ${grouped(log.answered)} of ` +
        `${grouped(log.calls)} calls answered ` +
        `${lane.running ? "so far" : `in ${duration(log.last)}`}, ${rate}.`,
    );
  }

  restart(): void {
    this.#summarized = performance.now();
  }

  #write(name: string, text: string): void {
    write(this.#section.querySelector(`[data-is=${name}]`)!, text);
  }

  #outcomes({ log, ran }: LaneRun): void {
    const counts: Record<string, number> = {
      ...log.outcomes,
      not_made: log.calls - log.count,
    };
    for (const cell of this.#row.cells) {
      const { column } = cell.dataset;
      if (column === undefined) continue;
      const count = counts[column];
      cell.classList.toggle("zero", count === 0);
      write(cell.children[0], grouped(count));
      const known = ran !== undefined && count > 0 && column !== "not_made";
      write(
        cell.children[1],
        known ? `${grouped(howManyRan(log.outcome, ran, column))} ran` : "",
      );
    }
  }
}

function howManyRan(
  outcomes: readonly (Outcome | undefined)[],
  ran: readonly boolean[],
  which: string,
): number {
  return outcomes.filter((outcome, i) => outcome === which && ran[i]).length;
}

/** All texts. */
export class Report {
  readonly #facts: readonly LaneFacts[];
  readonly #status = get("#status");
  #gone = false;
  /** The run whose end was told. */
  #told: Run | undefined;

  constructor() {
    const table = document.querySelector("tbody")!;
    this.#facts = LANES.map((lane) => new LaneFacts(lane, table));
  }

  starting({ calls, rtt, payload, handler }: Settings): void {
    const bold = (text: string) => {
      const element = document.createElement("b");
      element.textContent = text;
      return element;
    };
    const size = payload < 1024 ? `${payload} bytes` : `${payload / 1024} KiB`;
    get("#what").replaceChildren(
      "The same ",
      bold(`${grouped(calls)} calls`),
      ` of ${size} in three ways. Round trip `,
      bold(`${rtt} ms`),
      handler === 0 ? "." : `, handlers about ${handler} ms.`,
    );
    this.#say("Connecting …");
  }

  started(run: Run): void {
    for (const facts of this.#facts) facts.restart();
    this.#say(`Running. ${measured(run)}`);
  }

  changed(): void {
    this.#say("Settings changed: run again to use them.");
  }

  failed(error: unknown): void {
    this.#say(
      `The run failed: ${error instanceof Error ? error.message : error}`,
    );
  }

  gone(): void {
    this.#say(
      "The process that served this page has ended. Start it again, and reload.",
    );
    this.#gone = true;
  }

  replaying(on: boolean): void {
    write(get("#replay"), on ? "Stop slow motion" : "Slow motion");
  }

  show(run: Run): void {
    const now = run.now();
    const rate = (lane: Lane) => run.lane(lane).rate(now);
    for (const [k, facts] of this.#facts.entries()) {
      const lane = run.lanes[k];
      const compared = run.struck === undefined && lane.lane !== "sync";
      const times = compared ? ratio(lane.rate(now) / rate("sync")) : "";
      facts.show(lane, now, times);
    }
    const over = run.lanes.every(({ ran }) => ran !== undefined);
    if (run.struck === undefined) {
      this.#headline(ratio(rate("pipelined") / rate("sync")), [
        over ? "as fast, pipelined," : "as fast so far, pipelined,",
        "as one call at a time",
      ]);
    } else this.#struck(run, run.struck.action);
    if (over && run !== this.#told) this.#end(run);
    if (!over) write(get("#proof"), PROOF);
  }

  /** The numbers of one call, as text. */
  call(lane: LaneRun, i: number | undefined): string {
    const text = i === undefined ? HINT : describe(lane, i);
    write(get("#call"), text);
    return text;
  }

  #struck(run: Run, action: Action): void {
    const count = (outcome: Outcome) =>
      run.lanes.reduce((sum, { log }) => sum + log.outcomes[outcome], 0);
    const safe = count("refused") + count("not_sent");
    const unknown = count("unknown");
    this.#headline(grouped(safe), [
      "failed calls are safe to retry;",
      action === "abort" && unknown === 0
        ? "all others ran"
        : `${grouped(unknown)} may have run`,
    ]);
  }

  #headline(number: string, lines: readonly string[]): void {
    write(get("#times"), number);
    for (
      const [k, line] of document.querySelectorAll("#headline i").entries()
    ) {
      write(line, lines[k]);
    }
  }

  #end(run: Run): void {
    this.#told = run;
    const [sync, , pipelined] = run.lanes;
    const fault = run.lanes.find((lane) => lane.fault)?.fault;
    if (fault !== undefined) return this.failed(fault);
    if (run.struck === undefined) {
      this.#say(
        `Done: ${duration(pipelined.log.last)} pipelined, ` +
          `${duration(sync.log.last)} one at a time. ${measured(run)}`,
      );
      write(get("#proof"), PROOF);
      return;
    }
    const { action, at } = run.struck;
    this.#say(
      `${ACTIONS[action]} ${duration(at)} after the start; ` +
        `the window was ${grouped(run.settings.window)} calls. ` +
        `Run again to compare the lanes.`,
    );
    write(get("#proof"), proofOf(run));
  }

  #say(text: string): void {
    if (!this.#gone) write(this.#status, text);
  }
}

const HINT =
  "Point at a bar, or focus a timeline and use the arrow keys, to read one call.";

const PROOF =
  "Cut the connection or drain the server: every failed call then tells whether it may have run.";

function measured(run: Run): string {
  const rtt = run.lane("pipelined").client.connection.rtt ?? NaN;
  return `Measured round trip: ${duration(rtt)}.`;
}

/** Compares what the callers were told with the log of the server. */
function proofOf(run: Run): string {
  const ran = (outcome: Outcome) =>
    run.lanes.reduce(
      (sum, { log, ran }) => sum + howManyRan(log.outcome, ran ?? [], outcome),
      0,
    );
  const count = (outcome: Outcome) =>
    run.lanes.reduce((sum, { log }) => sum + log.outcomes[outcome], 0);
  const safe = count("refused") + count("not_sent");
  const unknown = count("unknown");
  const wrong = ran("refused") + ran("not_sent") +
    (count("executed") - ran("executed"));
  if (wrong > 0) return `The server’s log contradicts ${wrong} outcomes.`;
  const doubt = unknown === 0
    ? "No call is in doubt."
    : `Of ${grouped(unknown)} unknown calls, ${grouped(ran("unknown"))} ran.`;
  return `The server’s log agrees: of ${
    grouped(safe)
  } calls that were refused ` +
    `or not sent, none ran; all executed ones did. ${doubt}`;
}

function describe(lane: LaneRun, i: number): string {
  const { log, ran } = lane;
  const parts = PARTS.flatMap(([name, from, to]) => {
    const time = log[to][i] - log[from][i];
    return Number.isNaN(time) ? [] : [`${name} ${duration(Math.max(0, time))}`];
  });
  const outcome = log.outcome[i];
  const took = duration(log.done[i] - log.made[i]);
  const end = log.ok[i]
    ? `answered after ${took}`
    : outcome === undefined
    ? "no answer yet"
    : `${OUTCOME_NAMES[outcome][1]} after ${took}: ${MEANING[outcome]}` +
      (ran !== undefined && outcome === "unknown"
        ? `; by the server’s log it ${ran[i] ? "did" : "did not"}`
        : "");
  return `${NAMES[lane.lane]}, call ${i + 1}: ${[...parts, end].join(", ")}.`;
}
