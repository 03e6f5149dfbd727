/**
 * Two copies of the library in one process, as when one package has it from
 * npm and another from JSR: each accepts what the other makes.
 */

import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
} from "@std/assert";
import * as one from "../../mod.ts";
import * as oneJson from "../../jsonrpc.ts";
import * as oneGo from "../../netrpc.ts";
import { settle } from "../support/clock.ts";
import type { Any } from "../support/dials.ts";

let folder: string;
let two: typeof one;
let twoJson: typeof oneJson;
let twoGo: typeof oneGo;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-copy-"));
  const root = fileURLToPath(new URL("../..", import.meta.url));
  const copied = ["src", "mod.ts", "jsonrpc.ts", "netrpc.ts", "package.json"];
  for (const name of copied) {
    await cp(join(root, name), join(folder, name), { recursive: true });
  }
  const load = (name: string) => import(pathToFileURL(join(folder, name)).href);
  two = await load("mod.ts");
  twoJson = await load("jsonrpc.ts");
  twoGo = await load("netrpc.ts");
});

after(() => folder && rm(folder, { recursive: true }));

/** Both directions: the first copy makes a thing, the second one uses it. */
function* ways(): Generator<[made: typeof one, used: typeof one]> {
  yield [one, two];
  yield [two, one];
}

/** What a call rejects with. */
function thrown(reply: Promise<unknown>): Promise<unknown> {
  return reply.then(() => undefined, (error) => error);
}

/** A client and a server of one copy. */
function connect(
  lib: typeof one,
  services: object,
  options: { server?: one.ServerOptions; client?: one.ClientOptions } = {},
): { client: one.Client<Any>; server: one.Server<object>; errors: unknown[] } {
  const [near, far] = lib.memoryPair();
  const errors: unknown[] = [];
  const server = new lib.Server<object>(services, {
    onError: (error) => errors.push(error),
    ...options.server,
  });
  server.accept(far);
  const client = new lib.Client<Any>(near, options.client);
  return { client, server, errors };
}

async function close(...ends: { close(): Promise<void> }[]): Promise<void> {
  await Promise.all(ends.map((end) => end.close()));
}

test("[X32] the two copies are different modules", () => {
  assert(one.RpcError !== two.RpcError);
  assert(one.Server !== two.Server);
});

test("[X32] an error of either copy is an instance of the other's class, but not of a subclass", () => {
  for (const [made, used] of ways()) {
    const errors: [object, new (...args: never[]) => object][] = [
      [new made.RpcError("a", "b"), used.RpcError],
      [new made.ConnectionError("internal", "b"), used.ConnectionError],
      [new made.StageError(0, "x", []), used.StageError],
    ];
    for (const [error, Used] of errors) {
      assert(error instanceof Used);
      assertInstanceOf(error, Error);
      for (const [other] of errors) {
        if (other !== error) assert(!(other instanceof Used));
      }
      class Mine extends Used {}
      assert(!(error instanceof Mine));
      assert(
        new (Mine as never as new (...args: unknown[]) => object)(
          ...["internal", "b", []],
        ) instanceof Used,
      );
    }
    for (
      const other of [null, undefined, 1, "x", {}, new Error("x"), () => {}]
    ) {
      assert(!(other instanceof used.RpcError));
    }
  }
});

test("[X32] ref() of one copy takes a handle of the other", async () => {
  const services = { find: () => ({ id: 7 }), echo: (it: unknown) => it };
  for (const [made, used] of ways()) {
    const { client, server } = connect(made, services);
    await client.connection.opened;
    const first = client.go("find");
    const it = used.ref(first) as one.UntypedRef;
    const second = client.go("echo", [made.ref(first), it.id]);
    assertEquals(await second.reply, [{ id: 7 }, 7]);
    // To a client of the other copy, too.
    const other = connect(used, services);
    assertEquals(await other.client.call("echo", { on: it.id }), { on: 7 });
    await close(client, server, other.client, other.server);
  }
});

test("[X32] an instance of a subclass is one of the other copy's class", () => {
  for (const [made, used] of ways()) {
    class Mine extends made.RpcError {}
    const error = new Mine("a", "b");
    assert(error instanceof made.RpcError);
    assert(error instanceof used.RpcError);
    assert(!(error instanceof used.ConnectionError));
  }
});

test("[X32] no decoded value passes for an instance of the library's classes", () => {
  for (const name of ["RpcError", "ConnectionError", "StageError"] as const) {
    const brand = JSON.stringify({ sluiceBrand: name });
    const decoded = JSON.parse(
      `{"constructor":${brand},"__proto__":${brand},"sluiceBrand":"${name}"}`,
    );
    assert(!(decoded instanceof one[name]));
  }
});

test("[X32] an RpcError of the other copy that a handler throws reaches its caller with code, message and data", async () => {
  for (const [made, used] of ways()) {
    const fails = () => {
      throw new made.RpcError("mine", "my words", { data: [1] });
    };
    const { client, server, errors } = connect(used, {
      My: {
        fails,
        streams: async function* () {
          yield 1;
          fails();
        },
      },
    });
    const streamed = async () =>
      await Array.fromAsync(
        await client.call("My.streams") as AsyncIterable<unknown>,
      );
    for (const reply of [client.call("My.fails"), streamed()]) {
      const error = await thrown(reply);
      assertInstanceOf(error, made.RpcError);
      assertEquals([error.code, error.message, error.data], [
        "mine",
        "my words",
        [1],
      ]);
    }
    assertEquals(errors, []);
    await close(client, server);
  }
});

test("[X32] an error of an inner call by the other copy goes to onError and is not disclosed to the caller", async () => {
  for (const [made, used] of ways()) {
    const inner = connect(made, {
      In: {
        fails: () => {
          throw new made.RpcError("secret", "secret");
        },
      },
    });
    const outer = connect(used, {
      Out: { calls: () => inner.client.call("In.fails") },
    });
    const error = await thrown(outer.client.call("Out.calls"));
    assertEquals((error as one.RpcError).code, "internal");
    assertEquals((outer.errors[0] as one.RpcError).code, "secret");
    await close(inner.client, inner.server, outer.client, outer.server);
  }
});

test("[X32] methods of the other copy keep their schema, their order and their exposure", async () => {
  const positive: one.StandardSchema<number> = {
    "~standard": {
      version: 1,
      vendor: "test",
      validate: (value) =>
        typeof value === "number" && value > 0
          ? { value }
          : { issues: [{ message: "not above 0" }] },
    },
  };
  for (const [made, used] of ways()) {
    const log: string[] = [];
    const note = async (n: number) => {
      log.push(`start ${n}`);
      await settle(n);
      log.push(`end ${n}`);
    };
    class Log {
      note = made.ordered(note);
    }
    const { client, server } = connect(used, {
      A: made.ordered({ note, checked: made.method(positive, note) }),
      B: used.ordered({ checked: made.method(positive, note) }),
      C: { checked: used.ordered(made.method(positive, note)) },
      D: used.expose(new Log(), ["note"]),
      E: made.expose(new Log(), ["note"]),
    });
    for (
      const name of [
        "A.note",
        "A.checked",
        "B.checked",
        "C.checked",
        "D.note",
        "E.note",
      ]
    ) {
      await Promise.all([3, 2, 1].map((n) => client.call(name, n)));
      assertEquals(
        log.splice(0),
        [3, 2, 1].flatMap((n) => [
          `start ${n}`,
          `end ${n}`,
        ]),
        name,
      );
      if (!name.endsWith("checked")) continue;
      const error = await thrown(client.call(name, -1));
      assertEquals((error as one.RpcError).outcome, "refused");
    }
    await close(client, server);
  }
});

test("[X32] callable services, observers and middleware of the other copy work", async () => {
  for (const [made, used] of ways()) {
    const seen: unknown[] = [];
    const services = made.callable({ Mine: { half: (n: number) => n / 2 } }, {
      use: [(call, next) => {
        if (call.params === 0) throw new made.RpcError("no_zero", "none");
        return next();
      }],
    });
    const { client, server } = connect(used, {
      Yours: {
        half: (n: number, ctx: one.CallContext) =>
          made.clientOf<Any>(ctx.connection).call("Mine.half", n),
        echo: (value: unknown) => value,
        nope: () => {
          throw new used.RpcError("nope", "no");
        },
        count: async function* () {
          yield 1;
          yield 2;
        },
        sum: async (numbers: AsyncIterable<number>) => {
          let sum = 0;
          for await (const n of numbers) sum += n;
          return sum;
        },
      },
    }, {
      client: {
        services,
        observe: made.observers({
          end: ({ side, method, code, outcome }) =>
            void seen.push([side, method, code, outcome]),
        }),
        use: made.clientMiddleware(
          (call, next) => next({ metadata: { ...call.metadata, a: "b" } }),
        ),
      },
    });
    assertEquals(await client.call("Yours.half", 4), 2);
    // Params of each kind, through the other copy's middleware.
    const values = [
      { a: 1 },
      "text",
      new Uint8Array([1, 2]),
      null,
      7,
      undefined,
    ];
    for (const value of values) {
      assertEquals(await client.call("Yours.echo", value), value);
    }
    const refused = client.go("Mine.half", 0);
    await thrown(refused.reply);
    const numbers = (async function* () {
      yield 1;
      yield 2;
    })();
    assertEquals(await client.call("Yours.sum", numbers), 3);
    const stream = await client.call("Yours.count") as AsyncIterable<unknown>;
    assertEquals(await Array.fromAsync(stream), [1, 2]);
    const aborted = client.go("Yours.count");
    await aborted.reply;
    aborted.abort();
    assertEquals(await aborted.settled, "executed");
    const error = await thrown(client.call("Yours.nope"));
    assertInstanceOf(error, made.RpcError);
    await settle();
    const ends = seen.map((end) => JSON.stringify(end));
    assert(ends.includes('["client","Yours.nope","nope","executed"]'));
    assert(ends.includes('["server","Mine.half","ok","executed"]'));
    await close(client, server);

    const back = connect(used, {
      Yours: {
        ask: (_: undefined, ctx: one.CallContext) =>
          thrown(ctx.connection.call("Mine.half", 0)).then((error) => {
            const { code, outcome } = error as one.RpcError;
            return [code, outcome];
          }),
      },
    }, { client: { services } });
    // A call that its middleware rejects was not started.
    const said = await back.client.call("Yours.ask");
    assertEquals(said, ["no_zero", "refused"]);
    await close(back.client, back.server);
  }
});

test("[X32] duplexes of the other copy are used like the library's own", async () => {
  for (const [made, used] of ways()) {
    const [near, far] = made.memoryPair();
    const server = new used.Server<object>({ E: { echo: (x: unknown) => x } });
    server.accept(far);
    const client = new made.Client<Any>(near);
    const params = { text: "x" };
    assertEquals(await client.call("E.echo", params), params);
    assert(far.readable.locked && far.writable.locked);
    const dialled = new used.ReconnectingClient<Any>(() => {
      const [near, far] = made.memoryPair();
      server.accept(far);
      return near;
    });
    assertEquals(await dialled.call("E.echo", 1), 1);
    await close(client, dialled, server);
  }
});

test("[X32] a duplex whose streams were replaced, in a copy or by a proxy, is read through the new streams", async () => {
  for (const exchange of ["copy", "proxy", "heir"]) {
    const [near, far] = one.memoryPair();
    let chunks = 0;
    const readable = near.readable.pipeThrough(
      new TransformStream({
        transform: (chunk, controller) => {
          chunks++;
          controller.enqueue(chunk);
        },
      }),
    );
    const duplex = exchange === "copy"
      ? { ...near, readable }
      : exchange === "heir"
      ? Object.create(near, { readable: { value: readable } })
      : new Proxy(near, {
        get: (target, key) =>
          key === "readable" ? readable : Reflect.get(target, key),
      });
    const server = new one.Server<object>({ E: { echo: (x: unknown) => x } });
    server.accept(far);
    const client = new one.Client<Any>(duplex);
    assertEquals(await client.call("E.echo", 1), 1);
    assert(chunks > 0, exchange);
    await close(client, server);
  }
});

test("[X32] a reconnecting client recognizes a ConnectionError of the other copy by its code", async () => {
  for (const [made, used] of ways()) {
    const client = new used.ReconnectingClient<Any>(() => {
      throw new made.ConnectionError("unauthenticated", "denied");
    }, { retry: { base: 1, cap: 1 } });
    const reason = await client.closed;
    assertInstanceOf(reason, made.ConnectionError);
    assertEquals(reason.code, "unauthenticated");
  }
});

test("[X32] the other protocols of the other copy work, notifications and values of Go included", async () => {
  const jsons = [[oneJson, twoJson], [twoJson, oneJson]] as const;
  for (const [made, used] of jsons) {
    const seen: unknown[] = [];
    const lib = used === oneJson ? one : two;
    const { client, server } = connect(lib, {
      log: ({ text }: { text: string }) => void seen.push(text),
      echo: (x: unknown) => x,
    }, {
      server: { protocol: made.jsonRpc() },
      client: { protocol: made.jsonRpc() },
    });
    await used.notify(client.connection, "log", { text: "x" });
    assertEquals(await client.call("echo", [1]), [1]);
    assertEquals(seen, ["x"]);
    await close(client, server);
  }
  const gos = [[oneGo, twoGo], [twoGo, oneGo]] as const;
  for (const [made, used] of gos) {
    const methods = {
      C: { turn: made.goMethod(made.complex, made.complex) },
    };
    const lib = used === oneGo ? one : two;
    const wire = used.netrpc({ methods });
    const { client, server } = connect(lib, {
      C: { turn: ({ re, im }: oneGo.Complex) => new made.Complex(-im, re) },
    }, {
      server: { protocol: wire } as never,
      client: { protocol: wire } as never,
    });
    const turned = await client.call("C.turn", new made.Complex(1, 2));
    assertInstanceOf(turned, made.Complex);
    assertEquals([turned.re, turned.im], [-2, 1]);
    await close(client, server);
  }
});

test("[X32] an error that the other copy's client rethrows is the same error", async () => {
  for (const [made, used] of ways()) {
    const reason = new made.RpcError("mine", "my reason");
    const { client, server } = connect(used, {
      E: { hang: () => new Promise(() => {}) },
    });
    const handle = client.go("E.hang");
    handle.abort(reason);
    assertStrictEquals(await thrown(handle.reply), reason);
    await close({ close: () => client.abort() }, {
      close: () => server.close({ timeout: 0 }),
    });
  }
});
