/**
 * A peer that holds no memory: it grants any window, drops what it receives, and
 * replies only when the benchmark asks for it. So only the other side is measured.
 *
 * @module
 */

import type { Duplex } from "../../mod.ts";
import { FrameDecoder } from "../../src/wire/frame_decoder.ts";
import { hello, KIND, reply } from "../../tests/support/raw_peer.ts";

/** The reply of every call. */
export const ANSWER = "hello:client";

/** Offset of the id in the header of a frame. */
const ID_OFFSET = 8;
const REPLY = reply(0, ANSWER);

/** The peer of a connection that is measured. */
export class ScriptedPeer {
  readonly duplex: Duplex;
  /** Requests and cancels received. */
  requests = 0;
  cancels = 0;
  readonly #request: (id: number) => void;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #awaited = 0;
  #arrived = Promise.withResolvers<void>();

  /** @param request Called with the id of each request. */
  constructor(request: (id: number) => void = () => {}) {
    this.#request = request;
    const decoder = new FrameDecoder({
      frame: (kind, _flags, id) => this.#frame(kind, id),
    }, 4 << 20);
    this.duplex = {
      readable: new ReadableStream<Uint8Array>({
        start: (controller) => {
          this.#controller = controller;
        },
      }),
      writable: new WritableStream<Uint8Array>({
        write: (chunk) => {
          decoder.push(chunk);
        },
      }),
    };
    const widest = { calls: 1 << 24, bytes: 0xffffffff };
    this.#controller.enqueue(hello(widest));
  }

  /** Resolves when it has received `count` requests and cancels in total. */
  received(count: number): Promise<void> {
    if (this.requests + this.cancels >= count) return Promise.resolve();
    this.#awaited = count;
    this.#arrived = Promise.withResolvers();
    return this.#arrived.promise;
  }

  /** Sends the replies of these calls in one chunk. */
  answer(ids: Uint32Array): void {
    const chunk = new Uint8Array(ids.length * REPLY.length);
    const view = new DataView(chunk.buffer);
    ids.forEach((id, i) => {
      chunk.set(REPLY, i * REPLY.length);
      view.setUint32(i * REPLY.length + ID_OFFSET, id);
    });
    this.#controller.enqueue(chunk);
  }

  #frame(kind: number, id: number): void {
    if (kind === KIND.REQUEST) {
      this.requests++;
      this.#request(id);
    } else if (kind === KIND.CANCEL) this.cancels++;
    else return;
    if (this.requests + this.cancels === this.#awaited) this.#arrived.resolve();
  }
}
