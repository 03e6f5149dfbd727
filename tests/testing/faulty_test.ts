// A faulty transport does to bytes what its options say, at the byte they say.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import {
  Client,
  type Duplex,
  type DuplexInfo,
  echoServices,
  memoryPair,
  Server,
} from "../../mod.ts";
import {
  type Fault,
  faulty,
  type FaultyDirectionOptions,
  faultyPair,
  settle,
  TestClock,
} from "../../testing.ts";
import { newSeed } from "../support/random.ts";
import { pattern } from "../support/transports.ts";

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
  const { near, far } = faultyPair({ out: { faults: [fault] } });
  const sent = send(near, pattern(1000), [300, 300, 300, 100]);
  const got = joined(await receive(far));
  await sent;
  return got;
}

const BYTES = [...pattern(1000)];

test("without faults both directions carry what is written, and FIN closes one", async () => {
  const { near, far } = faultyPair();
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
  const { near, far } = faultyPair({ out: { faults } });
  const writer = near.writable.getWriter();
  const reading = receive(near);
  await writer.write(pattern(9)).catch(() => {});
  await assertRejects(() => receive(far), Error, "reset on the way");
  await assertRejects(() => reading, Error, "reset on the way");
  await assertRejects(() => writer.closed);
  await assertRejects(() => far.writable.getWriter().closed);
});

test("a stall delivers nothing until it is resumed, and makes the writer wait", async () => {
  const { near, far, out } = faultyPair({
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
  const { near, far } = faultyPair();
  const writer = near.writable.getWriter();
  await writer.write(pattern(3));
  await writer.abort(new Error("enough"));
  const reader = far.readable.getReader();
  assertEquals((await reader.read()).value, pattern(3));
  await assertRejects(() => reader.read(), Error, "reset by the peer");
  await assertRejects(() => receive(near), Error, "enough");
});

test("a seed splits, merges and delays by the clock, the same way each time", async () => {
  const seed = newSeed();
  async function sizes(): Promise<number[]> {
    const clock = new TestClock();
    const chunks = { seed, maxChunk: 90, maxDelay: 5, clock };
    const { near, far } = faultyPair({ out: { chunks } });
    const sent = send(near, pattern(1000), new Array(20).fill(50));
    const reading = receive(far);
    await settle();
    assertEquals(clock.timers, 1, "delayed");
    await clock.advance(1000);
    await sent;
    const got = await reading;
    assertEquals(joined(got), BYTES);
    assertEquals(clock.timers, 0);
    return got.map((chunk) => chunk.length);
  }
  const first = await sizes();
  assertEquals(await sizes(), first, `seed ${seed}`);
  assert(first.some((size) => size < 50), "split");
  assert(first.some((size) => size > 50), "merged");
});

test("without a clock, chunks are delayed by the platform's timers", async () => {
  const chunks = { seed: 1, maxChunk: 40 };
  const { near, far } = faultyPair({ out: { chunks } });
  const [, got] = await Promise.all([send(near, pattern(1000)), receive(far)]);
  assertEquals(joined(got), BYTES);
  assert(got.every(({ length }) => length <= 40));
});

test("any duplex can be wrapped, in either direction", async () => {
  const [inner, peer] = memoryPair();
  const { duplex } = faulty(inner, {
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

test("a wrapped duplex knows what the wrapped one knows, and lets the process exit as it does", () => {
  const [{ readable, writable }] = memoryPair();
  const refs: string[] = [];
  const inner: Duplex & DuplexInfo = {
    ...{ readable, writable, remote: "10.0.0.1:80", local: "10.0.0.2:99" },
    ref: () => refs.push("ref"),
    unref: () => refs.push("unref"),
  };
  const { duplex } = faulty(inner);
  assertEquals([duplex.remote, duplex.local], [inner.remote, inner.local]);
  duplex.unref?.();
  duplex.ref?.();
  assertEquals(refs, ["unref", "ref"]);
});

test("a wrapped duplex that is aborted aborts the one inside, and one that is lost is lost outside", async () => {
  for (const which of ["outside", "inside"]) {
    const [inner, peer] = memoryPair();
    const { duplex } = faulty(inner);
    const [from, to] = which === "outside" ? [duplex, peer] : [peer, duplex];
    const reading = receive(to);
    await from.writable.abort(new Error("enough"));
    await assertRejects(() => reading);
  }
});

test("directions count their bytes, and are stalled, resumed, cut and reset by the test", async () => {
  const { near, far, out, back, reset } = faultyPair();
  const writer = near.writable.getWriter();
  const reader = far.readable.getReader();
  await writer.write(pattern(10));
  out.stall();
  await writer.write(pattern(5));
  assertEquals((await reader.read()).value, pattern(10));
  assertEquals([out.written, out.delivered, out.held], [15, 10, 5]);
  assertEquals([out.stalled, back.stalled], [true, false]);
  out.resume();
  assertEquals((await reader.read()).value, pattern(5));
  out.cut();
  assertEquals((await reader.read()).done, true);
  await writer.write(pattern(3));
  assertEquals([out.written, out.delivered, out.held], [18, 15, 0]);
  const reading = near.readable.getReader().read();
  reset();
  reset();
  await assertRejects(() => reading, Error, "reset on the way");
});

test("a fault in the middle of an exchange leaves nothing of a client and a server", async () => {
  for (const kind of ["cut", "reset"] as const) {
    const { near, far } = faultyPair({ back: { faults: [{ kind, at: 90 }] } });
    const server = new Server(echoServices(), { onError: () => {} });
    server.accept(far);
    const client = new Client(near);
    const calls = Array.from(
      { length: 9 },
      (_, n) => client.go("Echo.echo", n),
    );
    for (const { settled } of calls) await settled;
    await Promise.all([client.close(), server.close()]);
    assertEquals(server.stats().connections, 0);
    assertEquals(client.stats().inFlight, 0);
  }
});

test("options out of range are refused", () => {
  const wrong: [FaultyDirectionOptions, string][] = [
    [{ capacity: -1 }, "capacity"],
    [{ capacity: NaN }, "capacity"],
    [{ faults: [{ kind: "cut", at: -1 }] }, "at must"],
    [{ faults: [{ kind: "reset", at: 1.5 }] }, "at must"],
    [{ faults: [{ kind: "garble", at: 1, bit: 8 }] }, "bit must"],
    [{ faults: [{ kind: "duplicate", at: 1, length: 0 }] }, "length must"],
    [{ chunks: { seed: 1, maxChunk: 0 } }, "maxChunk"],
    [{ chunks: { seed: 1, maxChunk: 1, maxDelay: -1 } }, "maxDelay"],
  ];
  for (const [back, text] of wrong) {
    assertThrows(() => faultyPair({ back }), RangeError, text);
  }
  const unknown = { kind: "melt", at: 1 } as unknown as Fault;
  assertThrows(
    () => faultyPair({ out: { faults: [unknown] } }),
    TypeError,
    "melt",
  );
  assertThrows(() => faulty({} as Duplex), TypeError);
  const [inner] = memoryPair();
  inner.readable.getReader();
  assertThrows(() => faulty(inner), TypeError);
});
