/** Section 13 of docs/protocol.md: GOAWAY. */

import { assert, assertEquals } from "@std/assert";
import {
  failure,
  frame,
  goaway,
  KIND,
  readGoaway,
  reply,
  request,
} from "../bytes.ts";
import { client, rows, type Section, server } from "../case.ts";
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
      await s.drains();
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
      await s.drains();
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
];
