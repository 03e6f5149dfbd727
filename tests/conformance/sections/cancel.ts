/** Section 10 of docs/protocol.md: CANCEL. */

import { assert, assertEquals } from "@std/assert";
import { frame, KIND, readAnswer, reply, request } from "../bytes.ts";
import { client, closes, type Section, server } from "../case.ts";
import { Skipped } from "../session.ts";
import type { RawFrame } from "../wire.ts";
import { empty, fillRunning } from "./busy.ts";

function cancel(id: number): Uint8Array {
  return frame(KIND.CANCEL, id);
}

function kinds(frames: readonly RawFrame[]): number[] {
  return frames.map(({ kind }) => kind);
}

export const cancels: Section = [
  ...client(
    "CN1.1",
    "a call aborted in flight is followed by one CANCEL",
    async (c) => {
      await c.exchangeHello();
      await c.script(
        { do: "call", method: "a" },
        { do: "call", method: "gate" },
        { do: "await", call: 2 },
        { do: "abort", call: 1 },
        { do: "abort", call: 1 },
      );
      const [a, gate] = await c.requests(2);
      await c.send(reply(gate.id));
      assertEquals((await c.expect(KIND.CANCEL)).id, a.id);
      await c.silence();
    },
  ),
  ...client(
    "CN1.2",
    "100 aborted calls are followed by one CANCEL each",
    async (c) => {
      await c.exchangeHello();
      const all = Array.from({ length: 100 }, (_, i) => i + 1);
      await c.script(
        { do: "call", method: "gate" },
        ...all.map(() => ({ do: "call", method: "m" }) as const),
        { do: "await", call: 1 },
        ...all.map((n) => ({ do: "abort", call: n + 1 }) as const),
      );
      const [gate, ...calls] = await c.requests(101);
      await c.send(reply(gate.id));
      const ids = new Set<number>();
      for (const _ of all) ids.add((await c.expect(KIND.CANCEL)).id);
      assertEquals(ids, new Set(calls.map(({ id }) => id)));
      await c.silence();
    },
  ),
  ...client(
    "CN1.3",
    "a call aborted in the turn in which it is made: no CANCEL before its REQUEST",
    async (c) => {
      await c.exchangeHello();
      await c.script(
        { do: "call", method: "brief" },
        { do: "abort", call: 1 },
        { do: "call", method: "last" },
      );
      const seen: string[] = [];
      for (;;) {
        const got = await c.wire.next();
        if (got === undefined) throw new Error("it ended");
        if (got.kind === KIND.CANCEL) {
          assert(seen.includes(`${got.id}`), "a CANCEL without its REQUEST");
        }
        if (got.kind !== KIND.REQUEST) continue;
        seen.push(`${got.id}`);
        if (new TextDecoder().decode(got.body).includes("last")) break;
      }
      await c.pace.quiet();
    },
  ),
  ...client(
    "CN1.4",
    "a call aborted while it waits for the window is never sent",
    async (c) => {
      await c.exchangeHello({ calls: 1 });
      await c.script(
        { do: "call", method: "first" },
        { do: "call", method: "waits" },
        { do: "abort", call: 2 },
        { do: "call", method: "last" },
      );
      const { id } = await c.request("first");
      await c.silence();
      await c.send(reply(id));
      await c.request("last");
      await c.silence();
    },
  ),
  ...client(
    "CN1.5",
    "aborting a call that has its reply sends nothing",
    async (c) => {
      await c.exchangeHello();
      await c.script(
        { do: "call", method: "m" },
        { do: "await", call: 1 },
        { do: "abort", call: 1 },
      );
      await c.send(reply((await c.request()).id));
      await c.silence();
    },
  ),
  ...server(
    "CN2.1",
    "a call cancelled before its start: answered at once, not started",
    async (s) => {
      await s.exchangeHello();
      const busy = await fillRunning(s);
      const id = await s.go("Conformance.note", "cancelled");
      await s.silence();
      await s.send(cancel(id));
      const { code, started } = await s.answer(id);
      assertEquals([code, started], ["cancelled", false]);
      await empty(s, busy);
      assertEquals(await s.started(), busy.map(() => "busy"));
    },
  ),
  ...server(
    "CN2.2",
    "REQUEST and CANCEL of a waiting call in one chunk: answered at once, not started",
    async (s) => {
      await s.exchangeHello();
      const busy = await fillRunning(s);
      const call = s.make("Conformance.note", "cancelled");
      await s.send(call, cancel(s.lastId));
      const { started } = await s.answer(s.lastId);
      assertEquals(started, false);
      await empty(s, busy);
      assertEquals(await s.started(), busy.map(() => "busy"));
    },
  ),
  ...server(
    "CN2.3",
    "calls after a cancelled call keep their order",
    async (s) => {
      await s.exchangeHello();
      const busy = await fillRunning(s);
      const gone = await s.go("Conformance.note", "cancelled");
      await s.go("Conformance.note", "a");
      await s.go("Conformance.note", "b");
      await s.send(cancel(gone));
      await s.answer(gone);
      await empty(s, busy);
      const started = await s.answer().then(() => s.answer()).then(() =>
        s.started()
      );
      assertEquals((started as unknown[]).slice(busy.length), ["a", "b"]);
    },
  ),
  ...server(
    "CN3.1",
    "a cancelled running call gets its reply only when its handler has ended",
    async (s) => {
      await s.exchangeHello();
      const held = await s.begin("Conformance.hold");
      await s.send(cancel(held));
      await s.silence();
      await s.go("Conformance.release");
      const answers = [await s.answer(), await s.answer()];
      const got = answers.find(({ id }) => id === held);
      assertEquals([got?.ok, got?.value], [true, "released"]);
    },
  ),
  ...server(
    "CN3.2",
    "the handler's signal fires, and its own reply counts",
    async (s) => {
      await s.exchangeHello();
      const id = await s.begin("Conformance.wait");
      await s.send(cancel(id));
      const { code, started } = await s.answer(id);
      assertEquals([code, started], ["told", true]);
    },
  ),
  ...server("CN3.3", "a second CANCEL changes nothing", async (s) => {
    await s.exchangeHello();
    const held = await s.begin("Conformance.hold");
    await s.send(cancel(held), cancel(held), cancel(held));
    await s.silence();
    await s.go("Conformance.release");
    await s.answer();
    await s.answer();
    await s.silence();
  }),
  ...server("CN4.1", "a CANCEL for an answered call is ignored", async (s) => {
    await s.exchangeHello();
    const { id } = await s.call("Echo.echo");
    await s.send(cancel(id), cancel(id));
    await s.serves();
    await s.silence();
  }),
  ...server("CN4.2", "a CANCEL for a refused call is ignored", async (s) => {
    await s.exchangeHello();
    const { id } = await s.call("no.such");
    await s.send(cancel(id));
    await s.serves();
  }),
  ...server("CN4.3", "a CANCEL for an id in a gap is ignored", async (s) => {
    await s.exchangeHello();
    await s.send(request(5, "Echo.echo"), request(9, "Echo.echo"));
    await s.answer(5);
    await s.answer(9);
    await s.send(cancel(6), cancel(8), cancel(4), cancel(0));
    await s.alive();
  }),
  ...server(
    "CN4.4",
    "a CANCEL for a call that the server discards after its GOAWAY is ignored",
    async (s) => {
      await s.exchangeHello();
      await s.go("Conformance.hold");
      await s.drains(false);
      const id = await s.go("Echo.echo");
      await s.send(cancel(id));
      assertEquals(kinds(await s.alive()), []);
    },
  ),
  ...server("CN5.1", "a CANCEL for an id after the last: closes", async (s) => {
    await s.exchangeHello();
    const { id } = await s.call("Echo.echo");
    await s.send(cancel(id + 1));
    await s.closes("protocol_error");
  }),
  ...closes("CN5.2", "a CANCEL before any REQUEST", frame(KIND.CANCEL, 1)),
  ...closes(
    "CN5.3",
    "a CANCEL for 0 before any REQUEST",
    frame(KIND.CANCEL, 0),
  ),
  ...server(
    "CN5.4",
    "a CANCEL for an id far after the last: closes",
    async (s) => {
      await s.exchangeHello();
      await s.call("Echo.echo");
      await s.send(cancel(2 ** 31 - 5));
      await s.closes("protocol_error");
    },
  ),
  ...server(
    "CN5.5",
    "a CANCEL before its REQUEST in the same chunk: closes",
    async (s) => {
      await s.exchangeHello();
      await s.send(cancel(1), s.make("Echo.echo"));
      const { frames } = await s.closes("protocol_error");
      assertEquals(frames, []);
    },
  ),
  ...server(
    "CN5.6",
    "a call of more than 2^31 ids ago can be cancelled",
    async (s) => {
      await s.exchangeHello();
      await s.go("Conformance.wait");
      for (const id of [2 ** 31 - 1, 2 ** 32 - 3]) {
        await s.send(request(id, "Echo.echo"));
        // Under Conformance's id: the wait's own answer must not come now.
        assertEquals(readAnswer((await s.wire.next())!).id, id);
      }
      await s.send(cancel(1));
      const { code } = await s.answer(1);
      if (code === "not_found") throw new Skipped("no Conformance.wait");
      assertEquals(code, "told");
    },
  ),
];
