/**
 * The kinds of hostile peers: what each sends, and how the server must end it.
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
  /** Its `n`-th piece, from 0; undefined when it has said all. The first goes behind HELLO. */
  readonly piece: (n: number) => Uint8Array | undefined;
  /** Never says HELLO. */
  readonly dumb?: boolean;
  /** Never reads. */
  readonly deaf?: boolean;
  /** Bytes a second, if fewer than others'. */
  readonly pace?: number;
  /** The code that its GOAWAY must have; absent for one that is left alone. */
  readonly ends?: string;
  /** The code that it may have: one that calls faster than it is answered fills its window. */
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

/** All of them. */
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

/** What others say first. */
export const HELLO: Uint8Array = hello();
