/**
 * What a connection consists of, and who tells whom: one duplex, one reader,
 * one writer, for its whole life; both ends may call.
 *
 * Invariants owned here:
 * - Each part is made once, with the connection, and lives as long; but for
 *   the streams, which are made when the first one is opened.
 * - What comes is told to the part that it is about, in the order of the bytes;
 *   what has gone, to all that waited for that.
 *
 * @module
 */

import type { Holder, Share } from "../serve/server_limits.ts";
import {
  type BytePath,
  type Duplex,
  type DuplexInfo,
  takePath,
} from "../transport/duplex.ts";
import { type Clock, systemClock, Tick } from "../base/clock.ts";
import type {
  Codec,
  CodecFactory,
  CodecSettings,
  Receiver,
} from "../wire/codec.ts";
import type { Hello, Limits } from "../types/connection.ts";
import { codecSettings, Opening, type OpeningContext } from "./handshake.ts";
import type { Connection } from "./connection.ts";
import type { ConnectionSetup } from "./contract.ts";
import { Deadlines, Timer } from "../base/timers.ts";
import { Dispatch } from "../serve/dispatcher.ts";
import { Ending, type EndingContext, PeerGoaway } from "./shutdown.ts";
import { ConnectionError } from "../base/errors.ts";
import { Farewell } from "./linger.ts";
import type { LargeReads } from "./large_reads.ts";
import { toLimits } from "../wire/limits.ts";
import { nativeCodec } from "../wire/native_codec.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import type { CallEvents } from "../types/observe.ts";
import { Outbox, type OutboxEvents } from "./send_buffer.ts";
import { Pending } from "../call/pending_calls.ts";
import { Pings, Pongs } from "./ping.ts";
import { Reading, type ReadingContext } from "./reader.ts";
import { registryOf } from "../serve/method_table.ts";
import { Streams } from "../streams/stream_table.ts";
import type { Verdict } from "../serve/authorize.ts";
import { Watchdog, type Watched } from "./watchdog.ts";

/** The parts of one connection; each knows those of its own context, and the rest is none of its business. */
export class Session
  implements
    EndingContext,
    OpeningContext,
    ReadingContext,
    Receiver,
    OutboxEvents,
    Watched,
    Holder {
  readonly connection: Connection;
  readonly setup: ConnectionSetup;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly tick: Tick;
  readonly path: BytePath;
  readonly verdict: Verdict | undefined;
  readonly codec: Codec;
  readonly outbox: Outbox;
  readonly deadlines: Deadlines;
  readonly timer: Timer;
  readonly pending: Pending;
  readonly dispatch: Dispatch;
  readonly pings: Pings;
  readonly pongs: Pongs;
  readonly watchdog: Watchdog;
  readonly peerGoaway = new PeerGoaway();
  readonly share: Share | undefined;
  readonly largeReads: LargeReads | undefined;
  readonly farewell: Farewell;
  readonly ending: Ending;
  readonly opening: Opening;
  readonly reading: Reading;
  #streams: Streams | undefined;

  /** Takes a duplex over; see {@linkcode Connection}. */
  constructor(
    duplex: Duplex & DuplexInfo,
    setup: ConnectionSetup,
    connection: Connection,
  ) {
    const { services, shared } = setup;
    const registry = registryOf(services);
    const limits = toLimits(setup);
    const stray = (error: unknown) => services?.onError(error, { connection });
    const settings = codecSettings(
      setup,
      limits,
      registry,
      duplex.childOutput ? stray : undefined,
    );
    limits.windowCalls = settings.hello.windowCalls;
    const clock = setup.clock ?? systemClock;
    this.connection = connection;
    this.setup = setup;
    this.limits = limits;
    this.clock = clock;
    this.tick = new Tick(clock);
    const path = this.path = takePath(duplex);
    const way = this.verdict = setup.verdict?.(path);
    const codec = this.codec = this.#makeCodec(settings);
    const outbox = this.outbox = new Outbox(
      way ?? path,
      clock,
      limits.maxOutbox,
      this,
      shared?.buffers.step,
    );
    const deadlines = this.deadlines = new Deadlines(clock);
    this.timer = new Timer(clock, deadlines);
    const calls = this.#callsContext();
    this.pending = new Pending(calls, setup.firstId ?? 1);
    this.dispatch = new Dispatch({
      ...calls,
      registry,
      turns: shared?.turns,
      largeReads: shared?.largeReads,
      exposeErrors: services?.exposeErrors === true,
      peerMaxMessage: () => this.pending.maxMessage,
      onError: (error, { method, id, connection }) =>
        services?.onError(error, { method, id, connection }),
    });
    this.pings = new Pings(codec, outbox, clock);
    this.pongs = new Pongs(codec, outbox);
    this.watchdog = new Watchdog(
      clock,
      // Silence says nothing on a wire without a question.
      codec.features.ping ? limits : { ...limits, keepaliveTime: Infinity },
      this,
    );
    this.farewell = new Farewell(path, outbox, clock, deadlines);
    this.ending = new Ending(this);
    this.share = shared?.buffers.share(this);
    this.largeReads = shared?.largeReads;
    this.reading = new Reading(this);
    this.opening = new Opening(this);
    // Last: what this says may be all, where the outbox has no room for it.
    this.opening.begin();
  }

  #callsContext() {
    const { codec, outbox, deadlines, clock, limits, tick, connection } = this;
    const advance = () => this.ending.advance();
    return {
      ...{ codec, outbox, deadlines, clock, limits, tick, connection },
      observe: this.setup.observe as CallEvents | undefined,
      streams: () => this.streams(),
      emptied: advance,
      settled: advance,
    };
  }

  #makeCodec(settings: CodecSettings): Codec {
    const { wire } = this.setup;
    const make = wire?.codec as CodecFactory | undefined ?? nativeCodec;
    const codec = make(this, settings);
    if (settings.hello.credentials !== undefined && !codec.features.window) {
      throw new TypeError("Cannot use credentials: the wire has no HELLO");
    }
    return codec;
  }

  /** Whether the peer's first message has been read, where the wire has one. */
  get greeted(): boolean {
    return this.pending.peer !== undefined;
  }

  /** The streams, if there have been any. */
  get anyStreams(): Streams | undefined {
    return this.#streams;
  }

  // What comes: see Receiver.

  hello(hello: Hello): void {
    // The credentials are for the verdict alone, and not kept.
    this.pending.greet({ ...hello, credentials: undefined });
    this.opening.hello(hello);
  }

  streams(): Streams {
    const { codec, outbox, limits, pending, dispatch, largeReads } = this;
    return this.#streams ??= new Streams({
      ...{ codec, outbox, limits, largeReads },
      granted: () => pending.peer,
      peerMaxMessage: () => pending.maxMessage,
      grown: () => this.grown(),
      find: (id, ours) =>
        ours ? pending.replies.streamsOf(id) : dispatch.streamsOf(id),
    });
  }

  request(
    id: number,
    method: string,
    size: number,
    remaining: number,
    metadata: MetadataBlock | undefined,
  ): void {
    this.dispatch.request(id, method, size, remaining, metadata);
  }

  reply(id: number, metadata?: MetadataBlock): void {
    this.pending.replies.reply(id, metadata);
  }

  failure(
    id: number,
    started: boolean | undefined,
    code: string,
    message: string,
    metadata?: MetadataBlock,
  ): void {
    this.pending.replies.failure(id, started, code, message, metadata);
  }

  cancel(id: number): void {
    this.dispatch.cancel(id);
  }

  ping(id: number): void {
    this.pongs.answer(id);
  }

  pong(id: number): void {
    this.pings.pong(id);
  }

  goaway(lastId: number | undefined, code: string, text: string): void {
    const last = this.pending.widen(lastId);
    const reason = this.peerGoaway.note(last, code, text);
    if (reason === undefined) return;
    this.pending.goaway(last, reason);
    this.setup.onGoaway?.(reason);
    this.ending.goaway(this.greeted);
  }

  full(): boolean {
    return this.dispatch.full;
  }

  mayRead(bytes: number): boolean {
    return this.reading.mayRead(bytes);
  }

  // What goes: see OutboxEvents.

  handedOver(): void {
    this.tick.stale();
    this.watchdog.writing();
    this.pending.batchHandedOver();
    this.dispatch.batchHandedOver();
    this.codec.handedOver?.();
    this.reading.batchHandedOver();
    this.pongs.batchHandedOver();
  }

  spoiled(place: number): void {
    const frame = this.codec.idAt?.(this.outbox, place);
    if (frame === undefined) return;
    this.codec.retract(this.outbox, place);
    (frame.ours ? this.pending : this.dispatch).spoiled(frame.id);
  }

  written(): void {
    if (!this.outbox.writing) this.watchdog.written();
    if (!this.ending.over) {
      this.pending.pump();
      this.dispatch.pump();
      this.#streams?.pump();
      this.ending.advance();
    }
    this.share?.note();
    this.farewell.written();
  }

  writeFailed(cause: unknown): void {
    this.ending.lose("writing failed", cause);
    this.pending.batchLost();
    this.farewell.written();
  }

  busy(): boolean {
    return this.pending.inFlight + this.dispatch.held > MANY_CALLS;
  }

  grown(): void {
    this.share?.note();
  }

  overflowed(): void {
    const { maxOutbox } = this.limits;
    const text =
      `more than ${maxOutbox} bytes wait for a peer that does not read`;
    const error = new ConnectionError("resource_exhausted", text);
    this.ending.end(error, "giveUp");
  }

  // What lasts too long: see Watched.

  ask(): void {
    if (!this.ending.halfClosed) this.pings.send();
    // Otherwise what is being written asks the same.
    else if (this.outbox.idle) this.pings.probe();
  }

  unfinished(): number | undefined {
    return this.codec.unfinished;
  }

  activity(): number | undefined {
    const { empty, lastSent } = this.pending;
    if (!empty || this.dispatch.busy() > 0) return undefined;
    return lastSent + (this.dispatch.lastId ?? 0);
  }

  idle(): void {
    this.ending.close({});
  }

  expired(code: "unavailable" | "deadline_exceeded", text: string): void {
    const how = code === "unavailable" ? "destroy" : "giveUp";
    this.ending.end(new ConnectionError(code, text), how);
  }

  // What is held: see Holder.

  bytes(): number {
    return this.outbox.size + this.dispatch.heldBytes +
      this.pending.heldBytes + this.codec.unfinishedBytes +
      (this.#streams?.heldBytes ?? 0);
  }

  shed(reason: ConnectionError): boolean {
    return this.ending.shed(reason);
  }
}

/** Calls under way from which on frames gather for a turn of the event loop. */
const MANY_CALLS = 32;
