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
import type { StreamTableContext } from "./contract.ts";
import type { WindowBudget } from "./flow_control.ts";
import type { WriteScheduler } from "../wire/fragments/write_scheduler.ts";

/** The parts that all streams of a connection share. */
export interface StreamHost {
  readonly context: StreamTableContext;
  readonly frames: StreamFrameWriter;
  readonly scheduler: WriteScheduler;
  readonly budget: WindowBudget;
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
  /** The source and its cleanup are over, and END is written if it had to be; `thrown` is what the cleanup threw. */
  onSourceDone(thrown: Thrown | undefined): void;
}
