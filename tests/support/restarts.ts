/**
 * Servers that drain and are replaced while clients call them, each client over
 * one connection after another, without anything that sends a call again.
 *
 * @module
 */

import {
  Client,
  connect,
  ConnectionError,
  type Duplex,
  listen,
  memoryPair,
  RpcError,
  Server,
} from "../../mod.ts";
import { turn } from "./clock.ts";

/** About how many calls each client has in flight. */
const IN_FLIGHT = 200;

/** Handlers that reply at once or later, and count how often each call ran. */
class Jobs {
  readonly runs = new Map<number, number>();
  readonly services = {
    Jobs: {
      now: (key: number): number => this.#run(key),
      later: async (key: number): Promise<number> => {
        this.#run(key);
        for (let i = 0; i <= key % 3; i++) await turn();
        return key;
      },
    },
  };

  #run(key: number): number {
    this.runs.set(key, (this.runs.get(key) ?? 0) + 1);
    return key;
  }
}

type Services = Jobs["services"];

/** Where the servers are, one after another. */
interface Place {
  start(server: Server<Services>): Promise<() => Promise<Duplex>>;
}

const MEMORY: Place = {
  start: (server) =>
    Promise.resolve(() => {
      const [near, far] = memoryPair();
      server.accept(far);
      return Promise.resolve(near);
    }),
};

const TCP: Place = {
  start: async (server) => {
    const listener = await listen({ port: 0 });
    server.serve(listener);
    return () => connect(listener.address);
  },
};

/** The transports that the clients may use. */
export const PLACES = { memory: MEMORY, tcp: TCP };

/** What became of the calls. */
export interface RestartTally {
  /** Calls that a connection has accepted. */
  calls: number;
  /** Those that were refused, whose outcome is unknown, or that ran not exactly once. */
  refused: number;
  unknown: number;
  miscounted: number;
  /** Calls that the application made after the warning: none was sent. */
  late: number;
}

/** Restarts a server so many times by drain, under the load of some clients. */
export async function restartUnderLoad(
  place: Place,
  restarts: number,
  clients = 3,
): Promise<RestartTally> {
  const jobs = new Jobs();
  const tally = { calls: 0, refused: 0, unknown: 0, miscounted: 0, late: 0 };
  const start = async () => {
    const server = new Server<Services>(jobs.services);
    return { server, dial: await place.start(server) };
  };
  let site: Awaited<ReturnType<typeof start>> | undefined = await start();
  let done = false;
  let next = 0;
  const executed: number[] = [];

  const make = async (client: Client<Services>, key: number) => {
    const method = key % 2 === 0 ? "Jobs.now" : "Jobs.later";
    try {
      await client.call(method, key);
      executed.push(key);
      tally.calls++;
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      if (error.outcome === "not_sent") tally.late++;
      else {
        tally.calls++;
        if (error.outcome === "refused") tally.refused++;
        else tally.unknown++;
      }
    }
  };
  /** Calls over one connection until it drains. */
  const callUntilDraining = async (client: Client<Services>) => {
    let draining = false;
    client.connection.draining.then(() => draining = true);
    const calls: Promise<void>[] = [];
    while (!draining && !done) {
      if (client.stats().inFlight < IN_FLIGHT) {
        for (let i = 0; i < 20; i++) calls.push(make(client, next++));
      }
      await pause();
    }
    return calls;
  };
  const load = async () => {
    const all: Promise<unknown>[] = [];
    while (!done) {
      const duplex = await site?.dial().catch(ignoreRefusal);
      if (duplex === undefined) await pause();
      else {
        const client = new Client<Services>(duplex);
        const calls = await callUntilDraining(client);
        // The old connection finishes beside the new one.
        all.push(...calls, Promise.all(calls).then(() => client.close()));
      }
    }
    await Promise.all(all);
  };

  const loads = Array.from({ length: clients }, load);
  for (let i = 0; i < restarts; i++) {
    const goal = executed.length + 100;
    while (executed.length < goal) await pause();
    const { server } = site;
    // In turns: the next server is there before the old one goes, or after.
    site = i % 2 === 0 ? await start() : undefined;
    await server.close();
    site ??= await start();
  }
  done = true;
  await Promise.all(loads);
  await site.server.close();
  for (const key of executed) {
    if (jobs.runs.get(key) !== 1) tally.miscounted++;
  }
  // Nothing ran whose caller does not know it.
  tally.miscounted += jobs.runs.size - executed.length;
  return tally;
}

/** Lets sockets be read: turns of the event loop alone may starve them. */
function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

/** A server that has just closed its listener. */
function ignoreRefusal(error: unknown): undefined {
  if (!(error instanceof ConnectionError)) throw error;
}

/** Prints a tally as one line. */
export function printTally(restarts: number, tally: RestartTally): string {
  const { calls, refused, unknown, miscounted, late } = tally;
  return `${restarts} restarts: ${calls} calls, ${refused} refused; ${unknown} unknown, ${miscounted} not run exactly once, ${late} made too late and not sent`;
}
