/**
 * What the error of a call says: of which call it is, where it was made, who
 * made the call; and that it does not travel on to another caller by itself.
 */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertStrictEquals,
} from "@std/assert";
import {
  type CallContext,
  type CallHandle,
  type CallOptions,
  Client,
  clientMiddleware,
  clientOf,
  type ClientOptions,
  memoryPair,
  type Protocol,
  RpcError,
  Server,
} from "../../mod.ts";
import { jsonRpc } from "../../jsonrpc.ts";
import { netrpc } from "../../netrpc.ts";
import { settle, TestClock } from "../support/clock.ts";
import { type Any, failing, hanging, Reconnecting } from "../support/dials.ts";
import { type Pair, pair } from "../support/pair.ts";
import {
  data,
  end,
  failure,
  frame,
  goaway,
  hello,
  KIND,
  RawPeer,
  reply,
} from "../support/raw_peer.ts";

/** What a call rejects with. */
function thrown(reply: Promise<unknown>): Promise<unknown> {
  return reply.then(
    () => {
      throw new Error("the call did not fail");
    },
    (error) => error,
  );
}

/** The peer's word that its answer is a stream. */
const STREAM = [5];

/** A client whose peer is made by hand. */
class Facing {
  readonly clock = new TestClock();
  readonly peer = new RawPeer();
  readonly client: Client<Any>;

  constructor(options: ClientOptions) {
    const { clock } = this;
    this.client = new Client<Any>(this.peer.duplex, { clock, ...options });
  }

  async greet(fields: Parameters<typeof hello>[0] = {}): Promise<void> {
    await this.peer.send(hello({ streams: true, ...fields }));
    await settle();
  }

  go(params: unknown = "x", options?: CallOptions): CallHandle {
    return this.client.go("Inner.call", params, options);
  }

  async over(): Promise<void> {
    await Promise.all([this.client.abort(), this.peer.reset().catch(() => {})]);
  }
}

/** A failure of a call, and the error for it. */
interface Way {
  readonly code: string;
  readonly remote?: true;
  /** Makes a call that fails. */
  readonly fail: (t: Facing) => Promise<unknown>;
}

async function answered(t: Facing, ...frames: Uint8Array[]): Promise<unknown> {
  await t.greet();
  const handle = t.go();
  await settle();
  await t.peer.send(...frames);
  return thrown(handle.reply);
}

/** Reads a result that is a stream. */
async function streamed(
  t: Facing,
  act: () => Promise<unknown>,
  options?: CallOptions,
): Promise<unknown> {
  await t.greet();
  const handle = t.go("x", options);
  await settle();
  await t.peer.send(reply(1, STREAM));
  const stream = await handle.reply as ReadableStream<unknown>;
  const read = thrown(stream.getReader().read());
  await settle();
  await act();
  return await read;
}

const WAYS: Record<string, Way> = {
  "the handler fails": {
    code: "out_of_stock",
    remote: true,
    fail: (t) => answered(t, failure(1, "out_of_stock", "no cups", true)),
  },
  "the peer refuses it": {
    code: "not_found",
    remote: true,
    fail: (t) => answered(t, failure(1, "not_found", "no such", false)),
  },
  "the reply does not parse": {
    code: "invalid_reply",
    fail: (t) => answered(t, reply(1, [1, 0x7b])),
  },
  "the peer says goodbye": {
    code: "unavailable",
    fail: (t) => answered(t, goaway(undefined)),
  },
  "the connection is lost": {
    code: "unavailable",
    fail: async (t) => {
      await t.greet();
      const handle = t.go();
      await settle();
      await t.peer.reset();
      return thrown(handle.reply);
    },
  },
  "the client is closed": {
    code: "unavailable",
    fail: async (t) => {
      await t.greet();
      t.client.abort();
      return thrown(t.go().reply);
    },
  },
  "its deadline passes in flight": {
    code: "deadline_exceeded",
    fail: async (t) => {
      await t.greet();
      const handle = t.go("x", { timeout: 10 });
      await t.clock.advance(10);
      return thrown(handle.reply);
    },
  },
  "its deadline has passed already": {
    code: "deadline_exceeded",
    fail: (t) => thrown(t.go("x", { timeout: 0 }).reply),
  },
  "its deadline passes while it waits": {
    code: "deadline_exceeded",
    fail: async (t) => {
      await t.greet({ calls: 1 });
      t.go();
      const handle = t.go("x", { timeout: 10 });
      await t.clock.advance(10);
      return thrown(handle.reply);
    },
  },
  "its params cannot be serialized": {
    code: "invalid_argument",
    fail: (t) => thrown(t.go(1n).reply),
  },
  "its params are a stream in use": {
    code: "invalid_argument",
    fail: async (t) => {
      await t.greet();
      const stream = new ReadableStream();
      stream.getReader();
      return thrown(t.go(stream).reply);
    },
  },
  "its params are a stream that the peer cannot take": {
    code: "invalid_argument",
    fail: async (t) => {
      const handle = t.go(new ReadableStream());
      await t.greet({ streams: false });
      return thrown(handle.reply);
    },
  },
  "it is larger than the peer accepts": {
    code: "resource_exhausted",
    fail: async (t) => {
      await t.greet({ maxMessage: 16_384 });
      return thrown(t.go("x".repeat(20_000)).reply);
    },
  },
  "too many wait": {
    code: "resource_exhausted",
    fail: async (t) => {
      await t.greet({ calls: 1 });
      for (let i = 0; i < 3; i++) t.go();
      return thrown(t.go().reply);
    },
  },
  "the peer serves nothing": {
    code: "unavailable",
    fail: async (t) => {
      await t.greet({ calls: 0 });
      return thrown(t.go().reply);
    },
  },
  "its result, a stream, fails": {
    code: "out_of_stock",
    remote: true,
    fail: (t) =>
      streamed(t, () => t.peer.send(end(1, 0, "out_of_stock", "no cups"))),
  },
  "an item of its result does not parse": {
    code: "invalid_reply",
    fail: (t) => streamed(t, () => t.peer.send(data(1, [1, 0x7b]))),
  },
  "the connection is lost while its result comes": {
    code: "unavailable",
    fail: (t) => streamed(t, () => t.peer.reset()),
  },
  "its deadline passes while its result comes": {
    code: "deadline_exceeded",
    fail: (t) => streamed(t, () => t.clock.advance(10), { timeout: 10 }),
  },
};

const CLIENTS: Record<string, ClientOptions> = {
  "a client": {},
  "a client with middleware": {
    use: clientMiddleware((_call, next) => next()),
  },
};

for (const [what, { code, remote = false, fail }] of Object.entries(WAYS)) {
  for (const [who, options] of Object.entries(CLIENTS)) {
    test(`[X43] [X48] ${who} whose call fails as ${what} is told its method and where the error was made`, async () => {
      const t = new Facing({ maxQueuedCalls: 2, ...options });
      const error = await fail(t);
      assertInstanceOf(error, RpcError);
      assertEquals([error.code, error.method, error.remote], [
        code,
        "Inner.call",
        remote,
      ]);
      assert(!`${error.stack}`.includes("Called at"));
      await t.over();
    });

    test(`[X43] ${who} that captures stacks, whose call fails as ${what}, is told where the call was made`, async () => {
      const t = new Facing({
        maxQueuedCalls: 2,
        captureStacks: true,
        ...options,
      });
      const error = await fail(t);
      assertInstanceOf(error, RpcError);
      assertEquals(error.code, code);
      const stack = `${error.stack}`;
      assertMatch(stack, /Called at:\n[^]*errors_test/);
      assertEquals(stack.split("Called at:").length, 2);
      await t.over();
    });
  }
}

test("[X43] a reconnecting client's calls name their method, however they fail", async () => {
  for (const captureStacks of [false, true]) {
    for (const use of [undefined, clientMiddleware((_call, next) => next())]) {
      const check = async (handle: CallHandle, code: string) => {
        const error = await thrown(handle.reply);
        assertInstanceOf(error, RpcError);
        assertEquals([error.code, error.method], [code, "m"]);
        const stack = `${error.stack}`;
        assertEquals(/Called at:\n[^]*errors_test/.test(stack), captureStacks);
      };
      const t = new Reconnecting(["peer", failing()], {
        use,
        captureStacks,
        retry: { attempts: 3 },
        maxQueuedCalls: 3,
      });
      const peer = await t.ready();
      const refused = t.go();
      await settle();
      await peer.send(failure(1, "nope", "not now", false));
      await check(refused, "nope");
      const lost = t.go();
      await settle();
      const behind = t.go(1n);
      await check(behind, "invalid_argument");
      await peer.reset();
      await check(lost, "unavailable");
      const late = t.go("x", { timeout: 1 });
      await t.clock.advance(1);
      await check(late, "deadline_exceeded");
      const waits = [t.go(), t.go(), t.go()];
      await check(t.go(), "resource_exhausted");
      for (let i = 0; i < 3; i++) await t.advance(1000);
      for (const handle of waits) await check(handle, "unavailable");
      await check(t.go(), "unavailable");
      await t.over();
    }
  }
});

test("[X43] an error with the outcome of all sendings names its method, too", async () => {
  for (const captureStacks of [false, true]) {
    const t = new Reconnecting(["peer"], { captureStacks });
    const first = await t.ready();
    const handle = t.go("x", { idempotent: true, timeout: 5000 });
    await settle();
    t.dials.then(hanging());
    await first.reset();
    await t.advance(5000);
    const error = await thrown(handle.reply);
    assertInstanceOf(error, RpcError);
    assertEquals([error.code, error.outcome, error.method, error.remote], [
      "deadline_exceeded",
      "unknown",
      "m",
      false,
    ]);
    assertEquals(
      `${error.stack}`.split("Called at:").length,
      captureStacks ? 2 : 1,
    );
    await t.over();
  }
});

test("[X43] what aborts a call is handed through untouched, an RpcError as well", async () => {
  for (const options of Object.values(CLIENTS)) {
    for (const before of [true, false]) {
      for (const by of ["signal", "ctx", "handle"] as const) {
        if (before && by === "handle") continue;
        const t = new Facing({ captureStacks: true, ...options });
        await t.greet();
        const controller = new AbortController();
        const { signal } = controller;
        const reason = new RpcError("cancelled", "changed my mind");
        const { stack } = reason;
        if (before) controller.abort(reason);
        const handle = t.go(
          "x",
          by === "ctx" ? { ctx: { signal, remaining: Infinity } } : { signal },
        );
        await settle();
        if (by === "handle") handle.abort(reason);
        else controller.abort(reason);
        assertStrictEquals(await thrown(handle.reply), reason);
        assertEquals([reason.method, reason.stack], [undefined, stack]);
        await t.over();
      }
    }
  }
});

test("[X43] an error that a middleware makes is its own, and stays as it is", async () => {
  const own = Object.freeze(new RpcError("rate_limited", "later"));
  const t = new Facing({
    use: clientMiddleware(() => {
      throw own;
    }),
  });
  assertStrictEquals(await thrown(t.go().reply), own);
  assertEquals(own.method, undefined);
  await t.over();
});

// An inner service's error, and the outer service's callers.

/** Services whose calls fail. */
const inner = {
  Inner: {
    fails: () => {
      throw new RpcError("secret_code", "secret words", { data: "secret" });
    },
    streams: async function* () {
      yield 1;
      throw new RpcError("secret_code", "secret words", { data: "secret" });
    },
    hangs: () => new Promise(() => {}),
  },
};

/** Ways for a handler to come by an error of a call of its own. */
const FAILURES: Record<string, (inner: Client<Any>) => Promise<unknown>> = {
  "a handler's": (client) => client.call("Inner.fails"),
  "of no such method": (client) => client.call("Inner.nope"),
  "of a lost connection": (client) => {
    const reply = client.call("Inner.hangs");
    client.abort();
    return reply;
  },
  "of a deadline of its own": (client) =>
    client.call("Inner.hangs", undefined, { timeout: 1 }),
  "of params without a form": (client) => client.call("Inner.fails", 1n),
};

const OUTER_WIRES: Record<string, { protocol?: Protocol<"json"> }> = {
  native: {},
  "JSON-RPC": { protocol: jsonRpc() },
  "Go's": { protocol: netrpc({ encoding: "json" }) },
};

async function refuses(
  { errors }: Pick<Pair<object>, "errors">,
  reply: Promise<unknown>,
): Promise<void> {
  const told = await thrown(reply);
  assertInstanceOf(told, RpcError);
  assert(!`${told.message} ${JSON.stringify(told.data)}`.includes("secret"));
  assert(!["secret_code", "not_found", "unavailable"].includes(told.code));
  assert(told.remote);
  const [{ error }] = errors.splice(0);
  assertInstanceOf(error, RpcError);
  assertMatch(`${error.method}`, /^Inner\./);
}

for (const [what, make] of Object.entries(FAILURES)) {
  for (const [name, options] of Object.entries(OUTER_WIRES)) {
    test(`[X48] an inner call's error, ${what}, that a handler rethrows is for the operator, not for its caller (${name})`, async () => {
      const clock = new TestClock();
      const under = pair(inner, { client: { clock } });
      const client = under.client as unknown as Client<Any>;
      const services = { Outer: { rethrows: (_: unknown) => make(client) } };
      const t = pair(services, { client: options, server: options });
      const reply = t.client.call("Outer.rethrows", [1]);
      reply.catch(() => {});
      await settle();
      await clock.advance(1);
      await refuses(t, reply);
      await t.close();
      await Promise.all([client.abort(), under.connection.abort()]);
    });
  }
}

test("[X48] so is one that a result which is a stream fails with, passed on or rethrown", async () => {
  const under = pair(inner);
  const client = under.client as unknown as Client<Any>;
  const t = pair({
    Outer: {
      passes: () => client.call("Inner.streams"),
      yields: async function* () {
        yield* await client.call("Inner.streams") as AsyncIterable<unknown>;
      },
      calls: async function* () {
        yield 1;
        await client.call("Inner.fails");
      },
    },
  });
  for (const name of ["passes", "yields", "calls"] as const) {
    const stream = await t.client.call(`Outer.${name}`) as AsyncIterable<
      unknown
    >;
    await refuses(t, Array.fromAsync(stream));
  }
  await t.close();
  await under.close();
});

test("[X48] so is one that a stream of params fails with, or is cancelled with", async () => {
  const under = pair(inner);
  const client = under.client as unknown as Client<Any>;
  const seen: unknown[] = [];
  const t = pair({
    Outer: {
      takes: async (items: AsyncIterable<unknown>) => {
        seen.push(await thrown(Array.fromAsync(items)));
      },
      gives: async function* (_: undefined, ctx: CallContext) {
        try {
          for (;;) {
            yield 1;
            await settle(1);
          }
        } finally {
          seen.push(ctx.signal.reason);
        }
      },
    },
  });
  const failed = (async function* () {
    yield 1;
    await client.call("Inner.fails");
  })();
  await t.client.call("Outer.takes", failed as never).catch(() => {});
  const given = await t.client.call("Outer.gives") as unknown as ReadableStream;
  const reader = given.getReader();
  await reader.read();
  await reader.cancel(await thrown(client.call("Inner.fails")));
  await settle();
  assertEquals(seen.length, 2);
  for (const error of seen) {
    assertInstanceOf(error, RpcError);
    assert(error.remote);
    assertEquals(error.code, "cancelled");
    assert(!error.message.includes("secret"));
  }
  await t.close();
  await under.close();
});

test("[X48] an error of a call back to the caller does not return to it as the handler's", async () => {
  const [near, far] = memoryPair();
  const errors: unknown[] = [];
  const server = new Server({
    Outer: {
      asks: async (_: undefined, ctx: CallContext) => {
        await clientOf<Any>(ctx.connection).call("Nothing.here");
      },
    },
  }, { onError: (error) => errors.push(error) });
  server.accept(far);
  const client = new Client<Any>(near);
  const error = await thrown(client.call("Outer.asks"));
  assertInstanceOf(error, RpcError);
  assertEquals(error.code, "internal");
  assertEquals((errors[0] as RpcError).method, "Nothing.here");
  await client.close();
  await server.close();
});

test("[X48] what a handler makes of an inner error, and throws, is its own words", async () => {
  const under = pair(inner);
  const client = under.client as unknown as Client<Any>;
  const t = pair({
    Outer: {
      forwards: async () => {
        const error = await thrown(client.call("Inner.fails")) as RpcError;
        const { code, message, data } = error;
        throw new RpcError(code, message, { data, cause: error });
      },
    },
  });
  const error = await thrown(t.client.call("Outer.forwards"));
  assertInstanceOf(error, RpcError);
  assertEquals([error.code, error.message, error.data], [
    "secret_code",
    "secret words",
    "secret",
  ]);
  assertEquals(t.errors, []);
  await t.close();
  await under.close();
});

test("[X48] a server's middleware may turn it into words of its own", async () => {
  const under = pair(inner);
  const client = under.client as unknown as Client<Any>;
  const t = pair({ Outer: { calls: () => client.call("Inner.fails") } }, {
    server: {
      use: [async (_call, next) => {
        try {
          return await next();
        } catch (error) {
          assertInstanceOf(error, RpcError);
          throw new RpcError(error.code, "forwarded");
        }
      }],
    },
  });
  const error = await thrown(t.client.call("Outer.calls"));
  assertInstanceOf(error, RpcError);
  assertEquals([error.code, error.message], ["secret_code", "forwarded"]);
  await t.close();
  await under.close();
});

test("[X48] the deadline that an inner call shares with the outer one is the outer one's, and no failure", async () => {
  const clock = new TestClock();
  const under = pair(inner, { client: { clock }, server: { clock } });
  const client = under.client as unknown as Client<Any>;
  const errors: unknown[] = [];
  const peer = new RawPeer();
  const server = new Server({
    Outer: {
      nested: async (_: unknown, ctx: CallContext) => {
        // Not the signal: the inner call notices by itself.
        await client.call("Inner.hangs", undefined, { timeout: ctx.remaining });
      },
    },
  }, { clock, onError: (error) => errors.push(error) });
  server.accept(peer.duplex);
  await peer.send(
    hello(),
    frame(KIND.REQUEST, 1, [
      ...[0, 0, 0, 10],
      ...[0, 12],
      ...new TextEncoder().encode("Outer.nested"),
      3,
    ], 1),
  );
  await settle();
  await clock.advance(10);
  const { body } = await peer.nextOf(KIND.ERROR);
  assertMatch(new TextDecoder().decode(body), /deadline_exceeded/);
  assertEquals(errors, []);
  const over = server.close();
  await peer.end();
  await over;
  await Promise.all([under.client.abort(), under.connection.abort()]);
});
