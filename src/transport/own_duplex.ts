/**
 * The duplexes that our own transports hand out: two halves that know nothing
 * of streams, and public streams over them.
 *
 * A chunk through a pair of Web Streams costs several promises and queues a
 * direction, and the pair itself some 8 KiB; so the streams are made when
 * somebody asks for them, and a connection takes the halves instead.
 *
 * Invariants owned here:
 * - The halves are taken once, and only if nobody has used the streams before:
 *   else chunks might still be in them. From then on the streams are locked.
 * - An end or a failure shows on the streams at once, whether or not somebody
 *   reads or writes. What arrived before it is read first. (A stream throws its
 *   own queue away when it fails; so ours queue nothing.)
 *
 * This file is below `duplex.ts`; it imports none of its types.
 *
 * @module
 */

import type { Failure, Intake } from "./intake.ts";
import type { Outlet } from "./outlet.ts";

const OWN = new WeakMap<object, Halves>();

/**
 * A duplex over two halves.
 *
 * @param info What else it says of itself.
 */
export function ownDuplex<Info extends object>(
  intake: Intake,
  outlet: Outlet,
  info: Info,
): Info & {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
} {
  const halves = new Halves(intake, outlet);
  const duplex = {
    get readable() {
      return halves.readable;
    },
    get writable() {
      return halves.writable;
    },
    ...info,
  };
  OWN.set(duplex, halves);
  return duplex;
}

/** What lies under a duplex, if it is one of ours. A copy of it is not: its streams may have been exchanged. */
export function halvesOf(duplex: object): Halves | undefined {
  return OWN.get(duplex);
}

/** Both halves of a duplex of ours; who has taken them may use them directly. */
export class Halves {
  readonly #intake: Intake;
  readonly #outlet: Outlet;
  #readable: ReadableStream<Uint8Array> | undefined;
  #writable: WritableStream<Uint8Array> | undefined;
  /** The streams have been used. */
  #used = false;
  #taken = false;

  constructor(intake: Intake, outlet: Outlet) {
    this.#intake = intake;
    this.#outlet = outlet;
  }

  /**
   * Takes the halves, if nobody has yet and the streams have not been used.
   *
   * @throws {TypeError} If one of the streams is locked.
   */
  take(): boolean {
    if (this.#taken || this.#used) return false;
    this.#readable?.getReader();
    this.#writable?.getWriter();
    return this.#taken = true;
  }

  read(): Promise<ReadableStreamReadResult<Uint8Array>> {
    return this.#intake.read();
  }

  write(chunks: readonly Uint8Array[]): Promise<void> {
    return this.#outlet.write(chunks);
  }

  close(): Promise<void> {
    return this.#outlet.close().catch(() => {});
  }

  destroy(reason: unknown): void {
    this.#outlet.abort(reason);
    this.#intake.cancel();
  }

  get readable(): ReadableStream<Uint8Array> {
    if (this.#readable === undefined) {
      this.#readable = this.#makeReadable();
      if (this.#taken) this.#readable.getReader();
    }
    return this.#readable;
  }

  get writable(): WritableStream<Uint8Array> {
    if (this.#writable === undefined) {
      this.#writable = this.#makeWritable();
      if (this.#taken) this.#writable.getWriter();
    }
    return this.#writable;
  }

  /** Why the duplex cannot be used, if so. */
  get fault(): string | undefined {
    if (this.#taken || this.#readable?.locked) return "readable is locked";
    if (this.#writable?.locked) return "writable is locked";
    return this.#outlet.failure && "writable has failed";
  }

  #makeReadable(): ReadableStream<Uint8Array> {
    const intake = this.#intake;
    let pulling = false;
    let over: { failure: Failure | undefined } | undefined;
    // Not while a pull waits, which may have been given a chunk just now; nor,
    // with a failure, while a chunk that nobody waited for is in the stream's
    // own queue: the next pull will tell of it.
    const settle = (controller: ReadableStreamDefaultController) => {
      if (over === undefined || pulling) return;
      if (over.failure === undefined) controller.close();
      else if (controller.desiredSize === 0) {
        controller.error(over.failure.reason);
      }
    };
    return new ReadableStream<Uint8Array>({
      start: (controller) =>
        intake.watch((failure) => {
          over = { failure };
          settle(controller);
        }),
      pull: async (controller) => {
        this.#used = pulling = true;
        const { done, value } = await intake.read();
        pulling = false;
        // After a cancel in between this throws, which nobody hears of.
        if (!done) controller.enqueue(value);
        settle(controller);
      },
      cancel: () => {
        this.#used = true;
        intake.cancel();
      },
    }, { highWaterMark: 0 });
  }

  #makeWritable(): WritableStream<Uint8Array> {
    const outlet = this.#outlet;
    return new WritableStream<Uint8Array>({
      start: (controller) => {
        const { signal } = controller;
        // The sink's own `abort` would be called when the write under way has
        // settled, which one towards a stalled peer never does by itself.
        signal.addEventListener("abort", () => outlet.abort(signal.reason));
        outlet.watch((reason) => {
          // An aborted stream fails by itself. To fail it from here, before it
          // has noted the abort, would make the promise of `abort` reject.
          if (!signal.aborted) controller.error(reason);
        });
      },
      write: (chunk) => {
        this.#used = true;
        if (chunk instanceof Uint8Array) {
          return chunk.byteLength > 0 ? outlet.write([chunk]) : undefined;
        }
        const reason = notBytes(chunk);
        outlet.abort(reason);
        throw reason;
      },
      close: () => {
        this.#used = true;
        return outlet.close();
      },
    }, {
      highWaterMark: Math.max(1, outlet.highWaterMark),
      size: (chunk) => chunk instanceof Uint8Array ? chunk.byteLength : 0,
    });
  }
}

function notBytes(chunk: unknown): TypeError {
  return new TypeError(
    `Cannot write: expected a Uint8Array, received ${
      chunk === null ? "null" : typeof chunk
    }`,
  );
}
