/**
 * The server's side of the page: for each page a control connection, and for each
 * run of it three servers, one for each lane.
 *
 * - A control connection has at most one run. A new run, and the end of the
 *   control connection, close the one before at once.
 * - The delay is in the process, on the way from and to each lane's WebSocket. The
 *   control connection has none.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import {
  type CallContext,
  type Connection,
  type Duplex,
  RpcError,
  Server,
  webSockets,
} from "../../mod.ts";
import { delayed } from "../delay.ts";
import {
  decodeCall,
  encodeTimes,
  type HandlerLog,
  handlerTime,
  type LabServices,
  type Lane,
  LANES,
  LEAST_BYTES,
  type RunSettings,
  type Strike,
  type WorkServices,
} from "./services.ts";

/** The largest settings that a run takes. */
const MAX = { rtt: 2_000, window: 4_096, handler: 5_000, calls: 100_000 };

/** All pages and their runs. */
export class Lab {
  readonly #runs = new Map<string, Run>();
  /** The run of each control connection. */
  readonly #current = new Map<Connection, Run>();
  readonly #control = webSockets();
  readonly #server: Server<LabServices>;

  constructor() {
    this.#server = new Server(this.#services());
    this.#server.serve(this.#control);
  }

  /** The response to a request for a WebSocket: `/control`, or `/run/ID/LANE`. */
  upgrade(request: Request): Response {
    const [, kind, id, lane] = new URL(request.url).pathname.split("/");
    if (kind === "control") return this.#control.upgrade(request);
    const server = this.#runs.get(id)?.lanes.get(lane as Lane);
    if (server === undefined) {
      return new Response("No such run", { status: 404 });
    }
    return server.sockets.upgrade(request);
  }

  /** The handlers of control connections. */
  #services(): LabServices {
    const runOf = ({ connection }: CallContext): Run => {
      const run = this.#current.get(connection);
      if (run !== undefined) return run;
      throw new RpcError("not_found", "this page has no run");
    };
    return {
      Lab: {
        now: () => performance.now(),
        prepare: (settings: RunSettings, { connection }: CallContext) => {
          const before = this.#current.get(connection);
          if (before === undefined) {
            connection.closed.then(() => this.#end(connection));
          } else this.#drop(before);
          const run = new Run(checked(settings));
          this.#runs.set(run.id, run);
          this.#current.set(connection, run);
          return run.id;
        },
        strike: (strike: Strike, ctx: CallContext) => runOf(ctx).strike(strike),
        handlers: (_: undefined, ctx: CallContext) => runOf(ctx).handlers(),
      },
    };
  }

  #drop(run: Run): void {
    this.#runs.delete(run.id);
    run.close();
  }

  #end(connection: Connection): void {
    const run = this.#current.get(connection);
    this.#current.delete(connection);
    if (run !== undefined) this.#drop(run);
  }
}

function checked({ rtt, window, handler }: RunSettings): RunSettings {
  const number = (name: keyof typeof MAX, value: number, least: number) => {
    if (value >= least && value <= MAX[name]) return value;
    throw new RpcError(
      "invalid_argument",
      `Cannot use ${name}: not from ${least} to ${
        MAX[name]
      }, received ${value}`,
    );
  };
  return {
    rtt: number("rtt", rtt, 0),
    window: number("window", window, 1),
    handler: number("handler", handler, 0),
  };
}

/** The servers of one run. */
class Run {
  readonly id: string = randomUUID();
  readonly lanes: ReadonlyMap<Lane, LaneServer>;

  constructor(settings: RunSettings) {
    this.lanes = new Map(LANES.map((lane) => [lane, new LaneServer(settings)]));
  }

  /** Returns the time at which it happened. */
  strike(strike: Strike): number {
    const now = performance.now();
    for (const { server } of this.lanes.values()) {
      if (strike === "drain") server.close();
      else for (const one of server.connections) one.abort("the line was cut");
    }
    return now;
  }

  handlers(): Record<Lane, HandlerLog> {
    const logs = [...this.lanes].map(([lane, { log }]) => [lane, log]);
    return Object.fromEntries(logs);
  }

  close(): void {
    for (const { server } of this.lanes.values()) server.close({ timeout: 0 });
  }
}

/** The server of one lane: its connections are delayed, and its handlers logged. */
class LaneServer {
  readonly sockets = webSockets();
  readonly log: { started: number[]; ended: number[] } = {
    started: [],
    ended: [],
  };
  readonly server: Server<WorkServices>;

  constructor(settings: RunSettings) {
    this.server = new Server(this.#services(settings.handler), {
      windowCalls: settings.window,
      maxRunning: MAX.window,
    });
    this.server.serve(this.#delayed(settings.rtt / 2));
  }

  async *#delayed(ms: number): AsyncGenerator<Duplex> {
    for await (const duplex of this.sockets) {
      yield ms === 0 ? duplex : delayed(duplex, ms);
    }
  }

  #services(mean: number): WorkServices {
    const { started, ended } = this.log;
    return {
      Work: {
        run: async (params: Uint8Array, ctx: CallContext) => {
          const i = checkedCall(params);
          const start = started[i] = rounded(performance.now());
          const time = handlerTime(i, mean);
          try {
            if (time > 0) await sleep(time, ctx.signal);
          } finally {
            ended[i] = rounded(performance.now());
          }
          ctx.setReplyMetadata(encodeTimes(start, ended[i]));
          return ctx.transfer(params);
        },
      },
    };
  }
}

function checkedCall(params: unknown): number {
  const bytes = params instanceof Uint8Array && params.length >= LEAST_BYTES;
  const i = bytes ? decodeCall(params) : NaN;
  if (i < MAX.calls) return i;
  throw new RpcError("invalid_argument", `Cannot work: received ${i}`);
}

/** To a hundredth of a millisecond, which keeps messages short. */
function rounded(ms: number): number {
  return Math.round(ms * 100) / 100;
}

/** Rejects with the signal's reason when the caller has left. */
function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}
