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

import type { Admission } from "./receive_window.ts";
import type { Answers } from "./responder.ts";
import type { Codec } from "../wire/codec.ts";
import type { Serving } from "./incoming_call.ts";
import type { Deadlines } from "../base/timers.ts";
import type { ErrorCode, RpcError } from "../base/errors.ts";
import { callOver } from "../streams/call_streams.ts";

/** What the table needs of its connection. */
export interface ServedCallsContext {
  readonly codec: Codec;
  readonly deadlines: Deadlines;
}

/** The calls of one connection that have no answer yet. */
export class ServedCalls {
  /** The call whose code, its handler or what finds its key, is on the stack right now; set by who calls that. */
  current: Serving | undefined;
  readonly #codec: Codec;
  readonly #admission: Admission;
  readonly #answers: Answers;
  readonly #deadlines: Deadlines;
  /** Those that wait, or whose handlers have not settled, by id. */
  readonly #active = new Map<number, Serving>();

  constructor(
    { codec, deadlines }: ServedCallsContext,
    admission: Admission,
    answers: Answers,
  ) {
    this.#codec = codec;
    this.#admission = admission;
    this.#answers = answers;
    this.#deadlines = deadlines;
  }

  /** Those that are entered. */
  entered(): Iterable<Serving> {
    return this.#active.values();
  }

  /** All of them, in the order they came. */
  all(): Serving[] {
    const all = [...this.#active.values()];
    const { current } = this;
    if (current !== undefined && !current.done && !all.includes(current)) {
      all.push(current);
    }
    return all;
  }

  /** The one with this id, if it is entered. */
  get(id: number): Serving | undefined {
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
  keep(serving: Serving): void {
    if (serving.entered || serving.done) return;
    serving.entered = true;
    this.#active.set(serving.id, serving);
    // Its params were decoded in this turn, and are still the codec's.
    if (serving.kept === undefined && serving.decoded < 0) this.weigh(serving);
    if (serving.slot < 0) this.#deadlines.add(serving);
  }

  /** The params, kept or just told, have been decoded: counts what that takes, until the call is over. */
  weigh(serving: Serving): void {
    serving.decoded = this.#codec.decodedSize(serving.kept);
    this.#admission.decoded += serving.decoded;
  }

  // Answers. A call whose connection has ended has nobody to tell.

  /** Answers with a handler's result. */
  reply(serving: Serving, value: unknown): void {
    if (serving.done) return;
    if (this.#answers.reply(serving, value)) this.#answered(serving);
  }

  /** Answers with what a handler, a schema or a key threw. */
  report(serving: Serving, started: boolean, error: unknown): void {
    if (serving.done) return;
    if (this.#answers.report(serving, started, error)) this.#answered(serving);
  }

  /** Answers with an error as it is. */
  fail(serving: Serving, started: boolean, error: RpcError): void {
    if (serving.done) return;
    if (this.#answers.fail(serving, started, error)) this.#answered(serving);
  }

  /** Answers a call that was not started, and is not to be. */
  turnDown(serving: Serving, code: ErrorCode, text: string): void {
    this.#answers.turnDown(serving, code, text);
    this.#answered(serving);
  }

  /** The stream that answers a call has ended, by an error if there is one. */
  streamed(serving: Serving, error: RpcError | undefined): void {
    if (serving.done) return;
    this.#answers.streamed(serving, error);
    this.#answered(serving);
  }

  /** A call will never be answered: its connection is over. */
  lose(serving: Serving, why: () => RpcError): void {
    this.#leave(serving);
    this.#answers.lost(serving, why);
  }

  #answered(serving: Serving): void {
    this.#admission.answered(serving.size);
    this.#leave(serving);
    serving.streams?.release(callOver());
  }

  #leave(serving: Serving): void {
    serving.state = "done";
    if (serving.decoded > 0) this.#admission.decoded -= serving.decoded;
    if (serving.entered) {
      serving.entered = false;
      this.#active.delete(serving.id);
    }
    this.#deadlines.remove(serving);
    serving.streams?.close();
  }
}
