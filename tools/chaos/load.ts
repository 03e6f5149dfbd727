/**
 * Pipelined load of mixed calls through a reconnecting client, while a program
 * kills, restarts or stops the server.
 *
 * @module
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type CallHandle,
  connect,
  ConnectionError,
  ReconnectingClient,
} from "../../mod.ts";
import type { Runtime } from "../../bench/demo/runtimes.ts";
import { readJournal } from "./journal.ts";
import type { JobServices } from "./journal_server.ts";
import { CallLog, type Comparison } from "./call_log.ts";
import { ServerProcess } from "./server_process.ts";

/** A small seeded generator (mulberry32): the same run each time. */
export function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Largest number of calls in flight. */
const IN_FLIGHT = 2000;

const PADDING = " ".repeat(2000);

/** The kind of load. */
export interface LoadKind {
  /** Whether some calls fail, are aborted, or have short deadlines. */
  readonly faults: boolean;
  /** Keepalive times in milliseconds, in place of the defaults. */
  readonly patience?: number;
}

/** Options of the run. */
export interface LoadOptions {
  readonly server: Runtime;
  readonly seed: number;
}

/** A server process, a client, and its calls. */
export class Load {
  readonly callLog: CallLog = new CallLog();
  readonly random: () => number;
  /** The server to dial. Undefined while there is none, because its port may belong to another program by then. */
  server: ServerProcess | undefined;
  /** Faults of the server. */
  readonly faults: string[] = [];
  readonly #faults: boolean;
  readonly #runtime: Runtime;
  readonly #directory: string;
  readonly #client: ReconnectingClient<JobServices>;
  #stopped = false;
  #made = 0;

  private constructor(
    { faults, patience }: LoadKind,
    { server: runtime, seed }: LoadOptions,
    directory: string,
    server: ServerProcess,
  ) {
    this.#faults = faults;
    this.#runtime = runtime;
    this.#directory = directory;
    this.server = server;
    this.random = random(seed);
    this.#client = new ReconnectingClient((signal) => this.#dial(signal), {
      retry: { base: 5, cap: 100 },
      keepaliveTime: patience,
      keepaliveTimeout: patience,
      handshakeTimeout: patience,
    });
  }

  /** Starts the first server. */
  static async start(kind: LoadKind, options: LoadOptions): Promise<Load> {
    const directory = await mkdtemp(join(tmpdir(), "sluice-chaos-"));
    const path = join(directory, "journal");
    const server = await ServerProcess.start(options.server, path);
    return new Load(kind, options, directory, server);
  }

  /** Starts another server, on the same journal. */
  restart(): Promise<ServerProcess> {
    return ServerProcess.start(
      this.#runtime,
      join(this.#directory, "journal"),
    );
  }

  /** Makes calls until `finish`. */
  async run(): Promise<void> {
    while (!this.#stopped) {
      await this.#client.ready;
      if (this.callLog.next - this.callLog.done < IN_FLIGHT) this.#call();
      else await new Promise((resolve) => setTimeout(resolve, 1));
      // Let other code run, too: `ready` often resolves at once.
      if (++this.#made % 100 === 0) {
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  }

  /** Resolves when `n` more calls are settled. */
  async settled(n: number): Promise<void> {
    const goal = this.callLog.done + n;
    while (this.callLog.done < goal) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** Resolves when the client has lost its connection. */
  async lost(): Promise<void> {
    const { connection } = this.#client;
    while (connection !== undefined && this.#client.connection === connection) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** Ends the load, waits for every call, stops the server, and compares log and journal. */
  async finish(running: Promise<void>): Promise<Comparison> {
    this.#stopped = true;
    await running;
    await this.callLog.settled();
    const { dials, connected, resent } = this.#client.stats();
    await this.#client.close();
    await this.server?.drain();
    const runs = readJournal(join(this.#directory, "journal"));
    const { disagreements, figures } = this.callLog.compare(runs);
    disagreements.push(...this.faults);
    await rm(this.#directory, { recursive: true });
    return {
      disagreements,
      figures:
        `${figures}; ${resent} sent again, ${dials} dials, ${connected} connections`,
    };
  }

  #dial(signal: AbortSignal) {
    if (this.server === undefined) {
      throw new ConnectionError("unavailable", "there is no server");
    }
    return connect({ ...this.server.address, signal });
  }

  #call(): void {
    const key = this.callLog.next;
    const drawn = this.random();
    const params = drawn * 1000 % 1 < 0.05 ? key + PADDING : `${key}`;
    let handle: CallHandle<number>;
    let idempotent = false;
    if (drawn < 0.5) handle = this.#client.go("Job.now", params);
    else if (drawn < 0.7) handle = this.#client.go("Job.later", params);
    else if (drawn < 0.8 || !this.#faults) {
      idempotent = true;
      handle = this.#client.go("Job.later", params, { idempotent });
    } else if (drawn < 0.85) handle = this.#client.go("Job.slow", params);
    else if (drawn < 0.9) {
      handle = this.#client.go("Job.slow", params, { timeout: 10 });
    } else if (drawn < 0.95) handle = this.#client.go("Job.fail", params);
    else {
      handle = this.#client.go("Job.later", params);
      setTimeout(() => handle.abort(), 5 * this.random());
    }
    this.callLog.enter(handle, idempotent);
  }
}
