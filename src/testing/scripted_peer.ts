/**
 * A peer of the native protocol that does what a test says: it sends one frame
 * at a time, and states which frame must arrive next.
 *
 * It keeps no table of calls, grants no window by itself, and answers no PING:
 * so it can also break every rule.
 *
 * @module
 */

import { checkDuplex } from "../transport/duplex.ts";
import type { MetadataInit } from "../types/call.ts";
import type { CallWindow, PeerHello, Serializer } from "../types/connection.ts";
import type { Duplex } from "../types/duplex.ts";
import {
  encodeFrame,
  type Frame,
  FrameDecoderStream,
} from "../wire/frame_transforms.ts";
import { MAX_MESSAGE } from "../wire/protocol.ts";
import { FrameMaker, join } from "./encode.ts";
import {
  type PeerFrame,
  printFrame,
  printRaw,
  readFrame,
  type ResultReference,
} from "./peer_frame.ts";

/** Frames that the message of a failed expectation lists. */
const MAX_LISTED = 20;

/** What the peer states in its HELLO where the test states nothing: the defaults of the library. */
const HELLO: PeerHello = {
  maxMessage: 4 * 1024 * 1024,
  windowCalls: 4096,
  windowBytes: 16 * 1024 * 1024,
  movesWindow: true,
  streams: {
    credit: 64 * 1024,
    max: 1024,
    connectionCredit: 16 * 1024 * 1024,
  },
  keepsResults: true,
  // Each message then arrives as one frame.
  fragments: false,
};

/** Options of {@linkcode scriptedPeer}. */
export interface ScriptedPeerOptions {
  /** Encodes and decodes values in place of JSON; both sides need the same. HELLO names it, unless the test states other `serializers`. */
  readonly serializer?: Serializer | undefined;
}

/** What a REQUEST of a scripted peer has besides its method and params. */
export interface ScriptedRequestOptions {
  /** Default: 1 for the first call, and the next number for each further one. */
  readonly id?: number | undefined;
  /** Milliseconds until the deadline, a whole number below 2^32. Default: no deadline. */
  readonly timeout?: number | undefined;
  /** Whether the call goes ahead of others. Default: it does not. */
  readonly priority?: "urgent" | undefined;
  /** Default: none. */
  readonly metadata?: MetadataInit | undefined;
  /** Whether the other side keeps the result for calls that refer to it. Default false. */
  readonly keep?: boolean | undefined;
  /** Which results the other side puts into the params, where they have `null`. Default: none. */
  readonly references?: readonly ResultReference[] | undefined;
  /** Whether a stream comes beside the params, whose frames the test then sends. Default false. */
  readonly body?: boolean | undefined;
}

/** What an ERROR of a scripted peer has besides its code and message. */
export interface ScriptedErrorOptions {
  /** Whether the handler was called: the outcome is then `executed`, else `refused`. Default false. */
  readonly started?: boolean | undefined;
  /** Further data for the caller. Default: none. */
  readonly data?: unknown;
  /** Default: none. */
  readonly metadata?: MetadataInit | undefined;
}

/** A GOAWAY of a scripted peer. */
export interface ScriptedGoaway {
  /** The last call that the peer serves. Default: it serves none. */
  readonly lastId?: number | undefined;
  /** Why the connection fails. Default: empty, for a graceful close. */
  readonly code?: string | undefined;
  /** A text for people. Default: empty. */
  readonly message?: string | undefined;
}

/**
 * A peer that a test drives, made by {@linkcode scriptedPeer}.
 *
 * A method that sends resolves when the transport has capacity again, and
 * rejects with the transport's error once the connection is lost.
 */
export class ScriptedPeer {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #frames: ReadableStreamDefaultReader<Required<Frame>>;
  readonly #serializer: Serializer | undefined;
  readonly #make: FrameMaker;
  /** The latest frames received, as text. */
  readonly #received: string[] = [];
  #nextId = 1;

  /** Creates a peer; {@linkcode scriptedPeer} says more. */
  constructor(duplex: Duplex, { serializer }: ScriptedPeerOptions = {}) {
    const { writable, readable } = checkDuplex(duplex);
    this.#writer = writable.getWriter();
    // The methods that send report a failure; this would report it once more.
    this.#writer.closed.catch(() => {});
    const decoder = new FrameDecoderStream({ maxBody: MAX_MESSAGE });
    this.#frames = readable.pipeThrough(decoder).getReader();
    this.#frames.closed.catch(() => {});
    this.#serializer = serializer;
    this.#make = new FrameMaker(serializer);
  }

  // What the peer sends.

  /**
   * Sends a HELLO, whose limits are the library's defaults where `hello` states
   * none. Large messages arrive in fragments only if it states `fragments: true`.
   */
  async hello(hello: Partial<PeerHello> = {}): Promise<void> {
    await this.send(this.#make.hello({ ...HELLO, ...hello }));
  }

  /** Sends a HELLO as `hello` does, and then expects the HELLO of the other side, which it returns. */
  async greet(hello: Partial<PeerHello> = {}): Promise<PeerHello> {
    await this.hello(hello);
    return (await this.expect("hello")).hello;
  }

  /**
   * Calls a method of the other side. Resolves with the id of the call.
   *
   * @throws {RpcError} `invalid_argument` if the params cannot be serialized.
   */
  async request(
    method: string,
    params?: unknown,
    options: ScriptedRequestOptions = {},
  ): Promise<number> {
    const { id = this.#nextId++, timeout, priority, metadata } = options;
    const { body = false, keep = false, references = [] } = options;
    const urgent = priority === "urgent";
    const shown = { timeout, urgent, metadata, body };
    const parts = { id, method, params, ...shown, keep, references };
    await this.send(this.#make.request(parts));
    return id;
  }

  /**
   * Replies to a call with a result. With `body`, a stream comes beside it, whose
   * frames the test then sends.
   *
   * @throws {RpcError} `invalid_argument` if the result cannot be serialized.
   */
  async reply(
    id: number,
    result?: unknown,
    { metadata, body = false }: {
      readonly metadata?: MetadataInit | undefined;
      readonly body?: boolean | undefined;
    } = {},
  ): Promise<void> {
    await this.send(this.#make.reply(id, result, metadata, body));
  }

  /**
   * Replies to a call with an error.
   *
   * @throws {RpcError} `invalid_argument` if the data cannot be serialized.
   */
  async fail(
    id: number,
    code: string,
    message = "",
    options: ScriptedErrorOptions = {},
  ): Promise<void> {
    const { started = false, data, metadata } = options;
    const parts = { id, code, message, started, data, metadata };
    await this.send(this.#make.error(parts));
  }

  /** Cancels a call that the peer has made. */
  cancel(id: number): Promise<void> {
    return this.send(this.#make.cancel(id));
  }

  /** Says that the peer refers to the result of a call no more. */
  release(id: number): Promise<void> {
    return this.send(this.#make.release(id));
  }

  /** Asks the other side for a PONG. */
  ping(id = 0): Promise<void> {
    return this.send(this.#make.ping(id));
  }

  /** Replies to a PING. */
  pong(id: number): Promise<void> {
    return this.send(this.#make.pong(id));
  }

  /** Says that the peer takes no new calls. */
  goaway(goaway: ScriptedGoaway = {}): Promise<void> {
    const { lastId, code = "", message = "" } = goaway;
    return this.send(this.#make.goaway(lastId, code, message));
  }

  /** Moves the window of calls that the peer grants. `id` is the number of the update, from 1. */
  window(id: number, window: CallWindow): Promise<void> {
    return this.send(this.#make.window(id, window, false));
  }

  /** Confirms an update of the other side's window. */
  ackWindow(id: number, window: CallWindow): Promise<void> {
    return this.send(this.#make.window(id, window, true));
  }

  /** Says that the peer begins to close, and still takes the calls that were made before. */
  warn(): Promise<void> {
    return this.send(this.#make.warning());
  }

  /** Says that the peer makes no more calls; with `all`, that it sends nothing more. */
  last(options: { readonly all?: boolean | undefined } = {}): Promise<void> {
    return this.send(this.#make.last(options.all === true));
  }

  /** Sends frames of any kind, and bytes as they are, in one chunk. */
  send(...parts: readonly (Frame | Uint8Array)[]): Promise<void> {
    const bytes = parts.map((part) =>
      part instanceof Uint8Array ? part : encodeFrame(part)
    );
    return this.#writer.write(join(bytes));
  }

  /** Sends FIN: the peer writes no more, and can still receive. */
  end(): Promise<void> {
    return this.#writer.close();
  }

  /** Loses the connection, for both sides. */
  reset(): Promise<void> {
    return this.#writer.abort(new Error("reset by the scripted peer"));
  }

  // What arrives.

  /**
   * Resolves with the next frame; `undefined` after the FIN of the other side.
   * Waits without a limit. Frames that a receiver ignores are left out.
   *
   * @throws {ConnectionError} If the bytes are no frames, or a body breaks the rules of the protocol.
   * @throws {unknown} The transport's error once the connection is lost.
   */
  async next(): Promise<PeerFrame | undefined> {
    const { value } = await this.#frames.read();
    if (value === undefined) return undefined;
    this.#received.push(printRaw(value, this.#serializer));
    if (this.#received.length > MAX_LISTED) this.#received.shift();
    return readFrame(value, this.#serializer);
  }

  /**
   * Resolves with the next frame, which must be of the given kind.
   *
   * @throws {Error} If it is of another kind, or the FIN comes first. The message lists the latest frames that arrived.
   * @throws {ConnectionError} As {@linkcode next} does.
   */
  async expect<K extends PeerFrame["kind"]>(
    kind: K,
  ): Promise<Extract<PeerFrame, { kind: K }>> {
    const frame = await this.next();
    if (frame?.kind === kind) {
      return frame as Extract<PeerFrame, { kind: K }>;
    }
    throw this.#unexpected(kind.toUpperCase(), frame);
  }

  /**
   * Resolves when the FIN of the other side is the next that arrives.
   *
   * @throws {Error} If a frame comes first.
   * @throws {ConnectionError} As {@linkcode next} does.
   */
  async expectEnd(): Promise<void> {
    const frame = await this.next();
    if (frame !== undefined) throw this.#unexpected("the end", frame);
  }

  #unexpected(wanted: string, frame: PeerFrame | undefined): Error {
    const got = frame === undefined ? "the end" : printFrame(frame);
    const all = this.#received.map((line) => `\n  ${line}`).join("");
    return new Error(
      `Expected ${wanted}, received ${got}. Received so far:${
        all || " nothing"
      }`,
    );
  }
}

/**
 * Creates a peer of the native protocol that does what the test says, at the
 * other side of a client or a server: it can answer late, twice or not at all,
 * and send what no honest peer sends. It takes over both streams of `duplex`.
 *
 * A connection begins with a HELLO of each side, for which `greet` is. Then every
 * frame that arrives must be read with `expect` or `next`, in its order.
 *
 * @throws {TypeError} If it is no duplex, or one of its streams is locked.
 *
 * @example A server that answers after the deadline
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, memoryPair } from "@sluice/rpc";
 * import { scriptedPeer, settle, TestClock } from "@sluice/rpc/testing";
 *
 * const [near, far] = memoryPair();
 * const clock = new TestClock();
 * const client = new Client<{ Clock: { now: () => number } }>(near, { clock });
 * const peer = scriptedPeer(far);
 * await peer.greet();
 *
 * const call = client.go("Clock.now", undefined, { timeout: 100 });
 * const { id, method, timeout } = await peer.expect("request");
 * assertEquals([method, timeout], ["Clock.now", 100]);
 * await clock.advance(100);
 * const error = await call.reply.catch((error) => error);
 * assertEquals([error.code, error.outcome], ["deadline_exceeded", "unknown"]);
 * await peer.expect("cancel");
 *
 * await peer.reply(id, 12); // Too late, and no fault: the connection goes on.
 * await settle();
 * const next = client.call("Clock.now");
 * await peer.reply((await peer.expect("request")).id, 13);
 * assertEquals(await next, 13);
 * await client.abort();
 * ```
 *
 * @example A client that calls a server
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { memoryPair, Server } from "@sluice/rpc";
 * import { scriptedPeer } from "@sluice/rpc/testing";
 *
 * const [near, far] = memoryPair();
 * const server = new Server({ Math: { square: (n: number) => n * n } });
 * server.accept(far);
 * const peer = scriptedPeer(near);
 * await peer.greet();
 * const id = await peer.request("Math.square", 3);
 * assertEquals((await peer.expect("reply")).result, 9);
 * await peer.request("Math.cube", 3);
 * const { code, started } = await peer.expect("error");
 * assertEquals([id, code, started], [1, "not_found", false]);
 * await peer.goaway();
 * await peer.end();
 * await server.close();
 * ```
 */
export function scriptedPeer(
  duplex: Duplex,
  options: ScriptedPeerOptions = {},
): ScriptedPeer {
  return new ScriptedPeer(duplex, options);
}
