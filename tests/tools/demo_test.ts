// The demo, run small on the runtime of the test, and its parts.

import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { join } from "node:path";
import { test } from "node:test";
import { readOptions } from "../../bench/demo/options.ts";
import {
  chainConclusion,
  type ChainRow,
  conclusion,
  type Row,
  table,
} from "../../bench/demo/report.ts";
import { command, OWN } from "../../bench/demo/runtimes.ts";
import { listen, Server } from "../../mod.ts";
import { ROOT, run, type RunResult } from "../../tools/process.ts";

function demo(...args: string[]): Promise<RunResult> {
  const [program, programArgs] = command(OWN, join(ROOT, "bench", "demo.ts"));
  return run(program, [...programArgs, ...args], { timeout: 50_000 });
}

function rowsOf(stdout: string): Row[] {
  assert(stdout.endsWith("\n"));
  return stdout.slice(0, -1).split("\n").map((line) => JSON.parse(line));
}

test("with --json the demo prints five lines and nothing else", async () => {
  const { stdout, fault } = await demo("--json", "--calls", "2000");
  assertEquals(fault, "");
  const [awaited, dependent] = rowsOf(stdout).slice(3) as unknown as ChainRow[];
  assertEquals([awaited.style, dependent.style], ["awaited", "dependent"]);
  assertEquals(
    Object.keys(dependent).join(),
    "style,runtime,chains,seconds,ms_per_chain",
  );
  // Timers may be late, never early.
  assert(dependent.ms_per_chain >= 10);
  assert(awaited.ms_per_chain > 2 * dependent.ms_per_chain);
  const rows = rowsOf(stdout).slice(0, 3);
  assertEquals(
    rows.map(({ style, runtime, calls }) => [style, runtime, calls]),
    [
      ["sync", OWN, 2000],
      ["concurrent", OWN, 2000],
      ["pipeline", OWN, 2000],
    ],
  );
  for (const row of rows) {
    assertEquals(
      Object.keys(row).join(),
      "style,runtime,calls,seconds,calls_per_s,cpu_s,rss_mb",
    );
    assert(row.seconds > 0 && row.calls_per_s > 0 && row.cpu_s > 0);
    assert(row.rss_mb > 10 && row.rss_mb < 4000, `${row.rss_mb} MB`);
  }
});

test("the network that the demo adds is there in both directions", async () => {
  const { stdout, fault } = await demo(
    ...["--json", "--calls", "20", "--rtt", "10", "--tasks", "20"],
  );
  assertEquals(fault, "");
  // Timers may be late, never early.
  assert(rowsOf(stdout)[0].seconds >= 0.2);
});

test("wrong options end the demo with its usage", async () => {
  for (const args of [["--calls", "0"], ["--nope"], ["more"]]) {
    const { stdout, output, fault } = await demo(...args);
    assertEquals(fault, "exit status 2", args.join(" "));
    assertEquals(stdout, "");
    assertStringIncludes(output, "Usage: deno task demo");
  }
});

test("options are checked", () => {
  const wrong = [
    ...["--calls=1e3", "--calls=-1", "--calls=", "--calls=1.5"],
    ...["--tasks=0", "--tasks=1048577", "--rtt=-1", "--rtt=x", "--rtt=60001"],
    ...["--runtime=python", "--runtime=toString", "--json=yes"],
    ...[
      "--server=localhost",
      "--server=:1",
      "--server=a:0",
      "--server=a:65536",
    ],
  ];
  for (const option of wrong) {
    assertThrows(() => readOptions([option]), Error, "", option);
  }
  const { calls, tasks, runtime, rtt, json } = readOptions([]);
  assertEquals(
    { calls, tasks, runtime, rtt, json },
    { calls: 524_288, tasks: 64, runtime: OWN, rtt: 0, json: false },
  );
  const { server } = readOptions(["--server", "[::1]:8848"]);
  assertEquals(server, { host: "::1", port: 8848 });
});

test("one wrong reply fails the demo, whatever the style", async () => {
  for (const [index, style] of ["sync", "concurrent", "pipeline"].entries()) {
    let calls = 0;
    const lie = 100 * index + 50;
    const server = new Server({
      HelloService: {
        Hello: (name: string) => ++calls === lie ? "hello:" : `hello:${name}`,
      },
    });
    const listener = await listen({ port: 0 });
    server.serve(listener);
    assert("port" in listener.address);
    const { host, port } = listener.address;
    const { stdout, output, fault } = await demo(
      ...["--json", "--calls", "100", "--server", `${host}:${port}`],
    );
    assertEquals(fault, "exit status 1");
    assertStringIncludes(output, `${style}: call 49 was answered "hello:"`);
    assertEquals(stdout.split("\n").length - 1, index);
    await server.close();
  }
});

test("the demo fails if it cannot connect", async () => {
  const listener = await listen({ port: 0 });
  assert("port" in listener.address);
  const { port } = listener.address;
  await listener.close();
  const { output, fault } = await demo("--server", `127.0.0.1:${port}`);
  assertEquals(fault, "exit status 1");
  assertMatch(output, /^sync: Cannot connect to 127\.0\.0\.1:\d+: /m);
});

test("the demo's conclusion follows from its numbers", () => {
  const rows: Row[] = [
    {
      ...{ style: "sync", runtime: "deno", calls: 1000, seconds: 10 },
      ...{ calls_per_s: 100, cpu_s: 0.05, rss_mb: 70 },
    },
    {
      ...{ style: "concurrent", runtime: "deno", calls: 30_000, seconds: 10 },
      ...{ calls_per_s: 3000, cpu_s: 0.3, rss_mb: 80.4 },
    },
    {
      ...{ style: "pipeline", runtime: "deno", calls: 30_000, seconds: 2 },
      ...{ calls_per_s: 15_000, cpu_s: 0.06, rss_mb: 90 },
    },
  ];
  assertEquals(
    conclusion(rows, 64),
    "One loop that never waits for a reply made 15,000 calls per second, " +
      "150 x the rate of waiting for each and 5.0 x that of 64 tasks that " +
      "wait; a call cost the client 2.0 us of CPU, against 50.0 us and 10.0 us.",
  );
  const chains: ChainRow[] = [
    {
      ...{ style: "awaited", runtime: "deno", chains: 30, seconds: 1 },
      ms_per_chain: 33.33,
    },
    {
      ...{ style: "dependent", runtime: "deno", chains: 90, seconds: 1 },
      ms_per_chain: 11.11,
    },
  ];
  assertEquals(
    chainConclusion(chains, 10),
    "A chain of 3 calls, each of which needs the result of the one before, " +
      "took 11.1 ms with ref(), and 33.3 ms with await (10 ms of network).",
  );
  assertMatch(
    table(rows),
    /^concurrent +30,000 +10\.00 +3,000 +0\.30 +80 +30 x$/m,
  );
});
