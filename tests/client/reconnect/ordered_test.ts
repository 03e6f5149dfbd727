// Ordered calls of a reconnecting client: nothing overtakes, and nothing goes
// out behind what may have run or not.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { test } from "node:test";
import {
  type CallHandle,
  type CallOptions,
  type Frame,
  memoryPair,
  ordered,
  ReconnectingClient,
  type ReconnectingClientOptions,
  RpcError,
  Server,
} from "../../../mod.ts";
import { settle, turn } from "../../support/clock.ts";
import { assertLeft, leave, Reconnecting } from "../../support/dials.ts";
import {
  KIND,
  type RawPeer,
  readMethod,
  reply,
} from "../../support/raw_peer.ts";

/** A client that knows: `Log` is ordered as a whole, `Log.Own.m` and `Key.m` (by its first letter) for themselves. */
function ends(options: ReconnectingClientOptions = {}) {
  const t = new Reconnecting(["peer"], {
    ordered: {
      Log: true,
      "Log.Own.m": true,
      "Key.m": (params: string) => params[0],
    },
    ...options,
  });
  const go = (method: string, params: string, options?: CallOptions) =>
    t.client.go(method, params, options);
  return { t, go };
}

/** The next requests: method and payload. */
async function requests(peer: RawPeer, n: number): Promise<string[]> {
  const got: string[] = [];
  while (got.length < n) got.push(shown(await peer.nextOf(KIND.REQUEST)));
  return got;
}

function shown(frame: Required<Frame>): string {
  const method = readMethod(frame);
  const { body } = frame;
  const at = body.length -
    new TextDecoder().decode(body).split("\x03")[1].length;
  return `${method} ${new TextDecoder().decode(body.subarray(at))}`;
}

async function failure(handle: CallHandle): Promise<[string, string]> {
  const error = await assertRejects(() => handle.reply, RpcError);
  assertEquals(await handle.settled, error.outcome);
  return [error.code, error.outcome];
}

const BROKEN: [string, string] = ["aborted", "not_sent"];
const LOST: [string, string] = ["unavailable", "unknown"];

test("[L12] once an ordered call is unknown, the later ones of its order that wait are not sent", async () => {
  const { t, go } = ends();
  let peer = await t.ready({ calls: 2 });
  const sent = [go("Log.a", "0"), go("Key.m", "k1")];
  const waiting = [
    go("Log.b", "1"),
    go("Log.Own.m", "2"),
    go("Key.m", "j1"),
    go("Key.m", "k2"),
    go("Free.m", "3"),
  ];
  await settle();
  await peer.reset();
  for (const handle of sent) assertEquals(await failure(handle), LOST);
  assertEquals(await failure(waiting[0]), BROKEN);
  assertEquals(await failure(waiting[3]), BROKEN);
  // Whoever calls now has been told.
  const next = go("Log.a", "4");
  await t.advance(50);
  peer = await t.ready();
  assertEquals(await requests(peer, 4), [
    "Log.Own.m 2",
    "Key.m j1",
    "Free.m 3",
    "Log.a 4",
  ]);
  await peer.send(reply(4, "ok"));
  assertEquals(await next.reply, "ok");
  await t.over();
});

test("[L12] a call made before its caller could hear of the unknown one is not sent either; one made on hearing of it is", async () => {
  const { t, go } = ends();
  await t.ready();
  const handle = go("Log.a", "0");
  await settle();
  const made: CallHandle<unknown>[] = [];
  const heard = handle.reply.catch(() => made.push(go("Log.a", "knowing")));
  queueMicrotask(() => made.push(go("Log.a", "unknowing")));
  t.lose();
  await heard;
  assertEquals(await failure(made[0]), BROKEN);
  await t.advance(50);
  const peer = await t.ready();
  assertEquals(await requests(peer, 1), ["Log.a knowing"]);
  await t.over();
});

test("[L12] with continueAfterUnknown they are sent, in their order", async () => {
  const { t, go } = ends({ continueAfterUnknown: true });
  let peer = await t.ready({ calls: 1 });
  const handles = ["0", "1", "2"].map((params) => go("Log.a", params));
  await settle();
  await peer.reset();
  assertEquals(await failure(handles[0]), LOST);
  await t.advance(50);
  peer = await t.ready();
  assertEquals(await requests(peer, 2), ["Log.a 1", "Log.a 2"]);
  await t.over();
});

test("[L12] what comes back from the batch, or would be sent again as idempotent, is not sent behind an unknown one either", async () => {
  const { t, go } = ends();
  const peer = await t.ready();
  const unknown = go("Log.a", "0");
  const idempotent = go("Log.a", "1", { idempotent: true });
  await settle();
  const batched = go("Log.a", "2");
  t.lose();
  assertEquals(await failure(unknown), LOST);
  assertEquals(await failure(idempotent), ["aborted", "unknown"]);
  assertEquals(await failure(batched), BROKEN);
  assertEquals(await requests(peer, 2), ["Log.a 0", "Log.a 1"]);
  assertEquals(t.client.stats().waiting, 0);
  await t.over();
});

test("[L12] idempotent calls are sent again in their order, with what waited behind them", async () => {
  const { t, go } = ends({ idempotent: ["Log.a"] });
  let peer = await t.ready({ calls: 2 });
  for (const params of ["0", "1", "2"]) go("Log.a", params);
  await settle();
  await peer.reset();
  await t.advance(50);
  peer = await t.ready();
  assertEquals(await requests(peer, 3), ["Log.a 0", "Log.a 1", "Log.a 2"]);
  await t.over();
});

test("[L12] a call given up in flight holds up nothing while its connection lives", async () => {
  const { t, go } = ends();
  const peer = await t.ready();
  const handle = go("Log.a", "0");
  await settle();
  handle.abort(new Error("enough"));
  go("Log.a", "1");
  assertEquals(await requests(peer, 2), ["Log.a 0", "Log.a 1"]);
  await assertRejects(() => handle.reply, Error, "enough");
  go("Log.a", "2");
  assertEquals(await requests(peer, 1), ["Log.a 2"]);
  await t.over();
});

test("[L12] a call given up in flight counts once its connection is lost without a word of it", async () => {
  const { t, go } = ends();
  const peer = await t.ready({ calls: 1 });
  const handle = go("Log.a", "0");
  const behind = go("Log.a", "1");
  await settle();
  handle.abort(new Error("enough"));
  await assertRejects(() => handle.reply, Error, "enough");
  await peer.reset();
  assertEquals(await handle.settled, "unknown");
  assertEquals(await failure(behind), BROKEN);
  await t.over();
});

test("[L12] what a GOAWAY refuses waits until the old connection has answered for what came before; others do not", async () => {
  const { t, go } = ends();
  const old = await t.ready();
  const first = go("Log.a", "0");
  const key = go("Key.m", "k1");
  go("Log.a", "1");
  go("Key.m", "j1");
  go("Free.m", "2");
  await settle();
  await leave(old, 2);
  await t.advance(50);
  const peer = await t.ready();
  go("Log.b", "3");
  go("Key.m", "k2");
  assertEquals(await requests(peer, 2), ["Key.m j1", "Free.m 2"]);
  await settle();
  assertEquals(t.client.stats().waiting, 3);
  // Held calls are in nobody's way.
  assert(t.client.desiredSize > 0);
  await t.client.ready;
  await old.send(reply(1, "ok"));
  assertEquals(await first.reply, "ok");
  assertEquals(await requests(peer, 2), ["Log.a 1", "Log.b 3"]);
  await old.send(reply(2, "ok"));
  assertEquals(await key.reply, "ok");
  assertEquals(await requests(peer, 1), ["Key.m k2"]);
  assertEquals(t.client.stats().waiting, 0);
  await t.over();
});

test("[L12] what waits for the old connection is not sent if that is lost before it has answered", async () => {
  const { t, go } = ends();
  const old = await t.ready();
  const first = go("Log.a", "0");
  const refused = go("Log.a", "1");
  await settle();
  await leave(old, 1);
  await t.advance(50);
  const peer = await t.ready();
  const made = go("Log.a", "2");
  go("Free.m", "3");
  await settle();
  await old.reset();
  assertEquals(await failure(first), LOST);
  // A peer has had this one, and said that it did not start it.
  assertEquals(await failure(refused), ["aborted", "refused"]);
  assertEquals(await failure(made), BROKEN);
  go("Log.a", "4");
  assertEquals(await requests(peer, 2), ["Free.m 3", "Log.a 4"]);
  await t.over();
});

test("[L17] a call that waits for the old connection ends by its signal, its deadline, and the client's end", async () => {
  const { t, go } = ends();
  const old = await t.ready();
  go("Log.a", "0");
  await settle();
  await leave(old, 1);
  await t.advance(50);
  const peer = await t.ready();
  const controller = new AbortController();
  const { signal } = controller;
  const aborted = go("Log.a", "1", { signal });
  const late = go("Log.a", "2", { timeout: 100 });
  const sent = go("Log.a", "3").sent;
  const byHandle = go("Log.a", "4");
  const left = go("Log.a", "5");
  controller.abort(new Error("by signal"));
  byHandle.abort(new Error("by handle"));
  await assertRejects(() => aborted.reply, Error, "by signal");
  await assertRejects(() => byHandle.reply, Error, "by handle");
  await t.advance(100);
  assertEquals(await failure(late), ["deadline_exceeded", "not_sent"]);
  await old.send(reply(1, "ok"));
  assertEquals(await requests(peer, 2), ["Log.a 3", "Log.a 5"]);
  assertEquals(await sent, true);
  await peer.send(reply(2, "ok"));
  assertEquals(await left.reply, "ok");
  await t.over();
});

test("[L17] a client that closes sends what waits for the old connection; one that is aborted rejects it", async () => {
  for (const how of ["close", "abort"] as const) {
    const { t, go } = ends();
    const old = await t.ready();
    go("Log.a", "0");
    await settle();
    await leave(old, 1);
    await t.advance(50);
    const peer = await t.ready();
    const held = go("Log.a", "1");
    const closing = how === "close" ? t.client.close() : t.client.abort();
    await settle();
    if (how === "close") {
      await old.send(reply(1, "ok"));
      assertEquals(await requests(peer, 1), ["Log.a 1"]);
      await peer.send(reply(1, "ok"));
      assertEquals(await held.reply, "ok");
      await settle();
      await Promise.all([old.end(), peer.end()]);
    } else assertEquals((await failure(held))[1], "not_sent");
    await settle();
    await closing;
    await t.client.closed;
    assertLeft(t);
  }
});

test("[F8] what waits for the old connection is bounded as what waits for any", async () => {
  const { t, go } = ends({ maxQueuedCalls: 2 });
  const old = await t.ready();
  go("Log.a", "0");
  await settle();
  await leave(old, 1);
  await t.advance(50);
  await t.ready();
  const handles = ["1", "2", "3"].map((params) => go("Log.a", params));
  const full = ["resource_exhausted", "not_sent"];
  assertEquals(await failure(handles[2]), full as [string, string]);
  go("Free.m", "4");
  assertEquals(t.client.stats().waiting, 2);
  await t.over();
});

test("a key that throws or is none rejects its call, not sent; an order that is none throws", async () => {
  const { t, go } = ends({
    ordered: {
      "Key.m": (params: string) => {
        if (params === "x") throw new RangeError("no x");
        return [params] as unknown as string;
      },
    },
  });
  await t.ready();
  for (const [params, kind] of [["x", RangeError], ["y", TypeError]] as const) {
    const handle = go("Key.m", params);
    await assertRejects(() => handle.reply, kind);
    assertEquals(await handle.settled, "not_sent");
  }
  await t.over();
  assertThrows(
    () => ends({ ordered: { Log: "yes" as unknown as true } }),
    TypeError,
  );
});

test("[L12] twenty thousand calls behind an unknown one end at once, each with its own error", async () => {
  const { t, go } = ends({ idempotent: ["Log.b"] });
  const peer = await t.ready({ calls: 1000 });
  const unknown = go("Log.a", "0");
  const handles = Array.from({ length: 20_000 }, () => go("Log.b", "1"));
  await settle();
  await peer.reset();
  assertEquals(await failure(unknown), LOST);
  const errors = new Set<unknown>();
  for (const { reply } of handles) await reply.catch((e) => errors.add(e));
  assertEquals(errors.size, handles.length);
  assertEquals(t.client.stats().waiting, 0);
  await t.over();
});

test("[L12] a notify follows its order, too", async () => {
  const { t, go } = ends();
  const old = await t.ready({ calls: 1 });
  await t.client.notify("Log.a", "0");
  const waiting = t.client.notify("Log.a", "1");
  waiting.catch(() => {});
  await settle();
  await old.reset();
  const error = await assertRejects(() => waiting, RpcError);
  assertEquals([error.code, error.outcome], BROKEN);
  const next = go("Log.a", "2");
  await t.advance(50);
  const peer = await t.ready();
  assertEquals(await requests(peer, 1), ["Log.a 2"]);
  await peer.send(reply(1, "ok"));
  await next.reply;
  await t.over();
});

/** A log that may only grow at its end, and what its user appends to it. */
class ReplicatedLog {
  readonly entries: number[] = [];
  /** Entries that came without the one before. */
  readonly holes: string[] = [];
  readonly services = {
    Log: ordered({
      append: async (index: number) => {
        const { length } = this.entries;
        if (index > length) this.holes.push(`${index} behind ${length}`);
        if (index === length) this.entries.push(index);
        // So that who comes behind could overtake.
        for (let i = 0; i < index % 3; i++) await turn();
      },
      length: () => this.entries.length,
    }),
  };
  #server: Server<object> = this.#serve();

  #serve(): Server<object> {
    return new Server<object>(this.services, { windowCalls: 70 });
  }

  readonly dial = () => {
    const [near, far] = memoryPair();
    this.#server.accept(far);
    return near;
  };

  /** Drains the server; another takes its place. */
  restart(): void {
    this.#server.close();
    this.#server = this.#serve();
  }

  close(): Promise<void> {
    return this.#server.close();
  }
}

type Event = "lose" | "restart" | "turn";

/** Appends 0 to `count - 1`, as fast as it can; if one fails, it asks how far the log has come, and goes on from there. */
async function replicate(
  client: ReconnectingClient<ReplicatedLog["services"]>,
  count: number,
): Promise<void> {
  let at = 0;
  for (;;) {
    const calls: Promise<unknown>[] = [];
    let failed = false;
    while (at < count && !failed) {
      if (client.desiredSize <= 0) await client.ready;
      if (failed) break; // Heard of while it waited.
      const call = client.call("Log.append", at++);
      calls.push(call.catch(() => failed = true));
      if (at % 50 === 0) await turn();
    }
    await Promise.all(calls);
    if (!failed) return;
    at = await client.call("Log.length", undefined, { idempotent: true });
  }
}

/** What becomes of a log under these events. */
async function play(
  events: readonly Event[],
  options: ReconnectingClientOptions,
): Promise<ReplicatedLog> {
  const log = new ReplicatedLog();
  const client = new ReconnectingClient<ReplicatedLog["services"]>(log.dial, {
    retry: { base: 1, cap: 1 },
    ...options,
  });
  const all = replicate(client, 600);
  for (const event of events) {
    if (event === "lose") client.connection?.abort(new Error("lost"));
    else if (event === "restart") log.restart();
    await turn();
  }
  await all;
  await client.close();
  await log.close();
  return log;
}

const anyEvents = fc.array(
  fc.oneof(
    { weight: 12, arbitrary: fc.constant<Event>("turn") },
    fc.constantFrom<Event>("lose", "restart"),
  ),
  { minLength: 10, maxLength: 200 },
);

test("[L12] [L10] a replicated log has no hole, whenever its connections are lost and its servers restarted", async () => {
  await fc.assert(
    fc.asyncProperty(anyEvents, async (events) => {
      const log = await play(events, { ordered: { Log: true } });
      assertEquals(log.holes, []);
      assertEquals(log.entries.length, 600);
    }),
    { numRuns: 30 },
  );
});

test("without an order the same log has holes: what the test above is there to see", async () => {
  const events = Array.from(
    { length: 150 },
    (_, i): Event => i % 9 === 5 ? "lose" : i % 13 === 7 ? "restart" : "turn",
  );
  assert((await play(events, {})).holes.length > 0);
  assertEquals((await play(events, { ordered: { Log: true } })).holes, []);
});
