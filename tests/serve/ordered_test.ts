// Ordered methods and services: one call at a time, in the order of arrival.

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import {
  type CallContext,
  Client,
  expose,
  memoryPair,
  method,
  ordered,
  RpcError,
  type Serializer,
  Server,
  type StandardSchema,
} from "../../mod.ts";
import { JsonRpcClient, JsonRpcServer } from "../../jsonrpc.ts";
import { settle, TestClock } from "../support/clock.ts";
import { faceServer, greet } from "../support/facing.ts";
import { assertNothingLeft, pair } from "../support/pair.ts";
import { KIND, request } from "../support/raw_peer.ts";
import { Held } from "../support/services.ts";

/** Ordered calls that end when the test says so. */
function heldInOrder(key?: (params: unknown) => string) {
  const held = new Held();
  const services = {
    Held: { ...held.services.Held, free: held.services.Held.work },
  };
  services.Held.work = ordered(held.services.Held.work, { key });
  /** Which calls have been started, by their params. */
  const started = () => held.calls.map(({ params }) => params);
  return { held, services, started };
}

test("ordered calls start and finish one at a time, in the order of arrival; other calls run beside them", async () => {
  const { held, services, started } = heldInOrder();
  const { client, connection, close } = pair(services);
  const calls = [1, 2, 3].map((n) => client.call("Held.work", n));
  client.go("Held.free", "beside");
  assertEquals(await client.call("Held.echo", "x"), "x");
  assertEquals(started(), [1, "beside"]);
  const { running, waiting, ordered } = connection.stats();
  assertEquals({ running, waiting, ordered }, {
    running: 2,
    waiting: 2,
    ordered: 2,
  });
  held.calls[0].resolve("one");
  assertEquals(await calls[0], "one");
  await settle();
  assertEquals(started(), [1, "beside", 2]);
  held.calls[2].reject(new RpcError("told", "it fails"));
  await assertRejects(() => calls[1], RpcError);
  await settle();
  assertEquals(started(), [1, "beside", 2, 3]);
  held.release();
  await calls[2];
  await close();
});

test("with a key, only calls with the same key wait for each other", async () => {
  const { held, services, started } = heldInOrder((params) =>
    (params as string)[0]
  );
  const { client, close } = pair(services);
  for (const params of ["a1", "b1", "a2", "b2", "c1"]) {
    client.go("Held.work", params);
  }
  await settle();
  assertEquals(started(), ["a1", "b1", "c1"]);
  held.calls[1].resolve();
  await settle();
  assertEquals(started(), ["a1", "b1", "c1", "b2"]);
  held.calls[0].resolve();
  await settle();
  assertEquals(started(), ["a1", "b1", "c1", "b2", "a2"]);
  held.release();
  await close();
});

test("the methods of an ordered service share one order; a method marked by itself has its own", async () => {
  const held = new Held();
  const { work } = held.services.Held;
  const service = {
    a: work,
    deep: { b: work },
    own: ordered(work),
  };
  const { client, close } = pair({ S: ordered(service) });
  client.go("S.a", 1);
  client.go("S.deep.b", 2);
  client.go("S.own", 3);
  client.go("S.own", 4);
  await settle();
  assertEquals(held.calls.map(({ params }) => params), [1, 3]);
  held.release();
  await settle();
  assertEquals(held.calls.map(({ params }) => params), [1, 3, 2, 4]);
  held.release();
  await close();
});

test("ordered returns a copy: the original is not ordered, and the copy runs on its own object", async () => {
  const held = new Held();
  const { work } = held.services.Held;
  const names = {
    prefix: () => "hello:",
    say(this: { prefix(): string }, name: string) {
      return this.prefix() + name;
    },
  };
  const services = {
    Held: { ordered: ordered(work), free: work },
    Names: ordered(names),
    Freely: names,
  };
  const { client, close } = pair(services);
  for (const n of [1, 2]) client.go("Held.free", n);
  await settle();
  assertEquals(held.calls.length, 2);
  assertEquals(await client.call("Names.say", "x"), "hello:x");
  held.release();
  await close();
});

test("ordered accepts functions, methods and plain services, and nothing else", async () => {
  class Counter {
    #n = 0;
    add(by: number): number {
      return this.#n += by;
    }
  }
  for (const wrong of [1, null, undefined, "x", new Counter(), Counter]) {
    assertThrows(() => ordered(wrong as unknown as () => void), TypeError);
  }
  assertThrows(
    () => ordered(() => {}, { key: "id" as unknown as () => string }),
    TypeError,
  );
  const getter = {
    get secret() {
      return () => 1;
    },
  };
  assertThrows(() => ordered(getter), TypeError, "secret: it is a getter");
  const counter = ordered(expose(new Counter(), ["add"]));
  const { client, close } = pair({ Counter: counter });
  assertEquals(await client.call("Counter.add", 2), 2);
  await close();
});

/** A schema that accepts numbers above 0, after `wait`. */
function positive(wait?: () => Promise<void>): StandardSchema<number> {
  const check = (value: unknown) =>
    typeof value === "number" && value > 0
      ? { value }
      : { issues: [{ message: "not above 0" }] };
  return {
    "~standard": {
      version: 1,
      vendor: "test",
      validate: (value) =>
        wait === undefined ? check(value) : wait().then(() => check(value)),
    },
  };
}

test("ordered and method compose in both orders; when the schema refuses a call, the next one starts", async () => {
  const held = new Held();
  const { work } = held.services.Held;
  const schema = positive();
  for (
    const both of [
      ordered(method(schema, work)),
      method(schema, ordered(work)),
    ]
  ) {
    held.calls.splice(0);
    const { client, close } = pair({ S: { both } });
    const calls = [1, -2, 3].map((n) => client.go("S.both", n));
    await settle();
    assertEquals(held.calls.length, 1);
    assertEquals(calls[1].outcome, "unknown"); // Not looked at before its turn.
    held.calls[0].resolve();
    await settle();
    assertEquals(await calls[1].settled, "refused");
    assertEquals(held.calls.map(({ params }) => params), [1, 3]);
    held.release();
    await close();
  }
});

test("an asynchronous validation delays the next call until it settles, even if its call is cancelled", async () => {
  const waits: (() => void)[] = [];
  const held = new Held();
  const { work } = held.services.Held;
  const schema = positive(() => new Promise((resolve) => waits.push(resolve)));
  const { client, connection, close } = pair({
    S: { m: ordered(method(schema, work)) },
  });
  const calls = [1, -2, 3, 4].map((n) => client.go("S.m", n));
  await settle();
  assertEquals(waits.length, 1);
  calls[0].abort();
  await settle();
  assertEquals([await calls[0].settled, waits.length], ["refused", 1]);
  for (const n of [1, 2, 3]) {
    waits[n - 1]();
    await settle();
    assertEquals(waits.length, n + 1 - Number(n === 3));
  }
  assertEquals(held.calls.map(({ params }) => params), [3]);
  assertEquals(connection.stats().ordered, 1);
  held.release();
  await settle();
  waits[3]();
  await settle();
  held.release();
  assertEquals(await calls[3].settled, "executed");
  await close();
});

test("[A3] [A9] a call that is cancelled, or whose deadline passes, while it waits is skipped and refused", async () => {
  const { held, services, started } = heldInOrder();
  const clock = new TestClock();
  const { client, connection, close } = pair(services, {
    client: { clock },
    server: { clock },
  });
  client.go("Held.work", "first");
  const cancelled = client.go("Held.work", "cancelled");
  const late = client.go("Held.work", "late", { timeout: 100 });
  const last = client.go("Held.work", "last");
  await settle();
  cancelled.abort();
  assertEquals(await cancelled.settled, "refused");
  await clock.advance(100);
  assertEquals(await late.settled, "refused");
  assertEquals(connection.stats().ordered, 1);
  held.calls[0].resolve();
  await settle();
  assertEquals(started(), ["first", "last"]);
  held.release();
  await last.reply;
  await close();
});

test("[A12] a handler that ignores its signal delays the calls of its key, which stats show, and no others", async () => {
  const { held, services, started } = heldInOrder((params) =>
    (params as string)[0]
  );
  const { client, connection, close } = pair(services);
  const deaf = client.go("Held.work", "a1");
  const behind = client.go("Held.work", "a2");
  await settle();
  deaf.abort();
  await settle();
  assertEquals(held.calls[0].ctx.signal.aborted, true);
  const { running, waiting, ordered } = connection.stats();
  assertEquals({ running, waiting, ordered }, {
    running: 1,
    waiting: 1,
    ordered: 1,
  });
  client.go("Held.work", "b1");
  await settle();
  assertEquals(started(), ["a1", "b1"]);
  held.calls[0].resolve();
  await settle();
  assertEquals(started(), ["a1", "b1", "a2"]);
  held.release();
  assertEquals(await behind.settled, "executed");
  await close();
});

test("a key function that throws, or returns an invalid key, fails its call alone, which has not started", async () => {
  const wrong = new Error("no account");
  const key = (params: unknown) => {
    if (params === null) throw wrong;
    if (params === "told") throw new RpcError("bad_account", "not here");
    return params as string;
  };
  const { held, services, started } = heldInOrder(key);
  const { client, errors, close } = pair(services);
  const fails: [unknown, string][] = [
    [null, "internal"],
    ["told", "bad_account"],
    [{ id: 1 }, "internal"],
    [undefined, "internal"],
    [true, "internal"],
  ];
  for (const [params, code] of fails) {
    const error = await assertRejects(
      () => client.call("Held.work", params),
      RpcError,
    );
    assertEquals([error.code, error.outcome], [code, "refused"]);
  }
  assertEquals(errors[0].error, wrong);
  assertEquals(errors.length, 4);
  assertEquals((errors[1].error as Error).name, "TypeError");
  const ok = client.go("Held.work", "ok");
  await settle();
  assertEquals(started(), ["ok"]);
  held.release();
  assertEquals(await ok.settled, "executed");
  await close();
});

for (const maxRunning of [1, 2]) {
  test(`a key that ends the connection starts nothing (${maxRunning} running)`, async () => {
    let end = () => {};
    const { held, services, started } = heldInOrder((params) => {
      if (params === "end") end();
      return "key";
    });
    const { client, connection, server } = pair(services, {
      server: { maxRunning },
    });
    end = () => void connection.abort(new Error("enough"));
    client.go("Held.free", "first");
    const handles = ["end", "after"].map((p) => client.go("Held.work", p));
    await settle();
    held.release();
    for (const { settled } of handles) assertEquals(await settled, "unknown");
    await Promise.all([client.close(), server.close()]);
    assertEquals(started(), ["first"]);
    assertNothingLeft(connection);
  });
}

test("[B8] when the params of a call do not parse, the next one starts", async () => {
  const { held, services, started } = heldInOrder();
  const { peer, connection, clock } = faceServer(services);
  await greet({ peer, connection, clock });
  await peer.send(
    request(1, "Held.work", "first"),
    request(2, "Held.work", [1, 0x7b]), // JSON, cut short.
    request(3, "Held.work", "last"),
  );
  await settle();
  held.calls[0].resolve();
  await settle();
  assertEquals(started(), ["first", "last"]);
  held.release();
  assertEquals((await peer.nextOf(KIND.ERROR)).id, 2);
  assertEquals(connection.stats().ordered, 0);
  await connection.abort();
});

test("calls that wait in a serial queue do not count as running, and delay no other calls", async () => {
  const { held, services, started } = heldInOrder();
  const { client, connection, close } = pair(services, {
    server: { maxRunning: 2 },
  });
  for (const n of [1, 2, 3]) client.go("Held.work", n);
  client.go("Held.free", "a");
  client.go("Held.free", "b");
  await settle();
  assertEquals(started(), [1, "a"]);
  const { running, waiting, ordered } = connection.stats();
  assertEquals({ running, waiting, ordered }, {
    running: 2,
    waiting: 3,
    ordered: 2,
  });
  // The call that waits only for a slot, for longest, starts first.
  held.calls[0].resolve();
  await settle();
  assertEquals(started(), [1, "a", "b"]);
  held.calls[1].resolve();
  await settle();
  assertEquals(started(), [1, "a", "b", 2]);
  for (let i = 0; i < 3; i++) {
    held.release();
    await settle();
  }
  assertEquals(started(), [1, "a", "b", 2, 3]);
  await close();
});

test("a call that waits only for a slot lets the next of its queue go when it is cancelled", async () => {
  const { held, services, started } = heldInOrder();
  const { client, connection, close } = pair(services, {
    server: { maxRunning: 2 },
  });
  const calls = [1, 2, 3].map((n) => client.go("Held.work", n));
  client.go("Held.free", "a");
  client.go("Held.free", "b");
  await settle();
  held.calls[0].resolve();
  await settle();
  assertEquals(started(), [1, "a", "b"]);
  calls[1].abort();
  assertEquals(await calls[1].settled, "refused");
  const { waiting, ordered } = connection.stats();
  assertEquals({ waiting, ordered }, { waiting: 1, ordered: 0 });
  held.release();
  await settle();
  assertEquals(started(), [1, "a", "b", 3]);
  held.release();
  assertEquals(await calls[2].settled, "executed");
  await close();
});

/** A JSON serializer that counts what it decodes. */
function counting(): Serializer & { decoded: unknown[] } {
  const decoded: unknown[] = [];
  return {
    name: "counting",
    decoded,
    encode: (value) => new TextEncoder().encode(JSON.stringify(value)),
    decode: (bytes) => {
      const value = JSON.parse(new TextDecoder().decode(bytes));
      decoded.push(value);
      return value;
    },
  };
}

test("[F12] params stay encoded until their call runs; for a key they are decoded once before, when there is room to start", async () => {
  const { held, services } = heldInOrder((params) => (params as string[])[0]);
  const serializer = counting();
  const { client, close } = pair(
    { ...services, Plain: { work: ordered(held.services.Held.work) } },
    { client: { serializer }, server: { serializer, maxRunning: 2 } },
  );
  const numbers = () =>
    serializer.decoded.map((value) => (value as number[])[1]);
  for (const n of [1, 2, 3]) client.go("Held.work", ["k", n]);
  for (const n of [4, 5]) client.go("Plain.work", ["p", n]);
  client.go("Held.work", ["k", 6]);
  await settle();
  // 1 and 4 run. 5 is not decoded, as it has no key; and for 6 there is no room.
  assertEquals(numbers(), [1, 2, 3, 4]);
  held.calls[0].resolve();
  await settle();
  assertEquals(numbers(), [1, 2, 3, 4, 6, 2]);
  for (let i = 0; i < 6; i++) {
    held.release();
    await settle();
  }
  assertEquals(numbers().toSorted(), [1, 2, 2, 3, 3, 4, 5, 6, 6]);
  await close();
});

test("[L3] a drain finishes the ordered calls it has accepted, one after the other", async () => {
  const { held, services, started } = heldInOrder();
  const { client, connection, close } = pair(services);
  const calls = [1, 2, 3].map((n) => client.call("Held.work", n));
  await settle();
  const closing = connection.close();
  for (let i = 0; i < 3; i++) {
    await settle();
    assertEquals(started().length, i + 1);
    held.calls[i].resolve(i);
  }
  assertEquals(await Promise.all(calls), [0, 1, 2]);
  await closing;
  await close();
});

test("[L1] a lost connection starts no ordered call that waits, and nothing is left", async () => {
  const { held, services, started } = heldInOrder();
  const { client, connection, server } = pair(services);
  const calls = [1, 2, 3].map((n) => client.go("Held.work", n));
  await settle();
  await client.abort(new Error("lost"));
  await connection.closed;
  assertEquals(held.calls[0].ctx.signal.aborted, true);
  const { waiting, ordered } = connection.stats();
  assertEquals([waiting, ordered], [0, 0]);
  held.release();
  await settle();
  assertEquals(started(), [1]);
  for (const { settled } of calls) assertEquals(await settled, "unknown");
  await server.close();
  assertNothingLeft(connection);
});

test("a hundred thousand ordered calls with plain handlers, behind one that waits, all run in order", async () => {
  const seen: number[] = [];
  const first = Promise.withResolvers<void>();
  const { client, close } = pair({
    S: {
      m: ordered((n: number) => {
        seen.push(n);
        return n === 0 ? first.promise : undefined;
      }),
    },
  });
  const calls = Array.from(
    { length: 100_000 },
    (_, n) => client.call("S.m", n),
  );
  await settle();
  assertEquals(seen, [0]);
  first.resolve();
  await Promise.all(calls);
  assertEquals(seen.every((n, i) => n === i), true);
  await close();
});

test("passTurn starts the next call while this one goes on; a second time, and after the end, it does nothing", async () => {
  const { held, services, started } = heldInOrder();
  const { client, connection, close } = pair(services);
  const calls = [1, 2, 3, 4].map((n) => client.call("Held.work", n));
  await settle();
  const { ctx } = held.calls[0];
  ctx.passTurn();
  assertEquals(started(), [1], "not inside of the handler's own code");
  ctx.passTurn();
  await settle();
  assertEquals(started(), [1, 2]);
  ctx.passTurn();
  await settle();
  assertEquals(started(), [1, 2]);
  const { running, waiting, ordered } = connection.stats();
  assertEquals({ running, waiting, ordered }, {
    running: 2,
    waiting: 2,
    ordered: 2,
  });
  held.calls[0].resolve("one");
  assertEquals(await calls[0], "one");
  ctx.passTurn();
  await settle();
  assertEquals(started(), [1, 2], "it was the turn of 2");
  held.calls[1].resolve("two");
  await settle();
  assertEquals(started(), [1, 2, 3]);
  for (let i = 0; i < 2; i++) {
    held.release();
    await settle();
  }
  await Promise.all(calls);
  await close();
});

test("passTurn lets the next call of its own key go, and no other", async () => {
  const { held, services, started } = heldInOrder((params) =>
    (params as string)[0]
  );
  const { client, close } = pair(services);
  for (const params of ["a1", "b1", "a2", "b2"]) {
    client.go("Held.work", params);
  }
  await settle();
  held.calls[0].ctx.passTurn();
  await settle();
  assertEquals(started(), ["a1", "b1", "a2"]);
  held.release();
  await settle();
  held.release();
  await close();
});

test("passTurn does nothing in a method that is not ordered", async () => {
  const { held, services, started } = heldInOrder();
  const { client, close } = pair(services);
  client.go("Held.free", "free");
  for (const n of [1, 2]) client.go("Held.work", n);
  await settle();
  held.calls[0].ctx.passTurn();
  await settle();
  assertEquals(started(), ["free", 1]);
  held.release();
  await settle();
  held.release();
  await close();
});

test("a handler that has passed its turn counts in maxRunning until it settles", async () => {
  const { held, services, started } = heldInOrder();
  const { client, connection, close } = pair(services, {
    server: { maxRunning: 2 },
  });
  for (const n of [1, 2, 3]) client.go("Held.work", n);
  await settle();
  for (const i of [0, 1]) {
    held.calls[i].ctx.passTurn();
    await settle();
  }
  assertEquals(started(), [1, 2]);
  const { running, waiting, ordered } = connection.stats();
  assertEquals({ running, waiting, ordered }, {
    running: 2,
    waiting: 1,
    ordered: 0,
  });
  held.calls[0].resolve();
  await settle();
  assertEquals(started(), [1, 2, 3]);
  held.release();
  await close();
});

test("a handler that has passed its turn fails, is cancelled and is late alone", async () => {
  const { held, services, started } = heldInOrder();
  const clock = new TestClock();
  const { client, close } = pair(services, {
    client: { clock },
    server: { clock },
  });
  const fails = client.go("Held.work", "fails");
  const cancelled = client.go("Held.work", "cancelled");
  const late = client.go("Held.work", "late", { timeout: 100 });
  const last = client.go("Held.work", "last");
  await settle();
  for (const i of [0, 1, 2]) {
    held.calls[i].ctx.passTurn();
    await settle();
  }
  assertEquals(started(), ["fails", "cancelled", "late", "last"]);
  held.calls[0].reject(new RpcError("told", "it fails"));
  assertEquals(await fails.settled, "executed");
  cancelled.abort();
  await clock.advance(100);
  assertEquals(held.calls.map(({ ctx }) => ctx.signal.aborted), [
    ...[false, true, true, false],
  ]);
  held.release();
  assertEquals(await last.settled, "executed");
  assertEquals(await cancelled.settled, "executed");
  assertEquals(await late.settled, "executed");
  await close();
});

test("a drain waits for handlers that have passed their turn, and for the calls behind them", async () => {
  const { held, services, started } = heldInOrder();
  const { client, connection, close } = pair(services);
  const calls = [1, 2, 3].map((n) => client.call("Held.work", n));
  await settle();
  const closing = connection.close();
  await settle();
  held.calls[0].ctx.passTurn();
  await settle();
  held.calls[1].ctx.passTurn();
  await settle();
  assertEquals(started(), [1, 2, 3]);
  for (const i of [2, 0, 1]) held.calls[i].resolve(i);
  assertEquals(await Promise.all(calls), [0, 1, 2]);
  await closing;
  await close();
});

test("passTurn starts nothing once the connection is lost", async () => {
  const { held, services, started } = heldInOrder();
  const { client, connection, server } = pair(services);
  for (const n of [1, 2]) client.go("Held.work", n);
  await settle();
  // In the microtask between the two, the next call must not start either.
  held.calls[0].ctx.passTurn();
  void connection.abort(new Error("lost"));
  held.calls[0].ctx.passTurn();
  await settle();
  assertEquals(started(), [1]);
  held.release();
  await Promise.all([client.close(), server.close()]);
  assertNothingLeft(connection);
});

test("a stream passes its turn between two items", async () => {
  const order: string[] = [];
  const { client, close } = pair({
    Feed: ordered({
      async *items(name: string, ctx: CallContext) {
        order.push(name);
        yield 1;
        ctx.passTurn();
        yield 2;
        await Promise.resolve();
      },
    }),
  });
  const first = (await client.call("Feed.items", "a")).getReader();
  const second = client.call("Feed.items", "b");
  await settle();
  // Both items were produced ahead of the reader.
  assertEquals(order, ["a", "b"]);
  assertEquals((await first.read()).value, 1);
  await first.cancel();
  await (await second).cancel();
  await close();
});

test("fifty thousand handlers that pass their turn at once do not nest", async () => {
  let depth = 0;
  let deepest = 0;
  const go = Promise.withResolvers<void>();
  const { client, close } = pair({
    S: {
      m: ordered(async (n: number, ctx: CallContext) => {
        deepest = Math.max(deepest, ++depth);
        if (n > 0) ctx.passTurn();
        depth--;
        await go.promise;
      }),
    },
  }, { server: { maxRunning: 50_000 } });
  const calls = Array.from({ length: 50_000 }, (_, n) => client.call("S.m", n));
  await settle();
  go.resolve();
  await Promise.all(calls);
  assertEquals(deepest, 1);
  await close();
});

test("two connections of one server do not wait for each other", async () => {
  const { held, services } = heldInOrder();
  const { client, server, close } = pair(services);
  const [near, far] = memoryPair();
  const other = server.accept(far);
  const second = new Client<typeof services>(near);
  client.go("Held.work", 1);
  second.go("Held.work", 2);
  await settle();
  assertEquals(held.calls.length, 2);
  held.release();
  await second.close();
  await close();
  assertNothingLeft(other);
});

test("the next ordered call starts when the middleware of the one before has ended", async () => {
  const seen: string[] = [];
  const { held, services } = heldInOrder();
  const { client, close } = pair(services, {
    server: {
      use: [async (call, next) => {
        seen.push(`in ${call.params}`);
        await next();
        seen.push(`out ${call.params}`);
      }],
    },
  });
  const calls = [1, 2].map((n) => client.call("Held.work", n));
  await settle();
  held.release();
  await settle();
  held.release();
  await Promise.all(calls);
  assertEquals(seen, ["in 1", "out 1", "in 2", "out 2"]);
  await close();
});

test("other protocols keep the order", async () => {
  const { held, services, started } = heldInOrder((params) =>
    (params as string[])[0]
  );
  const [near, far] = memoryPair();
  const server = new JsonRpcServer<object>(services);
  server.accept(far);
  const client = new JsonRpcClient<typeof services>(near);
  const calls = ["a1", "a2", "b1"].map((text) =>
    client.call("Held.work", [...text])
  );
  await settle();
  assertEquals(started().map(String), ["a,1", "b,1"]);
  held.release();
  await settle();
  held.release();
  await Promise.all(calls);
  await client.close();
  await server.close();
});

/** A service whose calls note when they start and end; `n` of a call is for how many turns it runs. */
class Noting {
  readonly log: string[] = [];

  note = async (n: number): Promise<void> => {
    this.log.push(`start ${n}`);
    await settle(n);
    this.log.push(`end ${n}`);
  };

  /** Asserts that calls of these methods, in this order, ran one at a time. */
  async inOrder(services: object, methods: readonly string[]): Promise<void> {
    const t = pair(services as Record<string, never>);
    const client = t.client as unknown as Client<
      Record<string, (n: number) => void>
    >;
    const wait = [3, 2, 1].map((n, i) =>
      client.call(methods[i % methods.length], n)
    );
    await Promise.all(wait);
    const runs = [3, 2, 1].flatMap((n) => [`start ${n}`, `end ${n}`]);
    assertEquals(this.log.splice(0), runs, `${methods}`);
    await t.close();
  }
}

test("[X33] an ordered service that is spread, merged, nested or taken apart keeps its order", async () => {
  const t = new Noting();
  const { note } = t;
  const any: StandardSchema<number> = {
    "~standard": {
      version: 1,
      vendor: "test",
      validate: (value) => ({ value: value as number }),
    },
  };
  const service = { a: note, b: method(any, note), deep: { c: note } };
  const marked = ordered(service);
  const { a, b, deep } = marked;
  const all = ["L.a", "L.b", "L.deep.c"];
  await t.inOrder({ L: marked }, all);
  await t.inOrder({ L: { ...marked } }, all);
  await t.inOrder({ L: { ...marked, other: note } }, all);
  await t.inOrder({ L: Object.assign({}, marked) }, all);
  await t.inOrder({ L: { a, b, deep: { ...deep } } }, all);
  await t.inOrder({ ...ordered({ L: service }) }, all);
  await t.inOrder(ordered({ L: service }), all);
  await t.inOrder({ L: { a }, M: { b }, N: { ...deep } }, [
    "L.a",
    "M.b",
    "N.c",
  ]);
  await t.inOrder({ L: { ...ordered({ ...service, deep: note }) } }, [
    "L.deep",
  ]);
  await t.inOrder({ L: Object.fromEntries(Object.entries(marked)) }, all);
});

test("[X33] two ordered services that are merged keep an order and a key each", async () => {
  const keys: string[] = [];
  const by = (name: string) => (params: number) => {
    keys.push(`${name}${params}`);
    return params;
  };
  const t = new Noting();
  const one = ordered({ a: t.note }, { key: by("one") });
  const two = ordered({ b: t.note }, { key: by("two") });
  const { client, close } = pair({ L: { ...one, ...two, free: t.note } });
  await Promise.all([
    client.call("L.a", 1),
    client.call("L.b", 2),
    client.call("L.free", 0),
  ]);
  assertEquals(keys, ["one1", "two2"]);
  await close();
});

test("[X33] a method that is marked by itself keeps its own order within a marked service, and in an exposed instance", async () => {
  const t = new Noting();
  class Log {
    append = ordered(t.note);
    other = t.note;
  }
  await t.inOrder({ L: expose(new Log(), ["append"]) }, ["L.append"]);
  await t.inOrder({ L: { ...expose(new Log(), ["append"]) } }, ["L.append"]);
  const held = new Held();
  const own = ordered(held.services.Held.work);
  const { client, close } = pair({ L: { ...ordered({ own, free: t.note }) } });
  const waits = client.call("L.own");
  await client.call("L.free", 1);
  held.release();
  await waits;
  await close();
});

test("[X33] ordered methods can be ordered again, and what no server accepts is still refused", () => {
  const note = () => {};
  class Made {
    note = note;
  }
  const circle: Record<string, unknown> = { note };
  circle.itself = circle;
  const wrong: Record<string, object> = {
    "a getter": Object.defineProperty({}, "note", {
      get: () => note,
      enumerable: true,
    }),
    "a class instance": { made: new Made() },
    "a class": { Made },
    "not a function": { n: 7 },
    "contains itself": circle,
  };
  for (const [text, service] of Object.entries(wrong)) {
    assertThrows(
      () => new Server({ L: { ...ordered(service) } } as never),
      TypeError,
      text,
    );
  }
  new Server({ L: ordered({ ...ordered({ note: ordered(note) }) }) });
});
