// A connection to a child process over its standard input and output.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { once } from "node:events";
import { test } from "node:test";
import { ConnectionError } from "../../src/base/errors.ts";
import { nodeDuplex } from "../../src/transport/sockets/node_stream.ts";
import { startScript } from "../support/script.ts";
import { flood, pattern, receive, send, stall } from "../support/transports.ts";

const MIB = 1_048_576;

/** Starts the script in a mode. */
function start(mode: string) {
  const child = startScript("stdio.ts", { args: [mode] });
  const exit = once(child, "close").then(([code]) => code);
  return { child, exit, duplex: nodeDuplex(child.stdout!, child.stdin!) };
}

test("a child echoes 8 MiB without a change", async () => {
  const { duplex, exit } = start("echo");
  const sent = pattern(8 * MIB);
  const [received] = await Promise.all([
    receive(duplex),
    send(duplex, sent).then(() => duplex.writable.close()),
  ]);
  assert(received.ended);
  assertEquals(received.bytes.byteLength, sent.byteLength);
  assertEquals(Buffer.compare(received.bytes, sent), 0);
  assertEquals(await exit, 0);
});

test("a parent that does not read stalls the child, which stalls the parent", async () => {
  const { duplex, exit } = start("echo");
  const progress = { bytes: 0 };
  const writing = flood(duplex, 16 * MIB, progress);
  // The child has begun once something has come back.
  assert((await receive(duplex, 1)).bytes.byteLength > 0);
  await stall(progress);
  assert(progress.bytes < 8 * MIB, `${progress.bytes} bytes taken`);
  const [, failure] = await Promise.all([
    receive(duplex),
    writing.then(async (error) => {
      await duplex.writable.close();
      return error;
    }),
  ]);
  assertEquals(failure, undefined);
  assertEquals(await exit, 0);
});

test("a child that has closed exits while its input is still open", async () => {
  const { duplex, exit } = start("close");
  await send(duplex, pattern(10));
  const received = await receive(duplex);
  assert(received.ended);
  assertEquals(received.bytes, pattern(10));
  assertEquals(await exit, 0);
  await duplex.writable.close().catch(() => {});
});

test("a child that has aborted exits while its input is still open", async () => {
  const { duplex, exit } = start("abort");
  await send(duplex, pattern(10));
  assertEquals((await receive(duplex)).bytes, pattern(10));
  assertEquals(await exit, 0);
  await duplex.writable.close().catch(() => {});
});

test("when the child is killed reading ends and writing fails", async () => {
  const { child, duplex, exit } = start("echo");
  await send(duplex, pattern(10));
  assertEquals((await receive(duplex, 10)).bytes, pattern(10));
  child.kill("SIGKILL");
  const error = await flood(duplex, 64 * MIB, { bytes: 0 });
  assert(error instanceof ConnectionError);
  assertEquals(error.code, "unavailable");
  assert((await receive(duplex)).ended);
  await exit;
});

test("an abort destroys both streams of the child", async () => {
  const { duplex, exit } = start("echo");
  await send(duplex, pattern(10));
  assertEquals((await receive(duplex, 10)).bytes, pattern(10));
  const reason = new Error("enough");
  await duplex.writable.abort(reason);
  assertEquals((await receive(duplex)).error, reason);
  // The child reads the end, and its writes fail.
  await exit;
});

test("nodeDuplex refuses what is not a Node stream with a TypeError", () => {
  const { readable, writable } = new TransformStream();
  assertThrows(
    () => nodeDuplex(readable as never, writable as never),
    TypeError,
    "readable is not a Node stream",
  );
  assertThrows(() => nodeDuplex(null as never, null as never), TypeError);
});
