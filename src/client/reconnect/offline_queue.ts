/**
 * The calls of a client that has no connection for them.
 *
 * Invariants owned here:
 * - At most `maxCalls` calls and `maxBytes` bytes wait here that were made
 *   while there was no connection; those that come back from one are let in
 *   beyond (they were bounded there).
 * - They leave in the order they were made, wherever they have been meanwhile.
 * - While they wait, their signals and deadlines end them.
 *
 * @module
 */

import type { Call, QueuedCall } from "../../call/call.ts";
import type { TimerHeap } from "../../base/timers.ts";
import { CallSettler } from "../../call/settle.ts";
import { LinkedList } from "../../base/linked_list.ts";
import { deadlineError, queueFullError } from "../../call/errors.ts";
import type { ResendableCall } from "./resendable_call.ts";
import { discard } from "../../base/pull_source.ts";
import { snapshotSize } from "../../wire/payload.ts";

/** What a call takes besides its params, roughly, in bytes. */
const CALL_SIZE = 64;

/** Calls that wait for a connection. */
export class OfflineQueue {
  readonly settler: CallSettler;
  readonly #calls = new LinkedList<QueuedCall>();
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
    deadlines: TimerHeap,
    limits: { maxQueuedCalls: number; maxQueuedBytes: number },
    why: () => unknown,
    settled: () => void,
  ) {
    this.#why = why;
    this.#maxCalls = limits.maxQueuedCalls;
    this.#maxBytes = limits.maxQueuedBytes;
    this.settler = new CallSettler(deadlines, {
      abort: (call, reason) => this.abort(call as ResendableCall, reason),
      settled,
    });
  }

  /** Bytes of those that wait, about. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Those that wait. */
  all(): Call[] {
    return [...this.#calls.all()].map(({ call }) => call);
  }

  /** How many wait. */
  get length(): number {
    return this.#calls.length;
  }

  /**
   * Lets a new call in.
   *
   * @throws {RpcError} `resource_exhausted`, if the room is full.
   */
  enqueue(call: ResendableCall): void {
    call.size = sizeOf(call);
    const bytes = this.#bytes + call.size;
    if (this.length >= this.#maxCalls || bytes > this.#maxBytes) {
      throw queueFullError(
        `${this.length} calls of ${this.#bytes} bytes are waiting for a connection already`,
        this.#why(),
      );
    }
    this.enter(call);
  }

  /** Lets a call in that comes back. */
  enter(call: ResendableCall): void {
    call.size = sizeOf(call);
    call.link = undefined;
    this.#push(call);
    this.#bytes += call.size;
    const { options } = call;
    if (options === undefined) return;
    const extra = call.extras();
    extra.expiresAt = call.due;
    extra.signal = options.signal;
    extra.inherited = options.ctx?.signal;
    extra.onTimeout = () =>
      this.fail(call, deadlineError("not_sent", this.#why()));
    try {
      this.settler.watch(call, extra);
    } catch (error) {
      // A signal that is none.
      this.#settle(call, error);
    }
  }

  /** Takes out the call that was made first. */
  take(): ResendableCall | undefined {
    if (!this.#sorted) this.#sort();
    const call = this.#calls.first?.call as ResendableCall | undefined;
    if (call === undefined) return undefined;
    this.#dequeue(call);
    if (call.extra !== undefined) this.settler.unwatch(call, call.extra);
    return call;
  }

  /** Rejects a call that waits. */
  abort(call: ResendableCall, reason: unknown): void {
    call.aborted = true;
    this.#settle(call, reason);
  }

  /** Rejects a call that waits, for a reason that is not its user's. */
  fail(call: ResendableCall, error: unknown): void {
    this.#settle(call, call.blame(error));
  }

  /** Rejects all of them, each with an error of its own. */
  end(error: () => unknown): void {
    let waiting: QueuedCall | undefined;
    while ((waiting = this.#calls.first) !== undefined) {
      this.fail(waiting.call as ResendableCall, error());
    }
  }

  #push(call: ResendableCall): void {
    const draft = undefined; // Its params are its own.
    call.waiting = { call, draft, before: undefined, after: undefined };
    if (call.number < this.#last) this.#sorted = false;
    this.#last = call.number;
    this.#calls.push(call.waiting);
  }

  #remove(call: ResendableCall): void {
    this.#calls.remove(call.waiting as QueuedCall);
    call.waiting = undefined;
  }

  #settle(call: ResendableCall, error: unknown): void {
    this.#dequeue(call);
    this.settler.settle(call, "not_sent", true, error);
    discard(call.params, error);
  }

  #dequeue(call: ResendableCall): void {
    this.#remove(call);
    this.#bytes -= call.size;
    if (this.#calls.length > 0) return;
    this.#sorted = true;
    this.#last = -1;
  }

  /** Once per connection: what comes back comes in a few runs, each in order. */
  #sort(): void {
    const calls: ResendableCall[] = [];
    while (this.#calls.first !== undefined) {
      const call = this.#calls.first.call as ResendableCall;
      this.#remove(call);
      calls.push(call);
    }
    calls.sort((a, b) => a.number - b.number);
    for (const each of calls) this.#push(each);
    this.#sorted = true;
    this.#last = calls[calls.length - 1].number;
  }
}

function sizeOf({ method, params }: ResendableCall): number {
  return CALL_SIZE + 2 * method.length + snapshotSize(params);
}
