/**
 * One run: the three lanes make the same calls at the same time, each over a
 * connection of its own.
 *
 * Needs no page, so that `bench/web/timeline_svg.ts` can make a run as well.
 *
 * @module
 */

import { Client, fromWebSocket } from "../../../client.ts";
import {
  decodeCall,
  decodeTimes,
  encodeCall,
  type HandlerLog,
  type Lane,
  LANES,
  LEAST_BYTES,
  type RunSettings,
  type Strike,
  TASKS,
  type WorkServices,
} from "../services.ts";
import { CallLog } from "./call_log.ts";
import { type LabClient, SUBPROTOCOL } from "./lab_client.ts";

/** The settings of a run. */
export interface Settings extends RunSettings {
  /** Calls of each lane. */
  readonly calls: number;
  /** Bytes of a call's params, and of its result. */
  readonly payload: number;
}

/** What the user does to the calls of a run. */
export type Action = "abort" | Strike;

/** What was done to a run, and when. */
export interface Struck {
  readonly action: Action;
  /** Milliseconds since the start of the run. */
  readonly at: number;
}

/** How each lane makes its calls: resolves when it will make no more, and all have settled. */
const STYLES: Record<Lane, (lane: LaneRun) => Promise<void>> = {
  async sync(lane) {
    while (lane.hasMore && await lane.call());
  },

  async tasks(lane) {
    const task = async () => {
      while (lane.hasMore && await lane.call());
    };
    await Promise.all(Array.from({ length: TASKS }, task));
  },

  async pipelined(lane) {
    const calls: Promise<boolean>[] = [];
    while (lane.hasMore) calls.push(lane.call());
    await Promise.all(calls);
  },
};

/** Round trips before the start, so that the code on the way is compiled. The last one's time is shown. */
const WARM_UP = 3;

/** The most calls of a lane that have not settled. */
const ROWS: Record<Lane, number> = {
  sync: 1,
  tasks: TASKS,
  pipelined: Infinity,
};

/** What the lanes of a run share. */
interface Shared {
  readonly settings: Settings;
  readonly signal: AbortSignal;
  /** Milliseconds since the start of the run. */
  now(): number;
  /** A time of the process, in milliseconds since the start of the run. */
  fromLab(time: number): number;
}

/** One lane of a run. */
export class LaneRun {
  readonly lane: Lane;
  readonly log: CallLog;
  readonly client: Client<WorkServices>;
  /** Whether the lane still makes calls, or waits for replies. */
  running = true;
  /** The calls whose handler has run, by the log of the process; undefined until the process was asked. */
  ran: readonly boolean[] | undefined;
  /** A wrong reply, which no run should have. */
  fault: Error | undefined;
  readonly #run: Shared;
  /** Who waits for a number of answers. */
  #awaited: { answers: number; reached: () => void } | undefined;
  readonly #outcomes: Promise<unknown>[] = [];

  constructor(run: Shared, lane: Lane, url: string) {
    this.lane = lane;
    this.#run = run;
    this.log = new CallLog(run.settings.calls, ROWS[lane]);
    this.client = new Client(fromWebSocket(new WebSocket(url, SUBPROTOCOL)));
  }

  get hasMore(): boolean {
    return this.log.count < this.log.calls;
  }

  /** Milliseconds from the start of the run to `now`, while the lane runs; to the latest reply, after that. */
  elapsed(now: number): number {
    return this.running ? Math.max(0, now) : this.log.last;
  }

  /** Answered calls per second since the start of the run. */
  rate(now: number): number {
    const elapsed = this.elapsed(now);
    return elapsed === 0 ? 0 : this.log.answered / elapsed * 1000;
  }

  /** Resolves when so many calls have been answered; may be called once. */
  reaches(answers: number): Promise<void> {
    return new Promise((reached) => this.#awaited = { answers, reached });
  }

  /** Makes all calls. Resolves when they have settled, and their outcomes are final. */
  async make(): Promise<void> {
    await STYLES[this.lane](this);
    this.running = false;
    await Promise.all(this.#outcomes);
  }

  /** Makes the next call. Resolves when it has settled: with whether it was answered with its result. */
  call(): Promise<boolean> {
    const { log } = this;
    const run = this.#run;
    const i = log.make(run.now());
    const params = encodeCall(i, run.settings.payload);
    const { signal } = run;
    const handle = this.client.go("Work.run", params, { signal });
    handle.sent.then((sent) => {
      if (sent) log.sent[i] = run.now();
    });
    this.#outcomes.push(
      handle.settled.then((outcome) => log.end(i, outcome)),
    );
    return handle.reply.then((reply) => {
      log.settle(i, run.now(), true);
      const times = decodeTimes(handle.metadata);
      if (times !== undefined) this.#handled(i, times[0], times[1]);
      this.#check(i, reply);
      if (log.answered === this.#awaited?.answers) this.#awaited.reached();
      return true;
    }, () => {
      log.settle(i, run.now(), false);
      return false;
    });
  }

  /** Takes over what the process knows of the handlers, also of calls without a reply. */
  compare({ started, ended }: HandlerLog): void {
    for (const [i, start] of started.entries()) {
      this.#handled(i, start, ended[i] ?? null);
    }
    this.ran = Array.from(started, (start) => start !== null);
  }

  #handled(i: number, started: number | null, ended: number | null): void {
    if (started !== null) this.log.started[i] = this.#run.fromLab(started);
    if (ended !== null) this.log.ended[i] = this.#run.fromLab(ended);
  }

  #check(i: number, reply: Uint8Array): void {
    const size = Math.max(LEAST_BYTES, this.#run.settings.payload);
    if (reply.length === size && decodeCall(reply) === i) return;
    this.fault ??= new Error(`call ${i} received a wrong reply`);
  }
}

/** One run. */
export class Run {
  readonly settings: Settings;
  readonly lanes: readonly LaneRun[];
  /** What was done to the run; undefined if nothing was. */
  struck: Struck | undefined;
  /** Resolves when all lanes are over, and the process was asked which handlers ran. */
  readonly over: Promise<void>;
  readonly #lab: LabClient;
  readonly #abort: AbortController;
  readonly #now: () => number;

  /** Opens the connections, waits until they are ready, and starts the calls. */
  static async start(lab: LabClient, settings: Settings): Promise<Run> {
    const urlOf = await lab.prepare(settings);
    const abort = new AbortController();
    let began = Infinity;
    const shared: Shared = {
      settings,
      signal: abort.signal,
      now: () => performance.now() - began,
      fromLab: (time) => lab.toLocal(time) - began,
    };
    const lanes = LANES.map((lane) => new LaneRun(shared, lane, urlOf(lane)));
    // The handshake is no part of what is compared.
    for (let i = 0; i < WARM_UP; i++) {
      await Promise.all(lanes.map(({ client }) => client.connection.ping()));
    }
    began = performance.now();
    return new Run(lab, shared, abort, lanes);
  }

  private constructor(
    lab: LabClient,
    { settings, now }: Shared,
    abort: AbortController,
    lanes: readonly LaneRun[],
  ) {
    this.settings = settings;
    this.lanes = lanes;
    this.#lab = lab;
    this.#abort = abort;
    this.#now = now;
    this.over = this.#make();
  }

  /** Milliseconds since the start. */
  now(): number {
    return this.#now();
  }

  get running(): boolean {
    return this.lanes.some(({ running }) => running);
  }

  /** The product of the lanes' times: of equal runs, the smallest was disturbed least. */
  get product(): number {
    return this.lanes.reduce((product, { log }) => product * log.last, 1);
  }

  lane(name: Lane): LaneRun {
    return this.lanes[LANES.indexOf(name)];
  }

  /** Aborts all calls, or has the process strike the connections. Has an effect once. */
  async act(action: Action): Promise<void> {
    if (this.struck !== undefined) return;
    this.struck = { action, at: this.now() };
    if (action === "abort") {
      this.#abort.abort(new Error("the user gave up"));
      return;
    }
    const at = await this.#lab.strike(action);
    this.struck = { action, at: at - (performance.now() - this.now()) };
  }

  /** Ends the run and its connections, without waiting for anything. */
  async stop(): Promise<void> {
    const closed = this.lanes.map(({ client }) => client.abort("a new run"));
    await Promise.all(closed);
    await this.over;
  }

  async #make(): Promise<void> {
    await Promise.all(this.lanes.map((lane) => lane.make()));
    const handlers = await this.#lab.handlers();
    for (const lane of this.lanes) lane.compare(handlers[lane.lane]);
  }
}
