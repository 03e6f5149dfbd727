/**
 * How a connection ends: every state of `docs/semantics.md`, and in each of
 * them everything that can happen next. A test for each cell.
 *
 * In each cell a server serves two calls of its peer, of which one runs and
 * one waits to be started, and has made a call of its own. The peer reads, and
 * does no more than the state and the event say.
 */

import { assertEquals } from "@std/assert";
import { test } from "node:test";
import type { CallHandle, Frame } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { faceServer, type FacingServer, greet } from "../support/facing.ts";
import { assertNothingLeft } from "../support/pair.ts";
import {
  goaway,
  isWarning,
  KIND,
  last,
  readCode,
  reply,
  request,
  warning,
} from "../support/raw_peer.ts";
import { Held } from "../support/services.ts";

/** One connection that is closing. */
class Cell {
  readonly held = new Held();
  readonly facing: FacingServer = faceServer({
    ...this.held.services,
    Big: { make: () => "x".repeat(200_000) },
  }, { keepaliveTime: Infinity, maxRunning: 1 });
  ours!: CallHandle;
  readonly heard: string[] = [];

  get peer() {
    return this.facing.peer;
  }

  get connection() {
    return this.facing.connection;
  }

  async begin(reads = true): Promise<void> {
    this.peer.answersWarning = false;
    await greet(this.facing);
    if (reads) this.#listen();
    this.ours = this.connection.go("their.method");
    await this.peer.send(request(1, "Held.work"), request(2, "Held.work"));
    await settle();
  }

  async #listen(): Promise<void> {
    let got: Required<Frame> | undefined;
    try {
      while ((got = await this.peer.next()) !== undefined) {
        if (got.kind !== KIND.REQUEST) this.heard.push(told(got));
      }
      this.heard.push("FIN");
    } catch {
      this.heard.push("reset");
    }
  }

  /** The peer's last calls are answered, and so is the local call. */
  async finish(): Promise<void> {
    await this.peer.send(reply(this.ours.id as number)).catch(ignore);
    for (let i = 0; i < 2; i++) {
      this.held.release("done");
      await settle();
    }
  }

  /** Its state, and what the handler has noticed. */
  now(): string {
    const { signal, draining } = this.held.calls[0].ctx;
    const told = signal.aborted ? "lost" : draining.aborted ? "told" : "runs";
    return `${this.connection.stats().state}, ${told}`;
  }

  /** The outcome of the local call, and what the peer has received since the event. */
  then(): string {
    return `${this.ours.outcome}: ${this.heard.join(", ") || "nothing"}`;
  }

  /** When the connection is over, if nothing else happens. */
  async over(): Promise<string> {
    let now = 0;
    for (const at of TIMES) {
      await this.facing.clock.advance(at - now);
      now = at;
      if (this.connection.stats().state === "closed") {
        assertNothingLeft(this.connection);
        assertEquals(this.facing.clock.timers, 0);
        return `over at ${at}`;
      }
    }
    return "lasts";
  }
}

/** Times at which the test checks whether the connection is over, in ms. */
const TIMES = [
  ...[0, 49, 50, 51, 100, 999, 1000, 1049, 1050, 1099, 1100, 1999, 2000],
  ...[4999, 5000, 5999, 6000, 9999, 10_000, 10_999, 11_000, 11_999, 12_000],
  ...[299_999, 300_000, 300_999, 301_000],
];

function told({ kind, id, flags, ...got }: Required<Frame>): string {
  const names = Object.entries(KIND);
  const name = names.find(([, value]) => value === kind)?.[0];
  if (isWarning({ kind, id, flags, ...got })) return "WARNING";
  if (kind === KIND.LAST) return "LAST";
  if (kind === KIND.ERROR) return `ERROR ${id}${flags & 1 ? " started" : ""}`;
  if (kind !== KIND.GOAWAY) return `${name} ${id}`;
  const { code } = readCode({ kind, id, flags, ...got });
  return `GOAWAY ${flags & 1 ? "none" : id}${code && ` ${code}`}`;
}

function ignore(): void {}

/** Answers a call that was never made. */
const BREACH = reply(99);

const STATES: Record<string, (cell: Cell) => Promise<void>> = {
  open: (cell) => cell.begin(),
  warned: async (cell) => {
    await cell.begin();
    cell.connection.close();
    await settle();
  },
  draining: async (cell) => {
    await cell.begin();
    cell.connection.close();
    await settle();
    await cell.peer.send(last());
    await settle();
  },
  "peer closing": async (cell) => {
    await cell.begin();
    await cell.peer.send(warning());
    await settle();
  },
  "peer draining": async (cell) => {
    await cell.begin();
    await cell.peer.send(goaway(1));
    await settle();
  },
  "peer failed": async (cell) => {
    await cell.begin();
    await cell.peer.send(goaway(1, "internal"));
    await settle();
  },
  "half-closed": async (cell) => {
    await cell.begin();
    await cell.peer.send(goaway(1));
    await cell.peer.end();
    await settle();
  },
  "draining, half-closed": async (cell) => {
    await cell.begin();
    await cell.peer.send(goaway(1));
    await cell.peer.end();
    cell.connection.close();
    await settle();
  },
  flushing: async (cell) => {
    await cell.begin(false);
    await cell.peer.send(request(3, "Big.make"), request(4, "Big.make"));
    cell.held.release();
    await settle();
    cell.held.release();
    await settle();
    await cell.peer.send(BREACH);
    await settle();
  },
  lingering: async (cell) => {
    await cell.begin();
    await cell.peer.send(BREACH);
    await settle();
  },
  closed: async (cell) => {
    await cell.begin();
    await cell.connection.abort();
    await settle();
  },
};

const EVENTS: Record<string, (cell: Cell) => unknown> = {
  "nothing more": ignore,
  "the peer's warning": ({ peer }) => peer.send(warning()),
  "its LAST": ({ peer }) => peer.send(last()),
  "its LAST with ALL": ({ peer }) => peer.send(last(true)),
  "its GOAWAY and LAST with ALL": ({ peer }) =>
    peer.send(goaway(0), last(true)),
  "its third call": ({ peer }) => peer.send(request(3, "Held.work")),
  "the peer's GOAWAY": ({ peer }) => peer.send(goaway(0)),
  "its GOAWAY with a code": ({ peer }) => peer.send(goaway(0, "internal")),
  "its GOAWAY and FIN": async ({ peer }) => {
    await peer.send(goaway(0));
    await peer.end();
  },
  "its bare FIN": ({ peer }) => peer.end(),
  "a lost transport": ({ peer }) => peer.reset(),
  "a breach by the peer": ({ peer }) => peer.send(BREACH),
  "the peer's answer": ({ peer, ours }) => peer.send(reply(ours.id as number)),
  "the last call's end": (cell) => cell.finish(),
  "close()": ({ connection }) => void connection.close(),
  "close() within 50 ms": ({ connection }) =>
    void connection.close({ timeout: 50 }),
  "abort()": ({ connection }) => void connection.abort(),
};

/** What the peer sends, or its transport does. */
const SAID = new Set(Object.keys(EVENTS).slice(1, 13));

/**
 * For each state and event: the state then, and what the handler knows (it
 * `runs`, is `told` of a drain, or that its caller is `lost`); when all is over
 * (the last look at the clock counts); the outcome of the local call; and what
 * the peer has received since.
 */
const TABLE: Record<string, Record<string, string>> = {
  "open": {
    "nothing more": "open, runs; lasts, unknown: nothing",
    "the peer's warning": "open, told; lasts, unknown: LAST",
    "its LAST": "open, runs; lasts, unknown: nothing",
    "its LAST with ALL": "finishing, lost; over at 1000, unknown: FIN",
    "its GOAWAY and LAST with ALL":
      "draining, told; over at 301000, refused: GOAWAY 1 deadline_exceeded, FIN",
    "its third call": "open, runs; lasts, unknown: nothing",
    "the peer's GOAWAY": "open, told; lasts, refused: nothing",
    "its GOAWAY with a code":
      "open, told; over at 6000, refused: GOAWAY 2, FIN",
    "its GOAWAY and FIN":
      "draining, told; over at 300000, refused: GOAWAY 1 deadline_exceeded, FIN",
    "its bare FIN": "closed, lost; over at 0, unknown: FIN",
    "a lost transport": "closed, lost; over at 0, unknown: reset",
    "a breach by the peer":
      "finishing, lost; over at 1000, unknown: GOAWAY 2 protocol_error, FIN",
    "the peer's answer": "open, runs; lasts, executed: nothing",
    "the last call's end": "open, runs; lasts, executed: REPLY 1, REPLY 2",
    "close()":
      "draining, told; over at 6000, unknown: WARNING, GOAWAY 2, CANCEL 1, GOAWAY 1 deadline_exceeded, FIN",
    "close() within 50 ms":
      "draining, told; over at 1050, unknown: WARNING, CANCEL 1, GOAWAY 1 deadline_exceeded, FIN",
    "abort()": "closed, lost; over at 0, unknown: reset",
  },
  "warned": {
    "nothing more":
      "draining, told; over at 6000, unknown: GOAWAY 2, CANCEL 1, GOAWAY 1 deadline_exceeded, FIN",
    "the peer's warning":
      "draining, told; over at 6000, unknown: LAST, GOAWAY 2, CANCEL 1, GOAWAY 1 deadline_exceeded, FIN",
    "its LAST":
      "draining, told; over at 6000, unknown: GOAWAY 2, CANCEL 1, GOAWAY 1 deadline_exceeded, FIN",
    "its LAST with ALL": "finishing, lost; over at 1000, unknown: FIN",
    "its GOAWAY and LAST with ALL":
      "draining, told; over at 6000, refused: GOAWAY 2, GOAWAY 1 deadline_exceeded, FIN",
    "its third call":
      "draining, told; over at 6000, unknown: GOAWAY 3, CANCEL 1, GOAWAY 1 deadline_exceeded, FIN",
    "the peer's GOAWAY":
      "draining, told; over at 6000, refused: GOAWAY 2, GOAWAY 1 deadline_exceeded, FIN",
    "its GOAWAY with a code":
      "draining, told; over at 6000, refused: GOAWAY 2, FIN",
    "its GOAWAY and FIN":
      "draining, told; over at 5000, refused: GOAWAY 2, GOAWAY 1 deadline_exceeded, FIN",
    "its bare FIN": "closed, lost; over at 0, unknown: FIN",
    "a lost transport": "closed, lost; over at 0, unknown: reset",
    "a breach by the peer":
      "finishing, lost; over at 1000, unknown: GOAWAY 2 protocol_error, FIN",
    "the peer's answer":
      "draining, told; over at 6000, executed: GOAWAY 2, GOAWAY 1 deadline_exceeded, FIN",
    "the last call's end":
      "draining, told; over at 2000, executed: REPLY 1, REPLY 2, GOAWAY 2, FIN",
    "close()":
      "draining, told; over at 6000, unknown: GOAWAY 2, CANCEL 1, GOAWAY 1 deadline_exceeded, FIN",
    "close() within 50 ms":
      "draining, told; over at 1050, unknown: CANCEL 1, GOAWAY 1 deadline_exceeded, FIN",
    "abort()": "closed, lost; over at 0, unknown: reset",
  },
  "draining": {
    "nothing more":
      "draining, told; over at 6000, unknown: CANCEL 1, GOAWAY 1 deadline_exceeded, FIN",
    "the peer's warning":
      "draining, told; over at 6000, unknown: LAST, CANCEL 1, GOAWAY 1 deadline_exceeded, FIN",
    "its LAST":
      "draining, told; over at 6000, unknown: CANCEL 1, GOAWAY 1 deadline_exceeded, FIN",
    "its LAST with ALL": "finishing, lost; over at 1000, unknown: FIN",
    "its GOAWAY and LAST with ALL":
      "draining, told; over at 6000, refused: GOAWAY 1 deadline_exceeded, FIN",
    "its third call":
      "finishing, lost; over at 1000, unknown: GOAWAY 2 protocol_error, FIN",
    "the peer's GOAWAY":
      "draining, told; over at 6000, refused: GOAWAY 1 deadline_exceeded, FIN",
    "its GOAWAY with a code":
      "draining, told; over at 6000, refused: GOAWAY 1 deadline_exceeded, FIN",
    "its GOAWAY and FIN":
      "draining, told; over at 5000, refused: GOAWAY 1 deadline_exceeded, FIN",
    "its bare FIN": "closed, lost; over at 0, unknown: FIN",
    "a lost transport": "closed, lost; over at 0, unknown: reset",
    "a breach by the peer":
      "finishing, lost; over at 1000, unknown: GOAWAY 2 protocol_error, FIN",
    "the peer's answer":
      "draining, told; over at 6000, executed: GOAWAY 1 deadline_exceeded, FIN",
    "the last call's end":
      "finishing, told; over at 1000, executed: REPLY 1, REPLY 2, FIN",
    "close()":
      "draining, told; over at 6000, unknown: CANCEL 1, GOAWAY 1 deadline_exceeded, FIN",
    "close() within 50 ms":
      "draining, told; over at 1050, unknown: CANCEL 1, GOAWAY 1 deadline_exceeded, FIN",
    "abort()": "closed, lost; over at 0, unknown: reset",
  },
  "peer closing": {
    "nothing more": "open, told; lasts, unknown: nothing",
    "the peer's warning": "open, told; lasts, unknown: nothing",
    "its LAST": "open, told; lasts, unknown: nothing",
    "its LAST with ALL": "finishing, lost; over at 1000, unknown: FIN",
    "its GOAWAY and LAST with ALL":
      "draining, told; over at 301000, refused: GOAWAY 1 deadline_exceeded, FIN",
    "its third call": "open, told; lasts, unknown: nothing",
    "the peer's GOAWAY": "open, told; lasts, refused: nothing",
    "its GOAWAY with a code":
      "open, told; over at 6000, refused: GOAWAY 2, FIN",
    "its GOAWAY and FIN":
      "draining, told; over at 300000, refused: GOAWAY 1 deadline_exceeded, FIN",
    "its bare FIN": "closed, lost; over at 0, unknown: FIN",
    "a lost transport": "closed, lost; over at 0, unknown: reset",
    "a breach by the peer":
      "finishing, lost; over at 1000, unknown: GOAWAY 2 protocol_error, FIN",
    "the peer's answer": "open, told; lasts, executed: nothing",
    "the last call's end":
      "open, told; over at 12000, executed: REPLY 1, REPLY 2, WARNING, GOAWAY 2, FIN",
    "close()":
      "draining, told; over at 6000, unknown: WARNING, GOAWAY 2, CANCEL 1, GOAWAY 1 deadline_exceeded, FIN",
    "close() within 50 ms":
      "draining, told; over at 1050, unknown: WARNING, CANCEL 1, GOAWAY 1 deadline_exceeded, FIN",
    "abort()": "closed, lost; over at 0, unknown: reset",
  },
  "peer draining": {
    "nothing more": "open, told; lasts, unknown: nothing",
    "the peer's warning":
      "finishing, lost; over at 1000, unknown: GOAWAY 2 protocol_error, FIN",
    "its LAST": "open, told; lasts, unknown: nothing",
    "its LAST with ALL":
      "draining, told; over at 301000, unknown: GOAWAY 1 deadline_exceeded, FIN",
    "its GOAWAY and LAST with ALL":
      "draining, told; over at 301000, refused: GOAWAY 1 deadline_exceeded, FIN",
    "its third call": "open, told; lasts, unknown: nothing",
    "the peer's GOAWAY": "open, told; lasts, refused: nothing",
    "its GOAWAY with a code":
      "open, told; over at 6000, refused: GOAWAY 2, FIN",
    "its GOAWAY and FIN":
      "draining, told; over at 300000, refused: GOAWAY 1 deadline_exceeded, FIN",
    "its bare FIN":
      "draining, told; over at 300000, unknown: GOAWAY 1 deadline_exceeded, FIN",
    "a lost transport": "closed, lost; over at 0, unknown: reset",
    "a breach by the peer":
      "finishing, lost; over at 1000, unknown: GOAWAY 2 protocol_error, FIN",
    "the peer's answer": "open, told; lasts, executed: nothing",
    "the last call's end":
      "open, told; over at 12000, executed: REPLY 1, REPLY 2, WARNING, GOAWAY 2, FIN",
    "close()":
      "draining, told; over at 6000, unknown: WARNING, GOAWAY 2, CANCEL 1, GOAWAY 1 deadline_exceeded, FIN",
    "close() within 50 ms":
      "draining, told; over at 1050, unknown: WARNING, CANCEL 1, GOAWAY 1 deadline_exceeded, FIN",
    "abort()": "closed, lost; over at 0, unknown: reset",
  },
  "peer failed": {
    "nothing more": "open, told; over at 6000, unknown: GOAWAY 2, FIN",
    "the peer's warning":
      "finishing, lost; over at 1000, unknown: GOAWAY 2 protocol_error, FIN",
    "its LAST": "open, told; over at 6000, unknown: GOAWAY 2, FIN",
    "its LAST with ALL": "finishing, lost; over at 1000, unknown: FIN",
    "its GOAWAY and LAST with ALL":
      "finishing, lost; over at 1000, refused: FIN",
    "its third call": "open, told; over at 6000, unknown: GOAWAY 3, FIN",
    "the peer's GOAWAY": "open, told; over at 6000, refused: GOAWAY 2, FIN",
    "its GOAWAY with a code":
      "open, told; over at 6000, refused: GOAWAY 2, FIN",
    "its GOAWAY and FIN": "closed, lost; over at 0, refused: FIN",
    "its bare FIN": "closed, lost; over at 0, unknown: FIN",
    "a lost transport": "closed, lost; over at 0, unknown: reset",
    "a breach by the peer":
      "finishing, lost; over at 1000, unknown: GOAWAY 2 protocol_error, FIN",
    "the peer's answer": "open, told; over at 6000, executed: GOAWAY 2, FIN",
    "the last call's end":
      "open, told; over at 6000, executed: REPLY 1, REPLY 2, GOAWAY 2, FIN",
    "close()": "draining, told; over at 6000, unknown: GOAWAY 2, FIN",
    "close() within 50 ms":
      "draining, told; over at 1050, unknown: GOAWAY 2, CANCEL 1, GOAWAY 1 deadline_exceeded, FIN",
    "abort()": "closed, lost; over at 0, unknown: reset",
  },
  "half-closed": {
    "nothing more":
      "draining, told; over at 300000, unknown: GOAWAY 1 deadline_exceeded, FIN",
    "the last call's end":
      "closed, told; over at 0, unknown: REPLY 1, REPLY 2, FIN",
    "close()":
      "draining, told; over at 5000, unknown: GOAWAY 1 deadline_exceeded, FIN",
    "close() within 50 ms":
      "draining, told; over at 50, unknown: GOAWAY 1 deadline_exceeded, FIN",
    "abort()": "closed, lost; over at 0, unknown: reset",
  },
  "draining, half-closed": {
    "nothing more":
      "draining, told; over at 5000, unknown: GOAWAY 1 deadline_exceeded, FIN",
    "the last call's end":
      "closed, told; over at 0, unknown: REPLY 1, REPLY 2, FIN",
    "close()":
      "draining, told; over at 5000, unknown: GOAWAY 1 deadline_exceeded, FIN",
    "close() within 50 ms":
      "draining, told; over at 50, unknown: GOAWAY 1 deadline_exceeded, FIN",
    "abort()": "closed, lost; over at 0, unknown: reset",
  },
  "flushing": {
    "nothing more": "finishing, told; over at 5000, unknown: nothing",
    "the peer's warning": "finishing, told; over at 5000, unknown: nothing",
    "its LAST": "finishing, told; over at 5000, unknown: nothing",
    "its LAST with ALL": "finishing, told; over at 5000, unknown: nothing",
    "its GOAWAY and LAST with ALL":
      "finishing, told; over at 5000, unknown: nothing",
    "its third call": "finishing, told; over at 5000, unknown: nothing",
    "the peer's GOAWAY": "finishing, told; over at 5000, unknown: nothing",
    "its GOAWAY with a code": "finishing, told; over at 5000, unknown: nothing",
    "its GOAWAY and FIN": "finishing, told; over at 5000, unknown: nothing",
    "its bare FIN": "finishing, told; over at 5000, unknown: nothing",
    "a lost transport": "closed, told; over at 0, unknown: nothing",
    "a breach by the peer": "finishing, told; over at 5000, unknown: nothing",
    "the peer's answer": "finishing, told; over at 5000, unknown: nothing",
    "the last call's end": "finishing, told; over at 5000, unknown: nothing",
    "close()": "finishing, told; over at 5000, unknown: nothing",
    "close() within 50 ms": "finishing, told; over at 1050, unknown: nothing",
    "abort()": "closed, told; over at 0, unknown: nothing",
  },
  "lingering": {
    "nothing more": "finishing, lost; over at 1000, unknown: nothing",
    "the peer's warning": "finishing, lost; over at 1000, unknown: nothing",
    "its LAST": "finishing, lost; over at 1000, unknown: nothing",
    "its LAST with ALL": "finishing, lost; over at 1000, unknown: nothing",
    "its GOAWAY and LAST with ALL":
      "finishing, lost; over at 1000, unknown: nothing",
    "its third call": "finishing, lost; over at 1000, unknown: nothing",
    "the peer's GOAWAY": "finishing, lost; over at 1000, unknown: nothing",
    "its GOAWAY with a code": "finishing, lost; over at 1000, unknown: nothing",
    "its GOAWAY and FIN": "closed, lost; over at 0, unknown: nothing",
    "its bare FIN": "closed, lost; over at 0, unknown: nothing",
    "a lost transport": "closed, lost; over at 0, unknown: nothing",
    "a breach by the peer": "finishing, lost; over at 1000, unknown: nothing",
    "the peer's answer": "finishing, lost; over at 1000, unknown: nothing",
    "the last call's end": "finishing, lost; over at 1000, unknown: nothing",
    "close()": "finishing, lost; over at 1000, unknown: nothing",
    "close() within 50 ms": "finishing, lost; over at 1000, unknown: nothing",
    "abort()": "closed, lost; over at 0, unknown: nothing",
  },
  "closed": {
    "nothing more": "closed, lost; over at 0, unknown: nothing",
    "the peer's warning": "closed, lost; over at 0, unknown: nothing",
    "its LAST": "closed, lost; over at 0, unknown: nothing",
    "its LAST with ALL": "closed, lost; over at 0, unknown: nothing",
    "its GOAWAY and LAST with ALL": "closed, lost; over at 0, unknown: nothing",
    "its third call": "closed, lost; over at 0, unknown: nothing",
    "the peer's GOAWAY": "closed, lost; over at 0, unknown: nothing",
    "its GOAWAY with a code": "closed, lost; over at 0, unknown: nothing",
    "its GOAWAY and FIN": "closed, lost; over at 0, unknown: nothing",
    "its bare FIN": "closed, lost; over at 0, unknown: nothing",
    "a lost transport": "closed, lost; over at 0, unknown: nothing",
    "a breach by the peer": "closed, lost; over at 0, unknown: nothing",
    "the peer's answer": "closed, lost; over at 0, unknown: nothing",
    "the last call's end": "closed, lost; over at 0, unknown: nothing",
    "close()": "closed, lost; over at 0, unknown: nothing",
    "close() within 50 ms": "closed, lost; over at 0, unknown: nothing",
    "abort()": "closed, lost; over at 0, unknown: nothing",
  },
};

for (const [state, enter] of Object.entries(STATES)) {
  for (const [event, happen] of Object.entries(EVENTS)) {
    // A peer that has sent its FIN sends nothing.
    if (state.endsWith("half-closed") && SAID.has(event)) continue;
    const expected = TABLE[state]?.[event];
    test(`[X8] ${state}, then ${event}`, async () => {
      const cell = new Cell();
      await enter(cell);
      cell.heard.length = 0;
      await Promise.resolve(happen(cell)).catch(ignore);
      await settle();
      const now = cell.now();
      const got = `${now}; ${await cell.over()}, ${cell.then()}`;
      assertEquals(got, expected);
      cell.held.release();
      await cell.connection.abort();
      assertNothingLeft(cell.connection);
      assertEquals(cell.facing.clock.timers, 0);
    });
  }
}
