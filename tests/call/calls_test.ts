/** Calls and handles: what a user of `call`, `go` and `ready` is promised. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { Client, echoServices, RpcError } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { pair } from "../support/pair.ts";
import {
  failure,
  hello,
  KIND,
  RawPeer,
  readMethod,
  reply,
} from "../support/raw_peer.ts";
import { Held } from "../support/services.ts";

test("a call is answered with its handler's result", async () => {
  const { client, close } = pair(echoServices());
  assertEquals(
    await client.call("HelloService.Hello", "client 7"),
    "hello:client 7",
  );
  await close();
});

test("calls can be made before the peer's HELLO is read", async () => {
  const { client, close } = pair(echoServices());
  const replies = [1, 2, 3].map((n) => client.call("Echo.echo", n));
  assertEquals(await Promise.all(replies), [1, 2, 3]);
  await close();
});

test("calls made in one turn leave in few chunks, each way", async () => {
  const { client, connection, close } = pair(echoServices());
  await client.call("Echo.echo", 0);
  const sent = client.stats().chunksWritten;
  const answered = connection.stats().chunksWritten;
  await Promise.all(
    Array.from({ length: 4000 }, (_, i) => client.call("Echo.echo", i)),
  );
  // 4,000 requests of 28 bytes fill two segments of 64 KiB, after some smaller ones.
  assert(client.stats().chunksWritten - sent <= 10);
  assert(connection.stats().chunksWritten - answered <= 10);
  await close();
});

test("[7] requests are written in the order of call and go, queued ones too", async () => {
  const peer = new RawPeer();
  const client = new Client<Record<string, () => string>>(peer.duplex);
  for (let i = 0; i < 100; i++) {
    if (i % 2) client.call(`m${i}`).catch(() => {});
    else client.go(`m${i}`);
  }
  await peer.send(hello({ calls: 1000 }));
  for (let i = 0; i < 100; i++) {
    assertEquals(readMethod(await peer.nextOf(KIND.REQUEST)), `m${i}`);
  }
  await client.abort();
});

test("replies in any order reach their own callers", async () => {
  const held = new Held();
  const { client, close } = pair(held.services);
  const replies = Array.from(
    { length: 200 },
    (_, i) => client.call("Held.work", i),
  );
  await settle();
  assertEquals(held.calls.length, 200);
  for (const call of [...held.calls].reverse()) call.resolve(call.params);
  assertEquals(await Promise.all(replies), [...Array(200).keys()]);
  await close();
});

test("handlers start in the order their requests came", async () => {
  const held = new Held();
  const { client, close } = pair(held.services, { server: { maxRunning: 2 } });
  const replies = [0, 1, 2, 3, 4].map((i) => client.call("Held.work", i));
  for (let i = 0; i < 5; i++) {
    await settle();
    assertEquals(
      held.calls.map((c) => c.params),
      [
        0,
        1,
        2,
        3,
        4,
      ].slice(0, i + 2),
    );
    held.calls[i].resolve(i);
  }
  await Promise.all(replies);
  await close();
});

test("[I6] ids wrap past 2^32 and skip the slot of a call that still runs", async () => {
  const held = new Held();
  const { client, close } = pair(held.services, {
    client: { firstId: 0xffffffff - 5 },
  });
  const old = client.go("Held.work", "old");
  assertEquals(old.id, 0xffffffff - 5);
  for (let round = 0; round < 40; round++) {
    const replies = Array.from(
      { length: 20 },
      (_, i) => client.call("Held.echo", i),
    );
    assertEquals(await Promise.all(replies), [...Array(20).keys()]);
  }
  held.release("still mine");
  assertEquals(await old.reply, "still mine");
  await close();
});

test("a handle has its id, method and outcome, and resolves when it was sent", async () => {
  const held = new Held();
  const { client, close } = pair(held.services);
  const handle = client.go("Held.work", 1);
  assertEquals(handle.method, "Held.work");
  assertEquals(handle.id, 1);
  assertEquals(handle.outcome, "not_sent");
  assertEquals(await handle.sent, true);
  assertEquals(handle.outcome, "unknown");
  await settle();
  held.release("done");
  assertEquals(await handle.settled, "executed");
  assertEquals(handle.outcome, "executed");
  assertEquals(await handle.reply, "done");
  assertStrictEquals(handle.reply, handle.reply);
  await close();
});

test("a handle's reply can be asked for long after the call has settled", async () => {
  const { client, close } = pair(echoServices());
  const good = client.go("HelloService.Hello", "x");
  const bad = client.go("HelloService.Hello", 7 as unknown as string);
  await Promise.all([good.settled, bad.settled]);
  await settle();
  assertEquals(await good.reply, "hello:x");
  const error = await assertRejects(() => bad.reply, RpcError);
  assertEquals(error.code, "invalid_argument");
  await close();
});

test("a failure that nobody asks a handle for is not reported", async () => {
  const peer = new RawPeer();
  const client = new Client<Record<string, () => string>>(peer.duplex);
  const handle = client.go("m");
  await peer.send(hello(), failure(1, "not_found", "no", false));
  assertEquals(await handle.settled, "refused");
  await settle();
  await client.abort();
});

test("a call that waits for the window has no id and was not sent", async () => {
  const peer = new RawPeer();
  const client = new Client<Record<string, () => string>>(peer.duplex);
  await peer.send(hello({ calls: 1 }));
  const first = client.go("m");
  await settle();
  const second = client.go("m");
  const sent = second.sent;
  assertEquals(second.id, undefined);
  assertEquals(second.outcome, "not_sent");
  await peer.send(reply(1));
  assertEquals(await first.reply, "ok");
  assertEquals(await sent, true);
  assertEquals(second.id, 2);
  await client.abort();
  assertEquals(await second.settled, "unknown");
});

test("an option that is no time is a TypeError, and nothing is sent", async () => {
  const { client, close } = pair(echoServices());
  const error = await assertRejects(
    () => client.call("Echo.echo", 1, { timeout: NaN }),
    TypeError,
  );
  assert(error.message.includes("timeout"));
  assertEquals(client.stats().inFlight, 0);
  await close();
});
