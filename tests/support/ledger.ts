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
export class CallLedger {
  readonly entries: Entry[] = [];
  /** Handlers of calls that carry no number, by link and id. */
  readonly #unnamed = new Map<string, { started: number; finished: number }>();
  /** Handlers that no call accounts for. */
  readonly #strays: string[] = [];

  /** The number of the next call. */
  get next(): number {
    return this.entries.length;
  }

  /** Enters a call that `go` made, or one that `call` made by its promise. */
  enter(
    link: string,
    made: CallHandle | Promise<unknown>,
    expected?: string,
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
    const reply = made instanceof Promise ? made : made.reply;
    reply.then((value) => {
      entry.told = { outcome: "executed", how: "reply", value };
    }, (error) => {
      entry.told = told(entry, error);
    }).then(() => {
      if (handle === undefined) entry.settled = entry.told?.outcome;
    });
    handle?.settled.then((outcome) => entry.settled = outcome);
    return entry;
  }

  /** A handler starts: by its call's number, or by its id where the call carries none. */
  started(call: number | undefined, link: string, ctx: Started): void {
    const entry = call === undefined ? undefined : this.entries[call];
    if (entry !== undefined) {
      entry.started++;
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

  /** What is wrong so far; with `final`, what has to be known by now too. */
  problems(final = true): string[] {
    const problems = final ? [...this.#strays] : [];
    for (const entry of this.entries) {
      for (const wrong of this.#judge(entry, final)) {
        problems.push(`call ${entry.n} (${entry.link}): ${wrong}`);
      }
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
    return wrong;
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

function told(entry: Entry, error: unknown): Entry["told"] {
  if (error instanceof RpcError) {
    return { outcome: error.outcome, how: error.code };
  }
  // An abort's own reason tells nothing; the handle does.
  return { outcome: entry.handle?.outcome ?? "unknown", how: "aborted" };
}

/** A payload in a form that can be compared. */
export function show(value: unknown): string {
  if (value instanceof Uint8Array) return `bytes:${[...value]}`;
  if (typeof value === "string") return `"${value}"`;
  return value === undefined ? "undefined" : JSON.stringify(value);
}
