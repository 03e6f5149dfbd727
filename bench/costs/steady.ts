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

/** Calls made and answered at once, and how often that is done for a sample. */
const ROUND = 64;
const ROUNDS = 16;

/** Samples before the first that counts. */
const WARM_UP = 30;

class Steady {
  readonly #peer: ScriptedPeer;
  readonly #client: Client<EchoServices>;
  /** Ids not answered yet, from `#next` on, and a reply of each round. */
  #ids: number[] = [];
  #next = 0;
  #replies: Promise<string>[] = [];
  #nextReply = 0;

  constructor() {
    this.#peer = new ScriptedPeer((id) => this.#ids.push(id));
    this.#client = new Client<EchoServices>(this.#peer.duplex);
  }

  get inFlight(): number {
    return this.#client.stats().inFlight;
  }

  /** Makes calls, and waits until the peer has them. */
  async add(count: number): Promise<void> {
    let last: Promise<string> | undefined;
    for (let i = 0; i < count; i++) {
      last = this.#client.call("HelloService.Hello", "client");
    }
    this.#replies.push(last!);
    await this.#peer.received(this.#peer.requests + count);
  }

  /** Answers the oldest round. */
  async settle(): Promise<void> {
    const ids = this.#ids.slice(this.#next, this.#next + ROUND);
    this.#next += ROUND;
    this.#peer.answer(ids);
    const reply = await this.#replies[this.#nextReply++];
    if (reply !== ANSWER) throw new Error(`a call was answered "${reply}"`);
  }

  /** Leaves what is pending now unanswered. */
  forget(): void {
    this.#replies = [];
    this.#nextReply = 0;
    this.tidy(this.#ids.length);
  }

  /** Frees what lies behind. */
  tidy(upTo = this.#next): void {
    this.#ids = this.#ids.slice(upTo);
    this.#next = 0;
    this.#replies = this.#replies.slice(this.#nextReply);
    this.#nextReply = 0;
  }
}

async function run(
  { form, pending, samples }: SteadyOrder,
): Promise<SteadyResult> {
  const steady = new Steady();
  for (let left = pending; left > 0; left -= ROUND) {
    await steady.add(form === "turn" ? ROUND : Math.min(left, ROUND));
  }
  if (form === "stay") steady.forget();
  const held = steady.inFlight;
  const times: number[] = [];
  for (let i = 0; i < WARM_UP + samples; i++) {
    const began = process.hrtime.bigint();
    for (let j = 0; j < ROUNDS; j++) {
      await steady.add(ROUND);
      await steady.settle();
    }
    const took = Number(process.hrtime.bigint() - began);
    if (i >= WARM_UP) times.push(took / (ROUND * ROUNDS));
    steady.tidy();
  }
  if (steady.inFlight !== held) throw new Error("calls were lost");
  const mean = times.reduce((sum, time) => sum + time) / times.length;
  return { median: median(times), mean };
}

if (import.meta.main) await program(run);
