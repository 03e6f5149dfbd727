/**
 * A duplex that can half-close, over one that cannot: LAST with ALL stands for
 * FIN. `docs/protocol.md` section 13 is normative.
 *
 * - The other duplex is closed when both directions have ended: the peer's last
 *   bytes were that frame, or its stream is over.
 * - The bytes are passed on as they are. Whoever reads them finds the peer's
 *   frame, too.
 *
 * @module
 */

import type { Duplex, DuplexInfo } from "../types/duplex.ts";
import { FLAG_ALL, HEADER_SIZE, LAST, writeHeader } from "./frame.ts";

/** LAST with ALL. */
const END: Uint8Array = /* @__PURE__ */ (() => {
  const frame = new Uint8Array(HEADER_SIZE);
  writeHeader(frame, 0, 0, LAST, FLAG_ALL, 0);
  return frame;
})();

/**
 * Adapts a duplex whose `writable.close()` ends both directions, for the native
 * protocol: for example one over a TLS stack that cannot half-close. The duplex
 * that it returns keeps the contract of {@linkcode Duplex}. Closing it writes a
 * frame that ends the local direction; `duplex` is closed when the peer has ended
 * its own, too. The peer needs no adapter.
 *
 * @throws {TypeError} If a stream of the duplex is locked.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, halfCloseByFrame, memoryPair, Server } from "@sluice/rpc";
 *
 * const services = { Math: { square: (n: number) => n * n } };
 * const [near, far] = memoryPair(); // Stands for a pair that cannot half-close.
 * const server = new Server(services);
 * server.accept(far);
 * const client = new Client<typeof services>(halfCloseByFrame(near));
 * const answer = client.call("Math.square", 7);
 * await client.close();
 * assertEquals(await answer, 49);
 * await server.close();
 * ```
 */
export function halfCloseByFrame(
  duplex: Duplex & DuplexInfo,
): Duplex & DuplexInfo {
  const reader = duplex.readable.getReader();
  const writer = duplex.writable.getWriter();
  let localEnded = false;
  let peerEnded = false;
  const endBoth = async () => {
    if (localEnded && peerEnded) await writer.close();
  };
  const readable = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await reader.read();
      peerEnded = done || endsWith(value, END);
      if (done) controller.close();
      else controller.enqueue(value);
      // The writer reports its failures itself.
      endBoth().catch(ignore);
    },
    // With its own end sent, a side that stops reading is done with both.
    cancel: (reason) =>
      localEnded ? writer.abort(reason) : reader.cancel(reason),
  }, { highWaterMark: 0 });
  const writable = new WritableStream<Uint8Array>({
    start(controller) {
      const { signal } = controller;
      // `abort` of a sink waits for the write under way, which may never settle.
      signal.addEventListener("abort", () => {
        writer.abort(signal.reason).catch(ignore);
      });
      writer.closed.catch((reason) => controller.error(reason));
    },
    write: (chunk) => writer.write(chunk),
    async close() {
      await writer.write(END);
      localEnded = true;
      await endBoth();
    },
  });
  const { remote, local, certificate, request } = duplex;
  return {
    readable,
    writable,
    ...{ remote, local, certificate, request },
    ref: () => duplex.ref?.(),
    unref: () => duplex.unref?.(),
  };
}

function endsWith(bytes: Uint8Array, end: Uint8Array): boolean {
  const at = bytes.length - end.length;
  return at >= 0 && end.every((byte, i) => bytes[at + i] === byte);
}

function ignore(): void {}
