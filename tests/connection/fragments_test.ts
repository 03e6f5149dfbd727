// Large messages in fragments: what is sent, what is accepted, and what becomes
// of one that is given up.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { type Frame, RpcError } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { assertCloses, faceClient, faceServer } from "../support/facing.ts";
import { assertNothingLeft, pair } from "../support/pair.ts";
import {
  failure,
  frame,
  hello,
  join,
  KIND,
  last,
  readCode,
  reply,
  request,
} from "../support/raw_peer.ts";

const CALLER = 1;
const ABORT = 2;
const GREETING = hello({ fragments: true });

/** A message, cut into fragments with bodies of `size` bytes. */
function cut(message: Uint8Array, size = 32_768, flags?: number): Uint8Array[] {
  const id = new DataView(message.buffer, message.byteOffset).getUint32(8);
  flags ??= message[4] === KIND.REQUEST ? CALLER : 0;
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < message.length; at += size) {
    const piece = message.subarray(at, at + size);
    pieces.push(frame(KIND.FRAGMENT, id, piece, flags));
  }
  return pieces;
}

/** Puts the messages of frames together. */
function whole(frames: readonly Required<Frame>[]): Uint8Array {
  return join(...frames.map(({ body }) => body as Uint8Array));
}

const text = (size: number) => "x".repeat(size);
const services = {
  Test: {
    size: (value: string | Uint8Array) => value.length,
    text,
    bytes: (size: number) => new Uint8Array(size).map((_, i) => i),
    echo: (value: unknown) => value,
    hold: () => new Promise(() => {}),
    fail: (size: number) => {
      throw new RpcError("big", "a large failure", { data: text(size) });
    },
  },
};

test("[FG1] messages of every size around the limits arrive as they were sent, in both directions", async () => {
  const { client, close } = pair(services);
  const { connection } = client;
  await connection.opened;
  for (const base of [32_768, 65_536, 98_304]) {
    for (let size = base - 60; size < base + 4; size++) {
      const bytes = new Uint8Array(size).map((_, i) => i * 7);
      assertEquals(await client.call("Test.echo", bytes), bytes);
    }
  }
  assertEquals(await client.call("Test.text", 3_000_000), text(3_000_000));
  const error = await assertRejects(() => client.call("Test.fail", 100_000));
  assertEquals((error as RpcError).data, text(100_000));
  await close();
});

test("[FG1] a message above 32,768 bytes is cut for a peer that reads fragments, and for no other", async () => {
  for (const fragments of [true, false]) {
    const { connection, peer } = faceClient();
    await peer.send(hello({ fragments }));
    await peer.nextOf(KIND.HELLO);
    await connection.opened;
    const fits = connection.go("Test.size", new Uint8Array(32_768 - 12));
    assertEquals((await peer.next())?.kind, KIND.REQUEST);
    const cut = connection.go("Test.size", new Uint8Array(65_536));
    const first = await peer.next();
    assertEquals(first?.kind, fragments ? KIND.FRAGMENT : KIND.REQUEST);
    if (fragments) {
      const frames = [first!, (await peer.next())!, (await peer.next())!];
      assertEquals(frames.map(({ flags, id }) => [flags, id]), [
        [CALLER, 2],
        [CALLER, 2],
        [CALLER, 2],
      ]);
      const message = whole(frames);
      const length = new DataView(message.buffer).getUint32(0);
      assertEquals([length, message[4]], [message.length - 12, KIND.REQUEST]);
      assertEquals(message.length, cut.size);
    }
    await peer.send(reply(1), reply(2));
    assertEquals([await fits.reply, await cut.reply], ["ok", "ok"]);
    connection.abort();
    await connection.closed;
    assertNothingLeft(connection);
  }
});

test("[FG2] small messages, CANCEL and PING pass between the fragments of one request; other requests wait", async () => {
  const { connection, peer, clock } = faceClient({ maxSendBuffer: 1 << 20 });
  await peer.send(GREETING);
  await peer.nextOf(KIND.HELLO);
  await connection.opened;
  const held = connection.go("Test.hold");
  assertEquals((await peer.next())?.kind, KIND.REQUEST);
  const large = connection.go("Test.size", new Uint8Array(400_000));
  const small = connection.go("Test.size", "x");
  assertEquals(small.id, undefined);
  assertEquals([large.outcome, connection.stats().queued], ["not_sent", 1]);
  held.abort();
  connection.ping().catch(() => {});
  const urgent = connection.go("Test.size", "x", { priority: "urgent" });
  assertEquals(urgent.id, 3);
  const kinds: number[] = [];
  let size = 0;
  let got: Required<Frame> | undefined;
  while ((got = await peer.next()) !== undefined) {
    kinds.push(got.kind);
    if (got.kind === KIND.FRAGMENT) size += (got.body as Uint8Array).length;
    if (got.kind === KIND.REQUEST && got.id === 4) break;
  }
  assertEquals(size, large.size);
  const last = kinds.lastIndexOf(KIND.FRAGMENT);
  for (const kind of [KIND.CANCEL, KIND.PING, KIND.REQUEST]) {
    assert(kinds.indexOf(kind) < last, `kind ${kind} in ${kinds}`);
  }
  assertEquals(small.id, 4);
  await clock.advance(0);
  assertEquals([large.outcome, await large.sent], ["unknown", true]);
  connection.abort();
  await connection.closed;
  assertNothingLeft(connection);
});

test("[FG3] large responses are written one after another, an urgent one before those that have not begun", async () => {
  const { connection, peer } = faceServer(services);
  await peer.send(GREETING);
  await peer.nextOf(KIND.HELLO);
  const ask = (id: number, size: number, urgent = false) => {
    const json = new TextEncoder().encode(`${size}`);
    const message = request(id, "Test.text", [1, ...json]);
    if (urgent) message[5] = 0x20;
    return message;
  };
  const asked = [1, 2, 3].map((id) => ask(id, 300_000));
  const urgent = [ask(4, 200_000, true), ask(5, 5, true)];
  await peer.send(...asked, ...urgent, ask(6, 6));
  const ids: number[] = [];
  for (let bytes = 0; bytes < 1_100_000;) {
    const got = await peer.next();
    bytes += (got?.body as Uint8Array).length;
    if (ids.at(-1) !== got?.id) ids.push(got?.id as number);
  }
  const large = ids.filter((id) => id < 5);
  assertEquals(large.filter((id, i) => id !== large[i - 1]), [1, 4, 2, 3]);
  // At the head of the batch, before the large response that had begun.
  assertEquals(ids[0], 5);
  assert(ids.indexOf(6) < ids.indexOf(4), `${ids}`);
  await settle();
  assertEquals(connection.stats().receiving, 0);
  connection.abort();
  await connection.closed;
  assertNothingLeft(connection);
});

test("[FG4] a request in fragments counts from its first one, and is served when it is whole", async () => {
  const { connection, peer } = faceServer(services);
  await peer.send(GREETING);
  await peer.nextOf(KIND.HELLO);
  const message = request(7, "Test.size", text(80_000));
  const pieces = cut(message);
  await peer.send(pieces[0]);
  await settle();
  const { receiving, receivingBytes, bufferedBytes } = connection.stats();
  assertEquals([receiving, receivingBytes], [1, message.length]);
  // What has arrived, and the charge for a call.
  assert(bufferedBytes >= 32_768 && bufferedBytes < 40_000, `${bufferedBytes}`);
  await peer.send(request(8, "Test.size"));
  assertEquals((await peer.next())?.id, 8);
  await peer.send(pieces[1], pieces[2]);
  const answer = await peer.next();
  assertEquals([answer?.kind, answer?.id], [KIND.REPLY, 7]);
  await settle();
  assertEquals(connection.stats().receiving, 0);
  connection.abort();
  await connection.closed;
  assertNothingLeft(connection);
});

test("[FG4] the deadline of a request counts from its first fragment", async () => {
  const { connection, peer, clock } = faceServer(services);
  await peer.send(GREETING);
  await peer.nextOf(KIND.HELLO);
  for (const [id, time] of [[1, 99], [2, 100]]) {
    const pieces = cut(request(id, "Test.size", text(40_000), 100));
    await peer.send(pieces[0]);
    await settle();
    await clock.advance(time);
    await peer.send(pieces[1]);
    const kind = time < 100 ? KIND.REPLY : KIND.ERROR;
    assertEquals((await peer.next())?.kind, kind);
  }
  connection.abort();
  await connection.closed;
});

test("[FG5] a request that is given up leaves a skipped id, and its place is free", async () => {
  const { connection, peer } = faceServer(services, { windowCalls: 64 });
  await peer.send(GREETING);
  await peer.nextOf(KIND.HELLO);
  for (let id = 1; id < 200; id++) {
    const [first, second] = cut(request(id, "Test.size", text(80_000)));
    const end = frame(KIND.FRAGMENT, id, [1, 2, 3], CALLER | ABORT);
    await peer.send(first, ...(id % 2 ? [second] : []), end);
  }
  await settle();
  const { receiving, bufferedBytes, state } = connection.stats();
  assertEquals([receiving, bufferedBytes, state], [0, 0, "open"]);
  await peer.send(request(200, "Test.size"));
  assertEquals((await peer.next())?.id, 200);
  connection.abort();
  await connection.closed;
});

test("[FG5] an abort and a deadline give up a request that is partly sent: not_sent, without a CANCEL", async () => {
  for (const how of ["abort", "deadline"] as const) {
    const { connection, peer, clock } = faceClient();
    await peer.send(GREETING);
    await peer.nextOf(KIND.HELLO);
    await connection.opened;
    const call = connection.go("Test.size", new Uint8Array(2_000_000), {
      timeout: how === "deadline" ? 50 : undefined,
    });
    const next = connection.go("Test.size", "x");
    const first = await peer.next();
    assertEquals(first?.kind, KIND.FRAGMENT);
    if (how === "abort") call.abort("enough");
    else await clock.advance(50);
    assertEquals(await call.settled, "not_sent");
    assertEquals(await call.sent, false);
    const flags: number[] = [];
    let got: Required<Frame> | undefined;
    while ((got = await peer.next())?.kind === KIND.FRAGMENT) {
      flags.push(got!.flags as number);
    }
    assertEquals(flags.filter((each) => each & ABORT).length, 1);
    assertEquals(flags.at(-1), CALLER | ABORT);
    assertEquals([got?.kind, got?.id], [KIND.REQUEST, next.id]);
    await peer.send(reply(next.id!));
    assertEquals(await next.reply, "ok");
    assertEquals(connection.stats().inFlight, 0);
    connection.abort();
    await connection.closed;
    assertNothingLeft(connection);
  }
});

test("[FG5] a request none of whose fragments was handed over becomes padding", async () => {
  const { connection, peer } = faceClient();
  await peer.send(GREETING);
  await peer.nextOf(KIND.HELLO);
  await connection.opened;
  const call = connection.go("Test.size", new Uint8Array(1_000_000));
  call.abort();
  assertEquals(await call.settled, "not_sent");
  const next = connection.go("Test.size", "x");
  let got: Required<Frame> | undefined;
  while ((got = await peer.next())?.kind === KIND.FRAGMENT) {
    assert((got!.flags as number) <= (CALLER | ABORT));
  }
  assertEquals([got?.kind, got?.id], [KIND.REQUEST, next.id]);
  connection.abort();
  await connection.closed;
});

test("[FG5] a GOAWAY that excludes a request in fragments gives it up; one that does not lets it finish", async () => {
  for (const last of [0, 1]) {
    const { connection, peer } = faceClient();
    await peer.send(GREETING);
    await peer.nextOf(KIND.HELLO);
    await connection.opened;
    const call = connection.go("Test.size", new Uint8Array(2_000_000));
    assertEquals((await peer.next())?.kind, KIND.FRAGMENT);
    await peer.send(frame(KIND.GOAWAY, last, [0, 0, 0], last ? 0 : 1));
    let size = 32_768;
    while (size < call.size) {
      const got = await peer.next();
      assertEquals(got?.kind, KIND.FRAGMENT);
      size += (got?.body as Uint8Array).length;
      if ((got?.flags as number) & ABORT) break;
    }
    if (last === 1) {
      await peer.send(reply(1));
      assertEquals(await call.reply, "ok");
    } else assertEquals(await call.settled, "not_sent");
    assertEquals(connection.stats().inFlight, 0);
    connection.abort();
    await connection.closed;
    assertNothingLeft(connection);
  }
});

test("[FG5] a server that drains waits for a request that has begun to arrive", async () => {
  const { connection, peer } = faceServer(services);
  peer.answersWarning = false;
  await peer.send(GREETING);
  await peer.nextOf(KIND.HELLO);
  const pieces = cut(request(1, "Test.size", text(80_000)));
  await peer.send(pieces[0]);
  await settle();
  const closing = connection.close();
  assertEquals((await peer.next())?.kind, KIND.GOAWAY);
  await settle();
  assertEquals(connection.stats().state, "draining");
  await peer.send(pieces[1], pieces[2], last());
  assertEquals((await peer.next())?.kind, KIND.REPLY);
  const goaway = await peer.next();
  assertEquals([goaway?.kind, goaway?.id], [KIND.GOAWAY, 1]);
  assertEquals(await peer.next(), undefined);
  await peer.end();
  await closing;
  assertNothingLeft(connection);
});

test("[FG5] responses that wait are written before the GOAWAY of a fault and before FIN", async () => {
  const { connection, peer } = faceServer(services);
  await peer.send(GREETING);
  await peer.nextOf(KIND.HELLO);
  const sizes = [400_000, 500_000];
  await peer.send(
    ...sizes.map((size, i) =>
      request(i + 1, "Test.text", [1, ...new TextEncoder().encode(`${size}`)])
    ),
    frame(KIND.REQUEST, 1),
  );
  const bytes = [0, 0, 0];
  let got: Required<Frame> | undefined;
  while ((got = await peer.next())?.kind === KIND.FRAGMENT) {
    bytes[got!.id as number] += (got!.body as Uint8Array).length;
  }
  assertEquals(bytes, [0, 400_013, 500_013]);
  assertEquals(got?.kind, KIND.GOAWAY);
  assertEquals(await peer.next(), undefined);
  await peer.end();
  await connection.closed;
  assertNothingLeft(connection);
});

/** What breaks the rules, sent to a server that has one call of a client in flight; the code if it is not `protocol_error`. */
const FAULTS: Record<string, () => (Uint8Array | string)[]> = {
  "an empty fragment": () => [frame(KIND.FRAGMENT, 1, [], CALLER)],
  "a fragment above 32,768 bytes": () => [
    ...cut(request(1, "Test.size", text(80_000)), 32_769),
  ],
  "a first fragment without a whole header": () => [
    ...cut(request(1, "Test.size", text(80_000)), 11),
  ],
  "a message of 32,768 bytes": () =>
    cut(request(1, "Test.size", text(32_768 - 12))),
  "a message above maxMessage": () => [
    ...cut(request(1, "Test.size", text(5_000_000))),
    "frame_too_large",
  ],
  "the id of another call in the header": () => {
    const [first] = cut(request(1, "Test.size", text(80_000)));
    first[11] = 2;
    return [first];
  },
  "unknown flags in the header": () => {
    const message = request(1, "Test.size", text(80_000));
    message[5] = 0x80;
    return cut(message);
  },
  "reserved bits in the header": () => {
    const message = request(1, "Test.size", text(80_000));
    message[7] = 1;
    return cut(message);
  },
  "a request without flag CALLER": () =>
    cut(request(1, "Test.size", text(80_000)), 32_768, 0),
  "a response with flag CALLER": () => cut(reply(1, text(80_000)), 32_768, 1),
  "a PING in fragments": () => {
    const message = request(1, "Test.size", text(80_000));
    message[4] = KIND.PING;
    return cut(message, 32_768, CALLER);
  },
  "a fragment of another call inside a request": () => [
    cut(request(1, "Test.size", text(80_000)))[0],
    cut(request(2, "Test.size", text(80_000)))[0],
  ],
  "more bytes than the message has": () => {
    const pieces = cut(request(1, "Test.size", text(40_000)));
    return [pieces[0], frame(KIND.FRAGMENT, 1, new Uint8Array(9_000), CALLER)];
  },
  "ABORT where nothing has begun": () => [
    frame(KIND.FRAGMENT, 1, [], CALLER | ABORT),
  ],
  "a response to a call that was never made": () => cut(reply(9, text(80_000))),
  "an id that does not increase": () => [
    request(5, "Test.size"),
    cut(request(5, "Test.size", text(80_000)))[0],
  ],
  "the id of a request that has begun": () => [
    cut(request(5, "Test.size", text(80_000)))[0],
    request(5, "Test.size"),
  ],
  "an unfinished message at FIN": () => [
    cut(request(1, "Test.size", text(80_000)))[0],
    "truncated",
  ],
};

for (const [what, make] of Object.entries(FAULTS)) {
  test(`[FG6] ${what} is a fault`, async () => {
    const made = make();
    const code = made.find((each) => typeof each === "string") ??
      "protocol_error";
    const facing = faceServer(services);
    const { peer } = facing;
    await peer.send(GREETING);
    await peer.nextOf(KIND.HELLO);
    const pieces = made.filter((each) => typeof each !== "string");
    await peer.send(...pieces as Uint8Array[]).catch(() => {});
    if (code !== "truncated") {
      await assertCloses(facing, code as "protocol_error");
      return;
    }
    await peer.end();
    assertEquals(readCode((await peer.rest()).at(-1)!).code, code);
    assertEquals((await facing.connection.closed)?.code, code);
    assertNothingLeft(facing.connection);
  });
}

test("[FG6] a fragment of a peer that does not state the capability is a fault", async () => {
  const facing = faceServer(services);
  await facing.peer.send(
    hello(),
    cut(request(1, "Test.size", text(80_000)))[0],
  );
  await facing.peer.nextOf(KIND.HELLO);
  await assertCloses(facing, "protocol_error");
});

test("[FG6] a response before its request is whole is a fault", async () => {
  const facing = faceClient();
  const { connection, peer } = facing;
  await peer.send(GREETING);
  await peer.nextOf(KIND.HELLO);
  await connection.opened;
  const call = connection.go("Test.size", new Uint8Array(2_000_000));
  call.reply.catch(() => {});
  assertEquals((await peer.next())?.kind, KIND.FRAGMENT);
  await peer.send(failure(1, "not_found", "", false));
  assertEquals(await call.settled, "not_sent");
  await connection.abort();
});

test("[FG6] a GOAWAY with a code ends what is unfinished", async () => {
  const { connection, peer } = faceServer(services);
  await peer.send(
    GREETING,
    cut(request(1, "Test.size", text(80_000)))[0],
    frame(KIND.GOAWAY, 0, [1, 120, 0, 0], 1),
  );
  await peer.nextOf(KIND.HELLO);
  await settle();
  await peer.end();
  assertEquals((await connection.closed)?.code, "unavailable");
  assertNothingLeft(connection);
});

test("a message in fragments that never arrives whole is timed out, whatever else arrives", async () => {
  const facing = faceServer(services, { messageTimeout: 1000 });
  const { peer, clock } = facing;
  await peer.send(GREETING);
  await peer.nextOf(KIND.HELLO);
  await peer.send(cut(request(1, "Test.size", text(80_000)))[0]);
  for (let i = 0; i < 12; i++) {
    await settle();
    await peer.send(frame(KIND.PING, i)).catch(() => {});
    await clock.advance(100);
  }
  await assertCloses(facing, "deadline_exceeded");
});
