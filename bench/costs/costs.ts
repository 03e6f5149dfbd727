/**
 * The costs that have a target, and how each is measured, in new processes of the
 * runtime under measurement.
 *
 * @module
 */

import { execFileSync } from "node:child_process";
import { Child } from "../demo/child.ts";
import type { ClientMessage, ClientOrder } from "../demo/client.ts";
import type { Runtime } from "../demo/runtimes.ts";
import type { ServerMessage } from "../demo/server.ts";
import type { StyleName } from "../demo/styles.ts";
import type { Cost, Finding } from "../support/findings.ts";
import { measure } from "../support/program.ts";
import { median } from "../support/stats.ts";
import { short } from "../support/table.ts";
import type { AbortOrder, AbortResult } from "./abort.ts";
import type { ChunksOrder, ChunksResult } from "./chunks.ts";
import type { IdleOrder, IdleResult } from "./idle.ts";
import type { MemoryOrder, MemoryResult } from "./memory.ts";
import type { SteadyOrder, SteadyResult } from "./steady.ts";

const KIB = 1024;

const memory: Cost = async (runtime, quick) => {
  const calls = quick ? 20_000 : 1_000_000;
  const { bytes } = await measure<MemoryOrder, MemoryResult>(
    runtime,
    import.meta.resolve("./memory.ts"),
    { calls },
  );
  const what = "live memory per pending call";
  return [{ what, calls, value: bytes, unit: "bytes", most: 400 }];
};

/** Numbers of pending calls, and how many times the cost with the fewest is allowed. */
const STEADY = [[10], [1000, 1.5], [100_000, 1.5], [1_000_000, 3]] as const;

const steady: Cost = async (runtime, quick) => {
  const findings: Finding[] = [];
  for (const form of ["stay", "turn"] as const) {
    const sizes = quick ? STEADY.slice(0, 2) : STEADY;
    const samples = quick ? 20 : 600;
    const times = await interleaved(
      quick ? 1 : 3,
      sizes,
      ([pending]) =>
        measure<SteadyOrder, SteadyResult>(
          runtime,
          import.meta.resolve("./steady.ts"),
          { form, pending, samples },
        ),
    );
    const medians = times.map((rounds) => median(rounds.map((r) => r.median)));
    const means = times.map((rounds) => median(rounds.map((r) => r.mean)));
    sizes.forEach(([pending, most], i) => {
      const ns = `${short(medians[i])} ns, mean ${short(means[i])} ns`;
      const others = form === "stay" ? "others" : "before it";
      const what = `one more call, ${
        pending.toLocaleString("en-US")
      } ${others}`;
      const value = medians[i] / medians[0];
      findings.push({ what, calls: pending, value, unit: "x", most, note: ns });
    });
  }
  return findings;
};

/** Measures all cases once in each round. */
async function interleaved<Case, Result>(
  rounds: number,
  cases: readonly Case[],
  once: (each: Case) => Promise<Result>,
): Promise<Result[][]> {
  const results: Result[][] = cases.map(() => []);
  for (let i = 0; i < rounds; i++) {
    for (const [j, each] of cases.entries()) results[j].push(await once(each));
  }
  return results;
}

const idle: Cost = async (runtime, quick) => {
  const wanted = quick ? 200 : 10_000;
  const possible = openFiles() - 500;
  const connections = Math.min(wanted, possible);
  const once = (bare: boolean) =>
    measure<IdleOrder, IdleResult>(
      runtime,
      import.meta.resolve("./idle.ts"),
      { connections, bare },
    );
  const bare = await once(true);
  const ours = await once(false);
  const limited = connections < wanted
    ? `; ${connections} connections, as no more files may be open`
    : "";
  return [{
    what: "idle connection, in addition to a bare socket",
    calls: ours.connections,
    value: (ours.bytes - bare.bytes) / KIB,
    unit: "KiB",
    most: 16,
    note: `${short(ours.bytes / KIB)} KiB, bare ${
      short(bare.bytes / KIB)
    } KiB${limited}`,
  }];
};

/** Largest number of files that a process may open. */
function openFiles(): number {
  const text = execFileSync("sh", ["-c", "ulimit -n"], { encoding: "utf8" });
  return text.trim() === "unlimited" ? Infinity : Number(text);
}

const abort: Cost = async (runtime, quick) => {
  const calls = quick ? 2000 : 100_000;
  const us = await measure<AbortOrder, AbortResult>(
    runtime,
    import.meta.resolve("./abort.ts"),
    { calls, rounds: quick ? 1 : 5 },
  );
  const bare = `${short(us.rejecting)} us for bare promises`;
  return [{
    what: "abort on one shared signal, the library's part",
    calls,
    value: us.shared - us.rejecting,
    unit: "us",
    most: 1,
    note: `${short(us.shared)} us, less ${bare}`,
  }, {
    what: "abort on a signal each, compared with bare abort()",
    calls,
    value: (us.own - us.rejecting) / us.aborting,
    unit: "x",
    most: 1.5,
    note: `${short(us.own)} us, less ${bare}; bare abort() ${
      short(us.aborting)
    } us`,
  }];
};

const chunks: Cost = async (runtime, quick) => {
  const calls = quick ? 1000 : 10_000;
  const results = await measure<ChunksOrder, ChunksResult[]>(
    runtime,
    import.meta.resolve("./chunks.ts"),
    { calls },
  );
  const styles = {
    ready: "a loop that awaits ready",
    free: "a loop that awaits nothing",
    tasks: "64 tasks",
  };
  return results.flatMap(({ transport, style, client, server }) =>
    [["out", client], ["back", server]].map(([way, value]) => ({
      what: `chunks ${way}, ${styles[style]}, ${transport}`,
      calls,
      value: Number(value),
      unit: "chunks",
      most: style === "tasks" ? 400 : 40,
    }))
  );
};

/** Milliseconds added to a round trip. */
const RTT = 10;

const latency: Cost = async (runtime, quick) => {
  const server = new Child<ServerMessage>(runtime, "server.ts");
  try {
    let address: ServerMessage;
    await server.listen((message) => (address = message) !== undefined);
    const rate = async (style: StyleName, calls: number) => {
      const order: ClientOrder = {
        ...{ style, calls, tasks: 1, rtt: RTT },
        ...{ server: address, syncLimit: 60_000 },
      };
      return await demoRate(runtime, order);
    };
    const calls = quick ? 20_000 : 524_288;
    const sync = await rate("sync", quick ? 20 : 100);
    const pipeline = await rate("pipeline", calls);
    return [{
      what: `pipeline over sync, ${RTT} ms round trip`,
      calls,
      value: pipeline / sync,
      unit: "x",
      least: 500,
      note: `${short(pipeline)} and ${short(sync)} calls/s`,
    }];
  } finally {
    await server.stop();
  }
};

/** Calls a second of the demo's client. */
async function demoRate(
  runtime: Runtime,
  order: ClientOrder,
): Promise<number> {
  const client = new Child<ClientMessage>(
    runtime,
    "client.ts",
    JSON.stringify(order),
  );
  try {
    let rate = 0;
    await client.listen((message) => {
      if ("fault" in message) {
        throw new Error(`${order.style}: ${message.fault}`);
      }
      if ("done" in message) return false;
      rate = message.result.calls / message.result.seconds;
      return true;
    });
    return rate;
  } finally {
    await client.stop();
  }
}

/** All costs by name, in the order in which they run. */
export const COSTS = { chunks, memory, steady, abort, idle, latency };
