/** Sections 7 and 8 of docs/protocol.md: payloads and metadata. */

import { assert, assertEquals } from "@std/assert";
import {
  errorBody,
  frame,
  join,
  KIND,
  PAYLOAD,
  payload,
  request,
  utf8,
  withMetadata,
} from "../bytes.ts";
import {
  type Case,
  client,
  closes,
  either,
  rows,
  type Section,
  server,
} from "../case.ts";
import { Skipped } from "../session.ts";

const VALUES: [string, unknown][] = [
  ["undefined", undefined],
  ["an empty string", ""],
  ["a string in ASCII", "plain"],
  ["a string of all lengths of UTF-8", "aé→😀"],
  ["a string with a byte order mark", "\ufeffmark"],
  ["a string with NUL and controls", "\0\u0001\n\r\t"],
  ["a string of 20,000 characters", "é".repeat(20_000)],
  ["no bytes", new Uint8Array(0)],
  ["one byte of 0", new Uint8Array(1)],
  ["every byte", Uint8Array.from({ length: 256 }, (_, i) => i)],
  ["null", null],
  ["a number", 12.5],
  ["true", true],
  ["an empty object", {}],
  ["nested JSON", { a: [1, { b: null }], c: "→" }],
];

/** How a client reports a value. */
function reported(value: unknown): unknown {
  return value instanceof Uint8Array ? { bytes: value.length } : value;
}

const BAD_KINDS: [string, number[]][] = [
  ["a payload of kind 0 that is not empty", [0, 0]],
  ["payload kind 5", [5]],
  ["payload kind 0x7f", [0x7f, 1]],
  ["payload kind 0xff", [0xff]],
];

const UNREADABLE: [string, Uint8Array][] = [
  ["JSON of no bytes", Uint8Array.of(PAYLOAD.JSON)],
  ["JSON cut short", join([PAYLOAD.JSON], utf8('{"a":'))],
  ["JSON with more behind it", join([PAYLOAD.JSON], utf8("1 2"))],
  ["JSON with a trailing comma", join([PAYLOAD.JSON], utf8("[1,]"))],
  ["JSON that is no UTF-8", Uint8Array.of(PAYLOAD.JSON, 0x22, 0xff, 0x22)],
  ["a string with a byte that is never UTF-8", Uint8Array.of(3, 0x61, 0xff)],
  ["a string with a lone surrogate", Uint8Array.of(3, 0xed, 0xa0, 0x80)],
  ["a string with an overlong form", Uint8Array.of(3, 0xc0, 0x80)],
  ["a string cut inside a character", Uint8Array.of(3, 0xe2, 0x82)],
];

/** A frame with the payload, for the call that waits for its script. */
type Carrier = (id: number, raw: Uint8Array) => Uint8Array;
const CARRIERS: [string, Carrier][] = [
  ["a REPLY", (id, raw) => frame(KIND.REPLY, id, raw)],
  ["an ERROR", (id, raw) => frame(KIND.ERROR, id, errorBody("c", "m", raw), 1)],
];

const payloads = [
  ...rows(
    "PL1",
    1,
    VALUES,
    (id, [what, value]) =>
      server(id, `${what} comes back as it was sent`, async (s) => {
        await s.exchangeHello();
        const got = await s.call("Echo.echo", value);
        assertEquals(got.kind, payload(value)[0], "the payload kind");
        // JSON has many forms for a value: spaces, escapes, exponents.
        assertEquals(got.value, value);
      }),
  ),
  ...rows(
    "PL1",
    21,
    VALUES,
    (id, [what, value]) =>
      client(id, `${what} in a REPLY reaches the caller`, async (c) => {
        await c.exchangeHello();
        await c.script({ do: "call", method: "m" });
        const call = await c.request();
        await c.send(frame(KIND.REPLY, call.id, payload(value)));
        await c.alive();
        const [, got] = (await c.report()).calls;
        assertEquals(got.outcome, "executed");
        assertEquals(got.value, reported(value));
      }),
  ),
  ...rows(
    "PL1",
    41,
    VALUES.slice(10),
    (id, [what, value]) =>
      client(id, `${what} as the data of an ERROR`, async (c) => {
        await c.exchangeHello();
        await c.script({ do: "call", method: "m" });
        const call = await c.request();
        const body = errorBody("c", "m", payload(value));
        await c.send(frame(KIND.ERROR, call.id, body, 1));
        await c.alive();
        const [, got] = (await c.report()).calls;
        assertEquals([got.code, got.data], ["c", value]);
      }),
  ),
  ...client("PL2.1", "params are sent as kinds 0 to 3", async (c) => {
    await c.exchangeHello();
    const values = [undefined, "text", null, 7, { a: [1] }, [], true];
    await c.script(
      ...values.map((params) => ({ do: "call", method: "m", params }) as const),
      { do: "call", method: "m", bytes: 5 },
    );
    const got = await c.requests(values.length + 1);
    assertEquals(got.map(({ kind }) => kind), [0, 3, 1, 1, 1, 1, 1, 2]);
    assertEquals(got.slice(0, -1).map(({ value }) => value), values);
  }),
  ...server(
    "PL2.2",
    "kind 4 to a server without a serializer ends the call or the connection",
    async (s) => {
      await s.exchangeHello();
      await s.send(request(1, "Echo.echo", undefined, { raw: [4, 1, 2] }));
      const got = await s.wire.next();
      assert(got?.kind === KIND.ERROR || got?.kind === KIND.GOAWAY);
    },
  ),
  ...rows("PL3", 1, BAD_KINDS, (id, [what, raw]) =>
    closes(
      id,
      `a REQUEST with ${what}`,
      request(1, "Echo.echo", undefined, { raw }),
    )),
  ...CARRIERS.flatMap(([carrier, make], i) =>
    rows(
      "PL3",
      11 + 10 * i,
      BAD_KINDS,
      (id, [what, raw]) =>
        client(id, `${carrier} with ${what}: closes`, async (c) => {
          await c.exchangeHello();
          await c.send(make(c.nextId, Uint8Array.from(raw)));
          await c.closes("protocol_error");
        }),
    )
  ),
  ...rows(
    "PL4",
    1,
    UNREADABLE,
    (id, [what, raw]) =>
      server(id, `${what}: invalid_argument, not started`, async (s) => {
        await s.exchangeHello();
        const got = await s.call("Echo.echo", undefined, { raw });
        assertEquals([got.code, got.started], ["invalid_argument", false]);
        await s.serves();
      }),
  ),
  ...rows(
    "PL4",
    11,
    UNREADABLE,
    (id, [what, raw]) =>
      client(
        id,
        `a REPLY with ${what}: fails its call, executed`,
        async (c) => {
          await c.exchangeHello();
          await c.script({ do: "call", method: "m" });
          const call = await c.request();
          await c.send(frame(KIND.REPLY, call.id, raw));
          await c.alive();
          const [, got] = (await c.report()).calls;
          assertEquals([got.outcome, "code" in got], ["executed", true]);
        },
      ),
  ),
  ...rows(
    "PL4",
    21,
    UNREADABLE,
    (id, [what, raw]) =>
      client(
        id,
        `an ERROR with ${what} as data: the data is left out`,
        async (c) => {
          await c.exchangeHello();
          await c.script({ do: "call", method: "m" });
          const call = await c.request();
          await c.send(frame(KIND.ERROR, call.id, errorBody("c", "m", raw), 1));
          await c.alive();
          const [, got] = (await c.report()).calls;
          assertEquals([got.code, got.data], ["c", undefined]);
        },
      ),
  ),
];

const BAD_BLOCKS: [string, number[]][] = [
  ["a name without a value's length", [1, 0x61]],
  ["a name that reaches past the block", [9, 0x61, 0, 0]],
  ["a value that reaches past the block", [1, 0x61, 0, 5, 0x62]],
  ["one byte behind the last entry", [1, 0x61, 0, 0, 0]],
  ["half a value's length", [0, 0]],
];

const BLOCKS: [string, [string, string][]][] = [
  ["an empty block", []],
  ["one entry", [["trace", "1"]]],
  ["an empty name and value", [["", ""]]],
  ["text beyond ASCII", [["é", "→😀"]]],
  ["__proto__ and constructor", [["__proto__", "a"], ["constructor", "b"]]],
  ["a name of 255 bytes and a value of 30,000", [[
    "n".repeat(255),
    "v".repeat(30_000),
  ]]],
  ["100 entries", Array.from({ length: 100 }, (_, i) => [`n${i}`, `${i}`])],
];

function blockCases(): Case[] {
  return [
    ...rows("ME1", 1, BAD_BLOCKS, (id, [what, bytes]) =>
      closes(
        id,
        `a REQUEST's block with ${what}`,
        request(1, "Echo.echo", 1, { metadata: Uint8Array.from(bytes) }),
      )),
    ...rows(
      "ME1",
      11,
      BAD_BLOCKS,
      (id, [what, bytes]) =>
        either(id, `a REPLY's block with ${what}: closes`, async (end) => {
          await end.exchangeHello();
          const block = Uint8Array.from(bytes);
          await end.send(
            withMetadata(KIND.REPLY, 1, block, Uint8Array.of(PAYLOAD.NONE)),
          );
          await end.closes("protocol_error");
        }),
    ),
    ...rows(
      "ME1",
      21,
      BLOCKS,
      (id, [what, metadata]) =>
        server(
          id,
          `${what} is accepted, and the handler receives it`,
          async (s) => {
            await s.exchangeHello();
            const got = await s.call("Conformance.metadata", 1, { metadata });
            const received = Object.entries(got.value as object);
            assertEquals(received.sort(), metadata.toSorted());
          },
        ),
    ),
  ];
}

const NO_METADATA = "the client sends no metadata";

const metadata = [
  ...blockCases(),
  ...server("ME1.31", "metadata beside a deadline", async (s) => {
    await s.exchangeHello();
    const parts = { deadline: 60_000, metadata: [["a", "b"]] as const };
    const { value } = await s.call("Conformance.metadata", 1, parts);
    assertEquals(value, { a: "b" });
  }),
  ...client("ME1.32", "a client's metadata fills its block", async (c) => {
    await c.exchangeHello();
    const metadata = { trace: "abc", "é": "→" };
    await c.script({ do: "call", method: "m", metadata, timeout: 60_000 });
    const got = await c.request();
    if (got.metadata === undefined) throw new Skipped(NO_METADATA);
    assertEquals(Object.fromEntries(got.metadata), metadata);
  }),
  ...server(
    "ME2.1",
    "a metadata name that occurs twice: the last one counts, or the side closes",
    async (s) => {
      await s.exchangeHello();
      const metadata = [["a", "1"], ["a", "2"]] as const;
      await s.go("Conformance.metadata", 1, { metadata });
      const got = await s.answer().catch((error: Error) => {
        if (error instanceof Skipped) throw error;
        // Only a fault is an answer as well.
        assert(error.message.includes("protocol_error"), error.message);
      });
      if (got) assertEquals(got.value, { a: "2" });
    },
  ),
  ...client("ME2.2", "a client sends no metadata name twice", async (c) => {
    await c.exchangeHello();
    const metadata = { a: "1", b: "2" };
    await c.script({ do: "call", method: "m", metadata });
    const got = (await c.request()).metadata;
    if (got === undefined) throw new Skipped(NO_METADATA);
    const names = got.map(([name]) => name);
    assertEquals(names.toSorted(), ["a", "b"]);
  }),
  ...rows(
    "ME3",
    1,
    BLOCKS,
    (id, [what, entries]) =>
      client(id, `${what} on a REPLY and an ERROR`, async (c) => {
        await c.exchangeHello();
        await c.script({ do: "call", method: "a" }, {
          do: "call",
          method: "b",
        });
        const [a, b] = await c.requests(2);
        await c.send(
          withMetadata(KIND.REPLY, a.id, entries, payload("ok")),
          withMetadata(KIND.ERROR, b.id, entries, errorBody("code"), 1),
        );
        await c.alive();
        const { calls } = await c.report();
        assertEquals([calls[1].value, calls[2].code], ["ok", "code"]);
      }),
  ),
];

export const contents: Section = [...payloads, ...metadata];
