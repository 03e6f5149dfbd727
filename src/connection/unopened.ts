/**
 * Closes a channel that never became a connection: writes what the protocol
 * has to say, sends FIN, lingers, and destroys the transport. What it costs is
 * bounded: no codec, table or handshake is kept.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { TimerHeap } from "../base/timers.ts";
import type { ByteChannel } from "../transport/duplex.ts";
import { Linger } from "./linger.ts";
import { readLoop } from "./reader.ts";
import { SendBuffer } from "./send_buffer.ts";

const ignore = () => {};

/** Ends a connection that there never was: writes what `say` says, FIN, lingers, and destroys it. Never rejects. */
export function closeUnopened(
  path: ByteChannel,
  clock: Clock,
  say: (sendBuffer: SendBuffer) => void,
): { linger: Linger; over: Promise<void> } {
  const ended = () => linger.written();
  const sendBuffer = new SendBuffer(path, clock, Infinity, {
    onFlush: ignore,
    onWritten: ended,
    onWriteFailed: ended,
    busy: () => false,
    onGrown: ignore,
    onOverflow: ignore,
    onSpoiled: ignore,
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
