/**
 * Trailers: metadata that travels with the END of a stream.
 *
 * Bound: they always fit into the END, also into one with an error. What does
 * not fit is refused when it is set, so that no stream breaks for it.
 *
 * @module
 */

import type { MetadataInit } from "../types/call.ts";
import { type MetadataBlock, toMetadata } from "../wire/metadata.ts";

/** What the END of a stream that has failed takes besides its trailers, at most, in bytes: code, message, lengths and the kind of the payload. */
const BESIDE = 4200;

/**
 * Encodes trailers for an END of at most `maxBody` bytes.
 *
 * @throws {TypeError} If they are neither a plain object nor a `Map`, or a value is not a string.
 * @throws {RangeError} If they are too large.
 */
export function toTrailers(
  trailers: MetadataInit,
  maxBody: number,
): MetadataBlock {
  const block = toMetadata(trailers);
  const most = maxBody - BESIDE;
  if (block.size <= most) return block;
  throw new RangeError(
    `Cannot send trailers: ${block.size} bytes, at most ${most} fit`,
  );
}
