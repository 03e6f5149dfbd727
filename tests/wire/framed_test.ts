// framed(): a duplex of frames over a duplex of bytes.

import {
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { test } from "node:test";
import {
  Client,
  ConnectionError,
  type Duplex,
  type Frame,
  framed,
  memoryPair,
  Server,
} from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { sampleFrames } from "../support/frames.ts";
import { frame, KIND } from "../support/raw_peer.ts";

/** A duplex that records how it is ended. */
function recording(): { duplex: Duplex; ends: [string, unknown][] } {
  const ends: [string, unknown][] = [];
  const duplex = {
    readable: new ReadableStream<Uint8Array>({
      cancel: (reason) => void ends.push(["cancel", reason]),
    }),
    writable: new WritableStream<Uint8Array>({
      abort: (reason) => void ends.push(["abort", reason]),
      close: () => void ends.push(["close", undefined]),
    }),
  };
  return { duplex, ends };
}

test("frames travel in both directions, and closing one leaves the other open", async () => {
  const { frames } = sampleFrames();
  const [a, b] = memoryPair().map((end) => framed(end));
  for (const [from, to] of [[a, b], [b, a]]) {
    const got = Array.fromAsync(to.readable);
    await ReadableStream.from<Frame>(frames).pipeTo(from.writable);
    assertEquals(await got, frames);
  }
});

test("each frame is written as one chunk", async () => {
  const [a, b] = memoryPair();
  const writer = framed(a).writable.getWriter();
  await writer.write({ kind: KIND.REPLY, id: 3, body: Uint8Array.of(9) });
  const { value } = await b.readable.getReader().read();
  assertEquals(value, frame(KIND.REPLY, 3, [9]));
});

test("a client and a server work through a proxy of frames", async () => {
  const services = { Echo: { echo: (value: unknown) => value } };
  const [near, left] = memoryPair();
  const [right, far] = memoryPair();
  const [a, b] = [framed(left), framed(right)];
  const there = a.readable.pipeTo(b.writable);
  const back = b.readable.pipeTo(a.writable);
  const server = new Server(services);
  server.accept(far);
  const client = new Client<typeof services>(near);
  const values = ["x", 1, null, { k: [true] }, Uint8Array.of(1, 2), undefined];
  const calls = values.map((value) => client.call("Echo.echo", value));
  assertEquals(await Promise.all(calls), values);
  await Promise.all([client.close(), server.close()]);
  await Promise.all([there, back]);
});

test("closing, aborting and cancelling pass through, with their reasons", async () => {
  const reason = new Error("enough");
  const closing = recording();
  await framed(closing.duplex).writable.close();
  await settle();
  assertEquals(closing.ends, [["close", undefined]]);

  const aborting = recording();
  await framed(aborting.duplex).writable.abort(reason);
  await settle();
  assertEquals(aborting.ends.length, 1);
  assertEquals(aborting.ends[0][0], "abort");
  assertStrictEquals(aborting.ends[0][1], reason);

  const cancelling = recording();
  await framed(cancelling.duplex).readable.cancel(reason);
  await settle();
  assertEquals(cancelling.ends.length, 1);
  assertEquals(cancelling.ends[0][0], "cancel");
  assertStrictEquals(cancelling.ends[0][1], reason);
});

test("a peer's reset fails both directions", async () => {
  const [a, b] = memoryPair();
  const { readable, writable } = framed(a);
  const writer = writable.getWriter();
  const failed = assertRejects(() => writer.closed);
  await b.writable.abort(new Error("reset"));
  await assertRejects(() => Array.fromAsync(readable), ConnectionError);
  await failed;
});

test("a protocol error in the peer's bytes fails reading, and writing goes on", async () => {
  const [a, b] = memoryPair();
  const { readable, writable } = framed(a);
  await b.writable.getWriter().write(frame(0x7f));
  const error = await assertRejects(
    () => Array.fromAsync(readable),
    ConnectionError,
  );
  assertEquals(error.code, "protocol_error");
  // So the reason can still be sent to the peer.
  await writable.getWriter().write({ kind: KIND.GOAWAY, flags: 1 });
  const { value } = await b.readable.getReader().read();
  assertEquals(value, frame(KIND.GOAWAY, 0, [], 1));
});

test("a body above maxBody fails reading", async () => {
  const [a, b] = memoryPair();
  const { readable } = framed(a, { maxBody: 3 });
  const writer = b.writable.getWriter();
  await writer.write(frame(KIND.REPLY, 1, [1, 2, 3]));
  const reader = readable.getReader();
  assertEquals((await reader.read()).value?.id, 1);
  await writer.write(frame(KIND.REPLY, 2, [1, 2, 3, 4]));
  const error = await assertRejects(() => reader.read(), ConnectionError);
  assertEquals(error.code, "frame_too_large");
});

test("[L8] framed refuses a duplex with a locked stream", () => {
  for (const side of ["readable", "writable"] as const) {
    const [a] = memoryPair();
    if (side === "readable") a.readable.getReader();
    else a.writable.getWriter();
    assertThrows(() => framed(a), TypeError, `${side} is locked`);
  }
});
