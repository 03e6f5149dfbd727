/** The items that the frames of a stream make. */

import { KIND, readData, valueOf } from "../bytes.ts";
import type { RawFrame } from "../wire.ts";

const MORE = 2;

/** The values of the DATA among these frames; bytes that follow each other are one. */
export function items(frames: readonly RawFrame[]): unknown[] {
  const values: unknown[] = [];
  let parts: Uint8Array[] = [];
  for (const frame of frames) {
    if (frame.kind !== KIND.DATA) continue;
    const { kind, bytes } = readData(frame);
    parts.push(bytes);
    if ((frame.flags & MORE) !== 0) continue;
    const value = valueOf(kind, joined(parts));
    parts = [];
    const last = values.at(-1);
    if (value instanceof Uint8Array && last instanceof Uint8Array) {
      values[values.length - 1] = joined([last, value]);
    } else values.push(value);
  }
  return values;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
