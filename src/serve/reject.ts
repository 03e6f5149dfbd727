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
import { openChannel } from "../transport/duplex.ts";
import type { Duplex } from "../types/duplex.ts";
import { systemClock } from "../base/clock.ts";
import type { CodecFactory, MessageHandler } from "../wire/codec.ts";
import type { ConnectionOptions } from "../types/connection.ts";
import type { ConnectionError } from "../base/errors.ts";
import { closeUnopened } from "../connection/unopened.ts";
import type { Linger } from "../connection/linger.ts";
import { toLimits } from "../wire/limits.ts";
import { nativeCodec } from "../wire/native_codec.ts";
import type { SendBuffer } from "../connection/send_buffer.ts";

/** Farewells under way at once. */
const AT_ONCE = 1024;

const ignore = () => {};

/** Nothing of what it says is heard. */
const DEAF: MessageHandler = {
  onHello: ignore,
  onRequest: ignore,
  onReply: ignore,
  onFailure: ignore,
  onCancel: ignore,
  onPing: ignore,
  onPong: ignore,
  onGoaway: ignore,
  full: () => false,
  mayRead: () => true,
  streams: () => ({
    onData: ignore,
    onEnd: ignore,
    onFail: ignore,
    onStop: ignore,
    onCredit: ignore,
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
    const { linger, over } = closeUnopened(path, clock, words);
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
    limits: own,
    methodTable: undefined,
    serializer,
  });
  return (sendBuffer) => {
    if (!codec.features.goaway) return;
    codec.goaway(sendBuffer, undefined, reason.code, reason.message);
  };
}
