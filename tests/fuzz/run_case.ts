/**
 * Feeds one case to its target, and checks row B10 of docs/faults.md. What the
 * target sends must be legal, whatever it receives.
 *
 * @module
 */

import { Client, ConnectionError, Server } from "../../mod.ts";
import { FrameDecoder } from "../../src/wire/frame_decoder.ts";
import { KIND } from "../support/raw_peer.ts";
import { type FuzzCase, join } from "./fuzz_case.ts";
import { ClientUnderTest, type Hear, ServerUnderTest } from "./under_test.ts";
import { parserStory, type WireParser, wireUnderTest } from "./wires.ts";

/** Runs a case. Throws if something is wrong. */
export async function runFuzzCase(each: FuzzCase): Promise<void> {
  const { target, chunks } = each;
  switch (target) {
    case "decoder":
      return sameHowever(chunks, (chunks) => frameStory(chunks, 4096));
    case "client": {
      const made = new ClientUnderTest(
        hearFrames(),
        (duplex, clock) => new Client(duplex, { clock }),
      );
      return await made.run(each);
    }
    case "server": {
      const made = new ServerUnderTest(
        hearFrames(),
        (services, options) => new Server<object>(services, options),
      );
      return await made.run(each);
    }
    default:
      if (!target.includes("-")) {
        const parser = target as WireParser;
        return sameHowever(chunks, (chunks) => parserStory(parser, chunks));
      }
      return await wireUnderTest(target).run(each);
  }
}

/** Checks the native protocol: whole frames, and one reply for each call. */
function hearFrames(): Hear {
  const answered = new Set<number>();
  const decoder = new FrameDecoder({
    frame: (kind, _flags, id) => {
      if (kind !== KIND.REPLY && kind !== KIND.ERROR) return;
      if (answered.has(id)) throw new Error(`two answers to call ${id}`);
      answered.add(id);
    },
  }, 2 ** 30);
  return (bytes) => void decoder.push(bytes);
}

/** The result of decoding chunks: number of frames, a hash of their contents, and how it ended. */
function frameStory(chunks: readonly Uint8Array[], maxBody: number): string {
  let frames = 0;
  let hash = 0x811c9dc5;
  const mix = (value: number) => {
    hash = Math.imul(hash ^ value, 0x01000193);
  };
  const decoder = new FrameDecoder({
    frame: (kind, flags, id, bytes, start, end) => {
      frames++;
      mix(kind << 8 | flags);
      mix(id);
      mix(end - start);
      for (let at = start; at < end; at++) mix(bytes[at]);
    },
  }, maxBody);
  let ending = "";
  try {
    for (const chunk of chunks) decoder.push(chunk);
    decoder.end();
  } catch (error) {
    if (!(error instanceof ConnectionError)) throw error;
    ending = ` ${error.code} ${error.message}`;
  }
  return `${frames} frames ${hash >>> 0}${ending}`;
}

/** The same bytes give the same messages and the same error, however they are cut. */
function sameHowever(
  chunks: readonly Uint8Array[],
  story: (chunks: readonly Uint8Array[]) => string,
): void {
  const expected = story([join(chunks)]);
  const got = story(chunks);
  if (got !== expected) {
    throw new Error(`in chunks: ${got}; as a whole: ${expected}`);
  }
}
