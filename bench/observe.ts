/**
 * What observing costs a call, and that it costs nothing who does not:
 * `observe.ts [--calls N] [--rounds N] [--base DIR] [--only NAMES]`.
 *
 * A server and a client of each kind, over TCP, pipelined, in turns, in one run:
 * `plain`; `channels`, to which nobody has subscribed; `hooks` on both sides;
 * `traced` calls. Each round gives a ratio to the first named of the same round,
 * and the median of those is what to look at. `--base` names another checkout,
 * such as one from before a change, as a kind of its own. Kinds of one run share
 * compiled code: what one costs that is not used tells `--only plain,base`.
 *
 * @module
 */

import { join, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { pathToFileURL } from "node:url";
import * as ours from "../mod.ts";
import { STYLES, Tally } from "./demo/styles.ts";
import { choices } from "./support/options.ts";

type Library = typeof ours;
type Echo = ours.Client<ours.EchoServices>;

/** A client of a server of its own, in this process. */
interface Pair {
  readonly name: string;
  readonly client: Echo;
  readonly rates: number[];
  readonly ratios: number[];
  close(): Promise<unknown>;
}

async function pair(
  name: string,
  { Client, connect, echoServices, listen, Server }: Library,
  observe?: ours.Observing,
  more: ours.ClientOptions = {},
): Promise<Pair> {
  const server = new Server(echoServices(), { observe });
  const listener = await listen({ port: 0 });
  server.serve(listener);
  const duplex = await connect(listener.address);
  const client: Echo = new Client<ours.EchoServices>(duplex, {
    observe,
    ...more,
  });
  const close = () => Promise.all([client.close(), server.close()]);
  return { name, client, rates: [], ratios: [], close };
}

/** How the pairs are made, by name; without `base` as it is there. */
function makers(base: string | undefined): Record<string, () => Promise<Pair>> {
  const { diagnostics, observing, outgoing, traced } = ours;
  let told = 0;
  const count = () => void told++;
  const hooks = observing({ start: count, end: count });
  const use = outgoing(traced());
  const makers = {
    plain: () => pair("plain", ours),
    channels: () => pair("channels", ours, observing(diagnostics())),
    hooks: () => pair("hooks", ours, hooks),
    middleware: () =>
      pair("middleware", ours, undefined, {
        use: outgoing((_, next) => next()),
      }),
    traced: () => pair("traced", ours, undefined, { use }),
  };
  if (base === undefined) return makers;
  const url = pathToFileURL(join(resolve(base), "mod.ts")).href;
  return { ...makers, base: async () => pair("base", await import(url)) };
}

/** Calls a second of CPU time, which other programs disturb less than time. */
async function rate(client: Echo, calls: number): Promise<number> {
  const tally = new Tally(calls, (error) => {
    throw error;
  });
  const before = process.cpuUsage();
  await STYLES.pipeline(
    client,
    { calls, tasks: 1, syncLimit: Infinity },
    tally,
  );
  const { user, system } = process.cpuUsage(before);
  return calls / (user + system) * 1e6;
}

function median(numbers: number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

const { values } = parseArgs({
  options: {
    calls: { type: "string", default: "100000" },
    rounds: { type: "string", default: "15" },
    base: { type: "string" },
    only: { type: "string" },
  },
});
const calls = Number(values.calls);
const byName = makers(values.base);
const names = values.only?.split(",") ?? Object.keys(byName);
const all = await Promise.all(
  choices("only", names.join(), Object.keys(byName)).map((n) => byName[n]()),
);
for (const { client } of all) await rate(client, calls);
for (let i = 0; i < Number(values.rounds); i++) {
  // In turns that turn: nobody always runs first.
  const order = all.map((_, at) => all[(at + i) % all.length]);
  for (const { client, rates } of order) rates.push(await rate(client, calls));
  for (const { rates, ratios } of all) {
    ratios.push((rates.at(-1) as number) / (all[0].rates.at(-1) as number));
  }
}
for (const { name, rates, ratios } of all) {
  const shown = Math.round(median(rates)).toLocaleString("en");
  const ratio = median(ratios).toFixed(3);
  console.log(
    `${name.padEnd(10)}${shown} calls per CPU s, ${ratio} of ${all[0].name}`,
  );
}
await Promise.all(all.map(({ close }) => close()));
process.exit();
