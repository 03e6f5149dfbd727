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

/** Writes what `write` puts into the send buffer, then closes the channel. `over` never rejects. */
export function closeUnopened(
  channel: ByteChannel,
  clock: Clock,
  write: (sendBuffer: SendBuffer) => void,
): { linger: Linger; over: Promise<void> } {
  const onWritten = () => linger.onWritten();
  const sendBuffer = new SendBuffer(channel, clock, Infinity, {
    onFlush: ignore,
    onWritten,
    onWriteFailed: onWritten,
    manyCalls: () => false,
    onGrown: ignore,
    onOverflow: ignore,
    onSpoiled: ignore,
  });
  const deadlines = new TimerHeap(clock);
  const linger = new Linger({ channel, sendBuffer, clock, deadlines });
  write(sendBuffer);
  const reading = readLoop(channel, clock, {
    chunk: (chunk) => {
      linger.discard(chunk.length);
      return chunk.length;
    },
    end: ignore,
    room: () => undefined,
  });
  return { linger, over: linger.run(reading.catch(ignore), ignore) };
}
