/**
 * Measures the cost of one more call, made and settled, while many are pending.
 *
 * There are two forms: `stay`, where the others get no reply and calls are made and
 * settled beside them; and `turn`, where each call gets its reply after all calls
 * before it, as in a full pipeline.
 *
 * @module
 */

import process from "node:process";
import { Client, type EchoServices } from "../../mod.ts";
import { program } from "../support/program.ts";
import { ANSWER, ScriptedPeer } from "../support/scripted_peer.ts";
import { median } from "../support/stats.ts";

/** Number of pending calls, and length of the measurement. */
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

/** Calls made and settled at once, at most the smallest number of pending calls; and how often that happens in one sample. */
const ROUND = 10;
const ROUNDS = 100;

/** Samples that only warm up. */
const WARM_UP = 30;

/** Rounds of calls, which get their replies in the same order. */
class Steady {
  readonly #peer: ScriptedPeer;
  readonly #client: Client<EchoServices>;
  /**
   * The ids of the calls without a reply, and the last reply of each round, in ring
   * buffers: they leave no garbage, whose collection would be measured, too.
   */
  readonly #ids: Uint32Array;
  readonly #replies: (Promise<string> | undefined)[];
  #received = 0;
  #added = 0;
  #settled = 0;

  /** @param rounds Largest number of pending rounds. */
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

  /** Sends the replies of the oldest round. */
  async settle(): Promise<void> {
    const from = this.#settled * ROUND % this.#ids.length;
    this.#peer.answer(this.#ids.subarray(from, from + ROUND));
    const index = this.#settled++ % this.#replies.length;
    const reply = await this.#replies[index];
    if (reply !== ANSWER) throw new Error(`a call was answered "${reply}"`);
  }

  /** Gives the pending rounds no replies. */
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
