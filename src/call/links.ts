/**
 * The calls of one connection, as the links between calls see them. A client
 * that does not import `ref()` has no links.
 *
 * @module
 */

import type { Connection } from "../types/connection.ts";
import type { Codec } from "../wire/codec.ts";
import type { FrameBuffer } from "../wire/frame_buffer.ts";
import type { SnapshotSettings } from "../wire/values/payload.ts";
import type { InFlightCalls } from "./in_flight.ts";
import type { SendQueue } from "./send_queue.ts";
import type { CallSettler } from "./settle.ts";

/** What links need of the table of their calls. */
export interface LinkedCalls {
  readonly context: {
    readonly codec: Codec;
    readonly sendBuffer: FrameBuffer;
    readonly connection: Connection;
    /** How params are encoded. */
    readonly setup: SnapshotSettings;
  };
  readonly inFlight: InFlightCalls;
  readonly queue: SendQueue;
  readonly settler: CallSettler;
}
