/**
 * The streams of the library's own transports. They are created when somebody
 * asks for them, and show the same whenever that is.
 */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import { ConnectionError } from "../../src/base/errors.ts";
import { toDuplex } from "../../src/transport/sockets/deno_conn.ts";
import type { Duplex } from "../../src/types/duplex.ts";
import { memoryPair } from "../../src/transport/memory.ts";
import { turn } from "../support/clock.ts";
import { matrix, pattern, receive } from "../support/transports.ts";

/** Writes through the stream of one side, and releases it. */
async function send(end: Duplex, chunk: Uint8Array): Promise<void> {
  const writer = end.writable.getWriter();
  await writer.write(chunk);
  writer.releaseLock();
}

matrix("the end shows on an idle reader at once", async (a, b) => {
  const reader = a.readable.getReader();
  await b.writable.close();
  await reader.closed;
});

matrix("an abort shows on an idle reader and writer", async (a) => {
  const reader = a.readable.getReader();
  const writer = a.writable.getWriter();
  const reason = new Error("enough");
  await writer.abort(reason);
  assertEquals(await reader.closed.catch((error) => error), reason);
  assertEquals(await writer.closed.catch((error) => error), reason);
  reader.releaseLock();
  writer.releaseLock();
});

test("a reset shows on an idle reader and writer", async () => {
  const [a, b] = memoryPair();
  const reader = a.readable.getReader();
  const writer = a.writable.getWriter();
  await b.writable.abort();
  await assertRejects(() => reader.closed, ConnectionError);
  await assertRejects(() => writer.closed, ConnectionError);
});

test("streams created after the end, or after a reset, show it", async () => {
  const [a, b] = memoryPair();
  await send(b, pattern(10));
  await b.writable.close();
  assertEquals((await receive(a)).bytes, pattern(10));
  await b.readable.cancel();

  const [c, d] = memoryPair();
  await send(d, pattern(10));
  await d.writable.abort();
  const { bytes, error } = await receive(c);
  assertEquals(bytes, pattern(10));
  assert(error instanceof ConnectionError);
  await assertRejects(() => c.writable.getWriter().closed, ConnectionError);
});

test("toDuplex refuses a duplex that was reset before it had streams", async () => {
  const [a, b] = memoryPair();
  await b.writable.abort();
  assertThrows(() => toDuplex(a), TypeError, "writable has failed");
});

for (const how of ["close", "abort"] as const) {
  test(`a pending read gets a chunk, and then the ${how} of the same turn`, async () => {
    const [a, b] = memoryPair();
    const reader = a.readable.getReader();
    const reading = reader.read();
    await turn();
    const writer = b.writable.getWriter();
    await writer.ready;
    // Nothing else runs between the two.
    writer.write(pattern(10)).catch(() => {});
    await Promise.resolve();
    const ending = writer[how]().catch(() => {});
    assertEquals((await reading).value, pattern(10));
    const closed = reader.closed.then(() => "close", () => "abort");
    assertEquals(await closed, how);
    await ending;
  });

  test(`a chunk for a released reader is read before the ${how}`, async () => {
    const [a, b] = memoryPair();
    const reader = a.readable.getReader();
    const reading = reader.read().catch(() => {});
    await turn();
    reader.releaseLock();
    await reading;
    await send(b, pattern(10));
    await b.writable[how]();
    const { bytes, ended, error } = await receive(a);
    assertEquals(bytes, pattern(10));
    assertEquals(ended, how === "close");
    assertEquals(error instanceof ConnectionError, how === "abort");
  });
}

test("a chunk that arrives during a cancel is dropped without an error", async () => {
  const [a, b] = memoryPair();
  const reader = a.readable.getReader();
  const reading = reader.read();
  await turn();
  const writing = send(b, pattern(10));
  await Promise.resolve();
  const cancelling = reader.cancel();
  await Promise.all([reading, writing, cancelling]);
  // An unhandled rejection would fail the test.
  await turn();
  await send(b, pattern(10));
});

test("a copy of a duplex has the same streams", () => {
  const [a] = memoryPair();
  const copy = { ...a };
  assert(copy.readable === a.readable && copy.writable === a.writable);
  assertEquals(Object.keys(a), ["readable", "writable", "local", "remote"]);
  assertThrows(() => {
    (a as { readable: unknown }).readable = undefined;
  }, TypeError);
});
