// Calls that refer to the results of others, between the library's two sides.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { delayed } from "../../bench/delay.ts";
import {
  Client,
  type Connection,
  memoryPair,
  type Protocol,
  ReconnectingClient,
  ref,
  RpcError,
  Server,
} from "../../mod.ts";
import { jsonRpc } from "../../jsonrpc.ts";
import { netrpc } from "../../netrpc.ts";
import { settle, TestClock } from "../support/clock.ts";
import { assertNothingLeft, pair } from "../support/pair.ts";
import { Random } from "../support/random.ts";

const later = <T>(value: T) => Promise.resolve(value);

const services = {
  Users: { find: (name: string) => later({ id: name.length, name }) },
  Posts: {
    of: ({ author }: { author: number }) => later([{ id: author * 10 }]),
  },
  Comments: { of: (post: number) => later({ post, texts: ["first"] }) },
  Math: {
    add: ([a, b]: [number, number]) => later(a + b),
    fail: (_: number): Promise<number> =>
      Promise.reject(new RpcError("nope", "as asked")),
  },
};

/** Moves the clock, a millisecond at a time, until the promise has settled. */
async function passing<T>(clock: TestClock, promise: Promise<T>): Promise<T> {
  let settled = false;
  promise.finally(() => settled = true).catch(() => {});
  for (let ms = 0; ms < 1000 && !settled; ms++) await clock.advance(1);
  return await promise;
}

test("three dependent calls take one round trip", async () => {
  const clock = new TestClock();
  const [near, far] = memoryPair({ highWaterMark: 1 << 20 });
  const server = new Server(services, { clock });
  const connection = server.accept(far);
  const client = new Client<typeof services>(delayed(near, 5, clock), {
    clock,
  });
  await passing(clock, client.connection.opened);

  const began = clock.now();
  const user = client.go("Users.find", "ada");
  const posts = client.go("Posts.of", { author: ref(user).id });
  const comments = client.call("Comments.of", ref(posts)[0].id);
  assertEquals(await passing(clock, comments), { post: 30, texts: ["first"] });
  const took = clock.now() - began;
  assert(took <= 12, `${took} ms`);

  // Nothing is kept afterwards.
  await clock.advance(10);
  assertEquals(connection.stats().kept, 0);
  await passing(clock, Promise.all([client.close(), server.close()]));
});

test("1,000 chains of three in flight settle, and nothing is kept afterwards", async () => {
  const { client, connection, close } = pair(services);
  await client.connection.opened;
  const results = Array.from({ length: 1000 }, (_, i) => {
    const user = client.go("Users.find", "x".repeat(i));
    const posts = client.go("Posts.of", { author: ref(user).id });
    return client.call("Comments.of", ref(posts)[0].id);
  });
  const got = await Promise.all(results);
  assertEquals(got.map(({ post }) => post), got.map((_, i) => i * 10));
  await settle();
  const { kept, waiting, receiving } = connection.stats();
  assertEquals({ kept, waiting, receiving }, {
    kept: 0,
    waiting: 0,
    receiving: 0,
  });
  await close();
});

test("random graphs of calls: each gets what its caller would have sent", async () => {
  const random = new Random(7);
  const { client, connection, close } = pair(services, {
    client: { windowCalls: 50 },
    server: { windowCalls: 50, maxRunning: 5 },
  });
  await client.connection.opened;
  for (let round = 0; round < 30; round++) {
    const handles = [client.go("Math.add", [1, 1])];
    const expected: (number | undefined)[] = [2];
    for (let i = 0; i < 60; i++) {
      const [a, b] = [
        random.below(handles.length),
        random.below(handles.length),
      ];
      const [x, y] = [expected[a], expected[b]];
      if (random.below(20) === 0) {
        handles.push(client.go("Math.fail", ref(handles[a])));
        expected.push(undefined);
        continue;
      }
      handles.push(
        client.go("Math.add", [ref(handles[a]), ref(handles[b])]),
      );
      expected.push(x === undefined || y === undefined ? undefined : x + y);
      if (random.below(10) === 0) await handles[a].reply.catch(() => {});
    }
    const got = await Promise.all(
      handles.map(({ reply }) =>
        reply.catch((error) => {
          assert(["nope", "dependency_failed"].includes(error.code), error);
          return undefined;
        })
      ),
    );
    assertEquals(got, expected);
  }
  await settle();
  assertEquals(connection.stats().kept, 0);
  await close();
});

test("both sides may refer, and each has ids of its own", async () => {
  const { client, connection, close } = pair(services);
  await client.connection.opened;
  await connection.opened;
  const first = client.go("Users.find", "ada");
  assertEquals(
    await client.call("Comments.of", ref(first).id),
    { post: 3, texts: ["first"] },
  );
  // The client serves nothing, so the server waits for the first reply.
  const back = connection.go("any");
  const error = await assertRejects(
    () => connection.call("any", [ref(back)]),
    RpcError,
  );
  assertEquals([error.code, error.outcome], ["dependency_failed", "not_sent"]);
  assertEquals((error.cause as RpcError).code, "unavailable");
  await close();
});

test("a reconnecting client: references are sent while the connection lasts, and looked up anew on the next", async () => {
  const servers: Server<typeof services>[] = [];
  const connections: Connection[] = [];
  const client = new ReconnectingClient<typeof services>(() => {
    const [near, far] = memoryPair();
    const server = new Server(services);
    servers.push(server);
    connections.push(server.accept(far));
    return near;
  });
  await client.ready;
  const user = client.go("Users.find", "ada");
  const posts = client.go("Posts.of", { author: ref(user).id });
  const chunk = client.connection?.stats().chunksWritten;
  await posts.sent;
  assertEquals(client.connection?.stats().chunksWritten, chunk! + 1);
  assertEquals(await posts.reply, [{ id: 30 }]);

  // Made while there is no connection; an older result, and new ones.
  await connections[0].abort();
  const next = client.go("Posts.of", { author: ref(user).id });
  const late = client.go("Users.find", "alan");
  const comments = client.go("Comments.of", ref(late).id);
  assertEquals(await next.reply, [{ id: 30 }]);
  assertEquals(await comments.reply, { post: 4, texts: ["first"] });
  assertEquals(connections.length, 2);
  assertEquals(user.id !== undefined, true);
  await client.close();
  for (const server of servers) await server.close();
  for (const connection of connections) assertNothingLeft(connection);
});

for (
  const protocol of [
    netrpc() as Protocol,
    netrpc({ encoding: "json" }),
    jsonRpc(),
  ] as Protocol<"json">[]
) {
  test(`over ${protocol.name} a call is held until the result is there`, async () => {
    const { client, close } = pair(
      {
        find: ({ Name }: { Name: string }) => ({ Id: Name.length }),
        twice: ({ Id }: { Id: number }) => ({ Id: 2 * Id }),
      },
      { client: { protocol }, server: { protocol } },
    );
    const params = { Name: "ada" };
    const first = client.go("find", params);
    const second = client.go("twice", { Id: ref(first).Id });
    const third = client.go("twice", ref(second));
    assertEquals(await third.reply, { Id: 12 });
    // Values are searched for references now; what a getter throws fails its call.
    const hostile = {
      get Name(): string {
        throw new Error("mine");
      },
    };
    const error = await assertRejects(
      () => client.call("find", hostile),
      RpcError,
    );
    assertEquals([error.code, error.outcome], ["invalid_argument", "not_sent"]);
    await close();
  });
}

test("NaN travels over net/rpc also where values are searched for references", async () => {
  const protocol = netrpc() as Protocol as Protocol<"json">;
  const { client, close } = pair(
    { same: (n: number) => n },
    { client: { protocol }, server: { protocol } },
  );
  ref(client.go("same", 1));
  assertEquals(await client.call("same", NaN), NaN);
  await close();
});

test("a reference in a result or in an item is refused", async () => {
  const [near, far] = memoryPair();
  const them: unknown[] = [];
  const errors: unknown[] = [];
  const server = new Server({
    result: () => them,
    items: async function* () {
      yield await later(them);
    },
  }, { onError: (error) => errors.push(error) });
  server.accept(far);
  const client = new Client(near);
  await client.connection.opened;
  them.push(ref(client.go("none")));
  for (const name of ["result", "items"]) {
    const error = await assertRejects(async () => {
      const result = await client.call(name);
      if (result instanceof ReadableStream) await Array.fromAsync(result);
    }, RpcError);
    assertEquals(error.code, "internal");
  }
  assertEquals(errors.length, 2);
  await client.close();
  await server.close();
});

test("a lost connection: the first call may have run, the second certainly did not if it was held", async () => {
  const [near, far] = memoryPair();
  const server = new Server({
    Wait: { forever: () => new Promise<number>(() => {}) },
  });
  const connection = server.accept(far);
  const client = new Client(near);
  await client.connection.opened;
  const first = client.go("Wait.forever");
  const sent = client.go("Wait.forever", [ref(first)]);
  await sent.sent;
  const other = client.go("Wait.forever");
  await other.sent;
  const held = client.go("Wait.forever", [ref(other)]);
  await connection.abort();
  assertEquals(await first.settled, "unknown");
  assertEquals(await sent.settled, "unknown");
  assertEquals(await held.settled, "not_sent");
  await client.closed;
  await server.close();
  assertNothingLeft(client.connection);
});
