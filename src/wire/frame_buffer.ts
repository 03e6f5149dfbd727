/**
 * The buffer that codecs write frames into. The connection's send buffer implements it.
 *
 * The order of calls is the order of the bytes, except for the urgent lane,
 * whose bytes leave at the head of the next batch.
 *
 * @module
 */

/** What a message is encoded into. */
export interface MessageBuffer {
  /** The segment that {@linkcode FrameBuffer.reserve} has made room in. */
  readonly bytes: Uint8Array;
  /** The same memory, to write several bytes at once. */
  readonly view: DataView;
  /**
   * Makes room for `n` bytes in `bytes` and returns where they begin.
   * `attached` counts the bytes of the same frame that `attach` or `lend` will
   * add: a frame is kept whole or not at all.
   */
  reserve(n: number, attached?: number): number;
  /** Adds a payload without copying it. If its bytes are the user's and are gone when the batch is flushed, zeros are sent if they are gone when the batch is flushed. */
  lend(chunk: Uint8Array): void;
}

/** What a response is written into. */
export interface ReplyBuffer extends MessageBuffer {
  /** Begins a message that is to be written in fragments, of `size` bytes with its header. It is kept whole or not at all. An urgent one goes ahead of those that have not begun. */
  cut(
    make: MakeLargeMessage,
    id: number,
    isRequest: boolean,
    size: number,
    urgent?: boolean,
  ): MessageBuffer;
}

/** Makes a message of `size` bytes, header included, that is to be written in fragments. */
export type MakeLargeMessage = (
  sendBuffer: FrameBuffer,
  id: number,
  isRequest: boolean,
  size: number,
  urgent: boolean,
) => LargeMessage;

/** A message that is encoded, and is written in fragments. */
export interface LargeMessage extends MessageBuffer {
  readonly isRequest: boolean;
  /** Whether it goes ahead of other messages that have not begun. */
  readonly urgent: boolean;
  /** Whether a part of it is written. */
  readonly begun: boolean;
  /** Called when its last fragment has been written. */
  onEnd: (() => void) | undefined;
  /** It has been encoded. */
  cut(): void;
  /** Writes a fragment; returns whether there is more to write. */
  write(): boolean;
  /** Gives the message up. Its last fragment must not be handed over. */
  abort(): void;
}

/** A buffer of outgoing bytes: reserve room, then fill it before anything else happens. */
export interface FrameBuffer extends ReplyBuffer {
  /** The segment that {@linkcode FrameBuffer.reserveUrgent} has made room in. */
  readonly urgentBytes: Uint8Array;
  /** The number of the batch that is filling; lower ones were flushed. */
  readonly batch: number;
  /** Where the latest reservation begins in its batch. */
  readonly batchOffset: number;
  /** Bytes that the transport has not taken yet. */
  readonly size: number;
  /** Those of them that a frame waits behind which is written now: all but the rest of large messages. */
  readonly ahead: number;
  /** How many bytes the transport takes in about 2 ms. */
  readonly pace: number;
  /** The largest message that can be written, in bytes, header included. */
  readonly most: number;
  /** The latest message that is to be written in fragments. Whoever has a codec write a message hands this to the scheduler, and clears it. */
  large: LargeMessage | undefined;
  /** Counts `n` more bytes that wait in large messages, or fewer. */
  park(n: number): void;
  /** Whether a frame of `n` bytes fits below the limit. If not, it must not be written, and the connection ends. */
  canSend(n: number): boolean;
  /** Makes room for `n` bytes in `urgentBytes` and returns where they begin. */
  reserveUrgent(n: number): number;
  /** Adds bytes without copying them; they must not change from now on. */
  attach(chunk: Uint8Array): void;
  /** Overwrites one byte of the batch that is filling, `offset` bytes behind `batchOffset`. */
  overwrite(batchOffset: number, offset: number, byte: number): void;
  /** The bytes of the batch that is filling from `batchOffset` on, as far as they are in one piece. */
  at(batchOffset: number): Uint8Array;
}
