/**
 * Makes a great many calls of all kinds from one process to another, checks every
 * reply, and measures the memory of both after each tenth:
 * `main.ts --calls N --megabytes N [--seed S]`. `tools/soak.ts` runs it; the last
 * line of its output is JSON.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { command, OWN } from "../../bench/demo/runtimes.ts";
import {
  Client,
  connect,
  type Connection,
  Server,
  type TcpAddress,
} from "../../mod.ts";
import { turn } from "../support/clock.ts";
import { type Memory, memory } from "../support/heap.ts";
import { newSeed, Random } from "../support/random.ts";
import { watchUnhandled } from "../support/unhandled.ts";
import { SoakCalls } from "./calls.ts";
import type { SoakServices } from "./server.ts";

const FILE = fileURLToPath(new URL("server.ts", import.meta.url));
const TENTHS = 10;
/** More calls are made when at most this many are in flight, and how many more. */
const AT_ONCE = 1000;
const BURST = 1000;
/** So many calls are made over a connection of their own that then closes, once in so many. */
const VISIT = { calls: 20, every: 20_000 };

/** What both processes hold. */
interface Sample {
  readonly client: Memory;
  readonly server: Memory;
}

async function startServer(): Promise<[ChildProcess, TcpAddress]> {
  const [program, args] = command(OWN, FILE);
  const stdio = ["pipe", "pipe", "inherit"] as const;
  const child = spawn(program, args, { stdio: [...stdio] });
  const lines = createInterface({ input: child.stdout! });
  const [line] = await once(lines, "line");
  return [child, JSON.parse(line)];
}

/** A run of the soak test. */
class Soak {
  readonly samples: Sample[] = [];
  readonly #calls: SoakCalls;
  readonly #address: TcpAddress;
  readonly #client: Client<SoakServices>;
  /** The side that is called back. */
  readonly #peer: Connection;

  private constructor(
    calls: SoakCalls,
    address: TcpAddress,
    client: Client<SoakServices>,
    peer: Connection,
  ) {
    this.#calls = calls;
    this.#address = address;
    this.#client = client;
    this.#peer = peer;
  }

  static async start(calls: SoakCalls, address: TcpAddress): Promise<Soak> {
    const client = new Client<SoakServices>(await connect(address));
    const server = new Server({ Back: { echo: (n: unknown) => n } });
    const peer = server.accept(await connect(address));
    return new Soak(calls, address, client, peer);
  }

  /** Makes calls until `goal` are made; then waits for all, and compares and measures. */
  async tenth(goal: number): Promise<void> {
    const calls = this.#calls;
    while (calls.made < goal && calls.faults.length === 0) {
      if (calls.made % VISIT.every < BURST) await this.#visit();
      const count = Math.min(BURST, goal - calls.made);
      calls.make(this.#client, this.#peer, count);
      do await turn(); while (calls.open > AT_ONCE);
    }
    while (calls.open > 0) {
      calls.calm();
      await turn();
    }
    await this.#compare();
    const server = await this.#client.call("Soak.memory");
    this.samples.push({ server, client: await memory() });
  }

  /** Opens a connection, makes some calls over it, and closes it. */
  async #visit(): Promise<void> {
    const visitor = new Client<SoakServices>(await connect(this.#address));
    this.#calls.make(visitor, this.#peer, VISIT.calls);
    this.#calls.calm();
    await visitor.close();
  }

  async #compare(): Promise<void> {
    const theirs = JSON.stringify(await this.#client.call("Soak.tally"));
    const ours = JSON.stringify(this.#calls.tally);
    if (theirs === ours) return;
    this.#calls.faults.push(`the server counts ${theirs}, the client ${ours}`);
  }

  async close(): Promise<void> {
    await Promise.all([this.#client.close(), this.#peer.close()]);
    const { inFlight, queued, listeners, timers } = this.#client.stats();
    const left = inFlight + queued + listeners + timers;
    if (left > 0) this.#calls.faults.push(`${left} things are left behind`);
  }
}

function options() {
  const { values } = parseArgs({
    options: {
      calls: { type: "string", default: "1000000" },
      megabytes: { type: "string", default: "200" },
      seed: { type: "string", default: String(newSeed()) },
    },
  });
  const [calls, megabytes, seed] = [values.calls, values.megabytes, values.seed]
    .map(Number);
  return { calls, bytes: 1e6 * megabytes, seed };
}

async function main(): Promise<void> {
  const began = performance.now();
  const unhandled = watchUnhandled();
  const { calls: count, bytes, seed } = options();
  const calls = new SoakCalls(
    new Random(seed),
    SoakCalls.meanSize(count, bytes),
  );
  const [child, address] = await startServer();
  const soak = await Soak.start(calls, address);
  for (let i = 1; i <= TENTHS && calls.faults.length === 0; i++) {
    await soak.tenth(Math.ceil(count * i / TENTHS));
  }
  await soak.close();
  child.stdin?.end();
  const faults = [...calls.faults, ...unhandled.map(String)];
  for (const fault of faults) console.log(fault);
  const seconds = (performance.now() - began) / 1000;
  console.log(JSON.stringify({
    runs: calls.made,
    failed: faults.length,
    bytes: calls.bytes,
    seed,
    seconds,
    samples: soak.samples,
  }));
  process.exit(faults.length > 0 ? 1 : 0);
}

await main();
