/**
 * Compares the cost of a call through a reconnecting client and a plain one:
 * `reconnecting.ts [--calls N] [--rounds N]`.
 *
 * Both clients call one echo server over TCP, in turns, in one run. Look at the
 * ratio of the medians.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import {
  Client,
  connect,
  type EchoServices,
  echoServices,
  listen,
  ReconnectingClient,
  Server,
} from "../mod.ts";
import { STYLES, Tally } from "./demo/styles.ts";

type Calling = Pick<Client<EchoServices>, "call" | "ready">;

function median(numbers: number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

const { values } = parseArgs({
  options: {
    calls: { type: "string", default: "200000" },
    rounds: { type: "string", default: "9" },
  },
});
const calls = Number(values.calls);

async function rate(client: Calling): Promise<number> {
  const tally = new Tally(calls, (error) => {
    throw error;
  });
  const began = performance.now();
  const work = { calls, tasks: 1, syncLimit: Infinity };
  await STYLES.pipeline(client as Client<EchoServices>, work, tally);
  return calls / (performance.now() - began) * 1000;
}

const server = new Server(echoServices());
const listener = await listen({ port: 0 });
server.serve(listener);
const plain = new Client<EchoServices>(await connect(listener.address));
const reconnecting = new ReconnectingClient<EchoServices>((signal) =>
  connect({ ...listener.address, signal })
);
const rates = { plain: [] as number[], reconnecting: [] as number[] };
await rate(plain);
await rate(reconnecting);
for (let i = 0; i < Number(values.rounds); i++) {
  rates.plain.push(await rate(plain));
  rates.reconnecting.push(await rate(reconnecting));
}
const base = median(rates.plain);
for (const [name, list] of Object.entries(rates)) {
  const mid = median(list);
  console.log(
    `${name.padEnd(13)}${Math.round(mid).toLocaleString("en")} calls/s, ${
      (mid / base).toFixed(2)
    } of plain`,
  );
}
await Promise.all([plain.close(), reconnecting.close()]);
await server.close();
process.exit();
