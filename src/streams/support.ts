/**
 * Streams as one value, for a client that adds features by import.
 *
 * @module
 */

import { nativeStreamCodec } from "../wire/stream_frames.ts";
import type { StreamFeature } from "../types/connection.ts";
import type { StreamSupport } from "./contract.ts";
import { StreamTable } from "./stream_table.ts";

/** Streams, as a connection takes them. */
export const STREAM_SUPPORT: StreamSupport = {
  codec: nativeStreamCodec,
  table: (context) => new StreamTable(context),
};

/**
 * Lets params, results and their items be streams: a `ReadableStream` or an
 * async iterable. Without it a client's HELLO offers no streams, a stream as
 * params is refused (`invalid_argument`, outcome `not_sent`), and the server
 * may not answer with one.
 */
export function streams(): StreamFeature {
  return STREAM_SUPPORT;
}
