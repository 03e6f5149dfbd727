// Streams by way of everything that stands around a connection: reconnecting
// clients, middleware, schemas, and wires and peers that have none.

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import {
  type CallContext,
  Client,
  clientMiddleware,
  memoryPair,
  method,
  ReconnectingClient,
  RpcError,
  Server,
} from "../../mod.ts";
import { jsonRpc } from "../../jsonrpc.ts";
import { settle } from "../support/clock.ts";
import { faceClient, greet } from "../support/facing.ts";
import { pair } from "../support/pair.ts";
import { KIND } from "../support/raw_peer.ts";
import * as v from "valibot";

const services = {
  S: {
    sum: async (numbers: ReadableStream<number>) => {
      let total = 0;
      for await (const n of numbers) total += n;
      return total;
    },
    count: async function* (n: number) {
      for (let i = 0; i < n; i++) yield i;
    },
    hold: (_: ReadableStream<number>, ctx: CallContext) =>
      new Promise<never>((_, reject) => {
        ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason));
      }),
  },
};
type Services = typeof services;

/** A source that notes why it was cancelled. */
function source(items: number[]) {
  const told: { reason?: unknown } = {};
  const stream = new ReadableStream<number>({
    pull: (controller) => {
      const item = items.shift();
      if (item !== undefined) controller.enqueue(item);
    },
    cancel: (reason) => void (told.reason = reason),
  }, { highWaterMark: 0 });
  return { stream, told };
}

function errorOf(promise: Promise<unknown>): Promise<RpcError> {
  return promise.then(() => {
    throw new Error("it did not reject");
  }, (error) => error);
}

test("a reconnecting client sends streams once there is a connection, and reads them", async () => {
  const server = new Server(services);
  const gate = Promise.withResolvers<void>();
  const client = new ReconnectingClient<Services>(async () => {
    await gate.promise;
    const [near, far] = memoryPair();
    server.accept(far);
    return near;
  });
  const sum = client.call("S.sum", ReadableStream.from([1, 2, 3]));
  await settle();
  assertEquals(client.stats().waiting, 1);
  gate.resolve();
  assertEquals(await sum, 6);
  assertEquals(await Array.fromAsync(await client.call("S.count", 3)), [
    0,
    1,
    2,
  ]);
  await client.close();
  await server.close();
});

test("a call with a stream is never sent twice: a lost connection settles it, idempotent or not", async () => {
  const servers: Server<Services>[] = [];
  const client = new ReconnectingClient<Services>(() => {
    const [near, far] = memoryPair();
    const server = new Server(services);
    server.accept(far);
    servers.push(server);
    return near;
  }, { idempotent: ["S.hold"], retry: { base: 1 } });
  const { stream, told } = source([1]);
  const handle = client.go("S.hold", stream);
  assert(await handle.sent);
  await settle();
  for (const connection of servers[0].connections) connection.abort();
  const error = await errorOf(handle.reply);
  assertEquals([error.code, error.outcome], ["unavailable", "unknown"]);
  assertEquals(told.reason, error);
  assertEquals(client.stats().resent, 0);
  await client.close();
  await Promise.all(servers.map((server) => server.close()));
});

test("a stream whose call never gets a connection is cancelled", async () => {
  const dial = () => new Promise<never>(() => {});
  const client = new ReconnectingClient<Services>(dial);
  const [first, second, third] = [source([]), source([]), source([])];
  const signal = AbortSignal.abort("aborted");
  const early = await errorOf(client.call("S.sum", first.stream, { signal }));
  assertEquals([early, first.told.reason], ["aborted", "aborted"]);
  const waiting = errorOf(client.call("S.sum", second.stream));
  await client.abort();
  assertEquals((await waiting).outcome, "not_sent");
  assertEquals((second.told.reason as RpcError).outcome, "not_sent");
  assertEquals(
    (await errorOf(client.call("S.sum", third.stream))).outcome,
    "not_sent",
  );
  assert(third.told.reason instanceof RpcError);
});

test("middleware passes streams through, on both sides, and may change them", async () => {
  const seen: unknown[] = [];
  const double = (stream: ReadableStream<number>) =>
    stream.pipeThrough(
      new TransformStream<number, number>({
        transform: (n, controller) => controller.enqueue(2 * n),
      }),
    );
  const { client, close } = pair(services, {
    client: {
      use: clientMiddleware(async (call, next) => {
        const { params } = call;
        if (!(params instanceof ReadableStream)) return await next();
        return await next({ params: double(params) });
      }),
    },
    server: {
      use: [async (call, next) => {
        seen.push(call.params instanceof ReadableStream);
        return await next();
      }],
    },
  });
  assertEquals(await client.call("S.sum", ReadableStream.from([1, 2])), 6);
  assertEquals(await Array.fromAsync(await client.call("S.count", 2)), [0, 1]);
  assertEquals(seen, [true, false]);
  await close();
});

test("an abort behind middleware ends the stream, and leaves no listener", async () => {
  const controller = new AbortController();
  const { client, connection, close } = pair(services, {
    client: { use: clientMiddleware((_, next) => next()) },
  });
  const { signal } = controller;
  const reader = (await client.call("S.count", 1e9, { signal })).getReader();
  await reader.read();
  controller.abort("aborted");
  const told = await errorOf((async () => {
    for (;;) await reader.read();
  })());
  assertEquals(told as unknown, "aborted");
  await settle();
  assertEquals([client.stats().inFlight, connection.stats().running], [0, 0]);
  await close();
});

test("a stream that middleware never sends is cancelled", async () => {
  const { client, close } = pair(services, {
    client: { use: clientMiddleware(() => 42) },
  });
  const { stream, told } = source([]);
  assertEquals(await client.call("S.sum", stream), 42);
  assertEquals(told.reason, 42);
  await close();
});

test("a schema validates the stream itself, and may reject it", async () => {
  const { client, close } = pair({
    S: {
      any: method(
        v.instance(ReadableStream),
        async (stream) => (await Array.fromAsync(stream)).length,
      ),
      number: method(v.number(), (n) => n),
    },
  });
  assertEquals(await client.call("S.any", ReadableStream.from([1, 2])), 2);
  const { stream, told } = source([]);
  const sent = stream as unknown as number;
  const error = await errorOf(client.call("S.number", sent));
  assertEquals([error.code, error.outcome], ["invalid_argument", "refused"]);
  assertEquals(told.reason, error);
  await close();
});

test("a peer that accepts no streams: a call with a stream as params fails, and nothing is sent", async () => {
  const facing = faceClient();
  const { stream, told } = source([]);
  const early = errorOf(facing.connection.call("S.sum", stream));
  const behind = facing.connection.go("S.count", 1);
  await settle();
  assertEquals(facing.connection.stats().queued, 2);
  await greet(facing);
  const error = await early;
  assertEquals([error.code, error.outcome], ["invalid_argument", "not_sent"]);
  assertEquals(told.reason, error);
  assertEquals((await facing.peer.nextOf(KIND.REQUEST)).id, behind.id);
  const late = await errorOf(
    facing.connection.call("S.sum", source([]).stream),
  );
  assertEquals([late.code, late.outcome], ["invalid_argument", "not_sent"]);
  await facing.peer.end();
  await facing.connection.closed;
});

test("a protocol without streams: a stream as params fails the call, a stream as result fails the handler", async () => {
  const [near, far] = memoryPair();
  const errors: unknown[] = [];
  const wire = jsonRpc();
  const told: unknown[] = [];
  const server = new Server({
    list: () =>
      new ReadableStream({ cancel: (reason) => void told.push(reason) }),
    sum: (n: unknown) => n,
  }, { protocol: wire, onError: (error) => errors.push(error) });
  server.accept(far);
  const client = new Client<{ list(): unknown; sum(n: unknown): unknown }>(
    near,
    { protocol: wire },
  );
  const up = source([]);
  const sum = await errorOf(client.call("sum", up.stream));
  assertEquals([sum.code, sum.outcome], ["invalid_argument", "not_sent"]);
  assertEquals(up.told.reason, sum);
  const list = await errorOf(client.call("list"));
  assertEquals(list.code, "internal");
  assertEquals((errors[0] as RpcError).code, "invalid_argument");
  assertEquals(told.length, 1);
  await client.close();
  await server.close();
});

test("a stream that is already in use is rejected, on the client and on the server", async () => {
  const locked = ReadableStream.from([1]);
  locked.getReader();
  const { client, errors, close } = pair({
    S: { ...services.S, locked: () => locked },
  });
  const params = await errorOf(client.call("S.sum", locked));
  assertEquals([params.code, params.outcome], ["invalid_argument", "not_sent"]);
  assertEquals((await errorOf(client.call("S.locked"))).code, "internal");
  assert(errors[0].error instanceof TypeError);
  await close();
});

test("the server calls the client with streams, on the same connection", async () => {
  const { client, close } = pair({
    S: {
      relay: async (_: null, ctx: CallContext) => {
        const { connection } = ctx;
        return await connection.call("nothing", ReadableStream.from([1])).then(
          () => "answered",
          (error: RpcError) => `${error.code} ${error.outcome}`,
        );
      },
    },
  });
  // A client serves nothing: its window says so, streams or not.
  assertEquals(await client.call("S.relay", null), "unavailable not_sent");
  await close();
});
