/** Section 6 of docs/protocol.md: messages in fragments, and urgent calls. */

import { assert, assertEquals } from "@std/assert";
import {
  frame,
  helloOf,
  join,
  KIND,
  readAnswer,
  reply,
  request,
  u32,
} from "../bytes.ts";
import { client, either, rows, type Section, server } from "../case.ts";
import { type Session, Skipped } from "../session.ts";
import type { RawFrame } from "../wire.ts";

const CALLER = 1;
const ABORT = 2;
const URGENT = 0x20;
const PIECE = 32_768;
/** A HELLO that states the capability. */
const HELLO = helloOf([
  [1, [...u32(4 << 20)]],
  [2, [...u32(4096)]],
  [3, [...u32(16 << 20)]],
  [6, [...u32(4)]],
]);

/** Exchanges HELLOs. Skips the case if the side does not state the capability. */
async function greet(session: Session): Promise<void> {
  await session.exchangeHello(HELLO);
  if (session.hello.fragments) return;
  const text = `the ${session.role}'s HELLO has no capability for fragments`;
  throw new Skipped(text);
}

/** A message as fragments with bodies of `size` bytes. */
function cut(message: Uint8Array, size = PIECE, flags?: number): Uint8Array[] {
  const id = new DataView(message.buffer, message.byteOffset).getUint32(8);
  flags ??= message[4] === KIND.REQUEST ? CALLER : 0;
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < message.length; at += size) {
    const piece = message.subarray(at, at + size);
    pieces.push(frame(KIND.FRAGMENT, id, piece, flags));
  }
  return pieces;
}

/** Reads a message in fragments, and the frames between them. */
async function readWhole(
  session: Session,
): Promise<{ message: RawFrame; between: RawFrame[] }> {
  const pieces: Uint8Array[] = [];
  const between: RawFrame[] = [];
  let length = Infinity;
  for (let got = 0; got < length;) {
    const piece = await session.wire.next();
    assert(piece !== undefined, "it closed inside a message");
    if (piece.kind !== KIND.FRAGMENT) {
      between.push(piece);
      continue;
    }
    const { body } = piece;
    assert(body.length > 0 && body.length <= PIECE, `${body.length} bytes`);
    pieces.push(body);
    if (length === Infinity) {
      length = 12 + new DataView(body.buffer, body.byteOffset).getUint32(0);
    }
    got += body.length;
  }
  const bytes = join(...pieces);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  assertEquals(bytes.length, length, "the length of the message");
  const [kind, flags] = bytes.subarray(4, 6);
  const id = view.getUint32(8);
  const body = bytes.subarray(12);
  return { message: { kind, flags, reserved: 0, id, body }, between };
}

function large(id: number, size = 100_000): Uint8Array {
  return request(id, "Echo.echo", new Uint8Array(size));
}

/** Fragments that break the rules of a caller, with the rows that say how. */
const FAULTS: readonly (readonly [string, () => Uint8Array[], string?])[] = [
  ["an empty fragment", () => [frame(KIND.FRAGMENT, 1, [], CALLER)]],
  ["a fragment of 32,769 bytes", () => cut(large(1), PIECE + 1)],
  ["a first fragment of 11 bytes", () => cut(large(1), 11)],
  ["a message that must not be cut", () => cut(large(1, 30_000))],
  [
    "a length above the limit",
    () => {
      const [first] = cut(large(1));
      first.set([0x7f], 12);
      return [first];
    },
    "frame_too_large",
  ],
  [
    "another id in the header of the message",
    () => {
      const [first] = cut(large(1));
      first[23] = 9;
      return [first];
    },
  ],
  ["a REQUEST without CALLER", () => cut(large(1), PIECE, 0)],
  [
    "a PING in fragments",
    () => {
      const message = large(1);
      message[4] = KIND.PING;
      return cut(message, PIECE, CALLER);
    },
  ],
  [
    "unknown flags in the header of the message",
    () => {
      const message = large(1);
      message[5] = 0x80;
      return cut(message, PIECE, CALLER);
    },
  ],
  ["two REQUESTs at once", () => [cut(large(1))[0], cut(large(2))[0]]],
  [
    "more bytes than the message has",
    () => [
      cut(large(1, 40_000))[0],
      frame(KIND.FRAGMENT, 1, new Uint8Array(20_000), CALLER),
    ],
  ],
  [
    "ABORT without a message",
    () => [frame(KIND.FRAGMENT, 1, [], CALLER | ABORT)],
  ],
];

export const fragments: Section = [
  ...server(
    "FG1.1",
    "a reply of 100,000 bytes comes in fragments, one of 1,000 bytes does not",
    async (s) => {
      await greet(s);
      await s.go("Conformance.bytes", 100_000);
      const { message } = await readWhole(s);
      assertEquals([message.kind, message.id], [KIND.REPLY, 1]);
      assertEquals(message.body.length, 100_001);
      await s.go("Conformance.bytes", 1000);
      await s.expect(KIND.REPLY);
    },
  ),
  ...server(
    "FG1.2",
    "without the capability a reply of 100,000 bytes comes whole",
    async (s) => {
      await s.exchangeHello();
      await s.go("Conformance.bytes", 100_000);
      assertEquals((await s.expect(KIND.REPLY)).body.length, 100_001);
    },
  ),
  ...client(
    "FG1.3",
    "a call with 100,000 bytes comes in fragments",
    async (c) => {
      await greet(c);
      await c.script({ do: "call", method: "m", bytes: 100_000 });
      const { message } = await readWhole(c);
      assertEquals(message.kind, KIND.REQUEST);
      await c.send(reply(message.id));
      await c.alive();
    },
  ),
  ...client(
    "FG2.1",
    "three large calls come one after another, with increasing ids",
    async (c) => {
      await greet(c);
      const call = { do: "call", method: "m", bytes: 200_000 } as const;
      await c.script(call, call, call);
      let last = 0;
      for (let i = 0; i < 3; i++) {
        const { message, between } = await readWhole(c);
        assert(message.id > last, `id ${message.id} after ${last}`);
        last = message.id;
        assertEquals(between.map(({ kind }) => kind), []);
        await c.send(reply(message.id));
      }
    },
  ),
  ...server(
    "FG3.1",
    "large replies come one after another, and each is whole",
    async (s) => {
      await greet(s);
      await s.send(
        s.make("Conformance.bytes", 300_000),
        s.make("Conformance.bytes", 400_000),
      );
      const ids = new Set<number>();
      for (let i = 0; i < 2; i++) ids.add((await readWhole(s)).message.id);
      assertEquals(ids, new Set([1, 2]));
    },
  ),
  ...server(
    "FG4.1",
    "a REQUEST in fragments is served when it is whole; calls pass between",
    async (s) => {
      await greet(s);
      const pieces = cut(large(1));
      await s.send(pieces[0], request(2, "Echo.echo", "x"));
      assertEquals((await s.expect(KIND.REPLY)).id, 2);
      await s.send(...pieces.slice(1));
      assertEquals((await readWhole(s)).message.id, 1);
    },
  ),
  ...server(
    "FG4.2",
    "the id of a REQUEST counts from its first fragment",
    async (s) => {
      await greet(s);
      await s.send(cut(large(5))[0], request(5, "Echo.echo", "x"));
      await s.closes("protocol_error");
    },
  ),
  ...server(
    "FG5.1",
    "a REQUEST that is given up is a skipped id, and counts no longer",
    async (s) => {
      await greet(s);
      for (let id = 1; id <= 300; id++) {
        await s.send(
          cut(large(id))[0],
          frame(KIND.FRAGMENT, id, [7], CALLER | ABORT),
        );
      }
      await s.send(request(301, "Echo.echo", "x"));
      assertEquals((await s.expect(KIND.REPLY)).id, 301);
    },
  ),
  ...client(
    "FG5.2",
    "a response that is given up is followed by another one",
    async (c) => {
      await greet(c);
      await c.script(
        { do: "call", method: "m" },
        { do: "await", call: 1 },
        { do: "report" },
      );
      const [{ id }] = await c.requests(1);
      await c.send(
        cut(reply(id, [2, ...new Uint8Array(60_000)]))[0],
        frame(KIND.FRAGMENT, id, [], ABORT),
        reply(id),
      );
      await c.alive();
    },
  ),
  ...rows(
    "FG6",
    1,
    FAULTS,
    (id, [about, make, code = "protocol_error"]) =>
      server(id, `${about}: closes, ${code}`, async (s) => {
        await greet(s);
        await s.send(...make());
        await s.closes(code);
      }),
  ),
  ...either(
    "FG6.40",
    "FIN inside a message: closes, truncated",
    async (end) => {
      await greet(end);
      await end.send(cut(large(1, 40_000))[0]);
      await end.wire.fin();
      await end.closes("truncated");
    },
  ),
  ...server(
    "FG6.41",
    "a FRAGMENT without the capability: closes, protocol_error",
    async (s) => {
      await s.exchangeHello();
      await s.send(cut(large(1))[0]);
      await s.closes("protocol_error");
    },
  ),
  ...server(
    "CA7.1",
    "an urgent call is answered before a large response that waits",
    async (s) => {
      await greet(s);
      const urgent = request(3, "Echo.echo", "x");
      urgent[5] |= URGENT;
      await s.send(
        request(1, "Conformance.bytes", 2_000_000),
        request(2, "Conformance.bytes", 2_000_000),
        urgent,
      );
      const { between } = await readWhole(s);
      const answers = between.map((frame) => readAnswer(frame).id);
      assertEquals(answers.includes(3), true, "answered in time");
    },
  ),
  ...server(
    "WI10.1",
    "16 urgent calls are accepted beside a full window, and not 17",
    async (s) => {
      await s.exchangeHello();
      const calls = Math.max(64, s.hello.calls);
      const hold = (id: number, flags = 0) => {
        const bytes = request(id, "Conformance.hold");
        bytes[5] |= flags;
        return bytes;
      };
      const normal = Array.from({ length: calls }, (_, i) => hold(i + 1));
      const urgent = Array.from(
        { length: 16 },
        (_, i) => hold(calls + i + 1, URGENT),
      );
      await s.send(...normal, ...urgent);
      await s.alive();
      await s.send(hold(calls + 17, URGENT));
      await s.closes("resource_exhausted");
    },
  ),
];
