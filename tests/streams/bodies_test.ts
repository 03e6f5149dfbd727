/** Bodies: a stream beside the params, or beside a result. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "@std/assert";
import {
  type CallContext,
  clientMiddleware,
  type ErrorCode,
  method,
  ReconnectingClient,
  RpcError,
  type Serializer,
  Server,
  type ServerMiddleware,
  withBody,
} from "../../mod.ts";
import { Client as SlimClient, streams } from "../../client.ts";
import { jsonRpc } from "../../jsonrpc.ts";
import { memoryPair } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { Reconnecting, serving } from "../support/dials.ts";
import {
  assertCloses,
  assertLost,
  faceClient,
  faceServer,
  greet,
  serializerField,
} from "../support/facing.ts";
import { pair } from "../support/pair.ts";
import {
  CALLER,
  data,
  end,
  frame,
  hello,
  join,
  KIND,
  reply,
  request,
} from "../support/raw_peer.ts";

const BODY = 0x10;

/** A frame with one more flag. */
function flagged(bytes: Uint8Array, flag: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[5] |= flag;
  return copy;
}

/** A source that says how it ended. */
function source(items: readonly unknown[], ends = true) {
  const seen = { cancelled: undefined as unknown, taken: 0 };
  const stream = new ReadableStream<unknown>({
    pull(controller) {
      if (seen.taken < items.length) controller.enqueue(items[seen.taken++]);
      else if (ends) controller.close();
      else return new Promise(() => {});
    },
    cancel: (reason) => void (seen.cancelled = reason ?? "cancelled"),
  }, { highWaterMark: 0 });
  return { stream, seen };
}

const services = {
  S: {
    async save({ name }: { name: string }, ctx: CallContext<number>) {
      let sum = 0;
      for await (const n of ctx.body ?? []) sum += n;
      return { name, sum, body: ctx.body !== undefined };
    },
    ignore: (_: unknown) => "ignored",
    load: (n: number) =>
      withBody(
        { n },
        ReadableStream.from(Array.from({ length: n }, (_, i) => i)),
      ),
    both: (name: string, ctx: CallContext<string>) =>
      withBody(
        name,
        (async function* () {
          for await (const text of ctx.body ?? []) yield text.toUpperCase();
        })(),
      ),
  },
};

test("a caller's body arrives beside the params", async () => {
  const { client, close } = pair(services);
  const params = { name: "a" };
  for (
    const body of [
      ReadableStream.from([1, 2, 3]),
      (async function* () {
        yield* [1, 2, 3];
      })(),
    ]
  ) {
    const call = client.call("S.save", params, { body });
    assertEquals(await call, { name: "a", sum: 6, body: true });
  }
  assertEquals(await client.call("S.save", params), {
    name: "a",
    sum: 0,
    body: false,
  });
  await close();
});

test("a handler's body arrives beside the result", async () => {
  const { client, close } = pair(services);
  const { value, body } = await client.call("S.load", 3);
  assertEquals(value, { n: 3 });
  assertInstanceOf(body, ReadableStream);
  assertEquals(await Array.fromAsync(body), [0, 1, 2]);
  const empty = await client.call("S.load", 0);
  assertEquals(await Array.fromAsync(empty.body), []);
  await close();
});

test("both directions have a body at once; strings, bytes and nothing are values, too", async () => {
  const { client, close } = pair({
    S: {
      ...services.S,
      echo: (value: unknown, ctx: CallContext<string>) =>
        withBody(value, ctx.body ?? ReadableStream.from<string>([])),
    },
  });
  const body = ReadableStream.from(["x", "y"]);
  const both = await client.call("S.both", "name", { body });
  assertEquals(both.value, "name");
  assertEquals(await Array.fromAsync(both.body), ["X", "Y"]);
  for (const value of ["text", new Uint8Array([1, 2]), undefined, null, [1]]) {
    const body = ReadableStream.from(["x"]);
    const got = await client.call("S.echo", value, { body });
    const { value: back, body: items } = got as Awaited<
      ReturnType<typeof client.call<"S.both">>
    >;
    assertEquals(back as unknown, value);
    assertEquals(await Array.fromAsync(items), ["x"]);
  }
  await close();
});

test("a schema validates the params beside a body", async () => {
  const schema = {
    "~standard": {
      version: 1 as const,
      vendor: "test",
      validate: (value: unknown) =>
        typeof value === "string" ? { value } : { issues: [{ message: "no" }] },
    },
  };
  const { client, close } = pair({
    S: {
      f: method(schema, async (name: string, ctx: CallContext<number>) => [
        name,
        await Array.fromAsync(ctx.body ?? []),
      ]),
    },
  });
  const good = client.call("S.f", "a", { body: ReadableStream.from([1]) });
  assertEquals(await good, ["a", [1]]);
  const { stream, seen } = source([1, 2], false);
  const error = await assertRejects(
    () => client.call("S.f", 1 as never, { body: stream }),
    RpcError,
  );
  assertEquals([error.code, error.outcome], ["invalid_argument", "refused"]);
  await settle();
  assert(seen.cancelled !== undefined);
  await close();
});

test("a body that the handler does not read is dropped, and its source cancelled", async () => {
  const { client, close } = pair(services);
  const { stream, seen } = source([1, 2, 3], false);
  assertEquals(await client.call("S.ignore", 1, { body: stream }), "ignored");
  await settle();
  assert(seen.cancelled !== undefined);
  await close();
});

test("a caller that cancels the body of a result stops its source", async () => {
  const { stream, seen } = source([1, 2, 3], false);
  const { client, close } = pair({ S: { f: () => withBody("v", stream) } });
  const handle = client.go("S.f");
  const { body } = await handle.reply;
  const reader = body.getReader();
  assertEquals((await reader.read()).value, 1);
  await reader.cancel("enough");
  while (seen.cancelled === undefined) await settle();
  assertEquals(await handle.settled, "executed");
  await close();
});

test("an abort after the value fails the body", async () => {
  const { stream, seen } = source([1], false);
  const { client, close } = pair({ S: { f: () => withBody("v", stream) } });
  const handle = client.go("S.f");
  const { body } = await handle.reply;
  const reader = body.getReader();
  await reader.read();
  handle.abort("enough");
  assertEquals(await reader.read().catch((reason) => reason), "enough");
  while (seen.cancelled === undefined) await settle();
  await close();
});

test("a body fails as a stream does, with its trailers", async () => {
  const { client, close } = pair({
    S: {
      f: (_: undefined, ctx: CallContext) =>
        withBody(
          "v",
          (async function* () {
            yield 1;
            ctx.setTrailers({ a: "1" });
            throw new RpcError("own", "text");
          })(),
        ),
      g: async (_: undefined, ctx: CallContext<number>) => {
        await Array.fromAsync(ctx.body ?? []);
        return ctx.trailers?.get("b");
      },
    },
  });
  const handle = client.go("S.f");
  const { value, body } = await handle.reply;
  assertEquals(value, "v");
  const error = await assertRejects(() => Array.fromAsync(body), RpcError);
  assertEquals([error.code, error.method], ["own", "S.f"]);
  assertEquals(handle.trailers?.get("a"), "1");
  const options = {
    body: ReadableStream.from([1]),
    trailers: () => ({ b: "2" }),
  };
  assertEquals(await client.call("S.g", undefined, options), "2");
  await close();
});

test("credit holds for bodies: a source is not read ahead of its reader", async () => {
  const large = new Uint8Array(20_000);
  const { stream, seen } = source(Array(50).fill(large), true);
  const { client, close } = pair({ S: { f: () => withBody("v", stream) } });
  const { body } = await client.call("S.f");
  for (let i = 0; i < 20; i++) await settle();
  assert(seen.taken < 10, `${seen.taken} were taken`);
  let size = 0;
  for await (const chunk of body) size += (chunk as Uint8Array).length;
  assertEquals(size, 50 * 20_000);
  await close();
});

test("what cannot be a body is refused before it is sent", async () => {
  const { client, close } = pair(services);
  const cases: [
    params: unknown,
    body: unknown,
    type: typeof TypeError | typeof RpcError,
  ][] = [
    [{ name: "a" }, "text", TypeError],
    [{ name: "a" }, null, TypeError],
    [ReadableStream.from([1]), ReadableStream.from([1]), TypeError],
    [withBody({ name: "a" }, ReadableStream.from([1])), undefined, TypeError],
  ];
  for (const [params, body, type] of cases) {
    const handle = client.go("S.save", params as never, { body } as never);
    await assertRejects(() => handle.reply, type);
    assertEquals(handle.outcome, "not_sent");
  }
  const locked = ReadableStream.from([1]);
  locked.getReader();
  const handle = client.go("S.save", { name: "a" }, { body: locked });
  const error = await assertRejects(() => handle.reply, RpcError);
  assertEquals([error.code, error.outcome], ["invalid_argument", "not_sent"]);
  assert(error.message.includes("the body"));
  await close();
});

test("a call that cannot be sent cancels its body", async () => {
  const { client, close } = pair(services);
  const made: { options: object; params?: unknown }[] = [
    { options: { signal: AbortSignal.abort("no") } },
    { options: { timeout: -1 } },
    { options: { timeout: NaN } },
    { options: { metadata: { a: 1 } } },
    { options: {}, params: { n: 1n } },
  ];
  for (const { options, params } of made) {
    const { stream, seen } = source([1], false);
    const call = client.call("S.ignore", params, { ...options, body: stream });
    await assertRejects(async () => {
      try {
        await call;
      } catch (error) {
        throw new Error("rejected", { cause: error });
      }
    });
    await settle();
    assert(seen.cancelled !== undefined, JSON.stringify(Object.keys(options)));
  }
  await close();
});

test("a value beside a body that cannot be sent fails the call, and cancels the body", async () => {
  const bodies: ReturnType<typeof source>[] = [];
  const make = () => {
    bodies.push(source([1], false));
    return bodies[bodies.length - 1].stream;
  };
  const { client, close } = pair({
    S: {
      unserializable: () => withBody({ n: 1n } as unknown, make()),
      large: () => withBody("x".repeat(20_000), make()),
      locked: () => {
        const stream = ReadableStream.from([1]);
        stream.getReader();
        return withBody("v", stream);
      },
    },
  }, { client: { maxMessage: 16_384 } });
  const cases: ["unserializable" | "large" | "locked", ErrorCode][] = [
    ["unserializable", "internal"],
    ["large", "resource_exhausted"],
    ["locked", "internal"],
  ];
  for (const [name, code] of cases) {
    const error = await assertRejects(() => client.call(`S.${name}`), RpcError);
    assertEquals([error.code, error.outcome], [code, "executed"]);
  }
  await settle();
  assertEquals(bodies.map(({ seen }) => seen.cancelled !== undefined), [
    true,
    true,
  ]);
  await close();
});

test("a serializer that ends the connection as it encodes the value leaves nothing", async () => {
  const { stream, seen } = source([1], false);
  const { client, connection, server } = pair({
    S: {
      f: () =>
        withBody({
          toJSON: () => void connection.abort("over"),
        } as unknown, stream),
    },
  });
  const error = await assertRejects(() => client.call("S.f"), RpcError);
  assertEquals(error.outcome, "unknown");
  await settle();
  assert(seen.cancelled !== undefined);
  assertEquals(connection.stats().streams, 0);
  await Promise.all([client.close(), server.close()]);
});

test("clients and protocols without streams refuse a body", async () => {
  const [near, far] = memoryPair();
  const server = new Server(services);
  server.accept(far);
  const slim = new SlimClient<typeof services>(near);
  const body = ReadableStream.from([1]);
  const error = await assertRejects(
    () => slim.call("S.save", { name: "a" }, { body }),
    RpcError,
  );
  assertEquals([error.code, error.outcome], ["invalid_argument", "not_sent"]);
  // A handler with a body fails for such a caller.
  const failed = await assertRejects(() => slim.call("S.load", 1), RpcError);
  assertEquals([failed.code, failed.outcome], ["internal", "executed"]);
  await slim.close();

  const [left, right] = memoryPair();
  const other = new SlimClient<typeof services>(left, { streams: streams() });
  server.accept(right);
  assertEquals((await other.call("S.load", 1)).value, { n: 1 });
  await other.close({ timeout: 0 });
  await server.close({ timeout: 0 });

  const json = pair(services, {
    client: { protocol: jsonRpc() },
    server: { protocol: jsonRpc() as never },
  });
  const { stream, seen } = source([1], false);
  const refused = await assertRejects(
    () => json.client.call("S.save", { name: "a" }, { body: stream }),
    RpcError,
  );
  assertEquals(refused.outcome, "not_sent");
  assert(seen.cancelled !== undefined);
  const internal = await assertRejects(
    () => json.client.call("S.load", [1] as never),
    RpcError,
  );
  assertEquals(internal.code, "internal");
  await json.close();
});

test("bodies pass middleware of both sides; one that middleware drops is cancelled", async () => {
  const { stream, seen } = source([1], false);
  const drop: ServerMiddleware = async (call, next) => {
    const result = await next(call);
    return call.metadata.get("drop") ? "dropped" : result;
  };
  const { client, close } = pair({
    S: { ...services.S, held: () => withBody("v", stream) },
  }, {
    server: { use: [drop] },
    client: { use: clientMiddleware((call, next) => next(call)) },
  });
  const body = ReadableStream.from(["x"]);
  const both = await client.call("S.both", "n", { body });
  assertEquals(both.value, "n");
  assertEquals(await Array.fromAsync(both.body), ["X"]);
  const metadata = { drop: "1" };
  const held = client.call("S.held", undefined, { metadata });
  assertEquals(await held, "dropped" as never);
  while (seen.cancelled === undefined) await settle();
  await close();
});

test("client middleware that answers by itself cancels the body", async () => {
  const { client, close } = pair(services, {
    client: { use: clientMiddleware(() => Promise.resolve("own")) },
  });
  const { stream, seen } = source([1], false);
  assertEquals(await client.call("S.ignore", 1, { body: stream }), "own");
  await settle();
  assert(seen.cancelled !== undefined);
  await close();
});

test("a result with a body can be passed on as a result", async () => {
  const inner = pair(services);
  const outer = pair({
    P: { load: (n: number) => inner.client.call("S.load", n) },
  });
  const { value, body } = await outer.client.call("P.load", 2) as unknown as {
    value: unknown;
    body: ReadableStream<number>;
  };
  assertEquals(value, { n: 2 });
  assertEquals(await Array.fromAsync(body), [0, 1]);
  await outer.close();
  await inner.close();
});

test("a reconnecting client sends a call with a body once, also idempotent", async () => {
  const server = new Server(services);
  const client = new ReconnectingClient<typeof services>(
    serving(server as unknown as Server<object>),
  );
  const body = ReadableStream.from([1, 2]);
  assertEquals(
    await client.call("S.save", { name: "a" }, { body }),
    { name: "a", sum: 3, body: true },
  );
  await client.close();
  await server.close();

  const t = new Reconnecting(["peer"]);
  const peer = await t.ready({ streams: true });
  const { stream, seen } = source([1], false);
  const call = t.go("x", { body: stream, idempotent: true });
  await call.sent;
  await peer.reset();
  const error = await assertRejects(() => call.reply, RpcError);
  assertEquals(error.code, "unavailable");
  assert(seen.cancelled !== undefined);
  await t.over();
});

test("a reconnecting client cancels the body of a call that it does not send", async () => {
  const t = new Reconnecting(["peer"]);
  const early = source([1], false);
  const signal = AbortSignal.abort("no");
  await t.go("x", { body: early.stream, signal }).reply.catch(() => {});
  assert(early.seen.cancelled !== undefined);
  const waiting = source([1], false);
  const handle = t.go("x", { body: waiting.stream });
  handle.abort("no");
  assertEquals(await handle.reply.catch((reason) => reason), "no");
  assert(waiting.seen.cancelled !== undefined);
  await t.over();
});

test("[BD1] a body on the wire", async () => {
  const { peer, connection } = faceClient();
  await greet({ peer }, { streams: true });
  await settle();
  const handle = connection.go("S.f", "x", { body: ReadableStream.from([1]) });
  const sent = await peer.next();
  assertEquals([sent?.kind, sent?.flags], [KIND.REQUEST, BODY]);
  assertEquals([...sent?.body ?? []].slice(-2), [3, 0x78]);
  const item = await peer.next();
  assertEquals([item?.kind, item?.flags, [...item?.body ?? []]], [
    KIND.DATA,
    CALLER,
    [1, 0x31],
  ]);
  await peer.send(
    flagged(reply(1, [1, 0x37]), BODY),
    data(1, [3, 0x61]),
    end(1),
  );
  const { value, body } = await handle.reply as {
    value: unknown;
    body: ReadableStream<unknown>;
  };
  assertEquals(value, 7);
  assertEquals(await Array.fromAsync(body), ["a"]);
  await connection.abort();

  const facing = faceServer(services);
  await greet(facing, { streams: true });
  await facing.peer.send(
    flagged(request(1, "S.both", "n"), BODY),
    data(1, [3, 0x61], CALLER),
    end(1, CALLER),
  );
  const answer = await facing.peer.nextOf(KIND.REPLY);
  assertEquals([answer.flags, [...answer.body]], [BODY, [3, 0x6e]]);
  const upper = await facing.peer.nextOf(KIND.DATA);
  assertEquals([...upper.body], [3, 0x41]);
  await facing.peer.nextOf(KIND.END);
  await assertLost(facing);
});

test("[BD1] a body without the capability, or beside a stream, closes the connection", async () => {
  const hold = { S: { f: () => new Promise(() => {}) } };
  for (const streams of [false, true]) {
    const payload = streams ? [5] : [0];
    const server = faceServer(hold);
    await greet(server, { streams });
    await server.peer.send(flagged(request(1, "S.f", payload), BODY));
    await assertCloses(server, "protocol_error");

    const client = faceClient();
    await client.peer.send(hello({ streams }));
    const handle = client.connection.go("S.f");
    await handle.sent;
    await client.peer.send(flagged(reply(1, payload), BODY));
    await assertCloses(client, "protocol_error");
  }
  // No other kind has the flag.
  for (const kind of [KIND.ERROR, KIND.CANCEL, KIND.DATA, KIND.END]) {
    const facing = faceServer(hold);
    await greet(facing, { streams: true });
    await facing.peer.send(frame(kind, 1, [], BODY));
    await assertCloses(facing, "protocol_error");
  }
});

test("[ST2] a body counts as a stream that is open", async () => {
  const facing = faceServer({ S: { f: () => new Promise(() => {}) } }, {
    maxStreams: 1,
  });
  await greet(facing, { streams: true });
  await facing.peer.send(
    flagged(request(1, "S.f"), BODY),
    flagged(request(2, "S.f"), BODY),
  );
  await assertCloses(facing, "resource_exhausted");

  const { client, close } = pair(services, { client: { maxStreams: 0 } });
  const error = await assertRejects(() => client.call("S.load", 1), RpcError);
  assertEquals([error.code, error.outcome], ["resource_exhausted", "executed"]);
  await close();
});

/** Decodes nothing. */
function refusing(decode: () => unknown): Serializer {
  return { name: "s", encode: () => new Uint8Array(), decode };
}

test("a value beside a body that does not parse fails the call, and stops the body", async () => {
  const { peer, client, connection } = faceClient();
  await greet({ peer }, { streams: true });
  const handle = client.connection.go("S.f");
  await handle.sent;
  await peer.nextOf(KIND.REQUEST);
  await peer.send(flagged(reply(1, [1, 0x7b]), BODY), data(1, [0]));
  const error = await assertRejects(() => handle.reply, RpcError);
  assertEquals([error.code, error.outcome, error.method], [
    "invalid_reply",
    "executed",
    "S.f",
  ]);
  assertEquals(handle.outcome, "executed");
  const stopped = await peer.nextOf(KIND.STOP);
  assertEquals([stopped.id, stopped.flags], [1, CALLER]);
  assertEquals(connection.stats().inFlight, 1);
  await peer.send(end(1, 0, "cancelled"));
  await settle();
  assertEquals(await handle.settled, "executed");
  const { inFlight, streams, settled, listeners } = connection.stats();
  assertEquals([inFlight, streams, settled.executed, listeners], [0, 0, 1, 0]);
  await connection.abort();
});

test("a serializer that ends the call or the connection as it decodes the value", async () => {
  for (const how of ["abort", "lose"] as const) {
    let act = () => {};
    const serializer = refusing(() => act());
    const { peer, connection } = faceClient({ serializer });
    await greet({ peer }, { streams: true, extra: serializerField("s") });
    const handle = connection.go("S.f");
    await handle.sent;
    act = () => {
      if (how === "abort") handle.abort("enough");
      else connection.abort();
    };
    await peer.send(flagged(reply(1, [4]), BODY), data(1, [0]));
    const reason = await handle.reply.catch((reason) => reason);
    if (how === "abort") assertEquals(reason, "enough");
    else assertInstanceOf(reason, RpcError);
    await peer.send(end(1)).catch(() => {});
    await settle();
    const { inFlight, streams, settled } = connection.stats();
    assertEquals([inFlight, streams], [0, 0]);
    const { executed, unknown } = settled;
    assertEquals([executed, unknown], how === "abort" ? [1, 0] : [0, 1]);
    await connection.abort();
  }
});

test("a request with a body that has to wait keeps its params", async () => {
  const { client, close } = pair({
    S: {
      f: async (name: string, ctx: CallContext<number>) => [
        name,
        await Array.fromAsync(ctx.body ?? []),
      ],
    },
  }, { server: { maxRunning: 1, windowCalls: 2 } });
  const calls = [1, 2, 3, 4].map((n) =>
    client.call("S.f", `${n}`, { body: ReadableStream.from([n]) })
  );
  assertEquals(
    await Promise.all(calls),
    [1, 2, 3, 4].map((n) => [`${n}`, [n]]),
  );
  await close();
});

test("large params beside a body are lent to the transport, and marked all the same", async () => {
  const { client, close } = pair(services);
  const bytes = new Uint8Array(100_000).fill(7);
  const echo = pair({
    S: {
      f: (value: Uint8Array, ctx: CallContext<number>) =>
        withBody(value, ctx.body ?? ReadableStream.from<number>([])),
    },
  });
  const got = await echo.client.call("S.f", bytes, {
    transfer: true,
    body: ReadableStream.from([1]),
  });
  assertEquals(got.value.length, 100_000);
  assertEquals(await Array.fromAsync(got.body), [1]);
  assert(join(bytes).every((byte) => byte === 7));
  await echo.close();
  await close();
  await client.close();
});
