// Values of users (params, results, items, streams, hooks): whatever they do when
// the library reads or calls them, only their own call fails.

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { Buffer } from "node:buffer";
import { Readable } from "node:stream";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import vm from "node:vm";
import {
  type CallContext,
  Client,
  clientMiddleware,
  type ClientOptions,
  connect,
  type Connection,
  type Duplex,
  listen,
  memoryPair,
  observers,
  ReconnectingClient,
  RpcError,
  Server,
  type ServerOptions,
} from "../../mod.ts";
import { jsonRpc } from "../../jsonrpc.ts";
import { settle, TestClock } from "../support/clock.ts";
import { hanging } from "../support/dials.ts";
import { pair } from "../support/pair.ts";
import { fixture } from "../support/fixture.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

/** A client, and a server whose method `give` returns what the test sets. */
function giving(
  give: (params: unknown, ctx: CallContext) => unknown,
  options: { client?: ClientOptions; server?: ServerOptions } = {},
) {
  const S: Any = { give, echo: (value: unknown) => value };
  const made = pair<Any>({ S }, options);
  const { client, errors } = made;
  /** Returns how a call ends, and checks that the connection still works. */
  const ending = async (method: string, params?: unknown, options?: object) => {
    const handle = client.go(method, params, options);
    const error = await handle.reply.then(async (result: unknown) => {
      if (result instanceof ReadableStream) await Array.fromAsync(result);
    }).then(() => undefined, (error: unknown) => error);
    assertEquals(await client.call("S.echo", "next"), "next");
    const told = errors.splice(0).map(({ error }) => error as Error);
    const { code, outcome, message } = (error ?? {}) as RpcError;
    return { error, code, outcome, message, told };
  };
  return { ...made, ending };
}

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

const fail = (): never => {
  throw new Error("made by the test");
};

/** Values that throw when they are read. */
const HOSTILE: Record<string, () => unknown> = {
  "a revoked Proxy": revoked,
  "a Proxy that throws from get": () => new Proxy({}, { get: fail }),
  "a Proxy that throws from has": () => new Proxy({}, { has: fail, get: fail }),
  "a Proxy of a class that cannot be told": () =>
    new Proxy(new Uint8Array(2), { getPrototypeOf: fail }),
  "a getter": () => ({
    get a() {
      return fail();
    },
  }),
  "a lying length": () =>
    new Proxy([1], {
      get: (_, key) => key === "length" ? { valueOf: fail } : 1,
    }),
};

for (const [name, make] of Object.entries(HOSTILE)) {
  test(`[X2] ${name} as a result or item, or inside one, fails only that call, with a typed error`, async () => {
    const gives: (() => unknown)[] = [
      make,
      () => [make()],
      () => ({ a: make() }),
      async function* () {
        yield make();
      },
      async function* () {
        yield [make()];
      },
      () =>
        new ReadableStream({
          start(controller) {
            controller.enqueue(make());
            controller.close();
          },
        }),
    ];
    for (const give of gives) {
      const { ending, close } = giving(give);
      const { code, told } = await ending("S.give");
      assertEquals([code, told.length], ["internal", 1]);
      await close();
    }
  });

  test(`[X2] ${name} as a thrown value reaches the caller as internal, and onError unchanged`, async () => {
    const value = make();
    const throws = [
      () => {
        throw value;
      },
      () => Promise.reject(value),
      async function* () {
        yield 1;
        throw value;
      },
    ];
    for (const give of throws) {
      const { client, ending, errors, close } = giving(give);
      const handle = client.go("S.give");
      const error = await assertRejects(async () => {
        const result = await handle.reply;
        await Array.fromAsync(result as AsyncIterable<unknown>);
      }, RpcError);
      assertEquals(error.code, "internal");
      assertStrictEquals(errors.splice(0)[0].error, value);
      assertEquals((await ending("S.echo", "on")).error, undefined);
      await close();
    }
  });

  test(`[X2] ${name} as params rejects the call with invalid_argument, not sent`, async () => {
    const options: [ClientOptions, object | undefined][] = [
      [{}, undefined],
      [{}, { timeout: 1000 }],
      [{ use: clientMiddleware((_call, next) => next()) }, undefined],
    ];
    for (const [client, of] of options) {
      const { ending, close } = giving(() => 1, { client });
      for (const params of [make(), [make()], { a: make() }]) {
        const { code, outcome } = await ending("S.give", params, of);
        assertEquals([code, outcome], ["invalid_argument", "not_sent"]);
      }
      await close();
    }
  });
}

/** Streams that violate the rules of streams. */
const STREAMS: Record<string, () => unknown> = {
  "whose iterator is 5": () => ({ [Symbol.asyncIterator]: () => 5 }),
  "whose iterator cannot be had": () => ({ [Symbol.asyncIterator]: fail }),
  "whose next is none": () => ({ [Symbol.asyncIterator]: () => ({ next: 5 }) }),
  "whose next throws": () => ({
    [Symbol.asyncIterator]: () => ({ next: fail }),
  }),
  "whose next gives 5": () => ({
    [Symbol.asyncIterator]: () => ({ next: () => 5 }),
  }),
  "whose next gives nothing": () => ({
    [Symbol.asyncIterator]: () => ({ next: async () => {} }),
  }),
  "whose done throws": () => ({
    [Symbol.asyncIterator]: () => ({
      next: () => ({
        get done() {
          return fail();
        },
      }),
    }),
  }),
  "whose getReader throws": () => ({ getReader: fail }),
  "whose reader is 5": () => ({ getReader: () => 5 }),
  "whose read gives 5": () => ({ getReader: () => ({ read: () => 5 }) }),
  "whose read throws": () => ({ getReader: () => ({ read: fail }) }),
};

for (const [name, make] of Object.entries(STREAMS)) {
  test(`[X2] a stream ${name} fails its call, as result and as params`, async () => {
    const { client, ending, close } = giving(async (params) => {
      if (!(params instanceof ReadableStream)) return make();
      return await Array.fromAsync(params);
    });
    const { code, told } = await ending("S.give");
    assertEquals([code, told.length > 0], ["internal", true]);
    const handle = client.go("S.give", make());
    const error = await assertRejects(() => handle.reply, RpcError);
    assert(["cancelled", "invalid_argument"].includes(error.code), error.code);
    await close();
  });
}

test("[X2] a thenable that calls back twice, at once, or throws afterwards settles its call once", async () => {
  type Settle = (value: unknown) => void;
  const gives: [() => unknown, unknown][] = [
    [() => ({
      then(kept: Settle, broken: Settle) {
        kept("first");
        kept("second");
        broken(new Error("third"));
        throw new Error("fourth");
      },
    }), "first"],
    [() => new Proxy(Promise.resolve(1), {}), "internal"],
    [
      () =>
        Object.defineProperty(Promise.resolve(1), "constructor", { get: fail }),
      "internal",
    ],
    [
      () => Object.defineProperty(Promise.resolve(1), "then", { get: fail }),
      "internal",
    ],
  ];
  for (const [give, expected] of gives) {
    const { client, close } = giving(give);
    const result = await client.call("S.give").catch((e: RpcError) => e.code);
    assertEquals(result, expected);
    assertEquals(await client.call("S.echo", "on"), "on");
    await close();
  }
});

test("[X2] options that throw when they are read, or a signal that is not one, reject their call and leave nothing", async () => {
  const bad: (() => object)[] = [
    () => ({
      get signal() {
        return fail();
      },
    }),
    () => ({ signal: { aborted: false } }),
    () => ({ signal: { aborted: false, addEventListener: fail } }),
    () => ({ ctx: { signal: revoked(), remaining: 1 } }),
    () => ({ ctx: { signal: new AbortController().signal, remaining: NaN } }),
    () => ({ metadata: revoked() }),
    () => ({ timeout: "soon" }),
  ];
  const clients: ClientOptions[] = [{}, { timeout: 1000 }, {
    use: clientMiddleware((_call, next) => next()),
  }];
  for (const client of clients) {
    const { client: made, ending, close } = giving(() => 1, { client });
    for (const options of bad) {
      const handle = made.go("S.give", 1, options());
      const [settled] = await Promise.allSettled([handle.reply]);
      assertEquals([settled.status, handle.outcome], ["rejected", "not_sent"]);
      assertEquals((await ending("S.echo", 1)).error, undefined);
    }
    await close();
  }
});

// Bytes.

/** Bytes whose memory was transferred. */
function detached(size = 8): Uint8Array {
  const bytes = new Uint8Array(size);
  bytes.buffer.transfer();
  return bytes;
}

test("[X3] detached bytes as result, item or data of an error fail only that call", async () => {
  const gives: (() => unknown)[] = [
    () => detached(),
    () => Promise.resolve(detached()),
    (_?: unknown, ctx?: CallContext) => ctx!.transfer(detached(40_000)),
    async function* () {
      yield detached();
    },
  ];
  for (const give of gives) {
    const { ending, close } = giving(give);
    const { code, told } = await ending("S.give");
    assertEquals([code, told.length], ["internal", 1]);
    await close();
  }
  const { ending, close } = giving(() => {
    throw new RpcError("own", "text", { data: detached() });
  });
  const { code, error, told } = await ending("S.give");
  assertEquals([code, (error as RpcError).data], ["own", undefined]);
  assertMatch(told[0].message, /data: bytes whose memory is gone/);
  await close();
});

test("[X3] detached bytes as params reject with invalid_argument, and as credentials throw a TypeError", async () => {
  const clients: ClientOptions[] = [{}, {
    use: clientMiddleware((_call, next) => next()),
  }];
  for (const options of clients) {
    const { ending, close } = giving(() => 1, { client: options });
    for (const transfer of [false, true]) {
      const { code, outcome } = await ending("S.give", detached(), {
        transfer,
      });
      assertEquals([code, outcome], ["invalid_argument", "not_sent"]);
    }
    await close();
  }
  const [near] = memoryPair();
  let error: unknown;
  try {
    new Client(near, { credentials: detached() });
  } catch (thrown) {
    error = thrown;
  }
  assertInstanceOf(error, TypeError);
});

test("[X3] bytes that are detached after they were passed with transfer fail only that call, in the batch or queued", async () => {
  const { client, errors, close } = giving((size, ctx) => {
    const bytes = ctx.transfer(new Uint8Array(size as number));
    queueMicrotask(() => bytes.buffer.transfer());
    return bytes;
  }, { client: { windowCalls: 2 }, server: { windowCalls: 2 } });
  const given = [1, 2, 3].map(() => new Uint8Array(40_000));
  const options = { transfer: true };
  const calls = given.map((bytes) => client.go("S.echo", bytes, options));
  const between = client.call("S.echo", "between");
  for (const bytes of given) bytes.buffer.transfer();
  for (const { reply } of calls) {
    const error = await assertRejects(() => reply, RpcError);
    assertEquals([error.code, error.outcome], ["invalid_argument", "not_sent"]);
  }
  assertEquals(await between, "between");
  const error = await assertRejects(
    () => client.call("S.give", 30_000),
    RpcError,
  );
  assertEquals([error.code, error.outcome], ["internal", "executed"]);
  assertMatch((errors[0].error as Error).message, /memory is gone/);
  await close();
});

test("[X3] bytes of an item that are detached while they wait for credit fail only that stream", async () => {
  const chunk = new Uint8Array(400_000);
  const { client, ending, close } = giving(async function* () {
    yield chunk;
    yield 1;
  });
  const stream = await client.call("S.give") as ReadableStream<Uint8Array>;
  await settle();
  chunk.buffer.transfer();
  await assertRejects(() => Array.fromAsync(stream), RpcError);
  await settle();
  assertEquals((await ending("S.echo", 1)).error, undefined);
  await close();
});

test("[X31] bytes of another realm, Buffers, subclasses, shared and resizable ones arrive as bytes", async () => {
  class Mine extends Uint8Array {
    override get length(): number {
      return 2 ** 40;
    }
  }
  const resizable = Reflect.construct(ArrayBuffer, [4, { maxByteLength: 8 }]);
  const values: unknown[] = [
    vm.runInNewContext("new Uint8Array([1, 2, 3, 4])"),
    Buffer.from([1, 2, 3, 4]),
    Reflect.construct(Uint8Array, [[1, 2, 3, 4]], Mine),
    new Uint8Array(new SharedArrayBuffer(4)),
    new Uint8Array(resizable),
    new Uint8Array(resizable, 0),
  ];
  for (const [i, value] of values.entries()) {
    const expected = i < 3 ? [1, 2, 3, 4] : [0, 0, 0, 0];
    const { client, close } = giving((kind) => {
      if (kind !== "items") return value;
      return (async function* () {
        yield value;
      })();
    });
    for (const transfer of [false, true]) {
      const echoed = await client.call("S.echo", value, { transfer });
      assertEquals([...echoed as Uint8Array], expected);
    }
    assertEquals([...await client.call("S.give") as Uint8Array], expected);
    const items = await Array.fromAsync(
      await client.call("S.give", "items") as AsyncIterable<unknown>,
    );
    assertEquals([...items[0] as Uint8Array], expected);
    await close();
  }
});

test("[X31] other views and buffers, and bytes inside JSON, reject with a typed error that says what to send", async () => {
  const { ending, close } = giving(() => 1);
  const bytes = new Uint8Array(3);
  const refused: [unknown, RegExp][] = [
    [new DataView(bytes.buffer), /^params: a DataView .* Uint8Array/],
    [new Uint16Array(2), /^params: a Uint16Array .* Uint8Array/],
    [new Uint8ClampedArray(2), /^params: a Uint8ClampedArray/],
    [bytes.buffer, /^params: an ArrayBuffer .* Uint8Array/],
    [new SharedArrayBuffer(3), /^params: a SharedArrayBuffer/],
    [{ file: bytes }, /^params\.file: a Uint8Array .* Uint8Array by itself/],
    [{ file: Buffer.from("x") }, /^params\.file: a Uint8Array/],
    [[vm.runInNewContext("new Uint8Array(2)")], /^params\[0\]: a Uint8Array/],
  ];
  for (const [params, text] of refused) {
    const { code, outcome, message } = await ending("S.give", params);
    assertEquals([code, outcome], ["invalid_argument", "not_sent"]);
    assertMatch(message, text);
  }
  await close();
});

// Values that JSON would lose.

const LOST: [string, () => unknown, RegExp][] = [
  ["a Map", () => new Map([[1, 2]]), /a Map/],
  ["a Set", () => new Set([1]), /a Set/],
  ["an Error", () => new Error("x"), /an Error/],
  [
    "an Error with properties",
    () => Object.assign(new TypeError("x"), { a: 1 }),
    /an Error/,
  ],
  ["another realm's Map", () => vm.runInNewContext("new Map()"), /a Map/],
  ["a Blob", () => new Blob(["x"]), /a Blob/],
  ["a RegExp", () => /x/, /a RegExp/],
  ["a Promise", () => Promise.resolve(1), /a Promise .*await it first/],
  ["a function", () => fail, /a function/],
  ["a symbol", () => Symbol("s"), /a symbol/],
  [
    "a generator",
    () => [1].values().map((n) => n),
    /an? .*Iterator|a .*Helper/,
  ],
  [
    "an async generator",
    () => (async function* () {})(),
    /AsyncGenerator|a stream/,
  ],
  ["a ReadableStream", () => new ReadableStream(), /a ReadableStream|a stream/],
  [
    "an object with an async iterator",
    () => ({ [Symbol.asyncIterator]: fail }),
    /a stream/,
  ],
];

for (const [name, make, what] of LOST) {
  test(`[X34] ${name} inside a value is refused by the sender, with its path`, async () => {
    const wires = [{}, { protocol: jsonRpc() }];
    for (const wire of wires) {
      const give = () => ({ found: { list: [1, make()] } });
      const { ending, close } = giving(give, { client: wire, server: wire });
      const params = { user: { tags: make() } };
      const { code, outcome, message } = await (async () => {
        const handle = pairOf(wire).client.go("S.give", params);
        return await handle.reply.then(
          () => fail(),
          (e: unknown) => e as RpcError,
        );
      })();
      assertEquals([code, outcome], ["invalid_argument", "not_sent"]);
      assertMatch(message, /^params\.user\.tags: /);
      assertMatch(message, what);
      if (!("protocol" in wire)) {
        const answered = await ending("S.give");
        assertEquals(answered.code, "internal");
        assertMatch(answered.told[0].message, /^result\.found\.list\[1\]: /);
      }
      await close();
    }
  });
}

/** Another client with its server. */
function pairOf(options: object) {
  return giving(() => 1, { client: options, server: options });
}

test("[X34] values with toJSON, and instances of a user's class, are sent", async () => {
  class Point {
    x = 1;
    #secret = 2;
    get secret(): number {
      return this.#secret;
    }
    method(): void {}
  }
  class Old {
    n = 1;
  }
  (Old.prototype as Any).inherited = () => {};
  const { client, close } = giving(() => 1);
  const values: [unknown, unknown][] = [
    [new Point(), { x: 1 }],
    [new Old(), { n: 1 }],
    [Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
    [{ at: new Date(0) }, { at: "1970-01-01T00:00:00.000Z" }],
    [{ to: new URL("https://a.example/") }, { to: "https://a.example/" }],
    [Object.assign(new Map(), { toJSON: () => "mine" }), "mine"],
    [{ toJSON: () => ({ b: 1 }), hidden: fail }, { b: 1 }],
    [{ a: undefined, b: [undefined] }, { b: [null] }],
    [[Object(1), Object("s"), Object(true)], [1, "s", true]],
    [vm.runInNewContext("({ a: [1] })"), { a: [1] }],
  ];
  for (const [value, expected] of values) {
    assertEquals(await client.call("S.echo", value), expected);
  }
  await close();
});

test("[X34] when an error's data cannot be serialized, onError is called and the error arrives without data", async () => {
  for (const data of [new Map(), { a: [() => {}] }, 1n, revoked()]) {
    for (const streamed of [false, true]) {
      const throws = () => {
        throw new RpcError("own", "text", { data });
      };
      const { ending, close } = giving(
        streamed
          ? async function* () {
            yield 1;
            throws();
          }
          : throws,
      );
      const { code, error, told } = await ending("S.give");
      assertEquals([code, (error as RpcError).data], ["own", undefined]);
      assertEquals(told.length, 1);
      assertMatch(told[0].message, /data.* cannot be serialized/);
      await close();
    }
  }
});

// Hooks.

test("[X4] exceptions and rejections of hooks are ignored", async () => {
  const foreign = () =>
    vm.runInNewContext("Promise.reject(new Error('foreign'))");
  const thenable = () => ({
    then: (_: unknown, broken: (e: unknown) => void) => broken(revoked()),
  });
  const hooks: (() => Any)[] = [
    fail,
    () => Promise.reject(new Error("rejected")),
    foreign,
    thenable,
    revoked,
  ];
  for (const hook of hooks) {
    const observe = observers({ start: hook, end: hook });
    const { client, server, connection } = pair<Any>({ S: { fail } }, {
      client: { observe },
      server: { observe, onError: hook },
    });
    await assertRejects(() => client.call("S.fail"), RpcError);
    await connection.abort();
    await Promise.all([client.closed, server.close()]);
    const states: string[] = [];
    const reconnecting = new ReconnectingClient<Any>(hanging(), {
      onStateChange: (state) => {
        states.push(state);
        return hook();
      },
    });
    await reconnecting.close({ timeout: 0 });
    assert(states.includes("closed"), String(states));
  }
  await settle();
});

test("[X4] a listener goes on when its onError throws or rejects", async () => {
  for (const hook of [fail, () => Promise.reject(new Error("rejected"))]) {
    const { promise: told, resolve } = Promise.withResolvers<void>();
    const identity = {
      cert: fixture("server.pem"),
      key: fixture("server-key.pem"),
    };
    const listener = await listen({
      port: 0,
      tls: identity,
      onError: (): Any => {
        resolve();
        return hook();
      },
    });
    const { port } = listener.address as { port: number };
    const plain = await connect({ port });
    const writer = plain.writable.getWriter();
    await writer.write(new TextEncoder().encode("no TLS at all\r\n\r\n"));
    await told;
    const accepted = listener[Symbol.asyncIterator]().next();
    const tls = { ca: fixture("ca.pem") };
    const honest = await connect({ host: "localhost", port, tls });
    const { value } = await accepted;
    for (const end of [honest, value as Duplex]) {
      await end.writable.abort().catch(() => {});
    }
    await writer.abort().catch(() => {});
    await listener.close();
  }
});

// Cancelled handlers.

test("[X25] when a handler throws an AbortError after its signal has fired, the caller gets the reason, and onError is not called", async () => {
  const clock = new TestClock();
  const handlers: Record<string, (ctx: CallContext) => unknown> = {
    timers: (ctx) => sleep(1_000_000, undefined, { signal: ctx.signal }),
    fetch: async ({ signal }) => {
      if (!signal.aborted) {
        await new Promise((go) => signal.addEventListener("abort", go));
      }
      throw new DOMException("The operation was aborted", "AbortError");
    },
    reason: async ({ signal }) => {
      await new Promise((go) => signal.addEventListener("abort", go));
      throw signal.reason;
    },
    stream: async function* ({ signal }) {
      yield 1;
      await sleep(1_000_000, undefined, { signal });
    },
  };
  for (const [name, run] of Object.entries(handlers)) {
    const ended: (string | undefined)[] = [];
    const observe = observers({
      end: ({ code, method }) => method === "S.give" && ended.push(code),
    });
    const { client, errors, close } = giving((_, ctx) => run(ctx), {
      client: { clock },
      server: { clock, observe },
    });
    const handle = client.go("S.give");
    await settle();
    handle.abort(new Error("enough"));
    await assertRejects(() =>
      handle.reply.then((r: Any) => Array.fromAsync(r))
    );
    const outcome = await handle.settled;
    await settle();
    assertEquals([name, ended, outcome], [name, ["cancelled"], "executed"]);
    assertEquals(errors, []);
    await close();
  }
});

test("[X25] an AbortError of a handler whose signal has not fired is a failure of the handler", async () => {
  const { ending, close } = giving(() => {
    throw new DOMException("somebody else's", "AbortError");
  });
  const { code, told } = await ending("S.give");
  assertEquals([code, told.length], ["internal", 1]);
  await close();
});

// Streams that nobody reads.

/** Streams of every kind, and how often each was cancelled. */
const SOURCES: Record<string, () => { stream: unknown; ends: () => unknown }> =
  {
    "a Readable": () => {
      let destroyed = 0;
      const stream = new Readable({
        read() {},
        destroy(_error, done) {
          destroyed++;
          done(null);
        },
      });
      return { stream, ends: () => destroyed };
    },
    "a generator": () => {
      const stream = (async function* () {
        yield 1;
      })();
      return {
        stream,
        ends: async () => (await stream.next()).done ? 1 : 0,
      };
    },
    "a ReadableStream": () => {
      let cancelled = 0;
      const stream = new ReadableStream({ cancel: () => void cancelled++ });
      return { stream, ends: () => cancelled };
    },
    "an iterable with asyncDispose": () => {
      let disposed = 0;
      const stream = {
        async *[Symbol.asyncIterator]() {
          try {
            yield 1;
          } finally {
            disposed++;
          }
        },
        [Symbol.asyncDispose]: () => {
          disposed++;
          return Promise.resolve();
        },
      };
      return { stream, ends: () => disposed };
    },
    "an iterator with return alone": () => {
      let returned = 0;
      const stream = {
        [Symbol.asyncIterator]: () => ({
          next: () => new Promise<never>(() => {}),
          return: () => {
            returned++;
            return Promise.resolve({ done: true, value: undefined });
          },
        }),
      };
      return { stream, ends: () => returned };
    },
  };

for (const [name, make] of Object.entries(SOURCES)) {
  test(`[X10] ${name} as a result that is dropped before its first item is cancelled, once`, async () => {
    const wire = jsonRpc();
    const drops: Record<string, () => Promise<unknown>> = {
      "the caller aborted in the turn": async () => {
        const { stream, ends } = make();
        const { promise, resolve } = Promise.withResolvers<unknown>();
        const { client, close } = giving(() => promise);
        const handle = client.go("S.give");
        await settle();
        handle.abort(new Error("enough"));
        handle.reply.catch(() => {});
        await settle();
        resolve(stream);
        await settle();
        await close();
        return await ends();
      },
      "the caller is gone": async () => {
        const { stream, ends } = make();
        const { promise, resolve } = Promise.withResolvers<unknown>();
        const { client, server } = giving(() => promise);
        const call = client.call("S.give");
        call.catch(() => {});
        await settle();
        await client.abort();
        await settle();
        resolve(stream);
        await settle();
        await server.close();
        return await ends();
      },
      "a protocol without streams": async () => {
        const { stream, ends } = make();
        const options = { protocol: wire };
        const { client, close } = giving(() => stream, {
          client: options,
          server: options,
        });
        await assertRejects(() => client.call("S.give", []), RpcError);
        await close();
        return await ends();
      },
      "no room for one more": async () => {
        const { stream, ends } = make();
        const { client, server, close } = giving(() => stream, {
          client: { maxStreams: 0 },
        });
        void server;
        await assertRejects(() => client.call("S.give"), RpcError);
        await close();
        return await ends();
      },
      "middleware throws afterwards": async () => {
        const { stream, ends } = make();
        const { client, close } = giving(() => stream, {
          server: {
            use: [async (_call, next) => {
              await next();
              return fail();
            }],
          },
        });
        await assertRejects(() => client.call("S.give"), RpcError);
        await close();
        return await ends();
      },
      "middleware answers in its place": async () => {
        const { stream, ends } = make();
        const { client, close } = giving(() => stream, {
          server: {
            use: [async (_call, next) => {
              await next();
              return "instead";
            }],
          },
        });
        assertEquals(await client.call("S.give"), "instead");
        await close();
        return await ends();
      },
    };
    for (const [how, drop] of Object.entries(drops)) {
      assertEquals([how, await drop()], [how, 1]);
    }
  });

  test(`[X10] ${name} as params that are dropped before their first item is cancelled, once`, async () => {
    const wire = jsonRpc();
    const clock = new TestClock();
    type Drop = (client: Any, stream: unknown) => unknown;
    const drops: Record<string, [Drop, ClientOptions?]> = {
      "aborted before": [
        (client, stream) =>
          client.call("S.give", stream, { signal: AbortSignal.abort() }),
      ],
      "aborted in the turn": [(client, stream) => {
        const handle = client.go("S.give", stream);
        handle.abort(new Error("enough"));
        return handle.reply;
      }],
      "invalid options": [
        (client, stream) => client.call("S.give", stream, { timeout: NaN }),
      ],
      "deadline passed already": [
        (client, stream) => client.call("S.give", stream, { timeout: 0 }),
      ],
      "no such method": [(client, stream) => client.call("S.none", stream)],
      "a protocol without streams": [
        (client, stream) => client.call("S.give", stream),
        { protocol: wire },
      ],
      "middleware that does not go on": [
        (client, stream) => client.call("S.give", stream),
        { use: clientMiddleware(() => fail()) },
      ],
      "metadata that is too large": [
        (client, stream) =>
          client.call("S.give", stream, {
            metadata: { a: "x".repeat(70_000) },
          }),
      ],
    };
    for (const [how, [drop, options = {}]] of Object.entries(drops)) {
      const { stream, ends } = make();
      const { client, close } = giving(() => 1, {
        client: options,
        server: { protocol: options.protocol as Any },
      });
      await Promise.resolve(drop(client, stream)).then(() => {}, () => {});
      await settle();
      await close();
      assertEquals([how, await ends()], [how, 1]);
    }
    const queued: Record<string, (client: Any, stream: unknown) => unknown> = {
      aborted: (client, stream) => {
        const handle = client.go("S.give", stream);
        handle.abort(new Error("enough"));
        return handle.reply;
      },
      late: async (client, stream) => {
        const call = client.call("S.give", stream, { timeout: 10 });
        call.catch(() => {});
        await clock.advance(20);
        await call;
      },
      closed: async (client, stream) => {
        const call = client.call("S.give", stream);
        call.catch(() => {});
        await client.abort();
        await call;
      },
    };
    for (const [how, drop] of Object.entries(queued)) {
      const { stream, ends } = make();
      const client = new ReconnectingClient<Any>(hanging(), { clock });
      await Promise.resolve(drop(client, stream)).then(() => {}, () => {});
      await client.abort();
      await settle();
      assertEquals([how, await ends()], [how, 1]);
    }
  });
}

test("[X10] a Readable whose reader waits for an item is destroyed when its call is aborted", async () => {
  let destroyed = 0;
  const give = () =>
    new Readable({
      read() {},
      destroy(_error, done) {
        destroyed++;
        done(null);
      },
    });
  const { client, close } = giving(give);
  const stream = await client.call("S.give") as ReadableStream<unknown>;
  await settle();
  await stream.cancel();
  await settle();
  assertEquals(destroyed, 1);
  const handle = client.go("S.give", give());
  const second = await handle.reply as ReadableStream<unknown>;
  await settle();
  await second.cancel();
  await settle();
  await close();
  // The params, and the second result.
  assertEquals(destroyed, 3);
});

test("[X10] a client's middleware that drops the stream of a result cancels it", async () => {
  let cancelled = 0;
  const give = () => new ReadableStream({ cancel: () => void cancelled++ });
  const drops = [fail, () => "instead"];
  for (const drop of drops) {
    cancelled = 0;
    const use = clientMiddleware(async (_call, next) => {
      await next();
      return drop();
    });
    const { client, connection, close } = giving(give, { client: { use } });
    const result = await client.call("S.give").catch(() => "failed");
    assertEquals(result, drop === fail ? "failed" : "instead");
    await settle();
    assertEquals([cancelled, connection.stats().streams], [1, 0]);
    await close();
  }
});

// Proxies of services.

test("[X47] printing, awaiting, inspecting or converting a service proxy makes no call", async () => {
  const [near, far] = memoryPair();
  const seen: string[] = [];
  const server = new Server<Any>({ S: { m: () => 1 } });
  const connection: Connection = server.accept(far);
  const client = new Client<Any>(near, {
    observe: observers({ start: ({ method }) => void seen.push(method) }),
  });
  const service: Any = client.service("S");
  for (const proxy of [service, service.m]) {
    assertMatch(String(proxy), /service S/);
    assertMatch(`${proxy}`, /service S/);
    assertMatch(proxy + "", /service S/);
    assertEquals(typeof proxy.toString(), "string");
    assertEquals(typeof proxy.toLocaleString(), "string");
    assertEquals(typeof [proxy].toLocaleString(), "string");
    assertEquals(typeof inspect(proxy), "string");
    assertEquals(
      typeof inspect(proxy, { showProxy: true, depth: 4 }),
      "string",
    );
    JSON.stringify(proxy);
    JSON.stringify({ proxy });
    assertStrictEquals(await proxy, proxy);
    assertStrictEquals(await Promise.resolve(proxy), proxy);
    assert(!(proxy == "x"));
    assert(Number.isNaN(Number(proxy)));
    Object.prototype.toString.call(proxy);
  }
  await settle();
  assertEquals(seen, []);
  assertEquals(connection.stats().served.refused, 0);
  const error = await assertRejects(
    () => client.call("S.m", { proxy: client.service("S") }),
    RpcError,
  );
  assertMatch(error.message, /^params\.proxy: a function/);
  await client.close();
  await server.close();
});
