/** Sections 15 and 16 of docs/protocol.md: ending, faults. */

import { assert, assertEquals } from "@std/assert";
import {
  errorBody,
  frame,
  goaway,
  hello,
  KIND,
  PAYLOAD,
  readAnswer,
  readGoaway,
  reply,
} from "../bytes.ts";
import { client, either, rows, type Section, server } from "../case.ts";
import type { Session } from "../session.ts";
import { inFlight, outcomes } from "./flight.ts";

export const endings: Section = [
  ...server(
    "EN1.1",
    "a server that closes gracefully replies to the calls that it has accepted",
    async (s) => {
      await s.exchangeHello();
      const held = await s.go("Conformance.wait");
      const { code } = await s.drains();
      assertEquals(code, "");
      await s.silence();
      await s.send(frame(KIND.CANCEL, held));
      assertEquals((await s.answer(held)).code, "told");
      assertEquals(await s.wire.next(), undefined);
    },
  ),
  ...client(
    "EN1.2",
    "a client that closes gracefully waits for its replies",
    async (c) => {
      await c.exchangeHello();
      await c.script({ do: "call", method: "m" }, { do: "close" });
      const { id } = await c.request();
      const { code, lastId } = readGoaway(await c.expect(KIND.GOAWAY));
      assertEquals([code, lastId], ["", undefined]);
      await c.silence();
      assert(!c.wire.ended, "it ended before its answer");
      await c.send(reply(id, "in time"));
      assertEquals(await c.wire.next(), undefined);
      const { calls, closed } = await c.report();
      assertEquals([calls[1].value, closed], ["in time", null]);
    },
  ),
  ...client(
    "EN1.3",
    "a client that closes gracefully with nothing in flight ends at once",
    async (c) => {
      await c.exchangeHello();
      await c.script({ do: "close" });
      const frames = await c.wire.rest();
      assertEquals(frames.map(({ kind }) => kind), [KIND.GOAWAY]);
    },
  ),
  ...client(
    "EN1.4",
    "calls that wait for the window are sent before a graceful close ends",
    async (c) => {
      await c.exchangeHello({ calls: 1 });
      await c.script(
        { do: "call", method: "first" },
        { do: "call", method: "second" },
        { do: "close" },
      );
      await c.send(reply((await c.request("first")).id));
      await c.expect(KIND.GOAWAY);
      await c.send(reply((await c.request("second")).id));
      assertEquals(await c.wire.next(), undefined);
      assertEquals(await outcomes(c), ["executed", "executed"]);
    },
  ),
  ...client("EN2.1", "a client sends GOAWAY before its FIN", async (c) => {
    await c.exchangeHello();
    await c.script({ do: "close" });
    assertEquals((await c.wire.rest()).at(-1)?.kind, KIND.GOAWAY);
  }),
  ...server("EN2.2", "a server sends GOAWAY before its FIN", async (s) => {
    await s.exchangeHello();
    await s.drains();
    assertEquals(await s.wire.next(), undefined);
  }),
  ...server(
    "EN3.1",
    "a peer that has sent GOAWAY and FIN gets its replies",
    async (s) => {
      await s.exchangeHello();
      // Ends by its deadline: nobody is left to end it otherwise.
      const id = await s.go("Conformance.wait", undefined, { deadline: 200 });
      await s.send(goaway(undefined));
      await s.wire.fin();
      await s.pace.quiet();
      assert(!s.wire.ended, "it ended before its answer");
      await s.pace.lapse(210);
      assertEquals((await s.answer(id)).code, "told");
      const rest = await s.wire.rest();
      assert(rest.every(({ kind }) => kind === KIND.GOAWAY));
    },
  ),
  ...server(
    "EN3.2",
    "calls, GOAWAY and FIN in one chunk: the calls get replies",
    async (s) => {
      await s.exchangeHello();
      const calls = Array.from(
        { length: 30 },
        (_, i) => s.make("Echo.echo", i),
      );
      await s.send(...calls, goaway(undefined));
      await s.wire.fin();
      for (const _ of calls) assert((await s.answer()).ok);
      const rest = await s.wire.rest();
      assert(rest.every(({ kind }) => kind === KIND.GOAWAY));
    },
  ),
  ...server(
    "EN3.3",
    "HELLO, call, GOAWAY and FIN in one chunk",
    async (s) => {
      await s.send(hello(), s.make("Echo.echo", "all"), goaway(undefined));
      await s.wire.fin();
      await s.readHello();
      assertEquals((await s.answer(1)).value, "all");
      const rest = await s.wire.rest();
      assert(rest.every(({ kind }) => kind === KIND.GOAWAY));
    },
  ),
  ...client(
    "EN3.4",
    "the outcome of calls after a GOAWAY and FIN is unknown",
    async (c) => {
      const ids = await inFlight(c, 3);
      await c.send(goaway(ids[1]), reply(ids[0]));
      await c.wire.fin();
      await c.wire.rest();
      assertEquals(await outcomes(c), ["executed", "unknown", "refused"]);
    },
  ),
  ...either(
    "EN4.1",
    "a FIN without a GOAWAY: the side sends FIN, too",
    async (end) => {
      await end.exchangeHello();
      await end.wire.fin();
      const rest = await end.wire.rest();
      assert(rest.every(({ kind }) => kind !== KIND.REPLY));
    },
  ),
  ...either(
    "EN4.2",
    "a FIN in place of HELLO: the side sends FIN, too",
    async (end) => {
      await end.wire.fin();
      await end.wire.rest();
    },
  ),
  ...server(
    "EN4.3",
    "replies made before a FIN without a GOAWAY are still written",
    async (s) => {
      await s.exchangeHello();
      await s.send(s.make("Echo.echo", "made"));
      await s.wire.fin();
      assertEquals((await s.answer(1)).value, "made");
    },
  ),
  ...client(
    "EN4.4",
    "the outcome of calls is unknown after a FIN without a GOAWAY",
    async (c) => {
      await inFlight(c, 2);
      await c.wire.fin();
      await c.wire.rest();
      assertEquals(await outcomes(c), ["unknown", "unknown"]);
    },
  ),
  ...rows(
    "EN5",
    1,
    [1, 4, 11],
    (id, size) =>
      either(
        id,
        `a FIN behind ${size} bytes of a header: truncated`,
        async (end) => {
          await end.exchangeHello();
          await end.send(frame(KIND.PING, 1).subarray(0, size));
          await end.wire.fin();
          await end.closes("truncated");
        },
      ),
  ),
  ...rows(
    "EN5",
    11,
    [12, 20, 39],
    (id, size) =>
      either(
        id,
        `a FIN behind ${size} of a frame's 40 bytes: truncated`,
        async (end) => {
          await end.exchangeHello();
          await end.send(
            frame(KIND.REQUEST, 1, new Uint8Array(28)).subarray(0, size),
          );
          await end.wire.fin();
          await end.closes("truncated");
        },
      ),
  ),
  ...either("EN5.21", "a FIN inside a PAD: truncated", async (end) => {
    await end.exchangeHello();
    await end.send(frame(KIND.PAD, 1, new Uint8Array(9)).subarray(0, 15));
    await end.wire.fin();
    await end.closes("truncated");
  }),
  ...either("EN5.22", "a FIN inside HELLO: truncated", async (end) => {
    await end.send(hello().subarray(0, 20));
    await end.wire.fin();
    await end.closes("truncated");
  }),
];

/** Asserts that an end that has sent its FIN still takes what was on its way: a socket closed at once resets, and the reset may overtake the GOAWAY. */
async function readsOn(end: Session): Promise<void> {
  for (let i = 0; i < 4; i++) {
    await end.send(frame(KIND.PAD, 0, new Uint8Array(1000)));
    await end.pace.quiet();
    assert(end.wire.reads, "it closed the connection without lingering");
  }
}

export const faults: Section = [
  ...either(
    "EN6.1",
    "after a fault a side keeps reading, so that its GOAWAY arrives",
    async (end) => {
      await end.exchangeHello();
      await end.send(frame(0x7f));
      const chunk = frame(KIND.PAD, 0, new Uint8Array(50_000));
      for (let i = 0; i < 20; i++) await end.send(chunk);
      await end.closes("protocol_error");
    },
  ),
  ...either(
    "EN6.2",
    "after a fault, its GOAWAY and its FIN a side keeps reading for a while",
    async (end) => {
      await end.exchangeHello();
      await end.send(frame(0x7f));
      await end.closes("protocol_error");
      await readsOn(end);
    },
  ),
  ...client(
    "EN6.3",
    "a client keeps reading after a graceful close",
    async (c) => {
      await c.exchangeHello();
      await c.script({ do: "close" });
      await c.wire.rest();
      await readsOn(c);
    },
  ),
  ...server(
    "EN6.4",
    "a server keeps reading after a graceful close",
    async (s) => {
      await s.exchangeHello();
      await s.drains();
      await s.wire.rest();
      await readsOn(s);
    },
  ),
  ...either(
    "ER1.1",
    "a fault is followed by a GOAWAY with a text, then FIN",
    async (end) => {
      await end.exchangeHello();
      await end.send(frame(0x7f));
      const { text } = await end.closes("protocol_error");
      assert(text.length > 0 && new TextEncoder().encode(text).length <= 4096);
    },
  ),
  ...server("ER1.2", "a fault ends only its own connection", async (s) => {
    await s.exchangeHello();
    const first = s.wire;
    await s.open();
    await s.exchangeHello();
    await s.send(frame(0x7f));
    await s.closes("protocol_error");
    await s.end();
    s.wire = first;
    await s.serves();
  }),
  ...server(
    "ER2.1",
    "calls before a fault are answered or dropped, and GOAWAY says which",
    async (s) => {
      await s.exchangeHello();
      const ids = Array.from({ length: 50 }, (_, i) => i + 1);
      const calls = ids.map((id) => s.make("Echo.echo", id));
      await s.send(...calls, frame(KIND.PING, 0, [1]));
      const closing = await s.closes("protocol_error");
      s.checkAnswered(closing, ids);
      for (const answer of closing.frames.map(readAnswer)) {
        assertEquals(answer.value, answer.id);
      }
    },
  ),
  ...server(
    "ER2.2",
    "calls that run when a fault is found get no reply",
    async (s) => {
      await s.exchangeHello();
      await s.go("Conformance.hold");
      await s.alive();
      await s.send(frame(0x7f));
      const { frames } = await s.closes("protocol_error");
      assertEquals(frames, []);
    },
  ),
  ...client(
    "ER2.3",
    "the outcome of a client's calls is unknown after a fault",
    async (c) => {
      const ids = await inFlight(c, 2);
      await c.send(reply(ids[0]), frame(0x7f));
      await c.closes("protocol_error");
      assertEquals(await outcomes(c), ["executed", "unknown"]);
    },
  ),
  ...rows(
    "ER3",
    1,
    ["", "internal", "unavailable", "a_code_nobody_knows", "c".repeat(64)],
    (id, code) =>
      either(
        id,
        `a GOAWAY of code "${code.slice(0, 20)}" is taken`,
        async (end) => {
          await end.exchangeHello();
          await end.send(goaway(undefined, code, "said"));
          await end.wire.fin();
          const rest = await end.wire.rest();
          const faults = rest.filter((f) =>
            f.kind === KIND.GOAWAY && readGoaway(f).code === "protocol_error"
          );
          assertEquals(faults, []);
        },
      ),
  ),
  ...either(
    "ER3.11",
    "a GOAWAY with a text of 4,096 bytes is accepted",
    async (end) => {
      await end.exchangeHello();
      await end.send(
        frame(KIND.GOAWAY, 0, errorBody("c", "t".repeat(4096), []), 1),
      );
      await end.wire.fin();
      const rest = await end.wire.rest();
      assert(
        rest.every((f) =>
          f.kind !== KIND.GOAWAY || readGoaway(f).code !== "protocol_error"
        ),
      );
    },
  ),
  ...server(
    "ER1.3",
    "no stack, path or internal message of the server is disclosed",
    async (s) => {
      await s.exchangeHello();
      const got = await s.call("Conformance.fail");
      assert(!/secret|at |\.ts|\//.test(got.message), got.message);
      assertEquals(got.kind, PAYLOAD.NONE);
    },
  ),
];
