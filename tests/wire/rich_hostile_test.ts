/**
 * Payloads that a hostile peer could send to the rich serializer. Each is decoded
 * to a harmless value or throws; none hangs, allocates more than was sent, or
 * touches a prototype.
 */

import { test } from "node:test";
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { rich } from "../../mod.ts";
import { describe } from "../support/describe.ts";

const { encode, decode } = rich();

/** A payload of text, of which each character is one byte. */
function payload(text: string): Uint8Array {
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
}

const UNTOUCHED = Reflect.ownKeys(Object.prototype).length;

function assertUntouched(): void {
  assertEquals(Reflect.ownKeys(Object.prototype).length, UNTOUCHED);
  assertEquals(Object.getPrototypeOf({}), Object.prototype);
  assertEquals((({}) as { polluted?: unknown }).polluted, undefined);
  assertEquals(Object.getPrototypeOf([]), Array.prototype);
}

const MEGABYTE = 1 << 20;

const REFUSED: Readonly<Record<string, string>> = {
  "no bytes at all": "",
  "a marker without a text": "$",
  "a truncated JSON text": '{"a":[1,2',
  "a truncated text with tags": '${"a":"$Date:1970',
  "text that is not UTF-8": '$["$URL:https://\xff"]',
  "a second text": "$[1][2]",
  "an unknown tag": '$"$Function:return 1"',
  "an unknown tag of an array": '$["$Function","return 1"]',
  "a tag that names what objects inherit": '$["$constructor",0,0]',
  "a tag that names a prototype": '$["$__proto__",0,0]',
  "a tag of a class that does not travel": '$["$SharedArrayBuffer",0,0]',
  "a tag of an array in another place": '$[1,"$Map"]',
  "a tag alone": '$"$"',
  "a Date without a time": '$"$Date:"',
  "a Date of another text": '$"$Date:yesterday"',
  "a Date that does not exist": '$"$Date:2023-02-29T00:00:00.000Z"',
  "a Date beyond all dates": '$"$Date:+999999-01-01T00:00:00.000Z"',
  "a RegExp that is none": '$["$RegExp","(","g"]',
  "a RegExp with unknown flags": '$["$RegExp","a","gx"]',
  "a RegExp with a flag twice": '$["$RegExp","a","gg"]',
  "a RegExp of objects": '$["$RegExp",{"source":"a"},[]]',
  "a RegExp of a megabyte": `$["$RegExp","${"a".repeat(MEGABYTE)}",""]`,
  "a RegExp of 30,000 groups that do not end": `$["$RegExp","${
    "(".repeat(30_000)
  }",""]`,
  "a RegExp of 501 properties": `$["$RegExp","${
    "\\\\p{RGI_Emoji}".repeat(501)
  }","v"]`,
  "a RegExp of 501 named groups": `$["$RegExp","${
    Array.from({ length: 501 }, (_, i) => `(?<a${i}>)`).join("")
  }",""]`,
  "501 RegExps with a property": `$[${
    Array(501).fill('["$RegExp","\\\\p{L}","u"]')
  }]`,
  "a URL that is none": '$"$URL:no url"',
  "a bigint of other characters": '$"$bigint:1e3"',
  "a bigint of a megabyte of decimals": `$"$bigint:${"9".repeat(MEGABYTE)}"`,
  "a bigint of 101 decimals": `$"$bigint:${"9".repeat(101)}"`,
  "a bigint with spaces": '$"$bigint: 1 "',
  "a bigint of nothing": '$"$bigint:"',
  "a number that JSON has": '$"$12"',
  "undefined with content": '$"$undefined:1"',
  "a Map with a key and no value": '$["$Map","a"]',
  "a Map with a key twice": '$["$Map","a",1,"a",2]',
  "a Set with an item twice": '$["$Set","$NaN","$NaN"]',
  "an Error without a message": '$["$Error","Error"]',
  "an Error with a name that is no text": '$["$Error",{},"x"]',
  "an Error with a stack": '$["$Error","Error","x",{"stack":"at secret"}]',
  "an Error whose properties are a list": '$["$Error","Error","x",[1]]',
  "bytes of a huge length": '$["$Uint8Array",0,9007199254740991]\0abc',
  "bytes of a negative length": '$["$Uint8Array",0,-1]\0abc',
  "bytes from a negative place": '$["$Uint8Array",-1,3]\0abc',
  "bytes of a fractional length": '$["$Uint8Array",0,1.5]\0ab',
  "bytes of a length that is text": '$["$Uint8Array",0,"3"]\0abc',
  "bytes beyond the end": '$["$Uint8Array",1,3]\0abc',
  "bytes that are not there": '$["$Uint8Array",0,1]',
  "bytes that no value has": '$["$Uint8Array",0,2]\0abc',
  "bytes behind a text without any": "$[1]\0abc",
  "bytes of a part of an element": '$["$Float64Array",0,7]\0abcdefg',
  "ranges that are the same":
    '$[["$Uint8Array",0,2],["$Uint8Array",0,2]]\0abcd',
  "ranges that overlap": '$[["$Uint8Array",0,3],["$Uint8Array",1,1]]\0abcd',
  "no bytes in the middle of others":
    '$[["$Uint8Array",0,2],["$Uint8Array",1,0]]\0ab',
  "100,000 levels of lists": `$${"[".repeat(1e5)}${"]".repeat(1e5)}`,
  "100,000 levels of Sets": `$${'["$Set",'.repeat(1e5)}1${"]".repeat(1e5)}`,
  "100,000 levels of objects": `$${'{"a":'.repeat(1e5)}1${"}".repeat(1e5)}`,
  "100,000 causes": `$${'["$Error","","",{"cause":'.repeat(1e5)}1${
    "}]".repeat(1e5)
  }`,
};

for (const [name, text] of Object.entries(REFUSED)) {
  test(`${name}: refused`, () => {
    assertThrows(() => decode(payload(text)));
    assertUntouched();
  });
}

test("ranges stand in any order, and empty ones where others end", () => {
  const text = '$[["$Uint8Array",1,2],["$DataView",3,0],["$Int8Array",0,1],' +
    '["$ArrayBuffer",1,0],["$Float64Array",0,0]]\0abc';
  assertEquals(
    describe(decode(payload(text))),
    "Array[Uint8Array[98,99],DataView[],Int8Array[97],ArrayBuffer[]," +
      "Float64Array[]]",
  );
  assertEquals(decode(payload("$[1]\0")), [1]);
});

test("a key __proto__ becomes a property of its own, with tags and without", () => {
  const own = '{"__proto__":{"polluted":1},"a":1}';
  const tagged = '${"__proto__":["$Map","polluted",1],"constructor":' +
    '{"prototype":{"polluted":"$bigint:1"}},"a":1}';
  for (const text of [own, tagged]) {
    const value = decode(payload(text)) as Record<string, unknown>;
    assertEquals(Object.getPrototypeOf(value), Object.prototype);
    assert(Object.hasOwn(value, "__proto__"));
    assertEquals(value.a, 1);
    assertEquals(value.polluted, undefined);
    assertUntouched();
    // It can be sent on, and is the same again.
    const again = decode(encode(value)) as Record<string, unknown>;
    assertEquals(Object.keys(again), Object.keys(value));
  }
});

test("an Error takes the properties __proto__ and toString as data", () => {
  const text = '$["$Error","Error","x",{"__proto__":{"polluted":1},' +
    '"toString":1,"constructor":null}]';
  const error = decode(payload(text)) as Error;
  assertEquals(Object.getPrototypeOf(error), Error.prototype);
  assertEquals(error instanceof Error, true);
  assertEquals(Object.keys(error), ["__proto__", "toString", "constructor"]);
  assertUntouched();
});

test("an Error of an unknown class is an Error of that name", () => {
  const error = decode(payload('$["$Error","constructor","x"]')) as Error;
  assertEquals(error.constructor, Error);
  assertEquals(error.name, "constructor");
});

test("of two equal keys of an object the last one counts, as in JSON", () => {
  const text = '${"a":"$bigint:1","a":"$bigint:2"}';
  assertEquals(decode(payload(text)), { a: 2n });
  // Bytes of the first one then belong to no value.
  const lost = '${"a":["$Uint8Array",0,1],"a":["$Uint8Array",1,1]}\0xy';
  assertThrows(() => decode(payload(lost)), TypeError);
});

test("many ranges of the same bytes are refused before they are copied", () => {
  const ranges = Array(10_000).fill(`["$Uint8Array",0,${MEGABYTE}]`);
  const text = `$[${ranges}]\0${"x".repeat(MEGABYTE)}`;
  const error = assertThrows(() => decode(payload(text)), TypeError);
  assertEquals(error.message, "more bytes are used than came");
});

test("1,000 levels of a value with tags are decoded, one more is refused", () => {
  const nested = (levels: number) =>
    payload(`$${"[".repeat(levels)}"$undefined"${"]".repeat(levels)}`);
  assert(Array.isArray(decode(nested(1000))));
  const error = assertThrows(() => decode(nested(1002)), TypeError);
  assertEquals(error.message, "the value is more than 1000 levels deep");
});

test("100,000 levels of plain JSON are what JSON.parse makes of them", () => {
  const text = "[".repeat(1e5) + "]".repeat(1e5);
  const result = (parse: () => unknown) => {
    try {
      parse();
      return "parsed";
    } catch {
      return "thrown";
    }
  };
  const expected = result(() => JSON.parse(text));
  assertEquals(result(() => decode(payload(text))), expected);
});

test("a nested quantifier does no work before it is used", () => {
  const text = '$["$RegExp","^(?:(?:a+)+)+$",""]';
  assert(decode(payload(text)) instanceof RegExp);
});

test("any payload that is changed anywhere is decoded, or throws", () => {
  const sent = {
    at: new Date(0),
    map: new Map<unknown, unknown>([["a", 1n], [2, new Set([-0])]]),
    why: new TypeError("x", { cause: [undefined] }),
    raw: [new Uint8Array(5), new Float32Array(2)],
    more: [/a+/g, new URL("https://a.b"), ["$x"]],
  };
  const good = encode(sent);
  const change = fc.tuple(fc.nat(good.length - 1), fc.nat(255));
  const anyChanges = fc.array(change, { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(anyChanges, fc.nat(good.length), (changes, end) => {
      const bad = good.slice(0, end < good.length / 2 ? end : good.length);
      for (const [at, byte] of changes) if (at < bad.length) bad[at] = byte;
      try {
        decode(bad);
      } catch (error) {
        assert(error instanceof Error);
      }
      assertUntouched();
    }),
    { numRuns: 2000 },
  );
});
