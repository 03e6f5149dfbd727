/**
 * Measures one kind of observers in a process of its own: the CPU time of a call
 * for a server and a client together, pipelined over TCP.
 *
 * @module
 */

import process from "node:process";
import type * as library from "../../mod.ts";
import { STYLES, Tally } from "../demo/styles.ts";
import { program } from "../support/program.ts";
import { median } from "../support/stats.ts";

/** What is measured. */
export interface Order {
  readonly kind: Kind;
  /** Address of the library's `mod.ts`. */
  readonly url: string;
  /** Calls in a sample. */
  readonly calls: number;
  readonly samples: number;
}

/** CPU time of a call, in us. */
export interface Result {
  readonly cpu: number;
}

type Library = typeof library;
type Client = library.Client<library.EchoServices>;

/** Options of clients and servers, by kind. */
export const KINDS = {
  /** No observers; also for another checkout, which may not have the other kinds. */
  plain: () => ({}),
  /** Diagnostics channels without subscribers. */
  channels: ({ diagnostics, observers }: Library) => {
    const observe = observers(diagnostics());
    return { client: { observe }, server: { observe } };
  },
  /** Both hooks, on both sides. */
  hooks: ({ observers }: Library) => {
    let events = 0;
    const count = () => void events++;
    const observe = observers({ start: count, end: count });
    return { client: { observe }, server: { observe } };
  },
  /** A middleware that only calls `next`. */
  middleware: ({ clientMiddleware }: Library) => ({
    client: { use: clientMiddleware((_call, next) => next()) },
  }),
} satisfies Record<string, (library: Library) => Settings>;

export type Kind = keyof typeof KINDS;

interface Settings {
  readonly client?: library.ClientOptions;
  readonly server?: library.ServerOptions;
}

async function sample(client: Client, calls: number): Promise<number> {
  const tally = new Tally(calls, (error) => {
    throw error;
  });
  const work = { calls, tasks: 1, syncLimit: Infinity };
  const before = process.cpuUsage();
  await STYLES.pipeline(client, work, tally);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / calls;
}

async function run(order: Order): Promise<Result> {
  const { kind, url, calls, samples } = order;
  const library: Library = await import(url);
  const settings: Settings = KINDS[kind](library);
  const services = library.echoServices();
  const server = new library.Server(services, settings.server);
  const listener = await library.listen({ port: 0 });
  server.serve(listener);
  const duplex = await library.connect(listener.address);
  const client: Client = new library.Client(duplex, settings.client);
  const found: number[] = [];
  // The first few warm up.
  for (let i = -3; i < samples; i++) {
    const cpu = await sample(client, calls);
    if (i >= 0) found.push(cpu);
  }
  await client.close();
  await server.close();
  return { cpu: median(found) };
}

if (import.meta.main) await program(run);
