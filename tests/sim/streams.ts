/**
 * All streams of a simulated world: which calls have some, and which source or
 * reader acts next.
 *
 * - Everything random about a call's streams comes from the call's number, so
 *   the order in which a runtime's promises settle does not matter.
 * - One source or reader acts at a time, the one with the lowest rank first.
 *
 * @module
 */

import { type CallContext, type Clock, RpcError } from "../../mod.ts";
import type { Entry } from "../support/call_log.ts";
import { Random } from "../support/random.ts";
import type { End } from "./link.ts";
import { type Actor, StreamLife } from "./stream_life.ts";
import { ALL, type Plan, planOf, Relay, SimReader } from "./stream_readers.ts";
import { Items, SimSource, type Supply } from "./stream_sources.ts";
import { type StreamCall, truthOf, type Which } from "./stream_truth.ts";

/** How many ranks a call has: a source and a reader for its params, and for its result. */
const RANKS = 4;
/** The uses of random numbers for a call. Each use has its own seed. */
const USES = ["items", "handler", "plan", "params", "result"] as const;

/** All streams. */
export class SimStreams {
  readonly #problems: string[] = [];
  readonly #seed: number;
  readonly #clock: Clock;
  readonly #calls = new Map<number, StreamCall>();
  /** Sources and readers that can still act, by rank. */
  readonly #actors = new Map<number, Actor>();
  readonly #nudged = new Set<Actor>();
  #calm = false;

  constructor(seed: number, clock: Clock) {
    this.#seed = seed;
    this.#clock = clock;
  }

  // Calls.

  /** Params for call `n` that are a stream. */
  params(n: number): unknown {
    const call = this.#call(n);
    const source = this.#source(
      call,
      "params",
      new Items(this.#random(n, "items")),
    );
    source.onStop = (why) => {
      this.#judgeWhy(call, why);
      const id = call.entry?.handle?.id;
      if (id !== undefined) call.caller?.streams.sourceStopped(`c${id}`);
    };
    return source.value;
  }

  /** Records a call that is made. Its result may be a stream. */
  made(
    entry: Entry,
    caller: End,
    signal: AbortSignal | undefined,
    due: number | undefined,
  ): void {
    const { n, handle } = entry;
    const call = Object.assign(this.#call(n), { caller, entry, signal, due });
    handle?.reply.then((result) => {
      if (!(result instanceof ReadableStream)) return;
      const plan = planOf(this.#random(n, "plan"));
      this.#reader(call, "result", result, plan);
    }, () => {});
  }

  /** Whether a call's caller has a stream of it that has not ended. */
  open(entry: Entry): boolean {
    const life = this.#calls.get(entry.n)?.lives.result;
    return life !== undefined && life.end === undefined;
  }

  /** A call is aborted by its handle. */
  abort({ n, handle }: Entry): void {
    const reason = new Error("given up");
    const call = this.#calls.get(n);
    if (call !== undefined) call.reason ??= reason;
    handle?.abort(reason);
  }

  // Handlers.

  /**
   * Serves a call: reads its params, or a part of them, if they are a stream, and
   * returns a stream if `answers`. Calls `over` when nothing of the call runs.
   */
  serve(
    n: number,
    callee: End,
    ctx: CallContext,
    params: unknown,
    answers: boolean,
    hold: () => Promise<unknown>,
    over: () => void,
  ): unknown {
    const call = Object.assign(this.#call(n), { callee, ctx });
    const random = this.#random(n, "handler");
    const settle = () => {
      call.answered = true;
      over();
    };
    const answer = (supply: Supply) => {
      const source = this.#source(call, "result", supply);
      source.onStop = (why) => {
        this.#judgeWhy(call, why);
        callee.streams.sourceStopped(`s${ctx.id}`);
      };
      source.onOver = settle;
      return source.value;
    };
    const rest = () => {
      if (answers) return answer(new Items(random));
      if (!random.oneIn(3)) return settle();
      return hold().finally(settle);
    };
    if (!(params instanceof ReadableStream)) return rest();
    const relays = answers && random.oneIn(3);
    const plan = relays ? ALL : planOf(random);
    const reader = this.#reader(call, "params", params, plan);
    if (!relays) return reader.enough.then(rest);
    // It reads when its own reader asks for an item.
    this.#actors.delete(rankOf(call, "params", true));
    return answer(new Relay(reader));
  }

  // Scheduling.

  /** The source or reader that acts next; undefined if none acts by itself. */
  next(): Actor | undefined {
    let [least, next]: [number, Actor | undefined] = [Infinity, undefined];
    for (const [rank, actor] of this.#actors) {
      if (actor.over) this.#actors.delete(rank);
      else if (rank < least && this.#acts(actor)) [least, next] = [rank, actor];
    }
    if (next !== undefined) this.#nudged.delete(next);
    return next;
  }

  #acts(actor: Actor): boolean {
    if (!actor.ready) return false;
    return actor.eager || this.#calm || this.#nudged.has(actor);
  }

  /** Lets some sources and readers act once that do not act by themselves. */
  nudge(random: Random, count: number): void {
    const slow = [...this.#actors].filter(([, actor]) => actor.ready)
      .sort(([a], [b]) => a - b);
    for (let i = 0; i < count && slow.length > 0; i++) {
      const [[, actor]] = slow.splice(random.below(slow.length), 1);
      this.#nudged.add(actor);
    }
  }

  /** The last fault is over: all act as soon as they can. */
  calm(): void {
    this.#calm = true;
    for (const actor of this.#actors.values()) {
      if (actor instanceof SimReader) actor.wake();
    }
  }

  // Checks.

  /** One line for each stream. */
  *picture(): Generator<string> {
    for (const life of this.#lives()) {
      const { name, gave, got, ending, end } = life;
      yield `${name}: gave ${gave} ${ending}, got ${got} ${end}`;
    }
  }

  /** Lists what is wrong already. */
  judge(): string[] {
    const problems = this.#problems.splice(0);
    for (const call of this.#calls.values()) {
      const { params, result } = call.lives;
      if (params !== undefined) problems.push(...params.problems.splice(0));
      if (result !== undefined) problems.push(...result.problems.splice(0));
      if (call.answered || call.ctx?.signal.aborted !== true) continue;
      call.callee?.streams.stop(`s${call.ctx.id}`);
    }
    return problems;
  }

  /** Lists streams that are still open although nothing disturbs them. `well` says whether both sides of a connection are open. */
  judgeCalm(well: (end: End) => boolean): string[] {
    const problems: string[] = [];
    for (const { caller, lives } of this.#calls.values()) {
      if (caller === undefined || !well(caller)) continue;
      for (const life of Object.values(lives)) {
        if (life.sourceOver && life.readerOver) continue;
        problems.push(`stream ${life.name} (${caller.name}) is still open`);
      }
    }
    return problems;
  }

  /** Lists what is wrong at the end. */
  judgeEnd(): string[] {
    for (const life of this.#lives()) life.judgeEnd();
    return this.judge();
  }

  *#lives(): Generator<StreamLife> {
    const calls = [...this.#calls.values()].sort((a, b) => a.n - b.n);
    for (const { lives: { params, result } } of calls) {
      if (params !== undefined) yield params;
      if (result !== undefined) yield result;
    }
  }

  /** A call given up in flight must be cancelled, even if its result is a stream that has started. */
  judgeCancels(exact: (end: End) => boolean): string[] {
    const now = this.#clock.now();
    const problems: string[] = [];
    for (const call of this.#calls.values()) {
      const { caller, entry, signal, reason, due = Infinity } = call;
      const id = entry?.handle?.id;
      if (caller === undefined || id === undefined) continue;
      if (!(signal?.aborted || reason !== undefined || due <= now)) continue;
      if (!caller.inFlight.has(id) || caller.cancelled.has(id)) continue;
      if (exact(caller)) problems.push(`no CANCEL for the streams of ${id}`);
    }
    return problems;
  }

  /** A source is stopped with an `RpcError`, or with the reason of its call's abort. */
  #judgeWhy(call: StreamCall, why?: { readonly reason: unknown }): void {
    if (why === undefined || why.reason instanceof RpcError) return;
    const { n, reason, signal } = call;
    if (why.reason === (reason ?? signal?.reason)) return;
    this.#problems.push(`a source of call ${n} was stopped with ${why.reason}`);
  }

  // Construction.

  #call(n: number): StreamCall {
    let call = this.#calls.get(n);
    if (call === undefined) {
      call = { n, answered: false, lives: {} };
      this.#calls.set(n, call);
    }
    return call;
  }

  #life(call: StreamCall, which: Which): StreamLife {
    return call.lives[which] ??= new StreamLife(`${call.n} ${which}`);
  }

  #random(n: number, use: (typeof USES)[number]): Random {
    return new Random(this.#seed + n * USES.length + USES.indexOf(use));
  }

  #source(call: StreamCall, which: Which, supply: Supply): SimSource {
    const life = this.#life(call, which);
    const random = this.#random(call.n, which);
    const source = new SimSource(life, supply, random);
    this.#actors.set(rankOf(call, which, false), source);
    return source;
  }

  #reader(
    call: StreamCall,
    which: Which,
    stream: ReadableStream<unknown>,
    plan: Plan,
  ): SimReader {
    const truth = truthOf(call, which, () => this.#clock.now());
    const life = this.#life(call, which);
    const reader = new SimReader(life, stream, plan, truth);
    if (this.#calm) reader.wake();
    this.#actors.set(rankOf(call, which, true), reader);
    return reader;
  }
}

/** The order in which the sources and readers of all calls act. */
function rankOf({ n }: StreamCall, which: Which, reader: boolean): number {
  return n * RANKS + (which === "params" ? 0 : 2) + (reader ? 1 : 0);
}
