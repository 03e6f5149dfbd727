/**
 * A raw peer of bytes for the net/rpc protocols, and messages as Go 1.19 writes
 * them.
 *
 * @module
 */

import { type Duplex, memoryPair } from "../../mod.ts";
import { join } from "./raw_peer.ts";

/** Bytes from hexadecimal digits, and text between quotes. */
export function bytes(text: string): Uint8Array {
  const parts = text.match(/"[^"]*"|[0-9a-f]{2}/g) ?? [];
  return join(
    ...parts.map((part) =>
      part.startsWith('"')
        ? new TextEncoder().encode(part.slice(1, -1))
        : [Number.parseInt(part, 16)]
    ),
  );
}

/** Text as bytes. */
export const ascii = (text: string) => new TextEncoder().encode(text);

/** One side of a memory pair, which sends and reads plain bytes. */
export class RawBytePeer {
  readonly duplex: Duplex;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #got: Uint8Array = new Uint8Array();

  constructor() {
    const [near, far] = memoryPair();
    this.duplex = far;
    this.#writer = near.writable.getWriter();
    this.#writer.closed.catch(() => {});
    this.#reader = near.readable.getReader();
  }

  async send(...parts: Uint8Array[]): Promise<void> {
    for (const part of parts) await this.#writer.write(part);
  }

  /** The next `n` bytes. */
  async take(n: number): Promise<Uint8Array> {
    while (this.#got.length < n) {
      const { done, value } = await this.#reader.read();
      if (done) {
        throw new Error(
          `the stream ended after ${this.#got.length} of ${n} bytes`,
        );
      }
      this.#got = join(this.#got, value);
    }
    const taken = this.#got.subarray(0, n);
    this.#got = this.#got.subarray(n);
    return taken;
  }

  /** All bytes until the FIN of the other side. */
  async rest(): Promise<Uint8Array> {
    for (;;) {
      const { done, value } = await this.#reader.read();
      if (done) return this.#got;
      this.#got = join(this.#got, value);
    }
  }

  async end(): Promise<void> {
    await this.#writer.close();
  }
}

// As recorded of Go 1.19.

export const REQUEST_TYPE = bytes(
  '2f ff81 03 01 01 07 "Request" 01 ff82 00 01 02 01 0d "ServiceMethod" 01 0c 00 01 03 "Seq" 01 06 00 00 00',
);
export const FIRST = join(
  REQUEST_TYPE,
  bytes('17 ff82 01 12 "HelloService.Hello" 00 05 0c 00 02 "hi"'),
);
export const SECOND = bytes(
  '19 ff82 01 12 "HelloService.Hello" 01 01 00 06 0c 00 03 "hi2"',
);
export const RESPONSE_TYPE = bytes(
  '3a ff81 03 01 01 08 "Response" 01 ff82 00 01 03 01 0d "ServiceMethod" 01 0c 00 01 03 "Seq" 01 06 00 01 05 "Error" 01 0c 00 00 00',
);
export const FIRST_REPLY = join(
  RESPONSE_TYPE,
  bytes('17 ff82 01 12 "HelloService.Hello" 00 0b 0c 00 08 "hello:hi"'),
);
export const ERROR_REPLY = bytes(
  '24 ff82 01 12 "HelloService.Hello" 01 03 01 09 "bad input" 00 0a ff87 03 01 02 ff88 00 00 00 03 ff88 00',
);
