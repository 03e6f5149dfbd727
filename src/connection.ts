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
 *   before it still arrives: after our FIN we read and discard until the
 *   peer's, for a socket closed with unread input resets, and the reset
 *   destroys what the peer has not read yet.
 *
 * @module
 */

import type { CallHandle } from "./call.ts";
import { type Clock, systemClock } from "./clock.ts";
import type { Codec, CodecFactory, Receiver } from "./codec.ts";
import { Deadlines, type Timed } from "./deadlines.ts";
import { Dispatch } from "./dispatch.ts";
import { type Duplex, type DuplexInfo, toDuplex } from "./duplex.ts";
import { ConnectionError, isErrorCode, quote } from "./errors.ts";
import { type Limits, toLimits } from "./limits.ts";
import { NativeCodec } from "./native.ts";
import type { CallOptions } from "./options.ts";
import { Outbox } from "./outbox.ts";
import type { Serializer } from "./payload.ts";
import { Pending } from "./pending.ts";
import { NO_SERVICES, type Registry } from "./registry.ts";

/** What a call that failed on our side was, for `onError`. */
export interface CallInfo {
  /** The method called. */
  readonly method: string;
  /** The call's id on its connection. */
  readonly id: number;
}

/** What both ends of a connection can set. */
export interface ConnectionOptions extends Partial<Limits> {
  /** Replaces JSON; both ends must have one of the same name. */
  serializer?: Serializer;
  /** Time, for tests. */
  clock?: Clock;
  /** The first call's id, for tests. Default 1. */
  firstId?: number;
}

/** What only the library sets. */
export interface ConnectionSetup extends ConnectionOptions {
  /** Another wire than the native one. */
  codec?: CodecFactory;
  registry?: Registry;
  exposeErrors?: boolean;
  onError?: (error: unknown, call: CallInfo) => void;
}

/** How a connection is closed. */
export interface CloseOptions {
  /** Milliseconds for accepted calls and running handlers to finish. Default 5,000. */
  timeout?: number;
  /** The `ctx` of the handler that closes its own connection: it is not waited for. */
  ctx?: object;
}

/** A connection in numbers, as of now. */
export interface ConnectionStats {
  /** Where it is in its life. */
  readonly state: "open" | "draining" | "finishing" | "closed";
  /** Calls of ours that hold a place in the peer's window, and their bytes. */
  readonly inFlight: number;
  /** Bytes of those. */
  readonly inFlightBytes: number;
  /** Calls of ours that wait for the window. */
  readonly queued: number;
  /** Answers that came after their caller had been told otherwise. */
  readonly lateReplies: number;
  /** The peer's calls that hold a place in our window. */
  readonly held: number;
  /** Handlers that have not settled. */
  readonly running: number;
  /** The peer's calls that wait to be started. */
  readonly waiting: number;
  /** Bytes not taken by the transport yet. */
  readonly outgoingBytes: number;
  /** Chunks handed to the transport so far. */
  readonly chunksWritten: number;
  /** Abort signals listened to. */
  readonly listeners: number;
  /** Deadlines and other times waited for. */
  readonly timers: number;
}

/** Messages decoded from one chunk before the event loop gets a turn. */
const MESSAGES_PER_TURN = 4096;
/** Chunks read before it gets one: a transport without a socket may never turn it by itself. */
const CHUNKS_PER_TURN = 64;
/** After our FIN: how long the peer's is waited for, in ms. */
const LINGER_TIME = 1000;
/** And how much is read and discarded meanwhile, in bytes. */
const LINGER_BYTES = 16 * 1024 * 1024;
/** How long what was said last may take to be written, in ms. */
const FLUSH_TIME = 5000;

/** What the peer's GOAWAYs have said so far. */
interface PeerGoaway {
  /** The last of our ids it serves, as a 53-bit count. */
  readonly last: number;
  /** Why calls above it are refused. */
  readonly reason: ConnectionError;
  /** What went wrong, if it was no plain drain. */
  readonly fault: ConnectionError | undefined;
}

/** A live connection. A {@linkcode Client} holds one; a server has one per caller, and a handler sees it as `ctx.connection`. */
export class Connection {
  /** The peer's address, where the transport knows it. */
  readonly remote: string | undefined;
  /** Resolves when the connection is over: with what went wrong, or with `undefined` if one of its ends closed it in order. Never rejects. */
  readonly closed: Promise<ConnectionError | undefined>;

  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #clock: Clock;
  readonly #codec: Codec;
  readonly #outbox: Outbox;
  readonly #deadlines: Deadlines;
  readonly #pending: Pending;
  readonly #dispatch: Dispatch;

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
  #peerGoaway: PeerGoaway | undefined;
  /** The batch that has a PONG already, and the id a further one is due for. */
  #pongBatch = -1;
  #pongDue: number | undefined;
  /** Wakes whoever waits for the outbox to be empty. */
  #flushed: (() => void) | undefined;
  #discarded = 0;
  /** The one thing this connection itself waits for: the peer's HELLO, the end of a drain, of a flush, of lingering. */
  readonly #timer: Timed = { due: Infinity, slot: -1, expire: () => {} };

  /**
   * Takes the duplex over and says HELLO.
   *
   * @throws {TypeError} If it is no duplex, or one of its streams is locked.
   * @throws {RangeError} If a limit is out of its range.
   */
  constructor(transport: Duplex, setup: ConnectionSetup = {}) {
    const duplex: Duplex & DuplexInfo = toDuplex(transport);
    const limits = toLimits(setup);
    const registry = setup.registry ?? NO_SERVICES;
    const clock = this.#clock = setup.clock ?? systemClock;
    this.remote = duplex.remote;
    this.closed = this.#closed.promise;
    this.#reader = duplex.readable.getReader();
    this.#writer = duplex.writable.getWriter();
    // Failures reach us by read and write; these would only be reported again.
    this.#reader.closed.catch(ignore);
    this.#writer.closed.catch(ignore);
    this.#writer.ready.catch(ignore);

    const { maxMessage } = limits;
    const windowCalls = registry.size === 0 ? 0 : limits.windowCalls;
    const codec = this.#codec = (setup.codec ?? nativeCodec)(
      this.#receiver(),
      {
        hello: { maxMessage, windowCalls, windowBytes: limits.windowBytes },
        serializer: setup.serializer,
      },
    );
    const outbox = this.#outbox = new Outbox(this.#writer, limits.maxOutbox, {
      handedOver: () => this.#handedOver(),
      written: () => this.#written(),
      writeFailed: (cause) => this.#lose("writing failed", cause),
      overflowed: () => this.#overflow(limits.maxOutbox),
    });
    const deadlines = this.#deadlines = new Deadlines(clock);
    const advance = () => this.#advance();
    const shared = { codec, outbox, deadlines, clock, limits };
    this.#pending = new Pending(
      { ...shared, emptied: advance },
      setup.firstId ?? 1,
    );
    this.#dispatch = new Dispatch({
      ...shared,
      connection: this,
      registry,
      exposeErrors: setup.exposeErrors === true,
      peerMaxMessage: () => this.#pending.maxMessage,
      onError: setup.onError ?? ignore,
      settled: advance,
    });
    this.#wait(limits.handshakeTimeout, () => this.#handshakeLate());
    codec.hello(outbox);
    this.#reading = this.#read();
  }

  /** Resolves when the window has room for a call, as a stream writer's `ready`; rejects once no call is taken any more. Ignoring it is safe. */
  get ready(): Promise<void> {
    return this.#pending.ready;
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

  /** The connection in numbers. */
  stats(): ConnectionStats {
    const pending = this.#pending;
    const dispatch = this.#dispatch;
    return {
      state: this.#state,
      inFlight: pending.inFlight,
      inFlightBytes: pending.inFlightBytes,
      queued: pending.queued,
      lateReplies: pending.lateReplies,
      held: dispatch.held,
      running: dispatch.running,
      waiting: dispatch.waiting,
      outgoingBytes: this.#outbox.size,
      chunksWritten: this.#outbox.chunks,
      listeners: pending.listeners,
      timers: this.#deadlines.size,
    };
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
      if (this.#state === "open") this.#drain(options.timeout ?? 5000);
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
    await this.closed;
  }

  /** The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // Reading.

  /** Reads until there is no more; what it throws becomes teardown here and nowhere else. */
  async #read(): Promise<void> {
    try {
      await this.#readLoop();
    } catch (error) {
      if (error instanceof ConnectionError) this.#fault(error);
      else this.#lose("reading failed", error);
    }
  }

  async #readLoop(): Promise<void> {
    for (let chunks = 1;; chunks++) {
      const { done, value } = await this.#reader.read();
      if (done) return this.#endOfStream();
      if (this.#over) this.#discard(value.length);
      else await this.#decode(value);
      if (chunks % CHUNKS_PER_TURN === 0) await this.#clock.turn();
    }
  }

  async #decode(chunk: Uint8Array): Promise<void> {
    let at = 0;
    for (;;) {
      at = this.#codec.decode(chunk, at, MESSAGES_PER_TURN);
      this.#pending.pump();
      if (at === chunk.length || this.#over) return;
      await this.#clock.turn();
      if (this.#over) return;
    }
  }

  get #over(): boolean {
    return this.#state === "finishing" || this.#state === "closed";
  }

  #discard(bytes: number): void {
    this.#discarded += bytes;
    if (this.#discarded > LINGER_BYTES) this.#destroy();
  }

  /** The peer has sent its FIN: after a GOAWAY it still reads our answers, without one it is lost. */
  #endOfStream(): void {
    if (this.#over) return;
    const { features } = this.#codec;
    try {
      this.#codec.end();
    } catch (error) {
      this.#end(error as ConnectionError, "flush");
      return;
    }
    if (features.goaway && this.#peerGoaway === undefined) {
      const text = "the peer ended the connection without a GOAWAY";
      this.#end(new ConnectionError("unavailable", text), "flush");
      return;
    }
    const text = "the peer closed the connection";
    const reason = this.#peerGoaway?.reason ??
      new ConnectionError("unavailable", text);
    // Nothing can be answered any more; what we serve still is.
    this.#pending.end(reason);
    this.#dispatch.drain();
    if (this.#state === "open") this.#state = "draining";
    this.#advance();
  }

  #receiver(): Receiver {
    return {
      hello: (hello) => {
        this.#deadlines.remove(this.#timer);
        this.#pending.greet(hello);
      },
      request: (id, method, size, remaining, metadata) =>
        this.#dispatch.request(id, method, size, remaining, metadata),
      reply: (id) => this.#pending.reply(id),
      failure: (id, started, code, message) =>
        this.#pending.failure(id, started, code, message),
      cancel: (id) => this.#dispatch.cancel(id),
      ping: (id) => this.#pong(id),
      pong: ignore,
      goaway: (lastId, code, text) => this.#peerDrains(lastId, code, text),
    };
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
    const before = this.#peerGoaway;
    const reason = new ConnectionError(
      isErrorCode(code) ? code : "unavailable",
      code === ""
        ? "the peer is closing the connection"
        : `the peer closed the connection: ${quote(code)} ${quote(text, 256)}`,
    );
    const fault = code === "" ? undefined : reason;
    const last = this.#pending.goaway(lastId, reason);
    if (before !== undefined && last > before.last) {
      throw new ConnectionError(
        "protocol_error",
        "a second GOAWAY with a higher id than the first",
      );
    }
    this.#peerGoaway = {
      last,
      reason: before?.reason ?? reason,
      fault: before?.fault ?? fault,
    };
  }

  // Writing.

  #handedOver(): void {
    this.#pending.batchHandedOver();
    this.#dispatch.batchHandedOver();
    if (this.#pongDue === undefined) return;
    const id = this.#pongDue;
    this.#pongDue = undefined;
    this.#pong(id);
  }

  #written(): void {
    if (!this.#over) {
      this.#pending.pump();
      this.#dispatch.pump();
      this.#advance();
    }
    if (this.#outbox.idle) this.#flushed?.();
  }

  // Ending.

  #drain(timeout: number): void {
    this.#state = "draining";
    const text = "this end has closed the connection";
    this.#pending.refuseNew(new ConnectionError("unavailable", text));
    this.#dispatch.drain();
    this.#sayGoaway("", "");
    this.#wait(timeout, () => {
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
    this.#end(this.#peerGoaway?.fault, "flush");
  }

  /** The peer broke the rules, or passed a limit. */
  #fault(error: ConnectionError): void {
    this.#end(error, "goaway");
  }

  #overflow(limit: number): void {
    const text = `more than ${limit} bytes wait for a peer that does not read`;
    this.#end(new ConnectionError("resource_exhausted", text), "goaway");
  }

  #handshakeLate(): void {
    const text = "the peer's HELLO did not come in time";
    this.#end(new ConnectionError("deadline_exceeded", text), "goaway");
  }

  /** The transport failed. */
  #lose(what: string, cause: unknown): void {
    const text = `the connection was lost: ${what}`;
    this.#end(new ConnectionError("unavailable", text, { cause }), "destroy");
  }

  /**
   * The one teardown. Calls are settled before anything is waited for; then
   * the last words are flushed ("goaway" adds one), or nothing is ("destroy").
   */
  #end(
    reason: ConnectionError | undefined,
    how: "flush" | "goaway" | "destroy",
  ): void {
    if (this.#over) return;
    this.#state = "finishing";
    this.#codec.stop();
    const why = reason ??
      new ConnectionError("unavailable", "the connection was closed");
    this.#pending.end(why);
    this.#dispatch.end(why);
    this.#deadlines.clear();
    if (how === "destroy") this.#destroy();
    else if (how === "goaway") this.#sayGoaway(why.code, why.message);
    this.#finish().then(() => {
      this.#state = "closed";
      this.#deadlines.clear();
      this.#closed.resolve(reason);
    });
  }

  /** Flush, FIN, linger; each bounded in time. */
  async #finish(): Promise<void> {
    this.#wait(FLUSH_TIME, () => this.#destroy());
    if (!this.#outbox.idle) {
      await new Promise<void>((resolve) => this.#flushed = resolve);
    }
    await this.#writer.close().catch(ignore);
    this.#wait(LINGER_TIME, () => this.#destroy());
    await this.#reading;
  }

  #destroy(): void {
    const reason = new ConnectionError("cancelled", "the connection is over");
    this.#writer.abort(reason).catch(ignore);
    this.#reader.cancel(reason).catch(ignore);
  }

  #wait(ms: number, then: () => void): void {
    this.#deadlines.remove(this.#timer);
    this.#timer.due = this.#clock.now() + ms;
    this.#timer.expire = then;
    this.#deadlines.add(this.#timer);
  }
}

const NOBODY: ReadonlySet<unknown> = new Set();

const nativeCodec: CodecFactory = (receiver, settings) =>
  new NativeCodec(receiver, settings);

function ignore(): void {}
