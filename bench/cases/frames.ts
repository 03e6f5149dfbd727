/**
 * Frames to bytes and back: the decoder by size of frame and of chunk, the
 * native codec both ways, and the send buffer.
 *
 * @module
 */

import type { MessageHandler } from "../../src/wire/codec.ts";
import { DEFAULT_LIMITS } from "../../src/wire/connection_limits.ts";
import { FrameDecoder } from "../../src/wire/frame_decoder.ts";
import { NativeCodec } from "../../src/wire/native_codec.ts";
import { systemClock } from "../../src/base/clock.ts";
import { SendBuffer } from "../../src/connection/send_buffer.ts";
import { frame, hello, join, KIND } from "../../tests/support/raw_peer.ts";
import type { Case } from "../cases.ts";

const SIZES = { "16 B": 16, "256 B": 256, "4 KiB": 4096, "64 KiB": 65_536 };
const SPLITS = {
  "whole": Infinity,
  "64 KiB": 65_536,
  "1,400 B": 1400,
  "16 B": 16,
};

/** About how many bytes a run processes. */
const TOTAL = 256 * 1024;

function repeated(bytes: Uint8Array, count: number): Uint8Array {
  const all = new Uint8Array(count * bytes.length);
  for (let i = 0; i < count; i++) all.set(bytes, i * bytes.length);
  return all;
}

function split(bytes: Uint8Array, size: number): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    chunks.push(bytes.slice(at, at + size));
  }
  return chunks;
}

function decoding(sizeName: string, size: number, splitName: string): Case {
  const operations = TOTAL / size;
  return {
    name: `cut frames of ${sizeName}, chunks of ${splitName}`,
    group: "frames",
    operations,
    setup: () => {
      const one = frame(KIND.REPLY, 1, new Uint8Array(size));
      const stream = repeated(one, operations);
      const chunkSize = SPLITS[splitName as keyof typeof SPLITS];
      const chunks = split(stream, Math.min(chunkSize, stream.length));
      let bytes = 0;
      const decoder = new FrameDecoder({
        frame: (_kind, _flags, _id, _bytes, start, end) => {
          bytes += end - start;
        },
      }, size);
      return () => {
        bytes = 0;
        for (const chunk of chunks) decoder.push(chunk);
        expect(bytes, TOTAL);
      };
    },
  };
}

/** A codec whose receiver reads replies, and a send buffer that goes nowhere. */
function native(replied: (value: unknown) => void) {
  const receiver: MessageHandler = {
    onHello: ignore,
    onRequest: ignore,
    onRelease: ignore,
    onRequestBegun: ignore,
    onRequestWhole: ignore,
    onRequestAborted: ignore,
    onReply: () => replied(codec.value()),
    onFailure: ignore,
    onCancel: ignore,
    full: () => false,
    mayRead: () => true,
    onPing: ignore,
    onPong: ignore,
    onGoaway: ignore,
    onLast: ignore,
    onWindow: ignore,
    streams: never,
  };
  const codec = new NativeCodec(receiver, {
    hello: DEFAULT_LIMITS,
    limits: DEFAULT_LIMITS,
    methodTable: undefined,
    serializer: undefined,
  });
  return codec;
}

/** A send buffer that counts what leaves it. */
function counted(): { sendBuffer: SendBuffer; left: () => number } {
  let bytes = 0;
  const path = {
    borrows: true,
    write(chunks: readonly Uint8Array[]): Promise<void> {
      for (const chunk of chunks) bytes += chunk.length;
      return Promise.resolve();
    },
  };
  const sendBuffer = new SendBuffer(path, systemClock, 64 << 20, {
    manyCalls: () => false,
    onFlush: ignore,
    onWritten: ignore,
    onWriteFailed: ignore,
    onGrown: ignore,
    onOverflow: ignore,
    onSpoiled: ignore,
  });
  return { sendBuffer, left: () => bytes };
}

/** Resolves when a send buffer has written all. */
async function flushed(sendBuffer: SendBuffer): Promise<void> {
  while (!sendBuffer.idle) await undefined;
}

function encode(name: string, size: number): Case {
  const operations = TOTAL / size;
  return {
    name: `write requests of ${name}`,
    group: "codec",
    operations,
    setup: () => {
      const codec = native(ignore);
      const { sendBuffer, left } = counted();
      const payload = new Uint8Array(size);
      return async () => {
        const before = left();
        for (let i = 0; i < operations; i++) {
          codec.prepare(payload, false);
          codec.request(sendBuffer, i, "Echo.echo", -1, undefined);
        }
        await flushed(sendBuffer);
        expect(left() - before, operations * (size + 24));
      };
    },
  };
}

function decode(name: string, size: number): Case {
  const operations = TOTAL / size;
  return {
    name: `read replies of ${name}`,
    group: "codec",
    operations,
    setup: () => {
      let bytes = 0;
      const codec = native((value) => bytes += (value as Uint8Array).length);
      const greeting = hello();
      codec.decode(greeting, 0, 1);
      const one = frame(KIND.REPLY, 1, join([2], new Uint8Array(size)));
      const stream = repeated(one, operations);
      return () => {
        bytes = 0;
        codec.decode(stream, 0, Infinity);
        expect(bytes, TOTAL);
      };
    },
  };
}

/** Frames gathered into chunks: what a loop of calls leaves in the send buffer. */
function gather(size: number): Case {
  const operations = 10_000;
  return {
    name: `gather frames of ${size} B`,
    group: "send buffer",
    operations,
    setup: () => {
      const { sendBuffer, left } = counted();
      return async () => {
        const before = left();
        for (let i = 0; i < operations; i++) {
          const at = sendBuffer.reserve(size);
          sendBuffer.bytes[at] = i;
        }
        await flushed(sendBuffer);
        expect(left() - before, operations * size);
      };
    },
  };
}

function expect(got: number, wanted: number): void {
  if (got !== wanted) throw new Error(`${got} bytes instead of ${wanted}`);
}

function ignore(): void {}

/** The cases of this file. */
export const FRAMES: readonly Case[] = [
  ...Object.entries(SIZES).flatMap(([name, size]) =>
    Object.keys(SPLITS).map((splitName) => decoding(name, size, splitName))
  ),
  ...Object.entries(SIZES).map(([name, size]) => encode(name, size)),
  ...Object.entries(SIZES).map(([name, size]) => decode(name, size)),
  ...[48, 512].map(gather),
];

function never(): never {
  throw new Error("no streams here");
}
