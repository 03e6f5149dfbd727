/**
 * A log of calls: what each caller received, what each handler saw, and whether
 * the two agree.
 *
 * It checks these rules:
 * - Every caller receives one reply or error, and the final outcome of its call
 *   is known at the end.
 * - `not_sent` and `refused`: the handler never ran. A reply: it ran exactly
 *   once, to its end. `executed`: it ran. `unknown`: it ran at most once. No
 *   handler runs twice.
 * - The final outcome never contradicts the one that the caller received: only
 *   `unknown` is refined, and never to `not_sent`, because the call was sent.
 *
 * @module
 */

import { type CallHandle, type Outcome, RpcError } from "../../mod.ts";

/** One call. */
export interface Entry {
  /** Its number, counted from 0 in the order in which calls are made. */
  readonly n: number;
  /** The connection and the side that made it: calls of one connection and direction have the same. */
  readonly link: string;
  readonly handle: CallHandle | undefined;
  /** The reply that is expected, as `show` writes it. If undefined, any reply is right. */
  readonly expected: string | undefined;
  /** The reply or error that its caller received. */
  received?: {
    readonly outcome: Outcome;
    /** `reply`, an error's code, or `aborted`. */
    readonly how: string;
    readonly value?: unknown;
  };
  /** The final outcome. */
  settled?: Outcome;
  /** How often its handler started, finished, and saw its signal fire. */
  started: number;
  finished: number;
  fired: number;
}

/** All calls of a test. */
export class CallLog {
  readonly entries: Entry[] = [];
  /** How many callers have received a reply or error, and how many final outcomes are known. */
  received = 0;
  settled = 0;
  /** Calls that may have changed since they were checked last. */
  readonly #watched = new Set<Entry>();
  /** Handlers of calls that carry no number, by link and id. */
  readonly #unnamed = new Map<string, { started: number; finished: number }>();
  /** Handlers that ran for no known call. */
  readonly #strays: string[] = [];

  /** The number of the next call. */
  get next(): number {
    return this.entries.length;
  }

  /** Adds a call: the handle that `go` returned, or the promise that `call` returned. `signal` is the signal that may abort it. */
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
      entry.received = { outcome: "executed", how: "reply", value };
    }, (error) => {
      entry.received = receivedError(entry, error, signal);
    }).then(() => {
      this.received++;
      if (handle === undefined) this.#settle(entry, entry.received?.outcome);
    });
    handle?.settled.then((outcome) => this.#settle(entry, outcome));
    return entry;
  }

  /** Records that a handler starts. `call` is its call's number; without one, `ctx.id` identifies the call. */
  started(call: number | undefined, link: string, ctx: Started): void {
    const entry = call === undefined ? undefined : this.entries[call];
    if (entry !== undefined) {
      entry.started++;
      this.#watched.add(entry);
      ctx.signal.addEventListener("abort", () => entry.fired++);
      return;
    }
    if (call !== undefined) {
      this.#strays.push(`a handler ran for call ${call}, which was never made`);
    }
    const key = `${link}#${ctx.id}`;
    const seen = this.#unnamed.get(key) ?? { started: 0, finished: 0 };
    seen.started++;
    this.#unnamed.set(key, seen);
  }

  /** Records that a handler has returned or thrown. */
  finished(call: number | undefined, link: string, id: number): void {
    const entry = call === undefined
      ? this.#unnamed.get(`${link}#${id}`)
      : this.entries[call];
    if (entry !== undefined) entry.finished++;
  }

  /** Calls whose caller still waits, or whose final outcome is not known. */
  open(): Entry[] {
    return this.entries.filter((e) => !e.received || e.settled === undefined);
  }

  /** Lists everything that is wrong at the end of a test. */
  problems(): string[] {
    const wrong = this.entries.flatMap((entry) => this.#judge(entry, true));
    return [...this.#strays, ...wrong];
  }

  /** Lists what is wrong already, of the calls that changed since this was asked last. */
  problemsSoFar(): string[] {
    const problems: string[] = [];
    for (const entry of this.#watched) {
      problems.push(...this.#judge(entry, false));
      const over = entry.received !== undefined && entry.settled !== undefined;
      if (over && entry.started === entry.finished) this.#watched.delete(entry);
    }
    return problems;
  }

  /**
   * Checks all rules at the end of a test.
   *
   * @throws {Error} With everything that is wrong.
   */
  check(): void {
    const problems = this.problems();
    if (problems.length > 0) throw new Error(problems.join("\n"));
  }

  #judge(entry: Entry, final: boolean): string[] {
    const wrong: string[] = [];
    const { received, settled, expected } = entry;
    const { started, finished } = this.#handlerOf(entry);
    if (started > 1) wrong.push(`ran ${started} times`);
    if (entry.fired > 1) wrong.push(`its signal fired ${entry.fired} times`);
    const known = settled ?? received?.outcome;
    if (known === "not_sent" || known === "refused") {
      if (started > 0) wrong.push(`${known}, but it ran`);
    }
    if (known === "executed" && started === 0) {
      wrong.push("executed, but it did not run");
    }
    if (received?.how === "reply") {
      if (finished !== 1) {
        wrong.push(`a reply, but its handler finished ${finished} times`);
      }
      if (expected !== undefined && show(received.value) !== expected) {
        wrong.push(`a reply of ${show(received.value)}, expected ${expected}`);
      }
    }
    if (received !== undefined && settled !== undefined) {
      const refined = received.outcome === "unknown" && settled !== "not_sent";
      if (received.outcome !== settled && !refined) {
        wrong.push(`received ${received.outcome}, settled ${settled}`);
      }
    }
    if (final && received === undefined) wrong.push("no reply or error");
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

/** The part of a handler's context that the log reads. */
interface Started {
  readonly id: number;
  readonly signal: AbortSignal;
}

function receivedError(
  entry: Entry,
  error: unknown,
  signal: AbortSignal | undefined,
): Entry["received"] {
  const abort = signal?.aborted === true && error === signal.reason;
  if (error instanceof RpcError && !abort) {
    return { outcome: error.outcome, how: error.code };
  }
  // The reason of an abort does not say what became of the call; the handle does.
  return { outcome: entry.handle?.outcome ?? "unknown", how: "aborted" };
}

/** A payload as text that can be compared. */
export function show(value: unknown): string {
  if (value instanceof Uint8Array) return `bytes:${[...value]}`;
  if (typeof value === "string") return `"${value}"`;
  return value === undefined ? "undefined" : JSON.stringify(value);
}
