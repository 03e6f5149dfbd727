/** Section 14 of docs/protocol.md: streams. A server under test echoes them. */

import { assert, assertEquals } from "@std/assert";
import {
  frame,
  helloOf,
  KIND,
  payload,
  request,
  u16,
  u32,
  utf8,
} from "../bytes.ts";
import { either, rows, type Section, server } from "../case.ts";
import type { ServerSession, Session } from "../session.ts";
import type { RawFrame } from "../wire.ts";

const CALLER = 1;
const ERROR = 2;
const MORE = 2;
/** The payload kind that says a stream follows. */
const STREAM = 5;

/** A HELLO that takes streams, of which each may have 64 KiB. */
const ABLE = helloOf([[6, u32(1)], [7, [...u32(65_536), ...u32(16)]]]);

function data(value: unknown, flags = CALLER, id = 1): Uint8Array {
  return frame(KIND.DATA, id, payload(value), flags);
}

/** Calls the method that gives back its params, with a stream. */
async function open(s: ServerSession): Promise<void> {
  s.wire.streams = true;
  await s.greet(ABLE);
  await s.send(request(1, "Echo.echo", undefined, { raw: [STREAM] }));
}

/** What comes until the result has ended, credits left out. */
async function echoed(s: Session): Promise<RawFrame[]> {
  const frames: RawFrame[] = [];
  for (;;) {
    const got = await s.wire.next();
    assert(got !== undefined, "it ended before END came");
    if (got.kind !== KIND.CREDIT) frames.push(got);
    if (got.kind === KIND.END) return frames;
  }
}

function kinds(frames: readonly RawFrame[]): number[] {
  return frames.map(({ kind }) => kind);
}

/** Frames of a stream that break a rule, once one is open. */
function faulty(
  id: string,
  about: string,
  bytes: Uint8Array,
  code = "protocol_error",
) {
  return server(id, `${about}: closes, ${code}`, async (s) => {
    await open(s);
    await s.send(bytes);
    await s.closes(code);
  });
}

const FRAMES = [
  ["DATA", KIND.DATA, payload("x")],
  ["END", KIND.END, []],
  ["STOP", KIND.STOP, [0, 0, 0]],
  ["CREDIT", KIND.CREDIT, u32(1)],
] as const;

const BIG = new Uint8Array(32_768);

export const streams: Section = [
  ...server(
    "ST1.1",
    "a stream of params from an end that has not stated the capability: closes",
    async (s) => {
      await s.greet();
      await s.send(request(1, "Echo.echo", undefined, { raw: [STREAM] }));
      await s.closes("protocol_error");
    },
  ),
  ...server("ST4.1", "the longest DATA is taken", async (s) => {
    await open(s);
    await s.send(data(BIG), frame(KIND.END, 1, [], CALLER));
    const got = (await echoed(s)).filter(({ kind }) => kind === KIND.DATA);
    const length = got.reduce((n, { body }) => n + body.length - 1, 0);
    assertEquals(length, BIG.length);
    for (const { body } of got) assert(body.length <= 32_769);
  }),
  ...faulty("ST4.2", "a longer one", data(new Uint8Array(32_769))),
  ...server("ST5.1", "a DATA of no bytes is legal", async (s) => {
    await open(s);
    await s.send(data(new Uint8Array(0)), frame(KIND.END, 1, [], CALLER));
    assertEquals((await echoed(s)).at(-1)?.flags, 0);
  }),
  ...server("ST5.2", "an item in two parts is one item", async (s) => {
    await open(s);
    await s.send(
      frame(KIND.DATA, 1, [3, ...utf8("to")], CALLER | MORE),
      frame(KIND.DATA, 1, [3, ...utf8("gether")], CALLER),
      frame(KIND.END, 1, [], CALLER),
    );
    const [, item] = await echoed(s);
    assertEquals(item.body, payload("together"));
  }),
  ...faulty(
    "ST5.3",
    "parts of one item of different kinds",
    new Uint8Array([
      ...frame(KIND.DATA, 1, [3, 120], CALLER | MORE),
      ...frame(KIND.DATA, 1, [1, 49], CALLER),
    ]),
  ),
  ...faulty("ST5.4", "a stream as an item", frame(KIND.DATA, 1, [5], CALLER)),
  ...faulty("ST5.5", "a part of bytes", data(BIG.subarray(9), CALLER | MORE)),
  ...faulty(
    "ST5.6",
    "a part of nothing",
    frame(KIND.DATA, 1, [0], CALLER | MORE),
  ),
  ...server("ST6.1", "an item that does not parse: STOP", async (s) => {
    await open(s);
    await s.send(frame(KIND.DATA, 1, [1, 123], CALLER));
    for (;;) {
      const got = await s.wire.next();
      assert(got !== undefined, "it ended before STOP came");
      if (got.kind === KIND.STOP) break;
    }
    await s.alive();
  }),
  ...faulty(
    "ST8.1",
    "more than the credit at once",
    new Uint8Array(Array.from({ length: 40 }, () => [...data(BIG)]).flat()),
    "resource_exhausted",
  ),
  ...server("ST9.1", "what is read is granted again", async (s) => {
    await open(s);
    // More than half of the credit, and less than all of it.
    await s.send(data(BIG), data(BIG.subarray(0, 16_000)));
    for (;;) {
      const got = await s.wire.next();
      assert(got !== undefined, "it ended before CREDIT came");
      if (got.kind === KIND.CREDIT) break;
    }
  }),
  ...faulty(
    "ST9.2",
    "credit above 2^31 - 1",
    frame(KIND.CREDIT, 1, u32(0xffffffff), CALLER),
  ),
  ...server("ST10.1", "items and one END come back", async (s) => {
    await open(s);
    await s.send(data("a"), data("b"), frame(KIND.END, 1, [], CALLER));
    const got = await echoed(s);
    const { REPLY, DATA, END } = KIND;
    assertEquals(kinds(got), [REPLY, DATA, DATA, END]);
    assertEquals(got[0].body, new Uint8Array([STREAM]));
    assertEquals(got.map(({ flags }) => flags), [0, 0, 0, 0]);
    await s.silence();
  }),
  ...server("ST10.2", "params that fail fail the result", async (s) => {
    await open(s);
    const why = [4, ...utf8("gone"), ...u16(2), ...utf8("no"), 0];
    await s.send(frame(KIND.END, 1, why, CALLER | ERROR));
    assertEquals((await echoed(s)).at(-1)?.flags, ERROR);
  }),
  ...faulty(
    "ST10.3",
    "the end between two parts of an item",
    new Uint8Array([
      ...frame(KIND.DATA, 1, [3, 120], CALLER | MORE),
      ...frame(KIND.END, 1, [], CALLER),
    ]),
  ),
  ...server("ST10.4", "a failure between two parts of an item", async (s) => {
    await open(s);
    const why = [4, ...utf8("gone"), ...u16(2), ...utf8("no"), 0];
    await s.send(
      frame(KIND.DATA, 1, [3, 120], CALLER | MORE),
      frame(KIND.END, 1, why, CALLER | ERROR),
    );
    const got = await echoed(s);
    assertEquals(kinds(got), [KIND.REPLY, KIND.END]);
    assertEquals(got[1].flags, ERROR);
    await s.alive();
  }),
  ...server("ST11.1", "a call that streams is waited for", async (s) => {
    await open(s);
    await s.send(data("a"));
    await s.expect(KIND.REPLY);
    await s.expect(KIND.DATA);
    await s.send(frame(KIND.GOAWAY, 0, [0, 0, 0], 1));
    await s.alive();
    await s.send(data("b"), frame(KIND.END, 1, [], CALLER));
    assertEquals(kinds(await echoed(s)), [KIND.DATA, KIND.END]);
  }),
  ...server("ST12.1", "a cancelled result ends with cancelled", async (s) => {
    await open(s);
    await s.send(data("a"));
    await s.expect(KIND.REPLY);
    await s.expect(KIND.DATA);
    await s.send(frame(KIND.CANCEL, 1));
    const end = (await echoed(s)).at(-1);
    assertEquals(end?.flags, ERROR);
    assertEquals(
      end?.body.subarray(0, 10),
      new Uint8Array([9, ...utf8("cancelled")]),
    );
  }),
  ...server("ST14.1", "a reader that wants no more gets END", async (s) => {
    await open(s);
    await s.send(data("a"));
    await s.expect(KIND.REPLY);
    await s.expect(KIND.DATA);
    await s.send(frame(KIND.STOP, 1, [0, 0, 0], CALLER));
    assertEquals((await echoed(s)).at(-1)?.kind, KIND.END);
    await s.alive();
  }),
  ...rows(
    "ST15",
    1,
    FRAMES,
    (id, [name, kind, body]) =>
      either(
        id,
        `${name} for a call that was never made: closes`,
        async (s) => {
          await s.greet(ABLE);
          await s.send(frame(kind, 9, body, s.role === "server" ? CALLER : 0));
          await s.closes("protocol_error");
        },
      ),
  ),
  ...rows(
    "ST15",
    11,
    FRAMES,
    (id, [name, kind, body]) =>
      server(id, `${name} for a stream that has ended: ignored`, async (s) => {
        await open(s);
        await s.send(frame(KIND.END, 1, [], CALLER));
        await echoed(s);
        await s.send(frame(kind, 1, body, CALLER));
        await s.alive();
      }),
  ),
];
