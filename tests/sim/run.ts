/**
 * One simulated run: random steps, then an end to all faults, after which
 * everything must come to rest within a stated time.
 *
 * @module
 */

import type { ConnectionStats } from "../../mod.ts";
import { RpcError } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { assertNothingLeft } from "../support/pair.ts";
import { Random } from "../support/random.ts";
import type { End } from "./link.ts";
import { Trace } from "./trace.ts";
import { World } from "./world.ts";

/** Virtual ms after the end of all faults, within which calls on a live connection settle. */
export const CALM = 1000;
/** And within which a closed connection is over: a drain, a flush, a linger. */
export const CLOSED = 12_000;

/** What a run was. */
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
  await run.play();
  const { world, trace } = run;
  return {
    seed,
    hash: trace.hash,
    steps: run.steps,
    calls: world.ledger.entries.length,
    problems: world.problems,
    lines: trace.lines,
  };
}

/** A step, and how often it is taken. */
type Step = readonly [weight: number, name: string, step: (run: Run) => void];

const STEPS: readonly Step[] = [
  [24, "call", (run) => run.calls(1)],
  [10, "calls", (run) => run.calls(run.random.between(2, 90))],
  [8, "abort", (run) => run.abort()],
  [6, "signal", (run) => run.signal()],
  [24, "deliver", (run) => run.deliver(run.random.between(1, 60))],
  [36, "deliver all", (run) => run.deliver(Infinity)],
  [22, "finish", (run) => run.finish(run.random.between(1, 5))],
  [8, "time", (run) => run.wait(run.random.pick([1, 10, 100, 1000]))],
  [5, "stall", (run) => run.stall()],
  [5, "ready", (run) => run.ready()],
  [3, "close", (run) => run.close()],
  [2, "reset", (run) => run.someLink()?.pair.reset()],
  [2, "cut", (run) => run.someLine()?.cut()],
  [1, "abort connection", (run) => run.abortConnection()],
  [1, "restart", (run) => run.restart()],
  [9, "reconnect", (run) => run.reconnect()],
];
const TOTAL = STEPS.reduce((sum, [weight]) => sum + weight, 0);

class Run {
  readonly world: World;
  readonly random: Random;
  readonly trace: Trace;
  steps = 0;
  /** Virtual time that the step under way takes. */
  #wait = 0;

  constructor(seed: number, keep: boolean) {
    this.random = new Random(seed);
    this.world = new World(this.random.fork());
    this.trace = new Trace(keep);
  }

  async play(): Promise<void> {
    const count = this.random.between(20, 160);
    while (this.steps < count && this.world.problems.length === 0) {
      const [, name, step] = this.#choose();
      step(this);
      await this.#settled(name);
    }
    if (this.world.problems.length === 0) await this.#calm();
  }

  #choose(): Step {
    let at = this.random.below(TOTAL);
    for (const step of STEPS) {
      at -= step[0];
      if (at < 0) return step;
    }
    throw new Error("the weights do not add up");
  }

  async #settled(name: string): Promise<void> {
    this.steps++;
    await this.world.settle();
    const ms = this.#wait;
    this.#wait = 0;
    if (ms > 0) {
      await this.world.clock.advance(ms);
      await this.world.settle();
    }
    this.trace.note(`${name} ${this.#picture()}`);
  }

  /** What is settled now. */
  #picture(): string {
    const { slots, ledger, held } = this.world;
    const ends = slots.flatMap(({ link }) => link?.both ?? []);
    return [
      `${ledger.next} calls ${ledger.told} told ${ledger.settled} settled ${held.length} held`,
      ...ends.map(picture),
    ].join("; ");
  }

  // Choices.

  someEnd(): End | undefined {
    const { ends } = this.world;
    return ends.length === 0 ? undefined : this.random.pick(ends);
  }

  someLink() {
    return this.random.pick(this.world.slots).link;
  }

  someLine() {
    const link = this.someLink();
    return link && this.random.pick(link.lines);
  }

  // Steps.

  calls(count: number): void {
    const end = this.someEnd();
    if (end === undefined) return;
    const { random, world } = this;
    const controller = random.oneIn(3) ? world.signals.make() : undefined;
    if (controller !== undefined) world.controllers.push(controller);
    for (let i = 0; i < count; i++) {
      const signal = random.oneIn(2) ? controller?.signal : undefined;
      const timeout = random.oneIn(5)
        ? random.pick([0, 1, 10, 100, 1000, 5000])
        : undefined;
      const entry = world.call(end, { signal, timeout });
      // Given up in the turn it was made.
      if (random.oneIn(12)) world.abort(end, entry);
    }
  }

  abort(): void {
    const end = this.someEnd();
    if (end === undefined) return;
    const open = this.world.ledger.entries
      .filter((entry) => entry.link === end.name && !entry.told);
    if (open.length > 0) this.world.abort(end, this.random.pick(open));
  }

  signal(): void {
    this.world.controllers.pop()?.abort();
  }

  deliver(bytes: number): void {
    const lines = this.world.slots.flatMap(({ link }) => link?.lines ?? []);
    const busy = lines.filter((line) => line.held > 0 || line.ending);
    if (busy.length > 0) this.random.pick(busy).deliver(bytes);
  }

  finish(count: number): void {
    const { held } = this.world;
    for (let i = 0; i < count && held.length > 0; i++) {
      const [handler] = held.splice(this.random.below(held.length), 1);
      if (this.random.oneIn(6)) handler.reject(new RpcError("late_sorry", ""));
      else handler.resolve();
    }
  }

  wait(ms: number): void {
    this.#wait = ms;
  }

  stall(): void {
    const line = this.someLine();
    if (line?.stalled) line.resume();
    else line?.stall();
  }

  ready(): void {
    const end = this.someEnd();
    if (end === undefined) return;
    const waiter = { end, woken: 0 };
    const woken = () => void waiter.woken++;
    end.connection.ready.then(woken, woken);
    this.world.waiters.push(waiter);
  }

  close(): void {
    const timeout = this.random.pick([0, 100, 5000]);
    this.someEnd()?.connection.close({ timeout });
  }

  abortConnection(): void {
    this.someEnd()?.connection.abort(new Error("enough"));
  }

  restart(): void {
    this.world.restart(this.random.pick([0, 100, 5000]));
  }

  reconnect(): void {
    for (const slot of this.world.slots) {
      const { link } = slot;
      if (link !== undefined && !link.near.over) continue;
      this.world.connect(slot);
      return;
    }
  }

  // The end.

  /** All faults stop: calls on live connections settle, then all connections close. */
  async #calm(): Promise<void> {
    const { world } = this;
    await this.#rest([0, 1, CALM - 1]);
    for (const entry of world.ledger.open()) {
      world.problems.push(
        `call ${entry.n} (${entry.link}) is open ${CALM} ms after the faults`,
      );
    }
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
    for (const { n, told, settled } of world.ledger.entries) {
      this.trace.note(`${n} ${told?.how} ${told?.outcome} ${settled}`);
    }
  }

  /** Lets time pass, and after each part of it delivers and ends whatever there is. */
  async #rest(parts: readonly number[]): Promise<void> {
    for (const part of parts) {
      await this.world.clock.advance(part);
      await this.world.settle();
      while (this.world.problems.length === 0 && await this.#drain());
      this.trace.note(`rest ${this.#picture()}`);
    }
  }

  /** Empties one line after the other, then ends all handlers; false if there was nothing. */
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
    this.finish(Infinity);
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
    if (!closed) world.problems.push(`not closed within ${CLOSED} ms`);
    this.#judgeRest();
  }

  #judgeRest(): void {
    const { problems, ledger, clock, signals, links } = this.world;
    problems.push(...ledger.problems());
    if (clock.timers > 0) problems.push(`${clock.timers} timers are left`);
    if (signals.listeners > 0) {
      problems.push(`${signals.listeners} listeners are left`);
    }
    for (const { both } of links) {
      for (const { name, connection } of both) {
        try {
          assertNothingLeft(connection);
        } catch (error) {
          problems.push(`${name}: left behind: ${(error as Error).message}`);
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
  "held",
  "heldBytes",
  "running",
  "waiting",
  "lateReplies",
  "listeners",
  "timers",
];

function picture({ name, connection, line }: End): string {
  const stats = connection.stats();
  const shown = SHOWN.map((key) => stats[key]).join(" ");
  return `${name} ${shown} ${line.entered}/${line.delivered}`;
}
