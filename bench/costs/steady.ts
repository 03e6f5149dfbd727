/**
 * What one more call costs, added and settled, while many others are pending.
 *
 * In two forms: `stay`, where the others are never answered and calls come and
 * go beside them; `turn`, where each call is answered after all those before
 * it, as in a full pipeline.
 *
 * @module
 */

import process from "node:process";
import { Client, type EchoServices } from "../../mod.ts";
import { program } from "../support/program.ts";
import { ANSWER, ScriptedPeer } from "../support/scripted_peer.ts";
import { median } from "../support/stats.ts";

/** How many are pending, and how long to look. */
export interface SteadyOrder {
  readonly form: "stay" | "turn";
  readonly pending: number;
  readonly samples: number;
}

/** Nanoseconds a call. */
export interface SteadyResult {
  readonly median: number;
  readonly mean: number;
}

/** Calls made and answered at once, no more than the fewest pending; and how often that is done for a sample. */
const ROUND = 10;
const ROUNDS = 100;

/** Samples before the first that counts. */
const WARM_UP = 30;

/** Rounds of calls, made and answered in the same order. */
class Steady {
  readonly #peer: ScriptedPeer;
  readonly #client: Client<EchoServices>;
  /**
   * The ids of the calls to answer, and of each round the last one's reply, in
   * rings: this must leave no garbage, or its collection is what is measured.
   */
  readonly #ids: Uint32Array;
  readonly #replies: (Promise<string> | undefined)[];
  #received = 0;
  #added = 0;
  #settled = 0;

  /** @param rounds How many are to be pending at most. */
  constructor(rounds: number) {
    const ids = this.#ids = new Uint32Array(rounds * ROUND);
    this.#replies = new Array(rounds).fill(undefined);
    this.#peer = new ScriptedPeer((id) => {
      ids[this.#received++ % ids.length] = id;
    });
    this.#client = new Client<EchoServices>(this.#peer.duplex);
  }

  get inFlight(): number {
    return this.#client.stats().inFlight;
  }

  /** Makes a round of calls, and waits until the peer has them. */
  async add(): Promise<void> {
    let last: Promise<string> | undefined;
    for (let i = 0; i < ROUND; i++) {
      last = this.#client.call("HelloService.Hello", "client");
    }
    this.#replies[this.#added++ % this.#replies.length] = last;
    await this.#peer.received(this.#added * ROUND);
  }

  /** Answers the oldest round. */
  async settle(): Promise<void> {
    const from = this.#settled * ROUND % this.#ids.length;
    this.#peer.answer(this.#ids.subarray(from, from + ROUND));
    const index = this.#settled++ % this.#replies.length;
    const reply = await this.#replies[index];
    if (reply !== ANSWER) throw new Error(`a call was answered "${reply}"`);
  }

  /** Leaves the rounds that are pending unanswered. */
  skip(): void {
    this.#settled = this.#added;
  }
}

async function run(
  { form, pending, samples }: SteadyOrder,
): Promise<SteadyResult> {
  const rounds = Math.ceil(pending / ROUND);
  const steady = new Steady(rounds + 1);
  for (let i = 0; i < rounds; i++) await steady.add();
  if (form === "stay") steady.skip();
  const held = steady.inFlight;
  const times: number[] = [];
  for (let i = 0; i < WARM_UP + samples; i++) {
    const began = process.hrtime.bigint();
    for (let j = 0; j < ROUNDS; j++) {
      await steady.add();
      await steady.settle();
    }
    const took = Number(process.hrtime.bigint() - began);
    if (i >= WARM_UP) times.push(took / (ROUND * ROUNDS));
  }
  if (steady.inFlight !== held) throw new Error("calls were lost");
  const mean = times.reduce((sum, time) => sum + time) / times.length;
  return { median: median(times), mean };
}

if (import.meta.main) await program(run);
