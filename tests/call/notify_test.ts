// One-way calls: a promise of the flush, and a slot in the window.

import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { test } from "node:test";
import { Client, clientMiddleware, RpcError } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { Reconnecting, sendGoaway } from "../support/dials.ts";
import { pair } from "../support/pair.ts";
import { failure, hello, KIND, RawPeer, reply } from "../support/raw_peer.ts";
import { Held } from "../support/services.ts";

test("notify resolves when the request is flushed, before any reply", async () => {
  const held = new Held();
  const { client, close } = pair(held.services);
  assertEquals(await client.notify("Held.work", "x"), undefined);
  assertEquals(client.stats().inFlight, 1);
  await settle();
  assertEquals(held.calls[0].params, "x");
  held.release();
  await settle();
  assertEquals(client.stats().inFlight, 0);
  await close();
});

test("an error that a notified handler throws does not reach the caller", async () => {
  const { client, errors, close } = pair({
    Log: {
      add: (_text: string) => {
        throw new Error("disk full");
      },
    },
  });
  await client.notify("Log.add", "x");
  await settle();
  assertEquals(errors.length, 1);
  await close();
});

test("notify waits for the window, and keeps its slot until it is answered", async () => {
  const peer = new RawPeer();
  const client = new Client<Held["services"]>(peer.duplex);
  await peer.send(hello({ calls: 1 }));
  await settle();
  let second = false;
  await client.notify("Held.work", 1);
  const waiting = client.notify("Held.work", 2).then(() => second = true);
  await settle();
  assertEquals([second, client.stats().queued], [false, 1]);
  await peer.send(reply(1, "ignored"));
  await waiting;
  await client.abort();
});

test("notify rejects as a call that could not be sent does, and ignoring that is safe", async () => {
  const { client, close } = pair({ Echo: { echo: (value: unknown) => value } });
  const bad = await assertRejects(
    () => client.notify("Echo.echo", 1n),
    RpcError,
  ) as RpcError;
  assertEquals([bad.code, bad.outcome], ["invalid_argument", "not_sent"]);
  const reason = new Error("no");
  const aborted = await assertRejects(() =>
    client.notify("Echo.echo", 1, { signal: AbortSignal.abort(reason) })
  );
  assertStrictEquals(aborted, reason);
  client.notify("Echo.echo", 2n); // A rejection that nobody handles would fail this test.
  await settle();
  await close();
});

test("notify goes through middleware", async () => {
  const use = clientMiddleware((_, next) => next({ params: "changed" }));
  const held = new Held();
  const { client, close } = pair(held.services, { client: { use } });
  await client.notify("Held.work", "x");
  await settle();
  assertEquals(held.calls[0].params, "changed");
  held.release();
  await close();
});

test("a notify made without a connection resolves once the next one has taken it", async () => {
  const t = new Reconnecting(["peer"]);
  let sent = false;
  const notified = t.client.notify("m", 1).then(() => sent = true);
  await settle();
  assertEquals([sent, t.client.stats().waiting], [false, 1]);
  const peer = await t.ready();
  await notified;
  await peer.send(reply(1, "ignored"));
  await settle();
  assertEquals(t.client.stats().inFlight, 0);
  await t.over();
});

test("a notify that a GOAWAY refuses is sent again, though its promise is long resolved", async () => {
  const t = new Reconnecting(["peer"]);
  let peer = await t.ready();
  await t.client.notify("m", 1);
  await sendGoaway(peer);
  await t.advance(50);
  peer = await t.ready();
  assertEquals((await peer.nextOf(KIND.REQUEST)).id, 1);
  await peer.send(failure(1, "internal", "reaches nobody", true));
  await settle();
  assertEquals(t.client.stats().inFlight, 0);
  await t.over();
});

test("a notify that no connection takes rejects, not sent", async () => {
  const t = new Reconnecting(["peer"], { retry: { attempts: 1 } });
  const notified = t.client.notify("m", 1);
  await settle();
  await t.peers[0].reset();
  const error = await assertRejects(() => notified, RpcError);
  assertEquals([error.code, error.outcome], ["unavailable", "not_sent"]);
  await t.client.closed;
  await t.over();
});
