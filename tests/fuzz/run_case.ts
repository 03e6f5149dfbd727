/**
 * Feeds one case to its target, and checks what FAULTS B10 asks for. What the
 * target says itself must be legal whatever it was told.
 *
 * @module
 */

import { Client, ConnectionError, Server } from "../../mod.ts";
import { FrameDecoder } from "../../src/frame.ts";
import { KIND } from "../support/raw_peer.ts";
import type { FuzzCase } from "./fuzz_case.ts";
import { ClientUnderTest, type Hear, ServerUnderTest } from "./under_test.ts";
import { parserStory, type WireParser, wireUnderTest } from "./wires.ts";

/** Runs a case; throws if something is wrong. */
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

/** The native wire: whole frames, and one answer a call. */
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

/** What a decoder made of chunks: its frames, and how it ended. */
function frameStory(chunks: readonly Uint8Array[], maxBody: number): string {
  const told: string[] = [];
  const decoder = new FrameDecoder({
    frame: (kind, flags, id, bytes, start, end) => {
      told.push(`${kind} ${flags} ${id} ${bytes.subarray(start, end)}`);
    },
  }, maxBody);
  try {
    for (const chunk of chunks) decoder.push(chunk);
    decoder.end();
  } catch (error) {
    if (!(error instanceof ConnectionError)) throw error;
    told.push(`${error.code} ${error.message}`);
  }
  return told.join("\n");
}

/** However bytes are cut, they are the same messages, and the same error. */
function sameHowever(
  chunks: readonly Uint8Array[],
  story: (chunks: readonly Uint8Array[]) => string,
): void {
  const whole = new Uint8Array(chunks.reduce((n, c) => n + c.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  const expected = story([whole]);
  const got = story(chunks);
  if (got !== expected) {
    throw new Error(`in chunks:\n${got}\nas a whole:\n${expected}`);
  }
}
