/**
 * One simulated run with hostile peers: some connections of one server and some
 * clients, each with a peer that breaks the rules. At the end nothing may be
 * left of any of them.
 *
 * - Everything random comes from the seed, and the run owns the clock.
 * - A connection ends within {@linkcode PATIENCE} of virtual time, whatever its
 *   peer did. Then the signals of its handlers have fired, its calls are
 *   settled, both directions of its transport have ended, and it holds nothing.
 * - Once the handlers have ended, too, the whole capacity of the server is free
 *   again: an honest client can use it.
 *
 * @module
 */

import {
  type CallContext,
  type CallHandle,
  type CallOptions,
  Client,
  type Connection,
  memoryPair,
  ref,
  Server,
  type ServerOptions,
} from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";
import { type LinkedLines, linkedLines } from "../../src/testing/faulty.ts";
import { assertNothingLeft } from "../support/pair.ts";
import { Random } from "../support/random.ts";
import { HostilePeer } from "./hostile_peer.ts";
import {
  type Entered,
  type HostileHost,
  hostileServices,
} from "./hostile_services.ts";
import { CLOSED } from "./run.ts";
import { count, type Tally } from "./tally.ts";

/** Connections of one run. */
export const LINKS = 8;
/** Largest number of steps of a peer before it ends its side. */
const ROUNDS = 60;
/** Virtual ms within which a connection ends after its peer has ended its side. */
const PATIENCE = 900_000;
/** Virtual ms within which handlers end whose signals have fired. */
const CLEANUP = 20_000;

/** The result of a run. */
export interface HostileResult {
  readonly seed: number;
  readonly problems: readonly string[];
  readonly connections: number;
  /** What was tried: frames by kind, breaches and exits by name, ends of connections by role and code, and what ran. */
  readonly tallies: Readonly<Record<TallyName, Tally>>;
}

/** The tables that a run fills. */
export type TallyName = "frames" | "breaches" | "ends" | "work";

/** Runs one seed. */
export async function simulateHostile(seed: number): Promise<HostileResult> {
  const world = new HostileWorld(new Random(seed));
  await world.play().catch((error) =>
    world.problems.push(`thrown: ${error?.stack ?? error}`)
  );
  const { problems, tallies } = world;
  return { seed, problems, connections: LINKS, tallies };
}

/** A clock on which a connection that yields to the event loop continues in the same step. */
class StepClock extends TestClock {
  override turn(): Promise<void> {
    return Promise.resolve();
  }
}

/** One real side, and its hostile peer. */
interface HostileLink {
  readonly name: string;
  readonly connection: Connection;
  readonly peer: HostilePeer;
  readonly pair: LinkedLines;
  /** Whether the real side makes calls. */
  readonly calls: boolean;
  /** How many of its calls, readers of results and sources of params have not ended. */
  open: number;
  ended: boolean;
  /** The virtual time by which it must have ended. */
  closeBy: number;
}

/** Limits of the server. */
const MAX_TOTAL_RUNNING = 48;
/** How many handlers one connection may run: the last quarter is reserved for connections that run none. */
const ONE_RUNS = 36;
const MAX_TOTAL_BUFFERED = 145_000;

class HostileWorld implements HostileHost {
  readonly random: Random;
  readonly clock: TestClock = new StepClock(1);
  readonly problems: string[] = [];
  readonly tallies: Record<TallyName, Tally> = {
    frames: {},
    breaches: {},
    ends: {},
    work: {},
  };
  readonly entered: Set<Entered> = new Set();
  readonly released: Promise<void>;
  started = 0;
  readonly #release: () => void;
  readonly #options: ServerOptions;
  readonly #server: Server<object>;
  readonly #links: HostileLink[] = [];
  #canary: Connection | undefined;

  constructor(random: Random) {
    this.random = random;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.released = promise;
    this.#release = resolve;
    const services = hostileServices(this);
    this.#options = this.#limits();
    this.#server = new Server<object>(services, this.#options);
    for (let i = 0; i < LINKS; i++) this.#links.push(this.#connect(i));
  }

  /** Small limits, so that peers reach them. */
  #limits(): ServerOptions {
    const { random, clock } = this;
    return {
      clock,
      maxMessage: 131_072,
      windowCalls: random.pick([2, 64, 100]),
      windowBytes: random.pick([1000, 150_000]),
      maxRunning: random.pick([1, 6, 40]),
      highWaterMark: random.pick([1, 5000, 50_000]),
      maxSendBuffer: random.pick([65_536, 150_000]),
      streamCredit: random.pick([16_384, 65_536]),
      maxStreams: random.pick([0, 2, 8]),
      connectionCredit: random.pick([65_536, 200_000]),
      handshakeTimeout: 3000,
      keepaliveTime: random.pick([4000, 4000, 60_000]),
      keepaliveTimeout: 2000,
      writeTimeout: 3000,
      messageTimeout: 5000,
      idleTimeout: random.pick([8000, Infinity]),
      maxTotalRunning: MAX_TOTAL_RUNNING,
      maxTotalBuffered: MAX_TOTAL_BUFFERED,
      onError: () => {},
      authorize: this.#authorize(),
    };
  }

  /** The `authorize` of a server: none, or one that takes time, rejects, or never answers. */
  #authorize(): ServerOptions["authorize"] {
    const { random, clock } = this;
    if (!random.oneIn(4)) return undefined;
    return (_, connection) => {
      if (connection === this.#canary) return true;
      const answer = random.pick([
        true,
        true,
        true,
        true,
        true,
        false,
        undefined,
      ]);
      if (random.oneIn(3)) return answer;
      if (random.oneIn(9)) return new Promise(() => {});
      return new Promise((resolve, reject) =>
        clock.setTimeout(
          () => random.oneIn(9) ? reject(new Error("no")) : resolve(answer),
          random.pick([1, 200, 2000]),
        )
      );
    };
  }

  #connect(i: number): HostileLink {
    const { random } = this;
    const capacity = random.pick([100, 65_536]);
    const pair = linkedLines({
      out: { capacity },
      back: { capacity: 1 << 20 },
    });
    const serves = !random.oneIn(3);
    const calls = !serves || random.oneIn(3);
    const connection = serves
      ? this.#server.accept(pair.near)
      : new Client<object>(pair.near, {
        ...this.#options,
        windowCalls: undefined,
        firstId: random.pick([1, 0x7ffffff0, 0xffffffe0]),
      } as object).connection;
    const { frames, breaches, ends } = this.tallies;
    const { maxStreams = 0 } = this.#options;
    const peer = new HostilePeer(
      random.fork(),
      pair.far,
      maxStreams,
      serves,
      frames,
      breaches,
    );
    pair.out.onWritten = (bytes) => peer.hear(bytes);
    const role = serves ? calls ? "both" : "server" : "client";
    const name = `link ${i} (${role})`;
    const link = {
      name,
      connection,
      peer,
      pair,
      calls,
      open: 0,
      ended: false,
      closeBy: Infinity,
    };
    connection.closed.then((reason) => {
      link.ended = true;
      const late = this.clock.now() - link.closeBy;
      if (late > 0) this.problems.push(`${name}: closed ${late} ms too late`);
      count(ends, `${role}: ${reason?.code ?? "in order"}`);
      // The peer may send `internal`, too, but then nothing was thrown on the real side.
      if (reason?.code === "internal" && reason.cause !== undefined) {
        this.problems.push(
          `${name}: an internal error of the library: ${reason.cause}`,
        );
      }
      this.#judgeHandlers(link);
    });
    return link;
  }

  // What the real sides do.

  #act(link: HostileLink): void {
    const { random } = this;
    const { connection } = link;
    if (link.calls && !random.oneIn(3)) this.#call(link);
    if (random.oneIn(60)) {
      const timeout = random.below(3000);
      link.closeBy = Math.min(
        link.closeBy,
        this.clock.now() + timeout + CLOSED,
      );
      void connection.close({ timeout });
    }
    if (random.oneIn(150)) void connection.abort();
    if (random.oneIn(30)) void connection.ping();
  }

  /** The latest call of each real side: the next one may refer to its result. */
  readonly #latest = new WeakMap<HostileLink, CallHandle>();

  /** Makes a call, which may have streams and a deadline, and may be aborted. */
  #call(link: HostileLink, options: CallOptions = {}): Promise<unknown> {
    const { random, clock } = this;
    const done = this.#open(link);
    if (random.oneIn(3)) options = { ...options, timeout: random.below(3000) };
    if (random.oneIn(4)) {
      const controller = new AbortController();
      clock.setTimeout(() => controller.abort(), random.below(2000));
      options = { ...options, signal: controller.signal };
    }
    const latest = this.#latest.get(link);
    const plain = latest !== undefined && random.oneIn(3)
      ? [1, ref(latest)]
      : [1, "two"];
    const params = random.oneIn(4) ? this.#source(link) : plain;
    const handle = link.connection.go("T.any", params, options);
    this.#latest.set(link, handle);
    count(this.tallies.work, "calls by real sides");
    const read = handle.reply.then((result) => {
      if (result instanceof ReadableStream) return this.#readAll(link, result);
    }, () => {});
    Promise.all([handle.settled, read]).then(done);
    return handle.reply.then(() => {}, () => {});
  }

  /** Records that something has started. The function it returns records its end. */
  #open(link: HostileLink): () => void {
    link.open++;
    return () => void link.open--;
  }

  async *#source(link: HostileLink): AsyncGenerator<unknown> {
    const done = this.#open(link);
    const { random, clock } = this;
    try {
      for (let i = random.pick([0, 2, 30]); i > 0; i--) {
        yield random.pick<unknown>([i, "x", new Uint8Array(3000)]);
        if (!random.oneIn(4)) continue;
        await new Promise<void>((go) => clock.setTimeout(go, 100));
      }
      if (random.oneIn(4)) throw new Error("the source fails");
    } finally {
      done();
    }
  }

  /** Reads a result to its end, or cancels it before.  */
  async #readAll(link: HostileLink, result: ReadableStream): Promise<void> {
    const done = this.#open(link);
    try {
      for await (const _ of result) if (this.random.oneIn(5)) break;
    } catch {
      // It has failed, which is an end, too.
    }
    done();
  }

  callBack(ctx: CallContext): Promise<unknown> {
    const { connection } = ctx;
    const link = this.#links.find((link) => link.connection === connection);
    if (link === undefined) return Promise.resolve();
    return this.#call(link, { ctx });
  }

  breakOne(): void {
    const busy = this.#links.filter(({ connection }) =>
      connection.calls().length > 0
    );
    if (busy.length === 0 || this.#canary !== undefined) return;
    void this.random.pick(busy).connection.abort("in the middle of a call");
  }

  isCanary(connection: Connection): boolean {
    return connection === this.#canary;
  }

  // The run.

  async play(): Promise<void> {
    const { random, clock } = this;
    for (let round = 0; round < ROUNDS; round++) {
      // Also where the peer has ended its side: the real side may continue for long.
      const live = this.#links.filter(({ ended }) => !ended);
      if (live.every(({ peer }) => peer.gone)) break;
      for (const link of live) {
        link.peer.step();
        if (random.oneIn(4)) this.#act(link);
      }
      await settle(1);
      if (random.oneIn(6)) {
        await clock.advance(random.pick([1, 10, 100, 1000, 4000]));
      }
    }
    for (const { peer, ended } of this.#links) if (!ended) peer.leave();
    await this.#rest();
    for (const link of this.#links) this.#judge(link);
    await this.#cleanUp();
    if (this.problems.length === 0) await this.#sing();
  }

  /** Lets time pass until every connection has ended, at most `PATIENCE`. */
  async #rest(): Promise<void> {
    await settle(2);
    for (let ms = 1, passed = 0; passed < PATIENCE; passed += ms) {
      if (this.#links.every(({ ended }) => ended)) return;
      ms = Math.min(20_000, 2 * ms);
      await this.clock.advance(ms);
    }
  }

  /** Checks that nothing is left of a connection that must have ended. */
  #judge(link: HostileLink): void {
    const { name, connection, pair, open } = link;
    const wrong = (text: string) => this.problems.push(`${name}: ${text}`);
    if (!link.ended) {
      wrong(
        `has not ended after ${PATIENCE} ms: ${
          JSON.stringify(connection.stats())
        }`,
      );
      return;
    }
    try {
      assertNothingLeft(connection);
    } catch (error) {
      wrong(`something is left: ${(error as Error).message}`);
    }
    if (connection.calls().length > 0) {
      wrong(`live calls: ${JSON.stringify(connection.calls())}`);
    }
    if (!pair.out.over) wrong("its writing direction has not ended");
    if (!pair.back.over) wrong("its reading direction has not ended");
    if (open > 0) this.#unfinished.push(link);
  }
  readonly #unfinished: HostileLink[] = [];

  /** A connection has ended: the signals of its running handlers must have fired. */
  #judgeHandlers({ name: link, connection }: HostileLink): void {
    for (const { ctx, name } of this.entered) {
      if (ctx.connection !== connection) continue;
      count(
        this.tallies.work,
        "handlers that ran at the end of their connection",
      );
      if (ctx.signal.aborted) continue;
      this.problems.push(
        `${link}: the signal of ${name} ${ctx.id} has not fired`,
      );
    }
  }

  /** Ends the handlers that ignore their signals, and waits for the others. */
  async #cleanUp(): Promise<void> {
    count(this.tallies.work, "handlers started", this.started);
    this.#release();
    await this.clock.advance(CLEANUP);
    for (const { name, open } of this.#unfinished) {
      if (open > 0) {
        this.problems.push(
          `${name}: ${open} of its calls and streams are open`,
        );
      }
    }
    for (const { name, connection } of this.#links) {
      const { running, waiting } = connection.stats();
      if (running + waiting === 0) continue;
      this.problems.push(
        `${name}: ${running} run and ${waiting} wait after the end`,
      );
    }
    for (const { ctx, name } of this.entered) {
      this.problems.push(`${name} ${ctx.id} is still running`);
    }
    const { connections, running } = this.#server.stats();
    if (connections + running > 0) {
      this.problems.push(
        `the server has ${connections} connections, ${running} running`,
      );
    }
    if (this.clock.timers > 0) {
      this.problems.push(`${this.clock.timers} timers are left`);
    }
  }

  /** An honest client can use the whole capacity that one connection may have. */
  async #sing(): Promise<void> {
    const { clock } = this;
    const { windowCalls = 0, windowBytes = 0, maxRunning = 0 } = this.#options;
    const [near, far] = memoryPair();
    this.#canary = this.#server.accept(far);
    const client = new Client<object>(near, { clock });
    const { connection } = client;
    let answered = false;
    connection.call("T.now").then(() => answered = true, () => {});
    await settle(4);
    if (!answered) this.problems.push("an honest client is not served");
    const most = Math.min(ONE_RUNS, maxRunning, windowCalls);
    for (let i = 0; i < ONE_RUNS; i++) connection.go("T.hold");
    // The client waits for bytes of the window: fewer are free than a call needs.
    const size = Math.min(125_000, windowBytes);
    connection.go("T.hold", new Uint8Array(Math.max(0, size - 3000)));
    await settle(4);
    const { running = 0, state } = this.#canary?.stats() ?? {};
    if (running < most || state !== "open") {
      this.problems.push(
        `an honest client runs ${running} of ${most} handlers, ${state}`,
      );
    }
    await client.abort();
    await this.#server.close({ timeout: 1000 });
    await clock.advance(CLEANUP);
    if (clock.timers > 0) {
      this.problems.push(`${clock.timers} timers of the server are left`);
    }
  }
}
