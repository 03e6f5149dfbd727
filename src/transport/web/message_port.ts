/**
 * A message port as a duplex: between a page and its workers or iframes,
 * between threads, and between the processes of an Electron program.
 *
 * "Sluice over a MessagePort" in `docs/protocol.md` has the messages.
 *
 * Invariants:
 * - A port has no backpressure, so the receiver acknowledges what its reader
 *   has taken. The sender has at most {@linkcode WINDOW} unacknowledged, and a
 *   write settles when all its bytes are sent.
 * - The receiver holds at most {@linkcode WINDOW}, whatever the peer does: a
 *   peer that sends more is disconnected. Each message counts with a fixed
 *   cost besides its bytes, so that tiny messages do not evade the bound.
 * - A message has memory of its own, which is copied from the writer's chunks
 *   and transferred to the peer. The writer keeps its chunks.
 * - The port is closed when both directions have ended, and not before.
 *
 * @module
 */

import { blank, isFixed, toChunk } from "../../base/bytes.ts";
import { ConnectionError, quote } from "../../base/errors.ts";
import { typeName } from "../../base/inspect.ts";
import type { Duplex, DuplexInfo } from "../../types/duplex.ts";
import { nativeDuplex } from "../native_duplex.ts";
import { ReadHalf, type ReadHalfEvents } from "../read_half.ts";
import { describeError, lostError } from "../system_errors.ts";
import { WriteHalf } from "../write_half.ts";

/**
 * The members of a message port that are used.
 *
 * It is a `MessagePort`, a `Worker`, the `self` of a dedicated worker, the
 * `parentPort` or a `Worker` of `node:worker_threads`, or a `MessagePortMain`
 * of Electron. It has `addEventListener` or `on`.
 */
export interface MessagePortLike {
  /** Sends a message, and transfers memory with it. (`never`, since the runtimes disagree on what can be transferred.) */
  postMessage(message: unknown, transfer: never[]): unknown;
  /** Adds a listener for an event, which has the message as `data`. */
  addEventListener?(type: string, listener: (event: unknown) => void): unknown;
  /** Removes a listener. */
  removeEventListener?(
    type: string,
    listener: (event: unknown) => void,
  ): unknown;
  /** Adds a listener for an event of Node, which is the message; Electron's has it as `data`. */
  on?(type: string, listener: (value: unknown) => void): unknown;
  /** Removes a listener. */
  off?(type: string, listener: (value: unknown) => void): unknown;
  /** Starts the delivery of messages. */
  start?(): unknown;
  /** Closes the port. */
  close?(): unknown;
  /** Lets the open port keep the process alive. */
  ref?(): unknown;
  /** Lets the process exit while the port is open. */
  unref?(): unknown;
}

/** The first message of each direction: the name and version of what follows. */
const NAME = "sluice.1";
/** Ends one direction after the data before it. */
const END = "end";
/** Ends both directions at once. */
const ABORT = "abort";

/** What may be unacknowledged, in bytes: 256 KiB. */
const WINDOW = 262_144;
/** Bytes with which each message counts besides its own: about what its objects take. */
const MESSAGE_COST = 256;
/** Bytes of the longest message. */
const MAX_MESSAGE = 65_536;
/** The receiver acknowledges when it owes this much. A quarter of the window: the sender seldom waits, and few messages are acknowledgements. */
const ACKNOWLEDGE_AT = WINDOW / 4;

/**
 * A duplex over a message port, for a client on one side and a server on the
 * other. Both sides call this function on their port, which then belongs to
 * the duplex: nobody else may use it.
 *
 * - A `Worker` is not terminated, and `self` is not closed, when the duplex
 *   ends. A `MessagePort` and a `parentPort` are closed.
 * - In a worker, call it before the first `await` of its script: messages that
 *   arrive earlier are lost.
 * - When the peer vanishes (its worker is terminated, its page is closed), the
 *   connection is lost if the port has a `close` event: on Node and on Bun; on
 *   Deno once the program has imported `node:worker_threads`. Browsers have
 *   none yet. There, use keepalive to notice it.
 * - A message that is not of this protocol ends the connection with a
 *   {@linkcode ConnectionError} `protocol_error`, or `version_mismatch` if the
 *   peer uses another version of it.
 *
 * @param port The port. For a window or an iframe, send one port of a
 *   `MessageChannel` to it, and use the other one.
 * @returns The duplex.
 * @throws {TypeError} If it is no message port.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, fromMessagePort, Server } from "@sluice/rpc";
 *
 * // One port is usually sent to a worker or an iframe.
 * const { port1, port2 } = new MessageChannel();
 * const services = { Math: { square: (n: number) => n * n } };
 * const server = new Server(services);
 * server.accept(fromMessagePort(port2));
 *
 * const client = new Client<typeof services>(fromMessagePort(port1));
 * assertEquals(await client.call("Math.square", 3), 9);
 * await client.close();
 * await server.close();
 * ```
 */
export function fromMessagePort(port: MessagePortLike): Duplex & DuplexInfo {
  checkPort(port);
  const adapter = new MessagePortAdapter(port);
  return nativeDuplex(adapter.readHalf, adapter, {});
}

function checkPort(port: MessagePortLike | undefined | null): void {
  const listens = typeof port?.addEventListener === "function" ||
    typeof port?.on === "function";
  if (!listens || typeof port?.postMessage !== "function") {
    throw new TypeError(
      `Cannot adapt: expected a message port, received ${typeName(port)}`,
    );
  }
  // Its `postMessage` takes an origin, and its messages come from anybody.
  if ((port as { window?: unknown }).window === port) {
    throw new TypeError(
      "Cannot adapt: a window is no message port; send it one port of a MessageChannel, and pass the other one",
    );
  }
}

/** The events of all ports and workers, in either style; each has some of them. */
const EVENTS = ["message", "messageerror", "close", "exit", "error"] as const;

/** Whether an uncaught error ends a web worker. In a browser the worker goes on; other runtimes report its end with another event, too. */
const ERROR_ENDS_WORKER = /* @__PURE__ */ (() => "Deno" in globalThis)();

class MessagePortAdapter extends WriteHalf implements ReadHalfEvents {
  readonly readHalf: ReadHalf = new ReadHalf(WINDOW, this);
  readonly #port: MessagePortLike;
  readonly #listeners: (readonly [string, (value: unknown) => void])[];
  /** Whether the peer's first message has arrived. */
  #greeted = false;
  /** The cost of what was sent and not acknowledged. */
  #inFlight = 0;
  /** The write that waits for acknowledgements. */
  #write: { readonly source: Gather; readonly done: () => void } | undefined;
  /** False once the port has refused to transfer memory, as Electron's does. */
  #transfers = true;
  /** The cost of what has arrived and was not acknowledged. */
  #held = 0;
  /** The part of it that the reader has taken, or that was dropped. */
  #owed = 0;
  /** Bytes in the queue when it was last looked at. */
  #queued = 0;
  #cancelled = false;
  #readingDone = false;
  #writingDone = false;
  #closed = false;

  constructor(port: MessagePortLike) {
    super();
    this.#port = port;
    this.#listeners = EVENTS
      // Those of a worker's `self` are errors of its own script.
      .filter((type) => type !== "error" || !isSelf(port))
      .map((type) => [type, (value) => this.#onEvent(type, value)]);
    for (const [type, listener] of this.#listeners) {
      if (port.addEventListener) port.addEventListener(type, listener);
      else port.on?.(type, listener);
    }
    port.start?.();
    this.#post(NAME);
  }

  // Writing.

  write(chunks: readonly Uint8Array[]): Promise<void> {
    return this.untilDone((done) => {
      this.#write = { source: new Gather(chunks), done };
      this.#send();
    });
  }

  /** Sends what the window permits of the write under way. */
  #send(): void {
    const write = this.#write;
    if (write === undefined) return;
    const { source, done } = write;
    while (source.left > 0) {
      const size = Math.min(source.left, MAX_MESSAGE);
      const cost = size + MESSAGE_COST;
      if (this.#inFlight + cost > WINDOW) return;
      this.#inFlight += cost;
      this.#postBytes(source.take(size));
      if (this.#closed) return;
    }
    this.#write = undefined;
    done();
  }

  #onAcknowledged(cost: number): void {
    if (!(cost > 0 && cost <= this.#inFlight)) {
      this.#refuse(
        `acknowledged ${cost} bytes of ${this.#inFlight} in flight`,
      );
      return;
    }
    this.#inFlight -= cost;
    this.#send();
  }

  close(): Promise<void> {
    return this.untilDone((done) => {
      this.#writingDone = true;
      this.#post(END);
      done();
      this.#shutIfDone();
    });
  }

  abort(reason: unknown): void {
    this.readHalf.abort(reason);
    this.fail(reason);
    this.#post(ABORT);
    this.#shut();
  }

  // Reading.

  #onEvent(type: (typeof EVENTS)[number], value: unknown): void {
    if (this.#closed) return;
    if (type === "message") this.#onMessage(dataOf(value));
    else if (type === "error") this.#onError(value);
    else if (type !== "messageerror") this.#lose(lostError());
    else this.#refuse("sent a message that cannot be deserialized");
  }

  #onMessage(message: unknown): void {
    if (!this.#greeted) this.#onName(message);
    else if (typeof message === "number") this.#onAcknowledged(message);
    else if (message === ABORT) this.#onAbort();
    else if (this.#readingDone) {
      this.#refuse(`sent ${describe(message)} after its end`);
    } else if (message === END) {
      this.#readingDone = true;
      this.readHalf.end();
      this.#shutIfDone();
    } else this.#onData(message);
  }

  #onName(message: unknown): void {
    if (message === NAME) {
      this.#greeted = true;
    } else if (typeof message === "string" && message.startsWith("sluice.")) {
      const text = `The peer of the message port uses version ${
        quote(message, 24)
      }, this side ${NAME}`;
      this.#disconnect(new ConnectionError("version_mismatch", text));
    } else {
      this.#refuse(`sent ${describe(message)}, expected ${quote(NAME)} first`);
    }
  }

  #onAbort(): void {
    this.#lose(
      new ConnectionError(
        "unavailable",
        "Connection lost: reset by the peer",
      ),
    );
  }

  #onData(message: unknown): void {
    let chunk: Uint8Array;
    try {
      chunk = toChunk(message);
    } catch {
      this.#refuse(`sent ${describe(message)}, expected bytes`);
      return;
    }
    const size = chunk.byteLength;
    const cost = size + MESSAGE_COST;
    if (size === 0 || size > MAX_MESSAGE) {
      this.#refuse(`sent ${size} bytes in a message, of 1 to ${MAX_MESSAGE}`);
    } else if (this.#held + cost > WINDOW) {
      this.#refuse(
        `sent more than the ${WINDOW} bytes that may be unacknowledged`,
      );
    } else {
      this.#held += cost;
      // A view would keep the whole buffer alive.
      const owned = isFixed(chunk) && chunk.buffer.byteLength === size;
      this.#queue(owned ? chunk : new Uint8Array(chunk), cost);
    }
  }

  #queue(chunk: Uint8Array, cost: number): void {
    if (!this.#cancelled) this.readHalf.push(chunk);
    const waits = this.readHalf.bytes > this.#queued;
    this.#queued = this.readHalf.bytes;
    if (!waits) this.#acknowledge(cost);
  }

  /** The reader has taken one chunk from the queue. */
  onRead(): void {
    const { bytes } = this.readHalf;
    const cost = this.#queued - bytes + MESSAGE_COST;
    this.#queued = bytes;
    this.#acknowledge(cost);
  }

  /** What the queue held is dropped, as is what still arrives. */
  onCancel(): void {
    this.#cancelled = true;
    this.#queued = 0;
    this.#acknowledge(this.#held - this.#owed);
  }

  #acknowledge(cost: number): void {
    this.#owed += cost;
    if (this.#owed < ACKNOWLEDGE_AT) return;
    this.#held -= this.#owed;
    const owed = this.#owed;
    this.#owed = 0;
    this.#post(owed);
  }

  // The end of both directions.

  /** A worker has failed. */
  #onError(value: unknown): void {
    const event = this.#port.addEventListener !== undefined;
    if (event && this.#greeted && !ERROR_ENDS_WORKER) return;
    const { error, message } = (value ?? {}) as ErrorEventLike;
    const cause = event ? error ?? message : value;
    const why = cause === undefined ? "" : `: ${describeError(cause)}`;
    const text = `Connection lost: the worker has failed${why}`;
    this.#lose(new ConnectionError("unavailable", text, { cause }));
  }

  /** The peer has broken a rule. */
  #refuse(what: string): void {
    const text = `The peer of the message port ${what}`;
    this.#disconnect(new ConnectionError("protocol_error", text));
  }

  #disconnect(reason: ConnectionError): void {
    this.#post(ABORT);
    this.#lose(reason);
  }

  /** Both directions fail; what has arrived is read first. */
  #lose(reason: ConnectionError): void {
    if (this.#closed) return;
    this.#shut();
    this.readHalf.fail(reason);
    if (!this.#writingDone) this.fail(reason);
  }

  #shutIfDone(): void {
    if (this.#readingDone && this.#writingDone) this.#shut();
  }

  #shut(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#write = undefined;
    const port = this.#port;
    for (const [type, listener] of this.#listeners) {
      if (port.addEventListener) port.removeEventListener?.(type, listener);
      else port.off?.(type, listener);
    }
    // That of a worker's `self` would end the worker.
    if (!isSelf(port)) port.close?.();
  }

  override setRef(on: boolean): void {
    if (this.#closed) return;
    if (on) this.#port.ref?.();
    else this.#port.unref?.();
  }

  #postBytes(bytes: ArrayBuffer): void {
    if (this.#transfers) {
      try {
        this.#port.postMessage(bytes, [bytes] as unknown as never[]);
        return;
      } catch {
        // Sent as a copy. If that fails, too, the port is unusable.
        this.#transfers = false;
      }
    }
    this.#post(bytes);
  }

  #post(message: unknown): void {
    if (this.#closed) return;
    try {
      this.#port.postMessage(message, []);
    } catch (error) {
      this.#lose(lostError(error));
    }
  }
}

/** The members of an `ErrorEvent` that are used. */
interface ErrorEventLike {
  readonly error?: unknown;
  readonly message?: unknown;
}

/** Whether it is the scope of this very worker. */
function isSelf(port: MessagePortLike): boolean {
  return (port as object) === globalThis;
}

/** The message of an event. Node's `on` passes the message itself, which never has such a member. */
function dataOf(value: unknown): unknown {
  const event = typeof value === "object" && value !== null && "data" in value;
  return event ? value.data : value;
}

/** A message that the peer should not have sent, for an error. */
function describe(message: unknown): string {
  if (typeof message === "string") return quote(message, 24);
  return `a message of type ${typeName(message)}`;
}

/** The bytes of a write's chunks, copied in pieces of any size. */
class Gather {
  /** Bytes that were not taken yet. */
  left = 0;
  readonly #chunks: readonly Uint8Array[];
  #index = 0;
  #offset = 0;

  constructor(chunks: readonly Uint8Array[]) {
    this.#chunks = chunks;
    for (const chunk of chunks) this.left += chunk.byteLength;
  }

  /** A copy of the next `size` bytes, in memory of its own. */
  take(size: number): ArrayBuffer {
    const bytes = blank(size);
    let at = 0;
    while (at < size) {
      const chunk = this.#chunks[this.#index];
      const part = chunk.subarray(this.#offset, this.#offset + size - at);
      bytes.set(part, at);
      at += part.byteLength;
      this.#offset += part.byteLength;
      if (this.#offset < chunk.byteLength) break;
      this.#index++;
      this.#offset = 0;
    }
    this.left -= size;
    return bytes.buffer as ArrayBuffer;
  }
}
