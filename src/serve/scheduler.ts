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
import type { ServerCall } from "./server_call.ts";
import { LARGE, type LargeRead, type LargeReads } from "../base/large_reads.ts";
import type { Limits } from "../types/connection.ts";
import { LinkedList } from "../base/linked_list.ts";
import type { CallOrder, SerialQueues } from "./serial_queue.ts";
import type { OrderKey } from "../base/inspect.ts";
import type { SendBuffer } from "../connection/send_buffer.ts";
import type { FairShare, ShareSlot } from "./fair_share.ts";

/** What the gate needs of its connection. */
export interface SchedulerContext {
  readonly sendBuffer: SendBuffer;
  readonly limits: Limits;
  /** The running handlers of all connections, at a server. */
  readonly turns: FairShare | undefined;
  /** The large messages of all connections, at a server. */
  readonly largeReads: LargeReads | undefined;
}

/** What stands between the calls of one connection and their handlers. */
export class Scheduler {
  /** Handlers and validations that have not settled; counted by who runs them. */
  running = 0;
  readonly #context: SchedulerContext;
  readonly #start: (call: ServerCall) => void;
  readonly #waiting = new LinkedList<ServerCall>();
  readonly #turn: ShareSlot | undefined;
  readonly #large: LargeRead | undefined;
  /** Of ordered calls; made when the first one starts. */
  #lines: SerialQueues<ServerCall> | undefined;
  /** Handlers that may run at once: none before the peer has been let in. */
  #maxRunning = 0;

  /** @param start Starts a call that has waited. */
  constructor(context: SchedulerContext, start: (call: ServerCall) => void) {
    this.#context = context;
    this.#start = start;
    this.#turn = context.turns?.turn(() => this.#next());
    this.#large = context.largeReads?.reader(() => this.startWaiting());
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
    this.startWaiting();
  }

  /** The connection ends: nothing starts any more, whatever makes room. */
  shut(): void {
    this.#maxRunning = 0;
  }

  /** Whether a call that has just come may start at once; if not, it has to wait. */
  tryAcquire(): boolean {
    return this.#waiting.length === 0 && this.#mayStart();
  }

  /** Has a call wait, behind all that do. */
  wait(call: ServerCall): void {
    this.#waiting.push(call);
  }

  /** Takes out a call that waits, wherever that is. One that is just being started waits nowhere, though it is not started yet: users' code that decodes it, or asks for its key, is on the stack. */
  remove(call: ServerCall): void {
    const { line } = call;
    if (line === undefined || line.holder === call) {
      if (this.#waiting.has(call)) this.#waiting.remove(call);
    } else this.#lines?.remove(call);
  }

  /** Starts what waits and may start. */
  startWaiting(): void {
    let call: ServerCall | undefined;
    while (
      (call = this.#waiting.first) !== undefined && this.#mayStart() &&
      this.#mayRead(call)
    ) {
      this.#waiting.remove(call);
      this.#resume(call);
    }
  }

  /** Starts a call that has waited: who makes room for it has a context of its own. */
  #resume(call: ServerCall): void {
    outside(this.#start, call);
  }

  // What runs.

  /** One outlives the turn it began in: of all connections' limits it takes a place, too. */
  acquire(): void {
    this.#turn?.acquire();
  }

  /** It has settled; who waits for its place is started by `pass`. */
  release(): void {
    this.#turn?.release();
  }

  /** What was given can be taken. */
  startNext(): void {
    // Those in line before this connection go first.
    this.#turn?.startNext();
    this.startWaiting();
  }

  /** Starts nothing for other connections' sake any more. */
  end(): void {
    this.#large?.end();
    this.#turn?.end();
  }

  // Ordered calls.

  /** Whether a call has its order's turn; if not, it waits for that. */
  takeTurn(
    call: ServerCall,
    order: CallOrder,
    key: OrderKey | undefined,
  ): boolean {
    this.#lines ??= order.lines();
    return this.#lines.take(call, order, key);
  }

  /** If the call had its turn, the next one has it, and may be started once there is room. */
  passTurn(call: ServerCall): void {
    const { line } = call;
    if (line?.holder !== call) return;
    call.line = undefined;
    const next = this.#lines?.startNext(line);
    if (next !== undefined) this.#waiting.push(next);
  }

  /** Whether this connection's own limits let another handler start. */
  get #room(): boolean {
    const { limits, sendBuffer } = this.#context;
    return this.running < this.#maxRunning &&
      sendBuffer.size < limits.highWaterMark;
  }

  #mayStart(): boolean {
    return this.#room && (this.#turn === undefined || this.#turn.tryAcquire());
  }

  /** Whether the params of a call that has waited may be parsed now; `pump` is called when they may. */
  #mayRead({ size }: ServerCall): boolean {
    return size < LARGE || this.#large === undefined || this.#large.ask(size);
  }

  /** This connection's turn has come: starts one call; returns whether there is another to start. */
  #next(): boolean {
    const call = this.#waiting.first;
    if (call === undefined || !this.#room) return false;
    if (!this.#mayRead(call)) return false;
    this.#waiting.remove(call);
    this.#resume(call);
    return this.#waiting.length > 0 && this.#room;
  }
}
