// The decoder with random chunks, and the memory that it holds for a frame that
// never ends. On a failure fast-check prints the seed and the smallest case.

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { test } from "node:test";
import { type Frame, FrameEncoderStream } from "../../mod.ts";
import { FrameDecoder } from "../../src/wire/frame_decoder.ts";
import { allocations, chunked, decodeAll } from "../support/frames.ts";
import { frame, join, KIND } from "../support/raw_peer.ts";

/** Any frame the decoder delivers or skips. */
const anyFrame: fc.Arbitrary<Required<Frame>> = fc.record({
  kind: fc.constantFrom(1, 2, 3, 4, 5, 6, 7, 8, 9, 0x10, 0x13, 0x80, 0xff),
  flags: fc.constant(0),
  id: fc.nat({ max: 0xffffffff }),
  body: fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.uint8Array({ minLength: 4000, maxLength: 9000, size: "max" }),
  ),
});

const anyCuts = fc.array(fc.nat({ max: 30_000 }), { maxLength: 30 });

function encode(frames: Required<Frame>[]): Uint8Array {
  return join(
    ...frames.map(({ kind, id, body, flags }) => frame(kind, id, body, flags)),
  );
}

function isDelivered({ kind }: Frame): boolean {
  return kind !== KIND.PAD && kind < 0x80;
}

test("[B1] any frames in any chunks are decoded to the same frames, at a linear cost", () => {
  fc.assert(fc.property(
    fc.array(anyFrame, { maxLength: 8 }),
    anyCuts,
    (frames, cuts) => {
      const bytes = encode(frames);
      const sorted = cuts.toSorted((a, b) => a - b);
      const got = decodeAll(chunked(bytes, sorted), 10_000);
      assertEquals(got.frames, frames.filter(isDelivered));
      assertEquals(got.headers, frames.length);
      assert(got.copied <= 2 * bytes.length);
    },
  ));
});

test("[B1] any frames in any chunks and with a budget are decoded to the same frames", () => {
  fc.assert(fc.property(
    fc.array(anyFrame, { maxLength: 8 }),
    anyCuts,
    fc.integer({ min: 1, max: 4 }),
    (frames, cuts, budget) => {
      const kinds: number[] = [];
      const sink = { frame: (kind: number) => kinds.push(kind) };
      const decoder = new FrameDecoder(sink, 10_000);
      const sorted = cuts.toSorted((a, b) => a - b);
      for (const chunk of chunked(encode(frames), sorted)) {
        for (let at = 0; at < chunk.length;) {
          at = decoder.push(chunk, at, budget);
        }
      }
      decoder.end();
      const wanted = frames.filter(isDelivered).map(({ kind }) => kind);
      assertEquals(kinds, wanted);
    },
  ));
});

test("[B6] random bytes are decoded or refused with a typed error; nothing crashes", () => {
  fc.assert(fc.property(
    fc.uint8Array({ maxLength: 200 }),
    anyCuts,
    (bytes, cuts) => {
      try {
        decodeAll(chunked(bytes, cuts.toSorted((a, b) => a - b)));
      } catch (error) {
        const { name } = error as Error;
        assertEquals(name, "ConnectionError");
      }
    },
  ));
});

test("the bytes of any frame are as docs/protocol.md section 2 defines them", async () => {
  await fc.assert(fc.asyncProperty(anyFrame, async (one) => {
    const source = ReadableStream.from([one]);
    const chunks = await Array.fromAsync(
      source.pipeThrough(new FrameEncoderStream()),
    );
    assertEquals(chunks, [encode([one])]);
  }));
});

test("[B12] an unfinished frame holds at most twice the bytes received, in few objects", () => {
  const header = frame(KIND.REPLY, 1);
  new DataView(header.buffer).setUint32(0, 4 << 20);
  for (const size of [1, 100, 4095]) {
    const decoder = new FrameDecoder({ frame() {} }, 4 << 20);
    decoder.push(header);
    let held = 0;
    let objects = 0;
    for (let received = size; received <= 300_000; received += size) {
      const piece = new Uint8Array(size);
      const { sizes } = allocations(() => decoder.push(piece));
      for (const n of sizes) held += n;
      objects += sizes.length;
      assert(held <= Math.max(4096, 2 * received), `${held} of ${received}`);
    }
    assert(objects <= 10, `${objects} objects`);
  }
});

test("[B12] a header alone allocates nothing", () => {
  const header = frame(KIND.REPLY, 1);
  new DataView(header.buffer).setUint32(0, 4 << 20);
  const decoder = new FrameDecoder({ frame() {} }, 4 << 20);
  const { sizes } = allocations(() => {
    decoder.push(header.subarray(0, 5));
    decoder.push(header.subarray(5));
  });
  assertEquals(sizes, []);
});
