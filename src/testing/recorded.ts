/**
 * A duplex that keeps a copy of all bytes that pass through it.
 *
 * It keeps every byte for as long as it lives, without a limit: it is for
 * tests, which end.
 *
 * @module
 */

import type { Duplex, DuplexInfo } from "../types/duplex.ts";
import { join } from "./encode.ts";
import { wrap } from "./faulty.ts";

/** A duplex, and the bytes that have passed through it. */
export interface RecordedDuplex {
  /** For the user, in place of the recorded one. */
  readonly duplex: Duplex & DuplexInfo;
  /** All bytes that the user has written so far, in one new array for each access. */
  readonly sent: Uint8Array;
  /** All bytes that have arrived for the user so far, in one new array for each access. */
  readonly received: Uint8Array;
}

/**
 * Records what passes through a duplex: pass the `duplex` of the result to a
 * client or a server in place of the one that it wraps. {@linkcode printFrames}
 * prints the bytes as text.
 *
 * It takes over both streams of `inner`, and keeps all bytes in memory. What
 * `inner` knows (its addresses, a certificate, `ref` and `unref`) holds for the
 * result, too. Adapt a `Deno.Conn` with `toDuplex` first.
 *
 * @throws {TypeError} If `inner` is no duplex, or one of its streams is locked.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, memoryPair, Server } from "@sluice/rpc";
 * import { printFrames, recorded } from "@sluice/rpc/testing";
 *
 * const services = { Math: { square: (n: number) => n * n } };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 * const record = recorded(near);
 * const client = new Client<typeof services>(record.duplex);
 * await client.call("Math.square", 3);
 *
 * // The first frame of each direction is HELLO.
 * assertEquals(printFrames(record.sent).split("\n")[1], "REQUEST 1 Math.square 3");
 * assertEquals(printFrames(record.received).split("\n")[1], "REPLY 1 9");
 * await client.close();
 * await server.close();
 * ```
 */
export function recorded(inner: Duplex): RecordedDuplex {
  const sent: Uint8Array[] = [];
  const received: Uint8Array[] = [];
  const { duplex, out, back } = wrap(inner, {});
  out.onWritten = (bytes) => sent.push(new Uint8Array(bytes));
  back.onDelivered = (bytes) => received.push(new Uint8Array(bytes));
  return {
    duplex,
    get sent() {
      return join(sent);
    },
    get received() {
      return join(received);
    },
  };
}
