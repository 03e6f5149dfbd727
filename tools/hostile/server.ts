/**
 * The server under attack, in a process of its own. It reports its address, then
 * its health some times a second.
 *
 * @module
 */

import process from "node:process";
import { parentDone, sendToParent } from "../../bench/demo/parent.ts";
import {
  type CallContext,
  type Connection,
  type ConnectionError,
  listen,
  Server,
  type ServerOptions,
} from "../../mod.ts";
import { BIG } from "./limits.ts";

/** The health of the server. */
export interface Health {
  readonly rss: number;
  /** Seconds of CPU so far. */
  readonly cpu: number;
  readonly connections: number;
  /** Running handlers, and bytes that count towards `maxTotalBuffered`. */
  readonly running: number;
  readonly buffered: number;
  /** How many connections failed or were rejected, by code. */
  readonly ended: Readonly<Record<string, number>>;
}

/** Its first report. All others are {@linkcode Health}. */
export interface Listening {
  readonly address: { readonly host: string; readonly port: number };
}

/** Milliseconds between two reports. */
const EVERY = 200;

const big = new Uint8Array(BIG);

const services = {
  HelloService: { Hello: (name: string): string => `hello:${name}` },
  Test: {
    big: (): Uint8Array => big,
    /** Ends when its call is cancelled. */
    hold: (_: unknown, { signal }: CallContext): Promise<void> =>
      new Promise((resolve) => {
        if (signal.aborted) resolve();
        else signal.addEventListener("abort", () => resolve());
      }),
  },
};

function health(
  connections: Iterable<Connection>,
  ended: Record<string, number>,
): Health {
  let count = 0;
  let running = 0;
  let buffered = 0;
  for (const connection of connections) {
    const stats = connection.stats();
    count++;
    running += stats.running;
    buffered += stats.bufferedBytes;
  }
  const { rss } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  const cpu = (user + system) / 1e6;
  return { rss, cpu, connections: count, running, buffered, ended };
}

if (import.meta.main) {
  const ended: Record<string, number> = {};
  const options: ServerOptions = JSON.parse(process.argv[2]);
  const server = new Server(services, {
    ...options,
    onError: (error) => {
      const { code } = error as ConnectionError;
      ended[code] = (ended[code] ?? 0) + 1;
    },
  });
  const listener = await listen({ port: 0 });
  server.serve(listener);
  sendToParent({ address: listener.address });
  const timer = setInterval(
    () => sendToParent(health(server.connections, ended)),
    EVERY,
  );
  await parentDone();
  clearInterval(timer);
  process.exit();
}
