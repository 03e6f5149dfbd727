/**
 * The calls of a client that has no connection for them.
 *
 * Invariants owned here:
 * - At most `maxCalls` calls and `maxBytes` bytes wait here that were made
 *   while there was no connection; those that come back from one are let in
 *   beyond (they were bounded there).
 * - They leave in the order they were made, wherever they have been meanwhile;
 *   those that are held stand aside until they are released.
 * - While they wait, their signals and deadlines end them.
 *
 * @module
 */

import type { Call } from "../../call/call.ts";
import type { Deadlines } from "../../base/timers.ts";
import { Ledger } from "../../call/settle.ts";
import { List } from "../../base/linked_list.ts";
import { exhausted, late } from "../../call/errors.ts";
import type { Waiting } from "../../call/send_queue.ts";
import type { RetriedCall } from "./resendable_call.ts";
import { discard } from "../../base/pull_source.ts";
import { snapshotSize } from "../../wire/payload.ts";

/** What a call takes besides its params, roughly, in bytes. */
const CALL_SIZE = 64;

/** Calls that wait for a connection. */
export class WaitingRoom {
  readonly ledger: Ledger;
  readonly #calls = new List<Waiting>();
  readonly #held = new List<Waiting>();
  readonly #maxCalls: number;
  readonly #maxBytes: number;
  #bytes = 0;
  /** Whether they stand in the order they were made. */
  #sorted = true;
  #last = -1;

  /** Why they wait: what the latest dial or connection failed with, if anything. */
  readonly #why: () => unknown;

  /** @param settled Called when a call has been settled here. */
  constructor(
    deadlines: Deadlines,
    limits: { maxQueuedCalls: number; maxQueuedBytes: number },
    why: () => unknown,
    settled: () => void,
  ) {
    this.#why = why;
    this.#maxCalls = limits.maxQueuedCalls;
    this.#maxBytes = limits.maxQueuedBytes;
    this.ledger = new Ledger(deadlines, {
      abort: (call, reason) => this.abort(call as RetriedCall, reason),
      settled,
    });
  }

  /** Bytes of those that wait, about. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Those that wait. */
  all(): Call[] {
    const all = [...this.#calls.all(), ...this.#held.all()];
    return all.map(({ call }) => call);
  }

  /** How many wait, those that are held left out. */
  get length(): number {
    return this.#calls.length;
  }

  /** How many there are. */
  get size(): number {
    return this.#calls.length + this.#held.length;
  }

  /**
   * Lets a new call in.
   *
   * @throws {RpcError} `resource_exhausted`, if the room is full.
   */
  admit(call: RetriedCall): void {
    call.size = sizeOf(call);
    const bytes = this.#bytes + call.size;
    if (this.size >= this.#maxCalls || bytes > this.#maxBytes) {
      throw exhausted(
        `${this.size} calls of ${this.#bytes} bytes are waiting for a connection already`,
        this.#why(),
      );
    }
    this.enter(call);
  }

  /** Lets a call in that comes back. */
  enter(call: RetriedCall): void {
    call.size = sizeOf(call);
    call.link = undefined;
    this.#push(call);
    this.#bytes += call.size;
    const { options } = call;
    if (options === undefined) return;
    const extra = call.extras();
    extra.due = call.due;
    extra.signal = options.signal;
    extra.inherited = options.ctx?.signal;
    extra.expire = () => this.fail(call, late("not_sent", this.#why()));
    try {
      this.ledger.watch(call, extra);
    } catch (error) {
      // A signal that is none.
      this.#settle(call, error);
    }
  }

  /** Puts a call that is held among the others. */
  release(call: RetriedCall): void {
    this.#remove(call);
    if (call.position !== undefined) call.position.held = false;
    this.#push(call);
  }

  /** Takes out the call that was made first. */
  take(): RetriedCall | undefined {
    if (!this.#sorted) this.#sort();
    const call = this.#calls.first?.call as RetriedCall | undefined;
    if (call === undefined) return undefined;
    this.#leave(call);
    if (call.extra !== undefined) this.ledger.unwatch(call, call.extra);
    return call;
  }

  /** Rejects a call that waits. */
  abort(call: RetriedCall, reason: unknown): void {
    call.aborted = true;
    this.#settle(call, reason);
  }

  /** Rejects a call that waits, for a reason that is not its user's. */
  fail(call: RetriedCall, error: unknown): void {
    this.#settle(call, call.blame(error));
  }

  /** Rejects all of them, each with an error of its own. */
  end(error: () => unknown): void {
    let waiting: Waiting | undefined;
    while ((waiting = this.#calls.first ?? this.#held.first) !== undefined) {
      this.fail(waiting.call as RetriedCall, error());
    }
  }

  #push(call: RetriedCall): void {
    const draft = undefined; // Its params are its own.
    call.waiting = { call, draft, before: undefined, after: undefined };
    if (isHeld(call)) {
      this.#held.push(call.waiting);
      return;
    }
    if (call.number < this.#last) this.#sorted = false;
    this.#last = call.number;
    this.#calls.push(call.waiting);
  }

  #remove(call: RetriedCall): void {
    const list = isHeld(call) ? this.#held : this.#calls;
    list.remove(call.waiting as Waiting);
    call.waiting = undefined;
  }

  #settle(call: RetriedCall, error: unknown): void {
    this.#leave(call);
    this.ledger.settle(call, "not_sent", true, error);
    discard(call.params, error);
  }

  #leave(call: RetriedCall): void {
    this.#remove(call);
    this.#bytes -= call.size;
    if (this.#calls.length > 0) return;
    this.#sorted = true;
    this.#last = -1;
  }

  /** Once per connection: what comes back comes in a few runs, each in order. */
  #sort(): void {
    const calls: RetriedCall[] = [];
    while (this.#calls.first !== undefined) {
      const call = this.#calls.first.call as RetriedCall;
      this.#remove(call);
      calls.push(call);
    }
    calls.sort((a, b) => a.number - b.number);
    for (const each of calls) this.#push(each);
    this.#sorted = true;
    this.#last = calls[calls.length - 1].number;
  }
}

function isHeld({ position }: RetriedCall): boolean {
  return position?.held === true;
}

function sizeOf({ method, params }: RetriedCall): number {
  return CALL_SIZE + 2 * method.length + snapshotSize(params);
}
