/**
 * One duplex, one reader, one writer, for its whole life; both ends may call.
 *
 * Invariants owned here:
 * - The state only moves forward: `open`, `draining` (we said GOAWAY and finish
 *   what was accepted), `finishing` (every call is settled; what was said is
 *   flushed, FIN, and what still comes is discarded), `closed`. One teardown,
 *   `#end`; the first reason wins.
 * - Reading never stops while the connection lives, however stalled our own
 *   writes are: replies, cancels and pings always get through.
 * - A protocol fault is told to the peer by GOAWAY, and every answer made
 *   before it still arrives.
 *
 * @module
 */

import type { Share } from "./buffers.ts";
import { takePath } from "./byte_path.ts";
import type { CallHandle } from "./call.ts";
import { type Clock, systemClock } from "./clock.ts";
import type { Codec, CodecFactory, Receiver } from "./codec.ts";
import type {
  CloseOptions,
  ConnectionSetup,
  ConnectionStats,
} from "./connection_options.ts";
import { toCredentials } from "./credentials.ts";
import { Deadlines, Timer } from "./deadlines.ts";
import { Dispatch } from "./dispatch.ts";
import { type Duplex, type DuplexInfo, toDuplex } from "./duplex.ts";
import { ConnectionError } from "./errors.ts";
import { type LiveCall, madeCall, servedCall } from "./live_calls.ts";
import { Farewell } from "./farewell.ts";
import { departure, PeerGoaway } from "./goaway.ts";
import { type Limits, toLimits } from "./limits.ts";
import { nativeCodec } from "./native.ts";
import type { CallEvents } from "./observe.ts";
import type { CallOptions } from "./options.ts";
import { Outbox } from "./outbox.ts";
import { Pending } from "./pending.ts";
import { Pings } from "./pings.ts";
import { MESSAGES_PER_TURN, readLoop } from "./read_loop.ts";
import { registryOf } from "./registry.ts";
import { NO_STREAMS, Streams } from "./streams/streams.ts";
import { Tick } from "./tick.ts";
import type { PeerCertificate } from "./transport/certificate.ts";
import type { Verdict } from "./verdict.ts";
import { readFirst, Watchdog, type Watched } from "./watchdog.ts";

/** The calls of a connection, for who submits calls of its own making; no matter of users'. */
export let pendingOf: (connection: Connection) => Pending;

/** What the transport tells of a peer. */
export interface Peer {
  /** Its address, where the transport knows it. */
  readonly remote: string | undefined;
  /** What it showed in the TLS handshake, and was verified; `undefined` if nothing, or on Deno, which does not tell. */
  readonly certificate: PeerCertificate | undefined;
}

/** A live connection. A {@linkcode Client} holds one; a server has one per caller, and a handler sees it as `ctx.connection`. */
export class Connection {
  /** The peer's address, where the transport knows it. */
  readonly remote: string | undefined;
  /** Resolves when the connection is over: with what went wrong, or with `undefined` if one of its ends closed it in order. Never rejects. */
  readonly closed: Promise<ConnectionError | undefined>;

  readonly #certificate: PeerCertificate | undefined;

  static {
    pendingOf = (connection) => connection.#pending;
  }

  readonly #clock: Clock;
  readonly #tick: Tick;
  /** Bytes decoded so far. */
  #bytesRead = 0;
  readonly #codec: Codec;
  readonly #outbox: Outbox;
  readonly #deadlines: Deadlines;
  readonly #pending: Pending;
  readonly #dispatch: Dispatch;
  /** Made with the first one. */
  #streams: Streams | undefined;

  #state: ConnectionStats["state"] = "open";
  readonly #closed = Promise.withResolvers<ConnectionError | undefined>();
  /** Resolves when reading has ended, for whatever reason. */
  readonly #reading: Promise<void>;
  /** Made by the first `close`; the same for all. */
  #closing: PromiseWithResolvers<void> | undefined;
  /** Handlers that closed their own connection; not waited for. */
  readonly #excused = new Set<object>();
  /** What our GOAWAY said; a later one may not say more. */
  #goaway: { readonly lastId: number | undefined } | undefined;
  readonly #peerGoaway = new PeerGoaway();
  /** The batch that has a PONG already, and the id a further one is due for. */
  #pongBatch = -1;
  #pongDue: number | undefined;
  /** Goes on reading: a wire without windows stops when the peer's calls are more than we hold. */
  #resume: (() => void) | undefined;
  /** What this connection itself waits for: the peer's HELLO, the end of a drain, of a flush, of lingering. */
  readonly #timer: Timer;
  readonly #farewell: Farewell;
  readonly #pings: Pings;
  readonly #watchdog: Watchdog;
  readonly #setup: ConnectionSetup;
  readonly #limits: Limits;
  /** Whether the peer may come in; undefined where everybody may. */
  readonly #verdict: Verdict | undefined;
  /** What it holds, as its server counts it. */
  readonly #share: Share | undefined;

  /**
   * Takes the duplex over and says HELLO.
   *
   * @throws {TypeError} If it is no duplex, one of its streams is locked, the
   *   wire has no place for credentials, or the services are not callable.
   * @throws {RangeError} If a limit is out of its range, or the credentials are
   *   too long.
   */
  constructor(transport: Duplex, setup: ConnectionSetup = {}) {
    const duplex: Duplex & DuplexInfo = toDuplex(transport);
    const { services } = setup;
    const registry = registryOf(services);
    const limits = this.#limits = toLimits(setup);
    const { maxMessage, windowCalls, windowBytes } = limits;
    const own = { maxMessage, windowCalls, windowBytes };
    const credentials = setup.credentials === undefined
      ? undefined
      : toCredentials(setup.credentials);
    if (registry.size === 0) limits.windowCalls = 0;
    const clock = this.#clock = setup.clock ?? systemClock;
    const tick = this.#tick = new Tick(clock);
    this.remote = duplex.remote;
    this.#certificate = duplex.certificate;
    this.closed = this.#closed.promise;
    this.#setup = setup;
    const path = takePath(duplex);
    const verdict = this.#verdict = setup.verdict?.(path);

    const make = setup.wire?.codec as CodecFactory | undefined;
    const codec = this.#codec = (make ?? nativeCodec)(this.#receiver(), {
      hello: {
        ...own,
        windowCalls: limits.windowCalls,
        credentials,
        streams: { credit: limits.streamCredit, max: limits.maxStreams },
      },
      own,
      guarded: setup.verdict !== undefined,
      registry: services && registry,
      serializer: setup.serializer,
    });
    const way = verdict ?? path;
    if (credentials !== undefined && !codec.features.window) {
      throw new TypeError("Cannot use credentials: the wire has no HELLO");
    }
    const outbox = this.#outbox = new Outbox(way, clock, limits.maxOutbox, {
      handedOver: () => this.#handedOver(),
      written: () => this.#written(),
      writeFailed: (cause) => {
        this.#lose("writing failed", cause);
        this.#pending.batchLost();
        this.#farewell.written();
      },
      busy: () => this.#pending.inFlight + this.#dispatch.held > MANY_CALLS,
      grown: () => this.#share?.note(),
      overflowed: () => this.#overflow(limits.maxOutbox),
    }, setup.shared?.buffers.step);
    const deadlines = this.#deadlines = new Deadlines(clock);
    const advance = () => this.#advance();
    const streams = () => this.#hub();
    const observe = setup.observe as CallEvents | undefined;
    const shared = {
      ...{ codec, outbox, deadlines, clock, limits, streams },
      ...{ tick, observe, connection: this },
    };
    this.#pending = new Pending(
      { ...shared, emptied: advance },
      setup.firstId ?? 1,
    );
    this.#dispatch = new Dispatch({
      ...shared,
      registry,
      turns: setup.shared?.turns,
      exposeErrors: services?.exposeErrors === true,
      peerMaxMessage: () => this.#pending.maxMessage,
      onError: (error, { method, id, connection }) =>
        services?.onError(error, { method, id, connection }),
      settled: advance,
    });
    this.#timer = new Timer(clock, deadlines);
    this.#timer.set(
      limits.handshakeTimeout,
      () => void this.#handshakeLate(clock),
    );
    this.#pings = new Pings(codec, outbox, clock);
    this.#watchdog = new Watchdog(
      clock,
      // Silence says nothing on a wire without a question.
      codec.features.ping ? limits : { ...limits, keepaliveTime: Infinity },
      this.#watched(),
    );
    this.#farewell = new Farewell(path, outbox, this.#timer);
    codec.hello(outbox);
    // Alone: what is said behind it can still be taken back until the verdict.
    if (verdict !== undefined) outbox.flush();
    else this.#dispatch.open();
    this.#share = setup.shared?.buffers.share({
      bytes: () => this.#buffered,
      shed: (reason) => this.#shed(reason),
    });
    this.#reading = readLoop(path, clock, {
      chunk: (chunk, at) => this.#chunk(chunk, at),
      end: () => this.#endOfStream(),
      room: () => this.#room(),
    }).catch((cause) => this.#lose("reading failed", cause));
  }

  /** What the transport tells of the peer. */
  get peer(): Peer {
    return { remote: this.remote, certificate: this.#certificate };
  }

  /** What the server's `authorize` returned for this peer; `undefined` before that, and without one. */
  get auth(): unknown {
    return this.#verdict?.auth;
  }

  /** Resolves when the window has room for a call, as a stream writer's `ready`; rejects once no call is taken any more. Ignoring it is safe. */
  get ready(): Promise<void> {
    return this.#pending.ready;
  }

  /** How many calls the window has room for, as a stream writer's `desiredSize`; see {@linkcode Client.desiredSize}. */
  get desiredSize(): number {
    return this.#pending.desiredSize;
  }

  /** Calls a method of the peer's; see {@linkcode Client.call}. */
  call(
    method: string,
    params?: unknown,
    options?: CallOptions,
  ): Promise<unknown> {
    return this.#pending.call(method, params, options);
  }

  /** Calls without waiting; see {@linkcode Client.go}. */
  go(method: string, params?: unknown, options?: CallOptions): CallHandle {
    return this.#pending.go(method, params, options);
  }

  /** Milliseconds that the latest PING and its PONG took; undefined before. The library sends one by itself only to a peer that is silent. */
  get rtt(): number | undefined {
    return this.#pings.rtt;
  }

  /** Sends a PING and resolves with the round-trip time in ms; rejects if the connection ends first. Ignoring it is safe. */
  ping(): Promise<number> {
    return this.#pings.send();
  }

  /** The connection in numbers. */
  stats(): ConnectionStats {
    return {
      state: this.#state,
      ...this.#pending.numbers,
      ...this.#dispatch.numbers,
      outgoingBytes: this.#outbox.size,
      bufferedBytes: this.#buffered,
      chunksWritten: this.#outbox.chunks,
      bytesWritten: this.#outbox.written,
      bytesRead: this.#bytesRead,
      listeners: this.#pending.listeners,
      timers: this.#deadlines.size,
      rtt: this.#pings.rtt,
      ...(this.#streams?.numbers ?? NO_STREAMS),
    };
  }

  /** What hangs? Every call that has not ended, those made by this end first; made when it is asked for. */
  calls(): LiveCall[] {
    const view = { now: this.#clock.now(), remote: this.remote };
    const pending = this.#pending;
    return [
      ...pending.all().map((c) => madeCall(c, pending.handedOver(c), view)),
      ...this.#dispatch.all().map((serving) => servedCall(serving, view)),
    ];
  }

  /**
   * Drains, in this order: takes no new call; says GOAWAY; lets calls already
   * accepted and running handlers finish, within `timeout`; flushes; closes.
   * What is not finished by then is settled with its true outcome. Idempotent:
   * every call returns the same promise, which never rejects.
   */
  close(options: CloseOptions = {}): Promise<void> {
    const excused = options.ctx ?? this.#dispatch.current;
    if (excused !== undefined) this.#excused.add(excused);
    if (this.#closing === undefined) {
      this.#closing = Promise.withResolvers();
      this.#closed.promise.then(() => this.#closing?.resolve());
      if (this.#state === "open" || this.#verdict?.pending) {
        this.#drain(options.timeout ?? 5000);
      }
    }
    // Not in this turn: a drain begun by a handler must not outrun its answer.
    queueMicrotask(() => this.#advance());
    return this.#closing.promise;
  }

  /** Ends the connection at once: nothing is flushed, calls in flight are `unknown`. Resolves when it is over. */
  async abort(reason?: unknown): Promise<void> {
    const error = new ConnectionError(
      "cancelled",
      "the connection was aborted",
      {
        cause: reason,
      },
    );
    this.#end(error, "destroy");
    // One that was lingering already stops at once too.
    this.#farewell.destroy();
    await this.closed;
  }

  /** The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #over(): boolean {
    return this.#state === "finishing" || this.#state === "closed";
  }

  // Reading.

  /** A chunk has come, of which `at` bytes are decoded; returns how far it came. */
  #chunk(chunk: Uint8Array, at: number): number {
    if (this.#over) {
      this.#farewell.discard(chunk.length);
      return chunk.length;
    }
    try {
      const to = this.#codec.decode(chunk, at, MESSAGES_PER_TURN);
      this.#bytesRead += to - at;
      at = to;
      this.#tick.stale();
      this.#watchdog.heard();
      this.#pending.pump();
      this.#share?.note();
    } catch (error) {
      // The one place where a breach of the rules becomes teardown. Reading
      // goes on, to discard.
      this.#end(toFault(error), "goaway");
    }
    return this.#over ? chunk.length : at;
  }

  /** On a wire without windows: what reading waits for, if the peer's calls are more than we hold. */
  #room(): Promise<void> | undefined {
    if (this.#over || !this.#dispatch.full) return undefined;
    return new Promise((resolve) => this.#resume = resolve);
  }

  /** The peer has sent its FIN: after a GOAWAY it still reads our answers, without one it is lost. */
  #endOfStream(): void {
    if (this.#over) return;
    const { features } = this.#codec;
    try {
      this.#codec.end();
    } catch (error) {
      this.#end(toFault(error), "goaway");
      return;
    }
    if (features.goaway && this.#peerGoaway.reason === undefined) {
      const text = "the peer ended the connection without a GOAWAY";
      this.#end(new ConnectionError("unavailable", text), "flush");
      return;
    }
    const text = "the peer closed the connection";
    const reason = this.#peerGoaway.reason ??
      new ConnectionError("unavailable", text);
    // Nothing can be answered any more; what we serve still is.
    this.#pending.end(reason);
    this.#dispatch.drain();
    this.#dispatch.halfClosed(reason);
    // Made if there are none yet: a handler that runs may still answer with one.
    this.#hub().deafen();
    if (this.#state === "open") this.#state = "draining";
    this.#advance();
  }

  #receiver(): Receiver {
    return {
      hello: (hello) => {
        this.#pending.greet(hello);
        if (this.#verdict === undefined) {
          // Once draining, it is the drain that is timed.
          if (this.#state === "open") this.#timer.clear();
          this.#greeted();
        } else {
          this.#verdict.ask(hello, this, {
            admitted: () => this.#admitted(),
            denied: (reason) => this.#end(reason, "goaway"),
          });
        }
      },
      streams: () => this.#hub(),
      request: (id, method, size, remaining, metadata) =>
        this.#dispatch.request(id, method, size, remaining, metadata),
      reply: (id, metadata) => this.#pending.replies.reply(id, metadata),
      failure: (id, started, code, message, metadata) =>
        this.#pending.replies.failure(id, started, code, message, metadata),
      cancel: (id) => this.#dispatch.cancel(id),
      ping: (id) => this.#pong(id),
      pong: (id) => this.#pings.pong(id),
      goaway: (lastId, code, text) => this.#peerDrains(lastId, code, text),
      full: () => this.#dispatch.full,
    };
  }

  #hub(): Streams {
    return this.#streams ??= new Streams({
      codec: this.#codec,
      outbox: this.#outbox,
      limits: this.#limits,
      clock: this.#clock,
      granted: () => this.#pending.peer,
      peerMaxMessage: () => this.#pending.maxMessage,
      find: (id, ours) =>
        ours
          ? this.#pending.replies.streamsOf(id)
          : this.#dispatch.streamsOf(id),
    });
  }

  /** The peer's HELLO is here, and it may come in. */
  #greeted(): void {
    // What it refuses may have been all that a drain waited for.
    if (this.#over) return;
    this.#watchdog.start();
    this.#setup.onHello?.();
  }

  #admitted(): void {
    // A drain of ours would have ended it.
    this.#timer.clear();
    this.#codec.admit?.();
    this.#greeted();
    this.#dispatch.open();
    this.#advance();
  }

  /** At most one PONG a batch, for the latest PING: a flood of them costs nothing. */
  #pong(id: number): void {
    if (this.#pongBatch === this.#outbox.batch) this.#pongDue = id;
    else {
      this.#codec.pong(this.#outbox, id);
      this.#pongBatch = this.#outbox.batch;
    }
  }

  #peerDrains(lastId: number | undefined, code: string, text: string): void {
    const reason = departure(code, text);
    const last = this.#pending.goaway(lastId, reason);
    this.#peerGoaway.note(last, code, reason);
    this.#setup.onGoaway?.(reason);
  }

  // Writing.

  #handedOver(): void {
    this.#tick.stale();
    this.#watchdog.writing();
    this.#pending.batchHandedOver();
    this.#dispatch.batchHandedOver();
    this.#codec.handedOver?.();
    if (!this.#dispatch.full) this.#resume?.();
    if (this.#pongDue === undefined) return;
    const id = this.#pongDue;
    this.#pongDue = undefined;
    this.#pong(id);
  }

  #written(): void {
    if (!this.#outbox.writing) this.#watchdog.written();
    if (!this.#over) {
      this.#pending.pump();
      this.#dispatch.pump();
      this.#streams?.pump();
      this.#advance();
    }
    this.#share?.note();
    this.#farewell.written();
  }

  // Ending.

  #drain(timeout: number): void {
    // Nothing has been accepted that could be finished.
    if (this.#verdict?.pending) return this.#end(undefined, "goaway");
    this.#state = "draining";
    const text = "this end has closed the connection";
    this.#pending.refuseNew(new ConnectionError("unavailable", text));
    this.#dispatch.drain();
    this.#sayGoaway("", "");
    this.#timer.set(timeout, () => {
      const text = `the drain did not finish within ${timeout} ms`;
      this.#end(new ConnectionError("deadline_exceeded", text), "goaway");
    });
  }

  #sayGoaway(code: string, text: string): void {
    if (!this.#codec.features.goaway) return;
    this.#goaway ??= { lastId: this.#dispatch.lastId };
    this.#codec.goaway(this.#outbox, this.#goaway.lastId, code, text);
  }

  /** Goes on with a drain if what it waits for has come about. */
  #advance(): void {
    if (this.#state !== "draining" || !this.#pending.empty) return;
    if (this.#excused.size > 0 && this.#dispatch.busy(this.#excused) === 0) {
      this.#closing?.resolve();
    }
    if (this.#dispatch.busy(NOBODY) > 0 || !this.#outbox.idle) return;
    this.#end(this.#peerGoaway.fault, "flush");
  }

  #overflow(limit: number): void {
    const text = `more than ${limit} bytes wait for a peer that does not read`;
    this.#end(new ConnectionError("resource_exhausted", text), "goaway");
  }

  /** What counts towards `maxTotalBuffered`. */
  get #buffered(): number {
    return this.#outbox.size + this.#dispatch.waitingBytes +
      this.#pending.queuedBytes + this.#codec.unfinishedBytes;
  }

  /** The server's memory is spent, and most of it here. */
  #shed(reason: ConnectionError): boolean {
    const over = this.#over;
    if (over) this.#farewell.destroy();
    else this.#end(reason, "shed");
    return over;
  }

  async #handshakeLate(clock: Clock): Promise<void> {
    await readFirst(clock);
    if (this.#state !== "open" || this.#watchdog.running) return;
    const text = this.#verdict?.asked
      ? "whether the peer may come in was not decided in time"
      : "the peer's HELLO did not come in time";
    this.#end(new ConnectionError("deadline_exceeded", text), "goaway");
  }

  #watched(): Watched {
    return {
      ping: () => this.#pings.send(),
      unfinished: () => this.#codec.unfinished,
      calls: () => {
        const { empty, lastSent } = this.#pending;
        if (!empty || this.#dispatch.busy(NOBODY) > 0) return undefined;
        return lastSent + (this.#dispatch.lastId ?? 0);
      },
      idle: () => void this.close(),
      expired: (code, text) => {
        const how = code === "unavailable" ? "destroy" : "goaway";
        this.#end(new ConnectionError(code, text), how);
      },
    };
  }

  /** The transport failed. */
  #lose(what: string, cause: unknown): void {
    const text = `the connection was lost: ${what}`;
    this.#end(new ConnectionError("unavailable", text, { cause }), "destroy");
  }

  /**
   * The one teardown. Calls are settled before anything is waited for; then
   * the last words are flushed ("goaway" adds one, "shed" takes back all that
   * has not been handed over), or nothing is ("destroy").
   * A peer that was not let in yet hears nothing but the GOAWAY.
   */
  #end(
    reason: ConnectionError | undefined,
    how: "flush" | "goaway" | "shed" | "destroy",
  ): void {
    if (this.#over) return;
    this.#state = "finishing";
    this.#codec.stop();
    const why = reason ??
      new ConnectionError("unavailable", "the connection was closed");
    this.#pending.end(why);
    this.#dispatch.end(why);
    this.#pings.end(why);
    this.#watchdog.stop();
    this.#deadlines.clear();
    this.#resume?.();
    const denied = this.#verdict?.drop() === true;
    if (denied) this.#goaway = { lastId: undefined };
    if (denied || how === "shed") {
      this.#outbox.discard();
      this.#pongDue = undefined;
      this.#pending.batchLost();
    }
    if (how === "destroy") this.#farewell.destroy();
    else if (how !== "flush") {
      this.#sayGoaway(reason?.code ?? "", reason?.message ?? "");
    }
    this.#farewell.run(this.#reading).then(() => {
      this.#state = "closed";
      this.#share?.end();
      this.#closed.resolve(reason);
    });
  }
}

/** Calls under way from which on frames gather for a turn of the event loop. */
const MANY_CALLS = 32;

const NOBODY: ReadonlySet<unknown> = new Set();

/** Anything but a ConnectionError would be a mistake of this library's own. */
function toFault(error: unknown): ConnectionError {
  if (error instanceof ConnectionError) return error;
  return new ConnectionError("internal", "decoding failed", { cause: error });
}
