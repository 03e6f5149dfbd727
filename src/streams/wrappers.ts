/**
 * What a program says about a stream that it sends: it goes beside a value, or
 * its items are messages.
 *
 * @module
 */

import { typeName } from "../base/inspect.ts";
import { isStream } from "../base/pull_source.ts";
import { MessageStream, ValueWithBody } from "./value_with_body.ts";
import type { StreamOf, WithBody } from "../types/services.ts";

/**
 * Returns a result that is a value and a stream beside it, the body: a file with
 * its name, say. The caller gets `{ value, body }`, and reads the body as a
 * `ReadableStream`. The rules for a result that is a stream apply to the body.
 *
 * For the other direction, pass the stream as the option `body` of a call; the
 * handler finds it as `ctx.body`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, memoryPair, Server, withBody } from "@sluice/rpc";
 *
 * const services = {
 *   Files: {
 *     read: (name: string) =>
 *       withBody({ name, type: "text/plain" }, new Blob(["hello"]).stream()),
 *   },
 * };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 * const client = new Client<typeof services>(near);
 * const { value, body } = await client.call("Files.read", "a.txt");
 * assertEquals(value.type, "text/plain");
 * assertEquals(await new Response(body).text(), "hello");
 * await client.close();
 * await server.close();
 * ```
 */
export function withBody<T, B>(value: T, body: StreamOf<B>): WithBody<T, B> {
  return new ValueWithBody(value, body) as unknown as WithBody<T, B>;
}

/**
 * Returns a stream of bytes whose boundaries are kept: each `Uint8Array` of
 * `source` is one message, and its reader gets it as one chunk, also if it is
 * empty. Without this, a stream of bytes may be cut and joined anywhere.
 *
 * Pass what it returns as params, as a body, or as a result. A message has at
 * most 1,000,000 bytes; a larger one fails the stream with `resource_exhausted`.
 * An item that is no `Uint8Array` fails it, too.
 *
 * @throws {TypeError} If `source` is neither a `ReadableStream` nor an async iterable.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, memoryPair, messages, Server } from "@sluice/rpc";
 *
 * const services = {
 *   Packets: {
 *     sizes: async (packets: ReadableStream<Uint8Array>) =>
 *       (await Array.fromAsync(packets)).map((packet) => packet.length),
 *   },
 * };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 * const client = new Client<typeof services>(near);
 * const packets = [3, 0, 5].map((n) => new Uint8Array(n));
 * const sizes = await client.call(
 *   "Packets.sizes",
 *   messages(ReadableStream.from(packets)),
 * );
 * assertEquals(sizes, [3, 0, 5]);
 * await client.close();
 * await server.close();
 * ```
 */
export function messages<B extends Uint8Array>(
  source: StreamOf<B>,
): AsyncIterable<B> {
  if (!isStream(source)) {
    throw new TypeError(
      `Cannot send messages: expected a stream, received ${typeName(source)}`,
    );
  }
  return new MessageStream(source) as AsyncIterable<unknown> as AsyncIterable<
    B
  >;
}
