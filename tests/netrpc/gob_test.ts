/** Gob without a connection: streams recorded from Go, plain values, types, and limits. */

import { assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import {
  any,
  array,
  bool,
  bytes,
  Complex,
  complex,
  decodeGob,
  encodeGob,
  float,
  GobError,
  type GobType,
  int,
  int64,
  lazy,
  map,
  opaque,
  optional,
  Registered,
  slice,
  string,
  struct,
  time,
  uint,
} from "../../netrpc.ts";
import { decodeAll } from "../../src/netrpc/gob/decoder.ts";
import { GobOutput } from "../../src/netrpc/gob/output.ts";
import recorded from "../vectors/gob.json" with { type: "json" };
import { EXPANSIONS, GobStream, INT, sliceOf } from "./gob_stream.ts";
import { All, generate, registered } from "../support/go_zoo.ts";

function hex(text: string): Uint8Array {
  const digits = text.replace(/\s/g, "").match(/../g) ?? [];
  return Uint8Array.from(digits, (byte) => Number.parseInt(byte, 16));
}

const point = (X: number, Y: number) => ({ X, Y });
const points = (n: number) =>
  Array.from(
    { length: n },
    (_, i) => new Registered("main.Point", point(i, 1)),
  );
const zeroTime = new Date("0001-01-01T00:00:00Z");

/** The value of each recorded stream. */
const RECORDED: Record<string, unknown> = {
  "int 0": 0,
  "int -129": -129,
  "int max": 2n ** 63n - 1n,
  "int min": -(2n ** 63n),
  "uint max": 2n ** 64n - 1n,
  "float 17": 17,
  "float -0.1": -0.1,
  "float inf": Infinity,
  "complex": new Complex(1, -2),
  "bool": true,
  "string": "café",
  "bytes": Uint8Array.of(0, 255),
  "strings": ["", "x"],
  "array": [1, 0, -1],
  "map": new Map([["a", 1]]),
  "struct": point(7, 8),
  "zero struct": point(0, 0),
  "list": {
    Value: 1,
    Next: { Value: 0, Next: { Value: 3, Next: null } },
  },
  "time": new Date("2024-02-29T12:30:15.250Z"),
  "interface nil": { V: null },
  "interface string": { V: "x" },
  "interface struct": { V: new Registered("main.Point", point(1, 2)) },
  "interface nested": {
    V: new Registered("main.Holder", {
      V: new Registered("main.Point", point(1, 2)),
    }),
  },
  "interfaces": [
    null,
    1,
    "a",
    new Registered("main.Point", point(0, 5)),
    new Registered("main.Point", point(6, 0)),
  ],
  "many interfaces": points(100),
  "map of interfaces": new Map([
    ["a", new Registered("main.List", points(50))],
  ]),
  "mixed": {
    Name: "n",
    Data: Uint8Array.of(1),
    Ok: true,
    Ratio: 0.5,
    Wave: new Complex(0, 1),
    Big: 2n ** 63n,
    Low: -(2n ** 63n),
    At: new Date(1000),
    Grid: [[1], []],
    Names: new Map([["p", point(0, 1)]]),
    Maybe: point(3, 4),
  },
  "mixed zero": {
    Name: "",
    Data: new Uint8Array(),
    Ok: false,
    Ratio: 0,
    Wave: new Complex(0, 0),
    Big: 0,
    Low: 0,
    At: zeroTime,
    Grid: [[], []],
    Names: new Map(),
    Maybe: null,
  },
};

for (const { name, hex: text } of recorded) {
  test(`decodeGob reads a stream recorded from Go: ${name}`, () => {
    assertEquals(decodeGob(hex(text)), RECORDED[name]);
  });
}

const PLAIN: unknown[] = [
  ...[0, 1, -1, 63, 64, 127, 128, -128, 255, 256, 65535, 65536],
  ...[2 ** 30 - 1, 2 ** 30, -(2 ** 30), -(2 ** 30) - 1, 2 ** 31, 2 ** 32],
  ...[2 ** 48, 2 ** 53 - 1, -(2 ** 53) + 1, 2n ** 53n, -(2n ** 53n)],
  ...[2n ** 63n - 1n, -(2n ** 63n), 2n ** 63n, 2n ** 64n - 1n],
  ...[0.5, -0.1, 1e300, 5e-324, NaN, -Infinity, 2 ** 60],
  ...["", "x", "é世\u{1f600}", "y".repeat(1000), true, false],
  new Uint8Array(300),
  [1, 2.5],
  [[1], [2]],
  new Map([[1, "a"]]),
  { Name: "cup", Count: 3, Tags: ["a"], Inner: { Deep: true } },
  [1, "a", null, true, [1], new Complex(1, 2), Uint8Array.of(1)],
  new Date(-5),
];

for (const value of PLAIN) {
  const name = typeof value === "string" && value.length > 20
    ? "a long string"
    : typeof value === "object"
    ? JSON.stringify(value)
    : `${typeof value} ${String(value)}`;
  test(`a plain value survives encoding and decoding: ${name.slice(0, 60)}`, () => {
    assertEquals(decodeGob(encodeGob(value)), value);
  });
}

test("members that are null, undefined or empty are left out", () => {
  const value = { A: 1, B: null, C: undefined, D: [], E: new Map() };
  assertEquals(decodeGob(encodeGob(value)), { A: 1 });
});

test("the elements of an array are sent as one common type", () => {
  const mixed = [{ A: 1 }, { B: 2.5 }, { A: 3, B: 1 }];
  const wanted = [{ A: 1, B: 0 }, { A: 0, B: 2.5 }, { A: 3, B: 1 }];
  assertEquals(decodeGob(encodeGob(mixed)), wanted);
});

for (
  const [name, value] of [
    ["a function", () => {}],
    ["a symbol", Symbol()],
    ["a Set", new Set()],
    ["a Float64Array", new Float64Array(1)],
    ["an empty array", []],
    ["an empty Map", new Map()],
    ["an invalid Date", new Date(NaN)],
    ["a bigint of over 64 bits", 2n ** 64n],
    ["an object in an interface, without a name", [1, { A: 1 }]],
  ] as const
) {
  test(`encodeGob rejects ${name}`, () => {
    assertThrows(() => encodeGob(value), GobError);
  });
}

test("encodeGob names a member that Go would not export", () => {
  assertThrows(
    () => encodeGob({ name: "cup" }),
    GobError,
    '"name" is not exported',
  );
  assertEquals(decodeGob(encodeGob({ name: undefined, Count: 3 })), {
    Count: 3,
  });
});

test("encodeGob rejects a value that contains itself", () => {
  const value: Record<string, unknown> = {};
  value.Self = value;
  assertThrows(() => encodeGob(value), GobError, "nested too deeply");
  interface Loop {
    Next: Loop | null;
  }
  const Loop: GobType<Loop> = struct({
    Next: optional(lazy((): GobType<Loop> => Loop)),
  });
  const loop: Loop = { Next: null };
  loop.Next = loop;
  assertThrows(() => encodeGob(loop, Loop), GobError, "nested deeper");
});

// Types.

test("values of a type survive encoding and decoding", () => {
  for (let seed = 0; seed < 20; seed++) {
    const value = generate(seed);
    const stream = encodeGob(value, All, registered);
    const read = decodeGob(stream, All, {}, registered);
    assertEquals(read, value, `seed ${seed}`);
  }
});

test("the type decides whether integers are numbers or bigints", () => {
  assertEquals(decodeGob(encodeGob(5), int), 5);
  assertEquals(decodeGob(encodeGob(5), int64), 5n);
  const past = encodeGob(2n ** 53n);
  assertEquals(decodeGob(past), 2n ** 53n);
  assertThrows(() => decodeGob(past, int), GobError, "outside ±(2^53 - 1)");
});

test("a field unknown to the receiver is ignored, and one that the sender lacks is zero", () => {
  const Theirs = struct({ A: int, Extra: slice(string), B: int });
  const Ours = struct({ B: int, C: string, D: optional(time), E: slice(int) });
  const stream = encodeGob({ A: 1, Extra: ["x"], B: 2 }, Theirs);
  assertEquals(decodeGob(stream, Ours), { B: 2, C: "", D: null, E: [] });
});

for (
  const [name, value, type, why] of [
    [
      "a string for an int",
      "x",
      int,
      "local type *int, received remote type string",
    ],
    ["an int for a uint", 1, uint, "*uint, received remote type int"],
    ["an int for a float", 1, float, "*float64, received"],
    [
      "an int for a struct",
      1,
      struct({ A: int }, "S"),
      "want struct type S; got non-struct",
    ],
    [
      "a struct without one of the fields",
      { B: 1 },
      struct({ A: int }),
      "no fields matched",
    ],
    [
      "a struct with a field of another type",
      { A: "x" },
      struct({ A: slice(float) }),
      "wrong type ([]float64) for received field .A",
    ],
    [
      "a list of others in a struct",
      { A: [1] },
      struct({ A: slice(float) }),
      "wrong type ([]float64)",
    ],
    [
      "bytes for a slice",
      Uint8Array.of(1),
      slice(int),
      "*[]int, received remote type bytes",
    ],
    [
      "a slice for an array",
      [1],
      array(int, 1),
      "*[1]int, received remote type []int",
    ],
    [
      "a slice of others",
      [[1]],
      slice(slice(float)),
      "*[][]float64, received remote type [][]int",
    ],
    [
      "a map of other keys",
      new Map([[1, 1]]),
      map(string, int),
      "remote type map[int]int",
    ],
    [
      "a time for bytes of another kind",
      new Date(),
      bytes,
      "*[]uint8, received remote type Time",
    ],
    ["an int for an interface", 1, any, "*interface {}, received"],
  ] as [string, unknown, GobType<unknown>, string][]
) {
  test(`decodeGob rejects a value of another type: ${name}`, () => {
    assertThrows(
      () => decodeGob(encodeGob(value), type),
      GobError,
      why,
    );
  });
}

for (
  const [name, value, type] of [
    ["a number", 1, string],
    ["a string", "x", int],
    ["a string", "x", float],
    ["a number", 1, bool],
    ["a string", "x", bytes],
    ["a string", "x", time],
    ["an object", { re: 1, im: 2 }, complex],
    ["an object", {}, slice(int)],
    ["an object", {}, map(string, int)],
    ["an array", [1], array(int, 2)],
    ["an array of others", ["x"], slice(int)],
    ["a string", "x", struct({ A: int })],
    ["null", null, struct({ A: int })],
    ["a field of another type", { A: "x" }, struct({ A: int })],
    ["a number below zero", -1, uint],
    ["a fraction", 1.5, int],
    ["65 bits", 2n ** 63n, int],
  ] as [string, unknown, GobType<unknown>][]
) {
  test(`encodeGob rejects a value of another type: ${name} as ${type.kind}`, () => {
    assertThrows(() => encodeGob(value, type), GobError);
  });
}

test("a type that writes its own bytes is read as these bytes", () => {
  const Secret = opaque("Secret");
  const stream = encodeGob(Uint8Array.of(1, 2), Secret);
  assertEquals(decodeGob(stream), Uint8Array.of(1, 2));
  // A type named Time whose bytes are not a time: also bytes.
  const odd = encodeGob(Uint8Array.of(9), opaque("Time"));
  assertEquals(decodeGob(odd), Uint8Array.of(9));
  assertThrows(() => decodeGob(odd, time), GobError);
});

test("struct() rejects a field that is not exported in Go", () => {
  assertThrows(() => struct({ name: string }), TypeError, "not exported");
  assertThrows(() => struct({ __proto: string }), TypeError);
});

// Streams that no honest sender writes.

const ONE_FIELD = "01 01 01 01 41 01 04 00";

for (
  const [name, text, why] of [
    ["nothing", "", "0 values"],
    ["a message of no bytes", "00", "empty message"],
    ["a cut message", "03 04 00", "cut short"],
    ["a message length of ten bytes", "f6 01", "length of a message"],
    ["an integer of nine bytes", "0c 04 00 f7 010203040506070809", "integer"],
    ["an integer cut short", "04 04 00 fe 01", "cut short"],
    ["a value of a type that was not defined", "03 ff82 00", "not defined"],
    [
      "a definition of a type of gob itself",
      "05 03 03 01 00 00",
      "of gob itself",
    ],
    ["a definition of no type", "03 ff81 00", "no type"],
    ["a definition of two types", "09 ff81 02 00 01 02 00 00", ""],
    ["a definition of an eighth kind", "05 ff81 08 00 00", "definition"],
    ["bytes after a value", "04 04 00 02 02", "after its value"],
    ["a value with a field number", "03 04 01 02", "field number"],
    ["a string longer than its message", "05 0c 00 7f 68 69", "length"],
    ["a string of 2^56 bytes", "0b 0c 00 f9 ffffffffffffff 68", "length"],
    ["a string that is not UTF-8", "05 0c 00 02 ff fe", "UTF-8"],
    [
      "a field number above the last field",
      `12 ff81 03 01 02 ff82 00 ${ONE_FIELD} 00 00  05 ff82 02 02 00`,
      "field 1",
    ],
    [
      "a field named __proto__",
      "18 ff81 03 01 02 ff82 00 01 01 01 09 5f5f70726f746f5f5f 01 04 00 00 00",
      "__proto__",
    ],
    [
      "an array with too few elements",
      "0e ff81 01 01 02 ff82 00 01 04 01 06 00 00  06 ff82 00 02 02 04",
      "array of length 3",
    ],
    [
      "a slice of 2^40 elements",
      "0c ff81 02 01 02 ff82 00 01 04 00 00  0a ff82 00 fa 010000000000",
      "length",
    ],
    [
      "a type that is a slice of itself, without end",
      `0d ff81 02 01 02 ff82 00 01 ff82 00 00  fe 05dc ff82 00 ${
        "01".repeat(1497)
      }`,
      "deep",
    ],
    [
      "an array of itself, left out",
      "0f ff81 01 01 02 ff82 00 01 ff82 01 02 00 00  15 ff83 03 01 02 ff84 00 01 01 01 01 41 01 ff82 00 00 00  03 ff84 00",
      "",
    ],
  ] as const
) {
  test(`decodeGob rejects an invalid stream with a GobError: ${name}`, () => {
    assertThrows(() => decodeGob(hex(text)), GobError, why);
  });
}

test("decodeGob rejects a second definition of a type", () => {
  const definition = "0c ff81 02 01 02 ff82 00 01 04 00 00";
  assertThrows(
    () => decodeGob(hex(definition + definition)),
    GobError,
    "a second time",
  );
});

/** A list of interfaces, each with a type of its own that is defined inside the value, so that each ends a message. */
function inParts(parts: number): Uint8Array {
  const stream = new GobOutput();
  stream.raw(hex("0c ff81 02 01 02 ff82 00 01 10 00 00"));
  let message = new GobOutput();
  const send = () => {
    message.prefix(0);
    stream.raw(message.bytes.subarray(0, message.size));
    message = new GobOutput();
  };
  message.raw(hex("ff82 00"));
  message.uint(parts);
  for (let i = 0; i < parts; i++) {
    const id = 66 + i;
    message.text("T");
    message.int(-id);
    message.raw(hex("03 01 02"));
    message.int(id);
    message.raw(hex("00 01 01 01 01 41 01 04 00 00 00"));
    send();
    message.int(id);
    const value = hex("01 54 00");
    message.uint(value.length);
    message.raw(value);
  }
  send();
  return stream.copy();
}

test("a value may span as many messages as there may be types", () => {
  const parts = 3000;
  const value = decodeGob(inParts(parts)) as Registered[];
  assertEquals(value.length, parts);
  assertEquals(value.at(-1), new Registered("T", { A: 42 }));
  assertThrows(() => decodeGob(inParts(5000)), GobError);
});

test("a value of many messages is scanned and read once, however long it is", () => {
  // The scanner and the reader each charge the limit for one pass.
  const stream = inParts(50);
  const maxElements = 50 + 50 * 2;
  assertEquals(
    (decodeGob(stream, undefined, { maxElements }) as unknown[]).length,
    50,
  );
});

test("decodeGob rejects a stream that defines more than 4,096 types", () => {
  const stream: number[] = [];
  for (let id = 65; id < 65 + 4097; id++) {
    // As Go writes it: the negative id, slice, common part, id, element.
    const twice = [(id << 1) >> 8, (id << 1) & 0xff];
    const minus = [((id - 1) << 1 | 1) >> 8, ((id - 1) << 1 | 1) & 0xff];
    const wide = ([high, low]: number[]) =>
      high > 0 ? [0xfe, high, low] : [0xff, low];
    const body = [
      ...wide(minus),
      ...[2, 1, 2],
      ...wide(twice),
      ...[0, 1, 4, 0, 0],
    ];
    stream.push(body.length, ...body);
  }
  assertThrows(
    () => decodeAll(Uint8Array.from(stream)),
    GobError,
    "more than 4096 types",
  );
});

test("the number and depth of values are bounded, including fields left out as zero", () => {
  const Wide = struct({ A: int, B: int, C: int, D: int });
  const many = Array.from({ length: 100 }, () => ({ A: 0, B: 0, C: 0, D: 0 }));
  const stream = encodeGob(many, slice(Wide));
  assertThrows(
    () => decodeGob(stream, undefined, { maxElements: 400 }),
    GobError,
    "more than 400 values",
  );
  assertEquals(decodeGob(stream, undefined, { maxElements: 500 }), many);
  const deep = encodeGob([[[[1]]]]);
  assertThrows(
    () => decodeGob(deep, undefined, { maxDepth: 3 }),
    GobError,
    "deeper than 3",
  );
});

test("an encoder rejects plain values of too many different shapes", async () => {
  const { GobEncoder, MAX_INFERRED_TYPES } = await import(
    "../../src/netrpc/gob/encoder.ts"
  );
  const { GobOutput } = await import("../../src/netrpc/gob/output.ts");
  const encoder = new GobEncoder();
  const write = (i: number) =>
    encoder.encode(new GobOutput(), { [`F${i}`]: 1 });
  for (let i = 0; i < MAX_INFERRED_TYPES; i++) write(i);
  write(0);
  assertThrows(() => write(MAX_INFERRED_TYPES), GobError, "shapes");
});

// Structs that Go may take for one type.

/** Reads a stream as Go does: all structs inside a struct by the first definition among them. */
async function readAsGo(stream: Uint8Array): Promise<unknown> {
  const { GobDecoder } = await import("../../src/netrpc/gob/decoder.ts");
  const { MessageSplitter } = await import("../../src/netrpc/gob/splitter.ts");
  const decoder = new GobDecoder();
  const values: unknown[] = [];
  new MessageSplitter({
    message(bytes, start, end) {
      if (!decoder.addMessage(bytes, start, end)) return;
      for (let id = 65; id < 200; id++) confuse(decoder.types, id);
      values.push(decoder.value(undefined));
    },
  }, Infinity).push(stream, 0);
  return values[0];
}

function confuse(
  types: { get(id: number): unknown },
  id: number,
): void {
  const get = (id: number) =>
    types.get(id) as { kind: string; elem: number; fields: { id: number }[] };
  const first: Record<string, number> = {};
  const confused = (id: number): number => {
    const type = get(id);
    if (type.kind === "struct") return first.struct ??= id;
    if (type.kind === "slice" || type.kind === "map") {
      type.elem = confused(type.elem);
    }
    return id;
  };
  try {
    if (get(id).kind !== "struct") return;
  } catch {
    return;
  }
  for (const field of get(id).fields) field.id = confused(field.id);
}

/** The members of a struct that are not zero, as Go would see them. */
function withoutZeros(value: unknown): unknown {
  if (value instanceof Map) {
    return new Map([...value].map(([key, v]) => [key, withoutZeros(v)]));
  }
  if (Array.isArray(value)) return value.map(withoutZeros);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value)
    .map(([name, member]) => [name, withoutZeros(member)] as const)
    .filter(([, member]) =>
      member !== 0 && member !== "" && member !== null &&
      !(member instanceof Map && member.size === 0) &&
      !(Array.isArray(member) && member.length === 0)
    );
  return Object.fromEntries(entries);
}

const Y4 = { Y: 4 };
for (
  const [name, value] of [
    ["members left out", { From: { X: 1, Y: 2 }, To: Y4 }],
    ["no member in common", { From: { X: 1 }, To: Y4, Mid: { Z: 5 } }],
    ["another order of keys", { From: { X: 1, Y: 2 }, To: { Y: 3, X: 4 } }],
    ["whole numbers and others", { From: { X: 1.5 }, To: { X: 2, Y: 3 } }],
    ["slices beside structs", { All: [{ X: 1 }, {}], One: Y4 }],
    ["maps beside structs", { All: new Map([["a", { X: 1 }]]), One: Y4 }],
    [
      "structs in structs",
      { A: { P: { X: 1 } }, B: { Q: Y4 }, C: { Q: { X: 3 }, P: { Z: 2 } } },
    ],
    ["a slice of such", [{ To: Y4, From: { X: 1 } }, { To: { X: 3 } }]],
    [
      "a type that contains itself",
      { V: 1, Next: { Next: { V: 3 } }, Kids: [{ V: 4, Kids: [{ V: 5 }] }] },
    ],
  ] as [string, unknown][]
) {
  test(`[X23] structs inside one struct are sent as one Go type: ${name}`, async () => {
    const stream = encodeGob(value);
    assertEquals(withoutZeros(decodeGob(stream)), withoutZeros(value));
    assertEquals(
      withoutZeros(await readAsGo(stream)),
      withoutZeros(value),
    );
  });
}

test("[X23] structs with contradicting fields get types of their own, and none is read by the type of another", () => {
  const value = {
    User: { Id: 1, Name: "n" },
    Document: { Id: "d", Pages: [1] },
    Options: { Deep: true },
  };
  const read = decodeGob(encodeGob(value)) as typeof value;
  const { Id, Name } = read.User;
  assertEquals([Id, Name], [1, "n"]);
  assertEquals([read.Document.Id, read.Document.Pages], ["d", [1]]);
  assertEquals(read.Options.Deep, true);
  const Document = struct({ Id: string, Pages: slice(int) });
  const Options = struct({ Deep: bool });
  const User = struct({ Name: string, Id: int });
  assertEquals(
    decodeGob(encodeGob(value), struct({ User, Options, Document })),
    value,
  );
});

test("[X23] the order of an object's keys does not create another type", async () => {
  const { GobEncoder } = await import("../../src/netrpc/gob/encoder.ts");
  const encoder = new GobEncoder();
  const types = (value: unknown) => {
    encoder.encode(new GobOutput(), value);
    const defined = encoder.definitions !== undefined;
    encoder.clearDefinitions();
    return defined;
  };
  assertEquals(types({ A: 1, B: { C: 1, D: "x" } }), true);
  assertEquals(types({ B: { D: "y", C: 2 }, A: 3 }), false);
  assertEquals(types({ B: { D: "y", C: 2, E: null }, A: 3 }), false);
});

test("[X23] the name of a member must be one of an exported Go field", () => {
  for (const name of ["A int;B", "A B", "A-B", "A.B", ""]) {
    assertThrows(() => encodeGob({ [name]: 1 }), GobError, "not exported");
    assertThrows(() => struct({ [name]: int }), TypeError, "not exported");
  }
});

test("[X23] two types with one name and different layouts are rejected", () => {
  const one = () => struct({ X: int, Y: int }, "Point");
  const Line = struct({ From: one(), To: slice(optional(one())) });
  const line = { From: { X: 1, Y: 2 }, To: [{ X: 3, Y: 4 }] };
  assertEquals(decodeGob(encodeGob(line, Line), Line), line);
  for (
    const other of [
      struct({ Y: int, X: int }, "Point"),
      struct({ X: int }, "Point"),
      struct({ X: int, Y: float }, "Point"),
    ]
  ) {
    const Odd = struct({ From: one(), To: slice(other) }) as GobType<unknown>;
    assertThrows(() => encodeGob(line, Odd), GobError, "both named");
  }
});

// Memory.

/** The least memory that a value takes on V8 without its strings and numbers, in bytes. */
function memoryOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  if (value instanceof Uint8Array) return 200 + value.length;
  if (value instanceof Date) return 96;
  if (value instanceof Map) {
    let sum = 184 + 20 * value.size;
    for (const [key, elem] of value) sum += memoryOf(key) + memoryOf(elem);
    return sum;
  }
  const members: unknown[] = Array.isArray(value)
    ? value
    : Object.values(value);
  let sum = (Array.isArray(value) ? 32 : 56) + 8 * members.length;
  if (members.length > 200 && !Array.isArray(value)) sum *= 6;
  for (const member of members) sum += memoryOf(member);
  return sum;
}

for (const [name, make] of Object.entries(EXPANSIONS)) {
  test(`[X13] the memory of a message's values is bounded by its bytes: ${name}`, () => {
    for (
      const [n, maxExpansion] of [[1, 64], [300, 8], [300, 1000], [1000, 64]]
    ) {
      const stream = make(n);
      const most = 2 ** 20 + maxExpansion * stream.length;
      let memory = 0;
      try {
        memory = memoryOf(decodeGob(stream, undefined, { maxExpansion }));
      } catch (error) {
        assertEquals(error instanceof GobError, true);
      }
      assertEquals(memory < most, true, `${n}: ${memory} of ${most}`);
    }
  });
}

test("[X13] the memory of zero values of the expected type is bounded by the message's bytes", () => {
  for (
    const elem of [
      array(bytes, 1000),
      array(time, 1000),
      array(complex, 1000),
      array(map(int, int), 1000),
      array(struct({ A: int }), 1000),
      array(array(slice(int), 40), 40),
    ] as GobType<unknown>[]
  ) {
    const stream = new GobStream();
    const sent = stream.struct([["Sent", INT]]);
    const type = slice(struct({ Sent: int, LeftOut: elem }));
    assertThrows(
      () => decodeGob(sliceOf(stream, sent, 2000, [0]), type),
      GobError,
      "64 times its own bytes",
    );
  }
});

test("[X13] ordinary zero values stay within the bound, and maxExpansion raises it", () => {
  const Row = struct(
    Object.fromEntries(
      Array.from({ length: 30 }, (_, i) => [`F${i}`, i % 2 ? string : int]),
    ),
  );
  const row = (i: number) =>
    Object.fromEntries(
      Row.fields.map(([name], at) => [name, at === 0 ? i : at % 2 ? "" : 0]),
    );
  const rows = Array.from({ length: 3000 }, (_, i) => row(i % 2 ? i : 0));
  const stream = encodeGob(rows, slice(Row));
  assertEquals(decodeGob(stream), rows);
  assertEquals(decodeGob(stream, slice(Row)), rows);
  const empty = Array.from({ length: 20_000 }, () => new Map<number, number>());
  const maps = encodeGob(empty, slice(map(int, int)));
  assertThrows(() => decodeGob(maps), GobError, "times its own bytes");
  const read = decodeGob(maps, undefined, { maxExpansion: 256 }) as unknown[];
  assertEquals(read.length, 20_000);
});

test("[X13] zero values of one message share no mutable objects", () => {
  const Inner = struct({ L: slice(int), M: map(int, int), T: time, B: bytes });
  const S = struct({
    V: int,
    A: array(Inner, 2),
    ...Object.fromEntries(Inner.fields),
  });
  const Sent = struct({
    V: int,
    L: slice(int),
    M: map(int, int),
    T: time,
    B: bytes,
  });
  const blank = { V: 0, L: [], M: new Map(), T: zeroTime, B: new Uint8Array() };
  const stream = encodeGob([blank, blank], slice(Sent));
  for (
    const type of [undefined, slice(S)] as (GobType<unknown> | undefined)[]
  ) {
    const found = new Set<unknown>();
    let containers = 0;
    const walk = (value: unknown): void => {
      if (typeof value !== "object" || value === null) return;
      found.add(value);
      containers++;
      if (!(value instanceof Uint8Array)) Object.values(value).forEach(walk);
    };
    walk(decodeGob(stream, type));
    assertEquals(found.size, containers);
  }
});

test("[X13] decodeGob rejects fields without a name or type, which would take memory but no bytes", () => {
  const nameless = new GobStream();
  nameless.message((out) => {
    out.raw(hex("ff81 03 01 02 ff82 00 01"));
    out.uint(1000);
    out.raw(new Uint8Array(1002));
  });
  assertThrows(() => decodeAll(nameless.bytes), GobError, "without a name");
});

// Types that embed one that writes its own bytes, and values in interfaces.

test("[X30] a struct that embeds a time.Time, or another type that writes its own bytes, is read as the embedded type", () => {
  const date = new Date("2024-02-29T12:30:15.250Z");
  const bytesOf = (name: string, variant: number) => {
    const stream = new GobStream();
    const id = stream.opaque(name, variant);
    const all = stream.struct([["At", id], ["None", id]]);
    const made = encodeGob(date).subarray(-15);
    stream.value(all, true, (out) => {
      out.byte(1);
      out.blob(made);
      out.byte(0);
    });
    return stream.bytes;
  };
  const Stamped = struct({ At: time, None: time });
  for (const variant of [5, 6]) {
    for (const name of ["Stamp", "", "Time"]) {
      const stream = bytesOf(name, variant);
      assertEquals(decodeGob(stream, Stamped), { At: date, None: zeroTime });
      const Raw = struct({ At: opaque(name), None: opaque(name) });
      assertEquals(decodeGob(stream, Raw).At.length, 15);
    }
  }
  assertThrows(() => decodeGob(bytesOf("Stamp", 7), Stamped), GobError, "type");
  // Only the name of a type tells that its bytes are a time.
  const plain = decodeGob(bytesOf("Stamp", 5)) as { At: Uint8Array };
  assertEquals(plain.At.length, 15);
});

test("[X30] a value in an interface is read as the type registered under its name", () => {
  const Inner = struct({ N: optional(int), L: int64, At: time });
  const names = { "main.Inner": Inner, "main.List": slice(any) };
  const inner = { N: null, L: 5n, At: new Date(0) };
  const value = {
    V: new Registered("main.List", [
      null,
      new Registered("main.Inner", inner),
      new Registered("main.Inner", { ...inner, N: 1 }),
    ]),
  };
  const Holder = struct({ V: any });
  const stream = encodeGob(value, Holder, names);
  for (const type of [undefined, Holder] as (GobType<unknown> | undefined)[]) {
    assertEquals(decodeGob(stream, type, {}, names), value);
  }
  assertThrows(
    () => decodeGob(stream, Holder, {}, { "main.Inner": slice(int) }),
    GobError,
    'wrong type ([]int) for "main.Inner" in an interface',
  );
});
