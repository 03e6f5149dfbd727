/** Section 14 of docs/protocol.md: streams. A server under test echoes them. */

import { assert, assertEquals } from "@std/assert";
import {
  block,
  BODY,
  flagged,
  frame,
  KIND,
  payload,
  readAnswer,
  request,
  type StreamGrant,
  TRAILERS,
  u16,
  u32,
  utf8,
} from "../bytes.ts";
import { connectionCredit } from "../../support/raw_peer.ts";
import { either, rows, type Section, server } from "../case.ts";
import { type ServerSession, type Session, Skipped } from "../session.ts";
import { items } from "./items.ts";
import type { RawFrame } from "../wire.ts";

const CALLER = 1;
const CONNECTION = 2;
const ERROR = 2;
const MORE = 2;
/** The payload kind that says a stream follows. */
const STREAM = 5;

function data(value: unknown, flags = CALLER, id = 1): Uint8Array {
  return frame(KIND.DATA, id, payload(value), flags);
}

/** A call whose params are a stream. */
function requestOf(id: number, method: string): Uint8Array {
  return request(id, method, undefined, { raw: [STREAM] });
}

/** Calls the method that gives back its params, with a stream. */
async function open(
  s: ServerSession,
  grant?: Partial<StreamGrant>,
): Promise<void> {
  await s.greetAble(grant);
  await s.send(requestOf(1, "Echo.echo"));
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

/** Skips the case where a stream begins with less credit. */
function needs({ hello }: Session, bytes: number): void {
  const { credit } = hello.streams!;
  if (credit >= bytes) return;
  throw new Skipped(`a stream begins with ${credit} bytes of credit`);
}

/** Sends an item in parts of `size` bytes, as credit comes for them; false if its reader says STOP. */
async function sendItem(
  s: Session,
  length: number,
  size: number,
): Promise<boolean> {
  let { credit } = s.hello.streams!;
  for (let left = length; left > 0;) {
    const part = Math.min(left, size);
    const charge = part + 17;
    if (charge <= credit) {
      left -= part;
      credit -= charge;
      const flags = CALLER | (left > 0 ? MORE : 0);
      const body = new Uint8Array(1 + part).fill(0x78);
      body[0] = 3;
      await s.send(frame(KIND.DATA, 1, body, flags));
      continue;
    }
    const got = await s.wire.next();
    assert(got !== undefined, "it ended");
    assert(got.kind !== KIND.GOAWAY, "it closed");
    if (got.kind === KIND.STOP) return false;
    if (got.kind === KIND.CREDIT) {
      credit += new DataView(got.body.buffer).getUint32(0);
    }
  }
  return true;
}

/** An item that comes back whole. */
function largeItem(id: string, about: string, length: number, size: number) {
  return server(id, about, async (s) => {
    await open(s, { credit: 1_048_576 });
    if (s.hello.streams!.all < 2_020_000) throw new Skipped("little credit");
    assert(await sendItem(s, length, size), "STOP came");
    await s.send(frame(KIND.END, 1, [], CALLER));
    const [item] = items(await echoed(s));
    assert(typeof item === "string", "the item does not come back");
    assertEquals(item.length, length);
  });
}

/** The next frame that is of none of these kinds. */
async function nextBut(
  s: Session,
  passed: readonly number[],
): Promise<RawFrame> {
  for (;;) {
    const got = await s.wire.next();
    assert(got !== undefined, "it ended");
    if (!passed.includes(got.kind)) return got;
  }
}

/** Bytes of payload that came, and whether END did, once nothing more comes. */
async function sized(s: Session): Promise<{ bytes: number; ended: boolean }> {
  const frames = await s.wire.leftovers();
  let bytes = 0;
  for (const { kind, body } of frames) {
    if (kind === KIND.DATA) bytes += body.length - 1;
  }
  return { bytes, ended: frames.some(({ kind }) => kind === KIND.END) };
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

const BAD_TRAILERS: [string, number[]][] = [
  ["no length", []],
  ["a block that is cut", [0, 5, 1, 0x61, 0, 1]],
  ["an entry beyond the block", [0, 4, 1, 0x61, 0, 1, 0x31]],
  ["a name that is not UTF-8", [0, 5, 1, 0xff, 0, 1, 0x31]],
  ["a byte behind them", [0, 0, 0]],
];

const BIG = new Uint8Array(32_768);

export const streams: Section = [
  ...server(
    "ST1.1",
    "a stream as params from a side without the capability: closes",
    async (s) => {
      await s.exchangeHello();
      await s.send(requestOf(1, "Echo.echo"));
      await s.closes("protocol_error");
    },
  ),
  ...server(
    "ST2.1",
    "one stream as params more than granted: closes, resource_exhausted",
    async (s) => {
      await s.greetAble();
      const { max } = s.hello.streams!;
      const ids = Array.from({ length: max + 1 }, (_, i) => i + 1);
      const calls = ids.map((id) => requestOf(id, "Conformance.hold"));
      const window = Math.max(64, s.hello.calls);
      const bytes = Math.max(65_536, s.hello.bytes);
      if (calls.length > window || calls[0].length * calls.length > bytes) {
        throw new Skipped("more streams are granted than calls fit the window");
      }
      await s.send(...calls.slice(0, -1));
      await s.alive();
      await s.send(calls[max]);
      await s.closes("resource_exhausted");
    },
  ),
  ...server(
    "ST2.2",
    "a stream as result for which none was granted: resource_exhausted, started",
    async (s) => {
      await open(s, { max: 1 });
      await s.expect(KIND.REPLY);
      await s.send(requestOf(2, "Echo.echo"));
      const got = await nextBut(s, [KIND.CREDIT, KIND.STOP]);
      const { id, code, started } = readAnswer(got);
      assertEquals([id, code, started], [2, "resource_exhausted", true]);
      await s.send(frame(KIND.END, 1, [], CALLER));
      await echoed(s);
    },
  ),
  ...server(
    "ST2.3",
    "the end of a stream allows another",
    async (s) => {
      await open(s, { max: 1 });
      for (let id = 1; id < 20; id++) {
        if (id > 1) await s.send(requestOf(id, "Echo.echo"));
        await s.send(frame(KIND.END, id, [], CALLER));
        assertEquals(kinds(await echoed(s)), [KIND.REPLY, KIND.END]);
      }
    },
  ),
  ...server("ST4.1", "the longest DATA is accepted", async (s) => {
    await open(s);
    needs(s, 32_785);
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
    assertEquals(items(await echoed(s)), ["together"]);
  }),
  ...faulty(
    "ST5.3",
    "parts of one item of different kinds",
    new Uint8Array([
      ...frame(KIND.DATA, 1, [3, 120], CALLER | MORE),
      ...frame(KIND.DATA, 1, [1, 49], CALLER),
    ]),
  ),
  ...faulty(
    "ST5.7",
    "a part of no bytes that is not the last",
    frame(KIND.DATA, 1, [3], CALLER | MORE),
  ),
  ...server("ST5.8", "a last part of no bytes", async (s) => {
    await open(s);
    await s.send(
      frame(KIND.DATA, 1, [3, ...utf8("all")], CALLER | MORE),
      frame(KIND.DATA, 1, [3], CALLER),
      frame(KIND.END, 1, [], CALLER),
    );
    assertEquals(items(await echoed(s)), ["all"]);
  }),
  ...server("ST5.9", "parts cut inside a character", async (s) => {
    await open(s);
    const [first, ...rest] = utf8("é→");
    await s.send(
      frame(KIND.DATA, 1, [3, first], CALLER | MORE),
      frame(KIND.DATA, 1, [3, ...rest], CALLER),
      frame(KIND.END, 1, [], CALLER),
    );
    assertEquals(items(await echoed(s)), ["é→"]);
  }),
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
  ...largeItem(
    "ST7.1",
    "an item of 1,000,000 bytes in full parts is accepted",
    1_000_000,
    32_768,
  ),
  ...largeItem(
    "ST7.2",
    "an item of 990,000 bytes in parts of 300 bytes is accepted",
    990_000,
    300,
  ),
  ...server(
    "ST7.3",
    "a larger item is accepted or stopped, and does not stall",
    async (s) => {
      await open(s, { credit: 1_048_576 });
      await sendItem(s, 1_300_000, 32_768);
      await s.alive();
    },
  ),
  ...faulty(
    "ST8.1",
    "more than the credit at once",
    new Uint8Array(Array.from({ length: 40 }, () => [...data(BIG)]).flat()),
    "resource_exhausted",
  ),
  ...server(
    "ST8.2",
    "a result that needs more credit waits for it",
    async (s) => {
      await open(s, { credit: 16_384 });
      needs(s, 3 * 16_017);
      const chunk = new Uint8Array(16_000);
      await s.send(data(chunk), data(chunk), data(chunk));
      await s.send(frame(KIND.END, 1, [], CALLER));
      await nextBut(s, [KIND.CREDIT]);
      let got = await sized(s);
      // What it sends past its credit fails any case: it must stop here.
      assert(got.bytes > 0 && got.bytes <= 16_384, `${got.bytes} bytes came`);
      for (let grants = 0; !got.ended; grants++) {
        assert(grants < 20, "it does not go on with the credit it was given");
        await s.send(frame(KIND.CREDIT, 1, u32(8192), CALLER));
        const more = await sized(s);
        got = { bytes: got.bytes + more.bytes, ended: more.ended };
      }
      assertEquals(got.bytes, 48_000);
    },
  ),
  ...server("ST9.1", "bytes that are read are granted again", async (s) => {
    await open(s);
    needs(s, 50_000);
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
  ...server(
    "ST17.1",
    "a result that needs more credit of the connection waits for it",
    async (s) => {
      await open(s, { all: 65_536 });
      needs(s, 3 * 16_017);
      const chunk = new Uint8Array(16_000);
      let sent = 0;
      let got = { bytes: 0, ended: false };
      // What it sends past its credit fails any case: it must stop.
      for (let grants = 0; !got.ended; grants++) {
        assert(grants < 60, "it does not go on with the credit it was given");
        if (sent < 10) await s.send(data(chunk));
        if (++sent === 10) await s.send(frame(KIND.END, 1, [], CALLER));
        await s.send(frame(KIND.CREDIT, 1, u32(16_384), CALLER));
        if (sent > 10) await s.send(connectionCredit(16_384));
        const more = await sized(s);
        got = { bytes: got.bytes + more.bytes, ended: more.ended };
      }
      assertEquals(got.bytes, 160_000);
    },
  ),
  ...server(
    "ST17.2",
    "DATA that crosses the end of its call is counted, and given back",
    async (s) => {
      await s.greetAble();
      const { all } = s.hello.streams!;
      if (all > 64 << 20) throw new Skipped("too much credit");
      const raw = [STREAM];
      const id = await s.go("no.such", undefined, { raw });
      assertEquals((await s.answer(id)).code, "not_found");
      const late = frame(
        KIND.DATA,
        id,
        new Uint8Array(32_769).fill(2, 0, 1),
        CALLER,
      );
      const count = Math.floor(all / 32_785);
      await s.send(...Array.from({ length: count }, () => late));
      const got = await s.alive();
      const grants = got.filter(({ kind, flags }) =>
        kind === KIND.CREDIT && flags === CONNECTION
      );
      assert(grants.length > 0, "nothing was granted again");
    },
  ),
  ...faulty(
    "ST19.1",
    "credit of the connection above 2^31 - 1",
    connectionCredit(0x7fffffff),
  ),
  ...faulty(
    "ST19.2",
    "CREDIT of the connection with the id of a call",
    frame(KIND.CREDIT, 1, u32(1), CONNECTION),
  ),
  ...faulty(
    "ST19.3",
    "CREDIT of the connection with the flag CALLER",
    frame(KIND.CREDIT, 0, u32(1), CONNECTION | CALLER),
  ),
  ...server(
    "ST19.4",
    "CREDIT of the connection of 0 changes nothing",
    async (s) => {
      await open(s);
      const none = connectionCredit(0);
      await s.send(none, data("a"), none, frame(KIND.END, 1, [], CALLER));
      assertEquals(items(await echoed(s)), ["a"]);
    },
  ),
  ...server("ST9.3", "a CREDIT of 0 changes nothing", async (s) => {
    await open(s);
    const none = frame(KIND.CREDIT, 1, u32(0), CALLER);
    await s.send(none, none, data("a"), none, frame(KIND.END, 1, [], CALLER));
    assertEquals(items(await echoed(s)), ["a"]);
  }),
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
  ...server(
    "ST11.1",
    "a graceful close waits for a call with a stream",
    async (s) => {
      await open(s);
      await s.send(data("a"));
      await s.expect(KIND.REPLY);
      await s.expect(KIND.DATA);
      await s.send(frame(KIND.GOAWAY, 0, [0, 0, 0], 1));
      await s.alive();
      await s.send(data("b"), frame(KIND.END, 1, [], CALLER));
      assertEquals(kinds(await echoed(s)), [KIND.DATA, KIND.END]);
    },
  ),
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
  ...server(
    "ST13.1",
    "a reply that is no stream ends params that the handler did not read",
    async (s) => {
      await s.greetAble();
      const parts = { raw: [STREAM] };
      await s.answer(await s.go("Conformance.note", undefined, parts));
      // They crossed the answer.
      await s.send(data("a"), frame(KIND.END, 1, [], CALLER));
      await s.alive();
      await s.serves();
    },
  ),
  ...server(
    "BD1.1",
    "a body beside params that are a stream: closes",
    async (s) => {
      await s.greetAble();
      await s.send(flagged(requestOf(1, "Echo.echo"), BODY));
      await s.closes("protocol_error");
    },
  ),
  ...server("BD1.2", "params and a body come back", async (s) => {
    await s.greetAble();
    const parts = { raw: payload({ n: 1 }) };
    await s.send(
      flagged(request(1, "Conformance.beside", undefined, parts), BODY),
      data("a"),
      data(new Uint8Array(3)),
      frame(KIND.END, 1, [], CALLER),
    );
    const got = await echoed(s);
    assertEquals([got[0].kind, got[0].flags], [KIND.REPLY, BODY]);
    assertEquals(got[0].body, payload({ n: 1 }));
    assertEquals(items(got), ["a", new Uint8Array(3)]);
    assertEquals(got.at(-1)?.flags, 0);
    await s.alive();
  }),
  ...server(
    "BD2.1",
    "a reply without a stream ends a body that the handler did not read",
    async (s) => {
      await s.greetAble();
      const note = request(1, "Conformance.note", "x");
      await s.send(flagged(note, BODY), data("a"));
      const got = await nextBut(s, [KIND.CREDIT, KIND.STOP]);
      assertEquals([got.kind, got.id, got.flags], [KIND.REPLY, 1, 0]);
      // They crossed the answer.
      await s.send(data("b"), frame(KIND.END, 1, [], CALLER));
      await s.alive();
    },
  ),
  ...server(
    "BD2.2",
    "a body of a method that does not exist: not_found, and the connection goes on",
    async (s) => {
      await s.greetAble();
      await s.send(
        flagged(request(1, "Conformance.nobody", "x"), BODY),
        data("a"),
        frame(KIND.END, 1, [], CALLER),
      );
      const got = await nextBut(s, [KIND.CREDIT, KIND.STOP]);
      const { code, started } = readAnswer(got);
      assertEquals([code, started], ["not_found", false]);
      await s.alive();
    },
  ),
  ...server("MG1.1", "messages are read, also empty ones", async (s) => {
    await open(s);
    const part = (bytes: readonly number[], flags = 0) =>
      frame(KIND.DATA, 1, [6, ...bytes], CALLER | flags);
    await s.send(
      part([1, 2]),
      part([]),
      part([3], MORE),
      part([4], MORE),
      part([]),
      frame(KIND.END, 1, [], CALLER),
    );
    assertEquals(items(await echoed(s)), [new Uint8Array([1, 2, 3, 4])]);
  }),
  ...faulty(
    "MG1.2",
    "an empty part of a message with MORE",
    frame(KIND.DATA, 1, [6], CALLER | MORE),
  ),
  ...faulty(
    "MG1.3",
    "a message that goes on as bytes",
    new Uint8Array([
      ...frame(KIND.DATA, 1, [6, 1], CALLER | MORE),
      ...frame(KIND.DATA, 1, [2, 1], CALLER),
    ]),
  ),
  ...faulty("MG1.4", "an item of kind 7", frame(KIND.DATA, 1, [7], CALLER)),
  ...server("MG1.5", "params that are a message: closes", async (s) => {
    await s.greetAble();
    await s.send(request(1, "Echo.echo", undefined, { raw: [6] }));
    await s.closes("protocol_error");
  }),
  ...server("TR1.1", "an END with trailers ends a stream", async (s) => {
    await open(s);
    const trailers = block([["a", "1"], ["b", ""]]);
    await s.send(
      data("a"),
      frame(
        KIND.END,
        1,
        [...u16(trailers.length), ...trailers],
        CALLER | TRAILERS,
      ),
    );
    const got = await echoed(s);
    assertEquals([items(got), got.at(-1)?.flags], [["a"], 0]);
  }),
  ...server("TR1.2", "trailers come with an error, too", async (s) => {
    await open(s);
    const why = [4, ...utf8("gone"), ...u16(2), ...utf8("no"), 0];
    const flags = CALLER | ERROR | TRAILERS;
    await s.send(frame(KIND.END, 1, [0, 0, ...why], flags));
    assertEquals((await echoed(s)).at(-1)!.flags & ERROR, ERROR);
  }),
  ...rows("TR1", 3, BAD_TRAILERS, (id, [what, body]) =>
    faulty(
      id,
      `trailers with ${what}`,
      frame(KIND.END, 1, body, CALLER | TRAILERS),
    )),
  ...server("ST14.1", "a reader that sends STOP gets an END", async (s) => {
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
          await s.greetAble();
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
