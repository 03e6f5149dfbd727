/** What arrives of each value, as params and as a result. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertNotStrictEquals,
  assertStrictEquals,
} from "@std/assert";
import type { CallContext } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { pair } from "../support/pair.ts";
import { Buffer } from "../support/runtime.ts";
import { Held } from "../support/services.ts";
import fc from "fast-check";

/** What a handler received, and what its caller received as the result. */
interface Trip {
  there: unknown;
  back: unknown;
}

function echoPair() {
  let there: unknown;
  const both = pair({
    S: {
      echo: (value: unknown, _ctx: CallContext): unknown => there = value,
    },
  });
  const trip = async (value: unknown): Promise<Trip> => {
    const back = await both.client.call("S.echo", value);
    return { there, back };
  };
  return { trip, close: both.close };
}

/** Asserts that values arrive at both ends as `expected`, and nothing is left. */
async function arrive(values: Iterable<readonly [unknown, unknown]>) {
  const { trip, close } = echoPair();
  for (const [value, expected] of values) {
    const { there, back } = await trip(value);
    assertEquals(there, expected);
    assertEquals(back, expected);
  }
  await close();
}

async function arriveAsTheyAre(values: Iterable<unknown>) {
  await arrive(Array.from(values, (value) => [value, value] as const));
}

/** Lengths in characters around each bound at which strings are encoded in another way. */
const LENGTHS = [
  ...[0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65],
  // A third of 16 KiB: any text of that length fits into 16 KiB.
  ...[5460, 5461, 5462],
  ...[16_383, 16_384, 16_385, 65_536, 1 << 20],
];

const ALPHABETS: Record<string, string> = {
  ASCII: "x",
  "two bytes a character": "é",
  "three bytes a character": "値",
  "four bytes a character": "\u{1f600}",
};

for (const [name, one] of Object.entries(ALPHABETS)) {
  test(`strings of any length arrive: ${name}`, async () => {
    const lengths = LENGTHS.map((n) => Math.ceil(n / one.length));
    await arriveAsTheyAre(lengths.map((n) => one.repeat(n)));
  });

  test(`strings of any length arrive inside JSON: ${name}`, async () => {
    const lengths = LENGTHS.map((n) => Math.ceil(n / one.length));
    await arriveAsTheyAre(lengths.map((n) => [one.repeat(n)]));
  });
}

test("one character beyond ASCII, anywhere in a short string, arrives", async () => {
  const texts: string[] = [];
  for (const length of [1, 8, 31, 32, 33, 47, 48, 49]) {
    for (let at = 0; at < length; at++) {
      const ascii = "abcdefgh".repeat(7).slice(0, length);
      texts.push(ascii.slice(0, at) + "é" + ascii.slice(at + 1));
    }
  }
  await arriveAsTheyAre(texts);
});

test("every ASCII character arrives, controls and NUL too", async () => {
  const codes = Array.from({ length: 128 }, (_, code) => code);
  const all = String.fromCharCode(...codes);
  await arriveAsTheyAre([...all, all, `${all}${all}`, { [all]: all }]);
});

test("a byte order mark is kept", async () => {
  await arriveAsTheyAre([
    "\ufeff",
    "\ufeffshort",
    "\ufeff" + "long".repeat(1000),
    "a\ufeffb",
    ["\ufeff"],
  ]);
});

test("[H4] lone surrogates arrive, in strings as inside JSON", async () => {
  await arriveAsTheyAre([
    "\ud800",
    "a\udfffb",
    "é\udc00\ud800",
    "x".repeat(6000) + "\ud83d",
    "x".repeat(100_000) + "\ud83d",
    ["\ud800"],
    { "\udc00": 1 },
  ]);
});

test("undefined and null stay different values", async () => {
  await arrive([
    [undefined, undefined],
    [null, null],
    [[undefined], [null]],
    [{ a: undefined, b: null }, { b: null }],
  ]);
});

test("[H4] numbers and dates arrive as JSON encodes them", async () => {
  const { trip, close } = echoPair();
  assert(Object.is((await trip(-0)).back, 0));
  await close();
  await arrive([
    [NaN, null],
    [[Infinity, -Infinity, NaN], [null, null, null]],
    [new Date(0), "1970-01-01T00:00:00.000Z"],
    [{ at: new Date(NaN) }, { at: null }],
    [2 ** 53 + 2, 2 ** 53 + 2],
    [Number.MIN_VALUE, Number.MIN_VALUE],
    [true, true],
    [{ toJSON: () => "mine" }, "mine"],
    [new Number(3), 3],
    [new String("boxed"), "boxed"],
  ]);
});

test("[H4] __proto__ and constructor are ordinary keys, and change no prototype", async () => {
  const text =
    '{"__proto__":{"polluted":1},"constructor":{"prototype":{"x":1}}}';
  const { trip, close } = echoPair();
  const { there, back } = await trip(JSON.parse(text));
  for (const value of [there, back] as Record<string, unknown>[]) {
    assertEquals(JSON.stringify(value), text);
    assertStrictEquals(Object.getPrototypeOf(value), Object.prototype);
    assertEquals(value.polluted, undefined);
  }
  assertEquals(({} as Record<string, unknown>).polluted, undefined);
  await close();
});

test("any JSON value arrives as JSON.parse(JSON.stringify(value))", async () => {
  const { trip, close } = echoPair();
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(fc.jsonValue(), fc.object({ withDate: true })),
      async (value) => {
        const { there, back } = await trip(value);
        const expected = typeof value === "string"
          ? value.toWellFormed()
          : JSON.parse(JSON.stringify(value));
        assertEquals(there, expected);
        assertEquals(back, expected);
      },
    ),
    { numRuns: 300 },
  );
  await close();
});

test("any string arrives unchanged", async () => {
  const { trip, close } = echoPair();
  const anyUnit = fc.string({
    unit: fc.integer({ min: 0, max: 0xffff }).map((c) =>
      String.fromCharCode(c)
    ),
    maxLength: 70,
  });
  await fc.assert(
    fc.asyncProperty(anyUnit, async (text) => {
      assertStrictEquals((await trip(text)).back, text);
    }),
    { numRuns: 500 },
  );
  await close();
});

test("bytes arrive as bytes, whatever their number", async () => {
  const sizes = [0, 1, 16_383, 16_384, 16_385, 1 << 20];
  await arriveAsTheyAre(
    sizes.map((size) => Uint8Array.from({ length: size }, (_, i) => i * 7)),
  );
});

test("a view of a larger buffer arrives without the rest", async () => {
  const large = Uint8Array.from({ length: 100_000 }, (_, i) => i);
  await arrive([
    [large.subarray(10, 13), new Uint8Array([10, 11, 12])],
    [large.subarray(7, 20_007), large.slice(7, 20_007)],
  ]);
});

test("a subclass of Uint8Array arrives as a plain Uint8Array", async () => {
  class Mine extends Uint8Array {}
  const { trip, close } = echoPair();
  for (const size of [3, 20_000]) {
    const mine = new Mine(size).fill(7);
    for (const bytes of [Buffer.from(mine), mine]) {
      const { there, back } = await trip(bytes);
      for (const got of [there, back] as Uint8Array[]) {
        assertStrictEquals(Object.getPrototypeOf(got), Uint8Array.prototype);
        assertEquals(got, new Uint8Array(size).fill(7));
      }
    }
  }
  await close();
});

test("received bytes share no memory with those of another call", async () => {
  const { trip, close } = echoPair();
  for (const size of [8, 20_000]) {
    const first = (await trip(new Uint8Array(size).fill(1))).back as Uint8Array;
    const { there, back } = await trip(new Uint8Array(size).fill(2));
    // It keeps no other frame in memory.
    assert(first.buffer.byteLength < size + 32);
    assertNotStrictEquals((there as Uint8Array).buffer, first.buffer);
    (there as Uint8Array).fill(9);
    first.fill(9);
    assertEquals(back, new Uint8Array(size).fill(2));
  }
  await close();
});

for (const size of [8, 20_000]) {
  test(`changes to ${size} bytes after the call are not sent`, async () => {
    const held = new Held();
    const { client, close } = pair(held.services);
    const bytes = new Uint8Array(size).fill(1);
    const handle = client.go("Held.work", bytes);
    bytes.fill(2);
    await settle();
    assertEquals(held.calls[0].params, new Uint8Array(size).fill(1));
    held.release();
    await handle.settled;
    await close();
  });
}

for (const size of [8, 20_000]) {
  test(`changes to ${size} bytes are not sent by a call that had to wait`, async () => {
    const held = new Held();
    const { client, close } = pair(held.services, {
      server: { windowCalls: 1 },
    });
    await client.call("Held.echo");
    const first = client.go("Held.work", "first");
    const bytes = new Uint8Array(size).fill(1);
    const object = { a: [1] };
    const waiting = [
      client.go("Held.echo", bytes),
      client.go("Held.echo", object),
    ];
    bytes.fill(2);
    object.a.push(2);
    await settle();
    held.release();
    assertEquals(await waiting[0].reply, new Uint8Array(size).fill(1));
    assertEquals(await waiting[1].reply, { a: [1] });
    await first.settled;
    await close();
  });
}

test("transferred bytes arrive, small and large", async () => {
  const { client, close } = pair({ S: { echo: (b: Uint8Array) => b } });
  for (const size of [0, 8, 20_000]) {
    const bytes = new Uint8Array(size).fill(3);
    const reply = await client.call("S.echo", bytes, { transfer: true });
    assertEquals(reply, new Uint8Array(size).fill(3));
  }
  await close();
});

/** Handlers that change their result after they have returned it. */
const changing = {
  returned: (n: number) => changed(new Uint8Array(n)),
  given: (n: number, ctx: CallContext) =>
    ctx.transfer(changed(new Uint8Array(n))),
  givenLate: async (n: number, ctx: CallContext) => {
    const bytes = ctx.transfer(new Uint8Array(n));
    await settle();
    return changed(bytes);
  },
  otherGiven: (n: number, ctx: CallContext) => {
    ctx.transfer(new Uint8Array(n));
    return changed(new Uint8Array(n));
  },
};

function changed(bytes: Uint8Array): Uint8Array {
  queueMicrotask(() => bytes.fill(1));
  return bytes;
}

const LARGE = 20_000;

for (const name of ["given", "givenLate"] as const) {
  test(`a large result that its handler transfers is sent without a copy (${name})`, async () => {
    const { client, close } = pair({ S: changing });
    const reply = await client.call(`S.${name}`, LARGE);
    assertEquals([reply.length, ...new Set(reply)], [LARGE, 1]);
    await close();
  });
}

for (const name of ["returned", "otherGiven"] as const) {
  test(`changes to a large result that was not transferred are not sent (${name})`, async () => {
    const { client, close } = pair({ S: changing });
    const reply = await client.call(`S.${name}`, LARGE);
    assertEquals([reply.length, ...new Set(reply)], [LARGE, 0]);
    await close();
  });
}
