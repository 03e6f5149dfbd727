/**
 * The kinds of hostile peers: what each sends, and how the server must close it.
 *
 * @module
 */

import {
  frame,
  hello,
  join,
  KIND,
  request,
} from "../../tests/support/raw_peer.ts";

/** One kind. */
export interface Kind {
  readonly name: string;
  /** The `n`-th piece that it sends, from 0; undefined after the last. The first follows its HELLO. */
  readonly piece: (n: number) => Uint8Array | undefined;
  /** It never sends a HELLO. */
  readonly dumb?: boolean;
  /** It never reads. */
  readonly deaf?: boolean;
  /** Bytes a second, if fewer than the others send. */
  readonly pace?: number;
  /** The code of the GOAWAY that the server must send; absent if the server must not close it. */
  readonly ends?: string;
  /** A code that the GOAWAY may have, too: a peer that calls faster than it gets replies fills its window. */
  readonly may?: string;
}

function header(length: number): Uint8Array {
  const bytes = frame(KIND.REQUEST, 1);
  new DataView(bytes.buffer).setUint32(0, length);
  return bytes;
}

const NOTHING = () => undefined;
const LARGE = header(1 << 20);
const OVERSIZED = header(0x7fffffff);
const PING = frame(KIND.PING, 1);
const PAD = frame(KIND.PAD);

/** All kinds. */
export const KINDS: readonly Kind[] = [
  {
    name: "call then cancel",
    piece: (n) => join(request(n + 1, "Test.hold"), frame(KIND.CANCEL, n + 1)),
    may: "resource_exhausted",
  },
  { name: "ping flood", piece: () => PING },
  { name: "tiny frames", piece: () => PAD },
  {
    name: "window violation",
    piece: (n) => request(n + 1, "Test.hold"),
    ends: "resource_exhausted",
  },
  {
    name: "oversized length",
    piece: (n) => n === 0 ? OVERSIZED : undefined,
    ends: "frame_too_large",
  },
  {
    name: "one byte a second",
    piece: (n) => LARGE.subarray(n, n + 1),
    pace: 1,
    ends: "deadline_exceeded",
  },
  {
    name: "never reads",
    piece: (n) => request(n + 1, "Test.big"),
    deaf: true,
  },
  {
    name: "unknown methods",
    piece: (n) => request(n + 1, "No.such"),
    may: "resource_exhausted",
  },
  {
    name: "no HELLO",
    piece: NOTHING,
    dumb: true,
    ends: "deadline_exceeded",
  },
];

/** The first bytes of all other kinds. */
export const HELLO: Uint8Array = hello();
