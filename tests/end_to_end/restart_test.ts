/** A server that drains and is replaced under load: no call fails, and none runs twice. */

import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import {
  connect,
  ConnectionError,
  type Dial,
  listen,
  ReconnectingClient,
  Server,
} from "../../mod.ts";
import { settle, turn } from "../support/clock.ts";
import { serving } from "../support/dials.ts";
import { PLACES, restartUnderLoad } from "../support/restarts.ts";
import { HAS_SOCKETS } from "../support/runtime.ts";

const RESTARTS = 50;

/** Handlers that reply at once or later, and count how often each call ran. */
class Jobs {
  readonly runs = new Map<number, number>();
  readonly services = {
    now: (key: number): number => this.#run(key),
    later: async (key: number): Promise<number> => {
      this.#run(key);
      await settle(1 + key % 3);
      return key;
    },
  };

  #run(key: number): number {
    this.runs.set(key, (this.runs.get(key) ?? 0) + 1);
    return key;
  }
}

/** A server that can be replaced. */
interface Site {
  readonly dial: Dial;
  /** Drains the old server; the next one starts at once, or when the old one has drained. */
  restart(overlap: boolean): Promise<void>;
  close(): Promise<void>;
}

function memorySite(services: Jobs["services"]): Promise<Site> {
  let server: Server<object> | undefined = new Server<object>(services);
  return Promise.resolve({
    dial: (signal) => {
      if (server === undefined) {
        throw new ConnectionError("unavailable", "between two servers");
      }
      return serving(server)(signal);
    },
    async restart(overlap) {
      const old = server;
      server = overlap ? new Server<object>(services) : undefined;
      await old?.close();
      server ??= new Server<object>(services);
    },
    close: () => server!.close(),
  });
}

async function tcpSite(services: Jobs["services"]): Promise<Site> {
  const start = async () => {
    const server = new Server<object>(services);
    const listener = await listen({ port: 0 });
    server.serve(listener);
    return { server, address: listener.address };
  };
  let now = await start();
  return {
    dial: (signal) => connect({ ...now.address, signal }),
    async restart(overlap) {
      const old = now;
      if (!overlap) await old.server.close();
      now = await start();
      await old.server.close();
    },
    close: () => now.server.close(),
  };
}

async function survives(make: (s: Jobs["services"]) => Promise<Site>) {
  const jobs = new Jobs();
  const site = await make(jobs.services);
  const client = new ReconnectingClient<Jobs["services"]>(site.dial, {
    retry: { base: 1, cap: 5 },
  });
  const calls: Promise<number>[] = [];
  let done = false;
  const load = (async () => {
    while (!done) {
      await client.ready;
      for (let i = 0; i < 20; i++) {
        const key = calls.length;
        calls.push(client.call(key % 2 === 0 ? "now" : "later", key));
      }
      await turn();
    }
  })();
  for (let i = 0; i < RESTARTS; i++) {
    // Each server answers some of the calls.
    const goal = calls.length + 100;
    while (calls.length < goal) await turn();
    await calls[goal - 100];
    await site.restart(i % 2 === 0);
  }
  done = true;
  await load;
  const replies = await Promise.all(calls);
  assertEquals(replies, replies.map((_, key) => key));
  // The client may never have dialed a server that came and went while another drained.
  const { connected } = client.stats();
  assert(connected > RESTARTS / 2, `${connected} connections`);
  await client.close();
  for (const [key, runs] of jobs.runs) {
    if (runs !== 1) throw new Error(`call ${key} ran ${runs} times`);
  }
  assertEquals(jobs.runs.size, calls.length);
  await site.close();
}

test(`[L12] no call is lost when a server drains and restarts ${RESTARTS} times under load: in memory`, () =>
  survives(memorySite));

test(
  `[L12] no call is lost when a server drains and restarts ${RESTARTS} times under load: over TCP`,
  { skip: !HAS_SOCKETS },
  () => survives(tcpSite),
);

for (const [name, place] of Object.entries(PLACES)) {
  test(
    `[L12] clients without any retry: ${RESTARTS} restarts by drain under load refuse no call: ${name}`,
    { skip: name === "tcp" && !HAS_SOCKETS },
    async () => {
      const { calls, ...rest } = await restartUnderLoad(place, RESTARTS);
      assert(calls >= 100 * RESTARTS, `${calls} calls`);
      // What an application calls after the warning is not sent at all.
      assertEquals({ ...rest, late: 0 }, {
        refused: 0,
        unknown: 0,
        miscounted: 0,
        late: 0,
      });
    },
  );
}
