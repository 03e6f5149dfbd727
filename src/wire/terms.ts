/**
 * What the two ends of a stream agree on, and how their codec says it.
 *
 * `docs/protocol.md` section 14 is normative for every number here.
 *
 * @module
 */

import type { Outbox } from "../connection/send_buffer.ts";

/** The largest payload of a DATA frame, in bytes: chunks of a power of two need no frame for a byte or two. */
export const MAX_DATA = 32 * 1024;
/** What a DATA frame counts against the credit besides its body: so that tiny ones are not free. */
const FRAME_CHARGE = 16;
/** What a DATA frame of `n` payload bytes counts. */
export const CHARGE_BESIDE = FRAME_CHARGE + 1;
/** A producer that waits for more credit than this never gets on: half of the least window is given back at the latest. */
export const QUANTUM = 4096;
/** The least credit a stream begins with, in bytes. */
export const MIN_CREDIT = 16 * 1024;
/** The largest window of one stream, in bytes. */
export const MAX_WINDOW = 1024 * 1024;
/** The largest item that is not bytes; it has to fit in the largest window, however it is cut. */
export const MAX_ITEM = 1_000_000;
/** Credit beyond this is a fault. */
export const MAX_CREDIT = 0x7fffffff;

/** What an end grants for the streams that come to it. */
export interface StreamGrant {
  /** Bytes of each that may come before its reader grants more. */
  readonly credit: number;
  /** How many may be open at once. */
  readonly max: number;
}

/** A payload as it lies in a frame; lent for the time of the call. */
export interface PayloadView {
  readonly kind: number;
  readonly bytes: Uint8Array;
  readonly at: number;
  readonly end: number;
}

/** Bytes of one payload kind, to be sent in pieces. */
export interface Cut {
  readonly kind: number;
  readonly bytes: Uint8Array;
}

/** Writes the frames of streams. `caller` says whether this end made the call. */
export interface StreamWriter {
  /** Prepares the payload of a request or reply whose value is a stream. */
  prepare(): void;
  /** The size of the prepared item's payload. */
  readonly size: number;
  /** The prepared item as bytes. */
  cut(): Cut;
  /** Writes the prepared item, which is at most MAX_DATA bytes. */
  data(outbox: Outbox, id: number, caller: boolean): void;
  /** Writes a part of an item; there is `more` of it to come. */
  part(
    outbox: Outbox,
    id: number,
    caller: boolean,
    cut: Cut,
    start: number,
    end: number,
    more: boolean,
  ): void;
  /** The item in a frame. Throws if it does not parse. */
  open(view: PayloadView, owned: boolean): unknown;
  /** Writes the end of a stream. */
  end(outbox: Outbox, id: number, caller: boolean): void;
  /** Writes the failure of a stream; `data` is left out if it has no form on the wire, or is larger than `most`. */
  fail(
    outbox: Outbox,
    id: number,
    caller: boolean,
    error: StreamFailure,
    most: number,
  ): void;
  /** Says that the reader wants no more, ahead of all that is not urgent. */
  stop(
    outbox: Outbox,
    id: number,
    caller: boolean,
    code: string,
    text: string,
  ): void;
  /** Grants `bytes` more, ahead of all that is not urgent. */
  credit(outbox: Outbox, id: number, caller: boolean, bytes: number): void;
}

/** Why a stream failed, in words that can be sent. */
export interface StreamFailure {
  readonly code: string;
  readonly message: string;
  readonly data?: unknown;
}

/** What a codec tells of streams. `caller` says whether the peer made the call. All throw a ConnectionError on a breach of the rules. */
export interface StreamReceiver {
  /** A frame of items; `owned` says that nobody else uses its bytes. */
  data(
    id: number,
    caller: boolean,
    view: PayloadView,
    more: boolean,
    owned: boolean,
  ): void;
  /** The stream has ended. */
  end(id: number, caller: boolean): void;
  /** The stream has failed; the data of its error is the codec's current payload. */
  fail(id: number, caller: boolean, code: string, message: string): void;
  /** The reader of a stream of ours wants no more. */
  stop(id: number, caller: boolean, code: string, text: string): void;
  /** The reader of a stream of ours grants more. */
  credit(id: number, caller: boolean, bytes: number): void;
}
