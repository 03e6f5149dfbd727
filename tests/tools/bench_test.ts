// The benchmarks' own parts: a wrong reply is an error, whatever the load.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import { readOptions } from "../../bench/e2e/options.ts";
import { EchoLoad } from "../../bench/e2e/load.ts";
import { readPoints } from "../../bench/plot/rows.ts";
import { ANSWER, ScriptedPeer } from "../../bench/support/scripted_peer.ts";
import { short, table } from "../../bench/support/table.ts";
import { Client, type EchoServices, memoryPair, Server } from "../../mod.ts";

/** A client whose calls are answered by `echo`. */
function pair(echo: (bytes: Uint8Array) => Uint8Array) {
  const [near, far] = memoryPair();
  const server = new Server({ Echo: { echo } });
  server.accept(far);
  const client = new Client<EchoServices>(near);
  const close = () => Promise.all([client.close(), server.close()]);
  return { client, close };
}

for (const depth of [1, 100, "unlimited"] as const) {
  test(`a load of depth ${depth} counts right replies`, async () => {
    const { client, close } = pair((bytes) => bytes);
    const load = new EchoLoad(client, 16);
    const first = await load.run(depth, 0.01);
    const second = await load.run(depth, 0.01);
    assert(first.calls > 0 && second.calls > 0);
    assert(load.histogram.count > 0);
    await close();
  });

  test(`a load of depth ${depth} fails at the first wrong reply`, async () => {
    for (const at of [0, 15]) {
      let calls = 0;
      const { client, close } = pair((bytes) => {
        if (++calls === 20) bytes[at] ^= 1;
        return bytes;
      });
      const load = new EchoLoad(client, 16);
      const running = load.run(depth, 60);
      await assertRejects(() => running, Error, "has a reply with other bytes");
      await close();
    }
  });
}

test("a scripted peer replies to the calls that the test names, and to no other", async () => {
  const ids: number[] = [];
  const peer = new ScriptedPeer((id) => ids.push(id));
  const client = new Client<EchoServices>(peer.duplex);
  const calls = ["a", "b", "c"].map((name) =>
    client.call("HelloService.Hello", name)
  );
  await peer.received(3);
  peer.answer(Uint32Array.of(ids[2], ids[0]));
  assertEquals(await calls[2], ANSWER);
  assertEquals(await calls[0], ANSWER);
  assertEquals(client.stats().inFlight, 1);
  const lost = assertRejects(() => calls[1]);
  await client.abort();
  await lost;
});

test("the end-to-end benchmark's options are checked", () => {
  const wrong = [
    ...["--depth=0", "--depth=all", "--payload=3", "--payload=1048577"],
    ...["--runtime=python", "--transport=udp", "--rtt=-1", "--seconds=x"],
  ];
  for (const option of wrong) {
    assertThrows(() => readOptions([option]), Error, "Cannot use --", option);
  }
  const { depths, payloads, rtts, seconds } = readOptions(
    ["--quick", "--depth", "1,unlimited", "--rtt", "0,2.5"],
  );
  assertEquals(
    { depths, payloads, rtts, seconds },
    {
      depths: [1, "unlimited"],
      payloads: [16, 65_536],
      rtts: [0, 2.5],
      seconds: 0.05,
    },
  );
});

test("rows of the same settings are drawn as their median", () => {
  const row = (calls_per_s: number, depth: number) =>
    JSON.stringify({
      ...{ peer: "sluice", runtime: "bun", transport: "tcp", depth },
      ...{ payload: 16, rtt_ms: 0, calls_per_s, mb_per_s: 1 },
      ...{ p50_us: 1, p90_us: 1, p99_us: 1, p999_us: 1 },
    });
  const other = JSON.stringify({ peer: "case", style: "x", calls_per_s: 1 });
  const lines = [row(1, 8), row(9, 8), other, row(5, 1), row(2, 8)];
  const points = readPoints(lines.join("\n") + "\n");
  assertEquals(points.map((p) => [p.depth, p.calls_per_s]), [[8, 2], [1, 5]]);
});

test("tables line up, numbers to the right", () => {
  assertEquals(
    table(["what", "n"], [["a", short(1234.5)], ["bcdef", short(2.345)]]),
    "what       n\na      1,235\nbcdef   2.35",
  );
});
