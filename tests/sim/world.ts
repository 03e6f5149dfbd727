/**
 * A simulated world: servers and clients in one process, connected by lines
 * that only move when the simulation says so, under a clock that it turns.
 *
 * Invariants owned here:
 * - Handlers that take time end only when a step ends them. So nothing races:
 *   what a step sets off runs to its end before the next step, and no step sets
 *   off two things at one end whose order depended on a runtime's streams.
 * - Everything random comes from the seed.
 *
 * @module
 */

import {
  type CallContext,
  type CallOptions,
  Client,
  type Connection,
  type ConnectionOptions,
  RpcError,
  Server,
} from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";
import { faultPair } from "../support/fault_duplex.ts";
import { CallLedger, type Entry, show } from "../support/ledger.ts";
import type { Random } from "../support/random.ts";
import { SignalCount } from "../support/signal_count.ts";
import { End, type Grant, Link, type Running } from "./link.ts";

/** A handler that waits for a step to end it. */
interface HeldHandler {
  resolve(): void;
  reject(error: unknown): void;
}

/** A place for a connection, used anew when the one before is over. */
export interface Slot {
  readonly name: string;
  /** Whether both ends serve and call. */
  readonly peers: boolean;
  link: Link | undefined;
  made: number;
}

/** A wait for `ready`. */
interface Waiter {
  readonly end: End;
  woken: number;
}

/** Methods that handlers have, the common ones more often. */
const METHODS = [
  "echo",
  "echo",
  "echo",
  "held",
  "held",
  "held",
  "nested",
  "fail",
  "crash",
  "big",
  "closer",
  "none",
] as const;

/** A connection that lets the event loop turn goes on in the same step. */
class StepClock extends TestClock {
  override turn(): Promise<void> {
    return Promise.resolve();
  }
}

/** Everything there is. */
export class World {
  readonly random: Random;
  readonly clock: TestClock = new StepClock(1);
  readonly ledger: CallLedger = new CallLedger();
  readonly signals: SignalCount = new SignalCount();
  readonly slots: Slot[];
  readonly links: Link[] = [];
  readonly held: HeldHandler[] = [];
  readonly waiters: Waiter[] = [];
  /** When each call with a deadline is due, by number. */
  readonly due = new Map<number, number>();
  /** Controllers of calls that can still be aborted. */
  readonly controllers: AbortController[] = [];
  readonly problems: string[] = [];
  /** What ends, by connection. */
  readonly #ends = new Map<Connection, End>();
  readonly #limits: ConnectionOptions & Grant;
  server: Server<object>;
  readonly oldServers: Server<object>[] = [];

  constructor(random: Random) {
    this.random = random;
    this.#limits = limitsOf(random, this.clock);
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

  /** All ends of links that are in use. */
  get ends(): End[] {
    return this.slots.flatMap(({ link }) => link?.both ?? []);
  }

  // Connections.

  /** A new connection in a slot. */
  connect(slot: Slot): void {
    const capacity = this.random.pick([0, 100, 1000, 65_536, 65_536]);
    const manual = { manual: true, capacity };
    const pair = faultPair({ out: manual, back: manual });
    const name = `${slot.name}.${slot.made++}`;
    const far = this.server.accept(pair.far);
    const options = { ...this.#limits, firstId: firstId(this.random) };
    const near = slot.peers
      ? this.server.accept(pair.near)
      : new Client<object>(pair.near, options).connection;
    const grant = this.#limits;
    const nearEnd = new End(`${name}a`, near, pair.out, grant, slot.peers);
    const farEnd = new End(`${name}b`, far, pair.back, grant, true);
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
    return new Server<object>(this.#services(), {
      ...this.#limits,
      wire: undefined,
    });
  }

  // Calls.

  /** A call by `end`, with params that bear its number. */
  call(end: End, options: CallOptions = {}, method?: string): Entry {
    const { random, ledger } = this;
    const n = ledger.next;
    const name = method ?? random.pick(METHODS);
    const params = payload(random, n);
    if (options.timeout !== undefined) {
      this.due.set(n, this.clock.now() + options.timeout);
    }
    const handle = end.connection.go(`T.${name}`, params, options);
    const expected = name === "echo" || name === "held"
      ? show(params)
      : undefined;
    const { signal = options.ctx?.signal } = options;
    const entry = ledger.enter(end.name, handle, expected, signal);
    this.noteGivenUp(end, entry);
    return entry;
  }

  /** Aborts a call by its handle. */
  abort(end: End, entry: Entry): void {
    entry.handle?.abort();
    this.noteGivenUp(end, entry);
  }

  /** If its caller is told that it is in flight, and given up, a CANCEL must follow. */
  noteGivenUp(end: End, entry: Entry): void {
    entry.handle?.reply.catch(() => {
      if (entry.handle?.outcome !== "unknown" || end.over) return;
      if (!end.givenUp.includes(entry)) end.givenUp.push(entry);
    });
  }

  // Services.

  #services(): object {
    const entered = <T>(work: (params: unknown, ctx: CallContext) => T) =>
    (
      params: unknown,
      ctx: CallContext,
    ): T => this.#enter(work, params, ctx);
    return {
      T: {
        echo: entered((params) => params),
        held: entered((params) => this.#hold(() => params)),
        fail: entered(() => {
          throw new RpcError("sorry", "no", { data: [1] });
        }),
        crash: entered(() => {
          throw new Error("not told");
        }),
        big: entered(() => new Uint8Array(this.random.pick([300, 20_000]))),
        nested: entered((_, ctx) => this.#nest(ctx)),
        closer: entered((params, ctx) => {
          if (this.random.oneIn(8)) ctx.connection.close({ ctx });
          return params;
        }),
      },
    };
  }

  /** A handler runs: the ledger and its end are told. */
  #enter<T>(
    work: (params: unknown, ctx: CallContext) => T,
    params: unknown,
    ctx: CallContext,
  ): T {
    const end = this.#ends.get(ctx.connection) as End;
    const link = this.#linkOf(end);
    const call = numberOf(params);
    const { signal } = ctx;
    this.ledger.started(call, this.#peer(link, end).name, ctx);
    end.started(ctx.id);
    const running: Running = { id: ctx.id, aborted: () => signal.aborted };
    end.running.add(running);
    const done = () => {
      end.running.delete(running);
      this.ledger.finished(call, this.#peer(link, end).name, ctx.id);
    };
    let result: T;
    try {
      result = work(params, ctx);
    } catch (error) {
      done();
      throw error;
    }
    if (result instanceof Promise) result.then(done, done);
    else done();
    return result;
  }

  #linkOf(end: End): Link {
    return this.links.find(({ both }) => both.includes(end)) as Link;
  }

  #peer({ near, far }: Link, end: End): End {
    return end === near ? far : near;
  }

  #hold(value: () => unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.held.push({ resolve: () => resolve(value()), reject });
    });
  }

  /** Calls back before it waits; the call inherits signal and deadline. */
  #nest(ctx: CallContext): Promise<unknown> {
    const end = this.#ends.get(ctx.connection) as End;
    this.call(end, { ctx }, this.random.pick(["echo", "held"]));
    return this.#hold(() => "nested");
  }

  // After every step.

  /** Lets everything run that can, one end after the other; then checks all laws. */
  async settle(): Promise<void> {
    await settle(1);
    for (const { lines } of this.links) {
      for (const line of lines) while (line.admit()) await settle(1);
    }
    const { problems } = this;
    for (const link of this.links) problems.push(...link.judge());
    problems.push(...this.ledger.problemsSoFar());
    this.#judgeDeadlines();
    for (const { end, woken } of this.waiters) {
      if (woken > 1) problems.push(`${end.name}: ready woke ${woken} times`);
    }
  }

  #judgeDeadlines(): void {
    const now = this.clock.now();
    for (const [n, due] of this.due) {
      const { told } = this.ledger.entries[n];
      if (told === undefined && due <= now) {
        this.problems.push(`call ${n} was due at ${due}, and waits at ${now}`);
      }
      if (told === undefined) continue;
      this.due.delete(n);
      if (told.how === "deadline_exceeded" && due > now) {
        // The callee measures from when it read the request: later, not earlier.
        this.problems.push(`call ${n}: late at ${now}, due at ${due}`);
      }
    }
  }
}

/** Small limits, so that all of them are met. */
function limitsOf(
  random: Random,
  clock: TestClock,
): ConnectionOptions & Grant {
  return {
    clock,
    maxMessage: 16_384,
    windowCalls: random.pick([1, 2, 5, 16, 64, 200]),
    windowBytes: random.pick([200, 1000, 10_000, 1_000_000]),
    maxRunning: random.pick([1, 2, 4, 16]),
    maxQueuedCalls: random.pick([0, 3, 40, 1000]),
    maxQueuedBytes: random.pick([500, 1_000_000]),
    highWaterMark: random.pick([1, 100, 5000]),
    handshakeTimeout: random.pick([50, 1000, 10_000]),
  };
}

/** Near the places where ids and their signs turn over, too. */
function firstId(random: Random): number {
  return random.pick([1, 1, 0x7ffffff0, 0xffffffe0]);
}

/** Params that bear the call's number. */
function payload(random: Random, n: number): unknown {
  switch (random.below(5)) {
    case 0:
      return n;
    case 1:
      return `${n}é`;
    case 2:
      return Uint8Array.of(n >>> 16, n >>> 8, n);
    case 3:
      return { n, pad: "x".repeat(random.below(400)) };
    default:
      return `${n} ${"y".repeat(random.below(40))}`;
  }
}

function numberOf(params: unknown): number {
  if (typeof params === "number") return params;
  if (typeof params === "string") return parseInt(params);
  if (params instanceof Uint8Array) {
    return (params[0] << 16) | (params[1] << 8) | params[2];
  }
  return (params as { n: number }).n;
}
