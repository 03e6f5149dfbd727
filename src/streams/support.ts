/**
 * Streams as a feature that a program adds by import.
 *
 * One value has two faces. {@linkcode STREAM_SUPPORT} is for the library: the
 * full client and the server always have streams, and read the members that a
 * connection needs. {@linkcode streams} is for users of the slim client: its
 * public type says nothing of those members, so that they can change.
 *
 * @module
 */

import type { StreamFeature } from "../types/connection.ts";
import { nativeStreamCodec } from "../wire/stream_frames.ts";
import { WriteScheduler } from "../wire/fragments/write_scheduler.ts";
import type { StreamSupport } from "./contract.ts";
import { StreamTable } from "./stream_table.ts";

/** Streams, as a connection's setup takes them. */
export const STREAM_SUPPORT: StreamSupport = {
  codec: nativeStreamCodec,
  scheduler: (sendBuffer, limits) => new WriteScheduler(sendBuffer, limits),
  table: (context) => new StreamTable(context),
};

/**
 * Lets the slim client of `@sluice/rpc/client` send and receive streams: pass
 * its value as the option `streams`. Params and results can then be a
 * `ReadableStream` or an async iterable; what arrives is a `ReadableStream`.
 *
 * The client of `@sluice/rpc` and every server have streams built in. A slim
 * client without this option rejects a call whose params are a stream
 * (`invalid_argument`, outcome `not_sent`), and tells the server that it
 * accepts none: a handler that returns a stream then fails.
 *
 * The limits `maxStreams`, `streamCredit` and `connectionCredit` bound how many
 * streams the peer may open, and what they hold.
 *
 * @example Params and a result that are streams
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { memoryPair, Server } from "@sluice/rpc";
 * import { Client, streams } from "@sluice/rpc/client";
 *
 * const services = {
 *   Text: {
 *     async *upper(lines: ReadableStream<string>) {
 *       for await (const line of lines) yield line.toUpperCase();
 *     },
 *   },
 * };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 *
 * const client = new Client<typeof services>(near, { streams: streams() });
 * const upper = await client.call("Text.upper", ReadableStream.from(["a", "b"]));
 * assertEquals(await Array.fromAsync(upper), ["A", "B"]);
 * await client.close();
 * await server.close();
 * ```
 */
export function streams(): StreamFeature {
  return STREAM_SUPPORT;
}
