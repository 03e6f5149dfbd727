// Request ids that come round to a call without an answer, and what a
// connection leaves behind when the user's own code ends it in the middle of a
// start.

import { assertEquals } from "@std/assert";
import { test } from "node:test";
import {
  type CallContext,
  Client,
  type Connection,
  memoryPair,
  method,
  ordered,
  Server,
} from "../../mod.ts";
import { netrpc } from "../../netrpc.ts";
import { settle, TestClock } from "../support/clock.ts";
import {
  assertCloses,
  assertLost,
  faceServer,
  greet,
  serializerField,
} from "../support/facing.ts";
import { ascii, RawBytePeer } from "../support/go_peer.ts";
import { faceJsonServer } from "../support/json_peer.ts";
import { assertNothingLeft } from "../support/pair.ts";
import { frame, hello, KIND, RawPeer, request } from "../support/raw_peer.ts";

/** From one id to the same again, by steps that all look like an increase. */
function round(id: number): number[] {
  return [(id + 0x7fffffff) >>> 0, (id + 0xfffffffe) >>> 0, id];
}

const STREAM = [5];
const GO_CALL = '{"method":"Test.hold","params":[1],"id":7}\n';

/** A service whose handlers end when the test releases them, whatever their signals say. */
function holding() {
  const contexts: CallContext[] = [];
  const released = Promise.withResolvers<string>();
  const hold = (_: unknown, ctx: CallContext) => {
    contexts.push(ctx);
    return released.promise;
  };
  const schema = {
    "~standard": {
      version: 1 as const,
      vendor: "test",
      validate: (value: unknown) => released.promise.then(() => ({ value })),
    },
  };
  const services = {
    Test: {
      call: () => "answered",
      hold,
      checked: method(schema, hold),
      rows: async function* (_: unknown, ctx: CallContext) {
        contexts.push(ctx);
        try {
          yield await released.promise;
        } finally {
          await released.promise;
        }
      },
    },
    Line: ordered({ hold }),
  };
  const signals = () => contexts.map(({ signal }) => signal.aborted);
  return { services, signals, release: () => released.resolve("late") };
}

/** The states of a call of the peer's that has no reply, as the frames that bring it there. */
const PLACES: [string, Uint8Array[], number][] = [
  ["running", [request(1, "Test.hold")], 1],
  ["cancelled, and running", [
    request(1, "Test.hold"),
    frame(KIND.CANCEL, 1),
  ], 1],
  ["being validated", [request(1, "Test.checked")], 0],
  ["streaming its result", [request(1, "Test.rows")], 1],
  ["reading its params", [request(1, "Test.hold", STREAM)], 1],
];

for (const [where, frames, handlers] of PLACES) {
  test(`[X1] the id of a call that is ${where} is in use, and closes when it is used again`, async () => {
    const { services, signals, release } = holding();
    const facing = faceServer(services);
    await greet(facing, { streams: true });
    await facing.peer.send(...frames);
    await settle();
    const ids = round(1);
    await facing.peer.send(...ids.map((id) => request(id, "Test.call")));
    const { text, lastId } = await assertCloses(facing, "protocol_error");
    assertEquals(text, "request id 1 is that of a call that has no answer yet");
    assertEquals(lastId, ids[1]);
    assertEquals(signals(), new Array(handlers).fill(true));
    release();
    await settle();
    assertEquals(facing.connection.stats().running, 0);
    assertNothingLeft(facing.connection);
  });
}

test("[X1] the id of a call that waits to start, for whatever reason, is in use", async () => {
  const places: [string, Parameters<typeof faceServer>[1], string[]][] = [
    ["for room", { maxRunning: 1 }, ["Test.hold", "Test.call"]],
    ["for its order", {}, ["Line.hold", "Line.hold"]],
    ["for the verdict", { authorize: () => new Promise(() => {}) }, [
      "Test.call",
      "Test.call",
    ]],
  ];
  for (const [why, options, [first, second]] of places) {
    const { services, signals, release } = holding();
    const facing = faceServer(services, options);
    await facing.peer.send(hello());
    await facing.peer.send(request(0, first), request(1, second));
    await settle();
    assertEquals(facing.connection.stats().receiving, 2, why);
    const ids = round(1);
    await facing.peer.send(...ids.map((id) => request(id, "No.such")));
    const frames = await facing.peer.rest();
    assertEquals(frames.at(-1)?.kind, KIND.GOAWAY, why);
    await facing.peer.end();
    const reason = await facing.connection.closed;
    assertEquals(reason?.code, "protocol_error", why);
    assertEquals(signals(), why === "for the verdict" ? [] : [true], why);
    release();
    await settle();
    assertEquals(facing.connection.stats().running, 0);
    assertNothingLeft(facing.connection);
  }
});

test("[X1] an id is free again once its call has been answered, with others still running", async () => {
  const { services, release } = holding();
  const facing = faceServer(services);
  await greet(facing);
  const { peer, connection } = facing;
  await peer.send(request(7, "Test.hold"));
  const ids = [1000, ...round(1000), ...round(1000), ...round(1000)];
  for (const id of ids) {
    await peer.send(request(id, "Test.call"));
    const answer = await peer.next();
    assertEquals([answer?.kind, answer?.id], [KIND.REPLY, id]);
  }
  assertEquals(connection.stats().running, 1);
  release();
  assertEquals((await peer.next())?.id, 7);
  // Now nothing is in use, however far the ids go.
  for (const id of round(1000)) {
    await peer.send(request(id, "Test.call"));
    assertEquals((await peer.next())?.id, id);
  }
  await assertLost(facing);
});

test("[X1] after the local GOAWAY an id in use closes, too", async () => {
  const { services, signals, release } = holding();
  const facing = faceServer(services);
  await greet(facing);
  await facing.peer.send(request(1, "Test.hold"));
  await settle();
  facing.connection.close();
  await facing.peer.nextOf(KIND.GOAWAY);
  const ids = round(1);
  await facing.peer.send(...ids.map((id) => request(id, "Test.call")));
  await assertCloses(facing, "protocol_error");
  assertEquals(signals(), [true]);
  release();
});

test("[X1] handlers of connections that reused ids free their slots of the server", async () => {
  const { services, signals, release } = holding();
  const server = new Server(services, {
    clock: new TestClock(),
    maxTotalRunning: 8,
  });
  const connections: Connection[] = [];
  for (let i = 0; i < 8; i++) {
    const peer = new RawPeer();
    connections.push(server.accept(peer.duplex));
    const ids = [1, ...round(1), ...round(1), ...round(1)];
    await peer.send(hello(), ...ids.map((id) => request(id, "Test.hold")));
    await settle();
    await peer.end();
    await connections[i].closed;
    assertNothingLeft(connections[i]);
  }
  assertEquals(signals().includes(false), false);
  release();
  await settle();
  const [near, far] = memoryPair();
  server.accept(far);
  const client = new Client<typeof services>(near);
  assertEquals(await client.call("Test.hold"), "late");
  await client.close();
  await server.close();
});

test("[X1] on other protocols two calls with one id are two calls, and the signals of both fire", async () => {
  const { services, signals, release } = holding();
  const { Test: { hold } } = services;
  const json = faceJsonServer({ Test: { hold } });
  const call = { jsonrpc: "2.0", id: 1, method: "Test.hold" };
  await json.peer.send(call, call, [call, call]);
  const go = new RawBytePeer();
  const server = new Server<object>({ Test: { hold } }, {
    protocol: netrpc({ encoding: "json" }),
  });
  const connection = server.accept(go.duplex);
  await go.send(ascii(GO_CALL + GO_CALL));
  await settle();
  assertEquals(signals(), new Array(6).fill(false));
  for (const each of [json.connection, connection]) await each.abort();
  assertEquals(signals(), new Array(6).fill(true));
  release();
  await settle();
  for (const each of [json.connection, connection]) {
    assertEquals(each.stats().running, 0);
    assertNothingLeft(each);
  }
});

/** A schema that calls `act`, and lets everything pass; its result is a promise if `later` is set. */
function schemaThat(act: () => void, later: boolean) {
  const validate = (value: unknown) => {
    act();
    return later ? Promise.resolve({ value }) : { value };
  };
  return { "~standard": { version: 1 as const, vendor: "test", validate } };
}

test("[X1] nothing is started, kept or timed once the user's code has ended the connection before the handler", async () => {
  let connection: Connection | undefined;
  let started = 0;
  const end = () => void connection?.abort("in the middle of a start");
  const run = () => void started++;
  const serializer = {
    name: "ends",
    encode: () => new Uint8Array(1),
    decode: end,
  };
  const key = () => {
    end();
    return 1;
  };
  const services = {
    Plain: { call: run },
    Schema: { call: method(schemaThat(end, false), run) },
    Later: { call: method(schemaThat(end, true), run) },
    Keyed: { call: ordered(run, { key }) },
    Both: { call: ordered(method(schemaThat(end, true), run), { key }) },
  };
  const CUSTOM = [4, 0];
  const params = { Plain: CUSTOM, Schema: "x", Later: "x", Keyed: "x" };
  // At once, and after having waited for the only place.
  for (const waits of [false, true]) {
    for (const [name, payload] of Object.entries({ ...params, Both: "x" })) {
      started = 0;
      const release = Promise.withResolvers<void>();
      const facing = faceServer(
        { ...services, First: { hold: () => release.promise } },
        { serializer, maxRunning: 1 },
      );
      connection = facing.connection;
      await facing.peer.send(hello({ extra: serializerField("ends") }));
      if (waits) await facing.peer.send(request(1, "First.hold"));
      await facing.peer.send(
        request(2, `${name}.call`, payload, 60_000),
        request(3, `${name}.call`, payload, 60_000),
      );
      await settle();
      release.resolve();
      await settle();
      await facing.connection.closed;
      const { running, waiting } = facing.connection.stats();
      assertEquals([name, started, running, waiting], [name, 0, 0, 0]);
      assertEquals(facing.clock.timers, 0, name);
      assertNothingLeft(facing.connection);
    }
  }
});
