/**
 * A raw JSON-RPC peer: sends any text, and reads the messages that come back.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import {
  JsonRpcClient,
  type JsonRpcClientOptions,
  type JsonRpcOptions,
  JsonRpcServer,
  type JsonRpcServerOptions,
} from "../../jsonrpc.ts";
import {
  type Checked,
  type Connection,
  type Duplex,
  type ErrorInfo,
  memoryPair,
} from "../../mod.ts";
import { TestClock } from "./clock.ts";
import { assertNothingLeft } from "./pair.ts";

/** One side of a memory pair, which uses one of the framings. */
export class JsonPeer {
  /** The other side, for a client or server. */
  readonly duplex: Duplex;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #lines: boolean;
  /** What it has received, one character for each byte. */
  #text = "";

  constructor(framing: "lines" | "contentLength" = "lines", room?: number) {
    const [near, far] = memoryPair({ highWaterMark: room });
    this.duplex = far;
    this.#writer = near.writable.getWriter();
    this.#writer.closed.catch(() => {});
    this.#reader = near.readable.getReader();
    this.#lines = framing === "lines";
  }

  /** Sends text as it is. */
  async raw(text: string | Uint8Array): Promise<void> {
    const bytes = typeof text === "string"
      ? new TextEncoder().encode(text)
      : text;
    await this.#writer.write(bytes);
  }

  /** Sends each value as a message, all in one chunk. */
  async send(...values: unknown[]): Promise<void> {
    await this.raw(values.map((value) => this.frame(value)).join(""));
  }

  /** A value as one message. */
  frame(value: unknown): string {
    const text = JSON.stringify(value);
    if (this.#lines) return text + "\n";
    const { length } = new TextEncoder().encode(text);
    return `Content-Length: ${length}\r\n\r\n${text}`;
  }

  /** The next message; undefined after the FIN of the other side. */
  // deno-lint-ignore no-explicit-any
  async next(): Promise<any> {
    for (;;) {
      const found = this.#cut();
      if (found !== undefined) return JSON.parse(fromBytes(found));
      const { done, value } = await this.#reader.read();
      if (done) {
        assertEquals(this.#text, "", "the stream ended inside a message");
        return undefined;
      }
      for (const byte of value) this.#text += String.fromCharCode(byte);
    }
  }

  /** All messages until the FIN of the other side. */
  async rest(): Promise<unknown[]> {
    const messages: unknown[] = [];
    for (;;) {
      const message = await this.next();
      if (message === undefined) return messages;
      messages.push(message);
    }
  }

  /** Sends FIN. */
  async end(): Promise<void> {
    await this.#writer.close();
  }

  #cut(): string | undefined {
    const separator = this.#lines ? "\n" : "\r\n\r\n";
    const at = this.#text.indexOf(separator);
    if (at < 0) return undefined;
    const head = this.#text.slice(0, at);
    const rest = this.#text.slice(at + separator.length);
    if (this.#lines) {
      this.#text = rest;
      return head;
    }
    const length = Number(/^Content-Length: (\d+)$/.exec(head)?.[1]);
    if (rest.length < length) return undefined;
    this.#text = rest.slice(length);
    return rest.slice(0, length);
  }
}

/** A real side and its raw peer. Its clock moves only when the test moves it. */
export interface Faced {
  readonly peer: JsonPeer;
  readonly connection: Connection;
  readonly clock: TestClock;
  readonly errors: { error: unknown; info: ErrorInfo }[];
  /** Closes both sides, and asserts that nothing is left. Returns the messages received meanwhile. */
  close(): Promise<unknown[]>;
}

/** Makes a server with a raw peer. */
export function faceJsonServer<S extends object>(
  services: S,
  options: JsonRpcServerOptions = {},
  room?: number,
): Faced {
  const clock = new TestClock();
  const errors: Faced["errors"] = [];
  const server = new JsonRpcServer<S>(services as S & Checked<S>, {
    clock,
    onError: (error, info) => errors.push({ error, info }),
    ...options,
  });
  const peer = new JsonPeer(framingOf(options), room);
  const connection = server.accept(peer.duplex);
  return faced(peer, connection, clock, errors);
}

/** Makes a client with a raw peer. */
export function faceJsonClient<S extends object>(
  options: JsonRpcClientOptions = {},
): Faced & { readonly client: JsonRpcClient<S> } {
  const clock = new TestClock();
  const errors: Faced["errors"] = [];
  const peer = new JsonPeer(framingOf(options));
  const client = new JsonRpcClient<S>(peer.duplex, {
    clock,
    onError: (error, info) => errors.push({ error, info }),
    ...options,
  });
  return { ...faced(peer, client.connection, clock, errors), client };
}

function framingOf(
  { dialect, framing }: JsonRpcOptions,
): "lines" | "contentLength" {
  return framing ?? (dialect === "lsp" ? "contentLength" : "lines");
}

function faced(
  peer: JsonPeer,
  connection: Connection,
  clock: TestClock,
  errors: Faced["errors"],
): Faced {
  const close = async () => {
    const closing = connection.close();
    await peer.end().catch(() => {});
    const rest = await peer.rest();
    await closing;
    assertNothingLeft(connection);
    return rest;
  };
  return { peer, connection, clock, errors, close };
}

function fromBytes(binary: string): string {
  const bytes = Uint8Array.from(binary, (c) => c.charCodeAt(0));
  return new TextDecoder().decode(bytes);
}
