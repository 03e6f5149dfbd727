/**
 * What the reader and the writer of a stream use of their call and of the
 * connection's table of streams. These are types alone: the table imports the
 * streams of a call, and these their reader and writer, never the other way.
 *
 * @module
 */

import type { RpcError } from "../base/errors.ts";
import type { Thrown } from "../base/pull_source.ts";
import type {
  StreamAddress,
  StreamFailure,
  StreamFrameWriter,
} from "../wire/codec.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import type { StreamTableContext } from "./contract.ts";
import type { WriteScheduler } from "../wire/fragments/write_scheduler.ts";
import type { ReceiveCredit } from "./flow_control.ts";
import type { SendCredit } from "./send_credit.ts";

/** The parts that all streams of a connection share. */
export interface StreamHost {
  readonly context: StreamTableContext;
  readonly frames: StreamFrameWriter;
  readonly scheduler: WriteScheduler;
  /** What the peer may send over all streams, and what this side may. The latter once the peer's HELLO is read. */
  readonly receiveCredit: ReceiveCredit;
  readonly sendCredit: SendCredit;
  /** Whether the peer has sent its FIN, and so cannot grant any more credit. */
  readonly peerHalfClosed: boolean;
  /** Counts `bytes` more of items that wait to be sent, or fewer if negative. */
  addUnsent(bytes: number): void;
}

/** The call of a stream, as the reader and the writer see it. */
export interface StreamOwner extends StreamAddress {
  readonly host: StreamHost;
  /** Names the call in an error that the local reader gets. */
  annotate(error: RpcError): RpcError;
  /** Prepares an item for sending. Throws the stream's failure if it cannot be encoded. */
  prepare(item: unknown): void;
  /** Turns the source's failure into what the peer receives. */
  toRpcError(error: unknown): StreamFailure;
  /** The trailers of the outgoing stream, which has `failed` or ended in order. May run the user's code, and throw what that throws. */
  outgoingTrailers(failed: boolean): MetadataBlock | undefined;
  /** The source and its cleanup are over, and END is written if it had to be; `thrown` is what the cleanup threw. */
  onSourceDone(thrown: Thrown | undefined): void;
}
