// Control frames that change nothing, again and again: what they cost, and how
// many are accepted.

import { assertEquals } from "@std/assert";
import { test } from "node:test";
import type { CallContext } from "../../mod.ts";
import { MAX_GOAWAYS, PeerGoaway } from "../../src/connection/shutdown.ts";
import { IDLE_PER_STREAM, MAX_IDLE } from "../../src/streams/stream_table.ts";
import { settle } from "../support/clock.ts";
import {
  assertCloses,
  assertLost,
  faceClient,
  faceServer,
  greet,
  serializerField,
} from "../support/facing.ts";
import { assertNothingLeft, pair } from "../support/pair.ts";
import {
  CALLER,
  credit,
  data,
  end,
  frame,
  goaway,
  KIND,
  reply,
  request,
  stop,
} from "../support/raw_peer.ts";

const STREAM = [5];

/** `bytes`, so many times. */
function times(count: number, bytes: Uint8Array): Uint8Array {
  const all = new Uint8Array(count * bytes.length);
  for (let i = 0; i < count; i++) all.set(bytes, i * bytes.length);
  return all;
}

/** A server with one call, 1, in flight: its params are a stream that has ended, its result one that has not. */
async function faceStreaming() {
  const release = Promise.withResolvers<void>();
  let told = 0;
  const facing = faceServer({
    Test: {
      both: async function* (_: unknown, ctx: CallContext) {
        ctx.signal.addEventListener("abort", () => told++);
        await release.promise;
        yield 1;
      },
      call: () => "answered",
    },
  });
  await greet(facing, { streams: { credit: 65_536, max: 10 } });
  await facing.peer.send(request(1, "Test.both", STREAM), end(1, CALLER));
  assertEquals((await facing.peer.next())?.kind, KIND.REPLY);
  return { facing, release, told: () => told };
}

/** Two streams: the params and the result. */
const ALLOWED = MAX_IDLE + 2 * IDLE_PER_STREAM;

const IDLE: [string, Uint8Array][] = [
  ["ENDs of params that have ended", end(1, CALLER)],
  ["ENDs with ERROR of such", end(1, CALLER, "x", "y")],
  ["empty CREDITs", credit(1, 0, CALLER)],
];

for (const [what, bytes] of IDLE) {
  test(`[X17] ${what} are ignored up to a stated number in a series, and one more closes`, async () => {
    const { facing, release, told } = await faceStreaming();
    const { peer, connection } = facing;
    await peer.send(times(ALLOWED, bytes), request(2, "Test.call"));
    assertEquals((await peer.next())?.id, 2);
    // One that does change something starts a new series.
    await peer.send(credit(1, 1, CALLER), times(ALLOWED, bytes));
    await peer.send(request(3, "Test.call"));
    assertEquals((await peer.next())?.id, 3);
    assertEquals([told(), connection.stats().state], [0, "open"]);
    await peer.send(bytes);
    await assertCloses(facing, "resource_exhausted");
    assertEquals(told(), 1);
    release.resolve();
    await settle();
    assertNothingLeft(connection);
  });
}

test("[X17] STOPs, CREDITs and ENDs for calls that are over count as one series", async () => {
  const facing = faceClient();
  await greet(facing, { streams: { credit: 65_536, max: 10 } });
  await settle();
  const call = facing.connection.call("Test.call", (async function* () {})());
  await settle();
  await facing.peer.send(reply(1));
  assertEquals(await call, "ok");
  const late = [stop(1), credit(1, 9), credit(1, 0)];
  const most = MAX_IDLE + IDLE_PER_STREAM;
  for (let i = 0; i < most - most % 3; i += 3) await facing.peer.send(...late);
  await facing.peer.send(...late.slice(0, most % 3), frame(KIND.PING, 1));
  await facing.peer.nextOf(KIND.PONG);
  await facing.peer.send(late[0]);
  await assertCloses(facing, "resource_exhausted");
});

test("[X17] an ERROR in an END that changes nothing is not even decoded", async () => {
  let decoded = 0;
  const serializer = {
    name: "counts",
    encode: () => new Uint8Array(1),
    decode: () => decoded++,
  };
  const { promise, resolve } = Promise.withResolvers<string>();
  const facing = faceServer({ Test: { hold: () => promise } }, { serializer });
  const extra = serializerField("counts");
  await greet(facing, { streams: { credit: 65_536, max: 10 }, extra });
  const failed = frame(KIND.END, 1, [1, 0x78, 0, 0, 4, 0], CALLER | 2);
  await facing.peer.send(request(1, "Test.hold", STREAM), failed);
  await facing.peer.send(times(1000, failed));
  await settle();
  resolve("done");
  await facing.peer.nextOf(KIND.REPLY);
  await facing.peer.send(times(1000, failed));
  await settle();
  assertEquals(decoded, 1);
  await assertLost(facing);
});

test("[X17] PINGs, PONGs, PADs, CANCELs and late DATA are not limited in number", async () => {
  const { facing, release } = await faceStreaming();
  const { peer, connection } = facing;
  for (
    const bytes of [
      frame(KIND.PING, 1),
      frame(KIND.PONG, 1),
      frame(KIND.PAD, 1),
      frame(0x80, 1),
      frame(KIND.CANCEL, 1),
      data(1, [1, 0x31], CALLER),
    ]
  ) {
    for (let i = 0; i < 3; i++) {
      await peer.send(times(ALLOWED, bytes));
      await settle();
    }
  }
  assertEquals(connection.stats().state, "open");
  release.resolve();
  await peer.end();
  await connection.closed;
  assertNothingLeft(connection);
});

test("[X17] a GOAWAY that says nothing new changes nothing, and makes no error", () => {
  const seen = new PeerGoaway();
  const first = seen.record(7, "", "");
  assertEquals(seen.record(7, "", "again"), undefined);
  const lower = seen.record(5, "", "");
  assertEquals(seen.record(5, "", ""), undefined);
  const failed = seen.record(5, "internal", "oh");
  assertEquals(seen.record(5, "internal", "oh"), undefined);
  assertEquals([first, lower].map((e) => e?.code), [
    "unavailable",
    "unavailable",
  ]);
  assertEquals(seen.reason, first);
  assertEquals([seen.fault, failed?.code], [failed, "internal"]);
});

test("[X17] MAX_GOAWAYS GOAWAYs are accepted, whatever they say, and one more closes", async () => {
  for (const step of [0, 1]) {
    const facing = faceClient();
    await greet(facing);
    await settle();
    const handles = Array.from(
      { length: 100 },
      () => facing.connection.go("Test.call"),
    );
    await settle();
    for (let i = 0; i < MAX_GOAWAYS; i++) {
      await facing.peer.send(goaway(50 - step * i));
    }
    await settle();
    const served = 50 - step * (MAX_GOAWAYS - 1);
    const known = handles.map(({ outcome }) => outcome);
    assertEquals(known.lastIndexOf("unknown"), served - 1);
    assertEquals(known.indexOf("refused"), served);
    await facing.peer.send(goaway(50 - step * MAX_GOAWAYS));
    await assertCloses(facing, "resource_exhausted");
    for (const { settled } of handles) await settled;
  }
});

test("[X17] [F13] thousands of streams that this library ends early never close their connection", async () => {
  const ways: Record<string, (items: AsyncIterable<unknown>) => unknown> = {
    // The answer overtakes the params: their END is late.
    answers: () => "enough",
    // The reader's STOP, and its CREDITs, cross the END.
    stops: async (items) => {
      for await (const _ of items) break;
    },
  };
  const { client, close } = pair({ Test: ways } as object, {
    server: { maxStreams: 2000, windowCalls: 4096, maxRunning: 4096 },
    client: { maxStreams: 2000 },
  });
  const { connection } = client;
  async function* items() {
    for (let i = 0; i < 3; i++) yield new Uint8Array(3000);
  }
  for (let round = 0; round < 4; round++) {
    const name = round % 2 === 0 ? "answers" : "stops";
    const calls = Array.from(
      { length: 1000 },
      () => connection.call(`Test.${name}`, items()),
    );
    await Promise.all(calls);
  }
  assertEquals(connection.stats().state, "open");
  await close();
});
