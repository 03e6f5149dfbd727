/** The option `resend`: with `"never"` the client sends no call a second time. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import {
  type CallHandle,
  clientMiddleware,
  type Frame,
  memoryPair,
  ordered,
  type Outcome,
  ReconnectingClient,
  type ReconnectingClientOptions,
  RpcError,
  Server,
} from "../../../mod.ts";
import { settle, turn } from "../../support/clock.ts";
import {
  assertNothingIsLeft,
  Reconnecting,
  sendGoaway,
} from "../../support/dials.ts";
import { KIND, type RawPeer, reply } from "../../support/raw_peer.ts";

const resend = "never";

/** The code and the outcome that a call rejects with. */
async function failureOf(handle: CallHandle): Promise<[string, Outcome]> {
  const error = await assertRejects(() => handle.reply, RpcError);
  assertEquals(await handle.settled, error.outcome);
  return [error.code, error.outcome];
}

/** The text payload of a REQUEST for method "m" without deadline and metadata. */
function payload({ body }: Required<Frame>): string {
  return new TextDecoder().decode(body.subarray(4));
}

/** The payloads of the next requests. */
async function requests(peer: RawPeer, n: number): Promise<string[]> {
  const got: string[] = [];
  while (got.length < n) got.push(payload(await peer.nextOf(KIND.REQUEST)));
  return got;
}

test("[L12] resend never: a lost connection rejects all its calls, each with its true outcome, and the next connection gets none of them", async () => {
  const t = new Reconnecting(["peer"], { resend });
  let peer = await t.ready({ calls: 1 });
  const sent = t.go("sent");
  const queued = t.go("queued");
  await settle();
  await peer.reset();
  assertEquals(await failureOf(sent), ["unavailable", "unknown"]);
  assertEquals(await failureOf(queued), ["unavailable", "not_sent"]);
  await t.advance(50);
  peer = await t.ready();
  t.go("new");
  assertEquals(await requests(peer, 1), ["new"]);
  const { resent, waiting } = t.client.stats();
  assertEquals({ resent, waiting }, { resent: 0, waiting: 0 });
  await t.over();
});

test("[L12] resend never: a call that is still in the batch of the lost connection rejects, not sent", async () => {
  const t = new Reconnecting(["peer"], { resend });
  await t.ready();
  const batched = t.go("batched");
  const { sent } = batched;
  t.lose();
  assertEquals(await failureOf(batched), ["unavailable", "not_sent"]);
  assertEquals(await sent, false);
  await t.over();
});

test("[L12] resend never: a GOAWAY rejects the calls above its id, refused, and those that wait for the window, not sent; the others finish", async () => {
  const t = new Reconnecting(["peer"], { resend });
  const old = await t.ready({ calls: 2 });
  const handles = ["0", "1", "2"].map((params) => t.go(params));
  await settle();
  await sendGoaway(old, 1);
  assertEquals(await failureOf(handles[1]), ["unavailable", "refused"]);
  assertEquals(await failureOf(handles[2]), ["unavailable", "not_sent"]);
  await t.advance(50);
  const peer = await t.ready();
  const next = t.go("3");
  assertEquals(await requests(peer, 1), ["3"]);
  await old.send(reply(1, "old"));
  await peer.send(reply(1, "new"));
  assertEquals([await handles[0].reply, await next.reply], ["old", "new"]);
  assertEquals(t.client.stats().resent, 0);
  await t.over();
});

test("[L12] resend never: idempotent calls are not sent again either, neither by the client's option nor by the call's", async () => {
  const t = new Reconnecting(["peer"], { resend, idempotent: ["m"] });
  const peer = await t.ready();
  const byMethod = t.go("0");
  const byCall = t.client.go("n", "1", { idempotent: true });
  await settle();
  await peer.reset();
  for (const handle of [byMethod, byCall]) {
    assertEquals(await failureOf(handle), ["unavailable", "unknown"]);
  }
  assertEquals(t.client.stats().waiting, 0);
  await t.over();
});

test("[L12] resend never: a call made without a connection waits for one, and is sent once", async () => {
  const t = new Reconnecting(["peer"], { resend });
  const early = t.go("early");
  let peer = await t.ready();
  assertEquals(await requests(peer, 1), ["early"]);
  await peer.reset();
  assertEquals(await failureOf(early), ["unavailable", "unknown"]);
  const away = t.go("away");
  await t.advance(50);
  peer = await t.ready();
  assertEquals(await requests(peer, 1), ["away"]);
  await peer.send(reply(1, "ok"));
  assertEquals(await away.reply, "ok");
  await t.over();
});

test("[L12] resend never: a call made in the turn in which its connection was lost is one made without a connection", async () => {
  for (const whenOffline of ["wait", "reject"] as const) {
    for (const inFlight of [true, false]) {
      const t = new Reconnecting(["peer"], { resend, whenOffline });
      await t.ready();
      const lost = inFlight ? t.go("lost") : undefined;
      await settle();
      t.lose();
      const made = t.go("made");
      if (lost !== undefined) {
        assertEquals((await failureOf(lost))[1], "unknown");
      }
      if (whenOffline === "reject") {
        assertEquals(await failureOf(made), ["unavailable", "not_sent"]);
      } else {
        assertEquals(t.client.stats().waiting, 1);
        await t.advance(50);
        const peer = await t.ready();
        assertEquals(await requests(peer, 1), ["made"]);
        await peer.send(reply(1, "ok"));
        assertEquals(await made.reply, "ok");
      }
      assertEquals(t.client.stats().resent, 0);
      await t.over();
    }
  }
});

test("[L12] resend never: a call made on a connection that its user closes waits for the next one", async () => {
  const t = new Reconnecting(["peer"], { resend });
  const old = await t.ready();
  const first = t.go("first");
  await settle();
  t.client.connection?.close({ timeout: Infinity });
  await settle();
  const made = t.go("made");
  assertEquals(t.client.state, "waiting");
  await t.advance(50);
  const peer = await t.ready();
  assertEquals(await requests(peer, 1), ["made"]);
  await old.send(reply(1, "old"));
  await peer.send(reply(1, "new"));
  assertEquals([await first.reply, await made.reply], ["old", "new"]);
  await t.over();
});

test("[L12] resend never, whenOffline reject: a call that a closing connection does not accept rejects, and the next connection is dialled", async () => {
  const t = new Reconnecting(["peer"], { resend, whenOffline: "reject" });
  const old = await t.ready();
  const first = t.go("first");
  await settle();
  t.client.connection?.close({ timeout: Infinity });
  assertEquals(await failureOf(t.go("0")), ["unavailable", "not_sent"]);
  assertEquals(t.client.connection, undefined);
  await t.advance(50);
  const peer = await t.ready();
  const next = t.go("1");
  assertEquals(await requests(peer, 1), ["1"]);
  await old.send(reply(1, "old"));
  await peer.send(reply(1, "new"));
  assertEquals([await first.reply, await next.reply], ["old", "new"]);
  await t.over();
});

test("[L12] resend never, whenOffline reject: a call made before its caller could learn of an unknown one is not sent", async () => {
  const t = new Reconnecting(["peer"], { resend, whenOffline: "reject" });
  let peer = await t.ready();
  const first = t.go("0");
  await settle();
  const made: CallHandle<unknown>[] = [];
  const known = first.reply.catch(() => made.push(t.go("knowing")));
  queueMicrotask(() => made.push(t.go("unknowing")));
  t.lose();
  await known;
  for (const handle of made) {
    assertEquals(await failureOf(handle), ["unavailable", "not_sent"]);
  }
  await t.advance(50);
  peer = await t.ready();
  t.go("next");
  assertEquals(await requests(peer, 1), ["next"]);
  await t.over();
});

test("[L12] resend never: a notify whose connection goes rejects, and is not sent again", async () => {
  const t = new Reconnecting(["peer"], { resend });
  let peer = await t.ready({ calls: 1 });
  await t.client.notify("m", "0");
  const waiting = t.client.notify("m", "1");
  const rejected = assertRejects(() => waiting, RpcError);
  await settle();
  await peer.reset();
  const { code, outcome } = await rejected;
  assertEquals([code, outcome], ["unavailable", "not_sent"]);
  await t.advance(50);
  peer = await t.ready();
  t.go("2");
  assertEquals(await requests(peer, 1), ["2"]);
  await t.over();
});

test("[L12] resend never: middleware sees the rejection once, and may send the call again itself", async () => {
  const outcomes: unknown[] = [];
  const again = clientMiddleware(async (_call, next) => {
    try {
      return await next();
    } catch (error) {
      outcomes.push(error instanceof RpcError ? error.outcome : error);
      return await next();
    }
  });
  const t = new Reconnecting(["peer"], { resend, use: again });
  let peer = await t.ready();
  const handle = t.go("x");
  await settle();
  await sendGoaway(peer);
  await t.advance(50);
  peer = await t.ready();
  assertEquals(await requests(peer, 1), ["x"]);
  await peer.send(reply(1, "ok"));
  assertEquals(await handle.reply, "ok");
  assertEquals(outcomes, ["refused"]);
  assertEquals(t.client.stats().resent, 0);
  await t.over();
});

/** A stream of params that notes why it was cancelled. */
function source() {
  const { promise: cancelled, resolve } = Promise.withResolvers<unknown>();
  const stream = new ReadableStream<number>({
    pull: (controller) => controller.enqueue(1),
    cancel: resolve,
  });
  return { stream, cancelled };
}

test("[L12] resend never: a call with a stream as params rejects, in flight and in the queue, and its source is cancelled", async () => {
  const t = new Reconnecting(["peer"], { resend });
  const peer = await t.ready({ calls: 1, streams: true });
  for (const outcome of ["unknown", "not_sent"] as const) {
    const { stream, cancelled } = source();
    const handle = t.go(stream);
    await settle();
    if (outcome === "not_sent") await peer.reset();
    const error = handle.reply.catch((error) => error);
    cancelled.then(async (reason) => assertStrictEquals(reason, await error));
    handle.settled.then((settled) => assertEquals(settled, outcome));
  }
  await settle();
  assertEquals(t.client.stats().settled.unknown, 1);
  assertEquals(t.client.stats().settled.not_sent, 1);
  assertEquals(t.client.stats().waiting, 0);
  await t.over();
});

test("[L12] resend never: a stream that a lost connection was sending fails for its reader, and the call stays executed", async () => {
  const dials: Server<object>[] = [];
  const services = {
    S: {
      items: async function* () {
        yield 1;
        await new Promise(() => {});
      },
    },
  };
  const client = new ReconnectingClient<typeof services>(() => {
    const [near, far] = memoryPair();
    const server = new Server(services);
    server.accept(far);
    dials.push(server);
    return near;
  }, { resend, retry: { base: 1, cap: 1 } });
  const handle = client.go("S.items");
  const reader = (await handle.reply)[Symbol.asyncIterator]();
  assertEquals(await reader.next(), { done: false, value: 1 });
  client.connection?.abort(new Error("lost"));
  const error = await assertRejects(() => reader.next(), RpcError);
  assertEquals([error.code, error.outcome], ["unavailable", "executed"]);
  assertEquals(await handle.settled, "executed");
  await client.ready;
  assertEquals(client.stats().resent, 0);
  await client.close();
  await Promise.all(dials.map((server) => server.close({ timeout: 0 })));
});

test("[L12] resend never: a client that closes still sends what waits for a connection, but nothing twice", async () => {
  const t = new Reconnecting(["peer"], { resend });
  const handles = ["0", "1"].map((params) => t.go(params));
  const closing = t.client.close({ timeout: 1000 });
  const peer = await t.ready();
  assertEquals(await requests(peer, 2), ["0", "1"]);
  await sendGoaway(peer, 1);
  assertEquals(await failureOf(handles[1]), ["unavailable", "refused"]);
  await peer.send(reply(1, "ok"));
  assertEquals(await handles[0].reply, "ok");
  await settle();
  await peer.end();
  await closing;
  assertEquals(t.dials.count, 1);
  assertNothingIsLeft(t);
});

test("resend never: answers, deadlines and aborts settle a call as ever", async () => {
  const t = new Reconnecting(["peer"], { resend });
  const peer = await t.ready();
  const answered = t.go("0");
  const late = t.go("1", { timeout: 10 });
  const aborted = t.go("2");
  await settle();
  await peer.send(reply(1, "ok"));
  assertEquals(await answered.reply, "ok");
  await t.clock.advance(10);
  assertEquals(
    (await assertRejects(() => late.reply, RpcError)).code,
    "deadline_exceeded",
  );
  const reason = new Error("changed my mind");
  aborted.abort(reason);
  assertStrictEquals(await aborted.reply.catch((error) => error), reason);
  assertEquals(t.client.state, "ready");
  await t.over();
});

test("[L12] resend never: twenty thousand calls of a lost connection reject, each with an error of its own", async () => {
  const t = new Reconnecting(["peer"], { resend });
  const peer = await t.ready({ calls: 1000 });
  const handles = Array.from({ length: 20_000 }, () => t.go("x"));
  await settle();
  await peer.reset();
  const errors = new Set<unknown>();
  for (const { reply } of handles) await reply.catch((e) => errors.add(e));
  assertEquals(errors.size, handles.length);
  const { settled, waiting } = t.client.stats();
  assertEquals([settled.unknown, settled.not_sent], [1000, 19_000]);
  assertEquals(waiting, 0);
  await t.over();
});

test("an option resend that is neither safe nor never throws, and nothing is dialled", () => {
  let dials = 0;
  for (const resend of ["always", null, 1, Symbol("s")]) {
    const options = { resend } as unknown as ReconnectingClientOptions;
    const dial = () => {
      dials++;
      return memoryPair()[0];
    };
    assertThrows(
      () => new ReconnectingClient(dial, options),
      TypeError,
      'Cannot use resend: give "safe" or "never", received',
    );
  }
  assertEquals(dials, 0);
});

/** A log that may only grow at its end, and servers that append to it in order. */
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
        // So that a later call could overtake this one.
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

/**
 * Appends 0 to 599 to a log under these events, as fast as it can. Whenever a
 * call fails or the state changes, the caller lets all earlier calls settle,
 * asks how far the log has come, and goes on from there.
 */
async function replicate(
  events: readonly Event[],
  options: ReconnectingClientOptions,
): Promise<ReplicatedLog> {
  const log = new ReplicatedLog();
  let stopped = false;
  const stop = () => void (stopped = true);
  const client = new ReconnectingClient<ReplicatedLog["services"]>(log.dial, {
    retry: { base: 1, cap: 1 },
    onStateChange: stop,
    ...options,
  });
  const append = async () => {
    for (let at = 0;;) {
      const calls: Promise<unknown>[] = [];
      await client.ready;
      stopped = false;
      while (at < 600 && !stopped) {
        if (client.desiredSize <= 0) await client.ready;
        if (stopped) break;
        calls.push(client.call("Log.append", at++).catch(stop));
        if (at % 50 === 0) await turn();
      }
      await Promise.all(calls);
      if (!stopped) return;
      const length = await client.call("Log.length").catch(() => undefined);
      at = length ?? 0;
    }
  };
  const appended = append();
  for (const event of events) {
    if (event === "lose") client.connection?.abort(new Error("lost"));
    else if (event === "restart") log.restart();
    await turn();
  }
  await appended;
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

const inOrder = { resend, whenOffline: "reject" } as const;

test("[L12] [L10] a caller that keeps the order of a replicated log gets no hole, whenever connections are lost and servers restarted", async () => {
  await fc.assert(
    fc.asyncProperty(anyEvents, async (events) => {
      const log = await replicate(events, inOrder);
      assertEquals(log.holes, []);
      assertEquals(log.entries.length, 600);
    }),
    { numRuns: 30 },
  );
});

test("with the default options the same log has holes, which is what the test above is there to see", async () => {
  const events = Array.from(
    { length: 150 },
    (_, i): Event => i % 9 === 5 ? "lose" : i % 13 === 7 ? "restart" : "turn",
  );
  assert((await replicate(events, {})).holes.length > 0);
  assertEquals((await replicate(events, inOrder)).holes, []);
});
