/**
 * Honest clients, in a process of their own. First they call as fast as they can,
 * to measure the server; then at a fixed rate, whatever becomes of earlier calls
 * (open loop).
 *
 * @module
 */

import { createHistogram } from "node:perf_hooks";
import { program } from "../../bench/support/program.ts";
import { Client, connect, RpcError } from "../../mod.ts";

/** The options of the process. */
export interface HonestOrder {
  readonly host: string;
  readonly port: number;
  readonly clients: number;
  readonly seconds: number;
  /** Calls a second of all clients together; as many as possible if absent. */
  readonly rate?: number;
  /** Milliseconds in which a call must get its reply. */
  readonly timeout: number;
}

/** The results of the calls. */
export interface HonestResult {
  readonly made: number;
  readonly inTime: number;
  readonly late: number;
  /** Wrong replies, and errors other than missed deadlines, by code. */
  readonly wrong: number;
  readonly failed: Record<string, number>;
  /** Connections that were closed. */
  readonly lost: number;
  readonly seconds: number;
  /** Milliseconds from call to reply: median, 99th percentile. */
  readonly p50: number;
  readonly p99: number;
}

type Services = { HelloService: { Hello: (name: string) => string } };

class Tally {
  made = 0;
  inTime = 0;
  late = 0;
  wrong = 0;
  readonly failed: Record<string, number> = {};
  readonly latency = createHistogram();
  readonly #open = new Set<Promise<void>>();

  call(client: Client<Services>, timeout: number): void {
    const name = `client ${this.made++}`;
    const began = performance.now();
    const done = client.call("HelloService.Hello", name, { timeout }).then(
      (reply) => {
        if (reply === `hello:${name}`) this.inTime++;
        else this.wrong++;
        this.latency.record(1 + Math.round(1e3 * (performance.now() - began)));
      },
      (error) => {
        const code = error instanceof RpcError ? error.code : String(error);
        if (code === "deadline_exceeded") this.late++;
        else this.failed[code] = (this.failed[code] ?? 0) + 1;
      },
    ).then(() => void this.#open.delete(done));
    this.#open.add(done);
  }

  async settled(): Promise<void> {
    await Promise.all(this.#open);
  }
}

/** Makes as many calls as each client's window allows. */
async function flatOut(
  clients: Client<Services>[],
  until: number,
  tally: Tally,
  timeout: number,
): Promise<void> {
  await Promise.all(clients.map(async (client) => {
    while (performance.now() < until) {
      await client.ready;
      for (let i = 0; i < 64; i++) tally.call(client, timeout);
    }
  }));
}

/** Makes `rate` calls a second, by the clients in turn. */
async function openLoop(
  clients: Client<Services>[],
  until: number,
  tally: Tally,
  { rate = 0, timeout }: HonestOrder,
): Promise<void> {
  const began = performance.now();
  for (let now = began; now < until; now = performance.now()) {
    const due = Math.floor((now - began) / 1000 * rate);
    while (tally.made < due) {
      tally.call(clients[tally.made % clients.length], timeout);
    }
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

await program(async (order: HonestOrder): Promise<HonestResult> => {
  const { host, port, seconds, rate, timeout } = order;
  const clients = await Promise.all(
    Array.from(
      { length: order.clients },
      async () => new Client<Services>(await connect({ host, port })),
    ),
  );
  let lost = 0;
  for (const client of clients) client.closed.then(() => lost++);
  const tally = new Tally();
  const began = performance.now();
  const until = began + seconds * 1000;
  if (rate === undefined) await flatOut(clients, until, tally, timeout);
  else await openLoop(clients, until, tally, order);
  const elapsed = (performance.now() - began) / 1000;
  await tally.settled();
  const gone = lost;
  await Promise.all(clients.map((client) => client.close()));
  const { made, inTime, late, wrong, failed, latency } = tally;
  const [p50, p99] = [50, 99].map((p) => latency.percentile(p) / 1000);
  const counts = { made, inTime, late, wrong, failed, lost: gone };
  return { ...counts, seconds: elapsed, p50, p99 };
});
