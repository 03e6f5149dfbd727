/** Section 4 of docs/protocol.md: HELLO. */

import { assert, assertEquals } from "@std/assert";
import {
  frame,
  goaway,
  hello,
  helloBody,
  helloOf,
  join,
  KIND,
  request,
  u16,
  u32,
  utf8,
} from "../bytes.ts";
import {
  client,
  closesUngreeted,
  either,
  rows,
  type Section,
  server,
} from "../case.ts";
import type { ClientSession } from "../session.ts";

const EARLY: [string, Uint8Array][] = [
  ["a REQUEST", request(1, "Echo.echo")],
  ["a REPLY", frame(KIND.REPLY, 1, [0])],
  ["an ERROR", frame(KIND.ERROR, 1, [0, 0, 0, 0])],
  ["a CANCEL", frame(KIND.CANCEL, 1)],
  ["a PING", frame(KIND.PING, 1)],
  ["a PONG", frame(KIND.PONG, 1)],
];

const STRANGERS: [string, Uint8Array][] = [
  ["an HTTP/1 request", utf8("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")],
  ["an HTTP/2 preface", utf8("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")],
  ["an SSH banner", utf8("SSH-2.0-OpenSSH_9.6\r\n")],
  [
    "a TLS ClientHello",
    join([0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3], new Uint8Array(40)),
  ],
];

/** HELLOs to be taken, whatever they state. */
const LEGAL: [string, string, Uint8Array][] = [
  ["HE6.1", "a field of type 99", helloOf([[99, [1, 2, 3]]])],
  ["HE6.2", "an empty field of type 200", helloOf([[200, []]])],
  ["HE6.3", "a field of type 0", helloOf([[0, [1]]])],
  [
    "HE6.4",
    "a field of type 255, 4,000 bytes long",
    helloOf([[255, zeros(4000)]]),
  ],
  [
    "HE6.5",
    "unknown fields before a known one",
    helloOf([[77, []], [1, u32(65_536)]]),
  ],
  ["HE7.1", "no fields at all", helloOf()],
  ["HE7.2", "the least maxMessage", helloOf([[1, u32(16_384)]])],
  ["HE7.3", "the most maxMessage", helloOf([[1, u32(2 ** 30)]])],
  ["HE7.4", "a window of 0 calls", helloOf([[2, u32(0)]])],
  ["HE7.5", "the most calls", helloOf([[2, u32(2 ** 24)]])],
  ["HE7.6", "a window of 0 bytes", helloOf([[3, u32(0)]])],
  ["HE7.7", "the most bytes", helloOf([[3, u32(2 ** 32 - 1)]])],
  [
    "HE10.2",
    "streams",
    helloOf([[6, u32(1)], [7, [...u32(16_384), ...u32(0), ...u32(65_536)]]]),
  ],
  ["HE10.3", "streams without numbers", helloOf([[6, u32(1)]])],
  ["HE10.4", "capabilities nobody knows", helloOf([[6, u32(0xfffffffe)]])],
  ["HE14.1", "credentials nobody asked for", helloOf([[5, [1, 2]]])],
  ["HE14.2", "empty credentials", helloOf([[5, []]])],
  ["HE14.3", "long credentials", helloOf([[5, zeros(16_000)]])],
  [
    "HE18.1",
    "credentials that are text",
    helloOf([[5, [...utf8("é")]], [8, []]]),
  ],
  ["HE18.2", "text of no credentials", helloOf([[8, []]])],
  ["HE19.1", "versions 1 to 2", helloOf([[9, u16(2)]])],
  ["HE19.2", "versions 0 to 1", helloOf([[9, u16(1)]], 0)],
  ["HE19.3", "versions 0 to 65,535", helloOf([[9, u16(0xffff)]], 0)],
  [
    "HE19.4",
    "versions 1 to 2, with fields and flags that only version 2 knows",
    frame(KIND.HELLO, 0, helloBody([[200, zeros(9)], [9, u16(2)]]), 0x81),
  ],
  [
    "HE19.5",
    "versions 1 to 2, with a reserved bit",
    reserved(helloOf([[9, u16(2)]])),
  ],
];

function zeros(n: number): number[] {
  return new Array(n).fill(0);
}

/** HELLOs that close, and with what. */
const ILLEGAL: [string, string, Uint8Array, string | string[]][] = [
  ["HE5.1", "version 0", helloOf([], 0), "version_mismatch"],
  ["HE5.2", "version 2", helloOf([], 2), "version_mismatch"],
  ["HE5.3", "version 0x0101", helloOf([], 0x101), "version_mismatch"],
  ["HE5.4", "version 65,535", helloOf([], 0xffff), "version_mismatch"],
  [
    "HE5.5",
    "another version, fields that make no sense",
    helloWith([1, 0xff, 0xff], 2),
    "version_mismatch",
  ],
  [
    "HE5.31",
    "version 2, with flags that only it knows",
    frame(KIND.HELLO, 0, helloBody([], 2), 0x81),
    "version_mismatch",
  ],
  [
    "HE5.32",
    "version 2, with a reserved bit",
    reserved(helloOf([], 2)),
    "version_mismatch",
  ],
  ["HE19.11", "versions 2 to 3", helloOf([[9, u16(3)]], 2), "version_mismatch"],
  [
    "HE19.12",
    "a highest version below the lowest",
    helloOf([[9, u16(1)]], 2),
    "version_mismatch",
  ],
  [
    "HE19.13",
    "a highest version of one byte",
    helloOf([[9, [1]]]),
    "protocol_error",
  ],
  [
    "HE19.14",
    "version 1 alone, with a flag",
    frame(KIND.HELLO, 0, helloBody([[9, u16(1)]]), 1),
    "protocol_error",
  ],
  [
    "HE5.33",
    "another magic and a flag",
    frame(KIND.HELLO, 0, helloBody([], 1, "SLUICF"), 1),
    "not_sluice",
  ],
  ["HE5.6", "another magic", helloOf([], 1, "SLUICF"), "not_sluice"],
  ["HE5.7", "the magic in lower case", helloOf([], 1, "sluice"), "not_sluice"],
  [
    "HE5.8",
    "another magic and version",
    helloOf([], 7, "XLUICE"),
    "not_sluice",
  ],
  ["HE5.9", "no body", frame(KIND.HELLO), "not_sluice"],
  ["HE5.10", "half a magic", frame(KIND.HELLO, 0, utf8("SLU")), "not_sluice"],
  [
    "HE5.11",
    "half a version",
    frame(KIND.HELLO, 0, join(utf8("SLUICE"), [0])),
    "not_sluice",
  ],
  ["HE6.11", "a field of one byte", helloWith([1]), "protocol_error"],
  ["HE6.12", "a field without its length", helloWith([1, 0]), "protocol_error"],
  [
    "HE6.13",
    "a known field that reaches past the end",
    helloWith([1, 0, 4, 0, 1]),
    "protocol_error",
  ],
  [
    "HE6.14",
    "an unknown field that reaches past the end",
    helloWith([99, 0, 2, 1]),
    "protocol_error",
  ],
  ...[1, 2, 3].flatMap((type): [string, string, Uint8Array, string][] =>
    [0, 3, 5].map((length, i) => [
      `HE7.${10 * type + i + 1}`,
      `field ${type} with ${length} bytes`,
      helloOf([[type, zeros(length)]]),
      "protocol_error",
    ])
  ),
  ...[0, 1, 16_383, 2 ** 30 + 1, 2 ** 32 - 1].map((
    value,
    i,
  ): [string, string, Uint8Array, string] => [
    `HE7.${41 + i}`,
    `a maxMessage of ${value}`,
    helloOf([[1, u32(value)]]),
    "protocol_error",
  ]),
  [
    "HE7.51",
    "2^24 + 1 calls",
    helloOf([[2, u32(2 ** 24 + 1)]]),
    "protocol_error",
  ],
  [
    "HE7.52",
    "2^32 - 1 calls",
    helloOf([[2, u32(2 ** 32 - 1)]]),
    "protocol_error",
  ],
  [
    "HE9.1",
    "the name of a serializer that the side does not have",
    helloOf([[4, [...utf8("conformance-of-nobody")]]]),
    "serializer_mismatch",
  ],
  [
    "HE9.2",
    "a serializer without a name",
    helloOf([[4, []]]),
    ["serializer_mismatch", "protocol_error"],
  ],
  [
    "HE9.5",
    "names of serializers that the side does not have",
    helloOf([[4, [...utf8("conformance-of-nobody conformance-of-none")]]]),
    "serializer_mismatch",
  ],
  [
    "HE9.3",
    "a serializer's name of 256 bytes",
    helloOf([[4, [...utf8("n".repeat(256))]]]),
    ["serializer_mismatch", "protocol_error"],
  ],
];

/** A frame with the lowest of its reserved bits set. */
function reserved(bytes: Uint8Array): Uint8Array {
  bytes[7] = 1;
  return bytes;
}

/** A HELLO whose fields are these bytes, whatever they are. */
function helloWith(fields: readonly number[], version = 1): Uint8Array {
  return frame(KIND.HELLO, 0, join(utf8("SLUICE"), u16(version), fields));
}

const own = [
  ...either(
    "HE1.21",
    "the end's first frame is its HELLO",
    (end) => end.exchangeHello(),
  ),
  ...either(
    "HE3.1",
    "the end sends HELLO to a peer that says nothing",
    (end) => end.readHello(),
  ),
  ...either(
    "HE4.1",
    "the end's HELLO has at most 16,384 bytes",
    async (end) => {
      await end.exchangeHello();
      assert(end.hello.size <= 16_384);
    },
  ),
  ...either(
    "HE5.21",
    "the end's HELLO has the magic and version 1",
    async (end) => {
      await end.exchangeHello();
      assertEquals([end.hello.magic, end.hello.version], ["SLUICE", 1]);
    },
  ),
  ...either("HE7.61", "the end's HELLO states legal limits", async (end) => {
    await end.exchangeHello();
    const { maxMessage, calls } = end.hello;
    assert(maxMessage >= 16_384 && maxMessage <= 2 ** 30);
    assert(calls <= 2 ** 24);
  }),
  ...either("HE8.1", "the end's HELLO has no field twice", async (end) => {
    await end.exchangeHello();
    assertEquals(new Set(end.hello.types).size, end.hello.types.length);
  }),
  ...either(
    "HE9.4",
    "the end names no serializer to a peer of JSON",
    async (end) => {
      await end.exchangeHello();
      assert(!end.hello.types.includes(4));
      await end.alive();
    },
  ),
  ...rows(
    "HE9",
    6,
    ["json", "conformance-of-nobody json", "json  a"],
    (id, names) =>
      either(
        id,
        `the names ${JSON.stringify(names)} have that of JSON: accepted`,
        async (end) => {
          await end.exchangeHello(helloOf([[4, [...utf8(names)]]]));
          await end.alive();
        },
      ),
  ),
];

/** More calls than anyone may make before HELLO. */
const MANY = Array.from(
  { length: 70 },
  () => ({ do: "call", method: "m" }) as const,
);

const early = [
  ...client(
    "HE12.1",
    "before HELLO a client makes at most 64 calls",
    async (c) => {
      await c.exchangeHello();
      await c.script({ do: "reconnect" }, ...MANY);
      await c.reconnected();
      await c.readHello();
      await c.requests(1);
      const more = await c.wire.leftovers();
      assert(more.length <= 63, `${more.length + 1} calls came`);
    },
  ),
  ...client(
    "HE12.2",
    "the HELLO's window lets the others follow",
    async (c) => {
      await c.exchangeHello();
      await c.script({ do: "reconnect" }, ...MANY);
      await c.reconnected();
      await c.readHello();
      await c.send(hello());
      await c.requests(70);
      await c.silence();
    },
  ),
  ...client(
    "HE12.3",
    "calls in flight count against a HELLO's smaller window",
    async (c) => {
      await c.exchangeHello();
      await c.script({ do: "reconnect" }, ...MANY);
      await c.reconnected();
      await c.readHello();
      await c.pace.quiet();
      await c.send(hello({ calls: 10 }));
      await c.pace.quiet();
      const sent = await c.wire.leftovers();
      assert(sent.length >= 10 && sent.length <= 64, `${sent.length} calls`);
      // All but 10 answered: still no place for a further one.
      const answers = sent.slice(10).map(({ id }) =>
        frame(KIND.REPLY, id, [0])
      );
      if (answers.length > 0) await c.send(...answers);
      await c.silence();
      await c.send(frame(KIND.REPLY, sent[0].id, [0]));
      await c.requests(1);
      await c.silence();
    },
  ),
  ...client(
    "HE12.4",
    "before HELLO a client sends at most 65,536 bytes of calls",
    async (c) => {
      await c.exchangeHello();
      const large = { do: "call", method: "m", bytes: 20_000 } as const;
      await c.script({ do: "reconnect" }, large, large, large, large, large);
      await c.reconnected();
      await c.readHello();
      const sent = await c.wire.leftovers();
      assert(sent.length <= 3, `${sent.length} calls came`);
      await c.send(hello());
      await c.requests(5 - sent.length);
    },
  ),
  ...client(
    "HE12.5",
    "a call too large for the constants waits for HELLO",
    async (c) => {
      await c.exchangeHello();
      await c.script({ do: "reconnect" }, {
        do: "call",
        method: "m",
        bytes: 70_000,
      });
      await c.reconnected();
      await c.readHello();
      await c.silence();
      await c.send(hello());
      assertEquals((await c.request()).bytes.length, 70_000);
    },
  ),
  ...server(
    "HE13.1",
    "64 calls sent along with HELLO are within any window but none",
    async (s) => {
      const calls = Array.from(
        { length: 64 },
        () => s.make("Conformance.hold"),
      );
      await s.send(hello(), ...calls);
      await s.readHello();
      await s.alive();
    },
  ),
  ...server(
    "HE13.2",
    "65,536 bytes of calls sent along with HELLO, too",
    async (s) => {
      const none = new Uint8Array(0);
      const large = new Uint8Array(
        65_536 - 2 * request(1, "Echo.echo", none).length,
      );
      const calls = [s.make("Echo.echo", large), s.make("Echo.echo", none)];
      await s.send(hello(), ...calls);
      await s.readHello();
      const answers = await s.answers(1, 2);
      assertEquals(answers.map(({ ok }) => ok), [true, true]);
    },
  ),
];

/** Calls that a client gets along with HELLO, and its answers to all of them. */
async function answersEarly(
  c: ClientSession,
  calls: readonly Uint8Array[],
): Promise<void> {
  await c.send(hello(), ...calls);
  await c.readHello();
  for (let left = calls.length; left > 0;) {
    const got = await c.wire.next();
    assert(got !== undefined, "it ended instead of answering");
    assert(got.kind !== KIND.GOAWAY, "it closed instead of answering");
    if (got.kind === KIND.REPLY || got.kind === KIND.ERROR) left--;
  }
  await c.alive();
}

const earlyToClients = [
  ...client(
    "HE13.3",
    "a client takes 64 calls along with HELLO, whatever window it grants",
    async (c) => {
      const calls = Array.from(
        { length: 64 },
        (_, i) => request(i + 1, "No.such"),
      );
      await answersEarly(c, calls);
    },
  ),
  ...client(
    "HE13.4",
    "and 65,536 bytes of them",
    async (c) => {
      const none = new Uint8Array(0);
      const empty = request(1, "No.such", none).length;
      const large = new Uint8Array(65_536 - 2 * empty);
      await answersEarly(c, [
        request(1, "No.such", large),
        request(2, "No.such", none),
      ]);
    },
  ),
  ...client(
    "HE13.5",
    "and 64 calls at any later time, as our HELLO may have crossed them",
    async (c) => {
      await c.exchangeHello();
      for (let first = 1; first < 200; first += 64) {
        const ids = Array.from({ length: 64 }, (_, i) => first + i);
        await c.send(...ids.map((id) => request(id, "No.such")));
        for (const _ of ids) {
          const got = await c.wire.next();
          assert(got?.kind === KIND.ERROR, "each is answered");
        }
      }
    },
  ),
];

export const hellos: Section = [
  ...rows(
    "HE1",
    1,
    EARLY,
    (id, [what, bytes]) => closesUngreeted(id, `${what} before HELLO`, bytes),
  ),
  ...rows(
    "HE1",
    11,
    STRANGERS,
    (id, [what, bytes]) =>
      closesUngreeted(id, `${what} in place of HELLO`, bytes, "not_sluice"),
  ),
  ...either("HE1.22", "a GOAWAY in place of HELLO is accepted", async (end) => {
    await end.send(goaway(undefined, "unauthenticated", "go away"));
    await end.wire.fin();
    const said = (await end.wire.rest()).filter(({ kind }) =>
      kind === KIND.GOAWAY
    );
    assert(said.length <= 1);
  }),
  ...own,
  ...either("HE2.1", "a second HELLO: closes, protocol_error", async (end) => {
    await end.exchangeHello();
    await end.send(hello());
    await end.closes("protocol_error");
  }),
  ...either("HE4.2", "a HELLO of 16,384 bytes is read", async (end) => {
    await end.exchangeHello(helloOf([[99, zeros(16_384 - 8 - 3)]]));
    await end.alive();
  }),
  ...either(
    "HE4.3",
    "a HELLO of 16,385 bytes: closes, frame_too_large",
    async (end) => {
      await end.send(helloOf([[99, zeros(16_385 - 8 - 3)]]));
      await end.closes("frame_too_large");
    },
  ),
  ...LEGAL.flatMap(([id, what, bytes]) =>
    either(id, `a HELLO with ${what}: taken`, async (end) => {
      await end.send(bytes);
      await end.readHello();
      await end.alive();
    })
  ),
  ...ILLEGAL.flatMap(([id, what, bytes, code]) =>
    closesUngreeted(id, `a HELLO with ${what}`, bytes, code)
  ),
  ...either(
    "HE11.1",
    "no HELLO in time: closes, deadline_exceeded",
    async (end) => {
      await end.closes("deadline_exceeded", 10_000);
    },
  ),
  ...either(
    "HE11.2",
    "PADs are no HELLO: closes, deadline_exceeded",
    async (end) => {
      await end.send(frame(KIND.PAD), frame(KIND.PAD));
      await end.closes("deadline_exceeded", 10_000);
    },
  ),
  ...early,
  ...earlyToClients,
];
