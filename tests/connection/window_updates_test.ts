// [WI6] to [WI9]: windows of calls that move while the connection lives.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { test } from "node:test";
import {
  callable,
  type CallContext,
  Client,
  type Connection,
  memoryPair,
  RpcError,
  Server,
} from "../../mod.ts";
import { JsonRpcServer } from "../../jsonrpc.ts";
import { settle } from "../support/clock.ts";
import {
  assertCloses,
  assertLost,
  faceClient,
  faceServer,
  type Facing,
  greet,
} from "../support/facing.ts";
import { assertNothingLeft, pair } from "../support/pair.ts";
import {
  failure,
  hello,
  join,
  KIND,
  reply,
  request,
  window,
} from "../support/raw_peer.ts";
import { Held } from "../support/services.ts";

/** Bytes of the least window: room for one message of the default `maxMessage`. */
const LEAST = (4 << 20) + 12;
const BYTES = 16 << 20;

/** The next WINDOW frame, as numbers: its id, calls, bytes, and whether it is an ACK. */
async function nextWindow({ peer }: Facing): Promise<unknown[]> {
  const { id, body, flags } = await peer.nextOf(KIND.WINDOW);
  const view = new DataView(body.buffer, body.byteOffset);
  return [id, view.getUint32(0), view.getUint32(4), flags === 1];
}

/** A server that holds its calls, and whose peer takes WINDOW. */
async function holding(
  options: { windowCalls?: number; windowBytes?: number } = {},
): Promise<Facing & { readonly held: Held }> {
  const held = new Held();
  const facing = faceServer(held.services, options);
  await greet(facing, { windows: true });
  return { ...facing, held };
}

// The caller.

test("[WI7] a caller confirms a window behind the requests of the old one", async () => {
  const facing = faceClient();
  const { peer, connection: client } = facing;
  await greet(facing, { calls: 3 });
  for (let i = 0; i < 5; i++) client.go("m").reply.catch(() => {});
  // Read in one turn with what makes the client send: the ACK comes last.
  await peer.send(window(1, 1));
  const kinds: number[] = [];
  for (let i = 0; i < 4; i++) kinds.push((await peer.next())!.kind);
  const { REQUEST, WINDOW } = KIND;
  assertEquals(kinds, [REQUEST, REQUEST, REQUEST, WINDOW]);
  const { inFlight, queued, peerWindowCalls } = client.stats();
  assertEquals([inFlight, queued, peerWindowCalls], [3, 2, 1]);
  // Two of three answered: one counts, and the window of one is full.
  await peer.send(reply(1), reply(2));
  await settle();
  assertEquals(client.stats().queued, 2);
  await peer.send(reply(3));
  await settle();
  assertEquals(client.stats().queued, 1);
  await peer.send(window(2, 2));
  await settle();
  assertEquals(client.stats().queued, 0);
  await assertLost(facing);
});

test("[WI7] with a window of 0 calls all calls wait, and none fails but by its deadline", async () => {
  const facing = faceClient();
  const { peer, connection: client, clock } = facing;
  await greet(facing);
  await peer.send(window(1, 0));
  assertEquals(await nextWindow(facing), [1, 0, BYTES, true]);
  const call = client.go("m");
  const late = client.go("m", undefined, { timeout: 50 });
  const aborted = client.go("m");
  let ready = false;
  client.ready.then(() => ready = true);
  assertEquals([client.desiredSize, client.stats().queued], [-3, 3]);
  await clock.advance(50);
  aborted.abort();
  const error = await assertRejects(() => late.reply, RpcError);
  assertEquals([error.code, error.outcome], ["deadline_exceeded", "not_sent"]);
  assertEquals(await aborted.settled, "not_sent");
  aborted.reply.catch(() => {});
  assertEquals(ready, false);
  await peer.send(window(2, 5));
  assertEquals((await peer.nextOf(KIND.REQUEST)).id, 1);
  await peer.send(reply(1));
  assertEquals(await call.reply, "ok");
  await settle();
  assertEquals([ready, client.desiredSize], [true, 5]);
  await assertLost(facing);
});

test("a window that is raised wakes calls without a reply", async () => {
  const facing = faceClient();
  const { peer, connection: client } = facing;
  await greet(facing, { calls: 1 });
  for (let i = 0; i < 3; i++) client.go("m").reply.catch(() => {});
  await peer.nextOf(KIND.REQUEST);
  await peer.send(window(1, 3));
  await peer.nextOf(KIND.REQUEST);
  await peer.nextOf(KIND.REQUEST);
  await assertLost(facing);
});

test("a lower window of bytes makes calls wait that it has no room for now", async () => {
  const facing = faceClient();
  const { peer, connection: client } = facing;
  await greet(facing);
  await peer.send(window(1, 10, LEAST));
  await settle();
  const big = new Uint8Array(3 << 20);
  client.go("m", big).reply.catch(() => {});
  client.go("m", big).reply.catch(() => {});
  assertEquals([client.stats().inFlight, client.stats().queued], [1, 1]);
  await peer.nextOf(KIND.REQUEST);
  await peer.send(failure(1, "x", "", true));
  await settle();
  assertEquals([client.stats().inFlight, client.stats().queued], [1, 0]);
  await assertLost(facing);
});

test("a call that HELLO has no room for fails, whatever was granted later", async () => {
  const facing = faceClient();
  const { peer, connection: client } = facing;
  await greet(facing, { bytes: 100 });
  await peer.send(window(1, 10, 1000));
  await settle();
  const call = () => client.call("m", new Uint8Array(200));
  const error = await assertRejects(call, RpcError, "windowBytes, 100 bytes");
  assertEquals(error.outcome, "not_sent");
  await assertLost(facing);
});

const WRONG: [string, Parameters<typeof greet>[1], Uint8Array][] = [
  ["a first number that is not 1", {}, window(2, 1)],
  ["a number twice", {}, join(window(1, 1), window(1, 1))],
  [
    "an update before the ACK of the last",
    {},
    join(window(1, 1), window(2, 1)),
  ],
  ["too many calls", {}, window(1, (1 << 24) + 1)],
  ["no room for one message", {}, window(1, 1, LEAST - 1)],
  ["less than the bytes of HELLO", { bytes: 500 }, window(1, 1, 499)],
  ["calls of a peer that serves nothing", { calls: 0 }, window(1, 1)],
  ["an ACK of no update", {}, window(1, 1, BYTES, true)],
];

for (const [name, fields, bytes] of WRONG) {
  test(`[I10] ${name} is a fault`, async () => {
    for (const facing of [faceClient(), faceServer({ A: { a() {} } })]) {
      await greet(facing, fields);
      await facing.peer.send(bytes);
      await assertCloses(facing, "protocol_error");
    }
  });
}

test("the least legal windows are no fault", async () => {
  const facing = faceClient();
  await greet(facing, { bytes: 500 });
  await facing.peer.send(window(1, 1 << 24, 500));
  assertEquals(await nextWindow(facing), [1, 1 << 24, 500, true]);
  await facing.peer.send(window(2, 0, 0xffffffff));
  assertEquals(await nextWindow(facing), [2, 0, 0xffffffff, true]);
  await assertLost(facing);
});

// The callee.

test("[WI9] a lowered window holds from its ACK on", async () => {
  const facing = await holding({ windowCalls: 100 });
  const { peer, connection } = facing;
  connection.setWindow({ windowCalls: 2 });
  assertEquals(await nextWindow(facing), [1, 2, BYTES, false]);
  // The peer has not read it: all that HELLO granted is accepted.
  const ids = Array.from({ length: 100 }, (_, i) => i + 1);
  await peer.send(...ids.map((id) => request(id, "Held.work")));
  await settle();
  assertEquals(connection.stats().receiving, 100);
  assertEquals(connection.stats().windowCalls, 100);
  await peer.send(window(1, 2, BYTES, true));
  await settle();
  assertEquals(connection.stats().windowCalls, 2);
  await peer.send(request(101, "Held.work"));
  await assertCloses(facing, "resource_exhausted");
});

test("[WI9] calls that are above the lowered window stay, and leave it one by one", async () => {
  const facing = await holding({ windowCalls: 4 });
  const { peer, connection, held } = facing;
  const work = (id: number) => request(id, "Held.work");
  await peer.send(work(1), work(2), work(3));
  connection.setWindow({ windowCalls: 1 });
  await nextWindow(facing);
  await peer.send(window(1, 1, BYTES, true));
  await settle();
  assertEquals(connection.stats().receiving, 3);
  held.release("ok");
  for (let i = 0; i < 3; i++) await peer.nextOf(KIND.REPLY);
  await peer.send(work(4));
  await settle();
  assertEquals(connection.stats().receiving, 1);
  await peer.send(work(5));
  await assertCloses(facing, "resource_exhausted");
});

test("[WI9] an ACK ends the constants of before HELLO", async () => {
  const facing = await holding({ windowCalls: 2 });
  const { peer, connection } = facing;
  connection.setWindow({ windowCalls: 1 });
  await nextWindow(facing);
  await peer.send(request(1, "Held.work"), window(1, 1, BYTES, true));
  await settle();
  await peer.send(request(2, "Held.work"));
  await assertCloses(facing, "resource_exhausted");
});

test("[WI9] a raised window holds from when it is sent", async () => {
  const facing = await holding({ windowCalls: 100 });
  const { peer, connection } = facing;
  connection.setWindow({ windowCalls: 200 });
  await nextWindow(facing);
  const ids = Array.from({ length: 201 }, (_, i) => i + 1);
  await peer.send(window(1, 200, BYTES, true));
  await peer.send(...ids.slice(0, 200).map((id) => request(id, "Held.work")));
  await settle();
  assertEquals(connection.stats().receiving, 200);
  await peer.send(request(201, "Held.work"));
  await assertCloses(facing, "resource_exhausted");
});

test("[WI6] one update waits for its ACK, and later ones are joined", async () => {
  const facing = await holding();
  const { peer, connection } = facing;
  for (let n = 1; n <= 1000; n++) connection.setWindow({ windowCalls: n });
  connection.setWindow({ windowBytes: LEAST });
  assertEquals(await nextWindow(facing), [1, 1, BYTES, false]);
  await peer.send(window(1, 1, BYTES, true));
  assertEquals(await nextWindow(facing), [2, 1000, LEAST, false]);
  // Back to what was sent: nothing is left to send.
  connection.setWindow({ windowCalls: 5 });
  connection.setWindow({ windowCalls: 1000 });
  await peer.send(window(2, 1000, LEAST, true));
  await settle();
  await peer.send(request(1, "Held.echo"));
  assertEquals((await peer.next())?.kind, KIND.REPLY);
  await assertLost(facing);
});

for (
  const [name, ack] of [
    ["another number", window(2, 5, BYTES, true)],
    ["other calls", window(1, 6, BYTES, true)],
    ["other bytes", window(1, 5, BYTES + 1, true)],
    ["it twice", join(window(1, 5, BYTES, true), window(1, 5, BYTES, true))],
  ] as const
) {
  test(`[I10] an ACK of ${name} is a fault`, async () => {
    const facing = await holding();
    facing.connection.setWindow({ windowCalls: 5 });
    await nextWindow(facing);
    await facing.peer.send(ack);
    await assertCloses(facing, "protocol_error");
  });
}

test("a peer that takes no WINDOW keeps its window", async () => {
  const held = new Held();
  const facing = faceServer(held.services, { windowCalls: 80 });
  const { peer, connection } = facing;
  connection.setWindow({ windowCalls: 1 });
  await greet(facing);
  const ids = Array.from({ length: 80 }, (_, i) => i + 1);
  await peer.send(...ids.map((id) => request(id, "Held.work")));
  await settle();
  const { receiving, windowCalls } = connection.stats();
  assertEquals([receiving, windowCalls], [80, 80]);
  held.release("ok");
  for (let i = 0; i < 80; i++) {
    assertEquals((await peer.next())?.kind, KIND.REPLY);
  }
  await assertLost(facing);
});

test("a window that is set before the peer's HELLO, or before it is authorized, is sent then", async () => {
  const decision = Promise.withResolvers<boolean>();
  const facing = faceServer({ A: { a() {} } }, {
    authorize: () => decision.promise,
  });
  const { peer, connection } = facing;
  connection.setWindow({ windowCalls: 7 });
  await peer.send(hello({ windows: true }));
  await settle();
  decision.resolve(true);
  assertEquals((await peer.next())?.kind, KIND.HELLO);
  assertEquals(await nextWindow(facing), [1, 7, BYTES, false]);
  await assertLost(facing);
});

test("no window is sent once the connection drains, and its ACK may still come", async () => {
  const facing = await holding();
  const { peer, connection, held } = facing;
  await peer.send(request(1, "Held.work"));
  connection.setWindow({ windowCalls: 5 });
  await nextWindow(facing);
  const closed = connection.close();
  // Behind the warning, which the peer answers with LAST.
  await peer.nextOf(KIND.GOAWAY);
  connection.setWindow({ windowCalls: 6 });
  await peer.send(window(1, 5, BYTES, true));
  await settle();
  held.release("ok");
  const kinds = (await peer.rest()).map(({ kind }) => kind);
  assertEquals(kinds, [KIND.REPLY]);
  await peer.end();
  await closed;
  connection.setWindow({ windowCalls: 1 });
  assertNothingLeft(connection);
});

test("setWindow throws where it cannot mean anything", async () => {
  const { client, connection, server, close } = pair({ A: { a() {} } });
  const range = (change: Parameters<typeof connection.setWindow>[0]) => {
    assertThrows(() => connection.setWindow(change), RangeError);
    assertThrows(() => server.setWindow(change), RangeError);
  };
  range({ windowCalls: -1 });
  range({ windowCalls: 0.5 });
  range({ windowCalls: (1 << 24) + 1 });
  range({ windowBytes: LEAST - 1 });
  range({ windowBytes: 2 ** 32 });
  const set = () => client.connection.setWindow({ windowCalls: 5 });
  assertThrows(set, TypeError, "serves no calls");
  await close();
  for (
    const silent of [
      new Server({}),
      new Server({ A: { a() {} } }, { windowCalls: 0 }),
    ]
  ) {
    assertThrows(() => silent.setWindow({}), TypeError, "serves no calls");
  }
  const other = new JsonRpcServer({ a() {} });
  const [, far] = memoryPair();
  const accepted = other.accept(far);
  const none = "the protocol has none";
  assertThrows(() => accepted.setWindow({ windowCalls: 5 }), TypeError, none);
  await accepted.abort();
});

test("a server moves the windows of all its connections, also of those to come", async () => {
  const server = new Server({ A: { a: () => "a" } });
  const connect = () => {
    const [near, far] = memoryPair();
    server.accept(far);
    return new Client<{ A: { a: () => string } }>(near);
  };
  const first = connect();
  await first.call("A.a");
  server.setWindow({ windowCalls: 0 });
  await first.connection.ping();
  const second = connect();
  await second.connection.ping();
  await settle();
  const windows = () => [first, second].map((c) => c.stats().peerWindowCalls);
  assertEquals(windows(), [0, 0]);
  assertEquals(server.stats().windowCalls, 0);
  const calls = [first, second].map((c) => c.call("A.a"));
  await settle();
  assertEquals([first, second].map((c) => c.stats().queued), [1, 1]);
  server.setWindow({ windowCalls: 10 });
  assertEquals(await Promise.all(calls), ["a", "a"]);
  assertEquals(windows(), [10, 10]);
  await Promise.all([first.close(), second.close(), server.close()]);
});

test("a client moves the window that it grants its server", async () => {
  const held = new Held();
  let back: Connection | undefined;
  const services = {
    Get: {
      back: (_: undefined, ctx: CallContext) => void (back = ctx.connection),
    },
  };
  const { client, close } = pair(services, {
    client: { services: callable(held.services) },
  });
  await client.call("Get.back");
  client.connection.setWindow({ windowCalls: 1 });
  await client.connection.ping();
  assertEquals(back!.stats().peerWindowCalls, 1);
  const calls = [back!.call("Held.work"), back!.call("Held.work")];
  await client.connection.ping();
  assertEquals(held.calls.length, 1);
  held.release("ok");
  await calls[0];
  await client.connection.ping();
  held.release("ok");
  await calls[1];
  await close();
});

// Both, in random order.

const anyStep = fc.oneof(
  fc.record({ kind: fc.constant("set" as const), calls: fc.nat(6) }),
  fc.record({
    kind: fc.constant("call" as const),
    calls: fc.integer({ min: 1, max: 4 }),
  }),
  fc.record({
    kind: fc.constant("answer" as const),
    calls: fc.integer({ min: 1, max: 4 }),
  }),
  fc.record({ kind: fc.constant("turn" as const), calls: fc.nat(3) }),
);

test("[I10] [WI7] [WI9] in any order of changes, calls and replies nobody is at fault, and the window holds", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { maxLength: 60 }), async (steps) => {
      const held = new Held();
      const server = { windowCalls: 3 };
      const { client, connection, close } = pair(held.services, { server });
      await client.connection.ping();
      const results: Promise<unknown>[] = [];
      let done = 0;
      const check = () => {
        const { inFlight, peerWindowCalls, queued } = client.stats();
        const { receiving } = connection.stats();
        // The callee never counts a call that its caller does not.
        assert(receiving <= inFlight, `${receiving} of ${inFlight}`);
        // Nothing waits that would fit, and nothing was sent that did not.
        if (queued > 0 && peerWindowCalls > 0) assert(inFlight > 0);
      };
      for (const { kind, calls } of steps) {
        const { inFlight } = client.stats();
        if (kind === "set") connection.setWindow({ windowCalls: calls });
        for (let i = 0; i < calls; i++) {
          if (kind === "call") results.push(client.call("Held.work", i));
          else if (kind === "answer") held.calls[done++]?.resolve("ok");
          else if (kind === "turn") await client.connection.ping();
          done = Math.min(done, held.calls.length);
        }
        if (kind === "call") {
          const { inFlight: now, peerWindowCalls } = client.stats();
          assert(now <= Math.max(inFlight, peerWindowCalls));
        }
        check();
      }
      // In the end everything is served, under the window that was set last.
      connection.setWindow({ windowCalls: 2 });
      for (let i = 0; i < 5; i++) await client.connection.ping();
      while (done < results.length) {
        check();
        if (done < held.calls.length) held.calls[done++].resolve("ok");
        else await client.connection.ping();
      }
      await Promise.all(results);
      assertEquals(client.stats().peerWindowCalls, 2);
      assertEquals(connection.stats().windowCalls, 2);
      await close();
    }),
    { numRuns: 60 },
  );
});
