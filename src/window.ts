/**
 * The in-flight window: what the peer grants, and what of it is used.
 *
 * Invariant owned here: granted = free + held, in calls and in bytes; a call
 * takes its place when it enters the batch and gives it back exactly once.
 *
 * @module
 */

import type { Hello } from "./codec.ts";
import { EARLY_BYTES, EARLY_CALLS, EARLY_MESSAGE } from "./hello.ts";

/** Calls and bytes in flight against what the peer grants. */
export class Window {
  /** Before the peer's HELLO is read, the protocol's constants hold. */
  granted: Hello = {
    maxMessage: EARLY_MESSAGE,
    windowCalls: EARLY_CALLS,
    windowBytes: EARLY_BYTES,
  };
  calls = 0;
  bytes = 0;

  /** Whether a call of this size may be sent now. */
  admits(size: number): boolean {
    return this.calls < this.granted.windowCalls &&
      this.bytes + size <= this.granted.windowBytes;
  }

  /** Whether there is room for anything at all. */
  get open(): boolean {
    return this.calls < this.granted.windowCalls &&
      this.bytes < this.granted.windowBytes;
  }

  take(size: number): void {
    this.calls++;
    this.bytes += size;
  }

  free(calls: number, bytes: number): void {
    this.calls -= calls;
    this.bytes -= bytes;
  }
}
