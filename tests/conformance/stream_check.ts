/**
 * Checks the stream frames that the side under test sends: credit, sizes, numbers
 * of streams, ends. It sees all frames that a case sends and reads, so a breach
 * fails the case in which it happens.
 *
 * @module
 */

import { KIND } from "../support/raw_peer.ts";
import {
  BODY,
  PAYLOAD,
  readData,
  readHello,
  readRequest,
  type StreamGrant,
} from "./bytes.ts";
import type { RawFrame } from "./wire.ts";

const CALLER = 1;
const MORE = 2;
const ERROR = 2;
const CONNECTION = 2;
const METADATA = 2;
/** The longest payload of a DATA, and of an item that is no bytes. */
const MOST_DATA = 32_768;
const MOST_ITEM = 1_000_000;
/** Bytes of credit that a DATA frame takes beside its body. */
const CHARGE = 16;

/** A stream that the side sends. */
interface Outgoing {
  credit: number;
  ended: boolean;
  /** The kind and the bytes so far of an item of which more is to come. */
  kind: number | undefined;
  bytes: number;
}

/** Reports a breach; does not return. */
export type Report = (rule: string, what: string) => never;

/** Watches the streams of one connection. */
export class StreamCheck {
  /** Whether the suite's HELLO takes WINDOW frames. */
  windows = false;
  /** The grants of the suite's HELLO, once it has been sent. */
  #grant: StreamGrant | undefined;
  /** What it may still send over all streams together. */
  #all = 0;
  /** Streams that the side sends, by the side that made the call and the call's id. */
  readonly #params = new Map<number, Outgoing>();
  readonly #results = new Map<number, Outgoing>();
  /** Streams for which it has sent STOP. */
  readonly #stopped = new Set<string>();
  readonly #report: Report;

  constructor(report: Report) {
    this.#report = report;
  }

  /** Whether the suite's HELLO accepts streams. */
  get able(): boolean {
    return this.#grant !== undefined;
  }

  /** A frame that the suite sends. */
  sent(frame: RawFrame): void {
    const { kind, flags, id, body } = frame;
    switch (kind) {
      case KIND.HELLO:
        try {
          this.windows = readHello(frame).windows;
          this.#grant = readHello(frame).streams;
          this.#all = this.#grant?.all ?? 0;
        } catch {
          // A HELLO that breaks the rules grants nothing.
        }
        return;
      case KIND.REPLY:
        if (!opens(frame, payloadKind(frame))) this.#params.delete(id);
        return;
      case KIND.ERROR:
        this.#params.delete(id);
        return;
      case KIND.END:
        if ((flags & CALLER) === 0) this.#params.delete(id);
        return;
      case KIND.GOAWAY:
        // The GOAWAY may refuse some of its calls, with their streams.
        this.#params.clear();
        return;
      case KIND.CREDIT: {
        if (body.length !== 4) return;
        const bytes = new DataView(body.buffer, body.byteOffset).getUint32(0);
        const stream = this.#ofReader(flags, id);
        if ((flags & CONNECTION) !== 0) this.#all += bytes;
        else if (stream !== undefined) stream.credit += bytes;
      }
    }
  }

  /** A frame that the side sends. */
  came(frame: RawFrame): void {
    const { kind, flags, id } = frame;
    switch (kind) {
      case KIND.REQUEST:
        if (!this.#opens(frame, readRequest(frame).kind)) return;
        if (!this.able) this.#report("ST1", "a REQUEST with a stream was sent");
        this.#open(this.#params, id);
        return;
      case KIND.REPLY:
        if (!this.#opens(frame, payloadKind(frame))) return;
        if (!this.able) this.#report("ST1", "a REPLY with a stream was sent");
        this.#open(this.#results, id);
        return;
      case KIND.DATA:
        this.#data(frame);
        return;
      case KIND.END: {
        const stream = this.#ofProducer(flags, id);
        if (stream === undefined) return this.#late(flags, "END");
        if (stream.ended) this.#report("ST10", `a second END for call ${id}`);
        const cut = stream.kind !== undefined && (flags & ERROR) === 0;
        if (cut) this.#report("ST10", "END between the parts of an item");
        stream.ended = true;
        return;
      }
      case KIND.STOP: {
        const key = `${flags & CALLER} ${id}`;
        if (this.#stopped.has(key)) this.#report("ST14", "a second STOP");
        this.#stopped.add(key);
      }
    }
  }

  #opens(frame: RawFrame, kind: number | undefined): boolean {
    if ((frame.flags & BODY) !== 0 && kind === PAYLOAD.STREAM) {
      this.#report("BD1", "a body beside a stream");
    }
    return opens(frame, kind);
  }

  #open(streams: Map<number, Outgoing>, id: number): void {
    const { credit, max } = this.#grant!;
    const results = [...this.#results.values()].filter(({ ended }) => !ended);
    const open = this.#params.size + results.length;
    if (open >= max) {
      this.#report("ST2", `a stream more than the ${max} that were granted`);
    }
    streams.set(id, { credit, ended: false, kind: undefined, bytes: 0 });
  }

  #data(frame: RawFrame): void {
    const { flags, id } = frame;
    this.#all -= frame.body.length + CHARGE;
    if (this.#all < 0) {
      this.#report("ST17", `DATA past the credit of the connection`);
    }
    const stream = this.#ofProducer(flags, id);
    if (stream === undefined) return this.#late(flags, "DATA");
    if (stream.ended) this.#report("ST10", `DATA after the END of call ${id}`);
    const { kind, bytes } = readData(frame);
    const { length } = bytes;
    const more = (flags & MORE) !== 0;
    if (length > MOST_DATA) this.#report("ST4", `DATA of ${length} bytes`);
    if (kind > PAYLOAD.CUSTOM && kind !== PAYLOAD.MESSAGE) {
      this.#report("ST5", `an item of kind ${kind}`);
    }
    if (more && (kind === PAYLOAD.BYTES || kind === PAYLOAD.NONE)) {
      this.#report("ST5", `MORE on kind ${kind}`);
    }
    if (more && length === 0) this.#report("ST5", "an empty part with MORE");
    if (stream.kind !== undefined && stream.kind !== kind) {
      this.#report("ST5", "an item of two kinds");
    }
    stream.credit -= frame.body.length + CHARGE;
    if (stream.credit < 0) {
      this.#report("ST8", `DATA of ${-stream.credit} bytes past the credit`);
    }
    stream.bytes += length;
    if (kind !== PAYLOAD.BYTES && stream.bytes > MOST_ITEM) {
      this.#report("ST7", `an item of more than ${MOST_ITEM} bytes`);
    }
    stream.kind = more ? kind : undefined;
    if (!more) stream.bytes = 0;
  }

  /** Params may continue for a moment after the suite has replied to the call; a result follows a REPLY. */
  #late(flags: number, what: string): void {
    if ((flags & CALLER) !== 0) return;
    this.#report("ST1", `${what} before the REPLY that opens its stream`);
  }

  #ofProducer(flags: number, id: number): Outgoing | undefined {
    return ((flags & CALLER) !== 0 ? this.#params : this.#results).get(id);
  }

  #ofReader(flags: number, id: number): Outgoing | undefined {
    return ((flags & CALLER) !== 0 ? this.#results : this.#params).get(id);
  }
}

/** Whether a REQUEST or REPLY opens a stream. */
function opens({ flags }: RawFrame, kind: number | undefined): boolean {
  return kind === PAYLOAD.STREAM || (flags & BODY) !== 0;
}

/** The payload kind of a REPLY; undefined if it has none. */
function payloadKind({ flags, body }: RawFrame): number | undefined {
  if ((flags & METADATA) === 0) return body[0];
  return body[2 + body[0] * 256 + body[1]];
}
