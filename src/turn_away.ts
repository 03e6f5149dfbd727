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

import { type BytePath, takePath } from "./byte_path.ts";
import { systemClock } from "./clock.ts";
import type { CodecFactory, Receiver } from "./codec.ts";
import type { ConnectionOptions } from "./connection_options.ts";
import { Deadlines, Timer } from "./deadlines.ts";
import { type Duplex, toDuplex } from "./duplex.ts";
import type { ConnectionError } from "./errors.ts";
import { Farewell } from "./farewell.ts";
import { toLimits } from "./limits.ts";
import { nativeCodec } from "./native.ts";
import { Outbox } from "./outbox.ts";
import { readLoop } from "./read_loop.ts";

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
  readonly #leaving = new Set<Promise<void>>();

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
    const leaving = bye(path, this.#options, reason)
      .then(() => void this.#leaving.delete(leaving));
    this.#leaving.add(leaving);
  }

  /** Resolves when all have gone. */
  async gone(): Promise<void> {
    await Promise.all(this.#leaving);
  }
}

async function bye(
  path: BytePath,
  { wire, serializer, clock = systemClock }: ConnectionOptions,
  reason: ConnectionError,
): Promise<void> {
  const ended = () => farewell.written();
  const outbox = new Outbox(path, clock, Infinity, {
    handedOver: ignore,
    written: ended,
    writeFailed: ended,
    busy: () => false,
    grown: ignore,
    overflowed: ignore,
  });
  const farewell = new Farewell(
    path,
    outbox,
    new Timer(clock, new Deadlines(clock)),
  );
  const own = toLimits({ windowCalls: 0 });
  const codec = ((wire?.codec ?? nativeCodec) as CodecFactory)(DEAF, {
    hello: own,
    own,
    registry: undefined,
    serializer,
  });
  if (codec.features.goaway) {
    codec.goaway(outbox, undefined, reason.code, reason.message);
  }
  const reading = readLoop(path, clock, {
    chunk: (chunk) => {
      farewell.discard(chunk.length);
      return chunk.length;
    },
    end: ignore,
    room: () => undefined,
  });
  await farewell.run(reading.catch(ignore));
}
