/**
 * The steps of a simulated run: each is one thing that can happen.
 *
 * @module
 */

import { RpcError } from "../../mod.ts";
import type { Random } from "../support/random.ts";
import type { End } from "./link.ts";
import type { World } from "./world.ts";

/** A step, its weight in the random choice, and the share of that weight in a world with few faults. */
type Step = readonly [
  weight: number,
  name: string,
  step: (steps: Steps) => void,
  fair?: number,
];

const STEPS: readonly Step[] = [
  [24, "call", (steps) => steps.calls(1)],
  [10, "calls", (steps) => steps.calls(steps.random.between(2, 90)), 0.3],
  [8, "abort", (steps) => steps.abort()],
  [6, "signal", (steps) => steps.signal()],
  [24, "deliver", (steps) => steps.deliver(steps.random.between(1, 60))],
  [36, "deliver all", (steps) => steps.deliver(Infinity)],
  [22, "finish", (steps) => steps.finish(steps.random.between(1, 5))],
  [14, "stream", (steps) => steps.stream(steps.random.between(1, 6))],
  [8, "time", (steps) => steps.wait(steps.random.pick([1, 10, 100, 1000]))],
  [5, "stall", (steps) => steps.stall(), 0.2],
  [5, "window", (steps) => steps.window(), 0.5],
  [5, "ready", (steps) => steps.ready()],
  [3, "close", (steps) => steps.close(), 0.1],
  [2, "reset", (steps) => steps.someLink()?.pair.reset(), 0.1],
  [2, "cut", (steps) => steps.someLine()?.cut(), 0.1],
  [1, "abort connection", (steps) => steps.abortConnection(), 0.1],
  [1, "restart", (steps) => steps.restart(), 0.3],
  [20, "reconnect", (steps) => steps.reconnect()],
];
/** In tenths. */
const weightOf = ([weight, , , share = 1]: Step, fair: boolean) =>
  Math.round(10 * weight * (fair ? share : 1));
const total = (fair: boolean) =>
  STEPS.reduce((sum, step) => sum + weightOf(step, fair), 0);

/** Takes steps. */
export class Steps {
  readonly world: World;
  readonly random: Random;
  #wait = 0;

  constructor(world: World, random: Random) {
    this.world = world;
    this.random = random;
  }

  /** Takes a random step, and returns its name. */
  take(): string {
    const { fair } = this.world;
    let at = this.random.below(total(fair));
    for (const step of STEPS) {
      at -= weightOf(step, fair);
      if (at >= 0) continue;
      const [, name, act] = step;
      act(this);
      return name;
    }
    throw new Error("the weights do not add up");
  }

  // Choices.

  someEnd(): End | undefined {
    const { ends } = this.world;
    return ends.length === 0 ? undefined : this.random.pick(ends);
  }

  /** A random side; nine times out of ten one whose peer can serve calls. */
  someCaller(): End | undefined {
    const { random, world } = this;
    const able = world.ends.filter((end) =>
      end.open && world.endsOf(end.connection)[1].serves
    );
    if (able.length === 0 || random.oneIn(10)) return this.someEnd();
    return random.pick(able);
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
    const end = this.someCaller();
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
      // Aborted in the turn in which it is made.
      if (random.oneIn(12)) world.abort(end, entry);
    }
  }

  abort(): void {
    const end = this.someEnd();
    if (end === undefined) return;
    const { callLog, streams } = this.world;
    const of = callLog.entries.filter(({ link }) => link === end.name);
    const streaming = of.filter((entry) => streams.open(entry));
    const waiting = of.filter(({ received }) => received === undefined);
    const open = this.random.oneIn(2) && streaming.length > 0
      ? streaming
      : waiting;
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
      const fails = this.random.oneIn(6);
      const error = fails ? new RpcError("late_sorry", "") : undefined;
      this.world.finish(handler, error);
    }
  }

  stream(count: number): void {
    this.world.streams.nudge(this.random, count);
  }

  wait(ms: number): void {
    this.#wait = ms;
  }

  /** Virtual time that the last step takes. */
  waited(): number {
    const ms = this.#wait;
    this.#wait = 0;
    return ms;
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

  window(): void {
    const end = this.someEnd();
    if (!end?.serves) return;
    const { windowBytes } = end.grant;
    end.connection.setWindow({
      windowCalls: this.random.pick([0, 1, 3, 64, 100, 300]),
      windowBytes: windowBytes + this.random.pick([0, 0, 100, 70_000]),
    });
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
}
