/**
 * Calls of a reconnecting client that wait for a connection.
 *
 * Invariants:
 * - At most `maxQueuedCalls` calls with `maxQueuedBytes` bytes wait when a new
 *   call is accepted. Calls that a connection gives back exceed these limits;
 *   they were bounded there.
 * - Calls leave in the order in which they were made, including those that a
 *   connection had in between.
 * - The signal or the deadline of a call ends it while it waits.
 *
 * @module
 */

import { madeCall, type QueuedCall } from "../../call/call.ts";
import type { TimerHeap } from "../../base/timers.ts";
import { CallSettler } from "../../call/settle.ts";
import { LinkedList } from "../../base/linked_list.ts";
import { deadlineError, queueFullError } from "../../call/errors.ts";
import type { LiveCall } from "../../types/stats.ts";
import type { ResendableCall } from "./resendable_call.ts";
import { discard } from "../../base/pull_source.ts";
import { snapshotSize } from "../../wire/values/payload.ts";

/** Roughly the bytes that a call occupies besides its params and its name. */
const CALL_SIZE = 64;

/** What the queue needs of its client. */
export interface OfflineQueueOwner {
  /** Why there is no connection: what the latest dial or connection failed with. */
  readonly away: unknown;
  /** A call has been settled while it waited. */
  onQueuedCallSettled(): void;
}

/** The calls that wait, in the order in which they were made. */
export class OfflineQueue {
  readonly #settler: CallSettler;
  readonly #calls = new LinkedList<QueuedCall>();
  readonly #maxCalls: number;
  readonly #maxBytes: number;
  readonly #owner: OfflineQueueOwner;
  #bytes = 0;
  /** Whether the calls are in the order in which they were made. */
  #sorted = true;
  #lastNumber = -1;

  constructor(
    deadlines: TimerHeap,
    limits: { maxQueuedCalls: number; maxQueuedBytes: number },
    owner: OfflineQueueOwner,
  ) {
    this.#maxCalls = limits.maxQueuedCalls;
    this.#maxBytes = limits.maxQueuedBytes;
    this.#owner = owner;
    this.#settler = new CallSettler(deadlines, {
      abort: (call: ResendableCall, reason) => this.abort(call, reason),
      settled: () => owner.onQueuedCallSettled(),
    });
  }

  /** How many calls wait. */
  get length(): number {
    return this.#calls.length;
  }

  /** Roughly the bytes of the calls that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Listeners on abort signals. */
  get listeners(): number {
    return this.#settler.listeners;
  }

  /** Lists the calls that wait. `now` is the clock's. */
  list(now: number): LiveCall[] {
    const context = { now, remote: undefined };
    return this.#calls.all().map(({ call }): LiveCall => ({
      ...madeCall(call, false, context),
      state: "away",
    }));
  }

  /**
   * Adds a new call.
   *
   * @throws {RpcError} `resource_exhausted`, if too many calls or bytes wait.
   */
  enqueue(call: ResendableCall): void {
    const { length } = this;
    const bytes = this.#bytes + sizeOf(call);
    if (length >= this.#maxCalls || bytes > this.#maxBytes) {
      throw queueFullError(
        `too many calls wait for a connection: ${length} calls of ${this.#bytes} bytes`,
        this.#owner.away,
      );
    }
    this.requeue(call);
  }

  /** Adds a call that a connection gave back, or that the limits have let pass. */
  requeue(call: ResendableCall): void {
    call.size = sizeOf(call);
    call.active = undefined;
    this.#push(call);
    this.#bytes += call.size;
    const { options } = call;
    if (options === undefined) return;
    const extra = call.extras();
    extra.expiresAt = call.deadline;
    extra.signal = options.signal;
    extra.inherited = options.ctx?.signal;
    extra.onTimeout = () =>
      this.fail(call, deadlineError("not_sent", this.#owner.away));
    try {
      this.#settler.watch(call, extra);
    } catch (error) {
      // The signal is none.
      this.abort(call, error);
    }
  }

  /** Takes out the call that was made first; undefined if none waits. */
  dequeue(): ResendableCall | undefined {
    if (!this.#sorted) this.#sort();
    const call = this.#calls.first?.call as ResendableCall | undefined;
    if (call === undefined) return undefined;
    this.#remove(call);
    if (call.extra !== undefined) this.#settler.unwatch(call, call.extra);
    return call;
  }

  /** Rejects a call that waits with a reason of its caller. */
  abort(call: ResendableCall, reason: unknown): void {
    this.#remove(call);
    this.reject(call, reason);
  }

  /** Rejects a call that waits with an error of the library. */
  fail(call: ResendableCall, error: unknown): void {
    this.abort(call, call.annotate(error));
  }

  /** Rejects all calls that wait. Each gets an error of its own. */
  failAll(makeError: () => unknown): void {
    let first: QueuedCall | undefined;
    while ((first = this.#calls.first) !== undefined) {
      this.fail(first.call as ResendableCall, makeError());
    }
  }

  /** Rejects a call that neither waits nor is with a connection, and cancels its params if they are a stream, and its body. */
  reject(call: ResendableCall, error: unknown, params = call.params): void {
    this.#settler.settle(call, "not_sent", true, error);
    discard(params, error);
    discard(call.options?.body, error);
  }

  #push(call: ResendableCall): void {
    const draft = undefined; // The params belong to the call.
    call.waiting = {
      call,
      draft,
      held: false,
      previous: undefined,
      next: undefined,
    };
    if (call.number < this.#lastNumber) this.#sorted = false;
    this.#lastNumber = call.number;
    this.#calls.push(call.waiting);
  }

  #remove(call: ResendableCall): void {
    this.#calls.remove(call.waiting as QueuedCall);
    call.waiting = undefined;
    this.#bytes -= call.size;
    if (this.#calls.length > 0) return;
    this.#sorted = true;
    this.#lastNumber = -1;
  }

  /** Runs once per connection at most: a connection gives its calls back in a few runs, each of them in order. */
  #sort(): void {
    const entries = this.#calls.all();
    for (const entry of entries) this.#calls.remove(entry);
    entries.sort((a, b) => numberOf(a) - numberOf(b));
    for (const entry of entries) this.#calls.push(entry);
    this.#sorted = true;
    this.#lastNumber = numberOf(entries[entries.length - 1]);
  }
}

function numberOf({ call }: QueuedCall): number {
  return (call as ResendableCall).number;
}

function sizeOf({ method, params }: ResendableCall): number {
  return CALL_SIZE + 2 * method.length + snapshotSize(params);
}
