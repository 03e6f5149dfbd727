// One-way calls: a promise of the hand-over, and a place in the window.

import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { test } from "node:test";
import { Client, outgoing, RpcError } from "../mod.ts";
import { settle } from "./support/clock.ts";
import { Reconnecting } from "./support/dials.ts";
import { pair } from "./support/pair.ts";
import { goaway, hello, RawPeer, reply } from "./support/raw_peer.ts";
import { Held } from "./support/services.ts";

test("notify resolves at the hand-over, before any answer", async () => {
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

test("what a notified handler throws reaches nobody here", async () => {
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

test("notify waits for the window, and keeps its place until it is answered", async () => {
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

test("notify goes through middleware, and over the next connection", async () => {
  const use = outgoing((_, next) => next({ params: "changed" }));
  const held = new Held();
  const { client, close } = pair(held.services, { client: { use } });
  await client.notify("Held.work", "x");
  await settle();
  assertEquals(held.calls[0].params, "changed");
  held.release();
  await close();

  const ends = new Reconnecting(["peer", "peer"]);
  const sent = ends.client.notify("m", 1);
  const peer = await ends.ready();
  await sent;
  await peer.send(goaway(1));
  await peer.send(reply(1, "1"));
  await ends.over();
});
