/**
 * Fuzzing of the JSON-RPC wire: sessions that are legal but for what a seed
 * breaks in them, in chunks of every size, against a real client that serves.
 *
 * What must hold whatever comes: nothing throws past the connection, what is
 * answered is well-formed JSON-RPC, no call settles twice or stays open once
 * the connection is over, and nothing is left behind.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { type FramingName, JsonRpcClient } from "../../jsonrpc.ts";
import { type CallContext, memoryPair } from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";
import { assertNothingLeft } from "../support/pair.ts";

/** What a run did. */
export interface FuzzReport {
  readonly sessions: number;
  readonly bytes: number;
  /** Sessions that a breach of the framing ended. */
  readonly closed: number;
}

/** Runs sessions for `seconds`, at least one; a failure names the seed of its session, which alone repeats it. */
export async function fuzzJsonRpc(
  seed: number,
  seconds: number,
): Promise<FuzzReport> {
  const end = performance.now() + seconds * 1000;
  const report = { sessions: 0, bytes: 0, closed: 0 };
  do {
    const own = (seed + report.sessions) >>> 0;
    try {
      await session(new Random(own), report);
    } catch (cause) {
      throw new Error(`JSON-RPC fuzz failed with seed ${own}`, { cause });
    }
    report.sessions++;
  } while (performance.now() < end);
  return report;
}

/** Small and repeatable: mulberry32. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** A whole number from 0 to below `n`. */
  below(n: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % n;
  }

  of<T>(values: readonly T[]): T {
    return values[this.below(values.length)];
  }

  /** True once in `n`. */
  once(n: number): boolean {
    return this.below(n) === 0;
  }
}

const services = {
  echo: (params: unknown) => params,
  fail: () => {
    throw new Error("as it should");
  },
  slow: async (_: unknown, { signal }: CallContext) => {
    await Promise.resolve();
    return signal.aborted;
  },
};

const ATOMS: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  2 ** 53,
  "",
  "x",
  '\u0000\n"\\]}',
  "€😀\ud800",
  [],
  {},
];
const METHODS = [
  "echo",
  "fail",
  "slow",
  "nobody",
  "__proto__",
  "$/cancelRequest",
  "notifications/cancelled",
];
const MEMBERS = ["jsonrpc", "id", "method", "params", "result", "error"];

/** Any value, not deep. */
function anything(random: Random, depth = 3): unknown {
  if (depth === 0 || random.once(2)) return random.of(ATOMS);
  const size = random.below(4);
  const items = Array.from({ length: size }, () => anything(random, depth - 1));
  if (random.once(2)) return items;
  return Object.fromEntries(items.map((item) => [random.of(MEMBERS), item]));
}

/** A message, legal but for one member in some. */
function message(random: Random): unknown {
  const made: Record<string, unknown> = { jsonrpc: "2.0" };
  switch (random.below(4)) {
    case 0:
      made.id = random.of([1, 2, 3, "a", null]);
      made.result = anything(random);
      break;
    case 1:
      made.id = 1 + random.below(20);
      made.error = { code: random.below(3) - 32601, message: "m" };
      break;
    default:
      made.method = random.of(METHODS);
      if (!random.once(3)) made.id = random.of([1, 2, 3, "a", "b", null]);
      if (!random.once(3)) made.params = random.of([[1], { id: 1 }, {}]);
  }
  if (random.once(4)) made[random.of(MEMBERS)] = anything(random);
  if (random.once(8)) delete made[random.of(MEMBERS)];
  return made;
}

function text(random: Random): string {
  if (random.once(10)) return JSON.stringify(anything(random));
  if (random.once(3)) {
    const size = random.below(6);
    return JSON.stringify(Array.from({ length: size }, () => message(random)));
  }
  return JSON.stringify(message(random));
}

const HEADERS = [
  "Content-Length: ",
  "content-length:",
  "Content-Type: x; charset=utf8\r\nContent-Length: ",
  "X: y\r\nContent-Length: ",
];
const LENGTHS = ["99999999999999", "-1", "", "1e3", "0", "0x5", " 5"];

function frame(random: Random, framing: FramingName): string {
  const body = text(random);
  if (framing === "lines") {
    return body + random.of(["\n", "\n", "\r\n", "\n\n"]);
  }
  const length = random.once(60)
    ? random.of(LENGTHS)
    : String(new TextEncoder().encode(body).length);
  return `${random.of(HEADERS)}${length}\r\n\r\n${body}`;
}

/** The bytes of a session, some of them overwritten, dropped or doubled. */
function bytesOf(random: Random, framing: FramingName): Uint8Array {
  const frames = Array.from(
    { length: 1 + random.below(20) },
    () => frame(random, framing),
  );
  const bytes = new TextEncoder().encode(frames.join(""));
  if (random.once(2)) return bytes;
  for (let i = random.below(4); i > 0; i--) {
    bytes[random.below(bytes.length)] = random.below(256);
  }
  if (!random.once(3)) return bytes;
  const from = random.below(bytes.length);
  return random.once(2) ? bytes.subarray(0, from) : bytes.subarray(from);
}

async function session(
  random: Random,
  report: { bytes: number; closed: number },
): Promise<void> {
  const framing = random.of(["lines", "contentLength"] as const);
  const dialect = random.of(["lsp", "mcp", "none"] as const);
  const [near, far] = memoryPair();
  const client = new JsonRpcClient<Record<string, () => unknown>>(near, {
    framing,
    dialect,
    services,
    maxMessage: 16 * 1024,
    maxRunning: 1 + random.below(3),
    windowCalls: 1 + random.below(10),
    window: 1 + random.below(10),
    clock: new TestClock(),
  });
  const settled: number[] = [];
  const handles = Array.from({ length: random.below(12) }, (_, i) => {
    const handle = client.go(random.of(METHODS));
    handle.reply.then(() => settled.push(i), () => settled.push(i));
    return handle;
  });
  const said = read(far.readable);
  const writer = far.writable.getWriter();
  writer.closed.catch(() => {});
  const bytes = bytesOf(random, framing);
  report.bytes += bytes.length;
  for (let at = 0; at < bytes.length;) {
    const step = random.once(3) ? 1 : 1 + random.below(bytes.length);
    writer.write(bytes.slice(at, at + step)).catch(() => {});
    at += step;
    if (random.once(8)) handles[random.below(handles.length || 1)]?.abort();
  }
  writer.close().catch(() => {});
  await settle();
  checkSaid(await said, framing);
  const reason = await client.connection.closed;
  if (reason !== undefined) report.closed++;
  await Promise.all(handles.map(({ settled }) => settled));
  await settle();
  assertEquals(settled.length, handles.length);
  assertEquals(new Set(settled).size, settled.length);
  assertNothingLeft(client.connection);
}

async function read(readable: ReadableStream<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of readable) chunks.push(chunk);
  return new TextDecoder("utf-8", { fatal: true }).decode(joined(chunks));
}

function joined(chunks: Uint8Array[]): Uint8Array {
  return Uint8Array.from(chunks.flatMap((chunk) => [...chunk]));
}

/** All that the real end said must be whole messages. */
function checkSaid(said: string, framing: FramingName): void {
  for (const body of bodies(said, framing)) {
    for (const each of [JSON.parse(body)].flat()) {
      assertEquals(each.jsonrpc, "2.0");
      const answers = Number("result" in each) + Number("error" in each);
      const calls = Number(typeof each.method === "string");
      assertEquals(answers + calls, 1, body);
      if (answers > 0) assert("id" in each, body);
      if ("error" in each) assert(Number.isInteger(each.error.code), body);
    }
  }
}

function* bodies(said: string, framing: FramingName): Generator<string> {
  if (framing === "lines") {
    for (const line of said.split("\n").slice(0, -1)) yield line;
    assert(said === "" || said.endsWith("\n"));
    return;
  }
  const bytes = new TextEncoder().encode(said);
  const decoder = new TextDecoder();
  for (let at = 0; at < bytes.length;) {
    const head = decoder.decode(bytes.subarray(at, at + 64));
    const found = /^Content-Length: (\d+)\r\n\r\n/.exec(head);
    assert(found !== null, head);
    at += found[0].length;
    const end = at + Number(found[1]);
    yield decoder.decode(bytes.subarray(at, end));
    at = end;
  }
}
