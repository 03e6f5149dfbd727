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

import { toDuplex } from "../transport/deno_conn.ts";
import { type ByteChannel, openChannel } from "../transport/duplex.ts";
import type { Duplex } from "../types/duplex.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import type { CodecFactory, MessageHandler } from "../wire/codec.ts";
import type { ConnectionOptions } from "../types/connection.ts";
import { TimerHeap } from "../base/timers.ts";
import type { ConnectionError } from "../base/errors.ts";
import { Linger } from "../connection/linger.ts";
import { toLimits } from "../wire/limits.ts";
import { nativeCodec } from "../wire/native_codec.ts";
import { SendBuffer } from "../connection/send_buffer.ts";
import { readLoop } from "../connection/reader.ts";

/** Farewells under way at once. */
const AT_ONCE = 1024;

const ignore = () => {};

/** Nothing of what it says is heard. */
const DEAF: MessageHandler = {
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
export class RejectedConnections {
  readonly #options: ConnectionOptions;
  readonly #leaving = new Map<Linger, Promise<void>>();

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /**
   * Turns one away.
   *
   * @throws {TypeError} If it is no duplex, or one of its streams is locked.
   */
  add(duplex: Duplex, reason: ConnectionError): void {
    const path = openChannel(toDuplex(duplex));
    if (this.#leaving.size >= AT_ONCE) return path.destroy(reason);
    const { clock = systemClock } = this.#options;
    const words = closeMode(this.#options, reason);
    const { linger, over } = goawayBytes(path, clock, words);
    this.#leaving.set(
      linger,
      over.then(() => void this.#leaving.delete(linger)),
    );
  }

  /** Resolves when all have gone, which they have within `ms`. */
  async gone(ms: number): Promise<void> {
    for (const linger of this.#leaving.keys()) linger.within(ms);
    await Promise.all(this.#leaving.values());
  }
}

/** What a wire says to a peer that it does not take. */
function closeMode(
  { protocol: wire, serializer }: ConnectionOptions,
  reason: ConnectionError,
): (sendBuffer: SendBuffer) => void {
  const own = toLimits({ windowCalls: 0 });
  const codec = ((wire?.codec ?? nativeCodec) as CodecFactory)(DEAF, {
    hello: own,
    own,
    methodTable: undefined,
    serializer,
  });
  return (sendBuffer) => {
    if (!codec.features.goaway) return;
    codec.goaway(sendBuffer, undefined, reason.code, reason.message);
  };
}

/** Ends a connection that there never was: writes what `say` says, FIN, lingers, and destroys it. Never rejects. */
export function goawayBytes(
  path: ByteChannel,
  clock: Clock,
  say: (sendBuffer: SendBuffer) => void,
): { linger: Linger; over: Promise<void> } {
  const ended = () => linger.written();
  const sendBuffer = new SendBuffer(path, clock, Infinity, {
    onFlush: ignore,
    written: ended,
    writeFailed: ended,
    busy: () => false,
    grown: ignore,
    overflowed: ignore,
    spoiled: ignore,
  });
  const linger = new Linger(path, sendBuffer, clock, new TimerHeap(clock));
  say(sendBuffer);
  const reading = readLoop(path, clock, {
    chunk: (chunk) => {
      linger.discard(chunk.length);
      return chunk.length;
    },
    end: ignore,
    room: () => undefined,
  });
  return { linger, over: linger.run(reading.catch(ignore), ignore) };
}
