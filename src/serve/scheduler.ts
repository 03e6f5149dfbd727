/**
 * When a call of the peer's may start.
 *
 * Invariants owned here:
 * - Handlers start in the order their requests came, none before the gate is
 *   opened, at most `maxRunning` at once, and only while the outbox is below
 *   its high-water mark.
 * - A server's limits hold over all its connections: with its own room a
 *   connection still waits for its turn.
 * - An ordered call stands in line again when its turn comes, and until then
 *   holds up nobody but those of its own order.
 *
 * @module
 */

import { outside } from "../base/async_context.ts";
import type { Serving } from "./incoming_call.ts";
import {
  LARGE,
  type LargeRead,
  type LargeReads,
} from "../connection/large_reads.ts";
import type { Limits } from "../types/connection.ts";
import { List } from "../base/linked_list.ts";
import type { Order, OrderLines } from "./ordered.ts";
import type { OrderKey } from "../base/inspect.ts";
import type { Outbox } from "../connection/send_buffer.ts";
import type { Turn, Turns } from "./fair_share.ts";

/** What the gate needs of its connection. */
export interface StartGateContext {
  readonly outbox: Outbox;
  readonly limits: Limits;
  /** The running handlers of all connections, at a server. */
  readonly turns: Turns | undefined;
  /** The large messages of all connections, at a server. */
  readonly largeReads: LargeReads | undefined;
}

/** What stands between the calls of one connection and their handlers. */
export class StartGate {
  /** Handlers and validations that have not settled; counted by who runs them. */
  running = 0;
  readonly #context: StartGateContext;
  readonly #start: (serving: Serving) => void;
  readonly #waiting = new List<Serving>();
  readonly #turn: Turn | undefined;
  readonly #large: LargeRead | undefined;
  /** Of ordered calls; made when the first one starts. */
  #lines: OrderLines | undefined;
  /** Handlers that may run at once: none before the peer has been let in. */
  #maxRunning = 0;

  /** @param start Starts a call that has waited. */
  constructor(context: StartGateContext, start: (serving: Serving) => void) {
    this.#context = context;
    this.#start = start;
    this.#turn = context.turns?.turn(() => this.#next());
    this.#large = context.largeReads?.reader(() => this.pump());
  }

  /** Calls that wait to be started. */
  get waiting(): number {
    return this.#waiting.length + this.ordered;
  }

  /** Those of them that wait for an earlier one of their order. */
  get ordered(): number {
    return this.#lines?.waiting ?? 0;
  }

  /** The peer has been let in: handlers may start, those of the calls that wait first. */
  open(): void {
    this.#maxRunning = this.#context.limits.maxRunning;
    this.pump();
  }

  /** The connection ends: nothing starts any more, whatever makes room. */
  shut(): void {
    this.#maxRunning = 0;
  }

  /** Whether a call that has just come may start at once; if not, it has to wait. */
  ask(): boolean {
    return this.#waiting.length === 0 && this.#mayStart();
  }

  /** Has a call wait, behind all that do. */
  wait(serving: Serving): void {
    this.#waiting.push(serving);
  }

  /** Takes out a call that waits, wherever that is. One that is just being started waits nowhere, though it is not started yet: users' code that decodes it, or asks for its key, is on the stack. */
  remove(serving: Serving): void {
    const { line } = serving;
    if (line === undefined || line.holder === serving) {
      if (this.#waiting.has(serving)) this.#waiting.remove(serving);
    } else this.#lines?.remove(serving);
  }

  /** Starts what waits and may start. */
  pump(): void {
    let serving: Serving | undefined;
    while (
      (serving = this.#waiting.first) !== undefined && this.#mayStart() &&
      this.#mayRead(serving)
    ) {
      this.#waiting.remove(serving);
      this.#resume(serving);
    }
  }

  /** Starts a call that has waited: who makes room for it has a context of its own. */
  #resume(serving: Serving): void {
    outside(this.#start, serving);
  }

  // What runs.

  /** One outlives the turn it began in: of all connections' limits it takes a place, too. */
  took(): void {
    this.#turn?.took();
  }

  /** It has settled; who waits for its place is started by `pass`. */
  gave(): void {
    this.#turn?.gave();
  }

  /** What was given can be taken. */
  pass(): void {
    // Those in line before this connection go first.
    this.#turn?.pass();
    this.pump();
  }

  /** Starts nothing for other connections' sake any more. */
  end(): void {
    this.#large?.end();
    this.#turn?.end();
  }

  // Ordered calls.

  /** Whether a call has its order's turn; if not, it waits for that. */
  takeTurn(serving: Serving, order: Order, key: OrderKey | undefined): boolean {
    this.#lines ??= order.lines();
    return this.#lines.take(serving, order, key);
  }

  /** If the call had its turn, the next one has it, and may be started once there is room. */
  passTurn(serving: Serving): void {
    const { line } = serving;
    if (line?.holder !== serving) return;
    serving.line = undefined;
    const next = this.#lines?.pass(line);
    if (next !== undefined) this.#waiting.push(next);
  }

  /** Whether this connection's own limits let another handler start. */
  get #room(): boolean {
    const { limits, outbox } = this.#context;
    return this.running < this.#maxRunning &&
      outbox.size < limits.highWaterMark;
  }

  #mayStart(): boolean {
    return this.#room && (this.#turn === undefined || this.#turn.ask());
  }

  /** Whether the params of a call that has waited may be parsed now; `pump` is called when they may. */
  #mayRead({ size }: Serving): boolean {
    return size < LARGE || this.#large === undefined || this.#large.ask(size);
  }

  /** This connection's turn has come: starts one call; returns whether there is another to start. */
  #next(): boolean {
    const serving = this.#waiting.first;
    if (serving === undefined || !this.#room) return false;
    if (!this.#mayRead(serving)) return false;
    this.#waiting.remove(serving);
    this.#resume(serving);
    return this.#waiting.length > 0 && this.#room;
  }
}
