/**
 * A simulated world: servers and clients in one process. The simulation decides
 * when bytes move between them, and it owns the clock.
 *
 * - A handler that takes time ends only when a step ends it. So nothing races:
 *   the effects of a step end before the next step, and no step starts two
 *   things on one side whose order would depend on a runtime's streams.
 * - Everything random comes from the seed.
 *
 * @module
 */

import {
  type CallHandle,
  type CallOptions,
  Client,
  type Connection,
  type ConnectionOptions,
  ref,
  Server,
} from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";
import { linkedLines } from "../../src/testing/faulty.ts";
import { CallLog, type Entry, show } from "../support/call_log.ts";
import type { Random } from "../support/random.ts";
import { SignalCount } from "../support/signal_count.ts";
import { firstId, limitsOf, methodOf, payload } from "./chance.ts";
import { End, type Grant, Link } from "./link.ts";
import { services } from "./services.ts";
import { SimStreams } from "./streams.ts";

/** A handler that waits for a step to end it. */
interface HeldHandler {
  readonly end: End;
  resolve(): void;
  reject(error: unknown): void;
}

/** A slot for one connection at a time. A new one takes the place of one that has ended. */
export interface Slot {
  readonly name: string;
  /** Whether both sides serve calls and make calls. */
  readonly peers: boolean;
  link: Link | undefined;
  made: number;
}

/** A wait for `ready`. */
interface Waiter {
  readonly end: End;
  woken: number;
}

/** A clock on which a connection that yields to the event loop continues in the same step. */
class StepClock extends TestClock {
  override turn(): Promise<void> {
    return Promise.resolve();
  }
}

/** The whole simulated world. */
export class World {
  readonly random: Random;
  /** Whether faults are few and limits are wide, so that most calls are served. */
  readonly fair: boolean;
  readonly clock: TestClock = new StepClock(1);
  readonly callLog: CallLog = new CallLog();
  readonly signals: SignalCount = new SignalCount();
  readonly slots: Slot[];
  readonly links: Link[] = [];
  readonly held: HeldHandler[] = [];
  /** Functions that end the handlers which a step has chosen, by the side on which they run. */
  readonly #finishing = new Map<End, (() => void)[]>();
  readonly waiters: Waiter[] = [];
  /** When each call with a deadline is due, by number. */
  readonly due = new Map<number, number>();
  /** Controllers of calls that can still be aborted. */
  readonly controllers: AbortController[] = [];
  readonly problems: string[] = [];
  readonly streams: SimStreams;
  /** One call in this many has streams; 0 for none. */
  readonly #streamed: number;
  /** One call in this many refers to the result of another; 0 for none. */
  readonly #dependent: number;
  /** The side that each connection is. */
  readonly #ends = new Map<Connection, End>();
  readonly #limits: ConnectionOptions & Grant;
  server: Server<object>;
  readonly oldServers: Server<object>[] = [];

  constructor(random: Random) {
    this.random = random;
    this.fair = random.oneIn(2);
    this.#limits = limitsOf(random, this.clock, this.fair);
    this.streams = new SimStreams(random.u32(), this.clock);
    this.#streamed = random.pick(this.fair ? [0, 2, 3] : [0, 6, 12]);
    this.#dependent = random.pick([0, 1, 3, 10]);
    this.server = this.#serve();
    const slots = random.between(1, 3);
    this.slots = Array.from({ length: slots }, (_, i) => ({
      name: `slot${i}`,
      peers: random.oneIn(3),
      link: undefined,
      made: 0,
    }));
    for (const slot of this.slots) this.connect(slot);
  }

  /** Both sides of all links that are in use. */
  get ends(): End[] {
    return this.slots.flatMap(({ link }) => link?.both ?? []);
  }

  // Connections.

  /** A new connection in a slot. */
  connect(slot: Slot): void {
    const capacity = this.random.pick([0, 100, 1000, 65_536, 65_536]);
    const manual = { manual: true, capacity };
    const pair = linkedLines({ out: manual, back: manual });
    const name = `${slot.name}.${slot.made++}`;
    const far = this.server.accept(pair.far);
    const options = { ...this.#limits, firstId: firstId(this.random) };
    const near = slot.peers
      ? this.server.accept(pair.near)
      : new Client<object>(pair.near, options).connection;
    const grant = this.#limits;
    const nearEnd = new End(
      `${name}a`,
      near,
      pair.out,
      grant,
      slot.peers,
      true,
    );
    const farEnd = new End(`${name}b`, far, pair.back, grant, true, slot.peers);
    this.#ends.set(near, nearEnd);
    this.#ends.set(far, farEnd);
    slot.link = new Link(pair, nearEnd, farEnd);
    this.links.push(slot.link);
  }

  /** Drains the server, and puts a new one in its place. */
  restart(timeout: number): void {
    this.oldServers.push(this.server);
    this.server.close({ timeout });
    this.server = this.#serve();
  }

  #serve(): Server<object> {
    return new Server<object>(services(this), {
      ...this.#limits,
      protocol: undefined,
    });
  }

  // Calls.

  /** Makes a call from `end`, whose params contain its number. */
  call(end: End, options: CallOptions = {}, method?: string): Entry {
    const { random, callLog } = this;
    const n = callLog.next;
    const streamed = this.#streamed > 0 && random.oneIn(this.#streamed);
    const [name, streams] = method === undefined
      ? methodOf(random, streamed)
      : [method, false];
    const on = name === "echo" || name === "held"
      ? this.#basis(end)
      : undefined;
    const params = streams
      ? this.streams.params(n)
      : on?.handle
      ? { n, depends: true, on: ref(on.handle as CallHandle) }
      : payload(random, n);
    if (streams) options = { ...options, metadata: { n: `${n}` } };
    if (options.timeout !== undefined) {
      this.due.set(n, this.clock.now() + options.timeout);
    }
    const handle = end.connection.go(`T.${name}`, params, options);
    const expected = (name === "echo" || name === "held") && on === undefined
      ? show(params)
      : undefined;
    if (on !== undefined) this.#checkFilled(n, handle, on);
    const { signal = options.ctx?.signal } = options;
    const entry = callLog.enter(end.name, handle, expected, signal);
    if (streamed) this.streams.made(entry, end, signal, this.due.get(n));
    this.noteGivenUp(end, entry);
    return entry;
  }

  /** The call whose result a new call refers to, if it refers to one. */
  #basis(end: End): Entry | undefined {
    const { random } = this;
    if (this.#dependent === 0 || !random.oneIn(this.#dependent)) return;
    const entries = this.callLog.entries.slice(-20).filter(({ link, handle }) =>
      link === end.name && handle !== undefined
    );
    return entries.length === 0 ? undefined : random.pick(entries);
  }

  /** A call that echoes its params gives back the result that it refers to. */
  #checkFilled(n: number, handle: CallHandle, basis: Entry): void {
    handle.reply.then(async (value) => {
      const result = await basis.handle?.reply;
      const { on } = value as { on?: unknown };
      if (show(on) === show(result)) return;
      this.problems.push(`call ${n}: ${show(on)} in place of ${show(result)}`);
    }).catch(() => {});
  }

  /** Aborts a call by its handle. */
  abort(end: End, entry: Entry): void {
    this.streams.abort(entry);
    this.noteGivenUp(end, entry);
  }

  /** If a call is given up while it is in flight, its side must send a CANCEL. */
  noteGivenUp(end: End, entry: Entry): void {
    entry.handle?.reply.catch(() => {
      if (entry.handle?.outcome !== "unknown" || end.over) return;
      if (!end.givenUp.includes(entry)) end.givenUp.push(entry);
    });
  }

  // Handlers.

  /** The side that a connection belongs to, and its peer. */
  endsOf(connection: Connection): readonly [End, End] {
    const end = this.#ends.get(connection) as End;
    const { near, far } = this.links.find(({ both }) => both.includes(end))!;
    return end === near ? [near, far] : [far, near];
  }

  /** Makes a handler wait until a step ends it. */
  hold(end: End, value: () => unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.held.push({ end, resolve: () => resolve(value()), reject });
    });
  }

  /** Ends a handler when the world settles, together with the other chosen handlers of its side. */
  finish({ end, resolve, reject }: HeldHandler, error?: unknown): void {
    const finish = () => error === undefined ? resolve() : reject(error);
    this.#finishing.set(end, [...this.#finishing.get(end) ?? [], finish]);
  }

  // After every step.

  /** Lets everything run that can, one side after the other; then checks all rules. */
  async settle(): Promise<void> {
    await this.#quiet();
    this.#judgeLinks();
    for (const [end, handlers] of this.#finishing) {
      this.#finishing.delete(end);
      for (const finish of handlers) finish();
      await this.#quiet();
      this.#judgeLinks();
    }
    let actor;
    while ((actor = this.streams.next()) !== undefined) {
      actor.act();
      await this.#quiet();
      this.#judgeLinks();
    }
    const { problems } = this;
    problems.push(...this.callLog.problemsSoFar());
    problems.push(...this.streams.judgeCancels(({ exact }) => exact));
    this.#judgeDeadlines();
    for (const { end, woken } of this.waiters) {
      if (woken > 1) problems.push(`${end.name}: ready woke ${woken} times`);
    }
  }

  /** Lets everything run that does not wait for a step. */
  async #quiet(): Promise<void> {
    await settle(1);
    for (const { lines } of this.links) {
      for (const line of lines) while (line.resumeWriter()) await settle(1);
    }
  }

  #judgeLinks(): void {
    const { problems, streams } = this;
    // The streams come first: they know which of them are given up.
    problems.push(...streams.judge());
    for (const link of this.links) problems.push(...link.judge());
  }

  #judgeDeadlines(): void {
    const now = this.clock.now();
    for (const [n, due] of this.due) {
      const { received } = this.callLog.entries[n];
      if (received === undefined && due <= now) {
        this.problems.push(
          `call ${n} had its deadline at ${due}, and still waits at ${now}`,
        );
      }
      if (received === undefined) continue;
      this.due.delete(n);
      if (received.how === "deadline_exceeded" && due > now) {
        // The server counts from when it reads the request: it may be later, never earlier.
        this.problems.push(
          `call ${n}: deadline_exceeded at ${now}, before its deadline at ${due}`,
        );
      }
    }
  }
}
