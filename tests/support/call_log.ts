/**
 * The ledger: what each caller was told, what each handler saw, and whether
 * the two agree.
 *
 * The rules it checks:
 * - Every call is told once, and its final outcome is known at the end.
 * - `not_sent` and `refused`: the handler never ran. A reply: it ran exactly
 *   once, to its end. `executed`: it ran. `unknown`: at most once. Never twice.
 * - What was told before is never contradicted: only `unknown` is refined, and
 *   never to `not_sent`, as it was handed over.
 *
 * @module
 */

import { type CallHandle, type Outcome, RpcError } from "../../mod.ts";

/** What became of one call. */
export interface Entry {
  /** Its number, in the order of the calls. */
  readonly n: number;
  /** Who made it over what: calls of one connection and direction share it. */
  readonly link: string;
  readonly handle: CallHandle | undefined;
  /** What a reply must be, by `equal`; anything if undefined. */
  readonly expected: string | undefined;
  /** What its caller was told. */
  told?: {
    readonly outcome: Outcome;
    /** `reply`, an error's code, or `aborted`. */
    readonly how: string;
    readonly value?: unknown;
  };
  /** The final outcome. */
  settled?: Outcome;
  /** What its handler saw. */
  started: number;
  finished: number;
  fired: number;
}

/** All calls of a test. */
export class CallLog {
  readonly entries: Entry[] = [];
  /** How many callers were told, and how many final outcomes are known. */
  told = 0;
  settled = 0;
  /** Calls of which something may have changed since they were judged. */
  readonly #watched = new Set<Entry>();
  /** Handlers of calls that carry no number, by link and id. */
  readonly #unnamed = new Map<string, { started: number; finished: number }>();
  /** Handlers that no call accounts for. */
  readonly #strays: string[] = [];

  /** The number of the next call. */
  get next(): number {
    return this.entries.length;
  }

  /** Enters a call that `go` made, or one that `call` made by its promise; `signal` is one that may abort it. */
  enter(
    link: string,
    made: CallHandle | Promise<unknown>,
    expected?: string,
    signal?: AbortSignal,
  ): Entry {
    const handle = made instanceof Promise ? undefined : made;
    const entry: Entry = {
      n: this.entries.length,
      link,
      handle,
      expected,
      started: 0,
      finished: 0,
      fired: 0,
    };
    this.entries.push(entry);
    this.#watched.add(entry);
    const reply = made instanceof Promise ? made : made.reply;
    reply.then((value) => {
      entry.told = { outcome: "executed", how: "reply", value };
    }, (error) => {
      entry.told = told(entry, error, signal);
    }).then(() => {
      this.told++;
      if (handle === undefined) this.#settle(entry, entry.told?.outcome);
    });
    handle?.settled.then((outcome) => this.#settle(entry, outcome));
    return entry;
  }

  /** A handler starts: by its call's number, or by its id where the call carries none. */
  started(call: number | undefined, link: string, ctx: Started): void {
    const entry = call === undefined ? undefined : this.entries[call];
    if (entry !== undefined) {
      entry.started++;
      this.#watched.add(entry);
      ctx.signal.addEventListener("abort", () => entry.fired++);
      return;
    }
    if (call !== undefined) {
      this.#strays.push(`a handler ran for call ${call}, never made`);
    }
    const key = `${link}#${ctx.id}`;
    const seen = this.#unnamed.get(key) ?? { started: 0, finished: 0 };
    seen.started++;
    this.#unnamed.set(key, seen);
  }

  /** It has returned or thrown. */
  finished(call: number | undefined, link: string, id: number): void {
    const entry = call === undefined
      ? this.#unnamed.get(`${link}#${id}`)
      : this.entries[call];
    if (entry !== undefined) entry.finished++;
  }

  /** Calls whose caller waits, or whose final outcome is open. */
  open(): Entry[] {
    return this.entries.filter((e) => !e.told || e.settled === undefined);
  }

  /** What is wrong at the end. */
  problems(): string[] {
    const wrong = this.entries.flatMap((entry) => this.#judge(entry, true));
    return [...this.#strays, ...wrong];
  }

  /** What is wrong already, of the calls that moved since this was asked last. */
  problemsSoFar(): string[] {
    const problems: string[] = [];
    for (const entry of this.#watched) {
      problems.push(...this.#judge(entry, false));
      const over = entry.told !== undefined && entry.settled !== undefined;
      if (over && entry.started === entry.finished) this.#watched.delete(entry);
    }
    return problems;
  }

  /**
   * Checks that everybody was told the truth.
   *
   * @throws {Error} With everything that is wrong.
   */
  check(): void {
    const problems = this.problems();
    if (problems.length > 0) throw new Error(problems.join("\n"));
  }

  #judge(entry: Entry, final: boolean): string[] {
    const wrong: string[] = [];
    const { told, settled, expected } = entry;
    const { started, finished } = this.#handlerOf(entry);
    if (started > 1) wrong.push(`ran ${started} times`);
    if (entry.fired > 1) wrong.push(`its signal fired ${entry.fired} times`);
    const known = settled ?? told?.outcome;
    if (known === "not_sent" || known === "refused") {
      if (started > 0) wrong.push(`${known}, but it ran`);
    }
    if (known === "executed" && started === 0) wrong.push("executed, not run");
    if (told?.how === "reply") {
      if (finished !== 1) wrong.push(`a reply, but finished ${finished} times`);
      if (expected !== undefined && show(told.value) !== expected) {
        wrong.push(`a reply of ${show(told.value)}, expected ${expected}`);
      }
    }
    if (told !== undefined && settled !== undefined) {
      const refined = told.outcome === "unknown" && settled !== "not_sent";
      if (told.outcome !== settled && !refined) {
        wrong.push(`told ${told.outcome}, settled ${settled}`);
      }
    }
    if (final && told === undefined) wrong.push("never told");
    if (final && settled === undefined) wrong.push("never settled");
    return wrong.map((what) => `call ${entry.n} (${entry.link}): ${what}`);
  }

  #settle(entry: Entry, outcome: Outcome | undefined): void {
    entry.settled = outcome;
    this.settled++;
  }

  #handlerOf(entry: Entry): { started: number; finished: number } {
    const id = entry.handle?.id;
    if (id === undefined) return entry;
    return this.#unnamed.get(`${entry.link}#${id}`) ?? entry;
  }
}

/** What the ledger needs of a handler's context. */
interface Started {
  readonly id: number;
  readonly signal: AbortSignal;
}

function told(
  entry: Entry,
  error: unknown,
  signal: AbortSignal | undefined,
): Entry["told"] {
  const abort = signal?.aborted === true && error === signal.reason;
  if (error instanceof RpcError && !abort) {
    return { outcome: error.outcome, how: error.code };
  }
  // An abort's own reason tells nothing of the call; the handle does.
  return { outcome: entry.handle?.outcome ?? "unknown", how: "aborted" };
}

/** A payload in a form that can be compared. */
export function show(value: unknown): string {
  if (value instanceof Uint8Array) return `bytes:${[...value]}`;
  if (typeof value === "string") return `"${value}"`;
  return value === undefined ? "undefined" : JSON.stringify(value);
}
