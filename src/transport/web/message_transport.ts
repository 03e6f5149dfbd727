/**
 * A stream of bytes over a WebSocket, which carries messages and has no
 * half-close. The rules are those of the subprotocol `sluice.1`:
 * `docs/protocol.md`, section 24.
 *
 * - A binary message is the next bytes of its direction; where one ends has no
 *   meaning. An empty one is the end of the direction. After both ends each side
 *   closes the WebSocket.
 * - Sending: a message has at most {@linkcode MESSAGE_SIZE} bytes, and none is
 *   sent while more than {@linkcode MAX_BUFFERED} wait in the socket.
 * - Receiving: a socket that can pause is paused at 64 KiB unread. Any other is
 *   closed at {@linkcode MAX_UNREAD}; a connection reads all the time, so the
 *   windows that it grants are reached first.
 * - However the socket ends, everything that waits for it settles, and no timer
 *   is left.
 *
 * @module
 */

import { toChunk } from "../../base/bytes.ts";
import { type Clock, systemClock } from "../../base/clock.ts";
import { ConnectionError } from "../../base/errors.ts";
import { BUFFER, ReadHalf, type ReadHalfEvents } from "../read_half.ts";
import { lostError } from "../system_errors.ts";
import { WriteHalf } from "../write_half.ts";
import {
  closeCodeOf,
  closeError,
  NORMAL,
  unopenedError,
} from "./close_codes.ts";

/** The subprotocol, which the client offers and the server chooses. */
export const SUBPROTOCOL = "sluice.1";

/** Bytes of a message that is sent, at most. (An echo of 64 KiB is a sixth to a third slower with 64 KiB, and no faster with 256.) */
export const MESSAGE_SIZE = 131_072;

/** From so many bytes on a message fills a packet, even on loopback. */
const FULL_PACKET = 65_536;

/** Bytes of a message that is accepted, at most. */
export const MAX_MESSAGE = 1_048_576;

/** Bytes that may wait in the socket before the next message is sent. */
export const MAX_BUFFERED = 262_144;

/** Bytes that may wait to be read where the socket cannot pause. */
export const MAX_UNREAD = 67_108_864;

/** What a message costs beside its bytes, so that tiny ones are bounded, too. */
const MESSAGE_COST = 128;

/** Turns of the event loop after each of which to look at `bufferedAmount`, for which there is no event. A kernel that has room takes what waits in one or two. */
const POLL_TURNS = 4;

/** Milliseconds between two looks after that: at first, and at most. */
const FIRST_POLL = 1;
const LAST_POLL = 50;

/** Milliseconds for the peer to answer the close of a socket that can be terminated. */
const CLOSE_TIMEOUT = 1000;

/** What is used of a WebSocket, whatever its API looks like. */
export interface MessageSocket {
  /** Bytes that wait in the socket. */
  readonly bufferedAmount: number;
  /** Whether the memory of a message belongs to the sender again once `send` has returned. */
  readonly copies: boolean;
  /** Bytes of a message that does not fill a packet, at most; unbounded if undefined. */
  readonly shortMessage?: number | undefined;
  /** Sends a binary message. Throws or rejects if it cannot. */
  send(message: Uint8Array<ArrayBuffer>): void | Promise<void>;
  /** Starts to close the socket. */
  close(code: number, reason: string): void;
  /** Ends the socket at once. */
  terminate?: (() => void) | undefined;
  /** Stops and restarts the arrival of messages. */
  pause?: (() => void) | undefined;
  resume?: (() => void) | undefined;
}

/** Both halves over one socket. Whoever has the socket calls the `on` methods. */
export class MessageTransport extends WriteHalf implements ReadHalfEvents {
  readonly readHalf: ReadHalf = new ReadHalf(BUFFER, this);
  readonly #socket: MessageSocket;
  readonly #clock: Clock;
  #open: boolean;
  readonly #opening: PromiseWithResolvers<void> | undefined;
  #paused = false;
  #cancelled = false;
  #readingDone = false;
  #writingDone = false;
  /** Whether the end of this direction was sent. */
  #endSent = false;
  /** Whether this side has closed the socket, or it is closed. */
  #closed = false;
  #closeCode = NORMAL;
  /** The write under way, and how far its chunks are sent. */
  #chunks: readonly Uint8Array[] | undefined;
  #index = 0;
  #offset = 0;
  #left = 0;
  /** Bytes in the socket at which the write has succeeded. */
  #goal = MAX_BUFFERED;
  #written: ((error?: unknown) => void) | undefined;
  /** The next look at `bufferedAmount`; once the socket is closing, the end of the wait for its close. */
  #timer: unknown;
  #poll = FIRST_POLL;
  /** Turns after which the socket was full, and whether one more is waited for. */
  #turns = 0;
  #turning = false;
  /** What the socket has reported before it closed. */
  #cause: unknown;

  /** @param open Whether messages can be sent; if not, `onOpen` follows. */
  constructor(
    socket: MessageSocket,
    open: boolean,
    clock: Clock = systemClock,
  ) {
    super();
    this.#socket = socket;
    this.#open = open;
    this.#clock = clock;
    if (open) return;
    this.#opening = Promise.withResolvers();
    this.opened = this.#opening.promise;
    // Nobody may ask for it.
    this.opened.catch(() => {});
  }

  // For the owner of the socket.

  /**
   * The socket is open.
   *
   * @param protocol The subprotocol that was chosen; empty if none was.
   */
  onOpen(protocol: string): void {
    // Deno's server forgets a close that came earlier.
    if (this.#closed) return this.#requestClose();
    if (protocol !== SUBPROTOCOL) {
      const chosen = protocol === "" ? "none" : JSON.stringify(protocol);
      return this.#refuse(
        `the peer did not choose the subprotocol "${SUBPROTOCOL}" but ${chosen}`,
      );
    }
    this.#open = true;
    this.#opening?.resolve();
    this.#send();
  }

  onMessage(data: unknown): void {
    if (this.#closed) return;
    // Timers of a hidden page come late; what the peer answers does not.
    if (this.#timer !== undefined || this.#turning) this.#look();
    if (typeof data === "string") {
      return this.#refuse("the peer sent a text message");
    }
    let bytes: Uint8Array;
    try {
      bytes = toChunk(data);
    } catch (error) {
      return this.abort(error);
    }
    if (this.#readingDone) {
      this.#refuse("the peer sent a message after the end of its stream");
    } else if (bytes.length === 0) {
      this.#readingDone = true;
      this.readHalf.end();
      this.#closeIfDone();
    } else if (bytes.length > MAX_MESSAGE) {
      this.#exhausted(
        `the peer sent a message of ${bytes.length} bytes, more than ${MAX_MESSAGE}`,
      );
    } else if (!this.#cancelled) this.#push(bytes);
  }

  /** The socket has room again. Sockets without such an event are looked at. */
  onDrain(): void {
    this.#look();
  }

  /** The socket has failed; it will be closed. */
  onError(error: unknown): void {
    this.#cause ??= error;
  }

  onClose(code: number, reason: string): void {
    this.#closed = true;
    this.#stopTimer();
    // The peer closes with 1000 when it has both ends.
    if (this.#endSent && code === NORMAL) this.#finish();
    this.#endBoth(
      this.#open
        ? closeError(code, reason, this.#cause)
        : unopenedError(code, this.#cause),
    );
  }

  // For the duplex.

  onRead(): void {
    this.#resumeIfPossible();
  }

  onCancel(): void {
    this.#cancelled = true;
    this.#resumeIfPossible();
  }

  write(chunks: readonly Uint8Array[]): Promise<void> {
    return this.#start(chunks, MAX_BUFFERED);
  }

  /** Resolves when the socket has sent everything, the end included. */
  close(): Promise<void> {
    return this.#start(END, 0);
  }

  abort(reason: unknown): void {
    const code = closeCodeOf(reason);
    this.#readingDone = true;
    this.readHalf.abort(reason);
    this.#endBoth(reason);
    this.#closeSocket(code);
  }

  /** A write has failed: so has the socket. */
  override fail(reason: unknown): void {
    this.#endBoth(reason);
    this.#closeSocket(closeCodeOf(reason));
  }

  // Reading.

  #push(bytes: Uint8Array): void {
    this.readHalf.push(bytes);
    const unread = this.#unread;
    if (unread < BUFFER) return;
    if (this.#socket.pause !== undefined) {
      this.#paused = true;
      this.#socket.pause();
    } else if (unread > MAX_UNREAD) {
      this.#exhausted(
        `more than ${MAX_UNREAD} bytes wait to be read, and a WebSocket cannot pause`,
      );
    }
  }

  /** What waits to be read, in bytes, and with it what its messages cost. */
  get #unread(): number {
    const { bytes, chunks } = this.readHalf;
    return bytes + chunks * MESSAGE_COST;
  }

  #resumeIfPossible(): void {
    if (!this.#paused || this.#closed) return;
    if (!this.#cancelled && this.#unread >= BUFFER) return;
    this.#paused = false;
    this.#socket.resume?.();
  }

  // Sending: one write or end at a time.

  #start(chunks: readonly Uint8Array[], goal: number): Promise<void> {
    return this.untilDone((done) => {
      this.#index = 0;
      this.#offset = 0;
      this.#left = 0;
      for (const { length } of chunks) this.#left += length;
      // No bytes are no message: an empty one is the end.
      this.#chunks = this.#left > 0 || chunks === END ? chunks : undefined;
      this.#goal = goal;
      this.#written = done;
      this.#send();
    });
  }

  /** Sends until the write is done, or the socket is full. */
  #send(): void {
    while (this.#written !== undefined && this.#open && !this.#closed) {
      const { bufferedAmount } = this.#socket;
      if (this.#chunks === undefined) {
        if (bufferedAmount > this.#goal) return this.#lookLater();
        return this.#finish();
      }
      if (bufferedAmount > MAX_BUFFERED) return this.#lookLater();
      const sent = this.#sendNext(this.#chunks);
      if (sent === undefined) continue;
      // One message at a time: the promise of a `WebSocketStream`.
      sent.then(() => this.#send(), (error) => this.fail(lostError(error)));
      return;
    }
  }

  #sendNext(chunks: readonly Uint8Array[]): void | Promise<void> {
    try {
      if (chunks !== END) return this.#socket.send(this.#nextMessage(chunks));
      this.#chunks = undefined;
      this.#endSent = true;
      return this.#socket.send(new Uint8Array(0));
    } catch (error) {
      this.fail(lostError(error));
    }
  }

  /** The next message: bytes of the caller's where the socket copies them, else new memory. */
  #nextMessage(chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
    const { copies, shortMessage = MESSAGE_SIZE } = this.#socket;
    const most = this.#left < FULL_PACKET ? shortMessage : MESSAGE_SIZE;
    const size = Math.min(this.#left, most);
    const first = chunks[this.#index].subarray(this.#offset);
    if (copies && first.length >= size) {
      this.#advance(size);
      return first.subarray(0, size) as Uint8Array<ArrayBuffer>;
    }
    const message = copies
      ? (gathered ??= new Uint8Array(MESSAGE_SIZE)).subarray(0, size)
      : new Uint8Array(size);
    for (let at = 0; at < size;) {
      const part = chunks[this.#index]
        .subarray(this.#offset, this.#offset + size - at);
      message.set(part, at);
      at += part.length;
      this.#advance(part.length);
    }
    return message;
  }

  #advance(bytes: number): void {
    const chunks = this.#chunks!;
    this.#offset += bytes;
    this.#left -= bytes;
    while (
      this.#index < chunks.length && this.#offset >= chunks[this.#index].length
    ) {
      this.#index++;
      this.#offset = 0;
    }
    if (this.#left === 0) this.#chunks = undefined;
  }

  #finish(): void {
    const written = this.#written;
    this.#written = undefined;
    this.#chunks = undefined;
    // At once: what follows in this turn must not fail the end.
    if (this.#endSent) this.#writingDone = true;
    written?.();
    this.#closeIfDone();
  }

  #lookLater(): void {
    if (this.#turning) return;
    if (this.#turns < POLL_TURNS) {
      this.#turns++;
      this.#turning = true;
      this.#clock.turn().then(() => {
        this.#turning = false;
        this.#look();
      });
      return;
    }
    this.#timer ??= this.#clock.setTimeout(() => {
      this.#poll = Math.min(2 * this.#poll, LAST_POLL);
      this.#look();
    }, this.#poll);
  }

  #look(): void {
    if (this.#closed) return;
    this.#stopTimer();
    const { bufferedAmount } = this.#socket;
    if (bufferedAmount <= this.#goal) {
      this.#poll = FIRST_POLL;
      this.#turns = 0;
    }
    this.#send();
  }

  // The end.

  #refuse(text: string): void {
    this.abort(new ConnectionError("protocol_error", text));
  }

  #exhausted(text: string): void {
    this.abort(new ConnectionError("resource_exhausted", text));
  }

  /** Nothing more is read or written; what has arrived is still read. */
  #endBoth(reason: unknown): void {
    this.#stopTimer();
    this.#opening?.reject(reason);
    if (!this.#readingDone) {
      this.#readingDone = true;
      this.readHalf.fail(reason);
    }
    if (this.#writingDone) return;
    this.#writingDone = true;
    this.#chunks = undefined;
    this.#written = undefined;
    super.fail(reason);
  }

  #closeIfDone(): void {
    if (this.#readingDone && this.#writingDone) this.#closeSocket(NORMAL);
  }

  #closeSocket(code: number): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#closeCode = code;
    this.#stopTimer();
    const socket = this.#socket;
    if (socket.terminate !== undefined) {
      // `onClose` ends the wait; Bun's server calls it during `close`.
      const terminate = () => socket.terminate?.();
      this.#timer = this.#clock.setTimeout(terminate, CLOSE_TIMEOUT);
    }
    this.#requestClose();
    // The peer's answer comes after what it has sent, which is dropped.
    if (this.#paused) socket.resume?.();
  }

  #requestClose(): void {
    try {
      this.#socket.close(this.#closeCode, "");
    } catch (error) {
      this.onError(error);
    }
  }

  #stopTimer(): void {
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

/** Stands for the end in place of chunks. */
const END: readonly Uint8Array[] = [];

/** Memory of messages that sockets copy: one for the process, as a message is copied in the turn in which it is made. */
let gathered: Uint8Array<ArrayBuffer> | undefined;
