// JSON-RPC 2.0 against its specification (https://www.jsonrpc.org/specification,
// with the examples of section 7): what a peer sends, and what it must get back.

import { assertEquals, assertMatch } from "@std/assert";
import { test } from "node:test";
import { faceJsonServer } from "../support/json_peer.ts";
import vectors from "../vectors/jsonrpc.json" with { type: "json" };

function minus(
  params: readonly [number, number] | { from: number; less: number },
): number {
  return "from" in params ? params.from - params.less : params[0] - params[1];
}

const services = {
  minus,
  total: (numbers: number[]) => numbers.reduce((a, b) => a + b),
  note: () => {},
  data: () => ["hello", 5],
};

/** Removes the error messages, whose texts are free; they must not be empty. */
function withoutMessages(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutMessages);
  const { error, ...rest } = value as Record<string, unknown>;
  if (error === undefined) return value;
  const { message, ...code } = error as Record<string, unknown>;
  assertMatch(String(message), /\w+/);
  return { ...rest, error: code };
}

for (const framing of ["lines", "contentLength"] as const) {
  for (const { name, send, receive } of vectors) {
    test(`${name} (${framing})`, async () => {
      const { peer, close } = faceJsonServer(services, { framing });
      for (const text of send) {
        const wrapped = framing === "lines"
          ? `${text}\n`
          : `Content-Length: ${text.length}\r\n\r\n${text}`;
        await peer.raw(wrapped);
      }
      for (const expected of receive) {
        const got = await peer.next();
        assertEquals(withoutMessages(got), expected);
      }
      assertEquals(await close(), []);
    });
  }
}
