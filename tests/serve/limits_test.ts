/** Limits on what a peer can make the server hold: running handlers, waiting replies, outgoing bytes. */

import { test } from "node:test";
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type CallContext,
  Client,
  echoServices,
  RpcError,
  Server,
} from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { assertNothingLeft, pair } from "../support/pair.ts";
import {
  frame,
  hello,
  join,
  KIND,
  RawPeer,
  readCode,
  reply,
  request,
} from "../support/raw_peer.ts";
import type { Any } from "../support/dials.ts";
import { Held } from "../support/services.ts";

test("[F10] at most maxRunning handlers run; the others wait in order", async () => {
  const held = new Held();
  const { client, connection, close } = pair(held.services, {
    server: { maxRunning: 3 },
  });
  const handles = Array.from(
    { length: 10 },
    (_, i) => client.go("Held.work", i),
  );
  await settle();
  assertEquals(connection.stats().running, 3);
  assertEquals(connection.stats().waiting, 7);
  for (let i = 0; i < 10; i++) {
    assertEquals(held.calls[i].params, i);
    held.calls[i].resolve();
    await settle();
    assert(connection.stats().running <= 3);
  }
  for (const handle of handles) assertEquals(await handle.settled, "executed");
  await close();
});

test("[F4] while unsent replies exceed highWaterMark, no handler starts", async () => {
  let started = 0;
  const big = new Uint8Array(100_000);
  const server = new Server({
    Big: {
      get: () => {
        started++;
        return big;
      },
    },
  }, { highWaterMark: 300_000 });
  const peer = new RawPeer({ highWaterMark: 0 });
  const connection = server.accept(peer.duplex);
  const requests = Array.from(
    { length: 50 },
    (_, i) => request(i + 1, "Big.get", [0]),
  );
  await peer.send(hello(), ...requests);
  await settle();
  assert(started < 10, `${started} handlers were started`);
  assert(connection.stats().outgoingBytes < 500_000);
  for (let i = 0; i < 50; i++) {
    assertEquals((await peer.nextOf(KIND.REPLY)).id, i + 1);
  }
  assertEquals(started, 50);
  await peer.reset();
  await server.close();
});

test("[F4] a send buffer above maxSendBuffer ends the connection", async () => {
  const held = new Held();
  const server = new Server(held.services, { maxSendBuffer: 100_000 });
  const peer = new RawPeer({ highWaterMark: 0 });
  const connection = server.accept(peer.duplex);
  const requests = [1, 2, 3].map((id) => request(id, "Held.work"));
  await peer.send(hello(), ...requests);
  await settle();
  held.release(new Uint8Array(50_000));
  await settle();
  // It reads on, so that GOAWAY and the replies made before it arrive.
  const rest = await peer.rest();
  assertEquals(rest.at(-1)?.kind, KIND.GOAWAY);
  await peer.end();
  assertEquals((await connection.closed)?.code, "resource_exhausted");
  assertNothingLeft(connection);
  await server.close();
});

test("[F10] a peer that never reads uses up its window, and is disconnected when it exceeds it", async () => {
  const server = new Server(echoServices(), { windowCalls: 100 });
  const peer = new RawPeer({ highWaterMark: 0 });
  const connection = server.accept(peer.duplex);
  let sent = 0;
  for (let round = 0; round < 4; round++) {
    const requests = Array.from(
      { length: 50 },
      () => request(++sent, round % 2 ? "No.such" : "Echo.echo"),
    );
    await peer.send(...(round === 0 ? [hello()] : []), ...requests);
    await settle();
  }
  // The replies of the first batch are with the transport; the other calls occupy the window.
  assertEquals(connection.stats().state, "finishing");
  await peer.end();
  await peer.rest();
  assertEquals((await connection.closed)?.code, "resource_exhausted");
  await server.close();
});

test("[F2] a flood of PINGs is answered with one PONG in each batch", async () => {
  const server = new Server(echoServices());
  const peer = new RawPeer({ highWaterMark: 0 });
  server.accept(peer.duplex);
  const pings = Array.from({ length: 1000 }, (_, i) => frame(KIND.PING, i));
  await peer.send(hello(), ...pings);
  await settle();
  await peer.send(...pings);
  await settle();
  const ids: number[] = [];
  while (ids.at(-1) !== 999) ids.push((await peer.nextOf(KIND.PONG)).id);
  assert(ids.length <= 4, `${ids.length} PONGs`);
  await peer.reset();
  await server.close();
});

test("[F14] while one chunk of very many calls is read, other connections are served", async () => {
  const server = new Server(echoServices(), { windowCalls: 1 << 20 });
  const flooder = new RawPeer({ highWaterMark: 1 << 26 });
  const other = new RawPeer();
  server.accept(flooder.duplex);
  server.accept(other.duplex);
  await flooder.send(hello());
  await other.send(hello());
  await settle();
  let id = 0;
  const calls = Array.from(
    { length: 100_000 },
    () => request(++id, "Echo.echo"),
  );
  const flood = join(...calls);
  const sending = flooder.send(flood);
  await settle(1);
  await other.send(request(1, "Echo.echo"));
  await other.nextOf(KIND.REPLY);
  const first = (await flooder.nextOf(KIND.REPLY)).id;
  assert(first < 100_000);
  await sending;
  await flooder.reset();
  await other.reset();
  await server.close();
});

/** Replies of about so many bytes. */
const LARGE: Record<string, (size: number, ctx: CallContext) => unknown> = {
  bytes: (size) => new Uint8Array(size),
  "bytes that are given away": (size, ctx) =>
    ctx.transfer(new Uint8Array(size)),
  text: (size) => "x".repeat(size),
  "text of many bytes": (size) => "\u20ac".repeat(Math.ceil(size / 3)),
  JSON: (size) => ({ text: "x".repeat(size) }),
  "an error's data": (size) => {
    throw new RpcError("too_much", "", { data: "x".repeat(size) });
  },
  "the data of a stream's error": (size) =>
    new ReadableStream({
      pull() {
        throw new RpcError("too_much", "", { data: "x".repeat(size) });
      },
    }, { highWaterMark: 0 }),
};

for (const [kind, make] of Object.entries(LARGE)) {
  test(`[X16] the replies of one turn never exceed maxSendBuffer: ${kind}`, async () => {
    const maxSendBuffer = 1_000_000;
    const held = new Held();
    let most = 0;
    const work = async (params: unknown, ctx: CallContext) => {
      await held.services.Held.work(params, ctx);
      most = Math.max(most, connection.stats().outgoingBytes);
      return make(100_000, ctx);
    };
    const server = new Server({ Big: { work } }, {
      maxSendBuffer: maxSendBuffer,
    });
    const peer = new RawPeer({ highWaterMark: 0 });
    const connection = server.accept(peer.duplex);
    const requests = Array.from(
      { length: 100 },
      (_, i) => request(i + 1, "Big.work", [0]),
    );
    await peer.send(hello({ streams: true }), ...requests);
    await settle();
    assertEquals(held.calls.length, 100);
    held.release();
    await settle();
    most = Math.max(most, connection.stats().outgoingBytes);
    assert(most <= maxSendBuffer + 8192, `${most} bytes`);
    // What was written before arrives completely.
    const frames = await peer.rest();
    await peer.end();
    assertEquals(readCode(frames.at(-1)!).code, "resource_exhausted");
    const large = frames.filter(({ body }) => body.length >= 100_000);
    assert(large.length > 5 && large.length < 10, `${large.length} of them`);
    assertEquals((await connection.closed)?.code, "resource_exhausted");
    assertNothingLeft(connection);
    await server.close();
  });
}

test("[X16] replies that would exceed maxSendBuffer are not encoded", async () => {
  const held = new Held();
  const server = new Server(held.services, { maxSendBuffer: 1_000_000 });
  const peer = new RawPeer({ highWaterMark: 0 });
  const connection = server.accept(peer.duplex);
  const ids = Array.from({ length: 300 }, (_, i) => i + 1);
  await peer.send(hello(), ...ids.map((id) => request(id, "Held.work")));
  await settle();
  let encoded = 0;
  held.release({
    toJSON() {
      encoded++;
      return "x".repeat(100_000);
    },
  });
  await settle();
  assertEquals(encoded, 10);
  await peer.rest();
  await peer.end();
  assertEquals((await connection.closed)?.code, "resource_exhausted");
  await server.close();
});

test("[X16] a reply larger than maxSendBuffer fails its call alone", async () => {
  const { client, close } = pair({
    Big: { get: (size: number) => new Uint8Array(size) },
  }, { server: { maxSendBuffer: 100_000 } });
  const error = await assertRejects(
    () => client.call("Big.get", 100_000),
    RpcError,
  );
  assertEquals(error.code, "resource_exhausted");
  assert(error.message.includes("maxSendBuffer"), error.message);
  assertEquals((await client.call("Big.get", 90_000)).length, 90_000);
  await close();
});

test("[X16] a call waits until the send buffer has room for all of it", async () => {
  const peer = new RawPeer({ highWaterMark: 0 });
  const client = new Client<Any>(peer.duplex, { maxSendBuffer: 200_000 });
  await peer.send(hello());
  await settle();
  const handles = Array.from(
    { length: 5 },
    () => client.go("Peer.take", new Uint8Array(90_000)),
  );
  await settle();
  assertEquals(client.stats().queued, 3);
  for (let id = 1; id <= 5; id++) {
    assertEquals((await peer.nextOf(KIND.REQUEST)).id, id);
    assert(client.stats().outgoingBytes <= 200_000);
  }
  await peer.send(...handles.map((_, i) => reply(i + 1)));
  for (const { reply } of handles) assertEquals(await reply, "ok");
  await client.connection.abort();
});
