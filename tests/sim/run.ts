/**
 * One simulated run: random steps with faults, then time without faults, in
 * which everything must come to rest within a stated time.
 *
 * @module
 */

import type { ConnectionStats } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { assertNothingLeft } from "../support/pair.ts";
import { Random } from "../support/random.ts";
import type { End } from "./link.ts";
import { Steps } from "./steps.ts";
import { Trace } from "./trace.ts";
import { World } from "./world.ts";

/** Within this many virtual ms after the last fault, calls on a live connection settle. */
export const CALM = 1000;
/** Within this many virtual ms a closed connection ends: drain, flush and linger. */
export const CLOSED = 12_000;

/** The result of a run. */
export interface RunResult {
  readonly seed: number;
  readonly hash: string;
  readonly steps: number;
  readonly calls: number;
  readonly problems: readonly string[];
  /** The trace, if it was asked for. */
  readonly lines: readonly string[] | undefined;
}

/** Runs one seed. */
export async function simulate(seed: number, keep = false): Promise<RunResult> {
  const run = new Run(seed, keep);
  const { world, trace } = run;
  await run.play().catch((error) => world.problems.push(`thrown: ${error}`));
  return {
    seed,
    hash: trace.hash,
    steps: run.steps,
    calls: world.callLog.entries.length,
    problems: world.problems,
    lines: trace.lines,
  };
}

class Run {
  readonly world: World;
  readonly random: Random;
  readonly trace: Trace;
  steps = 0;
  readonly #steps: Steps;

  constructor(seed: number, keep: boolean) {
    this.random = new Random(seed);
    this.world = new World(this.random.fork());
    this.#steps = new Steps(this.world, this.random);
    this.trace = new Trace(keep);
  }

  async play(): Promise<void> {
    const count = this.random.between(20, 160);
    while (this.steps < count && this.world.problems.length === 0) {
      await this.#settled(this.#steps.take());
    }
    if (this.world.problems.length === 0) await this.#calm();
  }

  async #settled(name: string): Promise<void> {
    this.steps++;
    await this.world.settle();
    const ms = this.#steps.waited();
    if (ms > 0) {
      await this.world.clock.advance(ms);
      await this.world.settle();
    }
    this.trace.note(`${name} ${this.#picture()}`);
  }

  /** The state of the world in one line. */
  #picture(): string {
    const { slots, callLog, held } = this.world;
    const ends = slots.flatMap(({ link }) => link?.both ?? []);
    return [
      `${callLog.next} calls ${callLog.received} received ${callLog.settled} settled ${held.length} held`,
      ...ends.map(picture),
    ].join("; ");
  }

  // The end.

  /** All faults stop: calls on live connections settle, then all connections close. */
  async #calm(): Promise<void> {
    const { world } = this;
    world.streams.calm();
    // A window of 0 calls would keep calls waiting for ever.
    for (const { connection, serves, grant } of world.ends) {
      if (serves) connection.setWindow(grant);
    }
    await this.#rest([0, 1, CALM - 1]);
    for (const entry of world.callLog.open()) {
      world.problems.push(
        `call ${entry.n} (${entry.link}) is still open ${CALM} ms after the last fault`,
      );
    }
    const well = ({ connection }: End) => {
      const ends = world.endsOf(connection);
      return ends.every(({ open, heardHello }) => open && heardHello);
    };
    world.problems.push(...world.streams.judgeCalm(well));
    for (const end of world.ends) {
      const { listeners, timers } = end.connection.stats();
      if (!end.open || !end.heardHello || listeners + timers === 0) continue;
      world.problems.push(
        `${end.name}: idle, with ${listeners} listeners and ${timers} timers`,
      );
    }
    for (const { end, woken } of world.waiters) {
      if (woken === 0) world.problems.push(`${end.name}: ready never woke`);
    }
    await this.#closeAll();
    this.trace.note(`end ${world.links.map(({ ends }) => ends.toSorted())}`);
    for (const { n, received, settled } of world.callLog.entries) {
      this.trace.note(`${n} ${received?.how} ${received?.outcome} ${settled}`);
    }
    for (const line of world.streams.picture()) this.trace.note(line);
  }

  /** Lets time pass in parts. After each part it delivers all bytes and ends all handlers. */
  async #rest(parts: readonly number[]): Promise<void> {
    for (const part of parts) {
      await this.world.clock.advance(part);
      await this.world.settle();
      while (this.world.problems.length === 0 && await this.#drain());
      this.trace.note(`rest ${this.#picture()}`);
    }
  }

  /** Delivers what each line holds, then ends all handlers. Returns false if there was nothing to do. */
  async #drain(): Promise<boolean> {
    const { world } = this;
    let busy = world.held.length > 0;
    for (const line of world.links.flatMap(({ lines }) => lines)) {
      line.resume();
      if (line.held === 0 && !line.ending) continue;
      busy = true;
      line.deliver(Infinity);
      await world.settle();
    }
    this.#steps.finish(Infinity);
    await world.settle();
    return busy;
  }

  async #closeAll(): Promise<void> {
    const { world } = this;
    const closing = [...world.oldServers, world.server].map((s) => s.close());
    for (const end of world.ends) closing.push(end.connection.close());
    await this.#rest(new Array(CLOSED / 1000).fill(1000));
    let closed = false;
    Promise.all(closing).then(() => closed = true);
    await settle(2);
    if (!closed) {
      world.problems.push(`the connections did not close within ${CLOSED} ms`);
    }
    this.#judgeRest();
  }

  #judgeRest(): void {
    const { problems, callLog, clock, signals, streams, links } = this.world;
    problems.push(...callLog.problems(), ...streams.judgeEnd());
    if (clock.timers > 0) problems.push(`${clock.timers} timers are left`);
    if (signals.listeners > 0) {
      problems.push(`${signals.listeners} listeners are left`);
    }
    for (const { both } of links) {
      for (const { name, connection } of both) {
        try {
          assertNothingLeft(connection);
        } catch (error) {
          problems.push(
            `${name}: something is left: ${(error as Error).message}`,
          );
        }
      }
    }
  }
}

/** Chunk counts and the like are left out: they depend on a runtime's streams. */
const SHOWN: readonly (keyof ConnectionStats)[] = [
  "state",
  "inFlight",
  "inFlightBytes",
  "queued",
  "receiving",
  "receivingBytes",
  "running",
  "waiting",
  "streams",
  "streamHeld",
  "streamGranted",
  "streamCredit",
  "lateReplies",
  "listeners",
  "timers",
];

function picture({ name, connection, line }: End): string {
  const stats = connection.stats();
  const shown = SHOWN.map((key) => stats[key]).join(" ");
  return `${name} ${shown} ${line.written}/${line.delivered}`;
}
