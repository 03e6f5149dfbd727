/** The rich serializer: what it carries, what it refuses, and the calls that use it. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertNotStrictEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import {
  Client,
  memoryPair,
  rich,
  RpcError,
  type Serializer,
  Server,
} from "../../mod.ts";
import { formatInstant, parseInstant } from "../../src/wire/rich/instant.ts";
import { toLittleEndian } from "../../src/wire/rich/views.ts";
import { describe } from "../support/describe.ts";
import { pair } from "../support/pair.ts";

const { encode, decode } = rich();

function textOf(payload: Uint8Array): string {
  return new TextDecoder("latin1").decode(payload);
}

/** What arrives of a value. */
function arrives<T>(value: T): T {
  return decode(encode(value)) as T;
}

/** The message with which a value is refused. */
function refusal(value: unknown): string {
  return assertThrows(() => encode(value), TypeError).message;
}

// Generated values.

// V8's JSON.parse reads the key `"` as `\` if a like object had the key `\`.
const anyKey = fc.oneof(
  fc.string({ maxLength: 6 }).filter((key) => !key.includes("\\")),
  fc.constantFrom("__proto__", "constructor", "toJSON", "then", "$Date", "0"),
);
const anyText = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom("$", "$Date", "$$Map", "\0", "\ud800", "$undefined"),
);
const anyNumber = fc.oneof(
  fc.double(),
  fc.integer(),
  fc.constantFrom(NaN, Infinity, -Infinity, -0),
);
const anyView = fc.oneof(
  fc.uint8Array(),
  fc.int8Array(),
  fc.uint8ClampedArray(),
  fc.uint16Array(),
  fc.int16Array(),
  fc.uint32Array(),
  fc.int32Array(),
  fc.float32Array(),
  fc.float64Array(),
  fc.bigInt64Array(),
  fc.bigUint64Array(),
  fc.uint8Array().map((bytes) => new Uint8Array(bytes).buffer),
  fc.uint8Array({ minLength: 2 }).map(({ buffer }) => new DataView(buffer, 1)),
);
const anyScalar = fc.oneof(
  anyText,
  anyNumber,
  fc.boolean(),
  fc.constantFrom(null, undefined),
  fc.bigInt(),
  fc.bigInt({ max: 2n ** 900n, min: -(2n ** 900n) }),
  fc.date({ noInvalidDate: false }),
  anyView,
  fc.constantFrom(/a/, /[\]/]+/giu, /(?:)/s, /é\n/v, new RegExp("/")),
  fc.webUrl().map((url) => new URL(url)),
);

function setAll(entries: [string, unknown][]): Record<string, unknown> {
  return Object.fromEntries(entries);
}

function makeError(
  [Class, message, cause, more]: [
    ErrorConstructor,
    string,
    unknown,
    [string, unknown][],
  ],
): Error {
  const error = cause === undefined
    ? new Class(message)
    : new Class(message, { cause });
  for (const [key, value] of more) {
    if (
      /^(name|message|stack|line|column|sourceURL|cause|__proto__)$/.test(key)
    ) {
      continue;
    }
    Object.assign(error, { [key]: value });
  }
  return error;
}

const { zoo } = fc.letrec<{ zoo: unknown }>((tie) => {
  const entries = fc.array(fc.tuple(anyKey, tie("zoo")), { maxLength: 6 });
  const classes = fc.constantFrom(Error, TypeError, RangeError, URIError);
  return {
    zoo: fc.oneof(
      { depthSize: "medium" },
      anyScalar,
      fc.array(tie("zoo"), { maxLength: 6 }),
      entries.map(setAll),
      fc.array(fc.tuple(tie("zoo"), tie("zoo")), { maxLength: 4 }).map((
        pairs,
      ) => new Map(pairs)),
      fc.array(tie("zoo"), { maxLength: 4 }).map((items) => new Set(items)),
      fc.tuple(classes, anyText, tie("zoo"), entries).map((parts) =>
        makeError(parts as Parameters<typeof makeError>[0])
      ),
      fc.array(tie("zoo"), { maxLength: 3 }).map((errors) =>
        new AggregateError(errors, "several")
      ),
    ),
  };
});

test("200 generated values arrive as they were sent", () => {
  fc.assert(
    fc.property(zoo, (value) => {
      const sent = describe(value);
      const payload = encode(value);
      assertEquals(describe(decode(payload)), sent);
      // Neither of them changed it.
      assertEquals(describe(value), sent);
    }),
    { numRuns: 200 },
  );
});

test("a value of JSON is its own JSON text, and arrives as from JSON", () => {
  const anyJson = fc.jsonValue().filter((value) =>
    !JSON.stringify(value).includes("\\\\")
  );
  fc.assert(fc.property(anyJson, (value) => {
    const plain = JSON.parse(JSON.stringify(value)); // without -0
    const text = JSON.stringify(plain);
    const payload = encode(plain);
    assertEquals(new TextDecoder().decode(payload), text);
    assertEquals(describe(decode(payload)), describe(JSON.parse(text)));
  }));
});

test("a JSON text that looks like tags is decoded as JSON", () => {
  const text = '{"a":["$Map",0],"b":"$$x","c":"$no such tag"}';
  assertEquals(decode(new TextEncoder().encode(text)), JSON.parse(text));
});

// The encoding, as docs/rich_serializer.md defines it.

const FORMS: readonly [value: unknown, text: string][] = [
  [{ id: 1, tags: ["a", null] }, '{"id":1,"tags":["a",null]}'],
  [{ at: new Date(0) }, '${"at":"$Date:1970-01-01T00:00:00.000Z"}'],
  [[new Date(NaN)], '$["$Date:invalid"]'],
  [
    [undefined, 7n, NaN, -Infinity, -0],
    '$["$undefined","$bigint:7","$NaN","$-Infinity","$-0"]',
  ],
  [
    new Map<unknown, unknown>([["a", 1], ["b", [2]]]),
    '$["$Map","a",1,"b",[2]]',
  ],
  [new Set(["a", 1]), '$["$Set","a",1]'],
  [[/a+/gi], '$[["$RegExp","a+","gi"]]'],
  [[new URL("https://a.b/c?d")], '$["$URL:https://a.b/c?d"]'],
  [
    new RangeError("low", { cause: { min: 1 } }),
    '$["$Error","RangeError","low",{"cause":{"min":1}}]',
  ],
  [["$Map", "$", 1n, "a$"], '$["$$Map","$$","$bigint:1","a$"]'],
  [{ $: "$" }, '{"$":"$"}'],
  [
    { a: new Uint8Array([65, 66]), b: new Int16Array([-2]) },
    '${"a":["$Uint8Array",0,2],"b":["$Int16Array",2,2]}\0AB\xfe\xff',
  ],
];

for (const [value, text] of FORMS) {
  test(`${describe(value)} is encoded as ${JSON.stringify(text)}`, () => {
    assertEquals(textOf(encode(value)), text);
    assertEquals(describe(arrives(value)), describe(value));
  });
}

test("a long bigint is hexadecimal, a short one decimal, and both arrive", () => {
  for (
    const n of [10n ** 60n, 10n ** 100n, 2n ** 331n, 2n ** 332n, 2n ** 9999n]
  ) {
    for (const each of [n, -n, n - 1n, 1n - n]) {
      assertEquals(arrives([each]), [each]);
    }
  }
  assertEquals(textOf(encode(10n ** 20n)), `$"$bigint:1${"0".repeat(20)}"`);
  assertEquals(textOf(encode(-(16n ** 99n))).slice(0, 14), '$"$bigint:-0x1');
});

test("500 properties and named groups of regular expressions arrive", () => {
  const sent = [
    new RegExp("\\p{L}(?<=a)".repeat(125), "u"),
    /(?<a>)/,
    /\P{L}/u,
  ];
  sent.push(new RegExp("(?<=a)".repeat(248)));
  assertEquals(describe(arrives(sent)), describe(sent));
});

test("an object of no prototype, of frozen parts or with getters arrives as a plain one", () => {
  const bare = Object.assign(Object.create(null), { at: new Date(1) });
  assertEquals(describe(arrives(bare)), 'Object{"at":Date(1)}');
  const frozen = Object.freeze({ list: Object.freeze([undefined, "$a"]) });
  assertEquals(arrives(frozen), { list: [undefined, "$a"] });
  const lazy = {
    get at() {
      return new Date(2);
    },
  };
  assertEquals(arrives(lazy), { at: new Date(2) });
});

test("a hole of an array arrives as undefined; symbols and hidden properties do not arrive", () => {
  const list = new Array<number>(2);
  list[0] = 1;
  assertEquals(describe(arrives(list)), "Array[1,undefined]");
  const object = { a: 1n, [Symbol()]: 1 };
  Object.defineProperty(object, "hidden", { value: 1 });
  assertEquals(describe(arrives(object)), 'Object{"a":1n}');
});

test("an error arrives with its class, cause and properties, without its stack", () => {
  class HttpError extends TypeError {
    override name = "HttpError";
    status = 404;
  }
  const sent = new HttpError("gone", { cause: new Error("why") });
  const payload = textOf(encode(sent));
  assert(!payload.includes("rich_test"));
  const error = arrives<Error>(sent);
  assertEquals(error.constructor, Error);
  assertEquals(String(error), "HttpError: gone");
  assertEquals(Object.keys(error), ["status"]);
  assertInstanceOf(error.cause, Error);
  const several = arrives(new AggregateError([new RangeError("a"), 1], "two"));
  assertInstanceOf(several, AggregateError);
  assertInstanceOf(several.errors[0], RangeError);
});

test("errors of an error that is no AggregateError stay enumerable", () => {
  const invalid = Object.assign(new Error("x"), { errors: { name: "empty" } });
  assertEquals(Object.keys(arrives(invalid)), ["errors"]);
  assertEquals(Object.keys(arrives(new AggregateError([]))), []);
});

test("an error's own property __proto__ arrives as one", () => {
  const error = new Error("x");
  const own = { value: { n: 1n }, enumerable: true };
  Object.defineProperty(error, "__proto__", own);
  assertEquals(describe(arrives(error)), describe(error));
});

test("instances of classes that extend the platform's arrive as the platform's", () => {
  class Ages extends Map<string, number> {}
  class Day extends Date {}
  class Chunk extends Uint8Array {}
  const sent = [new Ages([["ada", 36]]), new Day(5), new Chunk([1])];
  const expected = 'Array[Map[Array["ada",36]],Date(5),Uint8Array[1]]';
  assertEquals(describe(arrives(sent)), expected);
});

test("toJSON is not called, nor an iterator of the value's own", () => {
  const gone = () => "gone";
  const hidden = Object.defineProperty({ a: 1 }, "toJSON", { value: gone });
  const list = Object.assign([1], { toJSON: gone });
  class Log extends Array<unknown> {
    toJSON = gone;
    override [Symbol.iterator] = () => [9][Symbol.iterator]();
  }
  const log = new Log();
  log.push(1, 2);
  for (const more of [0, 3n]) {
    assertEquals(
      describe(arrives([hidden, list, log, more])),
      `Array[Object{"a":1},Array[1],Array[1,2],${describe(more)}]`,
    );
  }
  log.push(3n);
  assertEquals(describe(arrives(log)), "Array[1,2,3n]");
});

// A page has shared memory only if it is isolated from other origins.
const Shared = globalThis.SharedArrayBuffer ?? ArrayBuffer;

test("bytes arrive in memory of their own, from a view of any memory", () => {
  const shared = new Uint8Array(new Shared(4), 1, 2);
  shared.set([1, 2]);
  const resizable = new Uint8Array(
    new ArrayBuffer(4, { maxByteLength: 8 } as object),
    2,
  );
  resizable.set([3, 4]);
  const payload = encode([shared, resizable, new Float64Array([0.5])]);
  const [a, b, c] = decode(payload) as [Uint8Array, Uint8Array, Float64Array];
  assertEquals([[...a], [...b], [...c]], [[1, 2], [3, 4], [0.5]]);
  for (const { buffer, byteLength } of [a, b, c]) {
    assertInstanceOf(buffer, ArrayBuffer);
    assertEquals(buffer.byteLength, byteLength);
  }
});

test("floats of 16 bits arrive where the runtime has them", () => {
  const { Float16Array } = globalThis as {
    Float16Array?: new (items: number[]) => ArrayBufferView;
  };
  if (Float16Array === undefined) return;
  const sent = [new Float16Array([0.5, -2])];
  assertEquals(describe(arrives(sent)), describe(sent));
});

test("what is in a value twice arrives as two values", () => {
  const part = { bytes: new Uint8Array([1]), at: new Date(0) };
  const [a, b] = arrives([part, part]);
  assertEquals(a, b);
  assertNotStrictEquals(a, b);
  assertNotStrictEquals(a.bytes.buffer, b.bytes.buffer);
});

test("elements are stored with the low byte first on every machine", () => {
  const bytes = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]);
  toLittleEndian(bytes, 4, true);
  assertEquals([...bytes], [1, 2, 3, 4, 5, 6, 7, 8]);
  toLittleEndian(bytes, 4, false);
  assertEquals([...bytes], [4, 3, 2, 1, 8, 7, 6, 5]);
});

test("times are written as toISOString writes them, and read back", () => {
  const first = Date.UTC(-271_821, 3, 20);
  const edges = [
    ...[0, -1, first, -first, Date.UTC(99, 11, 31), -62_167_219_200_000],
    ...[Date.UTC(2000, 1, 29), Date.UTC(1900, 1, 28), Date.UTC(9999, 11, 31)],
    ...[100, 1000, 10_000].flatMap((year) => {
      const date = new Date(0);
      date.setUTCFullYear(year);
      return [-1, 0, 1, 86_399_999].map((ms) => +date + ms);
    }),
  ];
  const anyTime = fc.oneof(
    fc.date({ noInvalidDate: true }).map(Number),
    fc.constantFrom(...edges),
    fc.integer({ min: 0, max: 2_000_000 }).map((days) => days * 86_400_000),
  );
  for (const time of edges) {
    assertEquals(formatInstant(time), new Date(time).toISOString());
    assertEquals(parseInstant(formatInstant(time)), time);
  }
  fc.assert(
    fc.property(anyTime, (time) => {
      assertEquals(formatInstant(time), new Date(time).toISOString());
      assertEquals(parseInstant(formatInstant(time)), time);
    }),
    { numRuns: 2000 },
  );
});

for (
  const text of [
    ...["2024-02-30T00:00:00.000Z", "2023-02-29T00:00:00.000Z"],
    ...["2024-13-01T00:00:00.000Z", "2024-00-01T00:00:00.000Z"],
    ...["2024-01-01T24:00:00.000Z", "2024-01-01T00:60:00.000Z"],
    ...["2024-01-01", "2024-01-01T00:00:00Z", "-000000-01-01T00:00:00.000Z"],
    ...["+002024-01-01T00:00:00.000Z", "2024-01-00T00:00:00.000Z"],
  ]
) {
  test(`no time is written as ${text}, so it is not read`, () => {
    assertEquals(parseInstant(text), NaN);
  });
}

// Refused values.

test("a value that contains itself is refused, and the message names the place", () => {
  const loop: Record<string, unknown> = { list: [1, { deep: {} }] };
  (loop.list as { deep: object }[])[1].deep = { up: loop };
  const end = "a value that contains itself cannot be serialized";
  assertEquals(refusal(loop), `value.list[1].deep.up: ${end}`);
  const map = new Map<string, unknown>();
  map.set("me", new Set([{ map }]));
  assertEquals(refusal({ map }), `value.map.get("me")[item 0].map: ${end}`);
  const error = new Error("x");
  error.cause = { error };
  assertEquals(refusal(error), `value.cause.error: ${end}`);
  const list: unknown[] = [];
  list.push(list);
  assertEquals(refusal(list), `value[0]: ${end}`);
});

test("a cycle with much beside it is refused at once", () => {
  const loop: { all: number[]; self?: unknown } = {
    all: new Array(1000).fill(1),
  };
  let reads = 0;
  Object.defineProperty(loop, "counted", {
    enumerable: true,
    get: () => reads++,
  });
  loop.self = loop;
  refusal(loop);
  assert(reads < 40, `${reads} rounds`);
});

class Point {
  x = 1;
}

const REFUSED: Readonly<Record<string, readonly [unknown, string]>> = {
  "a function": [{ a: [() => 1] }, "value.a[0]: a function"],
  "a symbol": [{ a: Symbol() }, "value.a: a symbol"],
  "an instance of a class": [[new Point()], "value[0]: an instance of Point"],
  "a promise": [{ p: Promise.resolve() }, "value.p: a Promise"],
  "a WeakMap": [{ w: new WeakMap() }, "value.w: a WeakMap"],
  "a stream": [{ s: new ReadableStream() }, "value.s: a stream"],
  "a generator": [[(async function* () {})()], "value[0]: a stream"],
  "a boxed number": [[Object(1)], "value[0]: a Number"],
  "what only claims to be a Map": [
    [Object.create(Map.prototype)],
    "value[0]: a Map",
  ],
  "what only claims to be a Date": [
    [{ __proto__: { [Symbol.toStringTag]: "Date" } }],
    "value[0]: a Date",
  ],
  "what only claims to be an Error": [
    [{ __proto__: { [Symbol.toStringTag]: "Error" } }],
    "value[0]: an Error",
  ],
  "a RegExp that no receiver takes": [
    [new RegExp("a".repeat(65_537))],
    "value[0]: a RegExp of more than 65536 characters",
  ],
  "a RegExp too many with properties or named groups": [
    [/\p{L}/u, new RegExp("(?<=a)".repeat(500))],
    "value[1]: a RegExp",
  ],
  "a function as a key": [new Map([[() => 1, 1]]), "value[key]: a function"],
  "a class inside an error": [
    new Error("x", { cause: new Point() }),
    "value.cause: an instance of Point",
  ],
};

if ("SharedArrayBuffer" in globalThis) {
  test("shared memory is refused; a view of it is not", () => {
    const end = "a SharedArrayBuffer cannot be serialized";
    assertEquals(refusal([new Shared(1)]), `value[0]: ${end}`);
  });
}

for (const [name, [value, message]] of Object.entries(REFUSED)) {
  test(`${name} is refused, and the message names the place`, () => {
    assertEquals(refusal(value), `${message} cannot be serialized`);
  });
}

test("a value of 1,000 levels arrives, a deeper one is refused", () => {
  const nest = (levels: number) => {
    let value: unknown = [new Date(0)];
    for (let i = 1; i < levels; i++) value = [value];
    return value;
  };
  assertEquals(describe(arrives(nest(1000))), describe(nest(1000)));
  assert(refusal(nest(1001)).endsWith("levels deep cannot be serialized"));
  assert(refusal(nest(100_000)).endsWith("levels deep cannot be serialized"));
});

test("bytes that have lost their memory are refused", () => {
  const bytes = new Float64Array(2);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  assert(refusal([bytes]).startsWith("value[0]: bytes whose memory is gone"));
  assert(refusal([bytes.buffer]).startsWith("value[0]: bytes whose memory"));
  const view = new DataView(new ArrayBuffer(2));
  structuredClone(view.buffer, { transfer: [view.buffer] });
  assert(refusal([view]).startsWith("value[0]: bytes whose memory is gone"));
});

test("bytes that a getter takes away while they are encoded send no other memory", () => {
  const bytes = new Uint8Array(64);
  const value = {
    bytes,
    get later() {
      const { buffer } = bytes;
      if (bytes.length > 0) structuredClone(buffer, { transfer: [buffer] });
      return 1;
    },
  };
  assert(refusal(value).includes("memory is gone"));
});

// Calls.

const serializer: Serializer = rich();
const both = { client: { serializer }, server: { serializer } };

test("params, results, error data and items of streams arrive as they were sent", async () => {
  const services = {
    S: {
      echo: (value: unknown) => value,
      fail: (data: unknown) => {
        throw new RpcError("own", "text", { data });
      },
      async *items(value: unknown) {
        yield value;
        yield new Map([[1n, value]]);
      },
    },
  };
  const { client, close } = pair(services, both);
  const value = {
    at: new Date(3),
    raw: [new Float32Array([1, 2]), new Uint8Array(100_000).fill(7)],
    why: new TypeError("x", { cause: { n: -0 } }),
  };
  const call = client.call("S.echo", value);
  assertEquals(describe(await call), describe(value));
  const error = await assertRejects(
    () => client.call("S.fail", value),
    RpcError,
  );
  assertEquals(describe(error.data), describe(value));
  const items = await Array.fromAsync(await client.call("S.items", value));
  const expected = [value, new Map([[1n, value]])];
  assertEquals(describe(items), describe(expected));
  await close();
});

test("a value that is refused fails that call alone, and the error names the place", async () => {
  const services = {
    S: {
      echo: (value: unknown) => value,
      bad: (): unknown => ({ users: [{ save: () => {} }] }),
    },
  };
  const { client, errors, close } = pair(services, both);
  const bad = { users: new Map([["ada", { f: () => {} }]]) };
  const params = await assertRejects(
    () => client.call("S.echo", bad),
    RpcError,
  );
  assertEquals([params.code, params.outcome], ["invalid_argument", "not_sent"]);
  assertEquals(
    params.message,
    'params.users.get("ada").f: a function cannot be serialized',
  );
  const result = await assertRejects(() => client.call("S.bad"), RpcError);
  assertEquals([result.code, result.outcome], ["internal", "executed"]);
  assertEquals(
    (errors[0].error as Error).message,
    "result.users[0].save: a function cannot be serialized",
  );
  assertEquals(await client.call("S.echo", { n: 1n }), { n: 1n });
  await close();
});

test("a peer without the rich serializer is refused", async () => {
  const { client, server } = pair({ S: { f: () => 1 } }, {
    client: { serializer: rich() },
  });
  await assertRejects(() => client.call("S.f"), RpcError);
  assertEquals((await client.closed)?.code, "serializer_mismatch");
  await server.close();
});

test("a caller's value is encoded when the call is made", async () => {
  const { client, close } = pair({ S: { echo: (v: unknown) => v } }, both);
  const value = { list: [1n], bytes: new Uint8Array([1]) };
  const reply = client.call("S.echo", value);
  value.list.push(2n);
  value.bytes[0] = 9;
  assertEquals(await reply, { list: [1n], bytes: new Uint8Array([1]) });
  await close();
});

test("[H4] a payload that breaks the encoding fails that call alone", async () => {
  const [near, far] = memoryPair();
  const services = { S: { echo: (value: unknown) => value } };
  const server = new Server(services, { serializer: rich() });
  server.accept(far);
  const broken = (value: unknown) =>
    value === "break" ? new Uint8Array([0x24, 0x5b]) : encode(value);
  const client = new Client<typeof services>(near, {
    serializer: { ...rich(), encode: (list) => broken((list as unknown[])[0]) },
  });
  const error = await assertRejects(
    () => client.call("S.echo", ["break"]),
    RpcError,
  );
  assertEquals([error.code, error.outcome], ["invalid_argument", "refused"]);
  assertStrictEquals(await client.call("S.echo", [7n]), 7n);
  await client.close();
  await server.close();
});
