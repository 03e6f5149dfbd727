/**
 * The cases of the fuzzer: bytes for one target, as in a file of `tests/corpus`,
 * and how they are made.
 *
 * @module
 */

import type { Random } from "../support/random.ts";
import { KIND } from "../support/raw_peer.ts";
import { runScenario } from "../support/scenario.ts";
import { fromHex, toHex, VECTORS } from "../support/vectors.ts";
import { gobStreams, recordGob } from "./gob_pool.ts";
import { goJsonStream, jsonRpcStream } from "./json_text.ts";
import { PARSERS, WIRES } from "./wires.ts";

/** The targets: parsers, clients and servers of the native protocol, and of others such as `gob-client`. */
const NATIVE = ["decoder", "client", "server"] as const;
const ENDPOINTS = WIRES.flatMap((wire) =>
  (["client", "server"] as const).map((role) => `${wire}-${role}` as const)
);
export const TARGETS = [...NATIVE, ...PARSERS, ...ENDPOINTS];
/** How the stream ends. */
export const ENDS = ["fin", "reset", "silence"] as const;

/** Whether the target is only a parser: no calls, no time. */
export function isParser(target: FuzzCase["target"]): boolean {
  return target === "decoder" ||
    (PARSERS as readonly string[]).includes(target);
}

/** One input. */
export interface FuzzCase {
  readonly target: (typeof TARGETS)[number];
  readonly end: (typeof ENDS)[number];
  readonly chunks: readonly Uint8Array[];
}

/** A case as in JSON: chunks in hex. */
export interface CaseFile {
  readonly about: string;
  readonly target: FuzzCase["target"];
  readonly end: FuzzCase["end"];
  readonly chunks: readonly string[];
}

/** The text of a corpus file. */
export function toFile(about: string, { chunks, ...rest }: FuzzCase): string {
  const file: CaseFile = {
    about,
    ...rest,
    chunks: chunks.map(toHex),
  };
  return JSON.stringify(file, null, 2) + "\n";
}

/** The case in a corpus file. */
export function fromFile({ target, end, chunks }: CaseFile): FuzzCase {
  return { target, end, chunks: chunks.map(fromHex) };
}

/** Frames to start from: those of the recorded scenario, and the golden vectors. */
export interface Pool {
  /** HELLOs that are legal and name no serializer. */
  readonly hellos: readonly Uint8Array[];
  /** Frames that the server receives in the scenario, and that the client receives. */
  readonly server: readonly Uint8Array[];
  readonly client: readonly Uint8Array[];
  /** The vectors, malformed ones included. */
  readonly golden: readonly Uint8Array[];
  /** Gob streams, of Go and of this library. */
  readonly gob: readonly Uint8Array[];
  /** Messages over gob that a server receives, and that a client receives. */
  readonly calls: readonly Uint8Array[];
  readonly answers: readonly Uint8Array[];
}

/** Records the scenario, and reads the vectors. */
export async function makePool(): Promise<Pool> {
  const bytes: Record<"out" | "back", number[]> = { out: [], back: [] };
  await runScenario({ record: (way, chunk) => bytes[way].push(...chunk) });
  const golden = [...VECTORS.valid, ...VECTORS.malformed]
    .map((vector) => fromHex(vector.bytes));
  const server = split(Uint8Array.from(bytes.out));
  const client = split(Uint8Array.from(bytes.back));
  return {
    hellos: [server[0], client[0]],
    server: server.slice(1),
    client: client.slice(1),
    golden,
    gob: gobStreams(),
    ...await recordGob(),
  };
}

/** A valid stream's frames. */
function split(bytes: Uint8Array): Uint8Array[] {
  const frames: Uint8Array[] = [];
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length;) {
    const end = at + 12 + view.getUint32(at);
    frames.push(bytes.subarray(at, end));
    at = end;
  }
  return frames;
}

/** A new case. */
export function makeCase(
  random: Random,
  pool: Pool,
  target: FuzzCase["target"],
): FuzzCase {
  const bytes = random.oneIn(12)
    ? random.bytes(random.below(200))
    : mutated(random, streamOf(random, pool, target));
  return { target, end: random.pick(ENDS), chunks: chunked(random, bytes) };
}

/** A stream that its target mostly understands. */
function streamOf(
  random: Random,
  pool: Pool,
  target: FuzzCase["target"],
): Uint8Array {
  switch (target) {
    case "gob":
      return Uint8Array.from(random.pick(pool.gob));
    case "gob-client":
    case "gob-server": {
      const from = target === "gob-client" ? pool.answers : pool.calls;
      return shuffled(random, from, pool.gob);
    }
    case "json":
    case "json-client":
    case "json-server":
      return goJsonStream(random);
    case "header":
    case "lsp-client":
    case "lsp-server":
      return jsonRpcStream(random, "contentLength");
    case "lines":
    case "mcp-client":
    case "mcp-server":
      return jsonRpcStream(random, "lines");
    default:
      return stream(random, pool, target);
  }
}

/** Messages that depend on earlier ones, mostly in order. */
function shuffled(
  random: Random,
  messages: readonly Uint8Array[],
  others: readonly Uint8Array[],
): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const message of messages) {
    const fate = random.below(40);
    if (fate === 0) continue;
    parts.push(message);
    if (fate === 1) parts.push(message);
    if (fate === 2) parts.push(random.pick(others));
    if (fate === 3) break;
  }
  return join(parts);
}

const FOLLOWS: readonly number[] = [
  ...[KIND.CANCEL, KIND.RELEASE, KIND.DATA, KIND.END, KIND.STOP, KIND.CREDIT],
];

/** A sequence of mostly legal frames, whose ids are likely to be in use. */
function stream(
  random: Random,
  pool: Pool,
  target: FuzzCase["target"],
): Uint8Array {
  const frames: Uint8Array[] = [];
  if (!random.oneIn(20)) frames.push(random.pick(pool.hellos));
  const from = target === "client" ? pool.client : pool.server;
  let id = 0;
  // The decoder ignores what frames mean, so a few are enough.
  const most = target === "decoder" ? 6 : 40;
  for (let count = random.below(most); count > 0; count--) {
    const list = random.oneIn(12) ? pool.golden : from;
    const frame = Uint8Array.from(random.pick(list));
    if (frame.length >= 12 && !random.oneIn(20)) {
      // Some are for a call that was made.
      if (!FOLLOWS.includes(frame[4])) id += random.oneIn(30) ? 2 : 1;
      new DataView(frame.buffer).setUint32(8, id);
    }
    frames.push(frame);
  }
  return join(frames);
}

/** All chunks as one. */
export function join(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, p) => sum + p.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Values that mean something in a length, a count or an id. */
const TELLING = [
  0,
  1,
  0x7f,
  0x80,
  0xff,
  0xffff,
  0x7fffffff,
  0x80000000,
  2 ** 32 - 1,
];

/** Changes some bytes, mostly none or one. */
function mutated(random: Random, bytes: Uint8Array): Uint8Array {
  for (let n = random.pick([0, 1, 1, 1, 2, 5]); n > 0; n--) {
    if (bytes.length === 0) return bytes;
    const at = random.below(bytes.length);
    const length = random.below(Math.min(40, bytes.length - at) + 1);
    const [head, part] = [
      bytes.subarray(0, at),
      bytes.subarray(at, at + length),
    ];
    const tail = bytes.subarray(at + length);
    switch (random.below(6)) {
      case 0:
        bytes[at] ^= 1 << random.below(8);
        break;
      case 1:
        bytes[at] = random.below(256);
        break;
      case 2:
        if (at + 4 <= bytes.length) {
          new DataView(bytes.buffer).setUint32(at, random.pick(TELLING));
        }
        break;
      case 3:
        bytes = join([head, tail]);
        break;
      case 4:
        bytes = join([head, part, part, tail]);
        break;
      default:
        bytes = join([head, random.bytes(random.below(20)), part, tail]);
    }
  }
  return bytes;
}

/** The same bytes in other chunks. */
export function recut(random: Random, { chunks, ...rest }: FuzzCase): FuzzCase {
  return { ...rest, chunks: chunked(random, join(chunks)) };
}

/** Cuts bytes: not at all, after every byte, or at random. */
export function chunked(random: Random, bytes: Uint8Array): Uint8Array[] {
  const most = random.pick([1, 3, 30, 1000, 100_000]);
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + 1 + random.below(most));
    chunks.push(bytes.slice(at, end));
    at = end;
  }
  return chunks;
}
