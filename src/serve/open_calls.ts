/**
 * The peer's calls that have been let in, until they are answered.
 *
 * Invariants owned here:
 * - Every call is answered exactly once, cancelled or not: to answer is to
 *   leave, and who has left is answered no more.
 * - A call that outlives the turn it came in is entered by its id; one that is
 *   answered in that turn never is. The one whose code is on the stack counts
 *   as being here, entered or not.
 * - An entry is taken out by its own call alone, and none is made once that is
 *   answered or lost.
 *
 * @module
 */

import type { ReceiveWindow } from "../connection/receive_window.ts";
import type { Responder } from "./responder.ts";
import type { Codec } from "../wire/codec.ts";
import type { ServerCall } from "./server_call.ts";
import type { TimerHeap } from "../base/timers.ts";
import {
  callEndedError,
  type ErrorCode,
  type RpcError,
} from "../base/errors.ts";

/** What the table needs of its connection. */
export interface OpenCallsContext {
  readonly codec: Codec;
  readonly deadlines: TimerHeap;
}

/** The calls of one connection that have no answer yet. */
export class OpenCalls {
  /** The call whose code, its handler or what finds its key, is on the stack right now; set by who calls that. */
  current: ServerCall | undefined;
  readonly #codec: Codec;
  readonly #receiveWindow: ReceiveWindow;
  readonly #answers: Responder;
  readonly #deadlines: TimerHeap;
  /** Those that wait, or whose handlers have not settled, by id. */
  readonly #active = new Map<number, ServerCall>();

  constructor(
    { codec, deadlines }: OpenCallsContext,
    receiveWindow: ReceiveWindow,
    answers: Responder,
  ) {
    this.#codec = codec;
    this.#receiveWindow = receiveWindow;
    this.#answers = answers;
    this.#deadlines = deadlines;
  }

  /** Those that are entered. */
  entered(): Iterable<ServerCall> {
    return this.#active.values();
  }

  /** All of them, in the order they came. */
  all(): ServerCall[] {
    const all = [...this.#active.values()];
    const { current } = this;
    if (current !== undefined && !current.done && !all.includes(current)) {
      all.push(current);
    }
    return all;
  }

  /** The one with this id, if it is entered. */
  get(id: number): ServerCall | undefined {
    return this.#active.get(id);
  }

  /** How many are entered. */
  get size(): number {
    return this.#active.size;
  }

  /** Whether a call with this id is entered. */
  has(id: number): boolean {
    return this.#active.has(id);
  }

  /** Enters a call that outlives this turn; nothing happens if it is in already, or has left. */
  keep(call: ServerCall): void {
    if (call.entered || call.done) return;
    call.entered = true;
    this.#active.set(call.id, call);
    // Its params were decoded in this turn, and are still the codec's.
    if (call.retained === undefined && call.decoded < 0) {
      this.weigh(call);
    }
    if (call.heapIndex < 0) this.#deadlines.add(call);
  }

  /** The params, kept or just told, have been decoded: counts what that takes, until the call is over. */
  weigh(call: ServerCall): void {
    call.decoded = this.#codec.decodedSize(call.retained);
    this.#receiveWindow.decoded += call.decoded;
  }

  // Answers. A call whose connection has ended has nobody to tell.

  /** Answers with a handler's result. */
  reply(call: ServerCall, value: unknown): void {
    if (call.done) return;
    if (this.#answers.reply(call, value)) this.#answered(call);
  }

  /** Answers with what a handler, a schema or a key threw. */
  replyWithError(call: ServerCall, started: boolean, error: unknown): void {
    if (call.done) return;
    if (this.#answers.replyWithError(call, started, error)) {
      this.#answered(call);
    }
  }

  /** Answers with an error as it is. */
  fail(call: ServerCall, started: boolean, error: RpcError): void {
    if (call.done) return;
    if (this.#answers.fail(call, started, error)) this.#answered(call);
  }

  /** Answers a call that was not started, and is not to be. */
  rejectUnstarted(call: ServerCall, code: ErrorCode, text: string): void {
    this.#answers.rejectUnstarted(call, code, text);
    this.#answered(call);
  }

  /** The stream that answers a call has ended, by an error if there is one. */
  finishStream(call: ServerCall, error: RpcError | undefined): void {
    if (call.done) return;
    this.#answers.finishStream(call, error);
    this.#answered(call);
  }

  /** A call will never be answered: its connection is over. */
  onConnectionLost(call: ServerCall, why: () => RpcError): void {
    this.#leave(call);
    this.#answers.onConnectionLost(call, why);
  }

  #answered(call: ServerCall): void {
    this.#receiveWindow.answered(call.size);
    this.#leave(call);
    call.streams?.release(callEndedError());
  }

  #leave(call: ServerCall): void {
    call.state = "done";
    if (call.decoded > 0) this.#receiveWindow.decoded -= call.decoded;
    if (call.entered) {
      call.entered = false;
      this.#active.delete(call.id);
    }
    this.#deadlines.remove(call);
    call.streams?.close();
  }
}
