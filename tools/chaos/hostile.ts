/**
 * Attacks a server with a thousand hostile peers at once, while honest clients
 * call it: `deno task chaos:hostile`. The server, the hostile peers and the honest
 * clients each have a process of their own.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { Child } from "../../bench/demo/child.ts";
import { OWN, type Runtime, RUNTIMES } from "../../bench/demo/runtimes.ts";
import { measure } from "../../bench/support/program.ts";
import type { ServerOptions } from "../../mod.ts";
import type { HonestOrder, HonestResult } from "../hostile/honest.ts";
import { judge, printRun, type Run } from "../hostile/judge.ts";
import { LIMITS } from "../hostile/limits.ts";
import type { KindResult, PeersOrder } from "../hostile/peers.ts";
import type { Health, Listening } from "../hostile/server.ts";
import { tool, usage } from "../process.ts";

const TEXT = `Usage: deno task chaos:hostile [options]

  --peers N        number of hostile peers, of nine kinds (default 1000)
  --rate N         bytes a second that each sends, in five writes (default 1024)
  --seconds N      length of the attack (default 20)
  --silent N       number of further connections that send nothing (default 0)
  --clients N      number of honest clients (default 64)
  --timeout MS     time in which an honest call must get its reply (default 1000)
  --server NAME    runtime of the server: node, bun or deno
  --quick          200 peers, 14 seconds: what CI runs
  --help           print this

The honest first learn how many calls a second the server can answer, and then
make a fifth of that, open loop. Ends with 1 if less than half of these are
answered in time, if an answer is wrong or an honest connection lost, if a
hostile one is closed otherwise than it must be, or if the server passes its
limits of handlers, buffered bytes or memory.`;

/** Seconds in which the honest clients measure how many calls the server can serve. */
const MEASURED = 2;
/** Seconds in which all hostile peers connect, before the honest clients start. */
const AHEAD = 3;

function read() {
  try {
    const { values } = parseArgs({
      options: {
        peers: { type: "string" },
        rate: { type: "string", default: "1024" },
        seconds: { type: "string" },
        silent: { type: "string", default: "0" },
        clients: { type: "string", default: "64" },
        timeout: { type: "string", default: "1000" },
        server: { type: "string", default: OWN },
        quick: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    const { quick, help, server } = values;
    const [peers, rate, seconds, silent, clients, timeout] = [
      values.peers ?? (quick ? "200" : "1000"),
      values.rate,
      values.seconds ?? (quick ? "14" : "20"),
      values.silent,
      values.clients,
      values.timeout,
    ].map(Number);
    const numbers = { peers, rate, seconds, silent, clients, timeout };
    if (!Object.values(numbers).every((n) => n >= 0)) {
      throw new Error("Cannot run: an option needs a positive number");
    }
    const runtime = RUNTIMES.find((name) => name === server);
    if (runtime === undefined) {
      throw new Error(`Cannot run: unknown runtime ${server}`);
    }
    return { ...numbers, runtime, help };
  } catch (error) {
    usage((error as Error).message, TEXT);
  }
}

/** The server's process, and the worst values that it has reported. */
class ServerWatch {
  readonly worst = { rss: 0, running: 0, buffered: 0, connections: 0 };
  latest: Health | undefined;
  readonly #child: Child<Listening | Health>;
  readonly address = Promise.withResolvers<Listening["address"]>();

  constructor(runtime: Runtime, options: ServerOptions) {
    const file = import.meta.resolve("../hostile/server.ts");
    this.#child = new Child(runtime, file, JSON.stringify(options));
  }

  /** Reads its reports until it is stopped. */
  listen(): Promise<void> {
    return this.#child.listen((message) => {
      if ("address" in message) this.address.resolve(message.address);
      else this.#note(message);
      return false;
    });
  }

  /** Forgets the worst values so far. */
  reset(): void {
    Object.assign(this.worst, { rss: 0, running: 0, buffered: 0 });
  }

  stop(): Promise<void> {
    return this.#child.stop();
  }

  #note(health: Health): void {
    this.latest = health;
    for (const key of Object.keys(this.worst) as (keyof typeof this.worst)[]) {
      this.worst[key] = Math.max(this.worst[key], health[key]);
    }
  }
}

function honest(order: HonestOrder): Promise<HonestResult> {
  const file = import.meta.resolve("../hostile/honest.ts");
  return measure<HonestOrder, HonestResult>(OWN, file, order);
}

function attack(order: PeersOrder): Promise<KindResult[]> {
  if (order.count === 0) return Promise.resolve([]);
  const file = import.meta.resolve("../hostile/peers.ts");
  // Always on Node: the server is what is measured.
  return measure<PeersOrder, KindResult[]>("node", file, order);
}

await tool(async () => {
  const options = read();
  if (options.help) return console.log(TEXT);
  const { peers, rate, seconds, silent, clients, timeout, runtime } = options;
  const server = new ServerWatch(runtime, {
    ...LIMITS,
    // So many connections need some seconds to open.
    ...silent > 0 && { handshakeTimeout: 10_000 },
  });
  const failed = server.listen();
  failed.catch(server.address.reject);
  try {
    const { host, port } = await server.address.promise;
    const order = { host, port, clients, timeout };
    const free = await honest({ ...order, timeout: 60_000, seconds: MEASURED });
    const before = server.worst.rss;
    const cpuBefore = server.latest?.cpu ?? 0;
    const capacity = free.inTime / free.seconds;
    server.reset();
    const hostile = Promise.all([
      attack({ host, port, rate, seconds, count: peers }),
      attack({ host, port, rate, seconds, count: silent, silent: true }),
    ]);
    hostile.catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, AHEAD * 1000));
    const served = await honest({
      ...order,
      rate: Math.round(capacity / 5),
      seconds: Math.max(1, seconds - AHEAD - 1),
    });
    const kinds = (await hostile).flat();
    const { worst } = server;
    const { ended = {}, cpu = 0 } = server.latest ?? {};
    const figures = { capacity, before, worst, cpu: cpu - cpuBefore };
    const run: Run = { options, ...figures, served, kinds, ended };
    const faults = judge(run);
    printRun(run, faults);
    process.exitCode = faults.length === 0 ? 0 : 1;
  } finally {
    await server.stop();
    failed.catch(() => {});
  }
});
