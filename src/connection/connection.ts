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
import { TimerHeap } from "../base/timers.ts";
import type { CallHandle, CallOptions } from "../types/call.ts";
import type {
  CallWindow,
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
  CodecSettings,
  MessageHandler,
  RequestLinks,
} from "../wire/codec.ts";
import { toLimits } from "../wire/connection_limits.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import { nativeCodec } from "../wire/native_codec.ts";
import type { WriteScheduler } from "../wire/fragments/write_scheduler.ts";
import {
  type ByteChannel,
  checkDuplex,
  openChannel,
} from "../transport/duplex.ts";
import type {
  ConnectionStreams,
  StreamTableContext,
} from "../streams/contract.ts";
import { madeCall } from "../call/call.ts";
import {
  PendingCalls,
  type PendingCallsContext,
} from "../call/pending_calls.ts";
import type {
  ConnectionSetup,
  IncomingCalls,
  MemoryHolder,
  MemoryShare,
  PeerGate,
  ServeContext,
  Watchdog,
} from "./contract.ts";
import {
  codecSettings,
  Handshake,
  type HandshakeContext,
} from "./handshake.ts";
import { Linger, type LingerContext } from "./linger.ts";
import { NoServices } from "./no_services.ts";
import { Ping, type PingContext } from "./ping.ts";
import { Reader, type ReaderContext } from "./reader.ts";
import { SendBuffer, type SendBufferEvents } from "./send_buffer.ts";
import { PeerGoaway, Shutdown, type ShutdownContext } from "./shutdown.ts";
import type { Keepalive, WatchdogContext } from "./watchdog.ts";

/** From this many calls in flight on, frames gather for a turn of the event loop. */
const MANY_CALLS = 32;

/**
 * A connection. Users see it as {@linkcode Connection}; the other members are
 * for its parts, each of which names what it needs of them in a context.
 */
export class RpcConnection
  implements
    Connection,
    ShutdownContext,
    HandshakeContext,
    LingerContext,
    ReaderContext,
    PingContext,
    WatchdogContext,
    PendingCallsContext,
    ServeContext,
    StreamTableContext,
    MessageHandler,
    SendBufferEvents,
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
  /** Decides which large message or stream writes next; undefined without both features. */
  readonly scheduler: WriteScheduler | undefined;
  readonly deadlines: TimerHeap;
  readonly observe: CallObserverHub | undefined;
  readonly largeReads: LargeReads | undefined;
  readonly pending: PendingCalls;
  readonly incoming: IncomingCalls;
  readonly pings: Ping;
  readonly watchdog: Watchdog | undefined;
  readonly peerGoaway: PeerGoaway = new PeerGoaway();
  readonly share: MemoryShare | undefined;
  readonly linger: Linger;
  readonly shutdown: Shutdown;
  readonly handshake: Handshake;
  readonly reader: Reader;
  /** Itself, as the contexts of calls name it. */
  readonly connection: Connection = this;
  readonly #duplex: DuplexInfo;
  #streams: ConnectionStreams | undefined;
  /** When the latest request in fragments began. */
  #begunAt = 0;

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
    const onStray = (error: unknown) =>
      setup.services?.onError(error, { connection: this });
    const stray = duplex.childOutput ? onStray : undefined;
    const settings = codecSettings(setup, limits, stray);
    limits.windowCalls = settings.hello.windowCalls;
    this.remote = duplex.remote;
    this.#duplex = duplex;
    this.setup = setup;
    this.limits = limits;
    this.clock = setup.clock ?? systemClock;
    this.tick = new Tick(this.clock);
    this.channel = openChannel(duplex);
    this.gate = setup.makeGate?.(this.channel);
    this.codec = this.#makeCodec(settings);
    this.sendBuffer = new SendBuffer(
      this.gate ?? this.channel,
      this.clock,
      limits.maxSendBuffer,
      this,
      setup.memory?.step,
    );
    const { scheduler } = setup.fragments ?? setup.streams ?? {};
    this.scheduler = scheduler?.(this.sendBuffer, limits);
    this.deadlines = new TimerHeap(this.clock);
    this.observe = setup.observe;
    this.largeReads = setup.largeReads;
    // From here on each part finds those before it in the connection.
    this.pending = new PendingCalls(this, setup.firstId ?? 1);
    this.incoming = this.#makeIncoming();
    this.pings = new Ping(this);
    this.watchdog = (setup.keepalive as Keepalive | undefined)?.(this);
    this.linger = new Linger(this);
    this.shutdown = new Shutdown(this);
    this.closed = this.shutdown.closed;
    this.share = setup.memory?.share(this);
    this.reader = new Reader(this);
    this.handshake = new Handshake(this);
    // Last: where the send buffer has no room for HELLO, the connection ends here.
    this.handshake.begin();
  }

  #makeCodec(settings: CodecSettings): Codec {
    const make = this.setup.protocol?.codec ?? nativeCodec;
    const codec = make(this, settings);
    if (settings.hello.credentials !== undefined && !codec.features.window) {
      throw new TypeError("Cannot use credentials: the protocol has no HELLO");
    }
    return codec;
  }

  #makeIncoming(): IncomingCalls {
    const { services } = this.setup;
    return services === undefined ? new NoServices(this) : services.serve(this);
  }

  // The public side; see `Connection` for what each member promises.

  get peer(): Peer {
    const { certificate, request } = this.#duplex;
    return { remote: this.remote, certificate, request };
  }

  get auth(): unknown {
    return this.gate?.auth;
  }

  get opened(): Promise<void> {
    return this.handshake.opened;
  }

  get draining(): Promise<void> {
    return this.shutdown.draining;
  }

  get ready(): Promise<void> {
    return this.pending.queue.ready;
  }

  get desiredSize(): number {
    return this.pending.queue.desiredSize;
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
    const { pending, incoming, sendBuffer } = this;
    const window = incoming.receiveWindow.confirmed ?? this.limits;
    return {
      state: this.shutdown.state,
      ...pending.numbers,
      ...incoming.numbers,
      receiving: incoming.receiveWindow.calls,
      receivingBytes: incoming.receiveWindow.bytes,
      windowCalls: window.windowCalls,
      windowBytes: window.windowBytes,
      outgoingBytes: sendBuffer.size,
      bufferedBytes: this.bytesHeld(),
      chunksWritten: sendBuffer.chunks,
      bytesWritten: sendBuffer.written,
      bytesRead: this.reader.bytes,
      listeners: pending.settler.listeners,
      timers: this.deadlines.size,
      rtt: this.rtt,
      ...(this.#streams?.numbers ?? NO_STREAMS),
    };
  }

  setWindow(window: Partial<CallWindow>): void {
    this.incoming.setWindow(window);
  }

  calls(): LiveCall[] {
    const { clock, pending, remote } = this;
    const context = { now: clock.now(), remote };
    return [
      ...pending.all().map((c) => madeCall(c, pending.flushed(c), context)),
      ...this.incoming.calls(context),
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

  // What calls and streams need of their connection.

  settled(): void {
    this.shutdown.advance();
  }

  peerMaxMessage(): number {
    return this.pending.inFlight.window.granted.maxMessage;
  }

  helloReceived(): PeerHello | undefined {
    return this.pending.inFlight.window.helloReceived;
  }

  find(id: number, outgoing: boolean): ReturnType<StreamTableContext["find"]> {
    const calls = outgoing ? this.pending.replies : this.incoming;
    return calls.streamsOf(id);
  }

  // What has arrived: see MessageHandler. For `streams` see also the contexts.

  streams(): ConnectionStreams | undefined {
    return this.#streams ??= this.setup.streams?.table(this);
  }

  onHello(hello: PeerHello): void {
    // The credentials are for `authorize` alone, and not kept.
    this.pending.queue.onHello({ ...hello, credentials: undefined });
    this.handshake.onHello(hello);
  }

  onRequest(
    id: number,
    method: string,
    size: number,
    remaining: number,
    metadata: MetadataBlock | undefined,
    links?: RequestLinks,
  ): void {
    if (this.incoming.receiveWindow.completing) {
      remaining = this.#left(remaining);
    }
    this.incoming.request(id, method, size, remaining, metadata, links);
  }

  /** The time to a deadline began with the first fragment. */
  #left(remaining: number): number {
    if (remaining <= 0) return remaining;
    return Math.max(0, remaining - (this.clock.now() - this.#begunAt));
  }

  onRelease(id: number): void {
    this.incoming.release(id);
  }

  onRequestBegun(id: number, size: number): void {
    this.#begunAt = this.clock.now();
    this.incoming.begin(id, size);
  }

  onRequestWhole(): void {
    this.incoming.receiveWindow.completing = true;
  }

  onRequestAborted(): void {
    this.incoming.receiveWindow.abortBegun();
    this.shutdown.advance();
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
    this.incoming.cancel(id);
  }

  onPing(id: number): void {
    this.pings.onPing(id);
  }

  onPong(id: number): void {
    this.pings.onPong(id);
  }

  onGoaway(lastId: number | undefined, code: string, text: string): void {
    const { pending } = this;
    const warning = lastId === Infinity;
    const last = lastId === undefined
      ? -Infinity
      : warning
      ? lastId
      : pending.inFlight.widen(lastId);
    const reason = this.peerGoaway.record(last, code, text);
    if (reason === undefined) return;
    if (warning) pending.queue.refuseNew(reason, true);
    else pending.goaway(last, reason);
    this.setup.onGoaway?.(reason);
    this.shutdown.onGoaway();
  }

  onWindow(id: number, window: CallWindow, ack: boolean): void {
    (ack ? this.incoming : this.pending.queue).onWindow(id, window);
  }

  onLast(all: boolean): void {
    if (!all) return this.shutdown.onLast();
    this.codec.stop();
    this.reader.end();
  }

  full(): boolean {
    return this.incoming.receiveWindow.full;
  }

  mayRead(bytes: number): boolean {
    return this.reader.large?.ask(bytes) ?? true;
  }

  // What was written: see SendBufferEvents.

  onFlush(): void {
    this.tick.stale();
    this.watchdog?.onFlush();
    this.pending.inFlight.onFlush();
    this.incoming.onFlush();
    this.codec.flushed?.();
    this.reader.onFlush();
    this.pings.onFlush();
  }

  onSpoiled(batchOffset: number): void {
    const { codec, sendBuffer } = this;
    const frame = codec.callAt?.(sendBuffer, batchOffset);
    if (frame === undefined) return;
    codec.retract(sendBuffer, batchOffset);
    (frame.isRequest ? this.pending : this.incoming).spoiled(frame.id);
  }

  onWritten(): void {
    if (!this.sendBuffer.writing) this.watchdog?.onWritten();
    if (!this.shutdown.ended) {
      this.pending.queue.flushQueue();
      this.incoming.startWaiting();
      this.scheduler?.writeReady();
      this.shutdown.advance();
    }
    this.share?.recordProgress();
    this.linger.onWritten();
  }

  onWriteFailed(cause: unknown): void {
    this.shutdown.onConnectionLost("writing failed", cause);
    this.pending.inFlight.freeRetracted();
    this.linger.onWritten();
  }

  manyCalls(): boolean {
    return this.pending.inFlight.window.calls +
        this.incoming.receiveWindow.calls >
      MANY_CALLS;
  }

  onGrown(): void {
    this.share?.recordProgress();
  }

  onOverflow(): void {
    const { maxSendBuffer } = this.limits;
    const text =
      `more than ${maxSendBuffer} bytes wait for a peer that does not read`;
    const error = new ConnectionError("resource_exhausted", text);
    this.shutdown.end(error, "cancel");
  }

  // What is held: see MemoryHolder.

  bytesHeld(): number {
    return this.sendBuffer.size + this.incoming.receiveWindow.heldBytes +
      this.pending.heldBytes + this.codec.unfinishedBytes +
      (this.#streams?.heldBytes ?? 0);
  }

  evict(reason: ConnectionError): boolean {
    const { ended } = this.shutdown;
    if (ended) this.linger.destroy();
    else this.shutdown.end(reason, "discard");
    return ended;
  }
}

function checkServices(services: unknown): void {
  if (services === undefined) return;
  if (typeof (services as { serve?: unknown })?.serve === "function") return;
  throw new TypeError(
    `Cannot serve: not made by callable(), received ${typeName(services)}`,
  );
}
