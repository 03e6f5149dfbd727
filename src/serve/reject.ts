/**
 * The end of a connection that a full server does not take: a GOAWAY where the
 * wire has one, FIN, and the same farewell as any other connection's.
 *
 * Invariants owned here:
 * - What it costs is bounded: no codec, tables or handshake stay, it is over
 *   within the farewell's times, and at most {@linkcode AT_ONCE} are under way;
 *   those past that are cut off without a word.
 *
 * @module
 */

import {
  type BytePath,
  type Duplex,
  takePath,
  toDuplex,
} from "../transport/duplex.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import type { CodecFactory, Receiver } from "../wire/codec.ts";
import type { ConnectionOptions } from "../types/connection.ts";
import { Deadlines } from "../base/timers.ts";
import type { ConnectionError } from "../base/errors.ts";
import { Farewell } from "../connection/linger.ts";
import { toLimits } from "../wire/limits.ts";
import { nativeCodec } from "../wire/native_codec.ts";
import { Outbox } from "../connection/send_buffer.ts";
import { readLoop } from "../connection/reader.ts";

/** Farewells under way at once. */
const AT_ONCE = 1024;

const ignore = () => {};

/** Nothing of what it says is heard. */
const DEAF: Receiver = {
  hello: ignore,
  request: ignore,
  reply: ignore,
  failure: ignore,
  cancel: ignore,
  ping: ignore,
  pong: ignore,
  goaway: ignore,
  full: () => false,
  mayRead: () => true,
  streams: () => ({
    data: ignore,
    end: ignore,
    fail: ignore,
    stop: ignore,
    credit: ignore,
  }),
};

/** Those that a server turns away. */
export class TurnedAway {
  readonly #options: ConnectionOptions;
  readonly #leaving = new Map<Farewell, Promise<void>>();

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /**
   * Turns one away.
   *
   * @throws {TypeError} If it is no duplex, or one of its streams is locked.
   */
  add(duplex: Duplex, reason: ConnectionError): void {
    const path = takePath(toDuplex(duplex));
    if (this.#leaving.size >= AT_ONCE) return path.destroy(reason);
    const { clock = systemClock } = this.#options;
    const words = lastWords(this.#options, reason);
    const { farewell, over } = bye(path, clock, words);
    this.#leaving.set(
      farewell,
      over.then(() => void this.#leaving.delete(farewell)),
    );
  }

  /** Resolves when all have gone, which they have within `ms`. */
  async gone(ms: number): Promise<void> {
    for (const farewell of this.#leaving.keys()) farewell.within(ms);
    await Promise.all(this.#leaving.values());
  }
}

/** What a wire says to a peer that it does not take. */
function lastWords(
  { wire, serializer }: ConnectionOptions,
  reason: ConnectionError,
): (outbox: Outbox) => void {
  const own = toLimits({ windowCalls: 0 });
  const codec = ((wire?.codec ?? nativeCodec) as CodecFactory)(DEAF, {
    hello: own,
    own,
    registry: undefined,
    serializer,
  });
  return (outbox) => {
    if (!codec.features.goaway) return;
    codec.goaway(outbox, undefined, reason.code, reason.message);
  };
}

/** Ends a connection that there never was: writes what `say` says, FIN, lingers, and destroys it. Never rejects. */
export function bye(
  path: BytePath,
  clock: Clock,
  say: (outbox: Outbox) => void,
): { farewell: Farewell; over: Promise<void> } {
  const ended = () => farewell.written();
  const outbox = new Outbox(path, clock, Infinity, {
    handedOver: ignore,
    written: ended,
    writeFailed: ended,
    busy: () => false,
    grown: ignore,
    overflowed: ignore,
    spoiled: ignore,
  });
  const farewell = new Farewell(path, outbox, clock, new Deadlines(clock));
  say(outbox);
  const reading = readLoop(path, clock, {
    chunk: (chunk) => {
      farewell.discard(chunk.length);
      return chunk.length;
    },
    end: ignore,
    room: () => undefined,
  });
  return { farewell, over: farewell.run(reading.catch(ignore), ignore) };
}
