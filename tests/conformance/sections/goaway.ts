/** Section 13 of docs/protocol.md: GOAWAY. */

import { assert, assertEquals } from "@std/assert";
import {
  failure,
  frame,
  goaway,
  join,
  KIND,
  last,
  readGoaway,
  readRequest,
  reply,
  request,
  warning,
} from "../bytes.ts";
import {
  client,
  closes,
  closesUngreeted,
  either,
  rows,
  type Section,
  server,
} from "../case.ts";
import { inFlight, outcomes } from "./flight.ts";

export const goaways: Section = [
  ...server("GA1.1", "GOAWAY names the last call accepted", async (s) => {
    await s.exchangeHello();
    await s.call("Echo.echo");
    const { lastId, code } = await s.drains();
    assertEquals([lastId, code], [s.lastId, ""]);
  }),
  ...server(
    "GA1.2",
    "calls after a GOAWAY get no reply, those before it do",
    async (s) => {
      await s.exchangeHello();
      const held = await s.go("Conformance.wait");
      await s.drains(false);
      await s.send(
        s.make("Echo.echo"),
        s.make("no.such"),
        frame(KIND.CANCEL, held),
      );
      assertEquals((await s.answer(held)).code, "told");
      await s.wire.fin();
      assertEquals(await s.wire.rest(), []);
    },
  ),
  ...server(
    "GA1.3",
    "the ids of calls after a GOAWAY must increase, too",
    async (s) => {
      await s.exchangeHello();
      await s.go("Conformance.hold");
      await s.drains(false);
      await s.send(request(1, "Echo.echo"));
      await s.closes("protocol_error");
    },
  ),
  ...server(
    "GA1.4",
    "the GOAWAY to a peer that made no call says NONE",
    async (s) => {
      await s.exchangeHello();
      await s.send(frame(0x7f));
      assertEquals((await s.closes("protocol_error")).lastId, undefined);
    },
  ),
  ...client(
    "GA2.1",
    "calls after the id of a GOAWAY are refused, the others continue",
    async (c) => {
      const ids = await inFlight(c, 4);
      await c.send(goaway(ids[1]));
      await c.send(reply(ids[0]), reply(ids[1]));
      await c.leave();
      assertEquals(await outcomes(c), [
        "executed",
        "executed",
        "refused",
        "refused",
      ]);
    },
  ),
  ...client("GA2.2", "a GOAWAY with NONE refuses all calls", async (c) => {
    await inFlight(c, 3);
    await c.send(goaway(undefined));
    await c.leave();
    assertEquals(await outcomes(c), ["refused", "refused", "refused"]);
  }),
  ...client(
    "GA2.3",
    "a GOAWAY with an id before the first call refuses all calls",
    async (c) => {
      await c.exchangeHello();
      await c.send(goaway((c.nextId - 1) >>> 0));
      await c.leave();
      assertEquals((await c.report()).calls[0].outcome, "refused");
    },
  ),
  ...client(
    "GA2.4",
    "a GOAWAY with an id after the last call refuses none",
    async (c) => {
      const ids = await inFlight(c, 2);
      await c.send(goaway((ids[1] + 1000) >>> 0));
      await c.send(reply(ids[0]), reply(ids[1]));
      await c.leave();
      assertEquals(await outcomes(c), ["executed", "executed"]);
    },
  ),
  ...client(
    "GA2.5",
    "a REPLY to a call that a GOAWAY refused: closes",
    async (c) => {
      const ids = await inFlight(c, 2);
      await c.send(goaway(ids[0]), reply(ids[1]));
      await c.closes("protocol_error");
      assertEquals((await outcomes(c))[1], "refused");
    },
  ),
  ...client(
    "GA2.6",
    "an ERROR to a call that a GOAWAY refused: closes",
    async (c) => {
      const ids = await inFlight(c, 2);
      await c.send(goaway(ids[0]), failure(ids[1], "internal", "", true));
      await c.closes("protocol_error");
      assertEquals((await outcomes(c))[1], "refused");
    },
  ),
  ...client(
    "GA3.1",
    "no REQUEST follows a GOAWAY; waiting calls are not sent",
    async (c) => {
      await c.exchangeHello({ calls: 1 });
      await c.script(
        { do: "call", method: "gate" },
        { do: "call", method: "waits" },
        { do: "await", call: 1 },
        { do: "call", method: "late" },
      );
      const { id } = await c.request("gate");
      await c.send(goaway(id), reply(id));
      const kinds = (await c.leave()).map(({ kind }) => kind);
      assert(!kinds.includes(KIND.REQUEST));
      assertEquals(await outcomes(c), ["executed", "not_sent", "not_sent"]);
    },
  ),
  ...server(
    "GA4.1",
    "a peer that has sent GOAWAY may still call",
    async (s) => {
      await s.exchangeHello();
      await s.send(goaway(undefined));
      await s.alive();
      assertEquals((await s.call("Echo.echo", "still")).value, "still");
    },
  ),
  ...server(
    "GA4.2",
    "running calls continue after the peer's GOAWAY",
    async (s) => {
      await s.exchangeHello();
      const held = await s.go("Conformance.hold");
      await s.send(goaway(undefined));
      await s.go("Conformance.release");
      const answers = [await s.answer(), await s.answer()];
      assert(answers.find(({ id }) => id === held)?.ok);
    },
  ),
  ...rows(
    "GA5",
    1,
    [
      ["the same id again", [3, 3]],
      ["a lower id", [3, 2]],
      ["NONE behind an id", [3, undefined]],
      ["NONE twice", [undefined, undefined]],
    ] as [string, (number | undefined)[]][],
    (id, [what, list]) =>
      client(id, `${what}: taken`, async (c) => {
        const ids = await inFlight(c, 4);
        const at = (n?: number) => n === undefined ? undefined : ids[n - 1];
        await c.send(...list.map((n) => goaway(at(n))));
        const left = list.at(-1);
        if (left !== undefined) {
          // Those up to the least id are still in flight.
          await c.alive();
          await c.send(...ids.slice(0, left).map((n) => reply(n)));
        }
        const rest = await c.leave();
        assert(
          rest.every((f) =>
            f.kind !== KIND.GOAWAY || readGoaway(f).code === ""
          ),
        );
      }),
  ),
  ...rows(
    "GA5",
    11,
    [
      ["a higher id", [2, 3]],
      ["a higher id behind a lower one", [3, 1, 2]],
      ["an id behind NONE", [undefined, 1]],
    ] as [string, (number | undefined)[]][],
    (id, [what, list]) =>
      client(id, `${what}: closes, protocol_error`, async (c) => {
        const ids = await inFlight(c, 4);
        const at = (n?: number) => n === undefined ? undefined : ids[n - 1];
        await c.send(...list.map((n) => goaway(at(n))));
        await c.closes("protocol_error");
      }),
  ),
  ...server(
    "GA5.21",
    "a GOAWAY with an id after one with NONE, to a side that never called: closes",
    async (s) => {
      await s.exchangeHello();
      await s.go("Conformance.hold");
      await s.send(goaway(undefined), goaway(5));
      await s.closes("protocol_error");
    },
  ),
  ...server(
    "GA8.1",
    "a warning excludes nothing: calls behind it are served until LAST",
    async (s) => {
      await s.exchangeHello();
      await s.warns();
      for (let i = 0; i < 5; i++) {
        assertEquals((await s.call("Echo.echo", i)).value, i);
      }
      await s.send(last());
      const { lastId, code } = readGoaway(await s.expect(KIND.GOAWAY));
      assertEquals([lastId, code], [s.lastId, ""]);
      assertEquals(await s.wire.next(), undefined);
    },
  ),
  ...server(
    "GA8.2",
    "a peer that sends no LAST receives the GOAWAY after a while",
    async (s) => {
      await s.exchangeHello();
      await s.warns();
      assertEquals((await s.call("Echo.echo", 1)).value, 1);
      await s.pace.lapse(2000);
      const { lastId, code } = readGoaway(await s.expect(KIND.GOAWAY));
      assertEquals([lastId, code], [s.lastId, ""]);
      assertEquals(await s.wire.next(), undefined);
    },
  ),
  ...server(
    "GA8.3",
    "after a warning, FIN in place of LAST: the calls get replies",
    async (s) => {
      await s.exchangeHello();
      await s.warns();
      await s.send(s.make("Echo.echo", "late"), goaway(undefined));
      await s.wire.fin();
      assertEquals((await s.answer()).value, "late");
      const rest = await s.wire.rest();
      assert(rest.every(({ kind }) => kind === KIND.GOAWAY));
    },
  ),
  ...client(
    "GA7.1",
    "after a warning the calls in flight go on, and no new one is sent",
    async (c) => {
      const ids = await inFlight(c, 3);
      await c.send(warning(), ...ids.map((id) => reply(id)));
      const kinds = (await c.alive()).map(({ kind }) => kind);
      assert(!kinds.includes(KIND.REQUEST));
      await c.send(goaway(ids[2]));
      await c.leave();
      assertEquals(await outcomes(c), ["executed", "executed", "executed"]);
    },
  ),
  ...client(
    "GA7.2",
    "a call that waits is sent after a warning, or not at all; LAST follows it",
    async (c) => {
      await c.exchangeHello({ calls: 1 });
      await c.script(
        { do: "call", method: "first" },
        { do: "call", method: "waits" },
        { do: "await", call: 1 },
        { do: "call", method: "late" },
      );
      const { id } = await c.request("first");
      await c.send(warning(), reply(id));
      const frames = await c.alive();
      // The PONG may overtake them.
      await c.pace.quiet();
      frames.push(...await c.alive());
      const methods: string[] = [];
      let saidLast = false;
      for (const frame of frames) {
        if (frame.kind === KIND.LAST) saidLast = true;
        if (frame.kind !== KIND.REQUEST) continue;
        assert(!saidLast, "a REQUEST after LAST");
        const made = readRequest(frame);
        methods.push(made.method);
        await c.send(reply(made.id));
      }
      assert(!methods.includes("late"));
      await c.alive();
      await c.send(goaway((id + 10) >>> 0));
      await c.leave();
      const sent = methods.includes("waits") ? "executed" : "not_sent";
      assertEquals(await outcomes(c), ["executed", sent, "not_sent"]);
    },
  ),
  ...either("GA7.3", "a warning twice is taken", async (end) => {
    await end.exchangeHello();
    await end.send(warning(), warning());
    await end.alive();
  }),
  ...closes(
    "GA7.4",
    "a warning behind a GOAWAY",
    join(goaway(undefined), warning()),
  ),
  ...closes(
    "GA7.5",
    "WARNING and NONE together",
    frame(KIND.GOAWAY, 0, [0, 0, 0], 3),
  ),
  ...closes(
    "GA7.6",
    "a warning with a code",
    frame(KIND.GOAWAY, 0, [1, 0x61, 0, 0], 2),
  ),
  ...either(
    "GA7.7",
    "a FIN after a warning alone is a loss: the side sends FIN, too",
    async (end) => {
      await end.exchangeHello();
      await end.send(warning());
      await end.wire.fin();
      await end.wire.rest();
    },
  ),
  ...server("LA2.1", "LAST ends no call, and nothing else", async (s) => {
    await s.exchangeHello();
    const held = await s.go("Conformance.wait");
    await s.send(last());
    await s.alive();
    await s.send(frame(KIND.CANCEL, held));
    assertEquals((await s.answer(held)).code, "told");
    await s.alive();
  }),
  ...either("LA1.1", "LAST twice is taken", async (end) => {
    await end.exchangeHello();
    await end.send(last(), last());
    await end.alive();
  }),
  ...server("LA1.2", "a REQUEST after LAST: closes", async (s) => {
    await s.exchangeHello();
    await s.send(last(), s.make("Echo.echo"));
    await s.closes("protocol_error");
  }),
  ...closesUngreeted("LA1.3", "LAST before HELLO", last()),
  ...either(
    "LA3.1",
    "LAST with ALL is a FIN: the side sends FIN, too",
    async (end) => {
      await end.exchangeHello();
      await end.send(last(true));
      const rest = await end.wire.rest();
      assert(rest.every(({ kind }) => kind !== KIND.REPLY));
    },
  ),
  ...server(
    "LA3.2",
    "calls, GOAWAY and LAST with ALL: the calls get replies",
    async (s) => {
      await s.exchangeHello();
      const calls = Array.from(
        { length: 30 },
        (_, i) => s.make("Echo.echo", i),
      );
      await s.send(...calls, goaway(undefined), last(true));
      for (const _ of calls) assert((await s.answer()).ok);
      const rest = await s.wire.rest();
      assert(rest.every(({ kind }) => kind === KIND.GOAWAY));
    },
  ),
  ...server(
    "LA3.3",
    "what follows LAST with ALL is discarded",
    async (s) => {
      await s.exchangeHello();
      await s.send(
        s.make("Echo.echo", "whole"),
        goaway(undefined),
        last(true),
        s.make("Echo.echo", "late"),
        Uint8Array.of(255, 255, 255),
      );
      assertEquals((await s.answer(1)).value, "whole");
      const rest = await s.wire.rest();
      assert(rest.every(({ kind }) => kind === KIND.GOAWAY));
    },
  ),
  ...client(
    "LA3.4",
    "the outcome of calls after a GOAWAY and LAST with ALL is unknown",
    async (c) => {
      const ids = await inFlight(c, 3);
      await c.send(goaway(ids[1]), reply(ids[0]), last(true));
      await c.wire.rest();
      assertEquals(await outcomes(c), ["executed", "unknown", "refused"]);
    },
  ),
];
