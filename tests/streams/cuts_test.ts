// Bytes up and down under little credit, with a fault at every byte of every
// header and of every frame that is short. (The session that `deno task chaos`
// visits byte by byte is too short for a CREDIT.)

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { Client, Server } from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";
import { linkedLines } from "../../src/testing/faulty.ts";
import type { Fault, FaultLine } from "../../src/testing/fault_line.ts";
import { assertNothingLeft } from "../support/pair.ts";
import { KIND } from "../support/raw_peer.ts";

const CHUNK = 3000;
const CHUNKS = 9;
const SIZE = CHUNK * CHUNKS;
/** Frames of more than this many bytes are cut only at their first and last bytes. */
const SHORT = 64;

const DIRECTIONS = ["out", "back"] as const;
const KINDS = ["cut", "reset", "stall", "garble"] as const;

type Faults = { readonly [D in (typeof DIRECTIONS)[number]]?: Fault };

/** Chunks whose bytes say where they are, and what becomes of their source. */
class Source {
  /** Whether it was asked for anything, and has ended: by itself, or cancelled. */
  begun = false;
  ended = false;

  async *[Symbol.asyncIterator]() {
    this.begun = true;
    try {
      for (let n = 0; n < CHUNKS; n++) yield new Uint8Array(CHUNK).fill(n);
    } finally {
      this.ended = true;
    }
  }
}

/** Reads to the end; what was read has to be the beginning of what was sent. */
async function count(
  bytes: ReadableStream<Uint8Array>,
  wrong: string[],
): Promise<number> {
  let size = 0;
  for await (const chunk of bytes) {
    for (const byte of chunk) {
      if (byte !== Math.floor(size++ / CHUNK)) wrong.push(`byte ${size - 1}`);
    }
  }
  return size;
}

/** Both streams, once, with a fault; throws if anything is not as it should be. */
async function run(
  faults: Faults,
  record?: (line: "out" | "back", bytes: Uint8Array) => void,
): Promise<void> {
  const { near, far, out, back } = linkedLines({
    out: { faults: faults.out && [faults.out] },
    back: { faults: faults.back && [faults.back] },
  });
  const lines: Record<string, FaultLine> = { out, back };
  for (const d of DIRECTIONS) {
    lines[d].onWritten = (bytes) => record?.(d, bytes);
  }
  const clock = new TestClock(1);
  const [up, down] = [new Source(), new Source()];
  const wrong: string[] = [];
  const server = new Server({
    S: {
      up: (bytes: ReadableStream<Uint8Array>) => count(bytes, wrong),
      down: () => down,
    },
  }, { clock, streamCredit: 16 * 1024 });
  const connection = server.accept(far);
  const client = new Client<{
    S: {
      up(bytes: ReadableStream<Uint8Array>): Promise<number>;
      down(): AsyncGenerator<Uint8Array>;
    };
  }>(near, { clock, streamCredit: 16 * 1024 });
  const told: unknown[] = [];
  const ends = [
    client.call("S.up", up).then((size) => told.push(size)),
    client.call("S.down").then((bytes) => count(bytes, wrong))
      .then((size) => told.push(size)),
  ];
  for (const end of ends) end.catch(({ code }) => told.push(code));
  await settle(12);
  await clock.advance(12_000);
  const closed = Promise.all([client.close(), server.close()]);
  await settle(2);
  await clock.advance(24_000);
  await closed;
  await Promise.allSettled(ends);
  const garbled = faults.out?.kind === "garble" ||
    faults.back?.kind === "garble";
  assertEquals(told.length, 2);
  if (!garbled) {
    assertEquals(wrong, []);
    for (const each of told) assert(each === SIZE || typeof each === "string");
  }
  // A source that was never asked for anything has nothing to clean up.
  for (const { begun, ended } of [up, down]) assertEquals(ended, begun);
  assertNothingLeft(client.connection);
  assertNothingLeft(connection);
  assertEquals(clock.timers, 0);
}

/** The frames of what one direction says. */
function framesOf(bytes: readonly number[]) {
  const frames: { at: number; size: number; kind: number }[] = [];
  const view = new DataView(Uint8Array.from(bytes).buffer);
  for (let at = 0; at < bytes.length;) {
    const size = 12 + view.getUint32(at);
    frames.push({ at, size, kind: bytes[at + 4] });
    at += size;
  }
  return frames;
}

/** The offsets that are visited. */
function offsets(bytes: readonly number[]): number[] {
  return framesOf(bytes).flatMap(({ at, size }) => {
    const all = Array.from({ length: size }, (_, i) => i);
    return all.filter((i) => size <= SHORT || i < 16 || i === size - 1)
      .map((i) => at + i);
  });
}

const said: Record<"out" | "back", number[]> = { out: [], back: [] };
await run({}, (line, bytes) => void said[line].push(...bytes));

test("the recorded streams receive more credit as they go, in both directions", () => {
  for (const direction of DIRECTIONS) {
    const kinds = framesOf(said[direction]).map(({ kind }) => kind);
    assert(kinds.includes(KIND.CREDIT) && kinds.includes(KIND.DATA), direction);
  }
});

for (const kind of KINDS) {
  test(`[L1] [S6] streams under little credit, ${kind} at any byte, end truly and leave nothing`, async () => {
    for (const direction of DIRECTIONS) {
      for (const at of offsets(said[direction])) {
        const fault: Fault = kind === "garble"
          ? { kind, at, bit: at % 8 }
          : { kind, at };
        await run({ [direction]: fault }).catch((cause) => {
          throw new Error(`${direction}:${kind}:${at}`, { cause });
        });
      }
    }
  });
}
