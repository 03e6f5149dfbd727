/** Section 9 of docs/protocol.md: the window. */

import { assert, assertEquals } from "@std/assert";
import {
  frame,
  hello,
  join,
  KIND,
  readWindow,
  reply,
  request,
  window,
} from "../bytes.ts";
import { client, either, rows, type Section, server } from "../case.ts";
import { type ServerSession, Skipped, WRITTEN } from "../session.ts";

/** What the server holds its callers to. */
function granted({ hello }: ServerSession): { calls: number; bytes: number } {
  const calls = Math.max(64, hello.calls);
  const bytes = Math.max(65_536, hello.bytes);
  if (calls > 65_536) throw new Skipped("a window too large to be filled");
  return { calls, bytes };
}

/** Fills the window's bytes with as few running calls as can be, and returns their ids. */
async function fillBytes(s: ServerSession): Promise<number[]> {
  const running = await s.running();
  // The answers that are still on their way hold places, too.
  await s.serves();
  const most = Math.max(65_536, s.hello.maxMessage) + 12;
  let left = granted(s).bytes;
  const ids: number[] = [];
  while (left > 0) {
    // The last one may be the largest that still fits; all need their overhead.
    const size = left > most && left < most + 100
      ? left - 100
      : Math.min(left, most);
    const empty = request(1, "Conformance.hold", new Uint8Array(0)).length;
    ids.push(await s.go("Conformance.hold", new Uint8Array(size - empty)));
    left -= size;
  }
  if (ids.length > running) throw new Skipped("too few handlers run at once");
  return ids;
}

/** Calls of a client, `count` of them. */
function many(count: number, method = "m") {
  return Array.from({ length: count }, () => ({ do: "call", method }) as const);
}

const callers = [
  ...client(
    "WI1.1",
    "a window of 3 calls: 3 are sent, and one more for each reply",
    async (c) => {
      await c.exchangeHello({ calls: 3 });
      await c.script(...many(10));
      const sent = await c.requests(3);
      await c.silence();
      await c.send(reply(sent[1].id));
      await c.requests(1);
      await c.silence();
      await c.send(reply(sent[0].id), reply(sent[2].id));
      await c.requests(2);
      await c.silence();
    },
  ),
  ...client("WI1.2", "a window of one call: one at a time", async (c) => {
    await c.exchangeHello({ calls: 1 });
    await c.script(...many(5));
    for (let i = 0; i < 5; i++) {
      const { id } = await c.request();
      await c.silence();
      await c.send(reply(id));
    }
  }),
  ...client(
    "WI1.3",
    "bytes are counted with their headers, to the byte",
    async (c) => {
      // Two calls of 12 + 2 + 1 + 1 + 1000 bytes and a byte too few for a third.
      await c.exchangeHello({ bytes: 3 * 1016 - 1 });
      const call = { do: "call", method: "m", bytes: 1000 } as const;
      await c.script(call, call, call);
      const [first] = await c.requests(2);
      assertEquals(first.size, 1016);
      await c.silence();
      await c.send(reply(first.id));
      await c.requests(1);
    },
  ),
  ...client(
    "WI1.4",
    "a window of exactly three calls allows three",
    async (c) => {
      await c.exchangeHello({ bytes: 3 * 1016 });
      const call = { do: "call", method: "m", bytes: 1000 } as const;
      await c.script(call, call, call, call);
      await c.requests(3);
      await c.silence();
    },
  ),
  ...client(
    "WI1.5",
    "a call larger than the window of bytes is not sent",
    async (c) => {
      await c.exchangeHello({ bytes: 2000 });
      await c.script({ do: "call", method: "m", bytes: 3000 });
      await c.silence();
      const [, got] = (await c.report()).calls;
      assertEquals(got, { outcome: "not_sent", code: "resource_exhausted" });
    },
  ),
  ...client("WI1.6", "a window of 0 calls: calls fail, not sent", async (c) => {
    await c.exchangeHello();
    await c.script({ do: "reconnect" }, ...many(80));
    await c.reconnected();
    await c.send(hello({ calls: 0 }));
    await c.readHello();
    await c.pace.quiet();
    const sent = await c.wire.leftovers();
    assert(sent.length <= 64);
    const { calls } = await c.report();
    const unsent = calls.filter(({ outcome }) => outcome === "not_sent");
    assertEquals(unsent.length, 80 - sent.length);
  }),
  ...client(
    "WI2.1",
    "an aborted call occupies the window until its reply",
    async (c) => {
      await c.exchangeHello({ calls: 2 });
      await c.script(
        ...many(2),
        { do: "await", call: 1 },
        { do: "call", method: "third" },
        { do: "abort", call: 2 },
        { do: "call", method: "fourth" },
      );
      const [first, second] = await c.requests(2);
      await c.send(reply(first.id));
      const kinds = [(await c.wire.next())?.kind, (await c.wire.next())?.kind];
      assertEquals(kinds.toSorted(), [KIND.REQUEST, KIND.CANCEL]);
      await c.silence();
      await c.send(reply(second.id));
      assertEquals((await c.request()).method, "fourth");
    },
  ),
  ...client(
    "WI2.2",
    "a call whose deadline has passed occupies the window until its reply",
    async (c) => {
      await c.exchangeHello({ calls: 1 });
      await c.script({ do: "call", method: "late", timeout: 50 }, ...many(1));
      const { id } = await c.request("late");
      await c.pace.lapse(60);
      await c.expect(KIND.CANCEL);
      await c.silence();
      await c.send(reply(id));
      await c.request("m");
    },
  ),
  ...client(
    "WI2.5",
    "an aborted call occupies its bytes of the window until its reply",
    async (c) => {
      // Room for the first large call and the gate, not for two large ones.
      await c.exchangeHello({ bytes: 2100 });
      await c.script(
        { do: "call", method: "big", bytes: 1000 },
        { do: "call", method: "gate" },
        { do: "await", call: 2 },
        { do: "abort", call: 1 },
        { do: "call", method: "next", bytes: 1200 },
      );
      const [big, gate] = await c.requests(2);
      await c.send(reply(gate.id));
      assertEquals((await c.expect(KIND.CANCEL)).id, big.id);
      await c.silence();
      await c.send(reply(big.id));
      await c.request("next");
    },
  ),
  ...client(
    "WI2.6",
    "a call whose deadline has passed occupies its bytes of the window until its reply",
    async (c) => {
      await c.exchangeHello({ bytes: 2100 });
      await c.script(
        { do: "call", method: "late", bytes: 1000, timeout: 50 },
        { do: "call", method: "next", bytes: 1200 },
      );
      const { id } = await c.request("late");
      await c.pace.lapse(60);
      await c.expect(KIND.CANCEL);
      await c.silence();
      await c.send(reply(id));
      await c.request("next");
    },
  ),
  ...client(
    "WI4.1",
    "a call aborted before it is sent soon frees the window",
    async (c) => {
      await c.exchangeHello({ calls: 2 });
      await c.script(
        { do: "call", method: "taken back" },
        { do: "abort", call: 1 },
        ...many(2),
      );
      const first = await c.request();
      if (first.method !== "m") throw new Skipped(WRITTEN);
      await c.request("m");
      await c.silence();
    },
  ),
];

const callees = [
  ...server(
    "WI2.3",
    "cancelled calls occupy the window while they run",
    async (s) => {
      await s.exchangeHello();
      const ids = await fillBytes(s);
      // They must have started; one that has not is answered, and frees its place.
      await s.silence();
      await s.send(...ids.map((id) => frame(KIND.CANCEL, id)));
      await s.alive();
      await s.go("Echo.echo");
      await s.closes("resource_exhausted");
    },
  ),
  ...server(
    "WI2.4",
    "calls whose deadline has passed occupy the window while they run",
    async (s) => {
      await s.exchangeHello();
      const { bytes } = granted(s);
      const most = Math.max(65_536, s.hello.maxMessage) + 12;
      if (bytes > 2 * most || await s.running() < 2) {
        throw new Skipped("a window of more than two messages");
      }
      await s.serves();
      const parts = { deadline: 300 };
      const base =
        request(1, "Conformance.hold", new Uint8Array(0), parts).length;
      for (const size of [bytes >> 1, bytes - (bytes >> 1)]) {
        await s.go("Conformance.hold", new Uint8Array(size - base), parts);
      }
      await s.silence();
      await s.pace.lapse(310);
      await s.silence();
      await s.go("Echo.echo");
      await s.closes("resource_exhausted");
    },
  ),
  ...server(
    "WI3.1",
    "one call more than the window: closes, resource_exhausted",
    async (s) => {
      await s.exchangeHello();
      const { calls } = granted(s);
      const holds = Array.from(
        { length: calls + 1 },
        () => s.make("Conformance.hold"),
      );
      await s.send(...holds);
      const ids = Array.from({ length: calls }, (_, i) => i + 1);
      s.checkAnswered(await s.closes("resource_exhausted"), ids);
    },
  ),
  ...server("WI3.2", "exactly the window of calls is accepted", async (s) => {
    await s.exchangeHello();
    const { calls } = granted(s);
    await s.send(
      ...Array.from({ length: calls }, () => s.make("Conformance.hold")),
    );
    await s.alive();
  }),
  ...server(
    "WI3.3",
    "one byte more than the window: closes, resource_exhausted",
    async (s) => {
      await s.exchangeHello();
      await fillBytes(s);
      await s.send(request(s.lastId + 1, ""));
      await s.closes("resource_exhausted");
    },
  ),
  ...server("WI3.4", "exactly the window of bytes is accepted", async (s) => {
    await s.exchangeHello();
    await fillBytes(s);
    await s.alive();
  }),
  ...server(
    "WI3.5",
    "a reply frees the window, which may be filled again and again",
    async (s) => {
      await s.exchangeHello();
      const { calls } = granted(s);
      for (let round = 0; round < 3; round++) {
        const batch = Array.from({ length: calls }, () => s.make("Echo.echo"));
        await s.send(...batch);
        for (const _ of batch) await s.answer();
      }
    },
  ),
  ...server("WI3.6", "refused calls free theirs as well", async (s) => {
    await s.exchangeHello();
    const { calls } = granted(s);
    for (let round = 0; round < 3; round++) {
      const batch = Array.from({ length: calls }, () => s.make("no.such"));
      await s.send(...batch);
      for (const _ of batch) await s.answer();
    }
  }),
  ...server("WI4.2", "PADs take no place", async (s) => {
    await s.exchangeHello();
    const { calls } = granted(s);
    const body = request(1, "Conformance.hold").subarray(12);
    const pads = Array.from(
      { length: 100 },
      (_, i) => frame(KIND.PAD, i, body),
    );
    for (let sent = 0; sent <= calls; sent += 100) await s.send(...pads);
    await s.serves();
  }),
  ...server(
    "WI5.1",
    "calls past the server's GOAWAY take no place",
    async (s) => {
      await s.exchangeHello();
      const { calls } = granted(s);
      await s.go("Conformance.hold");
      await s.drains(false);
      for (let i = 0; i < calls + 10; i += 100) {
        const batch = Array.from({ length: 100 }, () => s.make("Echo.echo"));
        await s.send(...batch);
      }
      assertEquals(await s.alive(), []);
    },
  ),
];

/** Bytes of calls that any HELLO of the suite leaves room for. */
const BYTES = 16 << 20;

/** WINDOW frames that break a rule. The suite's HELLO states a maxMessage of 4 MiB. */
const ILLEGAL: [string, Uint8Array][] = [
  ["a first WINDOW with number 2", window(2, 10)],
  ["a first WINDOW with number 0", window(0, 10)],
  ["a number twice", join(window(1, 10), window(1, 10))],
  ["a WINDOW before the ACK", join(window(1, 10), window(2, 10))],
  ["a WINDOW of more than 2^24 calls", window(1, (1 << 24) + 1)],
  ["a WINDOW without room for a message", window(1, 10, (4 << 20) + 11)],
  ["a WINDOW of 7 bytes", frame(KIND.WINDOW, 1, [0, 0, 0, 9, 1, 0, 0])],
  ["a WINDOW of 9 bytes", frame(KIND.WINDOW, 1, [0, 0, 0, 9, 1, 0, 0, 0, 0])],
  [
    "an unknown flag on WINDOW",
    frame(KIND.WINDOW, 1, [0, 0, 0, 9, 1, 0, 0, 0], 2),
  ],
  ["an ACK of nothing", window(1, 10, BYTES, true)],
];

/** Makes a server send its first WINDOW; returns its number of calls. */
async function moved(
  s: ServerSession,
  to: number | ((granted: number) => number),
): Promise<number> {
  await s.exchangeHello({ windows: true });
  const before = granted(s).calls;
  const calls = typeof to === "number" ? to : to(before);
  const id = await s.go("Conformance.window", calls);
  // In either order.
  const got = [await s.wire.next(), await s.wire.next()];
  const answer = got.find((f) => f?.kind !== KIND.WINDOW);
  if (answer?.kind === KIND.ERROR) {
    throw new Skipped("the server does not offer Conformance.window");
  }
  assertEquals([answer?.kind, answer?.id], [KIND.REPLY, id]);
  const update = readWindow(got.find((f) => f?.kind === KIND.WINDOW)!);
  assertEquals([update.id, update.calls, update.ack], [1, calls, false]);
  return calls;
}

const moving = [
  ...either("WI6.1", "a WINDOW is confirmed with its values", async (end) => {
    await end.exchangeHello();
    end.needWindows();
    for (const [id, calls, bytes] of [[1, 7, BYTES], [2, 0, 0xffffffff]]) {
      await end.send(window(id, calls, bytes));
      assertEquals(await end.window(), { id, calls, bytes, ack: true });
    }
    await end.alive();
  }),
  ...rows(
    "WI6",
    2,
    ILLEGAL,
    (id, [what, bytes]) =>
      either(id, `${what}: closes, protocol_error`, async (end) => {
        await end.exchangeHello();
        end.needWindows();
        await end.send(bytes);
        await end.closes("protocol_error");
      }),
  ),
  ...either(
    "WI6.21",
    "a WINDOW of a peer that serves nothing: closes",
    async (end) => {
      await end.send(hello({ calls: 0 }), window(1, 1));
      await end.readHello();
      end.needWindows();
      await end.closes("protocol_error");
    },
  ),
  ...client(
    "WI7.1",
    "a lowered window: confirmed, and no call until they fit",
    async (c) => {
      await c.exchangeHello({ calls: 3 });
      c.needWindows();
      await c.script(...many(6));
      const sent = await c.requests(3);
      await c.send(window(1, 1));
      assertEquals((await c.window()).ack, true);
      await c.send(reply(sent[0].id), reply(sent[1].id));
      await c.silence();
      await c.send(reply(sent[2].id));
      await c.requests(1);
      await c.silence();
    },
  ),
  ...client(
    "WI7.2",
    "with a window of 0 calls they wait, and go on when it is raised",
    async (c) => {
      await c.exchangeHello({ calls: 1 });
      c.needWindows();
      await c.script(...many(3));
      const { id } = await c.request();
      await c.send(window(1, 0), reply(id));
      assertEquals((await c.window()).ack, true);
      await c.silence();
      await c.send(window(2, 2));
      assertEquals((await c.window()).ack, true);
      await c.requests(2);
    },
  ),
  ...client("WI7.3", "a raised window lets waiting calls go", async (c) => {
    await c.exchangeHello({ calls: 1 });
    c.needWindows();
    await c.script(...many(4));
    await c.requests(1);
    await c.send(window(1, 3));
    assertEquals((await c.window()).ack, true);
    await c.requests(2);
    await c.silence();
  }),
  ...server(
    "WI9.1",
    "a lowered window: what HELLO granted is accepted until the ACK",
    async (s) => {
      await moved(s, 1);
      const { calls } = granted(s);
      const holds = Array.from(
        { length: calls },
        () => s.make("Conformance.hold"),
      );
      await s.send(...holds, window(1, 1, s.hello.bytes, true));
      await s.alive();
    },
  ),
  ...server(
    "WI9.2",
    "a lowered window holds after the ACK: closes, resource_exhausted",
    async (s) => {
      await moved(s, 1);
      await s.send(window(1, 1, s.hello.bytes, true));
      await s.send(s.make("Conformance.hold"), s.make("Conformance.hold"));
      await s.closes("resource_exhausted");
    },
  ),
  ...server(
    "WI9.3",
    "a raised window is accepted to its last call",
    async (s) => {
      const calls = await moved(s, (before) => before + 50);
      const hold = request(1, "Conformance.hold").length;
      if (calls * hold > s.hello.bytes) throw new Skipped("few bytes of calls");
      await s.send(window(1, calls, s.hello.bytes, true));
      const holds = Array.from(
        { length: calls },
        () => s.make("Conformance.hold"),
      );
      await s.send(...holds);
      await s.alive();
      await s.go("Conformance.hold");
      await s.closes("resource_exhausted");
    },
  ),
  ...rows(
    "WI8",
    1,
    [
      ["another number", [2, 1, 0]],
      ["other calls", [1, 2, 0]],
      ["other bytes", [1, 1, 1]],
    ] as const,
    (id, [what, [n, calls, more]]) =>
      server(id, `an ACK of ${what}: closes, protocol_error`, async (s) => {
        await moved(s, 1);
        await s.send(window(n, calls, s.hello.bytes + more, true));
        await s.closes("protocol_error");
      }),
  ),
];

export const windows: Section = [...callers, ...callees, ...moving];
