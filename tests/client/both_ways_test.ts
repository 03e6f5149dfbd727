// Servers that call their clients back, and both sides calling at once.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import {
  callable,
  type CallContext,
  Client,
  clientMiddleware,
  clientOf,
  type ClientOptions,
  type Connection,
  type ErrorInfo,
  map,
  memoryPair,
  method,
  ReconnectingClient,
  RpcError,
  Server,
  type ServerOptions,
  type StandardSchema,
} from "../../mod.ts";
import { JsonRpcClient, JsonRpcServer } from "../../jsonrpc.ts";
import { settle, TestClock } from "../support/clock.ts";
import { serving } from "../support/dials.ts";
import { assertCloses, faceClient, greet } from "../support/facing.ts";
import { assertNothingLeft } from "../support/pair.ts";
import { KIND, request } from "../support/raw_peer.ts";
import { readHello } from "../conformance/bytes.ts";
import { Held } from "../support/services.ts";

/** The services of the clients in these tests. */
function mine(seen: unknown[] = []) {
  return {
    Mine: {
      double: (n: number) => 2 * n,
      note: (text: string) => void seen.push(text),
      fail: () => {
        throw new Error("a secret");
      },
    },
  };
}
type Mine = ReturnType<typeof mine>;

/** The services of their server, which call the clients back. */
const theirs = {
  Theirs: {
    quadruple: async (n: number, ctx: CallContext) => {
      const caller = clientOf<Mine>(ctx.connection);
      return await caller.call(
        "Mine.double",
        await caller.service("Mine").double(n, { ctx }),
        { ctx },
      );
    },
  },
};

interface Ends {
  readonly client: Client<typeof theirs>;
  /** The server's end. */
  readonly connection: Connection;
  close(): Promise<void>;
}

function ends(
  client: ClientOptions,
  options: ServerOptions = {},
  highWaterMark?: number,
): Ends {
  const [near, far] = memoryPair({ highWaterMark });
  const server = new Server(theirs, options);
  const connection = server.accept(far);
  const made = new Client<typeof theirs>(near, client);
  const close = async () => {
    await Promise.all([made.close(), server.close()]);
    assertNothingLeft(made.connection);
    assertNothingLeft(connection);
  };
  return { client: made, connection, close };
}

test("a handler calls its caller back during the call, with types from end to end", async () => {
  const { client, close } = ends({ services: callable(mine()) });
  assertEquals(await client.call("Theirs.quadruple", 3), 12);
  await close();
});

test("a server calls its client whenever it wants, and notifies it", async () => {
  const seen: unknown[] = [];
  const { connection, close } = ends({ services: callable(mine(seen)) });
  const caller = clientOf<Mine>(connection);
  assertEquals(await caller.call("Mine.double", 4), 8);
  await caller.notify("Mine.note", "hello");
  assertEquals(
    await Array.fromAsync(map(caller, "Mine.double", [1, 2, 3])),
    [2, 4, 6],
  );
  assertEquals(seen, ["hello"]);
  await close();
});

test("calls of a connection take a client's options: timeout, metadata, middleware", async () => {
  const clock = new TestClock();
  const held = new Held();
  const { connection, close } = ends(
    { services: callable(held.services) },
    { clock },
  );
  const caller = clientOf<typeof held.services>(connection, {
    timeout: 100,
    metadata: { from: "server" },
    use: clientMiddleware((call, next) => next({ params: [call.params] })),
    clock,
  });
  const late = caller.go("Held.work", "x");
  await settle();
  const { params, ctx } = held.calls[0];
  assertEquals([params, ctx.metadata.get("from")], [["x"], "server"]);
  await clock.advance(100);
  const error = await assertRejects(() => late.reply, RpcError);
  assertEquals(error.code, "deadline_exceeded");
  held.release();
  await close();
});

test("a call back with ctx ends with the call that it was made for: the client's handler is cancelled", async () => {
  const held = new Held();
  const [near, far] = memoryPair();
  const server = new Server({
    Theirs: {
      ask: (_: undefined, ctx: CallContext) =>
        clientOf<typeof held.services>(ctx.connection)
          .call("Held.work", "x", { ctx }),
    },
  });
  server.accept(far);
  const client = new Client<{ Theirs: { ask(): unknown } }>(near, {
    services: callable(held.services),
  });
  const handle = client.go("Theirs.ask");
  await settle();
  const { signal } = held.calls[0].ctx;
  handle.abort();
  await settle();
  assertEquals(signal.aborted, true);
  held.release();
  assertEquals(await handle.settled, "executed");
  await Promise.all([client.close(), server.close()]);
});

test("a client that serves grants its window in its HELLO; one that does not grants none", async () => {
  const limits = { windowCalls: 7, windowBytes: 100_000 };
  const granted = async (options: ClientOptions) => {
    const { peer, client } = faceClient({ ...options, ...limits });
    const { calls } = readHello(await peer.nextOf(KIND.HELLO));
    await client.abort();
    return calls;
  };
  assertEquals(await granted({ services: callable(mine()) }), 7);
  assertEquals(await granted({}), 0);
  assertEquals(await granted({ services: callable({}) }), 0);
  const { connection, close } = ends({});
  const error = await assertRejects(
    () => clientOf<Mine>(connection).call("Mine.double", 1),
    RpcError,
  );
  assert(["not_sent", "refused"].includes(error.outcome));
  await close();
});

test("[F3] a server that exceeds its client's window is disconnected, as a client would be", async () => {
  const held = new Held();
  const facing = faceClient({
    services: callable(held.services),
    windowCalls: 64,
  });
  await greet(facing);
  const { peer } = facing;
  for (let id = 1; id <= 65; id++) await peer.send(request(id, "Held.work"));
  await assertCloses(facing, "resource_exhausted");
  assertEquals(held.calls.length, 64);
  held.release();
});

test("a client's limit on running handlers applies to its server's calls", async () => {
  const held = new Held();
  const { client, connection, close } = ends({
    services: callable(held.services),
    maxRunning: 2,
  });
  const calls = [1, 2, 3].map((n) => connection.call("Held.work", n));
  await settle();
  const { running, waiting } = client.stats();
  assertEquals([running, waiting], [2, 1]);
  held.release();
  await settle();
  held.release();
  await Promise.all(calls);
  await close();
});

const number: StandardSchema<number> = {
  "~standard": {
    version: 1,
    vendor: "test",
    validate: (value) =>
      typeof value === "number"
        ? { value }
        : { issues: [{ message: "not a number" }] },
  },
};

test("a client's services have validation, middleware, exposed errors and onError, as a server's have", async () => {
  const told: [unknown, ErrorInfo][] = [];
  const seen: string[] = [];
  const services = {
    ...mine(),
    Checked: { half: method(number, (n) => n / 2) },
  };
  const { client, connection, close } = ends({
    services: callable(services, {
      use: [(call, next) => {
        seen.push(call.method);
        return next();
      }],
      exposeErrors: true,
      onError: (error, info) => {
        told.push([error, info]);
        throw new Error("onError itself");
      },
    }),
  });
  const caller = clientOf<typeof services>(connection);
  assertEquals(await caller.call("Checked.half", 4), 2);
  const refused = await assertRejects(
    () => caller.call("Checked.half", "4" as unknown as number),
    RpcError,
  );
  assertEquals([refused.code, refused.outcome], [
    "invalid_argument",
    "refused",
  ]);
  const failed = await assertRejects(() => caller.call("Mine.fail"), RpcError);
  assertEquals([failed.code, failed.message], ["internal", "a secret"]);
  assertEquals(seen, ["Checked.half", "Checked.half", "Mine.fail"]);
  const [[error, info]] = told;
  assertEquals((error as Error).message, "a secret");
  assertEquals(info, {
    method: "Mine.fail",
    id: info.id,
    connection: client.connection,
  });
  await close();
});

test("[W5] what a client's handlers throw is not disclosed to the server", async () => {
  const { connection, close } = ends({ services: callable(mine()) });
  const error = await assertRejects(
    () => clientOf<Mine>(connection).call("Mine.fail"),
    RpcError,
  );
  assertEquals([error.code, error.message], ["internal", "the handler failed"]);
  await close();
});

test("[H6] a client whose services were not made by callable() throws", () => {
  const [near] = memoryPair();
  assertThrows(
    () => new Client(near, { services: mine() as never }),
    TypeError,
    "callable",
  );
  assertThrows(() => callable(new Map() as object), TypeError, "class");
  assertThrows(
    () => callable(mine(), { use: [1 as never] }),
    TypeError,
    "middleware",
  );
  // @ts-expect-error A Map does not survive the wire.
  callable({ Mine: { map: () => new Map<string, string>() } });
});

test("a reconnecting client serves on each of its connections", async () => {
  const server = new Server(theirs);
  const client = new ReconnectingClient<typeof theirs>(serving(server), {
    services: callable(mine()),
    retry: { base: 1 },
  });
  assertEquals(await client.call("Theirs.quadruple", 1), 4);
  const first = client.connection;
  await first?.abort();
  assertEquals(await client.call("Theirs.quadruple", 2), 8);
  assert(client.connection !== first);
  await client.close();
  await server.close();
});

test("JSON-RPC clients take callable services, too", async () => {
  const seen: string[] = [];
  const [near, far] = memoryPair();
  const server = new JsonRpcServer({
    ask: (_: undefined, { connection }: CallContext) =>
      connection.call("double", [4]),
  });
  server.accept(far);
  const services = { double: ([n]: [number]) => 2 * n };
  const client = new JsonRpcClient<{ ask(): unknown }>(near, {
    services: callable(services, {
      use: [(call, next) => {
        seen.push(call.method);
        return next();
      }],
    }),
  });
  assertEquals(await client.call("ask"), 8);
  assertEquals(seen, ["double"]);
  await client.close();
  await server.close();
});

test("once one side drains, handlers of its peer cannot call it back: unavailable, not run", async () => {
  const held = new Held();
  const { client, connection, close } = ends({
    services: callable(held.services),
  });
  const during = connection.go("Held.work", "during");
  await settle();
  const closing = client.close();
  await settle();
  const after = connection.go("Held.work", "after");
  const error = await assertRejects(() => after.reply, RpcError);
  assertEquals([error.code, error.outcome], ["unavailable", "not_sent"]);
  held.release("done");
  assertEquals(await during.reply, "done");
  await closing;
  await close();
});

const CALLS = 400;
const SIZE = 60_000;

test("[F7] both sides saturate each other with calls and large replies: all are answered, in bounded memory", async () => {
  const limits = {
    windowCalls: 64,
    windowBytes: 1_000_000,
    maxRunning: 8,
    highWaterMark: 100_000,
  };
  const connections: Connection[] = [];
  let most = 0;
  // Handlers are synchronous and asynchronous in turn; each reply is far larger than the pair buffers.
  const large = (n: number) => {
    for (const connection of connections) {
      most = Math.max(most, connection.stats().outgoingBytes);
    }
    const bytes = new Uint8Array(SIZE).fill(n);
    return n % 2 === 0 ? bytes : settle(1).then(() => bytes);
  };
  const services = { Mine: { large }, Theirs: { large } };
  const [near, far] = memoryPair({ highWaterMark: 4096 });
  const server = new Server(services, limits);
  const client = new Client<typeof services>(near, {
    ...limits,
    services: callable(services),
  });
  connections.push(client.connection, server.accept(far));
  const replies = connections.flatMap((connection) =>
    Array.from(
      { length: CALLS },
      (_, n) => clientOf<typeof services>(connection).call("Mine.large", n),
    )
  );
  for (const [i, bytes] of (await Promise.all(replies)).entries()) {
    assertEquals([bytes.length, bytes[0]], [SIZE, i % CALLS % 256]);
  }
  // Apart from small requests: the high-water mark, and a reply for each running call.
  const bound = limits.highWaterMark + limits.maxRunning * (SIZE + 100);
  assert(most < bound + 64 * 100, `${most} bytes were outgoing`);
  await client.close();
  await server.close();
  connections.forEach(assertNothingLeft);
});

test("[F7] both sides saturate each other with calls that call back: while one limit has room, all are answered", async () => {
  const echo = (bytes: Uint8Array<ArrayBuffer>) => bytes;
  const leaf = { Leaf: { echo } };
  const services = {
    ...leaf,
    Deep: {
      ask: async (n: number, ctx: CallContext) => {
        const bytes = new Uint8Array(20_000).fill(n);
        const caller = clientOf<typeof leaf>(ctx.connection);
        return (await caller.call("Leaf.echo", bytes, { ctx })).length;
      },
    },
  };
  const [near, far] = memoryPair({ highWaterMark: 4096 });
  const server = new Server(services, { maxRunning: 4, windowCalls: 16 });
  const connection = server.accept(far);
  const client = new Client<typeof services>(near, {
    services: callable(services),
    maxRunning: 4,
    windowCalls: 16,
  });
  const calls = Array.from({ length: 200 }, (_, n) => [
    client.call("Deep.ask", n),
    connection.call("Leaf.echo", new Uint8Array(20_000)),
  ]).flat();
  assertEquals((await Promise.all(calls)).length, 400);
  await client.close();
  await server.close();
  assertNothingLeft(connection);
});

test("[F7] handlers that fill the limits of both sides and wait for each other end at their deadlines", async () => {
  const clock = new TestClock();
  const services = {
    Leaf: { echo: (n: number) => n },
    Deep: {
      ask: (n: number, ctx: CallContext) =>
        ctx.connection.call("Leaf.echo", n, { ctx }) as Promise<number>,
    },
  };
  const limits = { maxRunning: 1, clock };
  const [near, far] = memoryPair();
  const server = new Server(services, limits);
  const connection = server.accept(far);
  const client = new Client<typeof services>(near, {
    services: callable(services),
    ...limits,
  });
  const calls = [
    client.go("Deep.ask", 1, { timeout: 1000 }),
    connection.go("Deep.ask", 2, { timeout: 1000 }),
  ];
  await settle();
  assertEquals(
    [client.stats(), connection.stats()].map(({ running, waiting }) => [
      running,
      waiting,
    ]),
    [[1, 1], [1, 1]],
  );
  await clock.advance(1000);
  for (const { reply } of calls) {
    const error = await assertRejects(() => reply, RpcError);
    assertEquals(error.code, "deadline_exceeded");
  }
  assertEquals(await client.call("Leaf.echo", 3), 3);
  await client.close();
  await server.close();
  assertNothingLeft(connection);
});
