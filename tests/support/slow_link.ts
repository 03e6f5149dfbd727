/**
 * A connection with a rate and a delay, on a clock that a test moves: two
 * duplexes, for a client and a server.
 *
 * A write resolves when its last byte is on the link, so nothing is buffered
 * below the library. Each byte arrives `delay` after it was put on the link.
 *
 * @module
 */

import type { Clock, Duplex } from "../../mod.ts";

/** Bytes that are put on the link at once, at most. */
const PACKET = 4096;

/** How a link behaves. */
export interface LinkOptions {
  readonly clock: Clock;
  /** Bytes in a millisecond, in each direction. */
  readonly rate: number;
  /** Milliseconds from one end to the other. */
  readonly delay: number;
}

/** Connects two duplexes by a link. */
export function slowLink(options: LinkOptions): [Duplex, Duplex] {
  const [a, b] = [direction(options), direction(options)];
  return [
    { readable: b.readable, writable: a.writable },
    { readable: a.readable, writable: b.writable },
  ];
}

function direction({ clock, rate, delay }: LinkOptions): Duplex {
  let reader: ReadableStreamDefaultController<Uint8Array>;
  let open = true;
  const readable = new ReadableStream<Uint8Array>({
    start: (controller) => void (reader = controller),
    cancel: () => void (open = false),
  }, { highWaterMark: Infinity });
  /** When the link has taken all that was written before. */
  let free = 0;
  const at = (time: number, run: () => void) =>
    void clock.setTimeout(run, time - clock.now());
  const writable = new WritableStream<Uint8Array>({
    write(chunk) {
      free = Math.max(free, clock.now());
      // The writer may use its memory again.
      const bytes = new Uint8Array(chunk);
      for (let i = 0; i < bytes.length; i += PACKET) {
        const packet = bytes.subarray(i, i + PACKET);
        free += packet.length / rate;
        at(free + delay, () => open && reader.enqueue(packet));
      }
      return new Promise<void>((resolve) => at(free, resolve));
    },
    close: () => at(free + delay, () => open && reader.close()),
    abort: (reason) => {
      open = false;
      reader.error(reason);
    },
  });
  return { readable, writable };
}
