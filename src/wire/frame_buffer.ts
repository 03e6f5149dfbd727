/**
 * The buffer that codecs write frames into. The connection's send buffer implements it.
 *
 * The order of calls is the order of the bytes, except for the urgent lane,
 * whose bytes leave at the head of the next batch.
 *
 * @module
 */

/** A buffer of outgoing bytes: reserve room, then fill it before anything else happens. */
export interface FrameBuffer {
  /** The segment that {@linkcode FrameBuffer.reserve} has made room in. */
  readonly bytes: Uint8Array;
  /** The same memory, to write several bytes at once. */
  readonly view: DataView;
  /** The segment that {@linkcode FrameBuffer.reserveUrgent} has made room in. */
  readonly urgentBytes: Uint8Array;
  /** The number of the batch that is filling; lower ones were flushed. */
  readonly batch: number;
  /** Where the latest reservation begins in its batch. */
  readonly batchOffset: number;
  /** Bytes that the transport has not taken yet. */
  readonly size: number;
  /** The largest message that can be written, in bytes, header included. */
  readonly most: number;
  /**
   * Makes room for `n` bytes in `bytes` and returns where they begin.
   * `attached` counts the bytes of the same frame that `attach` or `lend` will
   * add: a frame is kept whole or not at all.
   */
  reserve(n: number, attached?: number): number;
  /** Whether a frame of `n` bytes fits below the limit. If not, it must not be written, and the connection ends. */
  canSend(n: number): boolean;
  /** Makes room for `n` bytes in `urgentBytes` and returns where they begin. */
  reserveUrgent(n: number): number;
  /** Adds bytes without copying them; they must not change from now on. */
  attach(chunk: Uint8Array): void;
  /** Adds bytes of the user without copying them; zeros are sent if they are gone when the batch is flushed. */
  lend(chunk: Uint8Array): void;
  /** Overwrites one byte of the batch that is filling, `offset` bytes behind `batchOffset`. */
  overwrite(batchOffset: number, offset: number, byte: number): void;
  /** The bytes of the batch that is filling from `batchOffset` on, as far as they are in one piece. */
  at(batchOffset: number): Uint8Array;
}
