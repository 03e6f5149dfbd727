/**
 * Fragments as a feature that a program adds by import: {@linkcode FRAGMENT_SUPPORT}
 * is for the full clients and servers, {@linkcode fragments} for users of the
 * slim client.
 *
 * @module
 */

import type { FragmentFeature } from "../../types/connection.ts";
import type { FragmentSupport } from "../codec.ts";
import { FragmentReader } from "./fragment_reader.ts";
import { FragmentWriter } from "./fragment_writer.ts";
import { WriteScheduler } from "./write_scheduler.ts";

/** Fragments, as a connection's setup takes them. */
export const FRAGMENT_SUPPORT: FragmentSupport = {
  reader: () => new FragmentReader(),
  writer: (sendBuffer, id, isRequest, size, urgent) =>
    new FragmentWriter(sendBuffer, id, isRequest, size, urgent),
  scheduler: (sendBuffer, limits) => new WriteScheduler(sendBuffer, limits),
};

/**
 * Lets the slim client of `@sluice/rpc/client` send and receive large messages in
 * fragments, so that other calls pass between them: pass its value as the option
 * `fragments`. Messages above 32,768 bytes are then cut, if the server reads
 * fragments, too.
 *
 * The client of `@sluice/rpc` and every server have fragments built in. A slim
 * client without this option sends and receives each message whole: calls that
 * are made meanwhile wait until it has passed.
 *
 * @example A large request, and a small one beside it
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { memoryPair, Server } from "@sluice/rpc";
 * import { Client, fragments } from "@sluice/rpc/client";
 *
 * const services = { Text: { length: (text: string) => text.length } };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 *
 * const client = new Client<typeof services>(near, { fragments: fragments() });
 * const large = client.call("Text.length", "x".repeat(1_000_000));
 * assertEquals(await client.call("Text.length", "small"), 5);
 * assertEquals(await large, 1_000_000);
 * await client.close();
 * await server.close();
 * ```
 */
export function fragments(): FragmentFeature {
  return FRAGMENT_SUPPORT;
}
