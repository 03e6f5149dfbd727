// A scripted peer sends what a test says, and states what must arrive.

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import {
  type CallContext,
  Client,
  type Duplex,
  memoryPair,
  RpcError,
  type Serializer,
  Server,
} from "../../mod.ts";
import {
  printFrames,
  recorded,
  type ScriptedPeer,
  scriptedPeer,
  settle,
} from "../../testing.ts";
import { pattern } from "../support/transports.ts";

/** A client, and the peer that it calls. */
function facingClient(): { client: Client; peer: ScriptedPeer } {
  const [near, far] = memoryPair();
  return { client: new Client(near), peer: scriptedPeer(far) };
}

test("a scripted server reads calls, and answers them in any order, with metadata and errors", async () => {
  const { client, peer } = facingClient();
  const hello = await peer.greet();
  assertEquals(hello.windowCalls, 0, "a client without services");
  const first = client.go("A.first", { n: 1 }, {
    ...{ timeout: 5000, metadata: { trace: "7" } },
  });
  const second = client.go("A.second");
  const one = await peer.expect("request");
  const two = await peer.expect("request");
  assertEquals([one.method, one.params, one.isStream], [
    ...["A.first", { n: 1 }, false],
  ]);
  assertEquals([...one.metadata], [["trace", "7"]]);
  assertEquals(two.timeout, undefined);
  await peer.fail(two.id, "sold_out", "none left", {
    ...{ started: true, data: { left: 0 } },
  });
  await peer.reply(one.id, [1, 2], { metadata: { from: "peer" } });
  assertEquals(await first.reply, [1, 2]);
  assertEquals(first.metadata?.get("from"), "peer");
  const error = await assertRejects(() => second.reply, RpcError, "none left");
  assertEquals([error.code, error.outcome, error.data], [
    ...["sold_out", "executed", { left: 0 }],
  ]);
  await client.abort();
});

test("a scripted client calls a server, cancels, pings and leaves", async () => {
  const [near, far] = memoryPair();
  const held = Promise.withResolvers<void>();
  const server = new Server({
    A: {
      echo: (value: unknown, ctx: CallContext) => [value, ctx.metadata.size],
      held: () => held.promise,
    },
  });
  server.accept(far);
  const peer = scriptedPeer(near);
  await peer.greet({ windowCalls: 1 });
  assertEquals(
    await peer.request("A.echo", "x", { metadata: { a: "b" }, timeout: 9000 }),
    1,
  );
  const reply = await peer.expect("reply");
  assertEquals([reply.id, reply.result], [1, ["x", 1]]);
  const id = await peer.request("A.held");
  await peer.ping(7);
  assertEquals((await peer.expect("pong")).id, 7);
  await peer.cancel(id);
  await settle();
  held.resolve();
  assertEquals((await peer.expect("reply")).id, id);
  await peer.goaway();
  await peer.end();
  await peer.expectEnd();
  await server.close();
});

test("a server warns the peer, which warns, too, and says that it makes no more calls", async () => {
  const [near, far] = memoryPair();
  const server = new Server({ A: { echo: (value: unknown) => value } });
  server.accept(far);
  const peer = scriptedPeer(near);
  await peer.greet();
  const closed = server.close();
  const { warning, lastId } = await peer.expect("goaway");
  assertEquals([warning, lastId], [true, undefined]);
  await peer.request("A.echo", 1);
  assertEquals((await peer.expect("reply")).result, 1);
  await peer.warn();
  assertEquals(await peer.expect("last"), { kind: "last", all: false });
  await peer.last();
  const goaway = await peer.expect("goaway");
  assertEquals([goaway.warning, goaway.lastId], [false, 1]);
  await peer.expectEnd();
  await peer.goaway();
  await peer.last({ all: true });
  await peer.end();
  await closed;
});

test("every payload arrives as it was sent", async () => {
  const { client, peer } = facingClient();
  await peer.greet();
  for (const value of [undefined, null, 0, "ü\n", pattern(20_000), { a: [] }]) {
    const call = client.call("A.echo", value);
    const { id, params } = await peer.expect("request");
    assertEquals(params, value);
    await peer.reply(id, value);
    assertEquals(await call, value);
  }
  await client.abort();
});

test("streams are shown, and sent as frames", async () => {
  const { client, peer } = facingClient();
  await peer.greet();
  const call = client.call("A.sum", ReadableStream.from(["x"]));
  const request = await peer.expect("request");
  assertEquals([request.params, request.isStream], [undefined, true]);
  const { payloadKind, payload, ...item } = await peer.expect("data");
  const { id } = request;
  assertEquals(item, { kind: "data", id, fromCaller: true, more: false });
  assertEquals([payloadKind, [...payload]], [3, [0x78]]);
  assertEquals((await peer.expect("end")).code, undefined);
  // A REPLY whose payload is a stream, an item of text, and its end.
  await peer.send(
    { kind: 0x03, id, body: Uint8Array.of(5) },
    { kind: 0x10, id, body: Uint8Array.of(3, 0x79) },
    { kind: 0x11, id },
  );
  assertEquals(await Array.fromAsync(await call as AsyncIterable<string>), [
    "y",
  ]);
  await client.abort();
});

test("a frame of another kind than expected is an error that lists what arrived", async () => {
  const { client, peer } = facingClient();
  await peer.greet();
  client.go("A.b", 1);
  const error = await assertRejects(() => peer.expect("goaway"), Error);
  const lines = error.message.split("\n");
  assertEquals(
    lines[0],
    "Expected GOAWAY, received REQUEST 1 A.b 1. Received so far:",
  );
  assertEquals([lines.length, lines[2]], [3, "  REQUEST 1 A.b 1"]);
  client.go("A.c");
  await assertRejects(() => peer.expectEnd(), Error, "Expected the end");
  await client.abort();
});

test("the end of the connection is an error where a frame is expected", async () => {
  const [near, far] = memoryPair();
  const peer = scriptedPeer(far);
  await near.writable.close();
  assertEquals(await peer.next(), undefined);
  await assertRejects(
    () => peer.expect("hello"),
    Error,
    "received the end. Received so far: nothing",
  );
  await peer.expectEnd();
});

test("bytes that are no frames are a ConnectionError", async () => {
  const [near, far] = memoryPair();
  const peer = scriptedPeer(far);
  const writer = near.writable.getWriter();
  writer.write(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"))
    .catch(() => {});
  const error = await assertRejects(() => peer.next());
  assertEquals((error as { code?: string }).code, "frame_too_large");
});

test("a peer may break the rules: it sends any frame, and any bytes", async () => {
  const { client, peer } = facingClient();
  await peer.greet();
  await peer.send({ kind: 0x03, id: 99, body: Uint8Array.of(0) });
  assertEquals((await peer.expect("goaway")).code, "protocol_error");
  await peer.expectEnd();
  await client.close();
});

test("a reset loses the connection, and later frames are refused", async () => {
  const { client, peer } = facingClient();
  await peer.greet();
  const call = client.go("A.b");
  await peer.expect("request");
  await peer.reset();
  assertEquals(await call.settled, "unknown");
  await assertRejects(() => peer.reply(1));
  await assertRejects(() => peer.next());
  await client.close();
});

test("what cannot be sent rejects, and nothing is written", async () => {
  const [near, far] = memoryPair();
  const record = recorded(near);
  const peer = scriptedPeer(record.duplex);
  await assertRejects(() => peer.reply(1, new Map()), RpcError);
  await assertRejects(() => peer.fail(1, "x", "y", { data: new Map() }));
  await assertRejects(() => peer.request("A.b", new Map()));
  await assertRejects(() => peer.request("x".repeat(70_000)), RangeError);
  await peer.request("A.b", 1);
  assertEquals(printFrames(record.sent), "REQUEST 3 A.b 1");
  await far.writable.abort();
});

test("both sides may have a serializer", async () => {
  const serializer: Serializer = {
    name: "hex",
    encode: (value) => new TextEncoder().encode((value as number).toString(16)),
    decode: (bytes) => parseInt(new TextDecoder().decode(bytes), 16),
  };
  const [near, far] = memoryPair();
  const client = new Client(near, { serializer });
  const peer = scriptedPeer(far, { serializer });
  await peer.greet();
  const call = client.call("A.b", 255);
  const { id, params } = await peer.expect("request");
  assertEquals(params, 255);
  await peer.reply(id, 16);
  assertEquals(await call, 16);
  await client.abort();
});

test("a peer takes a duplex, and no other value", () => {
  assertThrows(() => scriptedPeer({} as Duplex), TypeError);
  const [near] = memoryPair();
  scriptedPeer(near);
  assertThrows(() => scriptedPeer(near), TypeError);
});

test("a scripted peer sends and reads bodies and trailers", async () => {
  const [near, far] = memoryPair();
  const client = new Client<Record<string, (params: unknown) => unknown>>(near);
  const peer = scriptedPeer(far);
  await peer.greet({ serializers: "other json" });
  const handle = client.go("m", "x", { body: ReadableStream.from(["y"]) });
  const { id, params, hasBody } = await peer.expect("request");
  assertEquals([params, hasBody], ["x", true]);
  await peer.expect("data");
  await peer.expect("end");
  await peer.reply(id, "z", { body: true });
  await peer.send({
    kind: 0x11,
    id,
    flags: 4,
    body: Uint8Array.of(0, 5, 1, 0x61, 0, 1, 0x31),
  });
  const { value, body } = await handle.reply as {
    value: unknown;
    body: ReadableStream<unknown>;
  };
  assertEquals(value, "z");
  assertEquals(await Array.fromAsync(body), []);
  assertEquals(handle.trailers?.get("a"), "1");
  await client.abort();
});
