// Results that a server keeps for calls that refer to them.

import { assertEquals, assertMatch } from "@std/assert";
import { test } from "node:test";
import {
  type CallContext,
  memoryPair,
  method,
  ordered,
  rich,
  RpcError,
  type Serializer,
  Server,
  type ServerOptions,
} from "../../mod.ts";
import {
  type ResultReference,
  type ScriptedPeer,
  scriptedPeer,
} from "../../testing.ts";
import { settle, TestClock } from "../support/clock.ts";
import { assertNothingLeft } from "../support/pair.ts";
import { Held } from "../support/services.ts";

/** A server, and its client that the test drives. */
async function facing(
  more: object = {},
  options: ServerOptions = {},
) {
  const [near, far] = memoryPair();
  const clock = new TestClock();
  const held = new Held();
  const log: unknown[] = [];
  const services = {
    ...held.services,
    Test: {
      echo: (value: unknown) => value,
      log: (value: unknown) => void log.push(value),
      fail: () => {
        throw new RpcError("out_of_stock", "as asked");
      },
      stream: async function* () {
        yield 1;
      },
      large: (size: number) => ["x".repeat(size)],
      ...more,
    },
  };
  const server = new Server(services, { clock, ...options });
  const connection = server.accept(far);
  const { serializer } = options as { serializer?: Serializer };
  const peer = scriptedPeer(near, { serializer });
  const hello = await peer.greet();
  assertEquals(hello.keepsResults, true);
  const end = async () => {
    held.release();
    await connection.abort();
    await server.close({ timeout: 0 });
    assertNothingLeft(connection);
    assertEquals(connection.stats().kept, 0);
    assertEquals(connection.stats().bufferedBytes, 0);
  };
  return { peer, connection, clock, held, log, server, end };
}

/** Calls a method with `null` in the places of the references. */
function dependent(
  peer: ScriptedPeer,
  name: string,
  params: unknown,
  references: ResultReference[],
  keep = false,
): Promise<number> {
  return peer.request(name, params, { references, keep });
}

/** A reference. */
function at(id: number, path: string[] = [], place: string[] = []) {
  return { place, id, path };
}

test("a result is kept from its reply until it is released", async () => {
  const { peer, connection, end } = await facing();
  await peer.request("Test.echo", { a: [1, { b: "x" }] }, { keep: true });
  await peer.expect("reply");
  assertEquals(connection.stats().kept, 1);
  const params = { one: null, all: null, list: [null] };
  await dependent(peer, "Test.echo", params, [
    at(1, ["a", "1", "b"], ["one"]),
    at(1, [], ["all"]),
    at(1, ["a", "0"], ["list", "0"]),
  ]);
  assertEquals((await peer.expect("reply")).result, {
    one: "x",
    all: { a: [1, { b: "x" }] },
    list: [1],
  });
  await peer.release(1);
  await settle();
  assertEquals(connection.stats().kept, 0);
  await dependent(peer, "Test.echo", null, [at(1)]);
  const { code, started } = await peer.expect("error");
  assertEquals([code, started], ["dependency_gone", false]);
  await end();
});

test("each call gets a copy of its own", async () => {
  const seen: object[] = [];
  const { peer, end } = await facing({
    change: (it: { list: number[]; other: number[] }) => {
      seen.push(it.list, it.other);
      it.list.push(9);
      return it;
    },
  });
  await peer.request("Test.echo", [1], { keep: true });
  await peer.expect("reply");
  for (let i = 0; i < 2; i++) {
    await dependent(peer, "Test.change", { list: null, other: null }, [
      at(1, [], ["list"]),
      at(1, [], ["other"]),
    ]);
    assertEquals((await peer.expect("reply")).result, {
      list: [1, 9],
      other: [1],
    });
  }
  assertEquals(new Set(seen).size, 4);
  await end();
});

test("a call waits for the result, and holds up no other", async () => {
  const { peer, connection, held, end } = await facing();
  await peer.request("Held.work", 1, { keep: true });
  await dependent(peer, "Test.echo", null, [at(1, ["id"])]);
  await peer.request("Test.echo", "later");
  assertEquals((await peer.expect("reply")).result, "later");
  const { waiting, running, receiving } = connection.stats();
  assertEquals([waiting, running, receiving], [1, 1, 2]);
  assertEquals(connection.calls().map(({ state }) => state), [
    "running",
    "waiting",
  ]);
  held.release({ id: 7 });
  assertEquals((await peer.expect("reply")).id, 1);
  const reply = await peer.expect("reply");
  assertEquals([reply.id, reply.result], [2, 7]);
  await end();
});

test("a chain of any length runs from its first result", async () => {
  const { peer, connection, held, end } = await facing();
  await peer.request("Held.work", null, { keep: true });
  for (let i = 1; i < 1000; i++) {
    await dependent(peer, "Test.echo", [null], [at(i, [], ["0"])], true);
    if (i > 20) await peer.release(i - 20);
  }
  await settle();
  held.release(1);
  let last: unknown;
  for (let i = 0; i < 1000; i++) {
    const { id, result } = await peer.expect("reply");
    assertEquals(id, i + 1);
    last = result;
    if (i < 25) last = undefined;
  }
  for (let depth = 0; depth < 999; depth++) last = (last as unknown[])[0];
  assertEquals(last, 1);
  for (let i = 980; i <= 1000; i++) await peer.release(i);
  await settle();
  assertEquals(connection.stats().kept, 0);
  await end();
});

test("a chain that fails at its start fails as a whole, none of it started", async () => {
  const { peer, held, log, end } = await facing();
  await peer.request("Held.work", null, { keep: true });
  for (let i = 1; i < 3000; i++) {
    await dependent(peer, "Test.log", [null], [at(i, [], ["0"])], true);
  }
  await settle();
  held.calls[0].reject(new RpcError("nope", "no"));
  assertEquals((await peer.expect("error")).code, "nope");
  for (let i = 1; i < 3000; i++) {
    const { code, started } = await peer.expect("error");
    assertEquals([code, started], ["dependency_failed", false]);
  }
  assertEquals(log, []);
  await end();
});

test("what fails before its handler, or is no method, has no result", async () => {
  const { peer, end } = await facing();
  await peer.request("Test.nobody", null, { keep: true });
  await peer.expect("error");
  await peer.request("Test.fail", null, { keep: true });
  await peer.expect("error");
  for (const id of [1, 2]) {
    await dependent(peer, "Test.echo", null, [at(id)]);
    const { code, started } = await peer.expect("error");
    assertEquals([code, started], ["dependency_failed", false]);
  }
  await end();
});

test("to cancel a call fails those that wait for it, and to cancel those leaves it alone", async () => {
  const { peer, connection, held, end } = await facing();
  await peer.request("Held.work", null, { keep: true });
  await dependent(peer, "Test.echo", null, [at(1)], true);
  await dependent(peer, "Test.echo", null, [at(2)]);
  await dependent(peer, "Test.echo", null, [at(1)]);
  await peer.cancel(2);
  const cancelled = await peer.expect("error");
  assertEquals([cancelled.id, cancelled.code], [2, "cancelled"]);
  const failed = await peer.expect("error");
  assertEquals([failed.id, failed.code], [3, "dependency_failed"]);
  assertEquals(connection.stats().waiting, 1);
  held.calls[0].resolve("x");
  await peer.expect("reply");
  assertEquals((await peer.expect("reply")).result, "x");
  await end();
});

test("what a handler returns after its call was cancelled is no result", async () => {
  const { peer, held, end } = await facing();
  await peer.request("Held.work", null, { keep: true });
  await dependent(peer, "Test.echo", null, [at(1)]);
  await peer.cancel(1);
  await settle();
  held.calls[0].resolve("x");
  assertEquals((await peer.expect("reply")).result, "x");
  assertEquals((await peer.expect("error")).code, "dependency_failed");
  await end();
});

test("the deadline of a call that waits for a result passes", async () => {
  const { peer, clock, end } = await facing();
  await peer.request("Held.work", null, { keep: true });
  await peer.request("Test.echo", null, { timeout: 50, references: [at(1)] });
  await settle();
  await clock.advance(50);
  const { id, code, started } = await peer.expect("error");
  assertEquals([id, code, started], [2, "deadline_exceeded", false]);
  await end();
});

test("a result that is a stream cannot be referred to", async () => {
  const { peer, end } = await facing();
  await peer.request("Test.stream", null, { keep: true });
  await peer.expect("reply");
  for (const kind of ["data", "end"] as const) await peer.expect(kind);
  await dependent(peer, "Test.echo", null, [at(1)]);
  const { code, message, started } = await peer.expect("error");
  assertEquals([code, started], ["invalid_argument", false]);
  assertMatch(message, /stream/);
  await end();
});

for (
  const [why, params, reference, text] of [
    ["a path that leads nowhere", null, at(1, ["a", "b"]), '"a.b"'],
    [
      "the length of an array",
      null,
      at(1, ["list", "length"]),
      '"list.length"',
    ],
    ["an index past the end", null, at(1, ["list", "2"]), '"list.2"'],
    ["no index", null, at(1, ["list", "01"]), '"list.01"'],
    ["a prototype", null, at(1, ["__proto__", "x"]), '"__proto__.x"'],
    ["an inherited member", null, at(1, ["constructor"]), '"constructor"'],
    ["a place without null", { a: 1 }, at(1, [], ["a"]), '"a"'],
    ["a place that is none", { a: null }, at(1, [], ["b"]), '"b"'],
    ["a prototype as the place", {}, at(1, [], ["__proto__", "x"]), "null"],
    ["params that are no null", "x", at(1), "null"],
  ] as const
) {
  test(`invalid_argument: ${why}`, async () => {
    const { peer, log, end } = await facing();
    await peer.request("Test.echo", { a: 1, list: [1, 2] }, { keep: true });
    await peer.expect("reply");
    await dependent(peer, "Test.log", params, [reference]);
    const { code, message, started } = await peer.expect("error");
    assertEquals([code, started], ["invalid_argument", false]);
    assertEquals(message.includes(text), true, message);
    assertEquals(log, []);
    assertEquals(({} as { x?: unknown }).x, undefined);
    await end();
  });
}

test("the oldest results make room: at most 4,096, of at most 1 MiB", async () => {
  const { peer, connection, end } = await facing();
  for (let i = 1; i <= 4100; i++) {
    await peer.request("Test.echo", i, { keep: true });
    await peer.expect("reply");
  }
  assertEquals(connection.stats().kept, 4096);
  await dependent(peer, "Test.echo", null, [at(4)]);
  assertEquals((await peer.expect("error")).code, "dependency_gone");
  await dependent(peer, "Test.echo", null, [at(5)]);
  assertEquals((await peer.expect("reply")).result, 5);
  const large = await peer.request("Test.large", 900_000, { keep: true });
  await peer.expect("reply");
  await dependent(peer, "Test.echo", null, [at(large, ["0", "length"])]);

  assertEquals((await peer.expect("error")).code, "invalid_argument");
  const { kept, bufferedBytes } = connection.stats();
  assertEquals(kept < 4096 && bufferedBytes <= 1 << 20, true);
  const larger = await peer.request("Test.large", 1 << 20, { keep: true });
  await peer.expect("reply");
  await dependent(peer, "Test.echo", null, [at(larger)]);
  assertEquals((await peer.expect("error")).code, "dependency_gone");
  await end();
});

test("a release while a call waits to start takes nothing from it", async () => {
  const { peer, connection, held, end } = await facing({}, { maxRunning: 1 });
  await peer.request("Test.echo", { id: 7 }, { keep: true });
  await peer.expect("reply");
  await peer.request("Held.work");
  await dependent(peer, "Test.echo", null, [at(1, ["id"])]);
  await peer.release(1);
  await settle();
  held.release();
  await peer.expect("reply");
  assertEquals((await peer.expect("reply")).result, 7);
  assertEquals(connection.stats().kept, 0);
  await end();
});

test("small references to large results are not multiplied", async () => {
  const { peer, end } = await facing({}, { maxMessage: 1 << 20 });
  await peer.request("Test.large", 200_000, { keep: true });
  await peer.expect("reply");
  const params = Array(8).fill(null);
  const references = params.map((_, i) => at(1, [], [`${i}`]));
  await dependent(peer, "Test.echo", params, references);
  // As large as the caller could not send it.
  assertEquals((await peer.expect("error")).code, "dependency_gone");
  await end();
});

test("bytes, text and undefined as results", async () => {
  const { peer, end } = await facing({
    nothing: () => undefined,
    bytes: (n: number) => new Uint8Array([n, 2]),
    keys: (value: object) => Object.keys(value),
  });
  await peer.request("Test.nothing", null, { keep: true });
  await peer.request("Test.bytes", 1, { keep: true });
  await peer.request("Test.echo", "text", { keep: true });
  for (let i = 0; i < 3; i++) await peer.expect("reply");
  await dependent(peer, "Test.keys", { a: null, b: null }, [at(1, [], ["a"])]);
  assertEquals((await peer.expect("reply")).result, ["b"]);
  await dependent(peer, "Test.echo", null, [at(2)]);
  assertEquals((await peer.expect("reply")).result, new Uint8Array([1, 2]));
  await dependent(peer, "Test.echo", [null], [at(2, [], ["0"])]);
  assertEquals((await peer.expect("error")).code, "invalid_argument");
  await dependent(peer, "Test.echo", [null], [at(3, [], ["0"])]);
  assertEquals((await peer.expect("reply")).result, ["text"]);
  await end();
});

test("values of rich() arrive whole", async () => {
  const serializer = rich();
  const { peer, end } = await facing({
    make: () => ({ at: new Date(5), raw: new Uint8Array([1]) }),
  }, { serializer: serializer as Serializer });
  await peer.request("Test.make", null, { keep: true });
  await peer.expect("reply");
  const params = { at: null, raw: null };
  const references = [at(1, ["at"], ["at"]), at(1, ["raw"], ["raw"])];
  for (let i = 0; i < 2; i++) {
    await dependent(peer, "Test.echo", params, references);
    assertEquals((await peer.expect("reply")).result, {
      at: new Date(5),
      raw: new Uint8Array([1]),
    });
  }
  await end();
});

test("validation and order see the params with the results in place", async () => {
  const seen: unknown[] = [];
  const schema = {
    "~standard": {
      version: 1,
      vendor: "test",
      validate: (value: unknown) =>
        typeof value === "number"
          ? { value }
          : { issues: [{ message: "no number" }] },
    },
  } as const;
  const { peer, held, end } = await facing({
    checked: method(schema, (n: number) => n + 1),
    line: ordered((n: number, _: CallContext) => void seen.push(n), {
      key: (n: number) => n,
    }),
  });
  await peer.request("Test.echo", { n: 1, s: "x" }, { keep: true });
  await peer.expect("reply");
  await dependent(peer, "Test.checked", null, [at(1, ["n"])]);
  assertEquals((await peer.expect("reply")).result, 2);
  await dependent(peer, "Test.checked", null, [at(1, ["s"])]);
  assertEquals((await peer.expect("error")).code, "invalid_argument");
  // A call enters its order when it has its params.
  const work = await peer.request("Held.work", null, { keep: true });
  await dependent(peer, "Test.line", null, [at(work)]);
  await peer.request("Test.line", 1);
  await peer.expect("reply");
  held.release(1);
  await peer.expect("reply");
  await peer.expect("reply");
  assertEquals(seen, [1, 1]);
  await end();
});

test("a drain serves the calls that wait for results", async () => {
  const { peer, server, held } = await facing();
  await peer.request("Held.work", null, { keep: true });
  await dependent(peer, "Test.echo", null, [at(1)]);
  await settle();
  const closed = server.close();
  assertEquals((await peer.expect("goaway")).warning, true);
  await peer.last();
  assertEquals((await peer.expect("goaway")).lastId, 2);
  held.release("x");
  await peer.expect("reply");
  assertEquals((await peer.expect("reply")).result, "x");
  await peer.expectEnd();
  await peer.end();
  await closed;
});

for (
  const [why, id, references] of [
    ["a call that was never made", 2, [at(3)]],
    ["the call itself", 2, [at(2)]],
    ["more than 64 references", 2, Array(65).fill(at(1))],
    ["a path of more than 32 steps", 2, [at(1, Array(33).fill("a"))]],
    ["a block of more than 8,192 bytes", 2, [at(1, ["a".repeat(8192)])]],
    ["a step that is no text", 2, [at(1, [1 as never])]],
  ] as const
) {
  test(`protocol_error: a reference with ${why}`, async () => {
    const { peer, end } = await facing();
    await peer.request("Test.echo", null, { keep: true });
    await peer.expect("reply");
    await peer.request("Test.echo", null, { id, references });
    assertEquals((await peer.expect("goaway")).code, "protocol_error");
    await end();
  });
}

test("protocol_error: a release of a call that was never made", async () => {
  const { peer, end } = await facing();
  await peer.release(1);
  assertEquals((await peer.expect("goaway")).code, "protocol_error");
  await end();
});

test("a release of what is not kept is ignored", async () => {
  const { peer, end } = await facing();
  await peer.request("Test.echo", 1);
  await peer.expect("reply");
  await peer.release(1);
  await peer.release(1);
  await peer.request("Test.echo", 2);
  assertEquals((await peer.expect("reply")).result, 2);
  await end();
});
