// How a client and a server react to a peer whose HELLO is wrong, or does not
// arrive.

import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { test } from "node:test";
import { Client, RpcError } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import {
  assertCloses,
  assertOver,
  faceClient,
  faceServer,
  type Facing,
} from "../support/facing.ts";
import {
  frame,
  goaway,
  hello,
  join,
  KIND,
  RawPeer,
  reply,
  request,
} from "../support/raw_peer.ts";
import { assertNothingLeft } from "../support/pair.ts";
import { fromHex, VECTORS } from "../support/vectors.ts";

/** A client and a server, new for each. The server counts its calls. */
function ends(): { facing: Facing; served: () => number }[] {
  let served = 0;
  const call = () => {
    served++;
    return "ok";
  };
  return [
    { facing: faceServer({ Test: { call } }), served: () => served },
    { facing: faceClient(), served: () => 0 },
  ];
}

function vector(name: string): Uint8Array {
  const found = VECTORS.malformed.find((vector) => vector.name === name);
  return fromHex(found!.bytes);
}

/** What the error says of each foreign protocol. */
const STRANGERS: Record<string, string> = {
  "http-request": "HTTP",
  "http-response": "HTTP",
  "http2-preface": "HTTP",
  "tls-client-hello": "TLS",
  "ssh-banner": "SSH",
  "random-bytes": "unknown bytes",
};

for (const [name, wanted] of Object.entries(STRANGERS)) {
  test(`[B6] ${name} in place of HELLO: the error names ${wanted}`, async () => {
    for (const { facing } of ends()) {
      await facing.peer.send(vector(name));
      const { text } = await assertCloses(facing, "not_sluice");
      assert(text.endsWith(` (${wanted})`), text);
      // deno-lint-ignore no-control-regex
      assert(!/[\x00-\x1f\x7f]/.test(text), text);
    }
  });

  test(`[B6] ${name} byte by byte in place of HELLO: the error names ${wanted}`, async () => {
    for (const { facing } of ends()) {
      // As far as a header goes; what follows is discarded.
      for (const byte of vector(name).subarray(0, 12)) {
        await facing.peer.send(Uint8Array.of(byte));
      }
      const { text } = await assertCloses(facing, "not_sluice");
      assert(text.endsWith(` (${wanted})`), text);
    }
  });
}

test("[B6] a foreign protocol of fewer bytes than a header is named in the error", async () => {
  for (const { facing } of ends()) {
    await facing.peer.send(new TextEncoder().encode("SSH-2.0\r\n"));
    const reason = await assertOver(facing, "not_sluice");
    assert(reason.message.endsWith(" (SSH)"), reason.message);
  }
});

test("[B6] calls made before a foreign protocol is noticed are unknown if sent, not_sent if they waited", async () => {
  const facing = faceClient();
  const { connection, peer } = facing;
  const handles = Array.from({ length: 65 }, () => connection.go("Test.call"));
  await settle();
  await peer.send(vector("http-request"));
  await assertCloses(facing, "not_sluice");
  const outcomes = await Promise.all(handles.map(({ settled }) => settled));
  assertEquals(outcomes.slice(0, 64), Array(64).fill("unknown"));
  assertEquals(outcomes[64], "not_sent");
  const error = await handles[64].reply.then(() => {}, (reason) => reason);
  assertInstanceOf(error, RpcError);
  assertEquals(error.code, "unavailable");
  assertEquals(error.cause, await connection.closed);
});

test("[B9] a HELLO of another version closes, and the error names both versions", async () => {
  for (const version of [0, 2, 0xffff]) {
    for (const { facing } of ends()) {
      await facing.peer.send(hello({ version }));
      const { text } = await assertCloses(facing, "version_mismatch");
      assert(text.includes(`the peer versions ${version}-${version}`), text);
      assert(text.includes("this side speaks versions 1-1"), text);
    }
  }
});

test("[B9] a second HELLO closes, and calls before it are answered", async () => {
  const [{ facing, served }] = ends();
  await facing.peer.send(hello(), request(1, "Test.call"), hello());
  const { frames, lastId } = await assertCloses(facing, "protocol_error");
  assertEquals(frames.map(({ kind }) => kind), [
    KIND.HELLO,
    KIND.REPLY,
    KIND.GOAWAY,
  ]);
  assertEquals([served(), lastId], [1, 1]);
});

test("[B9] a HELLO of over 16 KiB is refused as soon as its header is read", async () => {
  const extra = Array.from(join([99, 0x40, 0], new Uint8Array(0x4000)));
  for (const { facing } of ends()) {
    await facing.peer.send(hello({ extra }).subarray(0, 12));
    await assertCloses(facing, "frame_too_large");
  }
  for (const { facing } of ends()) {
    await facing.peer.send(hello({ extra }));
    await assertCloses(facing, "frame_too_large");
  }
});

test("[B9] a HELLO of 16 KiB is read", async () => {
  const room = 16_384 - 29 - 3;
  const extra = Array.from(
    join([99, room >>> 8, room & 0xff], new Uint8Array(room)),
  );
  for (const { facing } of ends()) {
    await facing.peer.send(hello({ extra }), frame(KIND.PING, 1));
    assertEquals((await facing.peer.nextOf(KIND.PONG)).id, 1);
    await assertOver(facing, "unavailable");
  }
});

test("[B9] a HELLO cut short anywhere in its fields closes, or is read where a field ends", async () => {
  const whole = hello({ extra: [99, 0, 2, 1, 2] });
  const body = whole.subarray(12);
  const fieldEnds = [8, 15, 22, 29, 34];
  for (let length = 8; length <= body.length; length++) {
    for (const { facing } of ends()) {
      await facing.peer.send(frame(KIND.HELLO, 0, body.subarray(0, length)));
      if (fieldEnds.includes(length)) await assertOver(facing, "unavailable");
      else await assertCloses(facing, "protocol_error");
    }
  }
});

test("[B11] a maxMessage of 0 or 1 closes, and waiting calls settle", async () => {
  for (const maxMessage of [0, 1, 16_383]) {
    const facing = faceClient();
    const { connection, peer } = facing;
    const params = new Uint8Array(65_000);
    const handles = [1, 2].map(() => connection.go("Test.call", params));
    await settle();
    await peer.send(hello({ maxMessage }));
    const { text } = await assertCloses(facing, "protocol_error");
    assert(text.includes(`HELLO field 1 is ${maxMessage};`), text);
    const outcomes = await Promise.all(handles.map(({ settled }) => settled));
    assertEquals(outcomes, ["unknown", "not_sent"]);
  }
});

test("[B9] a different serializer closes, and the error names both", async () => {
  const json = { encode: () => new Uint8Array(0), decode: () => undefined };
  const options = { serializer: { name: "our-one", ...json } };
  for (
    const facing of [faceClient(options), faceServer({}, options)]
  ) {
    await facing.peer.send(hello({ extra: [4, 0, 3, 0x61, 0x0a, 0x62] }));
    const { text } = await assertCloses(facing, "serializer_mismatch");
    assert(text.includes('"our-one"') && text.includes('"a\\nb"'), text);
  }
});

test("[B9] [I5] any frame before HELLO closes, and is not handled", async () => {
  const early = {
    request: request(1, "Test.call"),
    reply: reply(1),
    ping: frame(KIND.PING, 1),
    pong: frame(KIND.PONG, 1),
    cancel: frame(KIND.CANCEL, 1),
  };
  for (const [name, bytes] of Object.entries(early)) {
    for (const { facing, served } of ends()) {
      const handle = facing.connection.go("Test.call");
      await settle();
      await facing.peer.send(bytes, hello());
      const { frames, lastId } = await assertCloses(facing, "protocol_error");
      assertEquals(frames.map(({ kind }) => kind), [
        KIND.HELLO,
        KIND.REQUEST,
        KIND.GOAWAY,
      ], name);
      assertEquals(lastId, undefined);
      assertEquals(served(), 0);
      assertEquals(await handle.settled, "unknown");
    }
  }
});

test("[B9] a peer may send GOAWAY in place of HELLO, and its reason is the error", async () => {
  for (const { facing } of ends()) {
    const handle = facing.connection.go("Test.call");
    await settle();
    await facing.peer.send(goaway(undefined, "unauthenticated", "no entry"));
    const reason = await assertOver(facing, "unauthenticated");
    assert(reason.message.includes("no entry"), reason.message);
    assertEquals(await handle.settled, "refused");
    const error = await handle.reply.then(() => {}, (reason) => reason);
    assertEquals((error as RpcError).code, "unauthenticated");
  }
});

test("[B9] a peer that sends nothing is disconnected after the handshake timeout", async () => {
  for (const { facing } of ends()) {
    const { clock, connection } = facing;
    const handle = connection.go("Test.call");
    await settle();
    await clock.advance(9_999);
    assertEquals(connection.stats().state, "open");
    await clock.advance(1);
    await assertCloses(facing, "deadline_exceeded");
    assertEquals(await handle.settled, "unknown");
  }
});

test("[B9] a peer whose HELLO trickles in and never ends is disconnected after the handshake timeout", async () => {
  const bytes = hello();
  for (const { facing } of ends()) {
    for (const byte of bytes.subarray(0, bytes.length - 1)) {
      await facing.peer.send(Uint8Array.of(byte));
      await facing.clock.advance(200);
    }
    await facing.clock.advance(2_000);
    await assertCloses(facing, "deadline_exceeded");
  }
});

test("[B2] a HELLO in single bytes, with nothing else, is read", async () => {
  for (const { facing } of ends()) {
    for (const byte of join(hello(), frame(KIND.PING, 5))) {
      await facing.peer.send(Uint8Array.of(byte));
    }
    assertEquals((await facing.peer.nextOf(KIND.PONG)).id, 5);
    await assertOver(facing, "unavailable");
  }
});

for (const calls of [0, 1, 50]) {
  test(`HELLO is the first frame, though a PING was here before it and ${calls} calls are made at once`, async () => {
    const peer = new RawPeer();
    await peer.send(hello(), frame(KIND.PING, 7));
    const client = new Client<object>(peer.duplex);
    for (let i = 0; i < calls; i++) {
      client.connection.go("No.such").reply.catch(() => {});
    }
    assertEquals((await peer.next())?.kind, KIND.HELLO);
    assertEquals((await peer.nextOf(KIND.PONG)).id, 7);
    client.abort();
    await client.closed;
  });
}

test("[B9] a peer of version 2 that speaks version 1, too, is served, whatever else its HELLO has", async () => {
  // As version 2 might: flags, a reserved bit, and fields that nobody knows here.
  const bits = [[0, 0], [0x81, 0], [0, 1]];
  for (const [flags, reserved] of bits) {
    const fields = [...[200, 0, 1, 7], ...[9, 0, 2, 0, 2], ...[201, 0, 0]];
    const start = new TextEncoder().encode("SLUICE");
    const bytes = frame(KIND.HELLO, 0, join(start, [0, 1], fields), flags);
    bytes[7] = reserved;
    const [{ facing, served }] = ends();
    await facing.peer.send(bytes, request(1, "Test.call"));
    await settle();
    assertEquals(served(), 1);
    await facing.connection.abort();
    assertNothingLeft(facing.connection);
  }
});
