/** Results and errors that cannot be serialized, or are too large. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "@std/assert";
import { type Outcome, RpcError } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { pair, type PairOptions } from "../support/pair.ts";

/** Returns how a call ends whose handler returns or throws what `make` does, while another one runs; and what `onError` received. */
async function ending(make: () => unknown, options?: PairOptions): Promise<{
  value?: unknown;
  error: RpcError | undefined;
  outcome: Outcome;
  reported: unknown[];
}> {
  const both = pair({ S: { make, f: () => "f" } }, options);
  const { client, errors, close } = both;
  const handle = client.go("S.make");
  assertEquals(await client.call("S.f"), "f");
  let error: RpcError | undefined;
  let value: unknown;
  try {
    value = await handle.reply;
  } catch (reason) {
    assertInstanceOf(reason, RpcError);
    error = reason;
  }
  const outcome = await handle.settled;
  await settle();
  await close();
  assertEquals(both.connection.stats().running, 0);
  return { value, error, outcome, reported: errors.map(({ error }) => error) };
}

class Cycle {
  me: unknown = this;
}

const UNENCODABLE: Record<string, () => unknown> = {
  "a cycle": () => new Cycle(),
  "a BigInt": () => ({ n: 1n }),
  "a function": () => () => 1,
  "a symbol": () => Symbol("s"),
  "an object whose toJSON throws": () => ({
    toJSON() {
      throw new Error("secret");
    },
  }),
  "an object whose toJSON throws nothing": () => ({
    toJSON() {
      throw undefined;
    },
  }),
  "an object that JSON leaves out": () => ({ toJSON: () => undefined }),
  "an object whose getter throws": () => ({
    get a() {
      throw new Error("secret");
    },
  }),
  "a Proxy of bytes": () => new Proxy(new Uint8Array(8), {}),
  "a Promise for a cycle": () => Promise.resolve(new Cycle()),
};

for (const [name, make] of Object.entries(UNENCODABLE)) {
  test(`[H3] a result that is ${name} fails its call alone, and onError receives why`, async () => {
    const { error, outcome, reported } = await ending(make);
    assertEquals([error?.code, outcome], ["internal", "executed"]);
    assert(!error?.message.includes("secret"), error?.message);
    assertEquals(reported.length, 1);
  });
}

test("[H0] a reply larger than its caller accepts fails its call alone", async () => {
  const maxMessage = 16 * 1024;
  const make = (size: number) => () => "x".repeat(size);
  const options = { client: { maxMessage } };
  const most = await ending(make(maxMessage - 1), options);
  assertEquals(most.error, undefined);
  const { error, outcome } = await ending(make(maxMessage), options);
  assertEquals([error?.code, outcome], ["resource_exhausted", "executed"]);
  assert(error?.message.includes(String(maxMessage)), error?.message);
});

test("[H0] a large result of bytes, or of JSON, fails its call alone", async () => {
  const options = { client: { maxMessage: 16 * 1024 } };
  for (const make of [() => new Uint8Array(20_000), () => [" ".repeat(2e4)]]) {
    const { error } = await ending(make, options);
    assertEquals(error?.code, "resource_exhausted");
  }
});

/** An RpcError with one property replaced by something invalid. */
function forged(name: string, get: () => unknown): () => never {
  return () => {
    const error = new RpcError("own", "text", { data: 1 });
    throw Object.defineProperty(error, name, { get });
  };
}

for (const name of ["code", "message", "data"]) {
  test(`[H1] an RpcError whose ${name} throws fails its call alone`, async () => {
    const make = forged(name, () => {
      throw new Error("secret");
    });
    const { error, outcome } = await ending(make);
    assertEquals(outcome, "executed");
    assert(!JSON.stringify([error, error?.message]).includes("secret"));
  });
}

for (const name of ["code", "message"]) {
  test(`[H1] an RpcError whose ${name} is a symbol fails its call alone`, async () => {
    const { outcome } = await ending(forged(name, () => Symbol("s")));
    assertEquals(outcome, "executed");
  });
}

test("[H1] error data that cannot be serialized is left out", async () => {
  const data = {
    toJSON() {
      throw new Error("secret");
    },
  };
  for (const odd of [data, 1n, () => 1, new Cycle()]) {
    const { error, outcome } = await ending(() => {
      throw new RpcError("own", "text", { data: odd });
    });
    assertEquals([error?.code, error?.message], ["own", "text"]);
    assertEquals([error?.data, outcome], [undefined, "executed"]);
  }
});

test("[H8] codes, messages, data and causes of any size are bounded on the wire", async () => {
  let cause: unknown = "root";
  for (let i = 0; i < 10_000; i++) cause = new Error("deep", { cause });
  const maxMessage = 16 * 1024;
  const { error } = await ending(() => {
    throw new RpcError("é".repeat(5000), "値".repeat(1 << 20), {
      data: "x".repeat(1 << 20),
      cause,
    });
  }, { client: { maxMessage } });
  // 64 bytes of code, 4,096 of message, none cut inside a character.
  assertEquals(error?.code, "é".repeat(32));
  assertEquals(error?.message, "値".repeat(1365));
  assertEquals([error?.data, error?.cause], [undefined, undefined]);
});

test("[H9] the code and data of an error change no prototype", async () => {
  const data = JSON.parse('{"__proto__":{"polluted":1},"constructor":{"x":1}}');
  const { error } = await ending(() => {
    throw new RpcError("constructor", "__proto__", { data });
  });
  assertEquals([error?.code, error?.message], ["constructor", "__proto__"]);
  const got = error?.data as Record<string, unknown>;
  assertEquals(Object.keys(got), ["__proto__", "constructor"]);
  assertEquals(Object.getPrototypeOf(got), Object.prototype);
  assertEquals(got.polluted, undefined);
});

test("[H9] an empty code and message arrive unchanged", async () => {
  const { error } = await ending(() => {
    throw new RpcError("", "");
  });
  assertEquals([error?.code, error?.message], ["", ""]);
});

test("error data travel as results do: bytes as bytes, strings as strings", async () => {
  for (const data of [new Uint8Array([1, 2]), "text", null, [1], undefined]) {
    const { error } = await ending(() => {
      throw new RpcError("own", "text", { data });
    });
    assertEquals(error?.data, data);
  }
});

type Then = (
  resolve: (v: unknown) => void,
  reject: (e: unknown) => void,
) => void;

/** A thenable that is not a promise. */
function thenable(then: Then): object {
  return { then };
}

test("[H1] a thenable that calls back twice answers once", async () => {
  const twice: Record<string, () => object> = {
    values: () =>
      thenable((resolve) => {
        resolve("first");
        resolve("second");
      }),
    "a value and an error": () =>
      thenable((resolve, reject) => {
        resolve("first");
        reject(new Error("second"));
      }),
    "a value and a throw": () =>
      thenable((resolve) => {
        resolve("first");
        throw new Error("second");
      }),
  };
  for (const make of Object.values(twice)) {
    const { value, outcome } = await ending(make);
    assertEquals([value, outcome], ["first", "executed"]);
  }
});

/** A promise whose own `then` misbehaves. */
function promise(then: Then): object {
  return Object.assign(Promise.resolve("own"), { then });
}

test("[H1] a promise with a `then` of its own that calls back twice answers once", async () => {
  const { error, outcome } = await ending(() =>
    promise((resolve) => {
      resolve("first");
      resolve("second");
    })
  );
  assertEquals([error, outcome], [undefined, "executed"]);
});

const BROKEN: Record<string, () => object> = {
  "a thenable that throws": () =>
    thenable(() => {
      throw new Error("secret");
    }),
  "a thenable whose `then` cannot be read": () => ({
    get then() {
      throw new Error("secret");
    },
  }),
  "a thenable that rejects with nothing": () =>
    thenable((_, reject) => reject(undefined)),
};

for (const [name, make] of Object.entries(BROKEN)) {
  test(`[H1] ${name} fails its call alone`, async () => {
    const { error, outcome, reported } = await ending(make);
    assertEquals([error?.code, outcome], ["internal", "executed"]);
    assertEquals(error?.message, "the handler failed");
    assertEquals(reported.length, 1);
  });
}

const BROKEN_PROMISES: Record<string, () => object> = {
  "`then` throws": () =>
    promise(() => {
      throw new Error("secret");
    }),
  "constructor cannot be read": () =>
    Object.defineProperty(Promise.resolve("own"), "constructor", {
      get() {
        throw new Error("secret");
      },
    }),
};

for (const [name, make] of Object.entries(BROKEN_PROMISES)) {
  test(`[H1] a promise whose ${name} ends its call alone`, async () => {
    const { outcome } = await ending(make);
    assertEquals(outcome, "executed");
  });
}

test("[H1] a function with a then method is a function, and cannot be serialized", async () => {
  const make = () => Object.assign(() => 1, { then: () => {} });
  const { error } = await ending(make);
  assertEquals(error?.code, "internal");
});

test("[H3] a toJSON that makes calls and closes its own connection: its call ends with the true outcome", async () => {
  const { client, connection, close } = pair({
    S: {
      f: () => ({
        toJSON: () => {
          connection.close();
          return "closed";
        },
      }),
    },
  });
  assertEquals(await client.call("S.f"), "closed");
  await assertRejects(() => client.call("S.f"), RpcError);
  await close();
});
