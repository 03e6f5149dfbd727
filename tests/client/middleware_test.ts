// Middleware around calls on both sides, and what it does not change.

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import * as v from "valibot";
import {
  type CallContext,
  type CallEnding,
  Client,
  type ClientMiddleware,
  clientMiddleware,
  ConnectionError,
  type IncomingCall,
  method,
  type Middleware,
  type OutgoingCall,
  type Protocol,
  ReconnectingClient,
  RpcError,
  Server,
  type ServerMiddleware,
  StageError,
} from "../../mod.ts";
import { jsonRpc } from "../../jsonrpc.ts";
import { netrpc } from "../../netrpc.ts";
import type { RpcConnection } from "../../src/connection/connection.ts";
import { settle, TestClock } from "../support/clock.ts";
import { type Any, serving } from "../support/dials.ts";
import { pair } from "../support/pair.ts";
import { hello, KIND, RawPeer, reply } from "../support/raw_peer.ts";
import { Held } from "../support/services.ts";

const services = {
  S: {
    echo: (value: unknown) => value,
    token: (_: null, { metadata }: CallContext) => metadata.get("token"),
    half: method(v.number(), (n: number) => n / 2),
    fail: (_: null) => {
      throw new RpcError("out_of_luck", "as asked");
    },
  },
};

/** A client with middleware, and a server with middleware. */
function onions(client: ClientMiddleware[], server: ServerMiddleware[] = []) {
  return pair(services, {
    client: { use: clientMiddleware(...client) },
    server: { use: server },
  });
}

async function errorOf(promise: Promise<unknown>): Promise<RpcError> {
  return await assertRejects(() => promise, RpcError);
}

function noting(log: string[], name: string): Middleware {
  return async (call, next) => {
    log.push(`${name} in ${call.method} ${call.params}`);
    try {
      const result = await next();
      log.push(`${name} out ${result}`);
      return result;
    } catch (error) {
      log.push(`${name} threw ${(error as RpcError).code}`);
      throw error;
    }
  };
}

test("the first middleware is outermost, on both sides; one function fits both", async () => {
  const log: string[] = [];
  const { client, close } = onions(
    [noting(log, "c1"), noting(log, "c2")],
    [noting(log, "s1"), noting(log, "s2")],
  );
  assertEquals(await client.call("S.echo", "x"), "x");
  assertEquals(log.splice(0), [
    "c1 in S.echo x",
    "c2 in S.echo x",
    "s1 in S.echo x",
    "s2 in S.echo x",
    "s2 out x",
    "s1 out x",
    "c2 out x",
    "c1 out x",
  ]);
  const error = await errorOf(client.call("S.fail", null));
  assertEquals([error.code, error.outcome], ["out_of_luck", "executed"]);
  assertEquals(log.filter((line) => line.includes("threw")), [
    "s2 threw out_of_luck",
    "s1 threw out_of_luck",
    "c2 threw out_of_luck",
    "c1 threw out_of_luck",
  ]);
  await close();
});

test("middleware runs around calls of every kind, on both sides, and each can have metadata", async () => {
  const seen: string[] = [];
  const note = (side: string): Middleware => (call, next) => {
    const of = side === "client"
      ? (call as OutgoingCall).metadata.of
      : (call as IncomingCall).metadata.get("of");
    seen.push(`${side} ${call.params} ${of}`);
    return next();
  };
  const { client, close } = onions([note("client")], [note("server")]);
  const options = (of: string) => ({ metadata: { of } });
  await client.call("S.echo", 1, options("call"));
  const handle = client.go("S.echo", 2, options("go"));
  assertEquals(await handle.reply, 2);
  assertEquals(await handle.settled, "executed");
  assertEquals(await client.service("S").echo(3, options("service")), 3);
  await client.notify("S.echo", 4, options("notify"));
  await ReadableStream.from([5])
    .pipeThrough(client.stage("S.echo", options("stage")))
    .pipeTo(new WritableStream());
  await Array.fromAsync(client.map("S.echo", [6], options("map")));
  const kinds = ["call", "go", "service", "notify", "stage", "map"];
  assertEquals(
    seen,
    kinds.flatMap((kind, i) => [
      `client ${i + 1} ${kind}`,
      `server ${i + 1} ${kind}`,
    ]),
  );
  await close();
});

test("auth, retry, logging and validation apply to calls of every kind", async () => {
  const log: string[] = [];
  let busy = 0;
  const auth: ClientMiddleware = (call, next) =>
    next({ metadata: { ...call.metadata, token: "t" } });
  const retry: ClientMiddleware = async (_call, next) => {
    try {
      return await next();
    } catch (error) {
      if ((error as RpcError).code !== "busy") throw error;
      return await next();
    }
  };
  const admit: ServerMiddleware = (call, next) => {
    if (call.metadata.get("token") !== "t") throw new RpcError("who", "?");
    if (busy++ % 2 === 0) throw new RpcError("busy", "come back");
    return next();
  };
  const { client, close } = onions(
    [noting(log, "c"), retry, auth],
    [admit],
  );
  assertEquals(await client.call("S.half", 2), 1);
  assertEquals(await client.go("S.half", 4).reply, 2);
  assertEquals(await client.service("S").half(6), 3);
  assertEquals(await Array.fromAsync(client.map("S.half", [8])), [4]);
  await client.notify("S.half", 10);
  await settle();
  const wrong = client.map("S.half", ["x" as unknown as number]);
  await assertRejects(() => Array.fromAsync(wrong), StageError);
  assertEquals(log.filter((line) => !line.includes(" in ")), [
    ...["c out 1", "c out 2", "c out 3", "c out 4", "c out 5"],
    "c threw invalid_argument",
  ]);
  await close();
});

test("middleware can wrap a connection, for calls such as a server's back to its client", async () => {
  const seen: string[] = [];
  const use = clientMiddleware((call, next) => {
    seen.push(call.method);
    return next();
  });
  const { client, connection, close } = pair(services);
  const caller = use.wrap(client.connection, {});
  assertEquals(await caller.call("S.echo", 1), 1);
  assertEquals(await caller.go("S.echo", 2).reply, 2);
  assertEquals(seen, ["S.echo", "S.echo"]);
  assertEquals(connection.stats().served.ok, 2);
  await close();
});

test("middleware can change params, metadata and results", async () => {
  const { client, close } = onions(
    [
      async (call, next) => `<${await next({ params: `c${call.params}` })}>`,
      (call, next) => next({ metadata: { ...call.metadata, token: "t" } }),
    ],
    [(call, next) => next({ params: `${call.params}s` })],
  );
  assertEquals(await client.call("S.echo", "x"), "<cxs>");
  assertEquals(await client.call("S.token", null), "<t>");
  await close();
});

test("middleware sees the client's default options", async () => {
  const seen: unknown[] = [];
  const { client, close } = pair(services, {
    client: {
      timeout: 5000,
      metadata: { token: "default" },
      use: clientMiddleware((call, next) => {
        seen.push(call.metadata.token, call.remaining > 4000);
        return next();
      }),
    },
  });
  assertEquals(await client.call("S.token", null), "default");
  assertEquals(seen, ["default", true]);
  await close();
});

test("a client's middleware may return a result by itself, and then nothing is sent", async () => {
  const { client, connection, close } = onions([() => "cached"]);
  const handle = client.go("S.echo", 1);
  assertEquals(await handle.reply, "cached");
  assertEquals(await handle.settled, "not_sent");
  assertEquals(await handle.sent, false);
  assertEquals(connection.stats().receiving, 0);
  await close();
});

test("a client's middleware may send several times; the outcome is the worst of all", async () => {
  const tries: unknown[] = [];
  const retry: ClientMiddleware = async (_call, next) => {
    for (;;) {
      try {
        return await next();
      } catch (error) {
        tries.push((error as RpcError).outcome);
        if (tries.length === 3) throw error;
      }
    }
  };
  const { client, close } = onions([retry], [() => {
    if (tries.length < 2) throw new RpcError("busy", "later");
    return "at last";
  }]);
  const handle = client.go("S.echo", 1);
  assertEquals(await handle.reply, "at last");
  assertEquals(tries, ["refused", "refused"]);
  assertEquals(await handle.settled, "executed");
  await close();
});

test("a call that a server's middleware rejects was not started, and params it passes on are still validated", async () => {
  let ran = 0;
  const counted = {
    S: {
      half: method(v.number(), (n: number) => {
        ran++;
        return n / 2;
      }),
    },
  };
  const { client, errors, close } = pair(counted, {
    server: {
      use: [async (call, next) => {
        await settle(1);
        if (call.params === 13) throw new RpcError("unlucky", "not this one");
        if (call.params === 14) throw new Error("a secret");
        return await next();
      }],
    },
  });
  assertEquals(await client.call("S.half", 4), 2);
  const refused = await errorOf(client.call("S.half", 13));
  assertEquals([refused.code, refused.outcome], ["unlucky", "refused"]);
  const hidden = await errorOf(client.call("S.half", 14));
  assertEquals([hidden.code, hidden.outcome], ["internal", "refused"]);
  assert(!hidden.message.includes("secret"));
  assertEquals((errors[0].error as Error).message, "a secret");
  const wrong = await errorOf(client.call("S.half", "4" as unknown as number));
  assertEquals([wrong.code, wrong.outcome], ["invalid_argument", "refused"]);
  assertEquals(ran, 1);
  await close();
});

test("a server's middleware that throws after its handler has run does not undo that", async () => {
  const { client, close } = onions([], [async (_call, next) => {
    await next();
    throw new RpcError("too_late", "it has run");
  }]);
  const error = await errorOf(client.call("S.echo", 1));
  assertEquals([error.code, error.outcome], ["too_late", "executed"]);
  await close();
});

test("[A3] a call that is cancelled while a server's middleware waits is refused, and its handler never runs", async () => {
  let ran = 0;
  const gate = Promise.withResolvers<void>();
  const counted = { work: () => void ran++ };
  const { client, close } = pair(counted, {
    server: {
      use: [async (_call, next) => {
        await gate.promise;
        return await next();
      }],
    },
  });
  const handle = client.go("work");
  await settle();
  handle.abort();
  await settle();
  gate.resolve();
  assertEquals(await handle.settled, "refused");
  assertEquals(ran, 0);
  await close();
});

test("[A3] an abort ends a call at once, whatever its middleware waits for, and reaches the handler", async () => {
  const held = new Held();
  const gate = Promise.withResolvers<void>();
  const signals: AbortSignal[] = [];
  const { client, close } = pair(held.services, {
    client: {
      use: clientMiddleware(async (call, next) => {
        signals.push(call.signal);
        if (call.params === "before") await gate.promise;
        try {
          return await next();
        } finally {
          if (call.params === "after") await new Promise(() => {});
        }
      }),
    },
  });
  const reason = { not: "an error" };
  const before = new AbortController();
  const early = client.go("Held.work", "before", { signal: before.signal });
  before.abort(reason);
  assertStrictEquals(await early.reply.catch((e) => e), reason);
  assertEquals(await early.settled, "not_sent");
  gate.resolve();
  await settle();
  assertEquals(held.calls.length, 0);

  const flying = client.go("Held.work", "after");
  await settle();
  assertEquals([flying.outcome, flying.id], ["unknown", 1]);
  assertEquals(await flying.sent, true);
  flying.abort(reason);
  assertStrictEquals(await flying.reply.catch((e) => e), reason);
  assertEquals(flying.outcome, "unknown");
  await settle();
  assert(held.calls[0].ctx.signal.aborted);
  held.release();
  assertEquals(await flying.settled, "executed");
  assertEquals(signals.map(({ reason }) => reason), [reason, reason]);
  await close();
});

test("[A8] one deadline holds for all times that a call is sent", async () => {
  const clock = new TestClock();
  const peer = new RawPeer();
  const client = new Client<Any>(peer.duplex, {
    clock,
    use: clientMiddleware(async (_call, next) => {
      await next();
      return await next();
    }),
  });
  await peer.send(hello());
  const handle = client.go("m", undefined, { timeout: 1000 });
  await settle();
  await clock.advance(600);
  await peer.send(reply(1));
  await settle();
  const left: number[] = [];
  for (let i = 0; i < 2; i++) {
    const { body } = await peer.nextOf(KIND.REQUEST);
    left.push(new DataView(body.buffer, body.byteOffset).getUint32(0));
  }
  assertEquals(left, [1000, 400]);
  await clock.advance(400);
  const error = await errorOf(handle.reply);
  assertEquals(error.code, "deadline_exceeded");
  const ending = client.abort();
  await settle();
  await ending;
  assertEquals(clock.timers, 0);
});

test("[A8] a deadline and an outer call's signal hold while a middleware waits, too", async () => {
  const clock = new TestClock();
  const gate = Promise.withResolvers<void>();
  const late: unknown[] = [];
  const { client, connection, close } = pair(services, {
    client: {
      clock,
      use: clientMiddleware(async (_call, next) => {
        await gate.promise;
        return await next().catch((error) => late.push(error));
      }),
    },
    server: { clock },
  });
  const outer = new AbortController();
  const ctx = { signal: outer.signal, remaining: Infinity };
  const nested = client.go("S.echo", 1, { ctx });
  const timed = client.go("S.echo", 1, { timeout: 10 });
  const reason = new Error("the outer call has gone");
  outer.abort(reason);
  assertStrictEquals(await nested.reply.catch((e) => e), reason);
  await clock.advance(10);
  const error = await errorOf(timed.reply);
  const { code, outcome } = error;
  assertEquals([code, outcome], ["deadline_exceeded", "not_sent"]);
  // A call that has settled is not sent any more: next() throws the reason.
  gate.resolve();
  await settle();
  assertEquals(late, [reason, error]);
  assertEquals(connection.stats().receiving, 0);
  await close();
});

test("params are serialized when the call is made, however late they are sent", async () => {
  const { client, close } = onions([async (_call, next) => {
    await settle(1);
    return await next();
  }]);
  const params = { n: 1 };
  const bytes = new Uint8Array([1]);
  const calls = [client.call("S.echo", params), client.call("S.echo", bytes)];
  params.n = 2;
  bytes[0] = 2;
  assertEquals(await Promise.all(calls), [{ n: 1 }, new Uint8Array([1])]);
  const error = await errorOf(client.call("S.echo", 1n));
  assertEquals([error.code, error.outcome], ["invalid_argument", "not_sent"]);
  await close();
});

test("middleware that calls next after its call has settled gets an error, and nothing is sent", async () => {
  const { client, connection, close } = onions([(_call, next) => {
    settle(1).then(() => next()).catch((error) => late.resolve(error));
    return "done";
  }]);
  const late = Promise.withResolvers<RpcError>();
  assertEquals(await client.call("S.echo", 1), "done");
  assertEquals((await late.promise).code, "cancelled");
  assertEquals(connection.stats().receiving, 0);
  await close();
});

test("a call that is aborted while a middleware's params are serialized is cancelled", async () => {
  const held = new Held();
  const aborter = new AbortController();
  const reason = new Error("not any more");
  const params = {
    toJSON: () => {
      aborter.abort(reason);
      return 1;
    },
  };
  const { client, close } = pair(held.services, {
    client: { use: clientMiddleware((_call, next) => next({ params })) },
  });
  const handle = client.go("Held.work", 1, { signal: aborter.signal });
  assertStrictEquals(await handle.reply.catch((e) => e), reason);
  assertEquals(await handle.settled, "not_sent");
  await settle();
  assertEquals(held.calls.length, 0);
  await close();
});

test("options that throw when they are read reject their call behind middleware, too", async () => {
  const broken = new Error("broken");
  const { client, close } = onions([(_call, next) => next()]);
  const throwing = () => {
    throw broken;
  };
  const ctx = Object.defineProperty({ remaining: 1 }, "signal", {
    get: throwing,
  });
  const late = Object.defineProperty({}, "timeout", { get: throwing });
  for (const options of [{ ctx }, late, { signal: 5 }, { metadata: 5 }]) {
    const handle = client.go("S.echo", 1, options as never);
    assert(await handle.reply.catch((error) => error) instanceof Error);
    assertEquals(await handle.settled, "not_sent");
  }
  assertEquals(await client.call("S.echo", 1), 1);
  await close();
});

test("middleware can stand before any caller, also before other middleware", async () => {
  const { client, close } = pair({
    count: async function* () {
      yield 1;
      yield 2;
    },
  });
  const passing = clientMiddleware((_call, next) => next());
  const endings: unknown[] = [];
  const watching = clientMiddleware((call, next) => {
    call.ended.then((ending) => endings.push(ending));
    return next();
  });
  const { connection } = client;
  const own = {
    call: connection.call.bind(connection),
    go: (...args: Parameters<typeof connection.go>) => {
      const { id, method, size, reply, sent, settled, outcome } = connection.go(
        ...args,
      );
      const abort = () => {};
      const rest = { metadata: undefined, trailers: undefined, abort };
      return { id, method, size, reply, sent, settled, outcome, ...rest };
    },
  };
  const before = [connection, passing.wrap(connection, {}), own];
  for (const caller of before) {
    const handle = watching.wrap(caller, {}).go("count");
    const stream = await handle.reply as ReadableStream<number>;
    assertEquals(await Array.fromAsync(stream), [1, 2]);
  }
  await settle();
  assertEquals(endings.map((ending) => (ending as CallEnding).error), [
    undefined,
    undefined,
    undefined,
  ]);
  await close();
});

test("an exception that a middleware throws synchronously rejects the call", async () => {
  const broken = new Error("broken");
  const { client, close } = onions([() => {
    throw broken;
  }]);
  const handle = client.go("S.echo", 1);
  assertStrictEquals(await handle.reply.catch((e) => e), broken);
  assertEquals(await handle.settled, "not_sent");
  client.go("S.echo", 1); // Nobody reads its failure.
  await settle();
  await close();
});

test("middleware that is not a function throws a TypeError when the client or server is made", () => {
  const wrong = 5 as unknown as ClientMiddleware;
  assertThrows(() => clientMiddleware(wrong), TypeError, "not a function");
  assertThrows(() => new Server({}, { use: [wrong as never] }), TypeError);
});

test("[10] without middleware, a client calls its connection directly and a server its handlers", async () => {
  const { client, close } = pair(services, {
    client: { use: clientMiddleware() },
    server: { use: [] },
  });
  let calls = 0;
  const pending = (client.connection as RpcConnection).pending;
  const { call } = pending;
  pending.call = function (...args) {
    calls++;
    return call.apply(pending, args);
  };
  assertEquals(await client.call("S.echo", 1), 1);
  assertEquals(calls, 1);
  await close();
});

test("a reconnecting client's middleware runs once around a call, however often it is sent", async () => {
  const seen: string[] = [];
  const server = new Server<object>(services);
  let dials = 0;
  const client = new ReconnectingClient<typeof services>((signal) => {
    if (dials++ === 0) throw new ConnectionError("unavailable", "not yet");
    return serving(server)(signal);
  }, {
    retry: { base: 1, cap: 1 },
    use: clientMiddleware((call, next) => {
      seen.push(call.method);
      return next();
    }),
  });
  assertEquals(await client.call("S.half", 8), 4);
  assertEquals(seen, ["S.half"]);
  await client.close();
  await server.close();
});

test("[X46] middleware of both sides learns how a call ended, its stream included, and after how many items", async () => {
  const services = {
    count: async function* (to: number) {
      for (let n = 0; n < Math.min(to, 2); n++) yield n;
      if (to === 2) throw new RpcError("out_of_luck", "no more");
      if (to > 2) await new Promise(() => {});
    },
    one: () => 1,
    fail: () => {
      throw new RpcError("out_of_luck", "as asked");
    },
  };
  const log: Record<string, unknown[]> = { client: [], server: [] };
  const noting = (side: string): Middleware => (call, next) => {
    call.ended.then(({ items, error }) => {
      const code = error instanceof RpcError ? error.code : error;
      log[side].push([call.method, items, code]);
    });
    return next();
  };
  const { client, connection } = pair(services, {
    client: { use: clientMiddleware(noting("client")) },
    server: { use: [noting("server")] },
  });
  const told = async (entry: unknown[]) => {
    await settle();
    assertEquals(log, { client: [entry], server: [entry] });
    log.client.pop();
    log.server.pop();
  };
  await client.call("one");
  await told(["one", undefined, undefined]);
  await client.call("fail").catch(() => {});
  await told(["fail", undefined, "out_of_luck"]);
  const one = await client.call("count", 1);
  await settle();
  // The server has ended the stream; the client has not read it yet.
  await Array.fromAsync(one);
  await told(["count", 1, undefined]);
  await Array.fromAsync(await client.call("count", 2)).catch(() => {});
  await told(["count", 2, "out_of_luck"]);
  const reader = (await client.call("count", 3)).getReader();
  await reader.read();
  await settle();
  assertEquals(log, { client: [], server: [] });
  reader.releaseLock();
  await connection.abort();
  await told(["count", 2, "unavailable"]);
  await client.closed;
});

test("[X46] a middleware that throws after a stream has begun ends the call with its error, and cancels the stream", async () => {
  const broken = new Error("broken");
  const endings: unknown[] = [];
  const ended = Promise.withResolvers<void>();
  const { client, close } = pair({
    count: async function* () {
      try {
        for (;;) yield 1;
      } finally {
        ended.resolve();
      }
    },
  }, {
    client: {
      use: clientMiddleware(async (call, next) => {
        call.ended.then((ending) => endings.push(ending));
        await next();
        throw broken;
      }),
    },
  });
  const handle = client.go("count");
  assertStrictEquals(await handle.reply.catch((e) => e), broken);
  assertEquals(await handle.settled, "executed");
  await ended.promise;
  assertEquals(endings, [{ items: undefined, error: broken }]);
  await close();
});

test("[X46] a client's middleware learns that a call was aborted", async () => {
  const held = new Held();
  const endings: unknown[] = [];
  const { client, close } = pair(held.services, {
    client: {
      use: clientMiddleware((call, next) => {
        call.ended.then((ending) => endings.push(ending));
        return next();
      }),
    },
  });
  const handle = client.go("Held.work", 1);
  const reason = new Error("enough");
  handle.abort(reason);
  await assertRejects(() => handle.reply, Error, "enough");
  await settle();
  assertEquals(endings, [{ items: undefined, error: reason }]);
  held.release();
  await close();
});

test("params arrive unchanged on every protocol, though a middleware or a reconnecting client keeps them first", async () => {
  const passing: ClientMiddleware = (_call, next) => next();
  const wires = [jsonRpc(), netrpc(), netrpc({ encoding: "json" })];
  for (const wire of wires as Protocol<"json">[]) {
    const server = new Server(
      { S: { echo: (value: unknown) => value } } as object,
      { protocol: wire },
    );
    const dial = serving(server);
    const use = clientMiddleware(passing);
    const clients = [
      new Client<Any>(await dial(new AbortController().signal), {
        protocol: wire,
        use,
      }),
      new ReconnectingClient<Any>(dial, { protocol: wire }),
      new ReconnectingClient<Any>(dial, { protocol: wire, use }),
    ];
    for (const client of clients) {
      assertEquals(await client.call("S.echo", { A: 1 }), { A: 1 });
      await client.close();
    }
    await server.close();
  }
});
