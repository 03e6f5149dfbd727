/** W3C Trace Context: what is believed, what is made, and how it goes along with calls. */

import { test } from "node:test";
import { assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import {
  type CallContext,
  Client,
  clientMiddleware,
  type ClientOptions,
  formatTraceparent,
  memoryPair,
  nextSpan,
  parseTraceparent,
  Server,
  startTrace,
  traced,
  traceMetadata,
  traceOf,
  type TraceOptions,
} from "../../mod.ts";
import { pair } from "../support/pair.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const SPAN = "b7ad6b7169203331";
const VALID = `00-${TRACE}-${SPAN}-01`;

const services = {
  T: {
    seen: (_: null, { metadata }: CallContext) => Object.fromEntries(metadata),
  },
};

function tracing(options?: TraceOptions, more: ClientOptions = {}) {
  return pair(services, {
    client: { use: clientMiddleware(traced(options)), ...more },
  });
}

const valid: [string, boolean][] = [
  [VALID, true],
  [`00-${TRACE}-${SPAN}-00`, false],
  // Flags nobody knows yet say nothing of `sampled`.
  [`00-${TRACE}-${SPAN}-fe`, false],
  [`00-${TRACE}-${SPAN}-ff`, true],
  // A later version may have more behind what is known.
  [`01-${TRACE}-${SPAN}-01`, true],
  [`cc-${TRACE}-${SPAN}-01-what-the-future-holds`, true],
];

for (const [text, sampled] of valid) {
  test(`traceparent ${text} is read`, () => {
    assertEquals(parseTraceparent(text), {
      traceId: TRACE,
      parentId: SPAN,
      sampled,
    });
  });
}

const invalid: [string, string | undefined][] = [
  ["nothing", undefined],
  ["an empty text", ""],
  ["version ff", `ff-${TRACE}-${SPAN}-01`],
  ["version 00 with more behind it", `${VALID}-x`],
  ["a later version that runs on", `01-${TRACE}-${SPAN}-01x`],
  ["upper case", VALID.toUpperCase()],
  ["an all-zero trace-id", `00-${"0".repeat(32)}-${SPAN}-01`],
  ["an all-zero parent-id", `00-${TRACE}-${"0".repeat(16)}-01`],
  ["a short trace-id", `00-${TRACE.slice(1)}-${SPAN}-01`],
  ["a long parent-id", `00-${TRACE}-${SPAN}0-01`],
  ["no flags", `00-${TRACE}-${SPAN}`],
  ["one digit of flags", `00-${TRACE}-${SPAN}-1`],
  ["digits that are none", `00-${TRACE.replace("0", "g")}-${SPAN}-01`],
  ["a blank before it", ` ${VALID}`],
  ["a line end behind it", `${VALID}\n`],
];

for (const [what, text] of invalid) {
  test(`a traceparent with ${what} is as good as none`, () => {
    assertEquals(parseTraceparent(text), undefined);
  });
}

test("what is made is valid, new each time, and read back as it was", () => {
  const [one, two] = [startTrace(), startTrace(true)];
  assertNotEquals(one.traceId, two.traceId);
  assertEquals([one.sampled, two.sampled], [false, true]);
  assertMatch(formatTraceparent(two), /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
  assertEquals(parseTraceparent(formatTraceparent(one)), one);
  const next = nextSpan(two);
  assertEquals([next.traceId, next.sampled], [two.traceId, true]);
  assertNotEquals(next.parentId, two.parentId);
});

const states: [string, string, boolean][] = [
  ["one member", "rojo=00f067aa0ba902b7", true],
  ["several, with blanks and empty ones", "a=1 , ,b=2,\tt3@sys=x y", true],
  ["a key of a tenant", "0tenant@system=1", true],
  ["32 members", Array.from({ length: 32 }, (_, i) => `k${i}=v`).join(), true],
  ["33 members", Array.from({ length: 33 }, (_, i) => `k${i}=v`).join(), false],
  ["nothing in it", " , ", false],
  ["a key twice", "a=1,a=2", false],
  ["an upper-case key", "A=1", false],
  ["a key too long", `${"k".repeat(257)}=1`, false],
  ["no value", "a=", false],
  ["an equals sign in the value", "a=b=c", false],
  ["a control character", "a=\u0001", false],
];

for (const [what, tracestate, passes] of states) {
  test(`a tracestate with ${what} is ${passes ? "passed on" : "dropped"}`, () => {
    const metadata = new Map([["traceparent", VALID], [
      "tracestate",
      tracestate,
    ]]);
    const trace = traceOf({ metadata });
    assertEquals(trace?.traceId, TRACE);
    assertEquals(trace?.state, passes ? tracestate : undefined);
  });
}

test("a tracestate counts for nothing without a valid traceparent", () => {
  const metadata = new Map([["traceparent", "00-1"], ["tracestate", "a=1"]]);
  assertEquals(traceOf({ metadata }), undefined);
});

test("a call without a trace gets a new one, each its own", async () => {
  const { client, close } = tracing({ sampled: true });
  const [one, two] = await Promise.all([
    client.call("T.seen", null),
    client.call("T.seen", null),
  ]);
  assertMatch(one.traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
  assertNotEquals(one.traceparent, two.traceparent);
  await close();
});

test("a call's own valid traceparent is sent as it is, with what else it sends", async () => {
  const { client, close } = tracing({ current: () => startTrace() });
  const metadata = { traceparent: VALID, tracestate: "a=1", other: "x" };
  const seen = await client.call("T.seen", null, { metadata });
  assertEquals(seen, metadata);
  await close();
});

test("an invalid traceparent is replaced, and its tracestate not sent", async () => {
  const { client, close } = tracing();
  const metadata = { traceparent: "00-1", tracestate: "a=1", other: "x" };
  const seen = await client.call("T.seen", null, { metadata });
  assertEquals(Object.keys(seen).sort(), ["other", "traceparent"]);
  assertNotEquals(parseTraceparent(seen.traceparent), undefined);
  await close();
});

test("the tracer's active span is what a call is sent by", async () => {
  const current = { traceId: TRACE, parentId: SPAN, sampled: true };
  const { client, close } = tracing({ current: () => current });
  const seen = await client.call("T.seen", null);
  assertEquals(seen, traceMetadata(current));
  await close();
});

test("a handler's call that names its ctx goes on with the trace it was called by, one step on", async () => {
  const inner = tracing();
  const outer = pair({
    pass: (_: null, ctx: CallContext) =>
      inner.client.call("T.seen", null, { ctx }),
  });
  const metadata = { traceparent: VALID, tracestate: "a=1" };
  const seen = await outer.client.call("pass", null, { metadata });
  const trace = parseTraceparent(seen.traceparent);
  assertEquals([trace?.traceId, trace?.sampled], [TRACE, true]);
  assertNotEquals(trace?.parentId, SPAN);
  assertEquals(seen.tracestate, "a=1");
  await outer.close();
  await inner.close();
});

test("traces go along with calls of every kind", async () => {
  const traces: (string | undefined)[] = [];
  const server = new Server({
    note: (n: number, ctx: CallContext) => {
      traces.push(traceOf(ctx)?.traceId);
      return n;
    },
  });
  const [near, far] = memoryPair();
  server.accept(far);
  const client = new Client<{ note(n: number): number }>(near, {
    use: clientMiddleware(traced({ current: () => parseTraceparent(VALID) })),
  });
  await client.call("note", 1);
  await client.go("note", 2).reply;
  await client.notify("note", 3);
  await Array.fromAsync(client.map("note", [4]));
  await ReadableStream.from([5]).pipeThrough(client.stage("note"))
    .pipeTo(new WritableStream());
  await client.close();
  assertEquals(traces, Array(5).fill(TRACE));
  await server.close();
});
