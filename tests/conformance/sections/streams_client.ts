/** Section 14 of docs/protocol.md: streams that a client under test sends and reads. */

import { assert, assertEquals } from "@std/assert";
import {
  BODY,
  errorBody,
  flagged,
  frame,
  hello,
  KIND,
  PAYLOAD,
  payload,
  readRequest,
  reply,
  type Request,
  type StreamGrant,
  TRAILERS,
  u32,
  utf8,
} from "../bytes.ts";
import { connectionCredit } from "../../support/raw_peer.ts";
import { client, rows, type Section } from "../case.ts";
import type { Item, Step } from "../driver.ts";
import type { ClientSession, Session } from "../session.ts";
import type { RawFrame } from "../wire.ts";
import { items } from "./items.ts";

const ERROR = 2;
const MORE = 2;
const CALLER = 1;
const STREAM = 5;

type CallParts = Partial<Extract<Step, { do: "call" }>>;

/** A step that makes a call. */
function call(parts: CallParts = {}): Step {
  return { do: "call", method: "m", ...parts };
}

/** Items of a stream, for a step. */
function values(...list: unknown[]): Item[] {
  return list.map((value) => ({ value }));
}

function answerByStream(id: number): Uint8Array {
  return reply(id, [STREAM]);
}

function data(id: number, value: unknown, flags = 0): Uint8Array {
  return frame(KIND.DATA, id, payload(value), flags);
}

function end(id: number): Uint8Array {
  return frame(KIND.END, id);
}

function fail(id: number, code: string): Uint8Array {
  return frame(KIND.END, id, errorBody(code, "no"), ERROR);
}

/** The next frame but CREDIT. */
async function next(s: Session): Promise<RawFrame> {
  for (;;) {
    const got = await s.wire.next();
    assert(got !== undefined, "it ended");
    if (got.kind !== KIND.CREDIT) return got;
  }
}

/** The frames of a stream of params, up to its END. */
async function produced(c: Session): Promise<RawFrame[]> {
  const frames: RawFrame[] = [];
  for (;;) {
    const got = await next(c);
    frames.push(got);
    if (got.kind === KIND.END) return frames;
  }
}

/** A client that makes one call, and returns its REQUEST. */
async function calling(
  c: ClientSession,
  parts: CallParts,
  grant?: Partial<StreamGrant>,
  ...behind: Step[]
): Promise<Request> {
  await c.greetAble(grant);
  await c.script(call(parts), ...behind);
  const made = await c.request("m");
  if (parts.items !== undefined) assertEquals(made.kind, STREAM);
  return made;
}

/** A client whose call was answered with a stream, and returns the id of the call. */
async function reading(
  c: ClientSession,
  parts: CallParts = {},
  ...behind: Step[]
): Promise<number> {
  const { id } = await calling(c, parts, {}, ...behind);
  await c.send(answerByStream(id));
  return id;
}

/** What became of the first call. */
async function outcome(c: ClientSession) {
  return (await c.report()).calls[1];
}

/** Sends CREDIT until the params end, and returns all their frames. */
async function feed(
  c: ClientSession,
  id: number,
  frames: readonly RawFrame[],
): Promise<RawFrame[]> {
  const all = [...frames];
  for (let grants = 0; all.at(-1)?.kind !== KIND.END; grants++) {
    assert(grants < 300, "it does not go on with the credit it was given");
    await c.send(frame(KIND.CREDIT, id, u32(8192)));
    all.push(...await c.wire.leftovers());
  }
  return all;
}

const opened = [
  ...client(
    "ST1.2",
    "a stream as params to a server without the capability: not sent",
    async (c) => {
      await c.exchangeHello();
      c.needStreams();
      await c.script(call({ items: values(1) }));
      await c.silence();
      assertEquals((await outcome(c)).outcome, "not_sent");
    },
  ),
  ...client(
    "ST2.11",
    "a client with one stream granted sends one, and the next when that call has ended",
    async (c) => {
      await c.greetAble({ max: 1 });
      const stream = call({ items: [], then: "wait" });
      await c.script(stream, stream, call({ method: "plain" }));
      const first = await c.request("m");
      // Its second stream waits, or fails; what has none need not wait.
      const rest = (await c.wire.leftovers()).filter(({ kind }) =>
        kind === KIND.REQUEST
      );
      assert(rest.length <= 1, "a second stream was opened");
      await c.send(reply(first.id));
      await c.pace.quiet();
      await c.alive();
    },
  ),
  ...client(
    "ST2.12",
    "one stream as result more than granted: closes, resource_exhausted",
    async (c) => {
      await c.greetAble();
      const { max } = c.hello.streams!;
      const many = Math.min(max + 1, 200);
      await c.script(...Array.from({ length: many }, () => call({ read: 0 })));
      const ids = (await c.requests(many)).map(({ id }) => id);
      if (many <= max) return;
      await c.send(...ids.slice(0, max).map(answerByStream));
      await c.alive();
      await c.send(answerByStream(ids[max]));
      await c.closes("resource_exhausted");
    },
  ),
  ...client(
    "ST3.1",
    "a call with a stream waits for HELLO",
    async (c) => {
      await c.greetAble();
      await c.script({ do: "reconnect" }, call({ items: values("a") }));
      await c.reconnected();
      await c.readHello();
      await c.silence();
      await c.send(hello({ streams: true }));
      assertEquals((await c.request("m")).kind, STREAM);
      assertEquals(items(await produced(c)), ["a"]);
    },
  ),
];

const ITEMS: [string, Item[], unknown[]][] = [
  ["no items", [], []],
  ["values of JSON", values(null, 1.5, [], { a: [true] }), [
    null,
    1.5,
    [],
    { a: [true] },
  ]],
  ["strings", values("", "é→"), ["", "é→"]],
  ["bytes", [{ bytes: 3 }, { bytes: 4 }], [new Uint8Array(7)]],
  ["a string of 40,000 bytes, in parts", [{ text: 40_000 }], [
    "x".repeat(40_000),
  ]],
  ["bytes between values", [...values(1), { bytes: 2 }, ...values(2)], [
    1,
    new Uint8Array(2),
    2,
  ]],
];

const params = [
  ...rows(
    "ST5",
    21,
    ITEMS,
    (id, [what, sent, wanted]) =>
      client(id, `a stream of params of ${what}`, async (c) => {
        const { id } = await calling(c, { items: sent });
        const frames = await produced(c);
        assert(frames.every((f) => f.id === id && (f.flags & CALLER) !== 0));
        assertEquals(frames.at(-1)?.flags, CALLER);
        assertEquals(items(frames), wanted);
        await c.send(reply(id, "done"));
        await c.alive();
        assertEquals(await outcome(c), { outcome: "executed", value: "done" });
      }),
  ),
  ...client(
    "ST7.11",
    "an item above 1,000,000 bytes is not sent",
    async (c) => {
      const { id } = await calling(
        c,
        { items: [{ text: 1_000_001 }] },
        { credit: 1_048_576 },
      );
      // What it sends past the limit fails any case.
      const frames = await feed(c, id, []);
      assertEquals(frames.at(-1)?.flags, CALLER | ERROR);
    },
  ),
  ...client("ST7.12", "an item of 1,000,000 bytes is sent", async (c) => {
    const grant = { credit: 1_048_576 };
    await calling(c, { items: [{ text: 1_000_000 }] }, grant);
    const [item] = items(await produced(c));
    assertEquals((item as string).length, 1_000_000);
  }),
  ...rows(
    "ST8",
    11,
    [["bytes", { bytes: 40_000 }], ["a string", { text: 40_000 }]] as const,
    (id, [what, item]) =>
      client(id, `${what} above the credit waits for CREDIT`, async (c) => {
        const grant = { credit: 16_384 };
        const { id } = await calling(c, { items: [item] }, grant);
        const first = await c.wire.leftovers();
        assert(first.at(-1)?.kind !== KIND.END, "END came without the credit");
        const [whole] = items(await feed(c, id, first));
        assertEquals((whole as Uint8Array | string).length, 40_000);
      }),
  ),
  ...client("ST9.11", "CREDIT above 2^31 - 1: closes", async (c) => {
    const { id } = await calling(c, { items: [], then: "wait" });
    await c.send(frame(KIND.CREDIT, id, u32(0xffffffff)));
    await c.closes("protocol_error");
  }),
  ...client(
    "ST17.11",
    "params above the credit of the connection wait for it",
    async (c) => {
      const grant = { all: 65_536, credit: 1_048_576 };
      const { id } = await calling(c, { items: [{ bytes: 200_000 }] }, grant);
      const frames = await c.wire.leftovers();
      // What it sends past its credit fails any case.
      for (let grants = 0; frames.at(-1)?.kind !== KIND.END; grants++) {
        assert(grants < 60, "it does not go on with the credit it was given");
        await c.send(connectionCredit(8192));
        frames.push(...await c.wire.leftovers());
      }
      const sizes = frames.filter(({ kind }) => kind === KIND.DATA)
        .map(({ body }) => body.length - 1);
      assertEquals(sizes.reduce((a, b) => a + b, 0), 200_000);
      assertEquals(frames.at(-1)?.id, id);
    },
  ),
  ...client(
    "ST18.11",
    "an item of params is begun when the credit of the connection covers it",
    async (c) => {
      const grant = { all: 65_536, credit: 1_048_576 };
      const item = { text: 30_000 };
      await calling(c, { items: [item, item, item] }, grant);
      const first = items(await c.wire.leftovers());
      assertEquals(first.length, 2);
      await c.send(connectionCredit(40_000));
      assertEquals(items([await c.expect(KIND.DATA)]).length, 1);
    },
  ),
  ...client(
    "ST19.11",
    "credit of the connection above 2^31 - 1: closes",
    async (c) => {
      await calling(c, { items: [], then: "wait" });
      await c.send(connectionCredit(0x7fffffff));
      await c.closes("protocol_error");
    },
  ),
  ...client("ST9.12", "CREDIT of 0 changes nothing", async (c) => {
    const parts = { items: values("a"), then: "wait" } as const;
    const { id } = await calling(c, parts);
    await next(c);
    const none = frame(KIND.CREDIT, id, u32(0));
    await c.send(none, none, reply(id, "done"), none);
    assertEquals(await c.alive(), []);
  }),
  ...client("ST10.11", "a source that fails ends with ERROR", async (c) => {
    const { id } = await calling(c, { items: values("a"), then: "fail" });
    const frames = await produced(c);
    assertEquals(items(frames), ["a"]);
    assertEquals(frames.at(-1)?.flags, CALLER | ERROR);
    await c.send(reply(id, "all the same"));
    await c.alive();
    assertEquals((await outcome(c)).outcome, "executed");
  }),
  ...client("BD1.21", "a body beside the params is sent", async (c) => {
    await c.greetAble();
    const sent = { beside: true, params: "x", items: values("a", 1) };
    await c.script(call(sent));
    const got = await c.expect(KIND.REQUEST);
    assertEquals(got.flags, BODY);
    const { id, kind } = readRequest(got);
    assertEquals(kind, PAYLOAD.TEXT);
    assertEquals(items(await produced(c)), ["a", 1]);
    await c.send(reply(id, "done"));
    await c.alive();
    assertEquals(await outcome(c), { outcome: "executed", value: "done" });
  }),
  ...client("ST13.2", "a reply ends params that continue", async (c) => {
    const parts = { items: values("a"), then: "wait" } as const;
    const { id } = await calling(c, parts);
    await next(c);
    await c.send(reply(id, "enough"));
    await c.alive();
    // They crossed what the client may have said of it.
    await c.send(frame(KIND.STOP, id, [0, 0, 0]));
    await c.send(frame(KIND.CREDIT, id, u32(100)));
    await c.alive();
    assertEquals(await outcome(c), { outcome: "executed", value: "enough" });
  }),
  ...client("ST14.11", "a writer that receives STOP sends END", async (c) => {
    const parts = { items: values("a"), then: "wait" } as const;
    const { id } = await calling(c, parts);
    await next(c);
    await c.send(frame(KIND.STOP, id, [0, 0, 0]));
    assertEquals(items(await produced(c)), []);
    await c.send(reply(id, "done"));
    await c.alive();
    assertEquals(await outcome(c), { outcome: "executed", value: "done" });
  }),
];

const results = [
  ...client("ST5.31", "a stream as result reaches its reader", async (c) => {
    const id = await reading(c);
    const part = (text: string, flags: number) =>
      frame(KIND.DATA, id, [3, ...utf8(text)], flags);
    await c.send(
      data(id, { a: 1 }),
      data(id, "b"),
      part("to", MORE),
      part("gether", 0),
      data(id, new Uint8Array(3)),
      data(id, new Uint8Array(0)),
      data(id, new Uint8Array(4)),
      end(id),
    );
    await c.alive();
    const { outcome: got, items } = await outcome(c);
    assertEquals(got, "executed");
    assertEquals(items, [{ a: 1 }, "b", "together", { bytes: 7 }]);
  }),
  ...client(
    "BD1.22",
    "a body beside a result reaches its reader",
    async (c) => {
      const { id } = await calling(c, {});
      await c.send(
        flagged(reply(id, "value"), BODY),
        data(id, "a"),
        data(id, 1),
        end(id),
      );
      await c.alive();
      const { outcome: got, value, items } = await outcome(c);
      assertEquals([got, value, items], ["executed", "value", ["a", 1]]);
    },
  ),
  ...client("BD1.23", "a body beside a stream: closes", async (c) => {
    const { id } = await calling(c, {});
    await c.send(flagged(answerByStream(id), BODY));
    await c.closes("protocol_error");
  }),
  ...client("BD1.24", "a second response after a body: closes", async (c) => {
    const { id } = await calling(c, { read: 0 });
    await c.send(flagged(reply(id, "value"), BODY), reply(id));
    await c.closes("protocol_error");
  }),
  ...client(
    "BD3.1",
    "a value beside a body that does not parse: STOP, and the call fails",
    async (c) => {
      const { id } = await calling(c, {});
      await c.send(flagged(reply(id, [1, 123]), BODY), data(id, "a"));
      const got = await next(c);
      assertEquals([got.kind, got.id, got.flags], [KIND.STOP, id, CALLER]);
      await c.send(fail(id, "cancelled"));
      await c.alive();
      const { outcome: ended, code } = await outcome(c);
      assertEquals([ended, code !== undefined], ["executed", true]);
    },
  ),
  ...client("MG1.21", "messages reach their reader", async (c) => {
    const id = await reading(c);
    const part = (bytes: readonly number[], flags = 0) =>
      frame(KIND.DATA, id, [6, ...bytes], flags);
    await c.send(part([1, 2]), part([]), part([3], MORE), part([4]), end(id));
    await c.alive();
    const { outcome: got, items } = await outcome(c);
    assertEquals([got, items], ["executed", [{ bytes: 4 }]]);
  }),
  ...client("MG1.22", "a result that is a message: closes", async (c) => {
    const { id } = await calling(c, {});
    await c.send(reply(id, [6]));
    await c.closes("protocol_error");
  }),
  ...client("TR1.21", "an END with trailers ends a result", async (c) => {
    const id = await reading(c);
    const trailers = [0, 5, 1, 0x61, 0, 1, 0x31];
    await c.send(data(id, "a"), frame(KIND.END, id, trailers, TRAILERS));
    await c.alive();
    const { outcome: got, items } = await outcome(c);
    assertEquals([got, items], ["executed", ["a"]]);
  }),
  ...client("TR1.22", "trailers that are cut: closes", async (c) => {
    const id = await reading(c);
    await c.send(frame(KIND.END, id, [0, 5, 1, 0x61], TRAILERS));
    await c.closes("protocol_error");
  }),
  ...client("ST6.11", "an item that does not parse: STOP", async (c) => {
    const id = await reading(c);
    await c.send(data(id, "a"), frame(KIND.DATA, id, [1, 123]));
    const got = await next(c);
    assertEquals([got.kind, got.id, got.flags], [KIND.STOP, id, CALLER]);
    await c.send(fail(id, "cancelled"));
    await c.alive();
    const { outcome: ended, items, code } = await outcome(c);
    assertEquals([ended, items, code !== undefined], ["executed", ["a"], true]);
  }),
  ...client("ST8.21", "more than the credit: closes", async (c) => {
    const id = await reading(c, { read: 0 });
    const full = new Uint8Array(32_768);
    const frames = Math.ceil(c.hello.streams!.credit / 32_785) + 1;
    await c.send(...Array.from({ length: frames }, () => data(id, full)));
    await c.closes("resource_exhausted");
  }),
  ...client("ST9.21", "bytes that are read are granted again", async (c) => {
    const id = await reading(c);
    const { credit } = c.hello.streams!;
    const chunk = new Uint8Array(8000);
    for (let used = 0; used + 8017 <= credit; used += 8017) {
      await c.send(data(id, chunk));
    }
    const got = await c.expect(KIND.CREDIT);
    assertEquals([got.id, got.flags], [id, CALLER]);
  }),
  ...client(
    "ST9.22",
    "bytes that are not read are not granted again",
    async (c) => {
      const id = await reading(c, { read: 1 });
      const { credit } = c.hello.streams!;
      const chunk = new Uint8Array(8000);
      for (let used = 0; used + 8017 <= credit; used += 8017) {
        await c.send(data(id, chunk));
      }
      await c.silence();
    },
  ),
  ...client("ST10.12", "a result that fails after its items", async (c) => {
    const id = await reading(c);
    const body = errorBody("gone", "no", payload({ n: 1 }));
    await c.send(data(id, "a"), frame(KIND.END, id, body, ERROR));
    await c.alive();
    assertEquals(await outcome(c), {
      outcome: "executed",
      items: ["a"],
      code: "gone",
      data: { n: 1 },
    });
  }),
  ...client(
    "ST10.13",
    "a result that fails inside an item: that item is not delivered",
    async (c) => {
      const id = await reading(c);
      const part = frame(KIND.DATA, id, [3, ...utf8("half")], MORE);
      await c.send(data(id, "a"), part, fail(id, "gone"));
      await c.alive();
      const { items, code } = await outcome(c);
      assertEquals([items, code], [["a"], "gone"]);
    },
  ),
  ...client(
    "ST11.11",
    "a call whose result is a stream occupies the window until END",
    async (c) => {
      await c.greetAble({}, { calls: 1 });
      await c.script(call(), call({ method: "second" }));
      const { id } = await c.request("m");
      await c.send(answerByStream(id), data(id, "a"));
      const frames = await c.wire.leftovers();
      assert(frames.every(({ kind }) => kind !== KIND.REQUEST));
      await c.send(end(id));
      await c.request("second");
    },
  ),
  ...client(
    "ST11.12",
    "a graceful close waits for the END of a stream",
    async (c) => {
      const { id } = await calling(c, {}, {}, { do: "await", call: 1 }, {
        do: "close",
      });
      await c.send(answerByStream(id), data(id, "a"));
      await c.expect(KIND.GOAWAY);
      await c.pace.quiet();
      assert(!c.wire.ended, "it ended before the stream did");
      await c.send(data(id, "b"), end(id));
      assert((await c.wire.rest()).every(({ kind }) => kind === KIND.CREDIT));
      const { calls, closed } = await c.report();
      assertEquals([calls[1].items, closed], [["a", "b"], null]);
    },
  ),
  ...client(
    "ST12.11",
    "an aborted call with a stream: one CANCEL, and later frames are discarded",
    async (c) => {
      const id = await reading(c, {}, { do: "await", call: 1 }, {
        do: "abort",
        call: 1,
      });
      const got = await next(c);
      assertEquals([got.kind, got.id], [KIND.CANCEL, id]);
      await c.send(data(id, "late"), data(id, "later"), fail(id, "cancelled"));
      assertEquals(await c.alive(), []);
      const { outcome: ended, code } = await outcome(c);
      assertEquals([ended, code], ["executed", "aborted"]);
    },
  ),
  ...client(
    "ST14.12",
    "a reader that cancels sends one STOP, and discards the rest",
    async (c) => {
      const id = await reading(c, { read: 0 }, { do: "await", call: 1 }, {
        do: "stop",
        call: 1,
      });
      const got = await next(c);
      assertEquals([got.kind, got.id, got.flags], [KIND.STOP, id, CALLER]);
      await c.send(data(id, "late"));
      assertEquals(await c.alive(), []);
      await c.send(fail(id, "cancelled"));
      await c.alive();
      const { outcome: ended, items } = await outcome(c);
      assertEquals([ended, items], ["executed", []]);
    },
  ),
];

const both = [
  ...client("ST10.14", "params and result at the same time", async (c) => {
    const parts = { items: values("a", "b"), then: "wait" } as const;
    const { id } = await calling(c, parts);
    await c.send(answerByStream(id));
    const first = [await next(c), await next(c)];
    assertEquals(items(first), ["a", "b"]);
    await c.send(data(id, "A"), data(id, "B"));
    await c.alive();
    // The end of the result ends the params, too.
    await c.send(end(id));
    await c.alive();
    const { outcome: ended, items: read } = await outcome(c);
    assertEquals([ended, read], ["executed", ["A", "B"]]);
  }),
  ...client(
    "ST10.15",
    "a result that continues after its params",
    async (c) => {
      const { id } = await calling(c, { items: values(1) });
      assertEquals(items(await produced(c)), [1]);
      await c.send(answerByStream(id), data(id, 2), end(id));
      await c.alive();
      assertEquals((await outcome(c)).items, [2]);
    },
  ),
  ...client(
    "ST12.12",
    "an aborted call with a stream: CANCEL, and no DATA after it",
    async (c) => {
      const { id } = await calling(
        c,
        { items: [], then: "wait" },
        {},
        call({ method: "gate" }),
        { do: "await", call: 2 },
        { do: "abort", call: 1 },
      );
      await c.send(reply((await c.request("gate")).id));
      const frames = await c.wire.leftovers();
      const cancels = frames.filter(({ kind }) => kind === KIND.CANCEL);
      assertEquals(cancels.map((f) => f.id), [id]);
      assert(frames.every(({ kind }) => kind !== KIND.DATA));
      await c.send(frame(KIND.ERROR, id, errorBody("cancelled"), 1));
      await c.alive();
      const { outcome: ended, code } = await outcome(c);
      assertEquals([ended, code], ["executed", "aborted"]);
    },
  ),
];

const FRAMES = [
  ["DATA", KIND.DATA, payload("x")],
  ["END", KIND.END, []],
  ["STOP", KIND.STOP, [0, 0, 0]],
  ["CREDIT", KIND.CREDIT, u32(1)],
] as const;

/** Frames of a result that end the connection, once it is open. */
const FAULTY: [string, (id: number) => Uint8Array[]][] = [
  ["a DATA of 32,769 bytes", (id) => [data(id, new Uint8Array(32_769))]],
  ["MORE on bytes", (id) => [data(id, new Uint8Array(3), MORE)]],
  ["a part of no bytes that is not the last", (id) => [
    frame(KIND.DATA, id, [3], MORE),
  ]],
  ["an item of two kinds", (id) => [
    frame(KIND.DATA, id, [3, 120], MORE),
    frame(KIND.DATA, id, [1, 49]),
  ]],
  ["END inside an item", (id) => [
    frame(KIND.DATA, id, [3, 120], MORE),
    end(id),
  ]],
  ["a second REPLY", (id) => [reply(id)]],
];

const stray = [
  ...rows(
    "ST15",
    21,
    FRAMES,
    (id, [name, kind, body]) =>
      client(
        id,
        `${name} for a call without such a stream: closes`,
        async (c) => {
          const made = await calling(c, {});
          await c.send(frame(kind, made.id, body));
          await c.closes("protocol_error");
        },
      ),
  ),
  ...rows(
    "ST15",
    31,
    FRAMES,
    (id, [name, kind, body]) =>
      client(id, `${name} for a call that is over: ignored`, async (c) => {
        const made = await calling(c, { items: values("a") });
        await produced(c);
        await c.send(answerByStream(made.id), end(made.id));
        await c.alive();
        await c.send(frame(kind, made.id, body));
        await c.alive();
      }),
  ),
  ...rows(
    "ST5",
    41,
    FAULTY,
    (id, [what, frames]) =>
      client(id, `${what} of a result: closes`, async (c) => {
        const call = await reading(c, { read: 0 });
        await c.send(...frames(call));
        await c.closes("protocol_error");
      }),
  ),
];

export const clientStreams: Section = [
  ...opened,
  ...params,
  ...results,
  ...both,
  ...stray,
];
