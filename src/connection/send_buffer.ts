/**
 * The send buffer: frames in, few large chunks out.
 *
 * - Nothing is handed over before the transport is connected.
 * - The first frame after idle leaves in a microtask; from then on one batch is
 *   outstanding, and frames gather until the transport has taken it. While many
 *   calls are in flight, a batch below a full segment also waits for a turn of
 *   the event loop: a transport may take a batch within a few microtasks.
 *   (Chunks per 10,000 calls of a loop that awaits `ready` each time: on Deno
 *   over TCP 570 without, 34 with; over a memory pair 2,087 and 53.)
 * - A batch is a list of chunks written without a break: all of it counts as
 *   handed over when its first chunk is. Urgent frames stand at the head of a
 *   batch, never inside one.
 * - `pace` is how many bytes the transport takes in about 2 ms, as far as the
 *   batches so far have shown it: whoever has much to write hands over no more
 *   at a time, so that an urgent frame waits no longer than that.
 * - `size` counts every byte that the transport has not taken, and those that
 *   wait in large messages to be written in fragments. It is never above the
 *   limit: a frame that would exceed it is not kept, nor is any frame
 *   after it. The send buffer reports that once, and its connection ends.
 * - A chunk once handed over is not touched again, as a stream may pass it on
 *   without a copy; unless the channel only borrows it, and the write has
 *   succeeded.
 *
 * @module
 */

import {
  keepSegments,
  MAX_SEGMENT,
  NO_BYTES,
  NO_VIEW,
  SPILL,
  takeSegment,
  viewOf,
} from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import type {
  FrameBuffer,
  LargeMessage,
  MakeLargeMessage,
  MessageBuffer,
} from "../wire/frame_buffer.ts";
import type { ByteChannel } from "../transport/duplex.ts";

/** What the send buffer reports to its connection. */
export interface SendBufferEvents {
  /** The batch numbered `sendBuffer.batch - 1` is handed to the transport; its first bytes leave in this turn. */
  onFlush(): void;
  /** The transport has taken everything it was given; more may have gathered meanwhile. */
  onWritten(): void;
  /** The transport failed: nothing more can be sent. */
  onWriteFailed(reason: unknown): void;
  /** Whether many calls are in flight, so that more frames will follow soon. */
  manyCalls(): boolean;
  /** `size` has grown by another `step`. Called while a frame is being written. */
  onGrown(): void;
  /** A frame would have exceeded the limit: it was dropped. Called in a later microtask. */
  onOverflow(): void;
  /** Bytes that were lent to the frame at `batchOffset` are gone, and zeros stand for them. Called just before the batch is handed over: it may write over the frame, and nothing else. */
  onSpoiled(batchOffset: number): void;
}

/** Bytes of the user in the batch. */
interface LentBytes {
  readonly chunk: Uint8Array;
  readonly size: number;
  /** Where their frame begins. */
  readonly batchOffset: number;
}

/** The size of an idle connection's first segment, in bytes. A busy one's are as large as the latest batch suggests. */
const MIN_SEGMENT = 1024;

/** What a GOAWAY or another small frame takes, at most, in bytes. */
const RESERVED = 8_192;

/** Batch offsets are `segment index * OFFSET_STRIDE + offset`: one small integer. */
const OFFSET_STRIDE = 0x100000;

const NONE: readonly Uint8Array[] = [];

/**
 * The least, the first and the largest `pace`, in bytes. With one more frame of 32 KiB, the
 * largest makes a batch that `Deno.Conn` writes at once. (With half of it, a
 * stream of bytes loses a tenth of its speed on Node: `bench:streams`.)
 */
const MIN_PACE = 32_768;
const FIRST_PACE = 65_536;
const MAX_PACE = 229_376;
/** The time in which the transport takes `pace` bytes, in ms. */
const PACE_TIME = 2;
/** Smaller batches say nothing about the transport, in bytes. */
const MIN_SAMPLE = 16_384;

type State = "idle" | "scheduled" | "writing" | "failed";

/** Where frames gather between writes. */
export class SendBuffer implements FrameBuffer {
  /** The segment being filled; `reserve` says where. */
  bytes: Uint8Array = NO_BYTES;
  /** The same, to write several bytes at once. */
  view: DataView = NO_VIEW;
  /** The urgent segment being filled; `reserveUrgent` says where. */
  urgentBytes: Uint8Array = NO_BYTES;
  /** The number of the batch being filled; lower ones are handed over. */
  batch = 0;
  /** Bytes that the transport has not taken yet. */
  size = 0;
  /** How many bytes the transport takes in about 2 ms, within bounds. */
  pace: number = FIRST_PACE;
  large: LargeMessage | undefined = undefined;
  /** Where the latest reservation stands in its batch; -1 if it was not kept. */
  batchOffset = 0;
  /** Chunks written so far. */
  chunks = 0;
  /** Their bytes. */
  written = 0;

  readonly #channel: Pick<ByteChannel, "write" | "borrows" | "opened">;
  readonly #clock: Clock;
  readonly #events: SendBufferEvents;
  /** The largest message that can be written, in bytes, with its header: a GOAWAY fits after it. */
  readonly most: number;
  readonly #limit: number;
  readonly #step: number;
  /** The size at which `onGrown` is called. */
  #notice: number;
  /** Chunks of this batch that are full, in order; a batch offset's segment index counts them. */
  #sealed: Uint8Array[] = [];
  /** Full segments of this batch, and of the one that the transport is taking. */
  #segments: Uint8Array[] = [];
  #borrowed: readonly Uint8Array[] = NONE;
  /** Users' bytes in the batch that is filling: no more than its attached chunks. */
  #lent: LentBytes[] = [];
  /** The largest rest of a segment of this batch that no frame has fitted in. */
  #rest: Uint8Array = NO_BYTES;
  /** How far `bytes` and `urgentBytes` are filled. */
  #fill = 0;
  #urgentFill = 0;
  /** Bytes of this batch that are in chunks of their own, and bytes of the previous batch that were in shared segments. */
  #apart = 0;
  #lastFilled = 0;
  /** Bytes that the transport is taking, and since when if that is measured. */
  #outstanding = 0;
  #handedOver = 0;
  /** Bytes that wait in large messages. */
  #parked = 0;
  /** The `size` at which something is to be done next. */
  #mark = 0;
  #state: State = "idle";
  #full = false;
  /** Whether the connection ends: what is written now is the last, and always kept. */
  #concluding = false;
  readonly #flush = () => this.flush();

  constructor(
    channel: Pick<ByteChannel, "write" | "borrows" | "opened">,
    clock: Clock,
    limit: number,
    events: SendBufferEvents,
    step = Infinity,
  ) {
    this.#channel = channel;
    this.#clock = clock;
    this.#limit = limit;
    this.most = limit - RESERVED;
    this.#events = events;
    this.#step = step;
    this.#notice = step;
    if (channel.opened === undefined) return;
    // As if a batch were outstanding: what is not handed over is not sent.
    this.#enter("writing");
    channel.opened.then(this.#onWritten, this.#onFailed);
  }

  /** Bytes of this batch. */
  get #batchBytes(): number {
    return this.ahead - this.#outstanding;
  }

  get ahead(): number {
    return this.size - this.#parked;
  }

  /** Whether nothing is queued and nothing outstanding. */
  get idle(): boolean {
    const { size } = this;
    return this.#state === "failed" || this.#state === "idle" && size === 0;
  }

  /** Whether a frame did not fit: no frame is kept any more, and the connection is about to end. */
  get full(): boolean {
    return this.#full;
  }

  /** Whether the transport is taking a batch. */
  get writing(): boolean {
    return this.#state === "writing";
  }

  /**
   * Makes room for `n` bytes in `this.bytes` and returns where; the caller must
   * fill them before anything else happens. What is written last may spill over
   * by {@linkcode SPILL} bytes: they are in the segment, and written later.
   * `attached` counts the bytes of the same frame that `attach` will add: a
   * frame is kept whole or not at all.
   */
  reserve(n: number, attached = 0): number {
    if (this.size + n + attached >= this.#mark && !this.canSend(n + attached)) {
      // Room for a frame that is not kept.
      this.batchOffset = -1;
      this.#startSegment(new Uint8Array(n + SPILL));
      return 0;
    }
    if (this.#fill + n + SPILL > this.bytes.length) {
      this.#nextSegment(n + SPILL);
    }
    const at = this.#fill;
    this.#fill = at + n;
    this.batchOffset = this.#sealed.length * OFFSET_STRIDE + at;
    this.#grew(n);
    return at;
  }

  /** Adds bytes as a chunk of their own, uncopied: they must not change from now on. */
  attach(chunk: Uint8Array): void {
    if (chunk.length === 0 || this.#full) return;
    const sealed = this.#sealed;
    const last = sealed.length - 1;
    const { buffer, byteOffset, length } = sealed[last] ?? NO_BYTES;
    const at = byteOffset + length;
    if (
      this.#fill === 0 && buffer === chunk.buffer && at === chunk.byteOffset
    ) {
      // It follows the previous one in memory, too.
      const joined = length + chunk.length;
      sealed[last] = new Uint8Array(buffer, byteOffset, joined);
    } else {
      // What is left of the segment serves the frames that follow.
      this.#startSegment(this.bytes.subarray(this.#fill));
      sealed.push(chunk);
    }
    this.#apart += chunk.length;
    this.#grew(chunk.length);
  }

  /** Adds the user's bytes uncopied: they may be gone when the batch is handed over. */
  lend(chunk: Uint8Array): void {
    if (this.#full) return;
    const { batchOffset } = this;
    this.#lent.push({ chunk, size: chunk.length, batchOffset });
    this.attach(chunk);
  }

  /** Puts zeros in the place of bytes that are gone, so that what follows them keeps its place. */
  #checkLent(): void {
    for (const { chunk, size, batchOffset } of this.#lent) {
      if (chunk.length === size) continue;
      this.#sealed[this.#sealed.indexOf(chunk)] = new Uint8Array(size);
      this.#events.onSpoiled(batchOffset);
    }
  }

  /** As `reserve`, in the lane that goes ahead of the next batch: into `this.urgentBytes`. */
  reserveUrgent(n: number): number {
    if (this.size + n >= this.#mark && !this.canSend(n)) {
      this.urgentBytes = new Uint8Array(n + SPILL);
      return 0;
    }
    const at = this.#urgentFill;
    if (at + n + SPILL > this.urgentBytes.length) {
      const grown = new Uint8Array(Math.max(64, 2 * (at + n + SPILL)));
      grown.set(this.urgentBytes.subarray(0, at));
      this.urgentBytes = grown;
    }
    this.#urgentFill = at + n;
    this.#grew(n);
    return at;
  }

  cut(
    make: MakeLargeMessage,
    id: number,
    isRequest: boolean,
    size: number,
    urgent = false,
  ): MessageBuffer {
    const message = make(this, id, isRequest, size, urgent);
    if (this.canSend(size)) {
      this.park(size);
      this.large = message;
    }
    return message;
  }

  park(n: number): void {
    if (this.#state === "failed") return;
    this.#parked += n;
    if (n < 0) return this.#shrink(-n);
    this.size += n;
    this.#checkNotice();
  }

  /** Whether a frame of `n` bytes, which may be written in parts, is within the limit. If not, it must not be written, and the connection ends. */
  canSend(n: number): boolean {
    if (this.#full) return false;
    if (this.size + n <= this.#limit || this.#concluding) return true;
    // Urgent frames are of no use to a connection that ends.
    this.#shrink(this.#urgentFill);
    this.#urgentFill = 0;
    // What was written last may have been copied with a few bytes too many.
    this.#startSegment(NO_BYTES);
    this.#full = true;
    const empty = this.#batchBytes === 0;
    if (empty && this.#state === "scheduled") this.#state = "idle";
    this.#setMark();
    queueMicrotask(() => this.#events.onOverflow());
    return false;
  }

  /** The connection ends: what is written from now on is the last, and always kept. */
  conclude(): void {
    this.#concluding = true;
    if (!this.#full) return;
    this.#full = false;
    this.#startSegment(NO_BYTES);
    this.urgentBytes = NO_BYTES;
    this.#setMark();
  }

  /** Throws away what has gathered and is not handed over, large messages included. */
  discard(): void {
    this.#shrink(this.size - this.#outstanding);
    this.#parked = 0;
    this.#clearBatch();
    if (this.#state === "scheduled") this.#enter("idle");
  }

  /** Overwrites one byte of the batch that is filling, `offset` after `batchOffset`. */
  overwrite(batchOffset: number, offset: number, byte: number): void {
    // A frame that was not kept has the offset -1.
    if (batchOffset >= 0) this.at(batchOffset)[offset] = byte;
  }

  /** The bytes of the batch that is filling from `batchOffset` on, as far as they are contiguous. */
  at(batchOffset: number): Uint8Array {
    const segment = this.#sealed[Math.floor(batchOffset / OFFSET_STRIDE)];
    return (segment ?? this.bytes).subarray(batchOffset % OFFSET_STRIDE);
  }

  #grew(n: number): void {
    this.size += n;
    if (this.size >= this.#mark) this.#onMark();
  }

  /** `size` has reached the mark. Nothing is written now: the frame just reserved is not filled yet. */
  #onMark(): void {
    if (this.#state === "idle") this.#schedule();
    else if (this.#state === "scheduled" && this.size >= MAX_SEGMENT) {
      queueMicrotask(this.#flush);
    }
    this.#checkNotice();
  }

  #checkNotice(): void {
    const grown = this.size >= this.#notice;
    if (grown) this.#notice = this.size + this.#step;
    this.#setMark();
    if (grown) this.#events.onGrown();
  }

  #shrink(n: number): void {
    this.size -= n;
    this.#notice = this.size + this.#step;
    this.#setMark();
  }

  #enter(state: State): void {
    this.#state = state;
    this.#setMark();
  }

  #setMark(): void {
    const { size } = this;
    const next = Math.min(this.#limit + 1, this.#notice);
    if (this.#state === "idle" || this.#full) this.#mark = 0;
    else if (this.#state === "scheduled" && size < MAX_SEGMENT) {
      this.#mark = Math.min(MAX_SEGMENT, next);
    } else this.#mark = next;
  }

  /** Starts a segment of at least `size` bytes. What a frame has left of one for want of room serves smaller frames later. */
  #nextSegment(size: number): void {
    const rest = this.bytes.subarray(this.#fill);
    if (rest.length > this.#rest.length) this.#rest = rest;
    if (size <= this.#rest.length) {
      this.#startSegment(this.#rest);
      this.#rest = NO_BYTES;
    } else this.#startSegment(this.#newSegment(size));
    if (size > MAX_SEGMENT) this.#apart += size;
  }

  /** As large as what the previous batch had in segments, so that sync callers stay small and busy ones need few segments. */
  #newSegment(size: number): Uint8Array {
    const filled = this.#batchBytes - this.#apart;
    const wanted = Math.max(MIN_SEGMENT, this.#lastFilled, 2 * filled);
    size = Math.max(size, Math.min(MAX_SEGMENT, wanted));
    if (size !== MAX_SEGMENT || !this.#channel.borrows) {
      return new Uint8Array(size);
    }
    const segment = takeSegment();
    this.#segments.push(segment);
    return segment;
  }

  /** Ends the segment that is filling; its frames keep their batch offsets, which count from its start. */
  #seal(): void {
    if (this.#fill > 0) this.#sealed.push(this.bytes.subarray(0, this.#fill));
  }

  /** Fills `segment` from now on. */
  #startSegment(segment: Uint8Array): void {
    this.#seal();
    this.bytes = segment;
    this.view = viewOf(segment);
    this.#fill = 0;
  }

  #schedule(): void {
    this.#enter("scheduled");
    if (this.#batchBytes < MAX_SEGMENT && this.#events.manyCalls()) {
      this.#clock.turn().then(this.#flush);
    } else queueMicrotask(this.#flush);
  }

  /** Hands over now what has gathered, without waiting for the turn to end. */
  flush(): void {
    // A full segment may have left before the turn that was waited for.
    if (this.#state === "scheduled") this.#writeBatch();
  }

  #writeBatch(): void {
    this.#seal();
    if (this.#lent.length > 0) this.#checkLent();
    const chunks = this.#sealed;
    if (this.#urgentFill > 0) {
      chunks.unshift(this.urgentBytes.subarray(0, this.#urgentFill));
    }
    // Nothing is outstanding.
    this.#outstanding = this.ahead;
    this.#lastFilled = this.#outstanding - this.#apart;
    if (this.#outstanding >= MIN_SAMPLE) this.#handedOver = this.#clock.now();
    if (this.#segments.length > 0) {
      this.#borrowed = this.#segments;
      this.#segments = [];
    }
    this.#clearBatch();
    this.#enter("writing");
    this.batch++;
    this.#events.onFlush();
    this.chunks += chunks.length;
    this.written += this.#outstanding;
    this.#channel.write(chunks).then(this.#onWritten, this.#onFailed);
  }

  readonly #onWritten = () => {
    if (this.#outstanding >= MIN_SAMPLE) this.#measure();
    this.#shrink(this.#outstanding);
    this.#outstanding = 0;
    keepSegments(this.#borrowed);
    this.#borrowed = NONE;
    if (this.#state === "failed") return;
    if (this.ahead === 0) this.#enter("idle");
    else if (this.#events.manyCalls()) this.#schedule();
    else this.#writeBatch();
    this.#events.onWritten();
  };

  /** A batch has been taken. */
  #measure(): void {
    const time = this.#clock.now() - this.#handedOver;
    const pace = this.#outstanding * PACE_TIME / time;
    this.pace = Math.max(MIN_PACE, Math.min(MAX_PACE, pace));
  }

  readonly #onFailed = (reason: unknown) => {
    if (this.#state === "failed") return;
    this.#outstanding = 0;
    this.size = this.#parked = 0;
    this.#clearBatch();
    this.#enter("failed");
    this.#events.onWriteFailed(reason);
  };

  #clearBatch(): void {
    this.#sealed = [];
    this.#segments.length = 0;
    if (this.#lent.length > 0) this.#lent = [];
    this.#apart = 0;
    this.#rest = NO_BYTES;
    this.bytes = NO_BYTES;
    this.view = NO_VIEW;
    this.urgentBytes = NO_BYTES;
    this.#fill = this.#urgentFill = 0;
  }
}
