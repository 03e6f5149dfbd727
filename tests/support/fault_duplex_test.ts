// The fault duplex does to bytes what its options say, at the byte they say.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { type Duplex, memoryPair } from "../../mod.ts";
import { settle, TestClock } from "./clock.ts";
import { faultDuplex, faultPair } from "./fault_duplex.ts";
import type { Fault, LineOptions } from "./fault_line.ts";
import { Random } from "./random.ts";
import { pattern } from "./transports.ts";

/** Writes `bytes` in one chunk of each size, then FIN. */
async function send(
  { writable }: Duplex,
  bytes: Uint8Array,
  sizes = [bytes.length],
): Promise<void> {
  const writer = writable.getWriter();
  let at = 0;
  for (const size of sizes) {
    await writer.write(bytes.slice(at, at + size));
    at += size;
  }
  await writer.close();
}

/** All chunks up to the FIN. */
function receive({ readable }: Duplex): Promise<Uint8Array[]> {
  return Array.fromAsync(readable);
}

function joined(chunks: Uint8Array[]): number[] {
  return chunks.flatMap((chunk) => [...chunk]);
}

/** What arrives of 1,000 bytes, written in chunks of 300, with a fault at 450. */
async function through(fault: Fault): Promise<number[]> {
  const { near, far } = faultPair({ out: { faults: [fault] } });
  const sent = send(near, pattern(1000), [300, 300, 300, 100]);
  const got = joined(await receive(far));
  await sent;
  return got;
}

const BYTES = [...pattern(1000)];

test("without faults both directions carry what is written, and FIN closes one", async () => {
  const { near, far } = faultPair();
  const [, , there, back] = await Promise.all([
    send(near, pattern(100)),
    send(far, pattern(70, 5)),
    receive(far),
    receive(near),
  ]);
  assertEquals(joined(there), [...pattern(100)]);
  assertEquals(joined(back), [...pattern(70, 5)]);
});

test("a cut puts FIN in place of what follows, and swallows it", async () => {
  assertEquals(await through({ kind: "cut", at: 450 }), BYTES.slice(0, 450));
});

test("a garbled bit is one bit of one byte", async () => {
  const garbled = BYTES.with(450, BYTES[450] ^ 8);
  assertEquals(await through({ kind: "garble", at: 450, bit: 3 }), garbled);
});

test("duplicated bytes come twice", async () => {
  const fault = { kind: "duplicate", at: 450, length: 20 } as const;
  const twice = BYTES.toSpliced(450, 0, ...BYTES.slice(450, 470));
  assertEquals(await through(fault), twice);
});

test("a reset loses both directions, for both ends", async () => {
  const faults = [{ kind: "reset", at: 5 }] as const;
  const { near, far } = faultPair({ out: { faults } });
  const writer = near.writable.getWriter();
  const reading = receive(near);
  await writer.write(pattern(9)).catch(() => {});
  await assertRejects(() => receive(far), Error, "reset on the way");
  await assertRejects(() => reading, Error, "reset on the way");
  await assertRejects(() => writer.closed);
  await assertRejects(() => far.writable.getWriter().closed);
});

test("a stall delivers nothing until it is resumed, and makes the writer wait", async () => {
  const { near, far, out } = faultPair({
    out: { faults: [{ kind: "stall", at: 150 }], capacity: 100 },
  });
  let done = false;
  const sent = send(near, pattern(400), [200, 200]).then(() => done = true);
  const reading = receive(far);
  await settle();
  assertEquals(out.delivered, 150);
  assertEquals([out.stalled, done], [true, false]);
  out.resume();
  assertEquals(joined(await reading), [...pattern(400)]);
  await sent;
});

test("an aborting writer loses both directions; its peer learns behind what was delivered", async () => {
  const { near, far } = faultPair();
  const writer = near.writable.getWriter();
  await writer.write(pattern(3));
  await writer.abort(new Error("enough"));
  const reader = far.readable.getReader();
  assertEquals((await reader.read()).value, pattern(3));
  await assertRejects(() => reader.read(), Error, "reset by the peer");
  await assertRejects(() => receive(near), Error, "enough");
});

test("a seeded shape splits, merges and delays by the clock, the same way each time", async () => {
  const random = new Random();
  async function sizes(seed: number): Promise<number[]> {
    const clock = new TestClock();
    const shape: LineOptions["shape"] = {
      random: new Random(seed),
      maxChunk: 90,
      maxDelay: 5,
      clock,
    };
    const { near, far } = faultPair({ out: { shape } });
    const sent = send(near, pattern(1000), new Array(20).fill(50));
    const reading = receive(far);
    await settle();
    assertEquals(clock.timers, 1, "delayed");
    await clock.advance(1000);
    await sent;
    const chunks = await reading;
    assertEquals(joined(chunks), BYTES);
    assertEquals(clock.timers, 0);
    return chunks.map((chunk) => chunk.length);
  }
  const first = await sizes(random.seed);
  assertEquals(await sizes(random.seed), first, `seed ${random.seed}`);
  assert(first.some((size) => size < 50), "split");
  assert(first.some((size) => size > 50), "merged");
});

test("any duplex can be wrapped, in either direction", async () => {
  const [inner, peer] = memoryPair();
  const { duplex } = faultDuplex(inner, {
    out: { faults: [{ kind: "garble", at: 1, bit: 0 }] },
    back: { faults: [{ kind: "cut", at: 2 }] },
  });
  const [, , there, back] = await Promise.all([
    send(duplex, Uint8Array.of(10, 20, 30)),
    send(peer, Uint8Array.of(1, 2, 3)),
    receive(peer),
    receive(duplex),
  ]);
  assertEquals(joined(there), [10, 21, 30]);
  assertEquals(joined(back), [1, 2]);
});
