/**
 * Async context: what an `AsyncLocalStorage` holds where handlers, middleware
 * and the sources of streams run. No call sees the store of another.
 */

import { AsyncLocalStorage } from "node:async_hooks";
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import {
  callable,
  type CallContext,
  Client,
  clientMiddleware,
  clientOf,
  type Duplex,
  memoryPair,
  ReconnectingClient,
  Server,
  type ServerMiddleware,
  type ServerOptions,
} from "../../mod.ts";
import { JsonRpcClient, JsonRpcServer } from "../../jsonrpc.ts";
import { settle } from "../support/clock.ts";
import type { Any } from "../support/dials.ts";
import { Held } from "../support/services.ts";

const als = new AsyncLocalStorage<string>();

/** Returns what the storage holds where a handler runs: at once, after an await, and in a platform timer. */
const services = {
  Store: {
    now: () => `${als.getStore()}`,
    later: async () => {
      await settle(1);
      return `${als.getStore()}`;
    },
  },
};

async function stores(client: Client<Any>): Promise<unknown[]> {
  const calls = ["Store.now", "Store.later"] as const;
  return await Promise.all(calls.map((name) => client.call(name)));
}

/** Serves in one context and connects in another. */
function connect(
  options: ServerOptions = {},
  offered: object = services,
): { client: Client<Any>; server: Server<object> } {
  const [near, far] = memoryPair();
  const server = als.run("made", () => new Server<object>(offered, options));
  als.run("accepted", () => server.accept(far));
  const client = als.run("opened", () => new Client<Any>(near));
  return { client, server };
}

async function close(...ends: { close(): Promise<void> }[]): Promise<void> {
  await Promise.all(ends.map((end) => end.close()));
}

const NONE = ["undefined", "undefined"];

test("[X40] handlers do not run in the context in which their connection was accepted, opened or served", async () => {
  const { client, server } = connect();
  assertEquals(await stores(client), NONE);
  assertEquals(await als.run("caller", () => stores(client)), NONE);

  const [near, far] = memoryPair();
  const source = (async function* () {
    yield far as Duplex;
    await new Promise(() => {});
  })();
  als.run("served", () => server.serve(source));
  const second = new Client<Any>(near);
  assertEquals(await stores(second), NONE);
  await close(client, second);
  als.run("closed", () => server.close());
});

test("[X40] handlers of a client that serves, plain or reconnecting, and of JSON-RPC do not run in the context of their connection either", async () => {
  const server = new Server<object>({
    Ask: {
      back: (_: undefined, ctx: CallContext) =>
        stores(clientOf<Any>(ctx.connection) as unknown as Client<Any>),
    },
  });
  const options = { services: callable(services) };
  const dial = () => {
    const [near, far] = memoryPair();
    als.run("accepted", () => server.accept(far));
    return near;
  };
  const plain = als.run("opened", () => new Client<Any>(dial(), options));
  const again = als.run(
    "opened",
    () => new ReconnectingClient<Any>(dial, options),
  );
  for (const client of [plain, again]) {
    const said = await als.run("caller", () => client.call("Ask.back"));
    assertEquals(said, NONE);
  }
  await close(plain, again, server);

  const [near, far] = memoryPair();
  const json = new JsonRpcServer(services);
  als.run("accepted", () => json.accept(far));
  const client = als.run("opened", () => new JsonRpcClient<Any>(near));
  assertEquals(await stores(client), NONE);
  await close(client, json);
});

test("[X40] a call that has waited does not run in the context of the one that made room for it", async () => {
  const held = new Held();
  const seen: unknown[] = [];
  const { client, server } = connect({ maxRunning: 1 }, {
    ...held.services,
    Next: { see: () => void seen.push(als.getStore()) },
  });
  const first = client.go("Held.work");
  const second = client.go("Next.see");
  await settle();
  als.run("of the first", () => held.calls[0].resolve());
  await Promise.all([first.reply, second.reply]);
  assertEquals(seen, [undefined]);
  await close(client, server);
});

test("[X40] a call that waits for the send buffer does not run in the context of a call back", async () => {
  const seen: unknown[] = [];
  const server = new Server<object>({
    Big: {
      // Fills the send buffer, so that later calls wait.
      fill: (_: undefined, ctx: CallContext) =>
        als.run("of the first", () => {
          clientOf<Any>(ctx.connection).go(
            "Mine.take",
            new Uint8Array(300_000),
          );
          return new Uint8Array(300_000);
        }),
    },
    Next: { see: () => void seen.push(als.getStore()) },
  }, { highWaterMark: 1024 });
  const [near, far] = memoryPair({ highWaterMark: 1024 });
  server.accept(far);
  const client = new Client<Any>(near, {
    services: callable({ Mine: { take: () => {} } }),
  });
  await Promise.all([
    client.call("Big.fill"),
    ...[1, 2, 3].map(() => client.call("Next.see")),
  ]);
  assertEquals(seen, [undefined, undefined, undefined]);
  await close(client, server);
});

/** Middleware that runs the rest of a call with the store that the caller named. */
const byRun: ServerMiddleware = (call, next) =>
  als.run(call.metadata.get("id") ?? "none", next);

/** The same with `enterWith`, which lasts as long as this code runs. */
const byEntering: ServerMiddleware = (call, next) => {
  const id = call.metadata.get("id");
  if (id !== undefined) als.enterWith(id);
  return next();
};

test("[X40] each handler runs in the context of its own middleware, however many run at once", async () => {
  for (const first of [byRun, byEntering]) {
    const { client, server } = connect({
      use: [
        first,
        (_call, next) => next(),
        async (_call, next) => await next(),
      ],
      maxRunning: 3,
    });
    const ids = Array.from({ length: 50 }, (_, i) => `${i}`);
    const said = await Promise.all(ids.map((id) =>
      client.call(
        "Store.later",
        undefined,
        { metadata: { id } },
      )
    ));
    assertEquals(said, ids);
    await close(client, server);
  }
});

test("[X40] a store that a middleware enters with enterWith does not show in later calls", async () => {
  const { client, server } = connect({ use: [byEntering] });
  const options = { metadata: { id: "mine" } };
  const together = Promise.all([
    client.call("Store.now", undefined, options),
    client.call("Store.now"),
    client.call("Store.later"),
  ]);
  assertEquals(await together, ["mine", "undefined", "undefined"]);
  assertEquals(await stores(client), NONE);
  await close(client, server);
});

/** Streams whose items are what the storage holds; they record what it holds in their cleanup. */
class Sources {
  readonly cleaned: unknown[] = [];

  readonly services = {
    Gen: {
      generator: () => this.generator(),
      later: async () => {
        await settle(1);
        return this.generator();
      },
      iterable: () => {
        const make = () => this.generator();
        return {
          async *[Symbol.asyncIterator]() {
            yield* make();
          },
        };
      },
      readable: () => this.readable(),
      bytes: () => this.readable(),
    },
  };

  async *generator(): AsyncGenerator<string> {
    try {
      for (;;) {
        yield `${als.getStore()}`;
        await settle(1);
        yield `${als.getStore()}`;
      }
    } finally {
      this.cleaned.push(als.getStore());
    }
  }

  readable(): ReadableStream<string> {
    return new ReadableStream<string>({
      pull: (controller) => controller.enqueue(`${als.getStore()}`),
      cancel: () => void this.cleaned.push(als.getStore()),
    }, { highWaterMark: 0 });
  }
}

/** Reads four items and cancels the stream. */
async function four(stream: unknown): Promise<unknown[]> {
  const items: unknown[] = [];
  for await (const item of stream as AsyncIterable<unknown>) {
    if (items.push(item) === 4) break;
  }
  await settle();
  return items;
}

const AROUND: Record<string, readonly ServerMiddleware[]> = {
  "a middleware": [byRun],
  "the outer of two": [byRun, (_call, next) => next()],
  "the inner of two": [(_call, next) => next(), byRun],
  "one that enters for good": [byEntering],
  "one around another that makes a stream of its own": [
    byRun,
    async (_call, next) => {
      const inner = await next() as AsyncIterable<unknown>;
      return (async function* () {
        for await (const item of inner) {
          yield als.getStore() === item ? item : `around: ${als.getStore()}`;
        }
      })();
    },
  ],
};

for (const [what, use] of Object.entries(AROUND)) {
  test(`[X40] a result that is a stream is made, item by item, and cleaned up in the context of ${what}`, async () => {
    const sources = new Sources();
    const { client, server } = connect({ use }, sources.services);
    for (const name of Object.keys(sources.services.Gen)) {
      // Two at once, so that one could see the other's store.
      const read = ["a", "b"].map(async (id) =>
        four(
          await client.call(`Gen.${name}`, undefined, { metadata: { id } }),
        )
      );
      assertEquals(await Promise.all(read), [
        ["a", "a", "a", "a"],
        ["b", "b", "b", "b"],
      ], name);
      assertEquals(sources.cleaned.splice(0).sort(), ["a", "b"], name);
    }
    await close(client, server);
  });
}

test("[X40] one iterable that answers many calls is read in the context of each call", async () => {
  const shared = new Sources();
  const iterable = {
    async *[Symbol.asyncIterator]() {
      yield* shared.generator();
    },
  };
  const { client, server } = connect({ use: [byRun] }, {
    Gen: { shared: () => iterable },
  });
  for (const id of ["a", "b", "c"]) {
    const stream = await client.call(
      "Gen.shared",
      undefined,
      { metadata: { id } },
    );
    assertEquals(await four(stream), [id, id, id, id]);
  }
  assertEquals(shared.cleaned, ["a", "b", "c"]);
  await close(client, server);
});

test("[X40] a stream of params is read in the context of its caller, not of the connection or another call", async () => {
  const taken: Any = {
    take: async (items: AsyncIterable<unknown>) => await four(items),
  };
  const server = new Server<object>({ Take: taken });
  const dial = () => {
    const [near, far] = memoryPair();
    server.accept(far);
    return near;
  };
  const use = clientMiddleware((_call, next) => next());
  const clients = als.run("opened", () => [
    new Client<Any>(dial()),
    new Client<Any>(dial(), { use }),
    // Its calls wait until it has connected.
    new ReconnectingClient<Any>(dial),
    new ReconnectingClient<Any>(dial, { use }),
  ]);
  for (const client of clients) {
    const sources = new Sources();
    const replies = ["a", "b"].map((id) =>
      als.run(
        id,
        () =>
          client.call(
            "Take.take",
            id === "a" ? sources.generator() : sources.readable(),
          ),
      )
    );
    assertEquals(await Promise.all(replies), [
      ["a", "a", "a", "a"],
      ["b", "b", "b", "b"],
    ]);
    await settle();
    assertEquals(sources.cleaned.sort(), ["a", "b"]);
  }
  await close(...clients, server);
});

test("[X40] dials run in the context in which the client was made, not in that of the call that needs the connection", async () => {
  const server = new Server<object>(services);
  const seen: unknown[] = [];
  const dial = () => {
    seen.push(als.getStore());
    const [near, far] = memoryPair();
    server.accept(far);
    return near;
  };
  const client = als.run("made", () =>
    new ReconnectingClient<Any>(dial, {
      retry: { base: 1 },
      credentials: () => {
        seen.push(als.getStore());
        return "me";
      },
    }));
  for (const id of ["a", "b", "c"]) {
    await als.run(id, () => client.call("Store.now"));
    await als.run(id, () => client.connection?.abort());
  }
  await als.run("d", () => client.call("Store.now"));
  assertEquals(new Set(seen), new Set(["made"]));
  await close(client, server);
});
