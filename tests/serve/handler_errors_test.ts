/**
 * Handlers that fail, in every way: only their own call fails, and its caller
 * receives no internal details.
 */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { RpcError, type ServerOptions } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { type Pair, pair } from "../support/pair.ts";

/** Handlers that throw `value`, or reject with it, beside one that works. */
function failing(value: () => unknown) {
  return {
    Bad: {
      throws: (): unknown => {
        throw value();
      },
      rejects: (): Promise<unknown> => Promise.reject(value()),
    },
    Good: { echo: (text: string) => text },
  };
}

type Failing = ReturnType<typeof failing>;

/** Calls both bad handlers, with a good one between; returns the errors. */
async function failures({ client }: Pair<Failing>): Promise<RpcError[]> {
  const [thrown, echoed, rejected] = await Promise.allSettled([
    client.call("Bad.throws"),
    client.call("Good.echo", "x"),
    client.call("Bad.rejects"),
  ]);
  assertEquals(echoed, { status: "fulfilled", value: "x" });
  return [thrown, rejected].map((result) => {
    assert(result.status === "rejected");
    assert(result.reason instanceof RpcError);
    return result.reason;
  });
}

/** Throws on every access. */
const HOSTILE: object = new Proxy({}, {
  get() {
    throw new Error("secret get");
  },
  getPrototypeOf() {
    throw new Error("secret prototype");
  },
  has() {
    throw new Error("secret has");
  },
  ownKeys() {
    throw new Error("secret keys");
  },
});

const THROWN: Record<string, () => unknown> = {
  "an Error": () => new Error("secret /etc/path"),
  "an error of another class": () => new TypeError("secret"),
  "an Error without a prototype": () =>
    Object.setPrototypeOf(new Error("secret"), null),
  undefined: () => undefined,
  null: () => null,
  0: () => 0,
  false: () => false,
  "an empty string": () => "",
  "a string": () => "secret",
  "a symbol": () => Symbol("secret"),
  "a function": () => () => "secret",
  "an object like an RpcError": () => ({
    name: "RpcError",
    code: "secret",
    message: "secret",
    data: "secret",
  }),
  "a Proxy that throws on every access": () => HOSTILE,
  "an Error whose message throws": () =>
    Object.defineProperty(new Error(), "message", {
      get() {
        throw new Error("secret");
      },
    }),
  "an Error whose message is a symbol": () =>
    Object.assign(new Error(), { message: Symbol("secret") }),
};

for (const [name, value] of Object.entries(THROWN)) {
  test(`[H1] [W5] a handler that throws ${name} fails its call alone, and discloses nothing`, async () => {
    const both = pair(failing(value));
    for (const error of await failures(both)) {
      assertEquals([error.code, error.outcome], ["internal", "executed"]);
      assertEquals([error.message, error.data], [
        "the handler failed",
        undefined,
      ]);
    }
    assertEquals(both.errors.length, 2);
    await both.close();
  });

  test(`[H1] a handler that throws ${name} fails its call alone, with exposeErrors`, async () => {
    const both = pair(failing(value), { server: { exposeErrors: true } });
    for (const error of await failures(both)) {
      assertEquals([error.code, error.outcome], ["internal", "executed"]);
      assert(!error.message.includes("    at "), error.message);
      assertEquals(error.data, undefined);
    }
    await both.close();
  });
}

test("[H1] an RpcError reaches the caller with its code, message and data", async () => {
  const cause = new Error("secret");
  const both = pair(
    failing(() =>
      new RpcError("out_of_stock", "no cups", { data: { cups: 0 }, cause })
    ),
  );
  for (const error of await failures(both)) {
    assertEquals([error.code, error.message], ["out_of_stock", "no cups"]);
    assertEquals([error.data, error.outcome], [{ cups: 0 }, "executed"]);
    assertEquals(error.cause, undefined);
  }
  assertEquals(both.errors, []);
  await both.close();
});

test("[H1] an error of a class that extends RpcError is sent as an RpcError", async () => {
  class OutOfStock extends RpcError {
    constructor() {
      super("out_of_stock", "none left", { outcome: "not_sent" });
    }
  }
  const both = pair(failing(() => new OutOfStock()));
  for (const error of await failures(both)) {
    assertEquals([error.code, error.message], ["out_of_stock", "none left"]);
    // The handler ran, whatever its error's outcome says.
    assertEquals(error.outcome, "executed");
  }
  await both.close();
});

test("exposeErrors discloses messages, but no stack, name or cause", async () => {
  const values = [
    new TypeError("wrong /path", { cause: "cause" }),
    "a string",
    undefined,
  ];
  const texts: string[] = [];
  for (const value of values) {
    const both = pair(failing(() => value), { server: { exposeErrors: true } });
    texts.push(...(await failures(both)).map((error) => error.message));
    await both.close();
  }
  assertEquals(texts, [
    ...["wrong /path", "wrong /path"],
    ...["a string", "a string"],
    ...["undefined", "undefined"],
  ]);
});

test("onError receives what was thrown, with the call and its connection", async () => {
  const error = new Error("secret");
  const both = pair(failing(() => error), { client: { firstId: 7 } });
  await failures(both);
  assertEquals(
    both.errors.map(({ info }) => [info.method, info.id]),
    [["Bad.throws", 7], ["Bad.rejects", 9]],
  );
  for (const reported of both.errors) {
    assertStrictEquals(reported.error, error);
    assertStrictEquals(reported.info.connection, both.connection);
  }
  await both.close();
});

const BAD_LISTENERS: Record<string, ServerOptions["onError"]> = {
  throws: () => {
    throw new Error("from onError");
  },
  "throws a falsy value": () => {
    throw undefined;
  },
  "is not there": undefined,
};

for (const [name, onError] of Object.entries(BAD_LISTENERS)) {
  test(`an onError that ${name} changes nothing`, async () => {
    const services = failing(() => new Error("secret"));
    const both = pair(services, { server: { onError } });
    for (const error of await failures(both)) {
      assertEquals([error.code, error.outcome], ["internal", "executed"]);
    }
    await both.close();
  });
}

test("[W5] a rejection of onError is not reported as unhandled", async () => {
  const onError = (() => Promise.reject(new Error("from onError"))) as () =>
    void;
  const both = pair(failing(() => new Error("secret")), {
    server: { onError },
  });
  await failures(both);
  await settle();
  await both.close();
});

test("[H2] a handler that never settles delays neither other calls nor the end of the connection", async () => {
  const both = pair({
    S: {
      never: () => new Promise<never>(() => {}),
      f: () => 1,
    },
  });
  const { client, server, connection } = both;
  const stuck = client.go("S.never");
  assertEquals(await client.call("S.f"), 1);
  assertEquals(connection.stats().running, 1);
  await client.abort();
  assertEquals(await stuck.settled, "unknown");
  await server.close();
});

test("[H2] a handler that settles after its connection has ended has no effect", async () => {
  const ends: ((value: unknown) => void)[] = [];
  const both = pair({
    S: { wait: () => new Promise((resolve) => ends.push(resolve)) },
  });
  const handles = [both.client.go("S.wait"), both.client.go("S.wait")];
  await settle();
  await both.client.abort();
  ends[0]("late");
  ends[1](Promise.reject(new Error("late")));
  await settle();
  assertEquals(handles.map((handle) => handle.outcome), ["unknown", "unknown"]);
  await both.server.close();
  assertEquals(both.connection.stats().running, 0);
});

test("[H2] a handler that settles after its call was cancelled replies, and the caller ignores it", async () => {
  const ends: ((value: unknown) => void)[] = [];
  const { client, close } = pair({
    S: { wait: () => new Promise((resolve) => ends.push(resolve)) },
  });
  const handle = client.go("S.wait");
  await settle();
  handle.abort(new Error("enough"));
  await assertRejects(() => handle.reply, Error, "enough");
  ends[0]("late");
  assertEquals(await handle.settled, "executed");
  assertEquals(client.stats().lateReplies, 1);
  await close();
});
