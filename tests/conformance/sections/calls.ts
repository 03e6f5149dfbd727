/** Section 6 of docs/protocol.md: calls and their answers. */

import { assert, assertEquals } from "@std/assert";
import {
  errorBody,
  failure,
  frame,
  hello,
  join,
  KIND,
  PAYLOAD,
  reply,
  utf8,
} from "../bytes.ts";
import { client, either, rows, type Section, server } from "../case.ts";
import type { ClientSession } from "../session.ts";

const NO_METHODS: [string, string][] = [
  ["the empty name", ""],
  ["a service alone", "Echo"],
  ["a service and a dot", "Echo."],
  ["a method without its service", "echo"],
  ["the parts the wrong way round", "echo.Echo"],
  ["a part too many", "Echo.echo.echo"],
  ["another case", "Echo.ECHO"],
  ["a space behind the name", "Echo.echo "],
  ["__proto__", "__proto__"],
  ["constructor", "constructor"],
  ["a member every object inherits", "Echo.toString"],
  ["the constructor of a service", "Echo.constructor"],
  ["a name with NUL and newline", "Echo\0.echo\n"],
  ["a name of 65,000 bytes", "a".repeat(65_000)],
];

const CODES = [
  "not_found",
  "invalid_argument",
  "deadline_exceeded",
  "cancelled",
  "resource_exhausted",
  "internal",
  "unavailable",
  "a_code_of_its_own",
];

/** A client with one call in flight, and returns its id. */
async function calling(c: ClientSession): Promise<number> {
  await c.exchangeHello();
  await c.script({ do: "call", method: "m" });
  return (await c.request("m")).id;
}

const answered = [
  ...rows(
    "CA1",
    1,
    NO_METHODS,
    (id, [what, name]) =>
      server(id, `${what} is answered not_found, not started`, async (s) => {
        await s.exchangeHello();
        const { code, started } = await s.call(name);
        assertEquals([code, started], ["not_found", false]);
        await s.serves();
      }),
  ),
  ...server(
    "CA1.21",
    "100 calls in a row are answered once each",
    async (s) => {
      await s.exchangeHello();
      for (let i = 0; i < 100; i++) {
        assertEquals((await s.call("Echo.echo", i)).value, i);
      }
      await s.silence();
    },
  ),
  ...server("CA1.22", "60 calls at once are answered once each", async (s) => {
    await s.exchangeHello();
    for (let i = 0; i < 60; i++) await s.go("Echo.echo", `v${i}`);
    const seen = new Map<number, unknown>();
    for (let i = 0; i < 60; i++) {
      const { id, value } = await s.answer();
      assert(!seen.has(id), `${id} was answered twice`);
      seen.set(id, value);
    }
    for (const [id, value] of seen) assertEquals(value, `v${id - 1}`);
    await s.silence();
  }),
  ...server(
    "CA1.23",
    "calls sent with HELLO, before the server's HELLO is read",
    async (s) => {
      await s.send(hello(), s.make("Echo.echo", 1), s.make("Echo.echo", 2));
      await s.readHello();
      const answers = await s.answers(1, 2);
      assertEquals(answers.map(({ value }) => value), [1, 2]);
    },
  ),
  ...server("CA1.24", "a failed call leaves the others alone", async (s) => {
    await s.exchangeHello();
    await s.go("Echo.echo", "before");
    await s.go("no.such");
    await s.go("Echo.echo", "behind");
    const answers = [await s.answer(), await s.answer(), await s.answer()];
    const byId = answers.sort((a, b) => a.id - b.id);
    assertEquals(byId.map(({ ok }) => ok), [true, false, true]);
  }),
  ...server("CA1.25", "the call of the demo", async (s) => {
    await s.exchangeHello();
    const { value } = await s.call("HelloService.Hello", "client 1");
    assertEquals(value, "hello:client 1");
  }),
  ...server(
    "CA1.26",
    "a cancelled call gets one reply",
    async (s) => {
      await s.exchangeHello();
      const id = await s.go("Conformance.wait");
      await s.send(frame(KIND.CANCEL, id));
      await s.answer(id);
      await s.silence();
    },
  ),
];

const started = [
  ...server("CA2.1", "params that do not parse: not started", async (s) => {
    await s.exchangeHello();
    const raw = join([PAYLOAD.JSON], utf8("{"));
    const { code, started } = await s.call("Echo.echo", undefined, { raw });
    assertEquals([code, started], ["invalid_argument", false]);
  }),
  ...server("CA2.2", "a deadline of 0: not started", async (s) => {
    await s.exchangeHello();
    const got = await s.call("Echo.echo", undefined, { deadline: 0 });
    assertEquals([got.code, got.started], ["deadline_exceeded", false]);
  }),
  ...server("CA2.3", "a handler that fails with a code: started", async (s) => {
    await s.exchangeHello();
    const got = await s.call("Conformance.fail", { code: "teapot" });
    assertEquals([got.code, got.started], ["teapot", true]);
  }),
  ...server(
    "CA2.4",
    "a handler that throws an internal error: internal, started",
    async (s) => {
      await s.exchangeHello();
      const got = await s.call("Conformance.fail");
      assertEquals([got.code, got.started], ["internal", true]);
    },
  ),
  ...server("CA2.5", "a handler's own not_found: started", async (s) => {
    await s.exchangeHello();
    // Not to be taken for a method that is not there.
    const id = await s.go("Conformance.fail", { code: "unavailable" });
    const got = await s.answer(id);
    assertEquals([got.code, got.started], ["unavailable", true]);
  }),
  ...rows(
    "CA2",
    11,
    CODES,
    (id, code) =>
      client(id, `ERROR ${code} without STARTED: refused`, async (c) => {
        const call = await calling(c);
        await c.send(failure(call, code, "said", false));
        await c.alive();
        const [, got] = (await c.report()).calls;
        assertEquals([got.outcome, got.code], ["refused", code]);
      }),
  ),
  ...rows(
    "CA2",
    21,
    CODES,
    (id, code) =>
      client(id, `ERROR ${code} with STARTED: executed`, async (c) => {
        const call = await calling(c);
        await c.send(failure(call, code, "said", true));
        await c.alive();
        const [, got] = (await c.report()).calls;
        assertEquals([got.outcome, got.code], ["executed", code]);
      }),
  ),
];

const order = [
  ...server(
    "CA3.1",
    "handlers start in the order of the requests",
    async (s) => {
      await s.exchangeHello();
      const names = Array.from({ length: 20 }, (_, i) => `n${i}`);
      await s.send(...names.map((name) => s.make("Conformance.note", name)));
      for (const _ of names) await s.answer();
      assertEquals(await s.started(), names);
    },
  ),
  ...server(
    "CA3.2",
    "a call that keeps running does not delay later ones",
    async (s) => {
      await s.exchangeHello();
      const held = await s.go("Conformance.hold");
      await s.serves();
      await s.go("Conformance.release");
      const ids = [(await s.answer()).id, (await s.answer()).id];
      assert(ids.includes(held));
    },
  ),
  ...server(
    "CA3.3",
    "calls above the limit of running handlers start in order",
    async (s) => {
      await s.exchangeHello();
      const limit = await s.running();
      const names = Array.from({ length: limit + 5 }, (_, i) => `n${i}`);
      const first = s.lastId + 1;
      for (const name of names) await s.go("Conformance.wait", name);
      // Ended one by one: each makes room for one.
      for (let i = 0; i < names.length; i++) {
        await s.send(frame(KIND.CANCEL, first + i));
        await s.answer(first + i);
      }
      assertEquals(await s.started(), names);
    },
  ),
];

const unasked = [
  ...either("CA4.1", "a REPLY to an id never used: closes", async (end) => {
    await end.exchangeHello();
    await end.send(reply(0x7000_0000));
    await end.closes("protocol_error");
  }),
  ...either("CA4.2", "an ERROR to an id never used: closes", async (end) => {
    await end.exchangeHello();
    await end.send(failure(0x7000_0000, "internal", "", true));
    await end.closes("protocol_error");
  }),
  ...server(
    "CA4.3",
    "a REPLY to the id of the peer's own call: closes",
    async (s) => {
      await s.exchangeHello();
      const { id } = await s.call("Echo.echo");
      await s.send(reply(id));
      await s.closes("protocol_error");
    },
  ),
  ...client("CA4.4", "a second REPLY: closes", async (c) => {
    const id = await calling(c);
    await c.send(reply(id), reply(id));
    await c.closes("protocol_error");
    assertEquals((await c.report()).calls[1].outcome, "executed");
  }),
  ...client(
    "CA4.5",
    "an ERROR after a REPLY: closes; the REPLY counts",
    async (c) => {
      const id = await calling(c);
      await c.send(reply(id, "first"), failure(id, "internal", "", true));
      await c.closes("protocol_error");
      assertEquals((await c.report()).calls[1].value, "first");
    },
  ),
  ...client(
    "CA4.6",
    "a REPLY after an ERROR: closes; the ERROR counts",
    async (c) => {
      const id = await calling(c);
      await c.send(failure(id, "internal", "", false), reply(id));
      await c.closes("protocol_error");
      assertEquals((await c.report()).calls[1].outcome, "refused");
    },
  ),
  ...client(
    "CA4.7",
    "a REPLY to the id that would come next: closes",
    async (c) => {
      const id = await calling(c);
      await c.send(reply((id + 1) >>> 0));
      await c.closes("protocol_error");
    },
  ),
  ...client(
    "CA4.8",
    "a REPLY to the id before the first: closes",
    async (c) => {
      await c.exchangeHello();
      await c.send(reply((c.nextId - 1) >>> 0));
      await c.closes("protocol_error");
    },
  ),
  ...client("CA4.9", "an aborted call accepts one reply", async (c) => {
    const id = await givenUp(c);
    await c.send(reply(id));
    await c.alive();
    const { outcome, code } = (await c.report()).calls[1];
    assertEquals([outcome, code], ["executed", "aborted"]);
  }),
  ...client(
    "CA4.10",
    "a second reply of an aborted call: closes",
    async (c) => {
      const id = await givenUp(c);
      await c.send(reply(id), reply(id));
      await c.closes("protocol_error");
    },
  ),
  ...client("CA4.11", "an aborted call may still be refused", async (c) => {
    const id = await givenUp(c);
    await c.send(failure(id, "cancelled", "", false));
    await c.alive();
    assertEquals((await c.report()).calls[1].outcome, "refused");
  }),
  ...client(
    "CA4.12",
    "replies in reverse order reach their callers",
    async (c) => {
      await c.exchangeHello();
      await c.script(
        ...Array.from({ length: 50 }, (_, n) => (
          { do: "call", method: "m", params: n } as const
        )),
      );
      const calls = await c.requests(50);
      await c.send(
        ...calls.reverse().map(({ id, value }) => reply(id, `for ${value}`)),
      );
      await c.alive();
      const [, ...got] = (await c.report()).calls;
      assertEquals(
        got.map(({ value }) => value),
        got.map((_, n) => `for ${n}`),
      );
    },
  ),
];

/** Makes a client abort its call in flight, and returns the id of the call. */
async function givenUp(c: ClientSession): Promise<number> {
  await c.exchangeHello();
  await c.script(
    { do: "call", method: "m" },
    { do: "call", method: "gate" },
    { do: "await", call: 2 },
    { do: "abort", call: 1 },
  );
  const [call, gate] = await c.requests(2);
  await c.send(reply(gate.id));
  await c.expect(KIND.CANCEL);
  return call.id;
}

const bounded = [
  ...server("CA5.1", "a code of 200 bytes is cut to at most 64", async (s) => {
    await s.exchangeHello();
    const { code } = await s.call("Conformance.fail", {
      code: "c".repeat(200),
    });
    assert(code.length > 0 && code.length <= 64, `${code.length} bytes`);
  }),
  ...server(
    "CA5.2",
    "a message of 10,000 bytes is cut to at most 4,096",
    async (s) => {
      await s.exchangeHello();
      const message = "m".repeat(10_000);
      const got = await s.call("Conformance.fail", { code: "c", message });
      assert(got.message.length <= 4096, `${got.message.length} bytes`);
    },
  ),
  ...server(
    "CA5.3",
    "code and message are not cut inside a character",
    async (s) => {
      await s.exchangeHello();
      const [code, message] = ["a" + "é".repeat(50), "a" + "→".repeat(5000)];
      const got = await s.call("Conformance.fail", { code, message });
      assert(utf8(got.code).length <= 64 && utf8(got.message).length <= 4096);
      assert(code.startsWith(got.code) && message.startsWith(got.message));
    },
  ),
  ...server(
    "CA5.4",
    "the reply to a long unknown method name is bounded",
    async (s) => {
      await s.exchangeHello();
      const { message } = await s.call("é".repeat(30_000));
      assert(utf8(message).length <= 4096);
    },
  ),
  ...client("CA5.5", "a code of 64 and a message of 4,096 bytes", async (c) => {
    const id = await calling(c);
    const body = errorBody("c".repeat(64), "m".repeat(4096));
    await c.send(frame(KIND.ERROR, id, body, 1));
    await c.alive();
    assertEquals((await c.report()).calls[1].code, "c".repeat(64));
  }),
  ...client("CA5.6", "an empty code and message", async (c) => {
    const id = await calling(c);
    await c.send(frame(KIND.ERROR, id, errorBody("", "")));
    await c.alive();
    assertEquals((await c.report()).calls[1].outcome, "refused");
  }),
  ...server("CA6.1", "a result as large as the caller accepts", async (s) => {
    await s.exchangeHello({ maxMessage: 16_384 });
    const { ok, bytes } = await s.call("Conformance.bytes", 16_383);
    assertEquals([ok, bytes.length], [true, 16_383]);
  }),
  ...server(
    "CA6.2",
    "a result larger than the caller accepts: resource_exhausted, started",
    async (s) => {
      await s.exchangeHello({ maxMessage: 16_384 });
      const { code, started } = await s.call("Conformance.bytes", 16_384);
      assertEquals([code, started], ["resource_exhausted", true]);
      await s.serves();
    },
  ),
  ...server("CA6.3", "error data that is too large is left out", async (s) => {
    await s.exchangeHello({ maxMessage: 16_384 });
    const data = "d".repeat(20_000);
    const got = await s.call("Conformance.fail", { code: "c", data });
    assertEquals([got.code, got.started, got.kind], ["c", true, PAYLOAD.NONE]);
  }),
  ...server("CA6.4", "error data that fits is sent", async (s) => {
    await s.exchangeHello();
    const got = await s.call("Conformance.fail", { code: "c", data: { n: 1 } });
    assertEquals(got.value, { n: 1 });
  }),
];

export const calls: Section = [
  ...answered,
  ...started,
  ...order,
  ...unasked,
  ...bounded,
];
