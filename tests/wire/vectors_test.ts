// The golden vectors, sent to a real server or client.

import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { test } from "node:test";
import { type CallContext, RpcError } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import {
  assertCloses,
  assertLost,
  assertOver,
  faceClient,
  faceServer,
  type Facing,
  greet,
  serializerField,
} from "../support/facing.ts";
import { assertNothingLeft } from "../support/pair.ts";
import {
  frame,
  type hello,
  KIND,
  reply,
  request,
} from "../support/raw_peer.ts";
import {
  fromHex,
  type HelloMessage,
  HEX_SERIALIZER,
  type Malformed,
  named,
  ofType,
  optionsFor,
  valueOf,
  type VectorPayload,
  VECTORS,
} from "../support/vectors.ts";

/** What the peer's HELLO needs for a payload. */
function fieldsFor(payload: VectorPayload): Parameters<typeof hello>[0] {
  return payload.kind === "custom"
    ? { extra: serializerField(HEX_SERIALIZER.name) }
    : {};
}

/** Closes a connection gracefully. */
async function finish({ peer, connection }: Facing): Promise<void> {
  const closed = connection.close();
  await peer.rest();
  await peer.end();
  await closed;
  assertEquals(await connection.closed, undefined);
  assertNothingLeft(connection);
}

test("a vector's name stands for one vector, and its length field is right", () => {
  const { valid, malformed, truncated } = VECTORS;
  for (const list of [valid, malformed, truncated]) {
    assertEquals(new Set(list.map(({ name }) => name)).size, list.length);
  }
  for (const { name, bytes } of valid) {
    const length = parseInt(bytes.slice(0, 8), 16);
    assertEquals(bytes.length / 2, 12 + length, name);
  }
});

/** The most that fits in one call under a HELLO, as a body. */
function largestBody(message: HelloMessage): number {
  const { maxMessage = 65_536, windowBytes = 65_536 } = message;
  return Math.min(maxMessage, windowBytes - 12);
}

for (const { name, about, message, bytes } of ofType("hello")) {
  test(`vector ${name} is understood: ${about}`, async () => {
    const custom = message.serializers !== undefined;
    const facing = faceClient(custom ? { serializer: HEX_SERIALIZER } : {});
    const { client, connection, peer } = facing;
    await peer.send(fromHex(bytes));
    await settle();
    const { windowCalls = 64 } = message;
    const call = (size: number) => {
      // With a method of one byte, 4 bytes of the body are not payload.
      const handle = connection.go("m", new Uint8Array(size - 4));
      handle.reply.catch(() => {});
      return handle;
    };
    const most = largestBody(message);
    const tooLarge = await call(most + 1).reply.then(() => {}, (e) => e);
    assertInstanceOf(tooLarge, RpcError);
    assertEquals(tooLarge.outcome, "not_sent");
    if (windowCalls === 0) {
      assertEquals(tooLarge.code, "unavailable");
    } else {
      assertEquals(tooLarge.code, "resource_exhausted");
      call(most);
      assertEquals(client.stats().inFlightBytes, most + 12);
    }
    await assertLost(facing);
  });

  test(`vector ${name} grants its window of calls`, async () => {
    const custom = message.serializers !== undefined;
    const facing = faceClient(custom ? { serializer: HEX_SERIALIZER } : {});
    const { connection, peer } = facing;
    await peer.send(fromHex(bytes));
    await settle();
    const { windowCalls = 64 } = message;
    const handles = Array.from(
      { length: windowCalls + 1 },
      () => connection.go("m"),
    );
    const { inFlight, queued } = connection.stats();
    assertEquals(inFlight, windowCalls);
    assertEquals(queued, windowCalls === 0 ? 0 : 1);
    await assertLost(facing);
    await Promise.all(handles.map((handle) => handle.settled));
  });
}

for (const { name, about, message, bytes } of ofType("request")) {
  test(`vector ${name} is served: ${about}`, async () => {
    const [service, method] = message.method.split(".");
    const seen: { params: unknown; ctx: CallContext; remaining: number }[] = [];
    const handler = (params: unknown, ctx: CallContext) => {
      seen.push({ params, ctx, remaining: ctx.remaining });
    };
    const facing = faceServer(
      { [service]: { [method]: handler } },
      optionsFor(message.payload),
    );
    await greet(facing, fieldsFor(message.payload));
    await facing.peer.send(fromHex(bytes));
    const answer = await facing.peer.next();
    assertEquals([answer?.kind, answer?.id], [KIND.REPLY, message.id]);
    const [{ params, ctx, remaining }] = seen;
    assertEquals(params, valueOf(message.payload));
    assertEquals(ctx.id, message.id);
    assertEquals(ctx.method, message.method);
    assertEquals([...ctx.metadata], message.metadata ?? []);
    assertEquals(remaining, message.remaining ?? Infinity);
    await finish(facing);
  });
}

test("the vectors of dependent calls are served", async () => {
  const seen: unknown[] = [];
  const facing = faceServer({
    Test: {
      call: (params: unknown) => {
        seen.push(params);
        return params;
      },
    },
  });
  await greet(facing);
  const { peer, connection } = facing;
  await peer.send(fromHex(named("request-keep").bytes));
  assertEquals((await peer.next())?.id, 1);
  await peer.send(fromHex(named("request-references").bytes));
  assertEquals((await peer.next())?.id, 2);
  assertEquals(seen, [{ id: 7 }, { author: 7, limit: 3 }]);
  assertEquals(connection.stats().kept, 1);
  await peer.send(fromHex(named("release").bytes));
  await settle();
  assertEquals(connection.stats().kept, 0);
  await finish(facing);
});

for (const { name, about, message, bytes } of ofType("reply")) {
  test(`vector ${name} settles its call: ${about}`, async () => {
    const facing = faceClient({
      firstId: message.id,
      ...optionsFor(message.payload),
    });
    await greet(facing, fieldsFor(message.payload));
    const handle = facing.connection.go("Test.call");
    assertEquals((await facing.peer.next())?.id, message.id);
    await facing.peer.send(fromHex(bytes));
    assertEquals(await handle.reply, valueOf(message.payload));
    assertEquals(await handle.settled, "executed");
    await finish(facing);
  });
}

for (const { name, about, message, bytes } of ofType("error")) {
  test(`vector ${name} rejects its call: ${about}`, async () => {
    const facing = faceClient({ firstId: message.id });
    await greet(facing);
    const handle = facing.connection.go("Test.call");
    assertEquals((await facing.peer.next())?.id, message.id);
    await facing.peer.send(fromHex(bytes));
    const error = await handle.reply.then(() => {}, (reason) => reason);
    assertInstanceOf(error, RpcError);
    assertEquals(error.code, message.code);
    assertEquals(error.message, message.message);
    assertEquals(error.data, valueOf(message.payload));
    const outcome = message.started ? "executed" : "refused";
    assertEquals(error.outcome, outcome);
    assertEquals(await handle.settled, outcome);
    await finish(facing);
  });
}

for (const { name, about, message, bytes } of ofType("cancel")) {
  test(`vector ${name} fires the handler's signal: ${about}`, async () => {
    const started = Promise.withResolvers<CallContext>();
    const release = Promise.withResolvers<string>();
    const facing = faceServer({
      Test: {
        call: (_: unknown, ctx: CallContext) => {
          started.resolve(ctx);
          return release.promise;
        },
      },
    });
    await greet(facing);
    await facing.peer.send(request(message.id, "Test.call"));
    const { signal } = await started.promise;
    assertEquals(signal.aborted, false);
    await facing.peer.send(fromHex(bytes));
    await settle();
    assertEquals((signal.reason as RpcError).code, "cancelled");
    release.resolve("late");
    const answer = await facing.peer.next();
    assertEquals([answer?.kind, answer?.id], [KIND.REPLY, message.id]);
    await finish(facing);
  });
}

for (const { name, about, message, bytes } of ofType("ping")) {
  test(`vector ${name} is answered with its id: ${about}`, async () => {
    for (const facing of [faceServer({}), faceClient()]) {
      await greet(facing);
      await facing.peer.send(fromHex(bytes));
      const answer = await facing.peer.next();
      assertEquals([answer?.kind, answer?.id], [KIND.PONG, message.id]);
      await finish(facing);
    }
  });
}

for (const { name, about, message, bytes } of ofType("fragment")) {
  test(`vector ${name} begins a message: ${about}`, async () => {
    for (const facing of [faceServer({}), faceClient()]) {
      await greet(facing, { fragments: true });
      await facing.peer.send(fromHex(bytes));
      const flags = message.caller ? 1 : 0;
      const end = frame(KIND.FRAGMENT, message.id, [], flags | 2);
      await facing.peer.send(end, frame(KIND.PING, 1));
      const answer = await facing.peer.next();
      assertEquals([answer?.kind, answer?.id], [KIND.PONG, 1]);
      const again = frame(
        KIND.FRAGMENT,
        message.id,
        fromHex(message.hex),
        flags,
      );
      assertEquals(again, fromHex(bytes));
      await finish(facing);
    }
  });
}

for (const type of ["pong", "pad", "skippable"] as const) {
  for (const { name, about, bytes } of ofType(type)) {
    test(`vector ${name} changes nothing: ${about}`, async () => {
      for (const facing of [faceServer({}), faceClient()]) {
        await greet(facing);
        await facing.peer.send(fromHex(bytes), frame(KIND.PING, 1));
        const answer = await facing.peer.next();
        assertEquals([answer?.kind, answer?.id], [KIND.PONG, 1]);
        await finish(facing);
      }
    });
  }
}

for (const { name, about, message, bytes } of ofType("goaway")) {
  if (message.warning) continue;
  test(`vector ${name} refuses the calls above its id: ${about}`, async () => {
    const facing = faceClient({ firstId: 5 });
    await greet(facing);
    const { connection, peer } = facing;
    const handles = [connection.go("Test.call"), connection.go("Test.call")];
    await settle();
    await peer.send(fromHex(bytes));
    assertEquals(await handles[1].settled, "refused");
    assertEquals(
      handles[0].outcome,
      message.lastId === null ? "refused" : "unknown",
    );
    const late = await connection.call("Test.call").then(() => {}, (e) => e);
    assertInstanceOf(late, RpcError);
    assertEquals([late.code, late.outcome], ["unavailable", "not_sent"]);
    if (message.code === "") await assertDeparture(facing);
    else await assertOver(facing, "protocol_error");
    assertEquals(
      await handles[0].settled,
      message.lastId === null ? "refused" : "unknown",
    );
  });
}

for (const { name, about, message, bytes } of ofType("goaway")) {
  if (!message.warning) continue;
  test(`vector ${name} lets the calls go on, and ends new ones: ${about}`, async () => {
    const facing = faceClient();
    await greet(facing);
    const { connection, peer } = facing;
    const handle = connection.go("Test.call");
    await settle();
    await peer.send(fromHex(bytes));
    await connection.draining;
    const late = await connection.call("Test.call").then(() => {}, (e) => e);
    assertInstanceOf(late, RpcError);
    assertEquals([late.code, late.outcome], ["unavailable", "not_sent"]);
    assertEquals((await peer.next())?.kind, KIND.REQUEST);
    assertEquals((await peer.next())?.kind, KIND.LAST);
    await peer.send(reply(handle.id as number));
    assertEquals(await handle.settled, "executed");
    await finish(facing);
  });
}

for (const { name, about, message, bytes } of ofType("window")) {
  test(`vector ${name} moves a window: ${about}`, async () => {
    const { id, windowCalls, windowBytes, ack } = message;
    const facing = ack ? faceServer({ Test: { call() {} } }) : faceClient();
    await greet(facing, { windows: true });
    const { connection, peer } = facing;
    if (ack) {
      connection.setWindow({ windowCalls, windowBytes });
      await peer.nextOf(KIND.WINDOW);
    }
    await peer.send(fromHex(bytes));
    if (!ack) assertEquals((await peer.nextOf(KIND.WINDOW)).id, id);
    await settle();
    const stats = connection.stats();
    const moved = ack
      ? [stats.windowCalls, stats.windowBytes]
      : [stats.peerWindowCalls, stats.peerWindowBytes];
    assertEquals(moved, [windowCalls, windowBytes]);
    await finish(facing);
  });
}

for (const { name, about, message, bytes } of ofType("last")) {
  test(`vector ${name} ends the peer's calls: ${about}`, async () => {
    const facing = faceServer({ Test: { call: () => 1 } });
    const { connection, peer } = facing;
    await greet(facing);
    await peer.send(request(1, "Test.call"), fromHex(bytes));
    if (message.all) return void await assertLost(facing);
    // No warning: nothing can be on its way.
    peer.answersWarning = false;
    await settle();
    const closed = connection.close();
    const kinds = (await peer.rest()).map(({ kind, flags }) => [kind, flags]);
    assertEquals(kinds, [[KIND.REPLY, 0], [KIND.GOAWAY, 0]]);
    await peer.end();
    await closed;
    assertNothingLeft(connection);
  });
}

/** A peer that sent GOAWAY and then FIN causes no error. */
async function assertDeparture({ peer, connection }: Facing): Promise<void> {
  await peer.end();
  assertEquals(await connection.closed, undefined);
  assertNothingLeft(connection);
}

/** The sides that a malformed vector is for. */
function targets({ to, serializer, calls = 0 }: Malformed): Facing[] {
  const options = serializer === undefined
    ? {}
    : { serializer: { ...HEX_SERIALIZER, name: serializer } };
  const facing: Facing[] = [];
  if (to !== "client") {
    const hold = () => new Promise<never>(() => {});
    const services = { Test: { call: () => "served", hold } };
    facing.push(faceServer(services, options));
  }
  if (to !== "server") {
    const client = faceClient(options);
    for (let i = 0; i < calls; i++) client.connection.go("Test.call");
    facing.push(client);
  }
  return facing;
}

for (const vector of VECTORS.malformed) {
  const { name, about, greeted, bytes, code } = vector;
  test(`[B] vector ${name} closes with ${code}: ${about}`, async () => {
    for (const facing of targets(vector)) {
      if (greeted) await greet(facing, { streams: vector.streams });
      await facing.peer.send(fromHex(bytes));
      await assertCloses(facing, code);
    }
  });
}

for (const { name, about, greeted, bytes, missing } of VECTORS.truncated) {
  test(`[B5] vector ${name} closes with the missing count: ${about}`, async () => {
    for (const facing of [faceServer({}), faceClient()]) {
      const handle = facing.connection.go("Test.call");
      if (greeted) await greet(facing);
      else await settle();
      await facing.peer.send(fromHex(bytes));
      const reason = await assertOver(facing, "truncated");
      assert(reason.message.includes(` ${missing} of `), reason.message);
      assertEquals(await handle.settled, "unknown");
    }
  });
}
