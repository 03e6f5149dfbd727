/** Sections 11 and 12 of docs/protocol.md: deadlines and PING. */

import { assert, assertEquals } from "@std/assert";
import { frame, KIND, reply } from "../bytes.ts";
import { client, either, rows, type Section, server } from "../case.ts";
import { Skipped } from "../session.ts";
import { empty, fillRunning } from "./busy.ts";

export const deadlines: Section = [
  ...server(
    "DL1.1",
    "the handler gets the remaining time, and no more",
    async (s) => {
      await s.exchangeHello();
      const got = await s.call("Conformance.remaining", undefined, {
        deadline: 60_000,
      });
      const left = got.value as number;
      assert(left > 0 && left <= 60_000, `${left} ms`);
    },
  ),
  ...server("DL1.2", "the longest deadline is accepted", async (s) => {
    await s.exchangeHello();
    const parts = { deadline: 2 ** 32 - 1 };
    const left =
      (await s.call("Conformance.remaining", undefined, parts)).value;
    assert((left as number) > 2 ** 31);
  }),
  ...server("DL1.3", "without the flag there is no deadline", async (s) => {
    await s.exchangeHello();
    assertEquals((await s.call("Conformance.remaining")).value, null);
  }),
  ...server(
    "DL2.1",
    "a deadline of 0: deadline_exceeded, never started",
    async (s) => {
      await s.exchangeHello();
      const got = await s.call("Conformance.note", "late", { deadline: 0 });
      assertEquals([got.code, got.started], ["deadline_exceeded", false]);
      assertEquals(await s.started(), []);
    },
  ),
  ...server(
    "DL2.2",
    "a deadline that passes before the start: deadline_exceeded, never started",
    async (s) => {
      await s.exchangeHello();
      const busy = await fillRunning(s);
      const id = await s.go("Conformance.note", "late", { deadline: 300 });
      await s.silence();
      await s.pace.lapse(310);
      const { code, started } = await s.answer(id);
      assertEquals([code, started], ["deadline_exceeded", false]);
      await empty(s, busy);
      assertEquals(await s.started(), busy.map(() => "busy"));
    },
  ),
  ...server("DL2.3", "a late call among others fails alone", async (s) => {
    await s.exchangeHello();
    await s.send(
      s.make("Echo.echo", 1),
      s.make("Echo.echo", 2, { deadline: 0 }),
      s.make("Echo.echo", 3, { deadline: 60_000 }),
    );
    const answers = [await s.answer(), await s.answer(), await s.answer()];
    answers.sort((a, b) => a.id - b.id);
    assertEquals(answers.map(({ ok }) => ok), [true, false, true]);
  }),
  ...server(
    "DL3.1",
    "a deadline that passes while the handler runs fires its signal",
    async (s) => {
      await s.exchangeHello();
      const id = await s.go("Conformance.wait", undefined, { deadline: 300 });
      await s.silence();
      await s.pace.lapse(310);
      const got = await s.answer(id);
      assertEquals([got.code, got.started], ["told", true]);
    },
  ),
  ...server(
    "DL3.2",
    "the reply after a deadline waits for the end of the handler",
    async (s) => {
      await s.exchangeHello();
      const held = await s.go("Conformance.hold", undefined, { deadline: 300 });
      await s.silence();
      await s.pace.lapse(310);
      await s.silence();
      await s.go("Conformance.release");
      const answers = [await s.answer(), await s.answer()];
      assert(answers.find(({ id }) => id === held)?.ok);
    },
  ),
  ...client(
    "DL4.1",
    "a client whose own deadline passes sends CANCEL",
    async (c) => {
      await c.exchangeHello();
      await c.script({ do: "call", method: "m", timeout: 50 });
      const { id } = await c.request();
      await c.pace.lapse(60);
      assertEquals((await c.expect(KIND.CANCEL)).id, id);
      const { outcome, code } = (await c.report()).calls[1];
      assertEquals([outcome, code], ["unknown", "deadline_exceeded"]);
    },
  ),
  ...client(
    "DL4.2",
    "the deadline is sent as the remaining time",
    async (c) => {
      await c.exchangeHello();
      await c.script({ do: "call", method: "m", timeout: 30_000 });
      const left = (await c.request()).remaining;
      if (left === undefined) throw new Skipped("the client sends no deadline");
      assert(left > 0 && left <= 30_000, `${left} ms`);
    },
  ),
  ...client(
    "DL4.3",
    "a call whose deadline has passed accepts one reply",
    async (c) => {
      await c.exchangeHello();
      await c.script({ do: "call", method: "m", timeout: 50 });
      const { id } = await c.request();
      await c.pace.lapse(60);
      await c.expect(KIND.CANCEL);
      await c.send(reply(id));
      await c.alive();
      assertEquals((await c.report()).calls[1].outcome, "executed");
    },
  ),
];

export const pings: Section = [
  ...rows(
    "PP1",
    1,
    [0, 1, 2 ** 31, 2 ** 32 - 1],
    (id, ping) =>
      either(id, `a PING of id ${ping} comes back`, async (end) => {
        await end.exchangeHello();
        await end.alive();
        await end.send(frame(KIND.PING, ping));
        assertEquals((await end.expect(KIND.PONG)).id, ping);
      }),
  ),
  ...either(
    "PP1.11",
    "of 1,000 PINGs in a chunk the last gets a PONG, and none gets two",
    async (end) => {
      await end.exchangeHello();
      await end.alive();
      await end.send(
        ...Array.from({ length: 1000 }, (_, i) => frame(KIND.PING, i)),
      );
      const ids: number[] = [];
      do {
        ids.push((await end.expect(KIND.PONG)).id);
      } while (ids.at(-1) !== 999);
      assertEquals(new Set(ids).size, ids.length);
      await end.silence();
    },
  ),
  ...server(
    "PP1.12",
    "PINGs are answered while calls run and wait",
    async (s) => {
      await s.exchangeHello();
      for (let i = 0; i < 60; i++) await s.go("Conformance.hold");
      await s.alive();
    },
  ),
  ...either("PP2.1", "a PONG without a PING is ignored", async (end) => {
    await end.exchangeHello();
    await end.send(frame(KIND.PONG, 1), frame(KIND.PONG, 1), frame(KIND.PONG));
    await end.alive();
  }),
  ...either("PP2.2", "1,000 PONGs are ignored", async (end) => {
    await end.exchangeHello();
    await end.send(
      ...Array.from({ length: 1000 }, (_, i) => frame(KIND.PONG, i)),
    );
    await end.alive();
  }),
];
