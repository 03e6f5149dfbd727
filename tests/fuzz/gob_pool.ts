/**
 * Gob bytes to start from: streams recorded from Go (`tests/vectors/gob.json`),
 * streams of this library, and both directions of some calls.
 *
 * @module
 */

import recorded from "../vectors/gob.json" with { type: "json" };
import { Client, RpcError, Server } from "../../mod.ts";
import { encodeGob, netrpc, Registered } from "../../netrpc.ts";
import { MessageSplitter } from "../../src/netrpc/gob/splitter.ts";
import { linkedLines } from "../../src/testing/faulty.ts";
import { fromHex } from "../support/vectors.ts";
import { All, generate, registered } from "../support/go_zoo.ts";

/** Whole streams of one value. */
export function gobStreams(): Uint8Array[] {
  const own = Array.from(
    { length: 8 },
    (_, seed) => encodeGob(generate(seed), All, registered),
  );
  return [...recorded.map(({ hex }) => fromHex(hex)), ...own];
}

/** Values that are sent and echoed. */
const VALUES: readonly unknown[] = [
  "a",
  ["é", ""],
  { A: 1, B: { C: [1.5, -2] } },
  new Map([["k", { N: 7 }]]),
  [1, "x", null, new Registered("T", { A: 1 })],
  new Uint8Array(20),
  new Date(0),
  5n,
];

/** The messages that a client and a server send, including those that describe types. */
export async function recordGob(): Promise<{
  calls: Uint8Array[];
  answers: Uint8Array[];
}> {
  const { near, far, out, back } = linkedLines();
  const bytes: Record<"out" | "back", number[]> = { out: [], back: [] };
  out.onWritten = (chunk) => bytes.out.push(...chunk);
  back.onWritten = (chunk) => bytes.back.push(...chunk);
  const wire = netrpc();
  const server = new Server<object, "exact">({
    S: {
      m: (params: unknown) => params,
      e: (params: unknown) => params,
      h: () => Promise.resolve("late"),
      f: () => {
        throw new RpcError("sorry", "no");
      },
    },
  }, { protocol: wire });
  server.accept(far);
  const client = new Client<Record<string, (params?: unknown) => unknown>>(
    near,
    { protocol: wire },
  );
  const calls = ["S.m", "S.e", "S.h", "S.f", "S.none"].flatMap((method) =>
    VALUES.map((value) => client.call(method, value).catch(() => {}))
  );
  await Promise.all(calls);
  await client.close();
  await server.close();
  return { calls: split(bytes.out), answers: split(bytes.back) };
}

function split(stream: number[]): Uint8Array[] {
  const bytes = Uint8Array.from(stream);
  const messages: Uint8Array[] = [];
  let begin = 0;
  const splitter = new MessageSplitter({
    message(_bytes, _start, end) {
      messages.push(bytes.subarray(begin, end));
      begin = end;
    },
  }, bytes.length);
  splitter.push(bytes, 0);
  return messages;
}
