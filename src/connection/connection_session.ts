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

import type { MemoryHolder, MemoryShare } from "../serve/server_limits.ts";
import { type ByteChannel, openChannel } from "../transport/duplex.ts";
import type { Duplex, DuplexInfo } from "../types/duplex.ts";
import { type Clock, systemClock, Tick } from "../base/clock.ts";
import type {
  Codec,
  CodecFactory,
  CodecSettings,
  MessageHandler,
} from "../wire/codec.ts";
import type { Limits, PeerHello } from "../types/connection.ts";
import {
  codecSettings,
  Handshake,
  type HandshakeContext,
} from "./handshake.ts";
import type { Connection } from "./connection.ts";
import type { ConnectionSetup } from "./contract.ts";
import { Timeout, TimerHeap } from "../base/timers.ts";
import { Dispatcher } from "../serve/dispatcher.ts";
import { PeerGoaway, Shutdown, type ShutdownContext } from "./shutdown.ts";
import { ConnectionError } from "../base/errors.ts";
import { Linger } from "./linger.ts";
import type { LargeReads } from "./large_reads.ts";
import { toLimits } from "../wire/limits.ts";
import { nativeCodec } from "../wire/native_codec.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import type { CallObserverHub } from "../types/observe.ts";
import { SendBuffer, type SendBufferEvents } from "./send_buffer.ts";
import { PendingCalls } from "../call/pending_calls.ts";
import { Pings, Pongs } from "./ping.ts";
import { Reader, type ReaderContext } from "./reader.ts";
import { registryOf } from "../serve/method_table.ts";
import { StreamTable } from "../streams/stream_table.ts";
import type { AuthorizationGate } from "../serve/authorize.ts";
import { Watchdog, type WatchdogEvents } from "./watchdog.ts";

/** The parts of one connection; each knows those of its own context, and the rest is none of its business. */
export class Session
  implements
    ShutdownContext,
    HandshakeContext,
    ReaderContext,
    MessageHandler,
    SendBufferEvents,
    WatchdogEvents,
    MemoryHolder {
  readonly connection: Connection;
  readonly setup: ConnectionSetup;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly tick: Tick;
  readonly path: ByteChannel;
  readonly authorization: AuthorizationGate | undefined;
  readonly codec: Codec;
  readonly sendBuffer: SendBuffer;
  readonly deadlines: TimerHeap;
  readonly timer: Timeout;
  readonly pending: PendingCalls;
  readonly dispatcher: Dispatcher;
  readonly pings: Pings;
  readonly pongs: Pongs;
  readonly watchdog: Watchdog;
  readonly peerGoaway = new PeerGoaway();
  readonly share: MemoryShare | undefined;
  readonly largeReads: LargeReads | undefined;
  readonly linger: Linger;
  readonly ending: Shutdown;
  readonly opening: Handshake;
  readonly reading: Reader;
  #streams: StreamTable | undefined;

  /** Takes a duplex over; see {@linkcode Connection}. */
  constructor(
    duplex: Duplex & DuplexInfo,
    setup: ConnectionSetup,
    connection: Connection,
  ) {
    const { services, shared } = setup;
    const methodTable = registryOf(services);
    const limits = toLimits(setup);
    const stray = (error: unknown) => services?.onError(error, { connection });
    const settings = codecSettings(
      setup,
      limits,
      methodTable,
      duplex.childOutput ? stray : undefined,
    );
    limits.windowCalls = settings.hello.windowCalls;
    const clock = setup.clock ?? systemClock;
    this.connection = connection;
    this.setup = setup;
    this.limits = limits;
    this.clock = clock;
    this.tick = new Tick(clock);
    const path = this.path = openChannel(duplex);
    const way = this.authorization = setup.authorization?.(path);
    const codec = this.codec = this.#makeCodec(settings);
    const sendBuffer = this.sendBuffer = new SendBuffer(
      way ?? path,
      clock,
      limits.maxSendBuffer,
      this,
      shared?.buffers.step,
    );
    const deadlines = this.deadlines = new TimerHeap(clock);
    this.timer = new Timeout(clock, deadlines);
    const calls = this.#callsContext();
    this.pending = new PendingCalls(calls, setup.firstId ?? 1);
    this.dispatcher = new Dispatcher({
      ...calls,
      methodTable,
      turns: shared?.turns,
      largeReads: shared?.largeReads,
      exposeErrors: services?.exposeErrors === true,
      peerMaxMessage: () => this.pending.maxMessage,
      onError: (error, { method, id, connection }) =>
        services?.onError(error, { method, id, connection }),
    });
    this.pings = new Pings(codec, sendBuffer, clock);
    this.pongs = new Pongs(codec, sendBuffer);
    this.watchdog = new Watchdog(
      clock,
      // Silence says nothing on a wire without a question.
      codec.features.ping ? limits : { ...limits, keepaliveTime: Infinity },
      this,
    );
    this.linger = new Linger(path, sendBuffer, clock, deadlines);
    this.ending = new Shutdown(this);
    this.share = shared?.buffers.share(this);
    this.largeReads = shared?.largeReads;
    this.reading = new Reader(this);
    this.opening = new Handshake(this);
    // Last: what this says may be all, where the outbox has no room for it.
    this.opening.begin();
  }

  #callsContext() {
    const { codec, sendBuffer, deadlines, clock, limits, tick, connection } =
      this;
    const advance = () => this.ending.advance();
    return {
      ...{ codec, sendBuffer, deadlines, clock, limits, tick, connection },
      observe: this.setup.observe as CallObserverHub | undefined,
      streams: () => this.streams(),
      emptied: advance,
      settled: advance,
    };
  }

  #makeCodec(settings: CodecSettings): Codec {
    const { protocol: wire } = this.setup;
    const make = wire?.codec as CodecFactory | undefined ?? nativeCodec;
    const codec = make(this, settings);
    if (settings.hello.credentials !== undefined && !codec.features.window) {
      throw new TypeError("Cannot use credentials: the wire has no HELLO");
    }
    return codec;
  }

  /** Whether the peer's first message has been read, where the wire has one. */
  get helloReceived(): boolean {
    return this.pending.peer !== undefined;
  }

  /** The streams, if there have been any. */
  get anyStreams(): StreamTable | undefined {
    return this.#streams;
  }

  // What comes: see Receiver.

  hello(hello: PeerHello): void {
    // The credentials are for the verdict alone, and not kept.
    this.pending.onHello({ ...hello, credentials: undefined });
    this.opening.hello(hello);
  }

  streams(): StreamTable {
    const { codec, sendBuffer, limits, pending, dispatcher, largeReads } = this;
    return this.#streams ??= new StreamTable({
      ...{ codec, sendBuffer, limits, largeReads },
      granted: () => pending.peer,
      peerMaxMessage: () => pending.maxMessage,
      grown: () => this.grown(),
      find: (id, ours) =>
        ours ? pending.replies.streamsOf(id) : dispatcher.streamsOf(id),
    });
  }

  request(
    id: number,
    method: string,
    size: number,
    remaining: number,
    metadata: MetadataBlock | undefined,
  ): void {
    this.dispatcher.request(id, method, size, remaining, metadata);
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
    this.dispatcher.cancel(id);
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
    this.ending.goaway(this.helloReceived);
  }

  full(): boolean {
    return this.dispatcher.full;
  }

  mayRead(bytes: number): boolean {
    return this.reading.mayRead(bytes);
  }

  // What goes: see SendBufferEvents.

  onFlush(): void {
    this.tick.stale();
    this.watchdog.writing();
    this.pending.onFlush();
    this.dispatcher.onFlush();
    this.codec.flushed?.();
    this.reading.onFlush();
    this.pongs.onFlush();
  }

  spoiled(place: number): void {
    const frame = this.codec.idAt?.(this.sendBuffer, place);
    if (frame === undefined) return;
    this.codec.retract(this.sendBuffer, place);
    (frame.ours ? this.pending : this.dispatcher).spoiled(frame.id);
  }

  written(): void {
    if (!this.sendBuffer.writing) this.watchdog.written();
    if (!this.ending.over) {
      this.pending.flushQueue();
      this.dispatcher.startWaiting();
      this.#streams?.writeReady();
      this.ending.advance();
    }
    this.share?.recordProgress();
    this.linger.written();
  }

  writeFailed(cause: unknown): void {
    this.ending.onConnectionLost("writing failed", cause);
    this.pending.batchLost();
    this.linger.written();
  }

  busy(): boolean {
    return this.pending.inFlight + this.dispatcher.held > MANY_CALLS;
  }

  grown(): void {
    this.share?.recordProgress();
  }

  overflowed(): void {
    const { maxSendBuffer: maxSendBuffer } = this.limits;
    const text =
      `more than ${maxSendBuffer} bytes wait for a peer that does not read`;
    const error = new ConnectionError("resource_exhausted", text);
    this.ending.end(error, "giveUp");
  }

  // What lasts too long: see Watched.

  ask(): void {
    if (!this.ending.halfClosed) this.pings.send();
    // Otherwise what is being written asks the same.
    else if (this.sendBuffer.idle) this.pings.probe();
  }

  unfinished(): number | undefined {
    return this.codec.unfinished;
  }

  activity(): number | undefined {
    const { empty, lastSent } = this.pending;
    if (!empty || this.dispatcher.busy() > 0) return undefined;
    return lastSent + (this.dispatcher.lastId ?? 0);
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
    return this.sendBuffer.size + this.dispatcher.heldBytes +
      this.pending.heldBytes + this.codec.unfinishedBytes +
      (this.#streams?.heldBytes ?? 0);
  }

  shed(reason: ConnectionError): boolean {
    return this.ending.shed(reason);
  }
}

/** Calls under way from which on frames gather for a turn of the event loop. */
const MANY_CALLS = 32;
