/**
 * The in-flight window: what the peer grants, and what of it is used.
 *
 * Invariant owned here: granted = free + held, in calls and in bytes; a call
 * takes its place when it enters the batch and gives it back exactly once.
 *
 * @module
 */

import type { Hello } from "../wire/codec.ts";
import { EARLY_BYTES, EARLY_CALLS, EARLY_MESSAGE } from "../wire/hello.ts";
import { exhausted, servesNothing } from "./errors.ts";

/** Calls and bytes in flight against what the peer grants. */
export class Window {
  /** Calls that hold a place. */
  calls = 0;
  /** Their bytes. */
  bytes = 0;
  /** Before the peer's HELLO is read, the protocol's constants hold. */
  granted: Hello = {
    maxMessage: EARLY_MESSAGE,
    windowCalls: EARLY_CALLS,
    windowBytes: EARLY_BYTES,
  };
  #greeted = false;
  readonly #overhead: number;
  readonly #granter: string;

  /**
   * @param overhead What a call's size counts beyond the body that `maxMessage` bounds, in bytes.
   * @param own Whether it is this end itself that grants, on a wire where no peer does.
   */
  constructor(overhead: number, own = false) {
    this.#overhead = overhead;
    this.#granter = own ? "this end's" : "the peer's";
  }

  /** The peer has said what it grants; what is in flight already stays counted. */
  grant(hello: Hello): void {
    this.#greeted = true;
    this.granted = hello;
  }

  /** What the peer has said; undefined before its HELLO is read. */
  get told(): Hello | undefined {
    return this.#greeted ? this.granted : undefined;
  }

  /** Whether a call of this size may be sent now. */
  admits(size: number): boolean {
    const { windowCalls, windowBytes, maxMessage } = this.granted;
    return this.calls < windowCalls && this.bytes + size <= windowBytes &&
      size <= maxMessage + this.#overhead;
  }

  /** Whether there is room for anything at all. */
  get open(): boolean {
    return this.calls < this.granted.windowCalls &&
      this.bytes < this.granted.windowBytes;
  }

  /** Calls for which there is room. */
  get free(): number {
    return this.open ? this.granted.windowCalls - this.calls : 0;
  }

  /** Whether there is room for a good many calls: an eighth of the window, at most 512 calls and 32 KiB. */
  get roomy(): boolean {
    const { windowCalls, windowBytes } = this.granted;
    return windowCalls - this.calls >= Math.min(512, windowCalls >>> 3) &&
      windowBytes - this.bytes >= Math.min(32_768, windowBytes / 8);
  }

  /**
   * Says whether a call of this size can ever be sent; before the peer's HELLO
   * is read, nobody knows.
   *
   * @throws {RpcError} If it cannot: `unavailable` where the peer serves
   * nothing, else `resource_exhausted`.
   */
  checkFit(size: number): void {
    if (!this.#greeted) return;
    const { windowCalls, windowBytes, maxMessage } = this.granted;
    if (windowCalls === 0) throw servesNothing();
    const most = maxMessage + this.#overhead;
    if (size <= Math.min(most, windowBytes)) return;
    const limit = size > most
      ? `maxMessage, ${maxMessage} bytes,`
      : `windowBytes, ${windowBytes} bytes,`;
    throw exhausted(
      `a call of ${size} bytes; ${this.#granter} ${limit} has no room`,
    );
  }

  take(size: number): void {
    this.calls++;
    this.bytes += size;
  }

  release(calls: number, bytes: number): void {
    this.calls -= calls;
    this.bytes -= bytes;
  }
}
