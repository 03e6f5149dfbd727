/**
 * When a call of the peer may start.
 *
 * - Handlers start in the order in which their requests arrived; none before
 *   the peer is authorized, at most `maxRunning` at once, and only while the
 *   send buffer is below `highWaterMark`.
 * - Urgent calls go ahead of those that wait. They start even while `maxRunning`
 *   handlers run, up to {@linkcode URGENT_CALLS} more, and while the send buffer
 *   is below half of `maxSendBuffer`. The same holds of the limits of a server.
 * - The limits of a server hold over all its connections: a connection that
 *   could start a call by its own limits also waits for its {@linkcode FairShare}.
 * - An ordered call waits in its serial queue until its predecessor has finished
 *   or has passed its turn, and delays only the calls of that queue. It enters
 *   the scheduler's queue again when it may run.
 *
 * @module
 */

import { outside } from "../base/async_context.ts";
import type { OrderKey } from "../base/inspect.ts";
import { LARGE, type LargeRead } from "../base/large_reads.ts";
import { LinkedList } from "../base/linked_list.ts";
import { URGENT_CALLS } from "../wire/protocol.ts";
import type { ServeContext } from "../connection/contract.ts";
import type { ConnectionShare, FairShare } from "./fair_share.ts";
import type { CallOrder, SerialQueues } from "./serial_queue.ts";
import type { ServerCall } from "./server_call.ts";

/** Starts the calls of one connection. */
export class Scheduler {
  /** Handlers and validations that have not settled; the {@linkcode HandlerRunner} counts them. */
  running = 0;
  readonly #context: ServeContext;
  readonly #start: (call: ServerCall) => void;
  readonly #waiting = new LinkedList<ServerCall>();
  readonly #urgent = new LinkedList<ServerCall>();
  readonly #share: ConnectionShare | undefined;
  readonly #largeRead: LargeRead | undefined;
  /** Of ordered calls; made when the first one starts. */
  #queues: SerialQueues<ServerCall> | undefined;
  /** Handlers that may run at once: none before the peer is authorized. */
  #maxRunning = 0;
  /** A microtask will start the calls that wait. */
  #startsSoon = false;

  /**
   * @param fairShare Limits the handlers of all connections, on a server.
   * @param start Starts a call.
   */
  constructor(
    context: ServeContext,
    fairShare: FairShare | undefined,
    start: (call: ServerCall) => void,
  ) {
    this.#context = context;
    this.#start = start;
    this.#share = fairShare?.join(() => this.#startOne());
    this.#largeRead = context.largeReads?.reader(() => this.startWaiting());
  }

  /** How many calls wait to be started. */
  get waiting(): number {
    return this.#urgent.length + this.#waiting.length + this.ordered;
  }

  /** How many of those wait in a serial queue. */
  get ordered(): number {
    return this.#queues?.waiting ?? 0;
  }

  /** The peer is authorized: handlers may start. */
  open(): void {
    this.#maxRunning = this.#context.limits.maxRunning;
    this.startWaiting();
  }

  /** The connection ends: no call starts any more. */
  stop(): void {
    this.#maxRunning = 0;
  }

  /** Whether a call that has just arrived may start at once; if not, the caller passes it to `wait`. */
  mayStartNow({ urgent }: ServerCall): boolean {
    return this.#urgent.length === 0 &&
      (urgent || this.#waiting.length === 0) && this.#mayStart(urgent);
  }

  /** Lets a call wait, behind all that do; an urgent one behind those that are. */
  wait(call: ServerCall): void {
    this.#queueOf(call).push(call);
  }

  #queueOf({ urgent }: ServerCall): LinkedList<ServerCall> {
    return urgent ? this.#urgent : this.#waiting;
  }

  /** The call that starts next. */
  get #first(): ServerCall | undefined {
    return this.#urgent.first ?? this.#waiting.first;
  }

  /**
   * Removes a call in the state `waiting`. It may be in no queue at all: while
   * the user's code decodes its params or finds its key, it is being started.
   */
  remove(call: ServerCall): void {
    const { queue } = call;
    if (queue === undefined || queue.current === call) {
      const waiting = this.#queueOf(call);
      if (waiting.has(call)) waiting.remove(call);
    } else this.#queues?.remove(call);
  }

  /** Starts the calls that wait and may start. */
  startWaiting(): void {
    let call: ServerCall | undefined;
    while (
      (call = this.#first) !== undefined && this.#mayStart(call.urgent) &&
      this.#mayDecode(call)
    ) this.#resume(call);
  }

  /** Starts a call that has waited, outside of the async context of the code that made room for it. */
  #resume(call: ServerCall): void {
    this.#queueOf(call).remove(call);
    outside(this.#start, call);
  }

  // Handlers that run.

  /** A handler outlives the turn in which it started: it occupies a slot of the server. */
  acquire(): void {
    this.#share?.acquire();
  }

  /** It has settled. Its slot is given to the next call by `startNext`. */
  release(): void {
    this.#share?.release();
  }

  /** A slot may be free: starts the calls that wait for it, those of other connections first. */
  startNext(): void {
    this.#share?.startNext();
    this.startWaiting();
  }

  /** The connection has ended. Handlers that still run keep their slots until they settle. */
  end(): void {
    this.#largeRead?.end();
    this.#share?.dequeue();
  }

  // Ordered calls.

  /** Adds a call to its serial queue. Returns whether it may run now; otherwise it waits. */
  enterQueue(
    call: ServerCall,
    order: CallOrder,
    key: OrderKey | undefined,
  ): boolean {
    this.#queues ??= order.makeQueues();
    return this.#queues.enter(call, order, key);
  }

  /** A call has finished. If it was the current one of a serial queue, the next one waits to be started. Returns whether there is such a call. */
  leaveQueue(call: ServerCall): boolean {
    const { queue } = call;
    if (queue?.current !== call) return false;
    call.queue = undefined;
    const next = this.#queues?.startNext(queue);
    if (next === undefined) return false;
    this.wait(next);
    return true;
  }

  /**
   * A handler lets the next call of its serial queue start. That happens in a
   * microtask: the code on the stack is the handler's, and if each of many
   * handlers passed its turn at once, every one would run inside the one before.
   */
  passTurn(call: ServerCall): void {
    if (!this.leaveQueue(call) || this.#startsSoon) return;
    this.#startsSoon = true;
    queueMicrotask(() => {
      this.#startsSoon = false;
      this.startWaiting();
    });
  }

  /** Whether the limits of this connection let another handler start. */
  #hasRoom(urgent: boolean): boolean {
    const { limits, sendBuffer } = this.#context;
    // None before the peer is authorized, and none once the connection ends.
    const more = urgent && this.#maxRunning > 0 ? URGENT_CALLS : 0;
    return this.running < this.#maxRunning + more &&
      sendBuffer.size <
        (urgent ? limits.maxSendBuffer / 2 : limits.highWaterMark);
  }

  #mayStart(urgent: boolean): boolean {
    return this.#hasRoom(urgent) &&
      (this.#share === undefined || this.#share.mayStart(urgent));
  }

  /** Whether the params of a call that has waited may be decoded now; if not, `startWaiting` is called when they may. */
  #mayDecode(call: ServerCall): boolean {
    const size = sizeToDecode(call);
    return size < LARGE || this.#largeRead === undefined ||
      this.#largeRead.ask(size);
  }

  /** Starts one call for the {@linkcode FairShare}; returns whether there is another one to start. */
  #startOne(): boolean {
    const call = this.#first;
    if (call === undefined || !this.#hasRoom(call.urgent)) return false;
    if (!this.#mayDecode(call)) return false;
    this.#resume(call);
    const next = this.#first;
    return next !== undefined && this.#hasRoom(next.urgent);
  }
}

/** The bytes that are decoded when a call starts. */
function sizeToDecode({ size, links }: ServerCall): number {
  return links === undefined ? size : size + links.bytes;
}
