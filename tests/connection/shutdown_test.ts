/** Cases at the end of a connection that other tests do not reach. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { settle } from "../support/clock.ts";
import {
  assertCloses,
  faceClient,
  faceServer,
  greet,
} from "../support/facing.ts";
import { frame, hello, KIND, readCode, request } from "../support/raw_peer.ts";

test("[I5] a side that granted 0 enforces the protocol's constants", async () => {
  const facing = faceClient();
  const calls = Array.from({ length: 65 }, (_, i) => request(i + 1, "x"));
  await facing.peer.send(hello(), ...calls);
  await settle();
  await facing.peer.end();
  const got = await facing.peer.rest();
  assertEquals(readCode(got.at(-1)!).code, "resource_exhausted");
});
test("[I6] a call more than 2^31 ids old can be cancelled", async () => {
  const facing = faceServer({
    Test: { hold: () => new Promise<never>(() => {}), call: () => 1 },
  });
  await greet(facing);
  await facing.peer.send(
    request(1, "Test.hold"),
    request(2 ** 31, "Test.call"),
    request(2 ** 31 + 10, "Test.call"),
  );
  await settle();
  await facing.peer.send(frame(KIND.CANCEL, 1));
  await settle();
  assertEquals(facing.connection.stats().state, "open");
});
test("[L5] close() before the peer's HELLO keeps its timeout when HELLO arrives", async () => {
  const facing = faceClient();
  const handle = facing.connection.go("Test.call");
  facing.connection.close({ timeout: 100 });
  await settle();
  await facing.peer.send(hello());
  await settle();
  await facing.clock.advance(60_000);
  assertEquals(handle.outcome, "unknown");
  assert(facing.connection.stats().state !== "draining");
});
test("[B5] a peer whose stream ends inside a frame receives the reason", async () => {
  const facing = faceServer({});
  await greet(facing);
  await facing.peer.send(frame(KIND.PING).subarray(0, 5));
  await facing.peer.end();
  const got = await facing.peer.rest();
  assertEquals(got.map((f) => f.kind), [KIND.GOAWAY]);
});
test("abort() ends a connection that lingers", async () => {
  const facing = faceClient();
  await greet(facing);
  facing.connection.close();
  await settle();
  assertEquals(facing.connection.stats().state, "finishing");
  facing.connection.abort();
  await settle();
  assertEquals(facing.connection.stats().state, "closed");
});
test("a serializer name too long for HELLO throws a RangeError", () => {
  const name = "x".repeat(256);
  const serializer = { name, encode: () => new Uint8Array(), decode: () => 0 };
  assertThrows(
    () => faceClient({ serializer }),
    RangeError,
    "name is not legal",
  );
});
test("a GOAWAY for a full window does not name the refused call", async () => {
  const facing = faceServer({
    Test: { hold: () => new Promise<never>(() => {}) },
  }, { windowCalls: 64 });
  await greet(facing);
  await facing.peer.send(
    ...Array.from({ length: 65 }, (_, i) => request(i + 1, "Test.hold")),
  );
  const { lastId } = await assertCloses(facing, "resource_exhausted");
  assertEquals(lastId, 64);
});
