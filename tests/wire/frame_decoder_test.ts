// The incremental decoder: where bytes may be cut, what a header may contain,
// and what decoding costs.

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertThrows,
} from "@std/assert";
import { test } from "node:test";
import { ConnectionError } from "../../mod.ts";
import { FrameDecoder } from "../../src/wire/frame_decoder.ts";
import {
  allocations,
  chunked,
  decodeAll,
  faultOf,
  sampleFrames,
} from "../support/frames.ts";
import { frame, join, KIND } from "../support/raw_peer.ts";
import { pattern } from "../support/transports.ts";

const LIMIT = 1024;

test("[B1] a stream cut at any two points yields the same frames, each header parsed once", () => {
  const { bytes, frames } = sampleFrames();
  for (let a = 0; a <= bytes.length; a++) {
    for (let b = a; b <= bytes.length; b++) {
      const got = decodeAll(chunked(bytes, [a, b]));
      assertEquals(got.headers, frames.length);
      assertEquals(got.frames.length, frames.length);
      // All of it where a cut touches; elsewhere it is the same path again.
      if (b - a < 2) assertEquals(got.frames, frames);
    }
  }
});

test("[B1] a stream in single bytes yields the same frames, each byte copied once", () => {
  const { bytes, frames, bodyBytes } = sampleFrames();
  const got = decodeAll(Array.from(bytes, (byte) => Uint8Array.of(byte)));
  assertEquals(got.frames, frames);
  assertEquals(got.headers, frames.length);
  assert(got.copied <= bodyBytes);
});

test("[B1] a stream in one chunk is not copied at all", () => {
  const { bytes, frames } = sampleFrames();
  const got = decodeAll([bytes]);
  assertEquals(got.frames, frames);
  assertEquals(got.copied, 0);
});

test("[B1] a large frame in socket-sized chunks is copied once, except for a small last piece", () => {
  const body = pattern(1 << 20);
  const bytes = frame(KIND.REPLY, 1, body);
  for (const size of [8192, 16_384, 65_536, 100_000]) {
    const cuts = Array.from(
      { length: Math.floor(bytes.length / size) },
      (_, i) => (i + 1) * size,
    );
    const got = decodeAll(chunked(bytes, cuts), body.length);
    assertEquals(got.frames[0].body, body);
    assert(got.copied < body.length + 4096, `${got.copied} at ${size}`);
    assertEquals(got.headers, 1);
  }
});

test("[B1] a large frame in small pieces is copied twice at most", () => {
  const body = pattern(100_000);
  const bytes = frame(KIND.REPLY, 1, body);
  for (const size of [1, 7, 100, 4095]) {
    const cuts = Array.from(
      { length: Math.floor(bytes.length / size) },
      (_, i) => (i + 1) * size,
    );
    const got = decodeAll(chunked(bytes, cuts), body.length);
    assertEquals(got.frames[0].body, body);
    assert(got.copied <= 2 * body.length, `${got.copied} at ${size}`);
  }
});

test("[B1] large and small pieces of one frame are joined in order", () => {
  const body = pattern(40_000);
  const bytes = frame(KIND.REPLY, 1, body);
  const cuts = [12, 13, 13 + 5000, 5020, 5021, 12_000, 12_100, 39_999];
  const got = decodeAll(chunked(bytes, cuts), body.length);
  assertEquals(got.frames[0].body, body);
});

test("[B2] empty chunks anywhere change nothing", () => {
  const { bytes, frames } = sampleFrames();
  const empty = new Uint8Array(0);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const parts = [
      empty,
      empty,
      bytes.subarray(0, cut),
      empty,
      bytes.subarray(cut),
      empty,
    ];
    const got = decodeAll(parts);
    assertEquals(got.frames, frames);
    assertEquals(got.headers, frames.length);
  }
});

test("[B3] a body of length 0 is delivered, from one chunk and across two", () => {
  const bytes = frame(KIND.PING, 7);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const got = decodeAll(chunked(bytes, [cut]));
    assertEquals(got.frames.map(({ id, body }) => [id, body.length]), [[7, 0]]);
  }
});

test("[B4] a length at the limit is legal", () => {
  const got = decodeAll([frame(KIND.REPLY, 1, pattern(LIMIT))], LIMIT);
  assertEquals(got.frames[0].body, pattern(LIMIT));
});

test("[B4] a length above the limit is refused before anything is allocated", () => {
  for (const length of [LIMIT + 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1]) {
    const bytes = frame(KIND.REPLY);
    new DataView(bytes.buffer).setUint32(0, length);
    for (const chunks of [[bytes], chunked(bytes, [1]), chunked(bytes, [11])]) {
      const { sizes } = allocations(() => {
        const error = faultOf(chunks, LIMIT);
        assertEquals(error.code, "frame_too_large");
        assert(error.message.includes(`${length} `), error.message);
        assert(error.message.includes(`${LIMIT} `), error.message);
      });
      // Only the decoder's buffer for a header exists.
      assert(sizes.every((size) => size <= 12), `${sizes}`);
    }
  }
});

test("[B4] a limit lowered between frames holds for the next header", () => {
  const decoder: FrameDecoder = new FrameDecoder({
    frame: () => decoder.maxBody = 4,
  }, LIMIT);
  const bytes = join(
    frame(KIND.REPLY, 1, pattern(10)),
    frame(KIND.REPLY, 2, pattern(5)),
  );
  const error = assertThrows(() => decoder.push(bytes), ConnectionError);
  assertEquals(error.code, "frame_too_large");
});

test("[B5] an end inside a header or a body says how many bytes are missing", () => {
  const bytes = frame(KIND.REPLY, 1, pattern(20));
  for (let cut = 1; cut < bytes.length; cut++) {
    for (const chunks of [[0], [1], [Math.min(cut, 13)]]) {
      const decoder = new FrameDecoder({ frame() {} }, LIMIT);
      const part = bytes.subarray(0, cut);
      for (const chunk of chunked(part, chunks)) decoder.push(chunk);
      const error = assertThrows(() => decoder.end(), ConnectionError);
      assertEquals(error.code, "truncated");
      const wanted = cut < 12
        ? `${12 - cut} of 12 bytes missing`
        : `${32 - cut} of 20 bytes missing`;
      assert(error.message.includes(wanted), error.message);
    }
  }
});

test("[B5] an end between frames is not a fault", () => {
  const decoder = new FrameDecoder({ frame() {} }, LIMIT);
  decoder.end();
  decoder.push(join(frame(KIND.PING), frame(KIND.REPLY, 1, [0])));
  decoder.end();
});

/** The flags that each kind may have, as docs/protocol.md section 3 defines them. */
const FLAGS: Record<number, number> = {
  // Its reader checks them, after the version.
  0x01: 0xff,
  0x02: 0x3f,
  0x03: 0x12,
  0x04: 0x03,
  0x05: 0,
  0x06: 0,
  0x07: 0,
  0x08: 0x03,
  0x0a: 0x01,
  0x0b: 0x01,
  0x0c: 0x03,
  0x0d: 0x00,
  0x10: 0x03,
  0x11: 0x07,
  0x12: 0x01,
  0x13: 0x03,
};

test("[B7] known kinds with known flags are delivered, PAD and kinds from 0x80 are skipped, all others are refused", () => {
  for (let kind = 0; kind < 256; kind++) {
    for (let flags = 0; flags < 256; flags++) {
      const bytes = frame(kind, 5, [1, 2], flags);
      const skipped = kind === KIND.PAD || kind >= 0x80;
      const known = FLAGS[kind];
      if (skipped) assertEquals(decodeAll([bytes]).frames, []);
      else if (known !== undefined && (flags & ~known) === 0) {
        const body = Uint8Array.of(1, 2);
        assertEquals(decodeAll([bytes]).frames, [{ kind, flags, id: 5, body }]);
      } else assertEquals(faultOf([bytes]).code, "protocol_error");
    }
  }
});

test("[B7] the error for an unknown kind or flag names it", () => {
  assert(faultOf([frame(0x7f)]).message.includes("0x7f"));
  const { message } = faultOf([frame(KIND.PING, 0, [], 0x24)]);
  assert(message.includes("0x24") && message.includes("0x06"), message);
});

test("[B7] each reserved bit is refused, also on kinds that are skipped", () => {
  for (const kind of [KIND.REPLY, KIND.PAD, 0x80, 0xff]) {
    for (let bit = 0; bit < 16; bit++) {
      const bytes = frame(kind, 1, [0]);
      new DataView(bytes.buffer).setUint16(6, 1 << bit);
      assertEquals(faultOf([bytes]).code, "protocol_error");
    }
  }
});

test("[B7] a frame is skipped wherever it is cut, and the next frame is delivered", () => {
  for (const kind of [KIND.PAD, 0x80, 0xff]) {
    const bytes = join(frame(kind, 9, pattern(30), 0xff), frame(KIND.PING, 3));
    for (let cut = 0; cut <= bytes.length; cut++) {
      const { frames } = decodeAll(chunked(bytes, [cut]));
      assertEquals(frames.map(({ id }) => id), [3]);
    }
  }
});

test("[B7] the length limit holds for skipped kinds", () => {
  for (const kind of [KIND.PAD, 0x80, 0xff]) {
    assertEquals(decodeAll([frame(kind, 0, pattern(LIMIT))], LIMIT).frames, []);
    const error = faultOf([frame(kind, 0, pattern(LIMIT + 1))], LIMIT);
    assertEquals(error.code, "frame_too_large");
  }
});

test("[B11] nothing after a fatal frame is delivered", () => {
  const good = Array.from({ length: 1000 }, (_, i) => frame(KIND.PING, i));
  let delivered = 0;
  const decoder = new FrameDecoder({ frame: () => delivered++ }, LIMIT);
  const bytes = join(frame(KIND.PING), frame(0x7f), ...good);
  assertInstanceOf(assertThrows(() => decoder.push(bytes)), ConnectionError);
  assertEquals(delivered, 1);
});

test("[B11] a stopped decoder delivers nothing more of its chunk", () => {
  const { bytes, frames } = sampleFrames();
  for (let stopAt = 1; stopAt <= frames.length; stopAt++) {
    let delivered = 0;
    const decoder: FrameDecoder = new FrameDecoder({
      frame: () => decoder.stopped = ++delivered === stopAt,
    }, LIMIT);
    decoder.push(bytes.subarray(0, 5));
    decoder.push(bytes.subarray(5));
    assertEquals(delivered, stopAt);
  }
});

test("a budget of frames leaves the rest of the chunk for later, and none is lost", () => {
  const { bytes, frames } = sampleFrames();
  for (const budget of [1, 2, 3, 100]) {
    const got: number[] = [];
    const sink = { frame: (kind: number) => got.push(kind) };
    const decoder = new FrameDecoder(sink, LIMIT);
    for (let at = 0; at < bytes.length;) {
      const before = decoder.counters.headers;
      at = decoder.push(bytes, at, budget);
      assert(decoder.counters.headers - before <= budget);
    }
    assertEquals(got, frames.map(({ kind }) => kind));
  }
});
