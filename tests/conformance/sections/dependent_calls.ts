/** Section 6 of docs/protocol.md: dependent calls. */

import { assertEquals } from "@std/assert";
import {
  failure,
  frame,
  join,
  KIND,
  type Reference,
  referenceEntry,
  reply,
  request,
  type RequestParts,
  u32,
  utf8,
} from "../bytes.ts";
import { client, rows, type Section, server } from "../case.ts";
import type { Step } from "../driver.ts";
import { type ClientSession, type ServerSession, Skipped } from "../session.ts";

const KEEPS = { keepsResults: true };

/** Exchanges HELLOs. Skips the case if the server keeps no results. */
async function able(s: ServerSession): Promise<void> {
  await s.exchangeHello();
  if (s.hello.keepsResults) return;
  throw new Skipped("the server's HELLO has no capability for dependent calls");
}

/** Makes a call whose result is kept, and reads its reply. */
async function kept(s: ServerSession, value: unknown): Promise<number> {
  await able(s);
  return (await s.call("Echo.echo", value, { keep: true })).id;
}

/** Makes a call that gives back its params, which have null in the places of the references. */
function dependent(
  s: ServerSession,
  params: unknown,
  references: RequestParts["references"],
) {
  return s.call("Echo.echo", params, { references });
}

/** Asserts that a call was refused with a code, and not started. */
function refused(answer: { code: string; started: boolean }, code: string) {
  assertEquals([answer.code, answer.started], [code, false]);
}

/** A call of the script that refers to the result of the one before it, call 1. */
const FIRST: Step = { do: "call", method: "first" };
const SECOND: Step = {
  do: "call",
  method: "second",
  params: { a: null },
  references: [{ place: ["a"], call: 1, path: ["x"] }],
};

/** Has the client make both calls, and reads their REQUESTs. Skips the case if the client does not refer to results. */
async function both(c: ClientSession, ...more: Step[]) {
  await c.exchangeHello(KEEPS);
  await c.script(FIRST, SECOND, ...more);
  const first = await c.request("first");
  if (!first.keep) throw new Skipped("the client does not refer to results");
  return { first, second: await c.request("second") };
}

function json(id: number, value: unknown): Uint8Array {
  return reply(id, [1, ...utf8(JSON.stringify(value))]);
}

const BLOCKS: [string, Uint8Array][] = [
  ["no entry", new Uint8Array(0)],
  ["part of an id", Uint8Array.of(0, 0)],
  ["an entry without text", Uint8Array.from(u32(1))],
  ["an entry beyond its end", join(u32(1), [0, 9], utf8("[[],[]]"))],
  ["no JSON", referenceEntry(1, "[[],[]")],
  ["a text that is not UTF-8", referenceEntry(1, Uint8Array.of(0xff))],
  ["an object", referenceEntry(1, "{}")],
  ["one array", referenceEntry(1, "[[]]")],
  ["three arrays", referenceEntry(1, "[[],[],[]]")],
  ["a number as a step", referenceEntry(1, "[[0],[]]")],
  ["33 steps", referenceEntry(1, JSON.stringify([[], Array(33).fill("a")]))],
  [
    "65 entries",
    join(...Array.from({ length: 65 }, () => referenceEntry(1, "[[],[]]"))),
  ],
  [
    "8,193 bytes",
    referenceEntry(1, JSON.stringify([[], ["a".repeat(8193 - 6 - 9)]])),
  ],
];

const NOWHERE: [string, string[]][] = [
  ["a member that is missing", ["b"]],
  ["an item past the end", ["list", "2"]],
  ["an index with a leading zero", ["list", "00"]],
  ["the length of an array", ["list", "length"]],
  ["a member of a string", ["text", "length"]],
  ["__proto__", ["__proto__"]],
  ["an inherited member", ["constructor"]],
  ["a member of null", ["none", "x"]],
];

const RESULT = { a: { x: 7 }, list: [1, 2], text: "t", none: null };

export const dependents: Section = [
  ...client(
    "DC1.1",
    "a REQUEST with KEEP to an endpoint without the capability: closes",
    async (c) => {
      await c.exchangeHello();
      if (c.hello.keepsResults) throw new Skipped("the client keeps results");
      await c.send(request(1, "m", null, { keep: true }));
      await c.closes("protocol_error");
    },
  ),
  ...client(
    "DC1.2",
    "a RELEASE to an endpoint without the capability: closes",
    async (c) => {
      await c.exchangeHello();
      if (c.hello.keepsResults) throw new Skipped("the client keeps results");
      await c.send(frame(KIND.RELEASE, 1));
      await c.closes("protocol_error");
    },
  ),
  ...client(
    "DC1.3",
    "to a callee without the capability: no KEEP, no REFS, no RELEASE",
    async (c) => {
      await c.exchangeHello();
      await c.script(FIRST, SECOND);
      const first = await c.request("first");
      assertEquals(first.keep, false);
      await c.send(json(first.id, { x: 7 }));
      const second = await c.request("second");
      assertEquals([second.keep, second.references], [false, []]);
      await c.silence();
    },
  ),
  ...rows(
    "DC2",
    1,
    BLOCKS,
    (id, [what, block]) =>
      server(id, `a block of ${what}: closes, protocol_error`, async (s) => {
        await kept(s, 1);
        await s.go("Echo.echo", null, { references: block });
        await s.closes("protocol_error");
      }),
  ),
  ...client(
    "DC2.50",
    "the client's block has the layout of the protocol",
    async (c) => {
      const { first, second } = await both(c);
      assertEquals(second.references, [[["a"], first.id, ["x"]]]);
    },
  ),
  ...server(
    "DC3.1",
    "a reference to the call itself: closes, protocol_error",
    async (s) => {
      await kept(s, 1);
      await s.go("Echo.echo", null, { references: [[[], 2, []]] });
      await s.closes("protocol_error");
    },
  ),
  ...server(
    "DC3.2",
    "a reference to a later call: closes, protocol_error",
    async (s) => {
      await kept(s, 1);
      await s.go("Echo.echo", null, { references: [[[], 3, []]] });
      await s.closes("protocol_error");
    },
  ),
  ...server(
    "DC3.4",
    "a reference to a skipped id: dependency_gone",
    async (s) => {
      await able(s);
      s.lastId = 5;
      refused(await dependent(s, null, [[[], 3, []]]), "dependency_gone");
    },
  ),
  ...client(
    "DC3.3",
    "the client refers to a call that it has sent before, with KEEP",
    async (c) => {
      const { first, second } = await both(c);
      assertEquals(second.references.map(([, id]) => id), [first.id]);
    },
  ),
  ...server("DC4.1", "no null at the place: invalid_argument", async (s) => {
    const id = await kept(s, 1);
    for (
      const [params, place] of [[{ a: 1 }, ["a"]], [{}, ["a"]], [
        "x",
        [],
      ]] as const
    ) {
      refused(
        await dependent(s, params, [[place, id, []]]),
        "invalid_argument",
      );
    }
    await s.serves();
  }),
  ...client(
    "DC4.2",
    "the client's params have null at the place",
    async (c) => {
      assertEquals((await both(c)).second.value, { a: null });
    },
  ),
  ...server("DC5.1", "64 results are kept", async (s) => {
    await able(s);
    for (let i = 0; i < 64; i++) {
      await s.call("Echo.echo", [i], { keep: true });
    }
    for (let id = 1; id <= 64; id++) {
      const { value } = await dependent(s, null, [[[], id, ["0"]]]);
      assertEquals(value, id - 1);
    }
  }),
  ...server("DC5.2", "a reference to the whole, and to parts", async (s) => {
    const id = await kept(s, RESULT);
    const whole: Reference[] = [[[], id, []]];
    assertEquals((await dependent(s, null, whole)).value, RESULT);
    const params = { one: null, list: [0, null] };
    const parts: Reference[] = [
      [["one"], id, ["a"]],
      [["list", "1"], id, ["list", "1"]],
    ];
    const { value } = await dependent(s, params, parts);
    assertEquals(value, { one: { x: 7 }, list: [0, 2] });
  }),
  ...server(
    "DC6.1",
    "a call waits for the result, and delays no other call",
    async (s) => {
      await able(s);
      const first = await s.begin("Conformance.hold", { keep: true });
      const references: Reference[] = [[[], first, []]];
      const second = await s.go("Echo.echo", null, { references });
      await s.serves();
      const release = await s.go("Conformance.release");
      const [, answer] = await s.answers(first, second, release);
      assertEquals(answer.value, "released");
    },
  ),
  ...server(
    "DC6.2",
    "a call that waits for a result can be cancelled, and its deadline passes",
    async (s) => {
      await able(s);
      const first = await s.begin("Conformance.hold", { keep: true });
      const references: Reference[] = [[[], first, []]];
      const second = await s.go("Echo.echo", null, { references });
      await s.send(frame(KIND.CANCEL, second));
      refused(await s.answer(second), "cancelled");
      const late = await s.go("Echo.echo", null, { references, deadline: 30 });
      refused(await s.answer(late, 100), "deadline_exceeded");
    },
  ),
  ...rows(
    "DC7",
    1,
    NOWHERE,
    (id, [what, path]) =>
      server(id, `a path to ${what}: invalid_argument`, async (s) => {
        const call = await kept(s, RESULT);
        const answer = await dependent(s, null, [[[], call, path]]);
        refused(answer, "invalid_argument");
        await s.serves();
      }),
  ),
  ...server(
    "DC7.50",
    "a result of kind 0 leaves the member out, and null in an array",
    async (s) => {
      const id = await kept(s, undefined);
      const member = await dependent(s, { a: null, b: 1 }, [[["a"], id, []]]);
      assertEquals(member.value, { b: 1 });
      const item = await dependent(s, [null], [[["0"], id, []]]);
      assertEquals(item.value, [null]);
    },
  ),
  ...server(
    "DC7.51",
    "a result of kind 2 can be the whole of the params, not a member",
    async (s) => {
      const id = await kept(s, Uint8Array.of(1, 2));
      const whole = await dependent(s, null, [[[], id, []]]);
      assertEquals(whole.value, Uint8Array.of(1, 2));
      const member = await dependent(s, { a: null }, [[["a"], id, []]]);
      refused(member, "invalid_argument");
    },
  ),
  ...server(
    "DC8.1",
    "a call that refers to one that has failed: dependency_failed",
    async (s) => {
      await able(s);
      const failure = { code: "told" };
      const { id } = await s.call("Conformance.fail", failure, { keep: true });
      refused(await dependent(s, null, [[[], id, []]]), "dependency_failed");
    },
  ),
  ...server(
    "DC8.2",
    "a chain behind a call that is cancelled: dependency_failed",
    async (s) => {
      await able(s);
      const first = await s.begin("Conformance.wait", { keep: true });
      const on = (id: number): RequestParts => ({
        keep: true,
        references: [[[], id, []]],
      });
      const second = await s.go("Echo.echo", null, on(first));
      const third = await s.go("Echo.echo", null, on(second));
      await s.send(frame(KIND.CANCEL, first));
      const [, two, three] = await s.answers(first, second, third);
      refused(two, "dependency_failed");
      refused(three, "dependency_failed");
    },
  ),
  ...client(
    "DC8.3",
    "the failure of the first call: the second is reported as refused",
    async (c) => {
      const { first, second } = await both(c);
      await c.send(
        failure(first.id, "told", "", true),
        failure(second.id, "dependency_failed", "", false),
      );
      await c.alive();
      const [, , report] = (await c.report()).calls;
      assertEquals(
        [report.outcome, report.code],
        ["refused", "dependency_failed"],
      );
    },
  ),
  ...server(
    "DC9.1",
    "a reference to a result that was released, or never kept: dependency_gone",
    async (s) => {
      const id = await kept(s, 1);
      await s.send(frame(KIND.RELEASE, id));
      refused(await dependent(s, null, [[[], id, []]]), "dependency_gone");
      const plain = (await s.call("Echo.echo", 1)).id;
      refused(await dependent(s, null, [[[], plain, []]]), "dependency_gone");
    },
  ),
  ...client(
    "DC9.2",
    "a call that was refused with dependency_gone is made again with the value",
    async (c) => {
      const { first, second } = await both(c);
      await c.send(
        json(first.id, { x: 7 }),
        failure(second.id, "dependency_gone", "", false),
      );
      await c.expect(KIND.RELEASE);
      const again = await c.request("second");
      assertEquals([again.value, again.references], [{ a: 7 }, []]);
    },
  ),
  ...server(
    "DC10.1",
    "a call that is refused for its references was not started",
    async (s) => {
      const id = await kept(s, 1);
      const before = await s.started();
      for (const [place, path] of [[["a"], []], [[], ["x"]]]) {
        const references: Reference[] = [[place, id, path]];
        const answer = await s.call("Conformance.note", null, { references });
        refused(answer, "invalid_argument");
      }
      assertEquals(await s.started(), before);
    },
  ),
  ...server(
    "DC11.1",
    "a RELEASE of a call that was never made: closes, protocol_error",
    async (s) => {
      await able(s);
      await s.send(frame(KIND.RELEASE, 1));
      await s.closes("protocol_error");
    },
  ),
  ...server(
    "DC11.2",
    "a RELEASE with a body: closes, protocol_error",
    async (s) => {
      const id = await kept(s, 1);
      await s.send(frame(KIND.RELEASE, id, [0]));
      await s.closes("protocol_error");
    },
  ),
  ...server("DC11.3", "a RELEASE of what is not kept is ignored", async (s) => {
    const id = await kept(s, 1);
    await s.send(frame(KIND.RELEASE, id), frame(KIND.RELEASE, id));
    const { id: plain } = await s.call("Echo.echo", 1);
    await s.send(frame(KIND.RELEASE, plain));
    await s.serves();
  }),
  ...server(
    "DC11.4",
    "a call keeps the results that it refers to until it has started",
    async (s) => {
      const id = await kept(s, 1);
      const first = await s.begin("Conformance.hold", { keep: true });
      const second = await s.go("Echo.echo", [null, null], {
        references: [[["0"], id, []], [["1"], first, []]],
      });
      await s.send(frame(KIND.RELEASE, id));
      const release = await s.go("Conformance.release");
      const [, answer] = await s.answers(first, second, release);
      assertEquals(answer.value, [1, "released"]);
    },
  ),
  ...client(
    "DC11.5",
    "the client sends one RELEASE when it has read the response, after its REQUESTs",
    async (c) => {
      const { first, second } = await both(c);
      await c.send(json(first.id, { x: 7 }));
      assertEquals((await c.expect(KIND.RELEASE)).id, first.id);
      await c.send(reply(second.id));
      await c.silence();
    },
  ),
  ...client(
    "DC11.6",
    "the client sends RELEASE after a response to a call that it has abandoned, too",
    async (c) => {
      const { first } = await both(
        c,
        { do: "call", method: "gate" },
        { do: "await", call: 3 },
        { do: "abort", call: 1 },
      );
      await c.send(reply((await c.request("gate")).id));
      assertEquals((await c.expect(KIND.CANCEL)).id, first.id);
      await c.send(failure(first.id, "cancelled", "", true));
      assertEquals((await c.expect(KIND.RELEASE)).id, first.id);
    },
  ),
];
