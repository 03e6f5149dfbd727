// The golden vectors, as a real client or server sends them.

import { assertEquals } from "@std/assert";
import { test } from "node:test";
import {
  Client,
  type Frame,
  halfCloseByFrame,
  memoryPair,
  method,
  ref,
  RpcError,
  type StandardSchema,
  type UntypedRef,
} from "../../mod.ts";
import { TestClock } from "../support/clock.ts";
import {
  assertLost,
  faceClient,
  faceServer,
  greet,
  serializerField,
} from "../support/facing.ts";
import { assertNothingLeft } from "../support/pair.ts";
import {
  frame,
  hello,
  KIND,
  last,
  RawPeer,
  reply,
  request,
  warning,
  window,
} from "../support/raw_peer.ts";
import {
  type ErrorMessage,
  fromHex,
  HEX_SERIALIZER,
  named,
  ofType,
  optionsFor,
  type RequestMessage,
  toHex,
  type Valid,
  valueOf,
  type VectorPayload,
} from "../support/vectors.ts";

/** The bytes of a frame that was read. */
function bytesOf(got: Required<Frame> | undefined): string {
  if (got === undefined) return "";
  return toHex(frame(got.kind, got.id, got.body, got.flags));
}

/** The vectors of one type that this library sends. */
function sent<T extends Valid>(vectors: T[]): T[] {
  return vectors.filter((vector) => vector.sent);
}

/** What the peer's HELLO needs for a payload. */
function fieldsFor(payload: VectorPayload): Parameters<typeof hello>[0] {
  return payload.kind === "custom"
    ? { extra: serializerField(HEX_SERIALIZER.name) }
    : {};
}

for (const { name, about, message, bytes } of sent(ofType("hello"))) {
  test(`vector ${name} is sent: ${about}`, async () => {
    const { maxMessage, windowCalls, windowBytes } = message;
    const { serializers, credentials, streamCredit, maxStreams } = message;
    const { connectionCredit } = message;
    const shown = credentials === undefined ? undefined : fromHex(credentials);
    const streams = { streamCredit, maxStreams, connectionCredit };
    const limits = { maxMessage, windowCalls, windowBytes, ...streams };
    const options = {
      ...limits,
      ...serializers === undefined ? {} : {
        serializer: serializers.split(" ").map((name) =>
          name === "json" ? name : HEX_SERIALIZER
        ),
      },
    };
    const facing = windowCalls === 0
      ? faceClient({
        ...options,
        credentials: message.credentialsText
          ? new TextDecoder().decode(shown)
          : shown,
      })
      : faceServer({ Test: { call: () => {} } }, options);
    assertEquals(bytesOf(await facing.peer.next()), bytes);
    await assertLost(facing);
  });
}

/** The options of the call that a request vector is. */
function callOptions(message: Omit<RequestMessage, "type">) {
  return {
    timeout: message.remaining,
    priority: message.urgent ? "urgent" as const : undefined,
    metadata: message.metadata && Object.fromEntries(message.metadata),
  };
}

for (const { name, about, message, bytes } of sent(ofType("request"))) {
  test(`vector ${name} is sent: ${about}`, async () => {
    const { id, method, payload } = message;
    const facing = faceClient({ firstId: id, ...optionsFor(payload) });
    await greet(facing, fieldsFor(payload));
    const { connection, peer } = facing;
    const handle = connection.go(
      method,
      valueOf(payload),
      callOptions(message),
    );
    assertEquals(bytesOf(await peer.next()), bytes);
    assertEquals(handle.id, id);
    await assertLost(facing);
  });
}

for (const { name, about, message, bytes } of sent(ofType("pad"))) {
  if (message.method === undefined) continue;
  test(`vector ${name} is sent: ${about}`, async () => {
    // Without a frame decoder, which would skip it.
    const [near, far] = memoryPair();
    const clock = new TestClock();
    const client = new Client(near, { clock, firstId: message.id });
    const handle = client.connection.go(
      message.method,
      valueOf(message.payload),
      callOptions(message),
    );
    handle.abort();
    assertEquals(await handle.settled, "not_sent");
    const reader = far.readable.getReader();
    const [first] = ofType("hello").filter(({ name }) =>
      name === "hello-client"
    );
    const wanted = first.bytes + bytes;
    let got = "";
    while (got.length < wanted.length) {
      got += toHex((await reader.read()).value!);
    }
    assertEquals(got, wanted);
    reader.releaseLock();
    client.abort();
    await client.closed;
  });
}

test("the vectors of dependent calls are sent", async () => {
  const facing = faceClient();
  await greet(facing, { keepsResults: true });
  const { connection, peer } = facing;
  const first = connection.go("Test.call", { id: 7 });
  const author = (ref(first) as UntypedRef).id;
  connection.go("Test.call", { author, limit: 3 });
  assertEquals(bytesOf(await peer.next()), named("request-keep").bytes);
  assertEquals(bytesOf(await peer.next()), named("request-references").bytes);
  await peer.send(reply(1));
  assertEquals(bytesOf(await peer.next()), named("release").bytes);
  await assertLost(facing);
});

for (const { name, about, message, bytes } of sent(ofType("reply"))) {
  test(`vector ${name} is sent: ${about}`, async () => {
    const facing = faceServer(
      { Test: { call: () => valueOf(message.payload) } },
      optionsFor(message.payload),
    );
    await greet(facing, fieldsFor(message.payload));
    await facing.peer.send(request(message.id, "Test.call"));
    assertEquals(bytesOf(await facing.peer.next()), bytes);
    await assertLost(facing);
  });
}

/** A method that fails as the vector says: its handler, or before it starts. */
function failing({ started, code, message, payload }: ErrorMessage) {
  const fail = () => {
    throw new RpcError(code, message, { data: valueOf(payload) });
  };
  const validate = (value: unknown) => started ? { value } : fail();
  const schema: StandardSchema = {
    "~standard": { version: 1, vendor: "test", validate },
  };
  return method(schema, fail);
}

for (const { name, about, message, bytes } of sent(ofType("error"))) {
  test(`vector ${name} is sent: ${about}`, async () => {
    const facing = faceServer({ Test: { call: failing(message) } });
    await greet(facing);
    await facing.peer.send(request(message.id, "Test.call"));
    assertEquals(bytesOf(await facing.peer.next()), bytes);
    await assertLost(facing);
  });
}

for (const { name, about, message, bytes } of sent(ofType("cancel"))) {
  test(`vector ${name} is sent: ${about}`, async () => {
    const facing = faceClient({ firstId: message.id });
    await greet(facing);
    const handle = facing.connection.go("Test.call");
    assertEquals((await facing.peer.next())?.kind, KIND.REQUEST);
    handle.abort();
    assertEquals(bytesOf(await facing.peer.next()), bytes);
    assertEquals(handle.outcome, "unknown");
    await assertLost(facing);
  });
}

for (const { name, about, message, bytes } of sent(ofType("pong"))) {
  test(`vector ${name} is sent: ${about}`, async () => {
    for (const facing of [faceClient(), faceServer({})]) {
      await greet(facing);
      await facing.peer.send(frame(KIND.PING, message.id));
      assertEquals(bytesOf(await facing.peer.next()), bytes);
      await assertLost(facing);
    }
  });
}

for (const { name, about, message, bytes } of sent(ofType("goaway"))) {
  test(`vector ${name} is sent: ${about}`, async () => {
    const facing = faceServer({ Test: { call: () => {} } });
    const { connection, peer } = facing;
    await greet(facing);
    peer.answersWarning = !message.warning;
    if (typeof message.lastId === "number") {
      await peer.send(request(message.lastId, "Test.call"));
      assertEquals((await peer.next())?.kind, KIND.REPLY);
    }
    if (message.code === "") connection.close();
    else await peer.send(hello());
    assertEquals(bytesOf(await peer.next()), bytes);
    if (message.warning) {
      await peer.send(last());
      await peer.rest();
    }
    await peer.end();
    assertEquals((await connection.closed)?.code ?? "", message.code);
    assertNothingLeft(connection);
  });
}

for (const { name, about, message, bytes } of sent(ofType("last"))) {
  test(`vector ${name} is sent: ${about}`, async () => {
    const raw = new RawPeer();
    const duplex = halfCloseByFrame(raw.duplex);
    const client = new Client(duplex, { clock: new TestClock() });
    const facing = { peer: raw, connection: client.connection };
    await greet(facing);
    if (message.all) {
      client.close();
      assertEquals((await raw.next())?.kind, KIND.GOAWAY);
    } else await raw.send(warning());
    assertEquals(bytesOf(await raw.next()), bytes);
    await raw.end();
    if (!message.all) await raw.rest();
    await client.closed;
    assertNothingLeft(client.connection);
  });
}

for (const { name, about, message, bytes } of sent(ofType("window"))) {
  test(`vector ${name} is sent: ${about}`, async () => {
    const { ack, windowCalls, windowBytes } = message;
    const facing = ack ? faceClient() : faceServer({ Test: { call() {} } });
    await greet(facing, { windows: true });
    if (ack) {
      await facing.peer.send(window(message.id, windowCalls, windowBytes));
    } else facing.connection.setWindow({ windowCalls, windowBytes });
    assertEquals(bytesOf(await facing.peer.next()), bytes);
    await assertLost(facing);
  });
}

test("the bytes of a vector are hex of whole bytes", () => {
  assertEquals(toHex(fromHex("00ff10")), "00ff10");
});
