// The frame streams: frames in, bytes out, and back.

import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { test } from "node:test";
import {
  ConnectionError,
  type Frame,
  framed,
  FrameDecoderStream,
  FrameEncoderStream,
  memoryPair,
} from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { chunked, sampleFrames } from "../support/frames.ts";
import { frame, join, KIND } from "../support/raw_peer.ts";
import { Buffer } from "../support/runtime.ts";
import { pattern } from "../support/transports.ts";

/** Decodes chunks. */
function decoded(
  chunks: Iterable<Uint8Array>,
  maxBody?: number,
): Promise<Required<Frame>[]> {
  const source = ReadableStream.from(chunks);
  const frames = source.pipeThrough(new FrameDecoderStream({ maxBody }));
  return Array.fromAsync(frames);
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return (await assertRejects(() => promise, ConnectionError)).code;
}

test("an encoder yields one chunk for each frame, with defaults for flags, id and body", async () => {
  const { frames } = sampleFrames();
  const source = ReadableStream.from<Frame>([...frames, { kind: 0x80 }]);
  const chunks = await Array.fromAsync(
    source.pipeThrough(new FrameEncoderStream()),
  );
  const wanted = frames.map(({ kind, id, body, flags }) =>
    frame(kind, id, body, flags)
  );
  assertEquals(chunks, [...wanted, frame(0x80)]);
});

test("[B1] a decoder yields what an encoder was given, however the bytes are split", async () => {
  const { bytes, frames } = sampleFrames();
  for (let cut = 0; cut <= bytes.length; cut++) {
    assertEquals(await decoded(chunked(bytes, [cut])), frames);
  }
  const single = Array.from(bytes, (byte) => Uint8Array.of(byte));
  assertEquals(await decoded(single), frames);
});

test("[B7] a decoder leaves out PAD and frames that must be skipped", async () => {
  const frames = await decoded([
    join(frame(KIND.PAD, 1, [1, 2]), frame(0x80, 2, [3]), frame(KIND.PING, 3)),
  ]);
  assertEquals(frames.map(({ id }) => id), [3]);
});

test("[B4] a decoder accepts bodies up to maxBody", async () => {
  const body = pattern(100);
  const [got] = await decoded([frame(KIND.REPLY, 1, body)], 100);
  assertEquals(got.body, body);
  const above = decoded([frame(KIND.REPLY, 1, pattern(101))], 100);
  assertEquals(await codeOf(above), "frame_too_large");
});

test("[B4] the default of maxBody is 4 MiB", async () => {
  const header = frame(KIND.REPLY);
  const view = new DataView(header.buffer);
  view.setUint32(0, 4 << 20);
  assertEquals(await codeOf(decoded([header])), "truncated");
  view.setUint32(0, (4 << 20) + 1);
  assertEquals(await codeOf(decoded([header])), "frame_too_large");
});

test("a maxBody out of range is a RangeError, and the duplex stays unlocked", () => {
  for (const maxBody of [NaN, -1, 1.5, Infinity, 2 ** 32]) {
    assertThrows(() => new FrameDecoderStream({ maxBody }), RangeError);
    const [a] = memoryPair();
    assertThrows(() => framed(a, { maxBody }), RangeError);
    assertEquals([a.readable.locked, a.writable.locked], [false, false]);
  }
});

test("[B5] an end inside a frame is a truncated error", async () => {
  const bytes = frame(KIND.REPLY, 1, [1, 2, 3]);
  for (const cut of [1, 11, 12, 14]) {
    const promise = decoded([bytes.subarray(0, cut)]);
    assertEquals(await codeOf(promise), "truncated");
  }
});

test("[B7] a protocol error errors the frames, and cancels the source of the bytes", async () => {
  const cancelled = Promise.withResolvers<unknown>();
  const source = new ReadableStream<Uint8Array>({
    pull(controller) {
      controller.enqueue(frame(0x7f));
    },
    cancel: (reason) => cancelled.resolve(reason),
  });
  const frames = source.pipeThrough(new FrameDecoderStream());
  const error = await assertRejects(
    () => Array.fromAsync(frames),
    ConnectionError,
  );
  assertEquals(error.code, "protocol_error");
  assertStrictEquals(await cancelled.promise, error);
});

test("a body shares no memory with the chunk it came in", async () => {
  const bytes = frame(KIND.REPLY, 1, [1, 2, 3]);
  // A Buffer's own `slice` would share its memory.
  const chunks = [Buffer.from(bytes), Uint8Array.from(bytes)];
  for (const chunk of chunks) {
    const decoder = new FrameDecoderStream();
    const reader = decoder.readable.getReader();
    const writer = decoder.writable.getWriter();
    const written = writer.write(chunk);
    const { value } = await reader.read();
    await written;
    chunk.fill(0xee);
    assertEquals(value?.body, Uint8Array.of(1, 2, 3));
    value?.body.fill(0);
    assertEquals(chunk[12], 0xee);
  }
});

test("a body is a plain Uint8Array that covers all of its memory", async () => {
  const large = pattern(10_000);
  const bytes = frame(KIND.REPLY, 1, large);
  for (const cuts of [[], [5000], [12, 20]]) {
    const chunks = chunked(bytes, cuts).map((chunk) => Buffer.from(chunk));
    const [{ body }] = await decoded(chunks);
    assertStrictEquals(Object.getPrototypeOf(body), Uint8Array.prototype);
    assertEquals(body.buffer.byteLength, large.length);
    assertEquals(body, large);
  }
});

test("an encoded chunk shares no memory with the body", async () => {
  const encoder = new FrameEncoderStream();
  const writer = encoder.writable.getWriter();
  const reader = encoder.readable.getReader();
  const body = Uint8Array.of(1, 2, 3);
  const written = writer.write({ kind: KIND.REPLY, body });
  const { value } = await reader.read();
  await written;
  body.fill(0);
  assertEquals(value, frame(KIND.REPLY, 0, [1, 2, 3]));
});

test("a decoder pulls no more bytes while nobody reads, and continues on a read", async () => {
  let pulls = 0;
  const source = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(frame(KIND.PING, ++pulls)),
  }, { highWaterMark: 0 });
  const reader = source.pipeThrough(new FrameDecoderStream()).getReader();
  await settle();
  assert(pulls <= 2, `${pulls} chunks`);
  for (let id = 1; id <= 100; id++) {
    assertEquals((await reader.read()).value?.id, id);
  }
  await settle();
  assert(pulls <= 102, `${pulls} chunks`);
  await reader.cancel();
});

test("an encoder makes its writer wait while nobody reads", async () => {
  const encoder = new FrameEncoderStream();
  const writer = encoder.writable.getWriter();
  const reader = encoder.readable.getReader();
  let written = 0;
  for (let id = 0; id < 3; id++) {
    writer.write({ kind: KIND.PING, id }).then(() => written++);
  }
  await settle();
  assertEquals(written, 0);
  for (let id = 0; id < 3; id++) {
    assertEquals((await reader.read()).value, frame(KIND.PING, id));
  }
  await settle();
  assertEquals(written, 3);
});

test("cancelling the frames cancels the bytes with the same reason", async () => {
  const reason = new Error("enough");
  const cancelled = Promise.withResolvers<unknown>();
  const source = new ReadableStream<Uint8Array>({
    cancel: (why) => cancelled.resolve(why),
  });
  await source.pipeThrough(new FrameDecoderStream()).cancel(reason);
  assertStrictEquals(await cancelled.promise, reason);
});

test("a failure of the bytes fails the frames with the same reason", async () => {
  const reason = new Error("lost");
  const source = new ReadableStream<Uint8Array>({
    start: (controller) => controller.error(reason),
  });
  const frames = source.pipeThrough(new FrameDecoderStream());
  const caught = await assertRejects(() => Array.fromAsync(frames));
  assertStrictEquals(caught, reason);
});
