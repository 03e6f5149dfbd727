/**
 * One connection: its parts, and which part each event goes to. A connection
 * has one duplex, one reader and one send buffer for its whole life, and both
 * sides may call.
 *
 * - Messages reach their part in the order of the bytes, one at a time.
 * - Every part is made with the connection and lives as long, except the
 *   streams, which are made when the first one is opened.
 *
 * How a connection begins stands in `handshake.ts`, how it ends in
 * `shutdown.ts`.
 *
 * @module
 */

import { type Clock, systemClock, Tick } from "../base/clock.ts";
import { ConnectionError } from "../base/errors.ts";
import { typeName } from "../base/inspect.ts";
import type { LargeReads } from "../base/large_reads.ts";
import { Timeout, TimerHeap } from "../base/timers.ts";
import { madeCall } from "../call/call.ts";
import { PendingCalls } from "../call/pending_calls.ts";
import type { ConnectionStreams } from "../streams/contract.ts";
import {
  type ByteChannel,
  checkDuplex,
  openChannel,
} from "../transport/duplex.ts";
import type { CallHandle, CallOptions } from "../types/call.ts";
import type {
  CloseOptions,
  Connection,
  Limits,
  Peer,
  PeerHello,
} from "../types/connection.ts";
import type { Duplex, DuplexInfo } from "../types/duplex.ts";
import type { CallObserverHub } from "../types/observe.ts";
import {
  type ConnectionStats,
  type LiveCall,
  NO_STREAMS,
} from "../types/stats.ts";
import type {
  Codec,
  CodecFactory,
  CodecSettings,
  MessageHandler,
} from "../wire/codec.ts";
import { toLimits } from "../wire/limits.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import { nativeCodec } from "../wire/native_codec.ts";
import type {
  ConnectionSetup,
  MemoryHolder,
  MemoryShare,
  PeerGate,
  ServeContext,
  ServeSide,
  Watchdog,
  WatchdogEvents,
} from "./contract.ts";
import {
  codecSettings,
  Handshake,
  type HandshakeContext,
} from "./handshake.ts";
import { Linger } from "./linger.ts";
import { NoServices } from "./no_services.ts";
import { Ping } from "./ping.ts";
import { Reader, type ReaderContext } from "./reader.ts";
import { SendBuffer, type SendBufferEvents } from "./send_buffer.ts";
import { PeerGoaway, Shutdown, type ShutdownContext } from "./shutdown.ts";
import { NoWatchdog } from "./no_watchdog.ts";

/** From this many calls in flight on, frames gather for a turn of the event loop. */
const MANY_CALLS = 32;

/** A connection. Users see it as {@linkcode Connection}; the other members are for its parts. */
export class RpcConnection
  implements
    Connection,
    ShutdownContext,
    HandshakeContext,
    ReaderContext,
    MessageHandler,
    SendBufferEvents,
    WatchdogEvents,
    MemoryHolder {
  readonly remote: string | undefined;
  readonly closed: Promise<ConnectionError | undefined>;
  readonly setup: ConnectionSetup;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly tick: Tick;
  readonly channel: ByteChannel;
  readonly gate: PeerGate | undefined;
  readonly codec: Codec;
  readonly sendBuffer: SendBuffer;
  readonly deadlines: TimerHeap;
  readonly timer: Timeout;
  readonly pending: PendingCalls;
  readonly serveSide: ServeSide;
  readonly pings: Ping;
  readonly watchdog: Watchdog;
  readonly peerGoaway = new PeerGoaway();
  readonly share: MemoryShare | undefined;
  readonly largeReads: LargeReads | undefined;
  readonly linger: Linger;
  readonly shutdown: Shutdown;
  readonly handshake: Handshake;
  readonly reader: Reader;
  readonly #duplex: DuplexInfo;
  #streams: ConnectionStreams | undefined;

  /**
   * Takes over the duplex and sends HELLO.
   *
   * @throws {TypeError} If it is no duplex, one of its streams is locked, the
   *   protocol cannot carry credentials, or the services were not made by
   *   `callable`.
   * @throws {RangeError} If a limit is out of its range, or the credentials are
   *   too long.
   */
  constructor(transport: Duplex, setup: ConnectionSetup = {}) {
    const duplex: Duplex & DuplexInfo = checkDuplex(transport);
    checkServices(setup.services);
    const limits = toLimits(setup);
    const settings = codecSettings(
      setup,
      limits,
      duplex.childOutput ? (error) => this.#onStray(error) : undefined,
    );
    limits.windowCalls = settings.hello.windowCalls;
    const clock = setup.clock ?? systemClock;
    this.remote = duplex.remote;
    this.#duplex = duplex;
    this.setup = setup;
    this.limits = limits;
    this.clock = clock;
    this.tick = new Tick(clock);
    const channel = this.channel = openChannel(duplex);
    const gate = this.gate = setup.makeGate?.(channel);
    const codec = this.codec = this.#makeCodec(settings);
    const sendBuffer = this.sendBuffer = new SendBuffer(
      gate ?? channel,
      clock,
      limits.maxSendBuffer,
      this,
      setup.memory?.step,
    );
    const deadlines = this.deadlines = new TimerHeap(clock);
    this.timer = new Timeout(clock, deadlines);
    this.largeReads = setup.largeReads;
    const context = this.#callsContext();
    this.pending = new PendingCalls(context, setup.firstId ?? 1);
    this.serveSide = this.#makeServeSide(context);
    this.pings = new Ping(codec, sendBuffer, clock);
    this.watchdog = setup.keepalive?.(
      clock,
      limits,
      this,
      codec.features.ping,
    ) ?? new NoWatchdog();
    this.linger = new Linger(channel, sendBuffer, clock, deadlines);
    this.shutdown = new Shutdown(this);
    this.closed = this.shutdown.closed;
    this.share = setup.memory?.share(this);
    this.reader = new Reader(this);
    this.handshake = new Handshake(this);
    // Last: where the send buffer has no room for HELLO, the connection ends here.
    this.handshake.begin();
  }

  #onStray(error: unknown): void {
    this.setup.services?.onError(error, { connection: this });
  }

  #callsContext() {
    const { codec, sendBuffer, deadlines, clock, limits, tick } = this;
    const advance = () => this.shutdown.advance();
    return {
      ...{ codec, sendBuffer, deadlines, clock, limits, tick },
      connection: this,
      largeReads: this.largeReads,
      observe: this.setup.observe as CallObserverHub | undefined,
      streams: () => this.streams(),
      peerMaxMessage: () => this.pending.maxMessage,
      emptied: advance,
      settled: advance,
    };
  }

  #makeCodec(settings: CodecSettings): Codec {
    const make = this.setup.protocol?.codec as CodecFactory | undefined;
    const codec = (make ?? nativeCodec)(this, settings);
    if (settings.hello.credentials !== undefined && !codec.features.window) {
      throw new TypeError("Cannot use credentials: the protocol has no HELLO");
    }
    return codec;
  }

  #makeServeSide(context: ServeContext): ServeSide {
    const { serve, services } = this.setup;
    if (serve !== undefined) return serve(context);
    return services === undefined
      ? new NoServices(context)
      : services.serve(context as never) as ServeSide;
  }

  // The public side; see `Connection` for what each member promises.

  get peer(): Peer {
    return { remote: this.remote, certificate: this.#duplex.certificate };
  }

  get auth(): unknown {
    return this.gate?.auth;
  }

  get ready(): Promise<void> {
    return this.pending.ready;
  }

  get desiredSize(): number {
    return this.pending.desiredSize;
  }

  get rtt(): number | undefined {
    return this.pings.rtt;
  }

  call(
    method: string,
    params?: unknown,
    options?: CallOptions,
  ): Promise<unknown> {
    return this.pending.call(method, params, options);
  }

  go(method: string, params?: unknown, options?: CallOptions): CallHandle {
    return this.pending.go(method, params, options);
  }

  ping(): Promise<number> {
    return this.pings.send();
  }

  stats(): ConnectionStats {
    const { pending, serveSide, sendBuffer, pings, deadlines } = this;
    return {
      state: this.shutdown.state,
      ...pending.numbers,
      ...serveSide.numbers,
      outgoingBytes: sendBuffer.size,
      bufferedBytes: this.bytesHeld(),
      chunksWritten: sendBuffer.chunks,
      bytesWritten: sendBuffer.written,
      bytesRead: this.reader.bytes,
      listeners: pending.listeners,
      timers: deadlines.size,
      rtt: pings.rtt,
      ...(this.#streams?.numbers ?? NO_STREAMS),
    };
  }

  calls(): LiveCall[] {
    const { clock, pending, remote } = this;
    const context = { now: clock.now(), remote };
    return [
      ...pending.all().map((c) => madeCall(c, pending.flushed(c), context)),
      ...this.serveSide.calls(context),
    ];
  }

  ref(): void {
    this.#duplex.ref?.();
    this.deadlines.hold(true);
  }

  unref(): void {
    this.#duplex.unref?.();
    this.deadlines.hold(false);
  }

  close(options: CloseOptions = {}): Promise<void> {
    return this.shutdown.close(options);
  }

  abort(reason?: unknown): Promise<void> {
    return this.shutdown.abort(reason);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // What the handshake, the shutdown and the reader need.

  /** Whether the peer's HELLO was read, on a protocol that has one. */
  get helloReceived(): boolean {
    return this.pending.peer !== undefined;
  }

  streams(): ConnectionStreams | undefined {
    const { codec, sendBuffer, limits, pending, serveSide, largeReads } = this;
    return this.#streams ??= this.setup.streams?.table({
      ...{ codec, sendBuffer, limits, largeReads },
      granted: () => pending.peer,
      peerMaxMessage: () => pending.maxMessage,
      onGrown: () => this.onGrown(),
      find: (id, outgoing) =>
        outgoing ? pending.replies.streamsOf(id) : serveSide.streamsOf(id),
    });
  }

  // What has come: see MessageHandler.

  onHello(hello: PeerHello): void {
    // The credentials are for `authorize` alone, and not kept.
    this.pending.onHello({ ...hello, credentials: undefined });
    this.handshake.hello(hello);
  }

  onRequest(
    id: number,
    method: string,
    size: number,
    remaining: number,
    metadata: MetadataBlock | undefined,
  ): void {
    this.serveSide.request(id, method, size, remaining, metadata);
  }

  onReply(id: number, metadata?: MetadataBlock): void {
    this.pending.replies.reply(id, metadata);
  }

  onFailure(
    id: number,
    started: boolean | undefined,
    code: string,
    message: string,
    metadata?: MetadataBlock,
  ): void {
    this.pending.replies.failure(id, started, code, message, metadata);
  }

  onCancel(id: number): void {
    this.serveSide.cancel(id);
  }

  onPing(id: number): void {
    this.pings.onPing(id);
  }

  onPong(id: number): void {
    this.pings.onPong(id);
  }

  onGoaway(lastId: number | undefined, code: string, text: string): void {
    const last = this.pending.widen(lastId);
    const reason = this.peerGoaway.note(last, code, text);
    if (reason === undefined) return;
    this.pending.goaway(last, reason);
    this.setup.onGoaway?.(reason);
    this.shutdown.goaway(this.helloReceived);
  }

  full(): boolean {
    return this.serveSide.full;
  }

  mayRead(bytes: number): boolean {
    return this.reader.mayRead(bytes);
  }

  // What was written: see SendBufferEvents.

  onFlush(): void {
    this.tick.stale();
    this.watchdog.writing();
    this.pending.onFlush();
    this.serveSide.onFlush();
    this.codec.flushed?.();
    this.reader.onFlush();
    this.pings.onFlush();
  }

  onSpoiled(batchOffset: number): void {
    const frame = this.codec.callAt?.(this.sendBuffer, batchOffset);
    if (frame === undefined) return;
    this.codec.retract(this.sendBuffer, batchOffset);
    (frame.isRequest ? this.pending : this.serveSide).spoiled(frame.id);
  }

  onWritten(): void {
    if (!this.sendBuffer.writing) this.watchdog.written();
    if (!this.shutdown.over) {
      this.pending.flushQueue();
      this.serveSide.startWaiting();
      this.#streams?.writeReady();
      this.shutdown.advance();
    }
    this.share?.recordProgress();
    this.linger.written();
  }

  onWriteFailed(cause: unknown): void {
    this.shutdown.onConnectionLost("writing failed", cause);
    this.pending.batchLost();
    this.linger.written();
  }

  busy(): boolean {
    return this.pending.inFlight + this.serveSide.held > MANY_CALLS;
  }

  onGrown(): void {
    this.share?.recordProgress();
  }

  onOverflow(): void {
    const { maxSendBuffer } = this.limits;
    const text =
      `more than ${maxSendBuffer} bytes wait for a peer that does not read`;
    const error = new ConnectionError("resource_exhausted", text);
    this.shutdown.end(error, "giveUp");
  }

  // What takes too long: see WatchdogEvents.

  sendPing(): void {
    if (!this.shutdown.halfClosed) this.pings.send();
    // Otherwise what is being written probes the peer as well.
    else if (this.sendBuffer.idle) this.pings.probe();
  }

  unfinished(): number | undefined {
    return this.codec.unfinished;
  }

  activity(): number | undefined {
    const { empty, lastSent } = this.pending;
    if (!empty || this.serveSide.busy() > 0) return undefined;
    return lastSent + (this.serveSide.lastId ?? 0);
  }

  onIdle(): void {
    this.shutdown.close({});
  }

  onExpired(code: "unavailable" | "deadline_exceeded", text: string): void {
    const how = code === "unavailable" ? "destroy" : "giveUp";
    this.shutdown.end(new ConnectionError(code, text), how);
  }

  // What is held: see MemoryHolder.

  bytesHeld(): number {
    return this.sendBuffer.size + this.serveSide.heldBytes +
      this.pending.heldBytes + this.codec.unfinishedBytes +
      (this.#streams?.heldBytes ?? 0);
  }

  shed(reason: ConnectionError): boolean {
    return this.shutdown.shed(reason);
  }
}

function checkServices(services: unknown): void {
  if (services === undefined) return;
  const { methods, serve } = services as {
    methods?: unknown;
    serve?: unknown;
  };
  if (methods instanceof Map && typeof serve === "function") return;
  throw new TypeError(
    `Cannot serve: not made by callable(), received ${typeName(services)}`,
  );
}
