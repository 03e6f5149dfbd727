/** Section 2 and 3 of docs/protocol.md: frames, kinds, flags. */

import { assert, assertEquals } from "@std/assert";
import {
  BODY,
  errorBody,
  flagged,
  frame,
  goaway,
  hello,
  helloOf,
  join,
  KIND,
  PAYLOAD,
  readAnswer,
  request,
  u16,
  u32,
  utf8,
} from "../bytes.ts";
import {
  client,
  closes,
  closesUngreeted,
  either,
  ignores,
  rows,
  type Section,
  server,
} from "../case.ts";

/** A frame with reserved bits. */
function reserved(bytes: Uint8Array, high: number, low: number): Uint8Array {
  const copy = bytes.slice();
  copy[6] = high;
  copy[7] = low;
  return copy;
}

const RESERVED: [string, Uint8Array][] = [
  ["the highest reserved bit on PING", reserved(frame(KIND.PING), 0x80, 0)],
  ["the lowest reserved bit on PING", reserved(frame(KIND.PING), 0, 1)],
  ["reserved bits on REQUEST", reserved(request(1, "Echo.echo"), 0, 0x10)],
  ["reserved bits on CANCEL", reserved(frame(KIND.CANCEL), 1, 0)],
  ["reserved bits on GOAWAY", reserved(goaway(undefined), 0xff, 0xff)],
  ["a reserved bit on PAD", reserved(frame(KIND.PAD), 0, 2)],
  ["a reserved bit on kind 0x80", reserved(frame(0x80), 0, 4)],
  ["a reserved bit on kind 0xff", reserved(frame(0xff), 0x40, 0)],
];

/** A header that promises `length` bytes, and nothing behind it. */
function header(length: number, kind: number): Uint8Array {
  return Uint8Array.from([...u32(length), kind, 0, 0, 0, 0, 0, 0, 1]);
}

const LONG_KINDS: [string, number][] = [
  ["REQUEST", KIND.REQUEST],
  ["REPLY", KIND.REPLY],
  ["ERROR", KIND.ERROR],
  ["PING", KIND.PING],
  ["GOAWAY", KIND.GOAWAY],
  ["PAD", KIND.PAD],
  ["kind 0x80", 0x80],
  ["kind 0xff", 0xff],
];

const lengths = [
  ...rows("FR2", 1, LONG_KINDS, (id, [name, kind]) =>
    either(
      id,
      `the header of a ${name} one byte above the limit: closes, frame_too_large`,
      async (end) => {
        await end.exchangeHello();
        const limit = Math.max(end.hello.maxMessage, 65_536);
        await end.send(header(limit + 1, kind));
        await end.closes("frame_too_large");
      },
    )),
  ...rows("FR2", 11, [2 ** 31, 2 ** 32 - 1], (id, length) =>
    either(
      id,
      `a length of ${length} after HELLO: closes, frame_too_large`,
      async (end) => {
        await end.exchangeHello();
        await end.send(header(length, KIND.REQUEST));
        await end.closes("frame_too_large");
      },
    )),
  ...closesUngreeted(
    "FR2.21",
    "a HELLO's header of 16,385 bytes",
    header(16_385, KIND.HELLO),
    "frame_too_large",
  ),
  ...closesUngreeted(
    "FR2.22",
    "a PAD's header of 16,385 bytes before HELLO",
    header(16_385, KIND.PAD),
    "frame_too_large",
  ),
  ...closesUngreeted(
    "FR2.23",
    "a length of 2^31 before HELLO",
    header(2 ** 31, KIND.HELLO),
    ["not_sluice", "frame_too_large"],
  ),
  ...either("FR2.24", "a PAD as long as the limit is skipped", async (end) => {
    await end.exchangeHello();
    const limit = Math.max(end.hello.maxMessage, 65_536);
    await end.send(frame(KIND.PAD, 0, new Uint8Array(limit)));
    await end.alive();
  }),
  ...server(
    "FR2.25",
    "a REQUEST of 65,536 bytes with its header",
    async (s) => {
      await s.exchangeHello();
      const empty = request(1, "Echo.echo", new Uint8Array(0)).length;
      const { ok, bytes } = await s.call(
        "Echo.echo",
        new Uint8Array(65_536 - empty),
      );
      assertEquals([ok, bytes.length], [true, 65_536 - empty]);
    },
  ),
];

const REQ = KIND.REQUEST;
const FLAG_DEADLINE = 1;
const FLAG_METADATA = 2;

/** Bodies that do not fit their kind's layout: kind, flags, what, body. */
const LAYOUT: [number, number, string, readonly number[]][] = [
  [KIND.PING, 0, "a PING with a body", [0]],
  [KIND.PONG, 0, "a PONG with a body", [0]],
  [KIND.CANCEL, 0, "a CANCEL with a body", [0]],
  [KIND.GOAWAY, 1, "a GOAWAY without a body", []],
  [KIND.GOAWAY, 1, "a GOAWAY whose code is cut short", [3, 0x61, 0x62]],
  [KIND.GOAWAY, 1, "a GOAWAY without a text's length", [0, 0]],
  [KIND.GOAWAY, 1, "a GOAWAY whose text is cut short", [0, 0, 2, 0x61]],
  [KIND.GOAWAY, 1, "a GOAWAY with a byte too many", [0, 0, 0, 0]],
  [REQ, 0, "a REQUEST without a body", []],
  [REQ, 0, "a REQUEST with half a method's length", [0]],
  [REQ, 0, "a REQUEST whose method is cut short", [0, 3, 0x61, 0x62]],
  [REQ, 0, "a REQUEST without a payload kind", [0, 1, 0x61]],
  [REQ, FLAG_DEADLINE, "a REQUEST whose deadline is cut short", [0, 0, 1]],
  [
    REQ,
    FLAG_DEADLINE,
    "a REQUEST that has only a deadline",
    [0, 0, 1, 0],
  ],
  [REQ, FLAG_METADATA, "a REQUEST with half a block's length", [0]],
  [REQ, FLAG_METADATA, "a REQUEST whose block is cut short", [0, 9, 1]],
  [REQ, FLAG_METADATA, "a REQUEST with an empty block and no more", [0, 0]],
  [KIND.REPLY, 0, "a REPLY without a body", []],
  [KIND.REPLY, FLAG_METADATA, "a REPLY whose block is cut short", [0, 9, 0]],
  [KIND.ERROR, 0, "an ERROR without a body", []],
  [KIND.ERROR, 0, "an ERROR whose code is cut short", [4, 0x61]],
  [KIND.ERROR, 0, "an ERROR without a message's length", [1, 0x61, 0]],
  [KIND.ERROR, 0, "an ERROR whose message is cut short", [0, 0, 2, 0x61]],
  [KIND.ERROR, 0, "an ERROR without a payload kind", [0, 0, 0]],
  [KIND.LAST, 0, "a LAST with a body", [0]],
];

const BAD_TEXT: [string, Uint8Array][] = [
  ["a byte that is never UTF-8", Uint8Array.of(0xff)],
  ["an overlong form", Uint8Array.of(0xc0, 0xaf)],
  ["a lone surrogate", Uint8Array.of(0xed, 0xa0, 0x80)],
  ["half a character", Uint8Array.of(0xe2, 0x82)],
];
const BAD = BAD_TEXT[0][1];

/** A block with one entry of raw bytes. */
function rawBlock(name: Uint8Array, value: Uint8Array): Uint8Array {
  return join([name.length], name, u16(value.length), value);
}

const NONE = [PAYLOAD.NONE];

const texts = [
  ...rows(
    "FR4",
    1,
    BAD_TEXT,
    (id, [what, bytes]) =>
      closes(id, `a method name with ${what}`, request(1, bytes)),
  ),
  ...rows("FR4", 11, BAD_TEXT, (id, [what, bytes]) =>
    closes(
      id,
      `a GOAWAY's text with ${what}`,
      frame(KIND.GOAWAY, 0, errorBody("", bytes, []), 1),
    )),
  ...closes(
    "FR4.21",
    "a GOAWAY's code that is no UTF-8",
    frame(KIND.GOAWAY, 0, errorBody(BAD, "", []), 1),
  ),
  ...closes(
    "FR4.22",
    "a metadata name that is no UTF-8",
    request(1, "Echo.echo", "x", { metadata: rawBlock(BAD, utf8("v")) }),
  ),
  ...closes(
    "FR4.23",
    "a metadata value that is no UTF-8",
    request(1, "Echo.echo", "x", { metadata: rawBlock(utf8("n"), BAD) }),
  ),
  ...client("FR4.24", "an ERROR's code that is no UTF-8: closes", async (c) => {
    await c.exchangeHello();
    await c.send(frame(KIND.ERROR, c.nextId, errorBody(BAD)));
    await c.closes("protocol_error");
  }),
  ...client(
    "FR4.25",
    "an ERROR's message that is no UTF-8: closes",
    async (c) => {
      await c.exchangeHello();
      await c.send(frame(KIND.ERROR, c.nextId, errorBody("a", BAD)));
      await c.closes("protocol_error");
    },
  ),
  ...closesUngreeted(
    "FR4.26",
    "a serializer's name that is no UTF-8",
    helloOf([[4, [0xff, 0xfe]]]),
    ["protocol_error", "serializer_mismatch"],
  ),
  ...server("FR4.27", "a method name beyond ASCII is a name", async (s) => {
    await s.exchangeHello();
    assertEquals((await s.call("Écho.écho→😀")).code, "not_found");
  }),
];

const whole = [
  ...either("FR5.1", "HELLO and PING in single bytes", async (end) => {
    for (const byte of join(hello(), frame(KIND.PING, 77))) {
      await end.send(Uint8Array.of(byte));
    }
    await end.readHello();
    let got = await end.wire.next();
    while (got?.kind === KIND.REQUEST) got = await end.wire.next();
    assertEquals([got?.kind, got?.id], [KIND.PONG, 77]);
  }),
  ...either("FR5.2", "HELLO and PING in one chunk", async (end) => {
    await end.send(hello(), frame(KIND.PING, 78));
    await end.readHello();
    let got = await end.wire.next();
    while (got?.kind === KIND.REQUEST) got = await end.wire.next();
    assertEquals([got?.kind, got?.id], [KIND.PONG, 78]);
  }),
  ...server("FR5.3", "50 calls in one chunk are all answered", async (s) => {
    await s.exchangeHello();
    const calls = Array.from({ length: 50 }, (_, i) => s.make("Echo.echo", i));
    await s.send(...calls);
    const values = new Set<unknown>();
    for (const _ of calls) values.add((await s.answer()).value);
    assertEquals(values.size, 50);
  }),
  ...server("FR5.4", "a call in single bytes is answered", async (s) => {
    await s.exchangeHello();
    for (const byte of s.make("Echo.echo", "in pieces")) {
      await s.send(Uint8Array.of(byte));
    }
    assertEquals((await s.answer(1)).value, "in pieces");
  }),
  ...server(
    "FR5.5",
    "calls cut inside their headers are answered",
    async (s) => {
      await s.exchangeHello();
      const bytes = join(s.make("Echo.echo", "a"), s.make("Echo.echo", "b"));
      const half = bytes.length / 2;
      await s.send(bytes.subarray(0, half + 5));
      await s.send(bytes.subarray(half + 5));
      const answers = await s.answers(1, 2);
      assertEquals(answers.map(({ value }) => value), ["a", "b"]);
    },
  ),
  ...client("FR5.6", "a REPLY in single bytes settles its call", async (c) => {
    await c.exchangeHello();
    await c.script({ do: "call", method: "x" });
    const { id } = await c.request();
    for (const byte of frame(KIND.REPLY, id, [3, 0x61, 0x62])) {
      await c.send(Uint8Array.of(byte));
    }
    await c.alive();
    assertEquals((await c.report()).calls[1], {
      outcome: "executed",
      value: "ab",
    });
  }),
  ...client(
    "FR6.1",
    "a call larger than maxMessage is not sent, and fails alone",
    async (c) => {
      await c.exchangeHello({ maxMessage: 16_384 });
      await c.script({ do: "call", method: "x", bytes: 16_381 }, {
        do: "call",
        method: "y",
      });
      assertEquals((await c.request()).method, "y");
      const { outcome, code } = (await c.report()).calls[1];
      assertEquals([outcome, code], ["not_sent", "resource_exhausted"]);
    },
  ),
  ...client(
    "FR6.2",
    "a call exactly as large as maxMessage is sent",
    async (c) => {
      await c.exchangeHello({ maxMessage: 16_384 });
      await c.script({ do: "call", method: "x", bytes: 16_380 });
      assertEquals((await c.request()).size, 16_384 + 12);
    },
  ),
];

const FATAL: [string, Uint8Array][] = [
  ["an unknown kind", frame(0x7f)],
  ["a second HELLO", hello()],
  ["a PING with a body", frame(KIND.PING, 0, [1])],
  ["an unknown flag", frame(KIND.PONG, 0, [], 1)],
  ["an answer to no call", frame(KIND.REPLY, 0x4000_0000, NONE)],
];

const fatal = [
  ...rows("FR7", 1, FATAL, (id, [what, bytes]) =>
    either(
      id,
      `a PING behind ${what} in the same chunk gets no PONG`,
      async (end) => {
        await end.exchangeHello();
        await end.send(bytes, frame(KIND.PING, 5));
        const { frames } = await end.closes("protocol_error");
        assert(frames.every(({ kind }) => kind !== KIND.PONG));
      },
    )),
  ...server(
    "FR7.11",
    "a call before a fault may get a reply, a call after it does not",
    async (s) => {
      await s.exchangeHello();
      const [before, behind] = [s.make("Echo.echo"), s.make("Echo.echo")];
      await s.send(before, frame(0x7f), behind);
      s.checkAnswered(await s.closes("protocol_error"), [1]);
    },
  ),
  ...server(
    "FR7.12",
    "1,000 calls after a fault start no handler",
    async (s) => {
      await s.exchangeHello();
      const calls = Array.from(
        { length: 1000 },
        (_, i) => request(i + 1, "Echo.echo"),
      );
      await s.send(frame(0x7f), ...calls);
      const { frames, lastId } = await s.closes("protocol_error");
      assertEquals([frames.length, lastId], [0, undefined]);
    },
  ),
];

const order = [
  ...either(
    "FR12.1",
    "the header of an unknown kind above the limit: closes, frame_too_large",
    async (end) => {
      await end.exchangeHello();
      const limit = Math.max(end.hello.maxMessage, 65_536);
      await end.send(header(limit + 1, 0x7f));
      await end.closes("frame_too_large");
    },
  ),
  ...either(
    "FR12.2",
    "a second HELLO, of another version: closes, protocol_error",
    async (end) => {
      await end.exchangeHello();
      await end.send(helloOf([], 2));
      await end.closes("protocol_error");
    },
  ),
];

const SKIPPED: [string, Uint8Array][] = [
  ["an empty PAD", frame(KIND.PAD)],
  ["a PAD with flags, id and body", frame(KIND.PAD, 9, [1, 2, 3], 0xff)],
  ["a PAD with the body of a REQUEST", frame(KIND.PAD, 1, [0, 1, 0x61, 0])],
  ["an empty frame of kind 0x80", frame(0x80)],
  ["kind 0x80 with flags, id and body", frame(0x80, 7, [9, 9], 0xff)],
  ["kind 0xa5", frame(0xa5, 0xffffffff, [0], 0x55)],
  ["kind 0xff", frame(0xff, 1, new Uint8Array(300), 1)],
];

const KNOWN: [string, number, number[]][] = [
  ["REQUEST", KIND.REQUEST, [0x40, 0x80]],
  ["REPLY", KIND.REPLY, [0x01, 0x04]],
  ["ERROR", KIND.ERROR, [0x04, 0x40]],
  ["CANCEL", KIND.CANCEL, [0x01, 0x80]],
  ["PING", KIND.PING, [0x01, 0x02]],
  ["PONG", KIND.PONG, [0x01, 0x80]],
  ["GOAWAY", KIND.GOAWAY, [0x04, 0x80]],
  ["LAST", KIND.LAST, [0x02, 0x80]],
];

const flags: [string, Uint8Array][] = KNOWN.flatMap(([name, kind, bits]) =>
  bits.map((bit): [string, Uint8Array] => [
    `flag 0x${bit.toString(16)} on ${name}`,
    frame(kind, 1, [0, 0, 0], bit),
  ])
);

const STREAM_KINDS: [string, number][] = [
  ["DATA", 0x10],
  ["END", 0x11],
  ["STOP", 0x12],
  ["CREDIT", 0x13],
];

export const frames: Section = [
  ...rows("FR1", 1, RESERVED, (id, [what, bytes]) => closes(id, what, bytes)),
  ...closesUngreeted(
    "FR1.21",
    "reserved bits on HELLO",
    reserved(hello(), 0, 1),
  ),
  ...closesUngreeted(
    "FR1.22",
    "reserved bits on a PAD before HELLO",
    reserved(frame(KIND.PAD), 1, 0),
  ),
  ...lengths,
  ...rows(
    "FR3",
    1,
    LAYOUT,
    (id, [kind, bits, what, body]) =>
      closes(id, what, frame(kind, 1, body, bits)),
  ),
  ...texts,
  ...whole,
  ...fatal,
  ...order,
  ...rows("FR8", 1, SKIPPED, (id, [what, bytes]) => ignores(id, what, bytes)),
  ...rows(
    "FR8",
    11,
    SKIPPED,
    (id, [what, bytes]) =>
      either(id, `${what} before HELLO: skipped`, async (end) => {
        await end.send(bytes);
        await end.exchangeHello();
        await end.alive();
      }),
  ),
  ...server("FR8.21", "calls between skipped frames are served", async (s) => {
    await s.exchangeHello();
    const skipped = SKIPPED.map(([, bytes]) => bytes);
    await s.send(...skipped, s.make("Echo.echo", 1), ...skipped);
    assertEquals(readAnswer(await s.expect(KIND.REPLY)).value, 1);
    await s.serves();
  }),
  ...rows(
    "FR9",
    1,
    [0x00, 0x0e, 0x0f, 0x14, 0x20, 0x7f],
    (id, kind) => closes(id, `kind 0x${kind.toString(16)}`, frame(kind)),
  ),
  ...rows("FR9", 11, flags, (id, [what, bytes]) => closes(id, what, bytes)),
  ...closesUngreeted(
    "FR9.31",
    "a flag on HELLO",
    frame(KIND.HELLO, 0, hello().subarray(12), 1),
  ),
  ...closesUngreeted("FR9.32", "an unknown kind before HELLO", frame(0x14)),
  ...rows(
    "FR10",
    1,
    STREAM_KINDS,
    (id, [name, kind]) =>
      closes(id, `${name} without its capability`, frame(kind, 1, [0])),
  ),
  ...rows("FR10", 11, STREAM_KINDS, (id, [name, kind]) =>
    closes(
      id,
      `${name} with CALLER, without its capability`,
      frame(kind, 1, [0, 0, 0, 1], 1),
    )),
  ...closes(
    "FR10.21",
    "a REQUEST with BODY without its capability",
    flagged(request(1, "m"), BODY),
  ),
  ...either(
    "FR11.1",
    "the HELLO of the side has id 0",
    (end) => end.exchangeHello(),
  ),
  ...either("FR11.2", "another id in HELLO is ignored", async (end) => {
    await end.exchangeHello(frame(KIND.HELLO, 99, hello().subarray(12)));
    await end.alive();
  }),
];
