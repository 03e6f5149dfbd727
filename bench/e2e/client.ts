/**
 * The client of the end-to-end benchmark, in a process of its own: echoes bytes
 * for a given time, and sends the result.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import {
  Client,
  connect,
  type Duplex,
  type EchoServices,
  echoServices,
  memoryPair,
  nodeDuplex,
  Server,
} from "../../mod.ts";
import { delayed } from "../delay.ts";
import { command, OWN } from "../demo/runtimes.ts";
import { cpuSeconds, Peak } from "../demo/usage.ts";
import { program } from "../support/program.ts";
import { EchoLoad } from "./load.ts";
import type { Depth, Transport } from "./options.ts";
import type { ServerAddress } from "./server.ts";

/** The options of the client. */
export interface ClientOrder {
  readonly transport: Transport;
  /** The address of the server, if it listens. */
  readonly server: ServerAddress | undefined;
  readonly depth: Depth;
  readonly payload: number;
  readonly rtt: number;
  readonly seconds: number;
}

/** The result. Latencies are in microseconds. */
export interface ClientResult {
  readonly calls: number;
  readonly seconds: number;
  readonly cpu: number;
  readonly peak: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
}

/** The share of the time that passes before measuring starts. */
const WARM_UP = 0.25;

/** A connection to a server, and a function that ends what was started for it. */
interface Reached {
  readonly duplex: Duplex;
  readonly ended: () => Promise<unknown>;
}

async function reach(
  transport: Transport,
  server: ServerAddress | undefined,
): Promise<Reached> {
  switch (transport) {
    case "tcp":
    case "unix":
    case "ws": {
      if (server === undefined) throw new Error("no server was started");
      return {
        duplex: await connect(server.url),
        ended: () => Promise.resolve(),
      };
    }
    case "stdio":
      return reachChild();
    case "memory": {
      const [duplex, far] = memoryPair();
      const local = new Server(echoServices());
      local.accept(far);
      return { duplex, ended: () => local.close() };
    }
  }
}

function reachChild(): Reached {
  const file = fileURLToPath(new URL("server.ts", import.meta.url));
  const [runtime, args] = command(OWN, file);
  const child: ChildProcess = spawn(runtime, [...args, "stdio"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const exit = once(child, "exit");
  return {
    duplex: nodeDuplex(child.stdout!, child.stdin!),
    ended: () => exit,
  };
}

async function run(order: ClientOrder): Promise<ClientResult> {
  const { transport, server, depth, payload, rtt, seconds } = order;
  const { duplex, ended } = await reach(transport, server);
  const client = new Client<EchoServices>(
    rtt > 0 ? delayed(duplex, rtt / 2) : duplex,
  );
  const load = new EchoLoad(client, payload);
  await load.run(depth, seconds * WARM_UP);
  const { histogram } = load;
  histogram.reset();
  const peak = new Peak();
  const cpu = cpuSeconds();
  const took = await load.run(depth, seconds);
  const used = cpuSeconds() - cpu;
  const micros = (percent: number) => histogram.percentile(percent) / 1000;
  await client.close();
  await ended();
  return {
    ...{ calls: took.calls, seconds: took.seconds, cpu: used },
    ...{ peak: peak.megabytes(), p50: micros(50), p90: micros(90) },
    ...{ p99: micros(99), p999: micros(99.9) },
  };
}

if (import.meta.main) await program(run);
