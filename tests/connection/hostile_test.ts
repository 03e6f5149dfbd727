// How a client and a server react to a peer that breaks the protocol after its
// HELLO.

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import type { CallContext, CallHandle, Connection } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import {
  assertCloses,
  assertLost,
  assertOver,
  faceClient,
  faceServer,
  greet,
} from "../support/facing.ts";
import {
  failure,
  frame,
  goaway,
  hello,
  KIND,
  readCode,
  reply,
  request,
} from "../support/raw_peer.ts";
import { pattern } from "../support/transports.ts";

/** A server that counts its calls; `hold` does not answer before the test releases it. */
function faceCounting(options?: Parameters<typeof faceServer>[1]) {
  const signals: AbortSignal[] = [];
  const release = Promise.withResolvers<string>();
  let served = 0;
  const facing = faceServer({
    Test: {
      call: () => `served ${++served}`,
      hold: (_: unknown, ctx: CallContext) => {
        signals.push(ctx.signal);
        return release.promise;
      },
    },
  }, options);
  return { facing, signals, release, served: () => served };
}

function goMany(connection: Connection, count: number): CallHandle[] {
  return Array.from({ length: count }, () => connection.go("Test.call"));
}

function outcomes(handles: CallHandle[]): Promise<string[]> {
  return Promise.all(handles.map((handle) => handle.settled));
}

test("[I1] an id that does not increase closes: replies made before it arrive, and the signals of running handlers fire", async () => {
  for (const second of [7, 6, 0, 7 + 2 ** 31]) {
    const { facing, signals, served } = faceCounting();
    await greet(facing);
    await facing.peer.send(
      request(3, "Test.hold"),
      request(7, "Test.call"),
      request(second, "Test.call"),
    );
    const { frames } = await assertCloses(facing, "protocol_error");
    assertEquals(frames.map(({ kind, id }) => [kind, id]), [
      [KIND.REPLY, 7],
      [KIND.GOAWAY, 7],
    ]);
    assertEquals(served(), 1);
    assertEquals(signals.map(({ aborted }) => aborted), [true]);
  }
});

test("[I1] gaps between ids are legal, and ids start again at 0 after 2^32 - 1", async () => {
  const { facing } = faceCounting();
  await greet(facing);
  const ids = [5, 6, 1000, 1000 + 2 ** 31 - 1, 0xffffffff, 0, 9];
  await facing.peer.send(...ids.map((id) => request(id, "Test.call")));
  for (const id of ids) {
    const answer = await facing.peer.next();
    assertEquals([answer?.kind, answer?.id], [KIND.REPLY, id]);
  }
  await assertLost(facing);
});

test("[I2] a reply to a call that waits for the window closes; each call has its true outcome", async () => {
  for (const bytes of [reply(2), failure(2, "x", "", false)]) {
    const facing = faceClient();
    await greet(facing, { calls: 1 });
    await settle();
    const handles = goMany(facing.connection, 2);
    await settle();
    await facing.peer.send(bytes);
    await assertCloses(facing, "protocol_error");
    assertEquals(await outcomes(handles), ["unknown", "not_sent"]);
  }
});

test("[I2] a reply to a call that was never made closes, and is counted", async () => {
  for (const id of [0, 3, 65, 0xffffffff]) {
    const facing = faceClient();
    await greet(facing);
    const handles = goMany(facing.connection, 2);
    await settle();
    await facing.peer.send(reply(id));
    await assertCloses(facing, "protocol_error");
    assertEquals(await outcomes(handles), ["unknown", "unknown"]);
    assertEquals(facing.connection.stats().lateReplies, 1);
  }
});

test("[I2] a reply to a call that was taken back closes", async () => {
  const facing = faceClient();
  await greet(facing);
  const [taken, kept] = goMany(facing.connection, 2);
  taken.abort();
  await settle();
  await facing.peer.send(reply(1));
  await assertCloses(facing, "protocol_error");
  assertEquals(await outcomes([taken, kept]), ["not_sent", "unknown"]);
});

test("[I2] a reply to a call that the transport has not taken yet closes", async () => {
  const facing = faceClient();
  const { connection, peer } = facing;
  await greet(facing);
  // The peer does not read: soon a write waits, and what follows is batched.
  const large = new Uint8Array(200_000);
  for (let i = 0; i < 5; i++) {
    connection.go("Test.call", large).reply.catch(() => {});
    await settle();
  }
  const [batched] = goMany(connection, 1);
  await settle();
  assertEquals([batched.id, batched.outcome], [6, "not_sent"]);
  await peer.send(reply(6));
  await assertCloses(facing, "protocol_error");
  assertEquals(await batched.settled, "not_sent");
});

test("[I3] a reply to an aborted call is dropped and counted, and frees its slot of the window", async () => {
  const facing = faceClient();
  const { connection, peer } = facing;
  await greet(facing);
  const [aborted] = goMany(connection, 1);
  await settle();
  aborted.abort();
  assertEquals(aborted.outcome, "unknown");
  assertEquals(connection.stats().inFlight, 1);
  await peer.send(reply(1));
  assertEquals(await aborted.settled, "executed");
  const { inFlight, lateReplies } = connection.stats();
  assertEquals([inFlight, lateReplies], [0, 1]);
  await assertLost(facing);
});

test("[I4] a second reply for one id closes; the first one counts", async () => {
  const second = { reply: reply(1, "b"), error: failure(1, "x", "", true) };
  for (const bytes of Object.values(second)) {
    const facing = faceClient();
    await greet(facing);
    const handles = goMany(facing.connection, 2);
    await settle();
    await facing.peer.send(reply(1, "a"), bytes);
    await assertCloses(facing, "protocol_error");
    assertEquals(await handles[0].reply, "a");
    assertEquals(await outcomes(handles), ["executed", "unknown"]);
  }
});

test("[I2] a reply to a client that never called closes", async () => {
  const { facing } = faceCounting();
  await greet(facing);
  await facing.peer.send(reply(1));
  await assertCloses(facing, "protocol_error");
});

test("[F2] CANCEL for a call never made closes; for one answered or skipped it is ignored", async () => {
  const { facing, served } = faceCounting();
  await greet(facing);
  await facing.peer.send(request(5, "Test.call"), frame(KIND.CANCEL, 5));
  await facing.peer.send(frame(KIND.CANCEL, 5), frame(KIND.CANCEL, 3));
  await facing.peer.send(request(6, "Test.call"), frame(KIND.CANCEL, 7));
  const { frames } = await assertCloses(facing, "protocol_error");
  assertEquals(frames.map(({ kind, id }) => [kind, id]), [
    [KIND.REPLY, 5],
    [KIND.REPLY, 6],
    [KIND.GOAWAY, 6],
  ]);
  assertEquals(served(), 2);
});

test("[F3] more calls than the window closes, before the next is accepted", async () => {
  const { facing, signals } = faceCounting({ windowCalls: 100 });
  await greet(facing);
  const calls = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => request(from + i, "Test.hold"));
  await facing.peer.send(...calls(1, 100));
  await settle();
  assertEquals(facing.connection.stats().receiving, 100);
  await facing.peer.send(...calls(101, 1), ...calls(102, 50));
  const { text } = await assertCloses(facing, "resource_exhausted");
  assert(text.includes("100 calls"), text);
  assertEquals(signals.length, 100);
  assert(signals.every(({ aborted }) => aborted));
});

test("[F3] more bytes than the window closes", async () => {
  const { facing, signals } = faceCounting({ windowBytes: 70_000 });
  await greet(facing);
  const large = [2, ...pattern(40_000)];
  await facing.peer.send(request(1, "Test.hold", large));
  await settle();
  assertEquals(facing.connection.stats().receiving, 1);
  await facing.peer.send(request(2, "Test.hold", large));
  const { text } = await assertCloses(facing, "resource_exhausted");
  assert(text.includes("70000 bytes"), text);
  assertEquals(signals.length, 1);
});

test("[I5] for a window smaller than the constants the constants apply", async () => {
  const { facing, release } = faceCounting({ windowCalls: 1, windowBytes: 1 });
  await facing.peer.send(hello());
  const calls = Array.from(
    { length: 65 },
    (_, i) => request(i + 1, "Test.hold"),
  );
  await facing.peer.send(...calls.slice(0, 64));
  await settle();
  assertEquals(facing.connection.stats().receiving, 64);
  release.resolve("done");
  for (let id = 1; id <= 64; id++) {
    assertEquals((await facing.peer.nextOf(KIND.REPLY)).id, id);
  }
  await assertLost(facing);
});

test("[I5] calls to a side that serves nothing are not_found, within the constants", async () => {
  const facing = faceClient();
  const calls = Array.from({ length: 64 }, (_, i) => request(i + 1, "x"));
  await facing.peer.send(hello(), ...calls);
  for (let id = 1; id <= 64; id++) {
    const answer = await facing.peer.nextOf(KIND.ERROR);
    assertEquals([answer.id, answer.flags], [id, 0]);
    assertEquals(readCode(answer).code, "not_found");
  }
  await assertLost(facing);
});

test("[B4] a frame one byte too long closes as soon as its header is read; one at the limit is served", async () => {
  const { facing } = faceCounting({ maxMessage: 65_536 });
  await greet(facing);
  const params = (size: number) => [2, ...new Uint8Array(size - 12)];
  await facing.peer.send(request(1, "Test.call", params(65_536)));
  assertEquals((await facing.peer.next())?.kind, KIND.REPLY);
  const long = request(2, "Test.call", params(65_537));
  assertEquals(long.length, 12 + 65_537);
  await facing.peer.send(long.subarray(0, 12));
  const { text } = await assertCloses(facing, "frame_too_large");
  assert(text.includes("65537") && text.includes("65536"), text);
});

test("[I5] for a maxMessage smaller than the constant the constant applies", async () => {
  const { facing } = faceCounting({ maxMessage: 16_384 });
  await greet(facing);
  const params = (size: number) => [2, ...new Uint8Array(size - 12)];
  await facing.peer.send(request(1, "Test.call", params(65_536)));
  assertEquals((await facing.peer.next())?.kind, KIND.REPLY);
  await facing.peer.send(request(2, "Test.call", params(65_537)));
  await assertCloses(facing, "frame_too_large");
});

test("[B8] a field that reaches past its body is not read from the next frame", async () => {
  const { facing } = faceCounting();
  await greet(facing);
  const whole = request(1, "Test.call").subarray(12);
  // The method's last byte and the payload kind would be those of a length.
  const short = frame(KIND.REQUEST, 1, whole.subarray(0, 10));
  await facing.peer.send(short, frame(KIND.PAD, 0, new Uint8Array(0x20000)));
  await assertCloses(facing, "protocol_error");
});

test("[B5] a stream that ends inside a reply leaves that call unknown, and the calls answered before executed", async () => {
  const facing = faceClient();
  await greet(facing);
  const handles = goMany(facing.connection, 2);
  await settle();
  await facing.peer.send(reply(1), reply(2).subarray(0, 14));
  const reason = await assertOver(facing, "truncated");
  assert(reason.message.includes("1 of 3 bytes"), reason.message);
  assertEquals(await outcomes(handles), ["executed", "unknown"]);
});

test("[L4] a second GOAWAY with a higher id closes", async () => {
  const facing = faceClient();
  await greet(facing);
  const handles = goMany(facing.connection, 3);
  await settle();
  await facing.peer.send(goaway(2), goaway(2), goaway(1), goaway(2));
  await assertCloses(facing, "protocol_error");
  assertEquals(await outcomes(handles), ["unknown", "refused", "refused"]);
});
