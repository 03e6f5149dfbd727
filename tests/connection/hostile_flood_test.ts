// Floods in one chunk, frames after a fatal frame, and flipped bits.

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { settle } from "../support/clock.ts";
import {
  assertCloses,
  assertLost,
  faceClient,
  faceServer,
  type Facing,
  greet,
} from "../support/facing.ts";
import { assertNothingLeft } from "../support/pair.ts";
import {
  failure,
  frame,
  goaway,
  hello,
  join,
  KIND,
  reply,
  request,
} from "../support/raw_peer.ts";

/** Frames that are fatal, each for its own reason, with the code they close with. */
const FATAL: [string, Uint8Array, "protocol_error" | "frame_too_large"][] = [
  ["an unknown kind", frame(0x7f), "protocol_error"],
  ["a kind of streams", frame(0x10, 1, [0]), "protocol_error"],
  ["a second HELLO", hello(), "protocol_error"],
  ["a body too long", frame(KIND.PING, 1, [0]), "protocol_error"],
  [
    "a length too large",
    Uint8Array.of(0xff, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1),
    "frame_too_large",
  ],
];

for (const [name, fatal, code] of FATAL) {
  test(`[B11] of 1,000 calls after ${name} in the same chunk none is served`, async () => {
    let served = 0;
    const facing = faceServer({ Test: { call: () => void served++ } });
    await greet(facing);
    const behind = Array.from(
      { length: 1000 },
      (_, i) => request(i + 2, "Test.call"),
    );
    await facing.peer.send(request(1, "Test.call"), fatal, ...behind);
    const { frames, lastId } = await assertCloses(facing, code);
    assertEquals(frames.map(({ kind }) => kind), [KIND.REPLY, KIND.GOAWAY]);
    assertEquals([served, lastId], [1, 1]);
  });

  test(`[B11] of 1,000 replies after ${name} in the same chunk none is accepted`, async () => {
    const facing = faceClient();
    await greet(facing);
    await settle();
    const handles = Array.from(
      { length: 1001 },
      () => facing.connection.go("Test.call"),
    );
    await settle();
    const behind = Array.from({ length: 1000 }, (_, i) => reply(i + 2));
    await facing.peer.send(reply(1), fatal, ...behind);
    await assertCloses(facing, code);
    const outcomes = await Promise.all(handles.map(({ settled }) => settled));
    assertEquals(outcomes.shift(), "executed");
    assertEquals(new Set(outcomes), new Set(["unknown"]));
  });
}

test("[F2] 10,000 PINGs in one chunk get a PONG a batch, the last for the last of them", async () => {
  for (const facing of [faceServer({}), faceClient()]) {
    await greet(facing);
    const before = facing.connection.stats().chunksWritten;
    const pings = Array.from({ length: 10_000 }, (_, i) => frame(KIND.PING, i));
    await facing.peer.send(...pings);
    await settle();
    // The chunk is read in three turns, each of which can end one batch.
    const batches = facing.connection.stats().chunksWritten - before;
    assert(batches <= 6, `${batches} batches`);
    await facing.peer.end();
    const pongs = await facing.peer.rest();
    assertEquals(pongs.length, batches);
    assert(pongs.every(({ kind }) => kind === KIND.PONG));
    assertEquals(pongs[0].id, 0);
    assertEquals(pongs.at(-1)?.id, 9_999);
    await facing.connection.closed;
    assertNothingLeft(facing.connection);
  }
});

test("[F2] PINGs from a peer that does not read cost nothing", async () => {
  const facing = faceServer({});
  await facing.peer.send(hello());
  for (let i = 0; i < 100; i++) {
    const pings = Array.from({ length: 1000 }, (_, n) => frame(KIND.PING, n));
    await facing.peer.send(...pings);
    await settle(1);
  }
  // HELLO, and at most a PONG for each chunk that arrived.
  const { outgoingBytes } = facing.connection.stats();
  assert(outgoingBytes <= 100 * 12, `${outgoingBytes} bytes`);
  await assertLost(facing);
});

test("[F2] [B7] 10,000 PADs and skippable frames in one chunk are skipped", async () => {
  for (const facing of [faceServer({}), faceClient()]) {
    await greet(facing);
    const skipped = Array.from(
      { length: 10_000 },
      (_, i) => frame(i % 2 === 0 ? KIND.PAD : 0x80 + i % 128, i, [1, 2], 0xff),
    );
    await facing.peer.send(...skipped, frame(KIND.PING, 1));
    assertEquals((await facing.peer.next())?.kind, KIND.PONG);
    await settle();
    assertEquals(facing.connection.stats().outgoingBytes, 0);
    await assertLost(facing);
  }
});

test("[F2] PONGs that answer no PING are ignored", async () => {
  for (const facing of [faceServer({}), faceClient()]) {
    await greet(facing);
    const pongs = Array.from({ length: 1000 }, (_, i) => frame(KIND.PONG, i));
    await facing.peer.send(...pongs, frame(KIND.PING, 1));
    assertEquals((await facing.peer.next())?.kind, KIND.PONG);
    await assertLost(facing);
  }
});

test("[B11] a peer that goes on sending after a fatal frame still receives the reason", async () => {
  const facing = faceServer({ Test: { call: () => "ok" } });
  await greet(facing);
  await facing.peer.send(frame(0x7f));
  // More than the pipe holds: someone has to read on for this to be taken.
  for (let i = 0; i < 10; i++) await facing.peer.send(new Uint8Array(65_536));
  await assertCloses(facing, "protocol_error");
});

/** Sends a session with one bit flipped and FIN; everything must be over then. */
async function assertSettlesAll(
  facing: Facing,
  bytes: Uint8Array,
): Promise<void> {
  const { connection, peer } = facing;
  let settled = 0;
  const calls = Array.from(
    { length: 3 },
    () => connection.call("Test.call").then(() => settled++, () => settled++),
  );
  await settle(1);
  await peer.send(bytes);
  await peer.end();
  await peer.rest();
  await connection.closed;
  assertNothingLeft(connection);
  await Promise.all(calls);
  assertEquals(settled, 3);
}

/** Runs a session once for each of its bits, flipped. */
async function flipAll(
  bytes: Uint8Array,
  make: () => Facing,
): Promise<void> {
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Uint8Array.from(bytes);
    flipped[bit >>> 3] ^= 1 << (bit & 7);
    await assertSettlesAll(make(), flipped);
  }
}

test("[B10] with any one bit of a server's session flipped, a client settles every call once", async () => {
  const session = join(
    hello(),
    reply(1, "a"),
    frame(KIND.PING, 1),
    failure(2, "busy", "no", true),
    goaway(2),
  );
  await flipAll(session, () => faceClient());
});

test("[B10] with any one bit of a client's session flipped, a server's connection closes", async () => {
  const session = join(
    hello(),
    request(1, "Test.call", "x", 1000),
    request(2, "Test.hold"),
    frame(KIND.CANCEL, 2),
    reply(1),
    failure(2, "busy", "no", true),
  );
  const hold = () => new Promise<never>(() => {});
  const call = () => "ok";
  await flipAll(session, () => faceServer({ Test: { call, hold } }));
});
