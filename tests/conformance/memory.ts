/**
 * Clients and servers of this library as targets in one process: memory pairs, and
 * a clock that the cases move.
 *
 * @module
 */

import { assert } from "@std/assert";
import {
  type ClientOptions,
  type Clock,
  type Connection,
  type Duplex,
  memoryPair,
  Server,
  type ServerOptions,
} from "../../mod.ts";
import { settle, TestClock, turn } from "../support/clock.ts";
import { assertNothingLeft } from "../support/pair.ts";
import { drive } from "./driver.ts";
import { conformanceServices } from "./services.ts";
import { ClientSession, type Target } from "./session.ts";
import type { Pace } from "./wire.ts";

/** Turns of the event loop after which nothing more happens by itself. */
const QUIET_TURNS = 12;
const PATIENT_TURNS = 2000;

/** A clock that does not move, and turns of the event loop in place of time. */
class MemoryPace implements Pace {
  readonly clock = new TestClock();

  async within<T>(what: string, promise: Promise<T>, extra = 0): Promise<T> {
    let done = false;
    const mark = () => done = true;
    promise.then(mark, mark);
    for (let i = 0; i < PATIENT_TURNS && !done; i++) {
      if (i === QUIET_TURNS && extra > 0) await this.clock.advance(extra);
      await turn();
    }
    if (!done) throw new Error(`${what} came`);
    return await promise;
  }

  async quiet(): Promise<void> {
    await settle(QUIET_TURNS);
  }

  async lapse(ms: number): Promise<void> {
    await this.clock.advance(ms);
  }
}

/** A target in memory, and the check that nothing is left of it. */
export interface MemoryTarget extends Target {
  end(): Promise<void>;
}

/** Handlers that the server runs at once on a connection: few, so that calls come to wait. */
const RUNNING = 8;

/** A man in the middle between the suite and a side, which may change frames. */
export type Between = (far: Duplex) => Duplex;

const direct: Between = (far) => far;

/** A server of this library. */
export function memoryServer(
  options: ServerOptions = {},
  between = direct,
  services: object = conformanceServices(RUNNING),
): MemoryTarget {
  const pace = new MemoryPace();
  const { clock } = pace;
  const server = new Server(services, {
    clock,
    maxRunning: RUNNING,
    ...options,
  });
  const connections: Connection[] = [];
  const dial = () => {
    const [near, far] = memoryPair();
    connections.push(server.accept(far));
    return Promise.resolve(between(near));
  };
  const end = async () => {
    await over(pace, connections.map(({ closed }) => closed));
    for (const connection of connections) assertNothingLeft(connection);
    await server.close();
  };
  return { role: "server", pace, dial, end };
}

/** Follows the instructions of the suite, over connections that it dials. */
export type Driver = (
  dial: () => Promise<Duplex>,
  options: ClientOptions & { readonly clock: Clock },
) => Promise<void>;

/** A client: of this library, unless another one is given. */
export function memoryClient(
  options: ClientOptions = {},
  between = direct,
  run: Driver = drive,
): MemoryTarget {
  const pace = new MemoryPace();
  const { clock } = pace;
  const dialed: Duplex[] = [];
  let wake = Promise.withResolvers<void>();
  const driver = run(() => {
    const [near, far] = memoryPair();
    dialed.push(far);
    wake.resolve();
    return Promise.resolve(near);
  }, { clock, ...options });
  const dial = async () => {
    while (dialed.length === 0) {
      wake = Promise.withResolvers();
      await wake.promise;
    }
    return between(dialed.shift()!);
  };
  const target: MemoryTarget = {
    role: "client",
    pace,
    dial,
    end: async () => {
      await dismiss(target);
      await over(pace, [driver]);
      assert(clock.timers === 0, `${clock.timers} timers are left`);
    },
  };
  return target;
}

/** Tells a client that there are no further instructions. */
export async function dismiss(target: Target): Promise<void> {
  const session = new ClientSession(target);
  await session.open();
  await session.exchangeHello();
  await session.dismiss();
  await session.end();
}

/** Waits for everything that must have ended, except lingering connections. */
async function over(pace: MemoryPace, ends: Promise<unknown>[]): Promise<void> {
  await pace.within("no end of it", Promise.all(ends), 10_000);
}
