/**
 * A fixed scenario: calls of every kind, the same each time, over an in-memory
 * pair. The scenario decides when time passes and when handlers end. Tests put a
 * fault at every byte of it; `finish` checks that nothing is left afterwards.
 *
 * It has few bytes (one-letter names, payloads of a few bytes), so that tests can
 * visit every offset.
 *
 * @module
 */

import {
  type CallContext,
  type CallHandle,
  type CallOptions,
  Client,
  type Connection,
  type Duplex,
  ref,
  RpcError,
  Server,
} from "../../mod.ts";
import { settle, TestClock } from "./clock.ts";
import { linkedLines } from "../../src/testing/faulty.ts";
import type { Fault, FaultLine } from "../../src/testing/fault_line.ts";
import { CallLog, type Entry, show } from "./call_log.ts";
import { assertNothingLeft } from "./pair.ts";
import { SignalCount } from "./signal_count.ts";
import { type SourceEnd, StreamWatch } from "./stream_watch.ts";

/** Faults of the two directions: `out` is what the client writes. */
export interface ScenarioFaults {
  readonly out?: Fault;
  readonly back?: Fault;
}

/** The result of a scenario. */
export interface ScenarioRecord {
  /** Calls made. */
  readonly calls: number;
  /** Bytes delivered to the server, and to the client. */
  readonly out: number;
  readonly back: number;
  /** How many callers received what: `reply`, an error's code, or `aborted`. */
  readonly received: Readonly<Record<string, number>>;
}

/** Options of {@linkcode runScenario}. */
export interface RunOptions {
  readonly faults?: ScenarioFaults;
  /** Whether bytes may have changed on their way. If so, only the end of everything is checked, not the contents. */
  readonly garbled?: boolean;
  /** Sees the bytes of both directions as they are written. */
  readonly record?: (direction: "out" | "back", bytes: Uint8Array) => void;
  /** Two connected duplexes in place of those with `faults`; they may have faults of their own. */
  readonly over?: { readonly near: Duplex; readonly far: Duplex };
}

/** Runs the scenario once to its end, and checks that nothing is left. */
export async function runScenario(
  options: RunOptions = {},
): Promise<ScenarioRecord> {
  const scenario = new Scenario(options);
  await scenario.play();
  await scenario.finish(options.garbled === true);
  return scenario.recorded();
}

/** Small limits, so that calls wait for the window and for `maxRunning`. */
const LIMITS = { windowCalls: 24, windowBytes: 2048, maxRunning: 6 };
/** Items of a stream. */
const ITEMS = 3;
/** The kinds of payloads. */
const KINDS = ["json", "string", "bytes", "object", "undefined"] as const;

class Scenario {
  readonly #callLog = new CallLog();
  readonly #clock = new TestClock(1);
  readonly #signals = new SignalCount();
  readonly #watch = new StreamWatch();
  readonly #client: Client<object>;
  readonly #server: Server<object>;
  readonly #connection: Connection;
  readonly #out: FaultLine;
  readonly #back: FaultLine;
  readonly #faulty: boolean;
  /** Handlers that the scenario has not ended yet, in the order in which they started. */
  readonly #held: { resolve(): void; reject(error: unknown): void }[] = [];

  constructor({ faults, record, over }: RunOptions) {
    const { out, back, ...pair } = linkedLines({
      out: { faults: faults?.out && [faults.out] },
      back: { faults: faults?.back && [faults.back] },
    });
    const { near, far } = over ?? pair;
    this.#faulty = faults !== undefined || over !== undefined;
    this.#out = out;
    this.#back = back;
    if (record !== undefined) {
      out.onWritten = (bytes) => record("out", bytes);
      back.onWritten = (bytes) => record("back", bytes);
    }
    const clock = this.#clock;
    this.#server = new Server<object>(this.#services(), { clock, ...LIMITS });
    this.#connection = this.#server.accept(far);
    this.#client = new Client<object>(near, { clock });
  }

  /** Counts what happened. */
  recorded(): ScenarioRecord {
    const received: Record<string, number> = {};
    for (const { received: reply } of this.#callLog.entries) {
      if (reply === undefined) continue;
      received[reply.how] = (received[reply.how] ?? 0) + 1;
    }
    const { entries } = this.#callLog;
    const { delivered: out } = this.#out;
    return { calls: entries.length, out, back: this.#back.delivered, received };
  }

  // The server's side. The params of a call contain its number; calls without
  // one are identified by their id.

  #services(): object {
    const run = <T>(
      work: (params: unknown, ctx: CallContext) => T,
    ) =>
    (params: unknown, ctx: CallContext): T => {
      const call = numberOf(params);
      this.#callLog.started(call, "s", ctx);
      const done = () => this.#callLog.finished(call, "s", ctx.id);
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
    };
    return {
      S: {
        e: run((params) => params),
        h: run((params) =>
          new Promise((resolve, reject) => {
            this.#held.push({ resolve: () => resolve(params), reject });
          })
        ),
        f: run(() => {
          throw new RpcError("sorry", "no", { data: 1 });
        }),
        t: run(() => {
          throw new Error("hidden");
        }),
        c: run(() => 1n),
        d: run(() => this.#watch.source(ITEMS)),
        b: run(() => this.#watch.source(ITEMS, "throw")),
        w: run(() => this.#watch.source(1, "wait")),
        p: run((params) =>
          this.#watch.read(params as ReadableStream<unknown>, ITEMS)
        ),
        q: run((params) =>
          this.#watch.read(params as ReadableStream<unknown>, ITEMS, 1)
        ),
      },
    };
  }

  /** Ends held handlers, the first and the last in turn, so that replies overtake each other. */
  #release(count = Infinity): void {
    for (let i = 0; i < count && this.#held.length > 0; i++) {
      const { resolve, reject } = i % 2
        ? this.#held.pop()!
        : this.#held.shift()!;
      if (i % 5 === 4) reject(new RpcError("late_sorry", ""));
      else resolve();
    }
  }

  // The client's side.

  #go(method: string, options?: CallOptions, kind = this.#callLog.next): Entry {
    const { params, expected } = payload(this.#callLog.next, kind);
    const handle = this.#client.connection.go(`S.${method}`, params, options);
    return this.#callLog.enter("s", handle, expected);
  }

  #call(method: string, options?: CallOptions): Entry {
    const { params, expected } = payload(this.#callLog.next, 0);
    const reply = this.#client.connection.call(`S.${method}`, params, options);
    return this.#callLog.enter("s", reply, expected);
  }

  #times(count: number, method: string, options?: CallOptions): Entry[] {
    return Array.from({ length: count }, () => this.#go(method, options));
  }

  /** Runs all parts of the scenario. */
  async play(): Promise<void> {
    await this.#beforeHello();
    await this.#plain();
    await this.#windows();
    await this.#dependents();
    await this.#streams();
    await this.#aborts();
    await this.#deadlines();
    await this.#crowd();
    await this.#closing();
  }

  /** Before any HELLO: more calls than may be sent by then, some of them aborted. */
  async #beforeHello(): Promise<void> {
    const first = this.#times(10, "e");
    this.#times(4, "h");
    abort(first[3], first[7]);
    this.#times(4, "e");
    await settle(1);
    this.#release();
    await settle(1);
  }

  /** Calls without aborts and deadlines. */
  async #plain(): Promise<void> {
    for (let i = 0; i < 12; i++) {
      this.#call("e");
      if (i % 4 === 3) await settle(1);
    }
    this.#times(3, "f");
    this.#go("t");
    this.#go("c");
    this.#go("x");
    this.#go("e", undefined, KINDS.length);
    this.#go("e", { metadata: { a: "b" } });
    await settle(1);
    this.#times(8, "h");
    await settle(1);
    this.#release(3);
    await settle(1);
    this.#release();
    await settle(1);
    for (let i = 0; i < 6; i++) {
      this.#go("e");
      await settle(1);
    }
  }

  /** The server lowers its window, to nothing in the end, and raises it again. */
  async #windows(): Promise<void> {
    for (const windowCalls of [2, 0, LIMITS.windowCalls]) {
      this.#connection.setWindow({ windowCalls });
      this.#times(4, "e");
      await settle(2);
    }
  }

  /** A call whose params refer to the result of another. */
  #on(
    entry: Entry,
    method: string,
    path?: "n" | "x",
    expected?: unknown,
  ): Entry {
    const n = this.#callLog.next;
    const result = ref(entry.handle as CallHandle);
    const on = path === undefined ? result : result[path];
    const handle = this.#client.connection.go(`S.${method}`, { n, on });
    const shown = expected === undefined
      ? undefined
      : show({ n, on: expected });
    return this.#callLog.enter("s", handle, shown);
  }

  /** Dependent calls: chains, some of which wait, fail, or are aborted; a path that leads nowhere; a result that is not kept. */
  async #dependents(): Promise<void> {
    const first = this.#go("e", undefined, KINDS.indexOf("object"));
    const second = this.#on(first, "e", "n", first.n);
    this.#on(second, "e", "n", second.n);
    this.#on(first, "e", "x");
    this.#on(this.#go("f"), "e");
    await settle(1);
    // They have their results here.
    this.#on(second, "e", "n", second.n);
    const held = this.#go("h", undefined, KINDS.indexOf("object"));
    const waiting = this.#on(held, "h", "n", held.n);
    this.#on(waiting, "e");
    const aborted = this.#go("h");
    this.#on(aborted, "e");
    const third = this.#on(held, "e");
    await settle(1);
    // Its request has left.
    this.#on(this.#go("h"), "e");
    abort(aborted, third);
    await settle(1);
    this.#release();
    await settle(1);
    this.#release();
    await settle(1);
  }

  /** A call whose result is a stream, read to its end or for `most` items. */
  #reading(method: string, most?: number): Entry {
    const { params } = payload(this.#callLog.next, 0);
    const handle = this.#client.connection.go(`S.${method}`, params);
    const read = (stream: unknown) =>
      this.#watch.read(stream as ReadableStream<unknown>, ITEMS, most);
    // The watch checks how it ends.
    handle.reply.then(read).catch(() => {});
    return this.#callLog.enter("s", handle);
  }

  /** A call whose params are a stream. */
  #writing(method: string, expected?: number, end?: SourceEnd): Entry {
    const source = this.#watch.source(ITEMS, end);
    const handle = this.#client.connection.go(`S.${method}`, source);
    const shown = expected === undefined ? undefined : show(expected);
    return this.#callLog.enter("s", handle, shown);
  }

  /** Streams in both directions: read to the end, failing, cancelled by the reader, aborted while waiting, and one that is open when the connection closes. */
  async #streams(): Promise<void> {
    this.#reading("d");
    this.#writing("p", ITEMS);
    await settle(1);
    this.#reading("b");
    this.#writing("p", undefined, "throw");
    await settle(1);
    this.#reading("w", 1);
    this.#writing("q", 1, "wait");
    await settle(2);
    const aborted = [this.#reading("w"), this.#writing("p", undefined, "wait")];
    await settle(1);
    abort(...aborted);
    await settle(1);
    if (!this.#faulty) this.#checkStreams();
    this.#reading("w");
    await settle(1);
  }

  /** Without faults, cancelled and aborted streams have ended by now: they do not wait for the end of the connection. */
  #checkStreams(): void {
    const { open, cancelled } = this.#watch;
    if (open !== 0) {
      throw new Error(`${open} sources or readers have not ended`);
    }
    if (cancelled !== 4) {
      throw new Error(`${cancelled} sources were cancelled, not 4`);
    }
    const { inFlight } = this.#client.stats();
    const { receiving: held } = this.#connection.stats();
    if (inFlight + held > 0) {
      throw new Error("calls with streams still occupy the window");
    }
  }

  /** Aborts: before the call, in the same turn, in the queue, before the handler starts, while it runs, and after its end. */
  async #aborts(): Promise<void> {
    const gone = this.#signals.aborted();
    const shared = this.#signals.make();
    const { signal } = shared;
    this.#times(3, "e", { signal: gone });
    abort(...this.#times(3, "e"));
    const running = this.#times(5, "h", { signal });
    const waiting = this.#times(4, "h");
    await settle(1);
    abort(waiting[1], waiting[3]);
    this.#times(3, "e", { signal });
    await settle(1);
    abort(running[0], running[0]);
    await settle(1);
    shared.abort(new Error("enough"));
    await settle(1);
    this.#release();
    await settle(1);
    abort(running[0], waiting[0]);
    await settle(1);
  }

  /** Deadlines that pass before the call, in the queue, before the handler starts, while it runs, and never. */
  async #deadlines(): Promise<void> {
    this.#times(2, "e", { timeout: 0 });
    this.#times(4, "h", { timeout: 100 });
    this.#times(5, "h", { timeout: 50 });
    this.#times(2, "e", { timeout: 1e6 });
    await settle(1);
    await this.#clock.advance(60);
    await this.#clock.advance(60);
    this.#release(4);
    await settle(1);
    this.#release();
    await settle(1);
  }

  /** More calls than the window allows: some are aborted or time out in the queue. */
  async #crowd(): Promise<void> {
    const controller = this.#signals.make();
    const { signal } = controller;
    const held = this.#times(10, "h");
    this.#times(30, "e");
    const queued = this.#times(10, "e", { signal });
    this.#times(5, "e", { timeout: 10 });
    await settle(1);
    abort(queued[2], queued[9], held[8]);
    await this.#clock.advance(20);
    this.#release(4);
    await settle(1);
    controller.abort();
    this.#release(6);
    await settle(1);
    for (let i = 0; i < 5; i++) {
      this.#times(10, i % 2 ? "h" : "e");
      await settle(1);
      this.#release();
      await settle(1);
    }
  }

  /** The server drains while calls run and wait, and on their way; then the client closes, too. */
  async #closing(): Promise<void> {
    this.#times(8, "h");
    this.#times(30, "e");
    await settle(1);
    this.#times(2, "e");
    this.#server.close();
    await settle(1);
    this.#client.close();
    this.#times(2, "e");
    await settle(1);
    this.#release(6);
    await settle(1);
    this.#release();
    await settle(1);
  }

  /** Ends whatever is left, and checks that nothing remains. */
  async finish(garbled: boolean): Promise<void> {
    // After every deadline, drain, flush and linger.
    await this.#clock.advance(12_000);
    const closed = this.#server.close();
    this.#watch.release();
    this.#release();
    await settle(1);
    await this.#clock.advance(12_000);
    this.#release();
    await settle(1);
    await Promise.all([closed, this.#client.closed]);
    await settle(1);
    this.#watch.check(garbled);
    if (!garbled) this.#callLog.check();
    else if (this.#callLog.open().length > 0) {
      throw new Error("calls have not ended");
    }
    for (const connection of [this.#client.connection, this.#connection]) {
      assertNothingLeft(connection);
      const { running } = connection.stats();
      if (running !== 0) throw new Error(`${running} handlers still run`);
    }
    const timers = this.#clock.timers;
    if (timers !== 0) throw new Error(`${timers} timers are left`);
    const listeners = this.#signals.listeners;
    if (listeners !== 0) throw new Error(`${listeners} listeners are left`);
  }
}

function abort(...entries: Entry[]): void {
  for (const { handle } of entries) (handle as CallHandle).abort();
}

/** Params that contain the number `n`, of one of five kinds. The kind after the last is a longer text. */
function payload(
  n: number,
  kind: number,
): { params: unknown; expected: string | undefined } {
  const params = kind === KINDS.length
    ? `${n}${"-".repeat(300)}`
    : PAYLOADS[KINDS[kind % KINDS.length]](n);
  return { params, expected: show(params) };
}

const PAYLOADS: Record<(typeof KINDS)[number], (n: number) => unknown> = {
  json: (n) => n,
  string: (n) => `${n}é`,
  bytes: (n) => Uint8Array.of(n >>> 8, n),
  object: (n) => ({ n }),
  undefined: () => undefined,
};

/** The number of the call that has these params; undefined if they contain none. */
function numberOf(params: unknown): number | undefined {
  if (typeof params === "number") return params;
  if (typeof params === "string") return parseInt(params);
  if (params instanceof Uint8Array) return (params[0] << 8) | params[1];
  return (params as { n?: number } | undefined | null)?.n;
}
