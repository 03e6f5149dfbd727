/**
 * Adds network latency to a duplex, so that a near peer behaves like a far one.
 *
 * - Each direction delivers chunks, ends and failures in order, and never before
 *   the delay has passed.
 * - The delay does not limit the rate: any number of chunks are on their way at
 *   once, up to {@linkcode UNDER_WAY} bytes in each direction.
 *
 * @module
 */

import type { Duplex } from "../mod.ts";
import { type Clock, systemClock } from "../src/base/clock.ts";

/**
 * Bytes on their way in one direction before its writer has to wait: what a line
 * of 10 Gbit/s holds at 50 ms, which is more than any benchmark here sends.
 */
const UNDER_WAY = 64 * 1024 * 1024;

/**
 * A duplex that is `ms` further away in each direction. An abort or a cancel
 * does not wait.
 *
 * @param duplex The duplex to delay. Nobody else may use it from then on.
 * @param ms The delay of one direction, half of the round trip. It is as exact as
 *   the timers of the runtime: up to two milliseconds late.
 */
export function delayed(
  duplex: Duplex,
  ms: number,
  clock: Clock = systemClock,
): Duplex {
  const there = new Line(ms, clock);
  const back = new Line(ms, clock);
  return {
    readable: delayedReadable(duplex.readable, back),
    writable: delayedWritable(duplex.writable, there, clock, () => back.cut()),
  };
}

/** Runs actions after the delay, in the same order. */
class Line {
  /** Bytes on their way. The code that delivers them subtracts them. */
  bytes = 0;
  readonly #ms: number;
  readonly #clock: Clock;
  #due: { at: number; action: () => void }[] = [];
  #timer: unknown;
  #cut = false;

  constructor(ms: number, clock: Clock) {
    this.#ms = ms;
    this.#clock = clock;
  }

  later(action: () => void): void {
    if (this.#cut) return action();
    this.#due.push({ at: this.#clock.now() + this.#ms, action });
    if (this.#due.length === 1) this.#wait();
  }

  /** Drops all actions that wait, and takes no more. */
  cut(): void {
    this.#cut = true;
    this.#due = [];
    this.#clock.clearTimeout(this.#timer);
  }

  #wait(): void {
    const left = Math.max(0, this.#due[0].at - this.#clock.now());
    this.#timer = this.#clock.setTimeout(() => this.#arrive(), left);
  }

  /** Timers may fire a little early, but an action must not run early. */
  #arrive(): void {
    const now = this.#clock.now();
    const under = this.#due.findIndex(({ at }) => at > now);
    const arrived = under < 0 ? this.#due : this.#due.slice(0, under);
    this.#due = under < 0 ? [] : this.#due.slice(under);
    if (this.#due.length > 0) this.#wait();
    for (const { action } of arrived) action();
  }
}

function delayedWritable(
  inner: WritableStream<Uint8Array>,
  line: Line,
  clock: Clock,
  aborted: () => void,
): WritableStream<Uint8Array> {
  const writer = inner.getWriter();
  /** The write that waits for room, and the close that waits for the delay. */
  let room: PromiseWithResolvers<void> | undefined;
  let closing: PromiseWithResolvers<void> | undefined;
  const stop = (reason: unknown) => {
    line.cut();
    line.bytes = 0;
    room?.reject(reason);
    closing?.reject(reason);
  };
  const deliver = async (chunk: Uint8Array) => {
    await writer.write(chunk);
    line.bytes -= chunk.length;
    if (line.bytes <= UNDER_WAY) room?.resolve();
  };
  return new WritableStream<Uint8Array>({
    start(controller) {
      const { signal } = controller;
      // The `abort` of the sink would wait for the current write.
      signal.addEventListener("abort", () => {
        stop(signal.reason);
        aborted(); // An abort also ends reading.
        writer.abort(signal.reason).catch(ignore);
      });
      writer.closed.catch((reason) => {
        stop(reason);
        controller.error(reason);
      });
    },
    async write(chunk) {
      line.bytes += chunk.length;
      // A copy, because the caller may change the chunk as soon as this settles.
      const copy = chunk.slice();
      line.later(() => deliver(copy).catch(ignore));
      // It settles later, as with a socket. If a write settled within this turn, a
      // loop of calls would have no time to gather them into one chunk.
      await clock.turn();
      if (line.bytes <= UNDER_WAY) return;
      room = Promise.withResolvers();
      await room.promise;
    },
    close() {
      const { promise, resolve, reject } = closing = Promise.withResolvers();
      line.later(() => writer.close().then(resolve, reject));
      return promise;
    },
  });
}

function delayedReadable(
  inner: ReadableStream<Uint8Array>,
  line: Line,
): ReadableStream<Uint8Array> {
  const reader = inner.getReader();
  let cancelled = false;
  /** Wakes `carry` when it waits for room. */
  let wake = () => {};
  const carry = async (
    controller: ReadableStreamDefaultController<Uint8Array>,
  ): Promise<void> => {
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (cancelled) return;
        if (done) return line.later(() => controller.close());
        line.bytes += value.length;
        line.later(() => {
          line.bytes -= value.length;
          controller.enqueue(value);
        });
        // Bytes on their way and bytes that have arrived count together.
        while (line.bytes >= (controller.desiredSize ?? 0)) {
          await new Promise<void>((resolve) => wake = resolve);
        }
      }
    } catch (reason) {
      line.later(() => controller.error(reason));
    }
  };
  return new ReadableStream<Uint8Array>({
    start: (controller) => void carry(controller),
    pull: () => wake(),
    cancel(reason) {
      cancelled = true;
      line.cut();
      return reader.cancel(reason);
    },
  }, { highWaterMark: UNDER_WAY, size: (chunk) => chunk?.length ?? 0 });
}

function ignore(): void {}
