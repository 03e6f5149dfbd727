/**
 * A connection as users see it.
 *
 * Invariant owned here: none of its own. What holds for it stands with its
 * parts, which `session.ts` puts together; how it ends, in `ending.ts`.
 *
 * @module
 */

import type { CallHandle } from "../call/handle.ts";
import type { ConnectionSetup } from "./contract.ts";
import {
  type ConnectionStats,
  type LiveCall,
  NO_STREAMS,
} from "../types/stats.ts";
import type { CloseOptions, Peer } from "../types/connection.ts";
import type { AsyncDisposal } from "../types/disposal.ts";
import type { Duplex, DuplexInfo } from "../types/duplex.ts";
import { checkDuplex } from "../transport/duplex.ts";
import type { ConnectionError } from "../base/errors.ts";
import { madeCall } from "../call/call.ts";
import { servedCall } from "../serve/server_call.ts";
import type { CallOptions } from "../types/call.ts";
import type { PendingCalls } from "../call/pending_calls.ts";
import { Session } from "./connection_session.ts";

/** The calls of a connection, for who submits calls of its own making; no matter of users'. */
export let pendingOf: (connection: Connection) => PendingCalls;

/** A live connection. A {@linkcode Client} holds one; a server has one per caller, and a handler sees it as `ctx.connection`. */
export class Connection {
  /** The peer's address, where the transport knows it. */
  readonly remote: string | undefined;
  /** Resolves when the connection is over: with what went wrong, or with `undefined` if one of its ends closed it in order. Never rejects. */
  readonly closed: Promise<ConnectionError | undefined>;

  static {
    pendingOf = (connection) => connection.#pending;
  }

  readonly #transport: DuplexInfo;
  readonly #session: Session;
  readonly #pending: PendingCalls;

  /**
   * Takes the duplex over and says HELLO.
   *
   * @throws {TypeError} If it is no duplex, one of its streams is locked, the
   *   wire has no place for credentials, or the services are not callable.
   * @throws {RangeError} If a limit is out of its range, or the credentials are
   *   too long.
   */
  constructor(transport: Duplex, setup: ConnectionSetup = {}) {
    const duplex: Duplex & DuplexInfo = checkDuplex(transport);
    this.remote = duplex.remote;
    this.#transport = duplex;
    const session = this.#session = new Session(duplex, setup, this);
    this.#pending = session.pending;
    this.closed = session.ending.closed;
  }

  /** What the transport tells of the peer. */
  get peer(): Peer {
    return { remote: this.remote, certificate: this.#transport.certificate };
  }

  /** What the server's `authorize` returned for this peer; `undefined` before that, and without one. */
  get auth(): unknown {
    return this.#session.authorization?.auth;
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
    return this.#session.pings.rtt;
  }

  /** Sends a PING and resolves with the round-trip time in ms; rejects if the connection ends first. Ignoring it is safe. */
  ping(): Promise<number> {
    return this.#session.pings.send();
  }

  /** The connection in numbers. */
  stats(): ConnectionStats {
    const { pending, dispatcher, sendBuffer, pings } = this.#session;
    return {
      state: this.#session.ending.state,
      ...pending.numbers,
      ...dispatcher.numbers,
      outgoingBytes: sendBuffer.size,
      bufferedBytes: this.#session.bytes(),
      chunksWritten: sendBuffer.chunks,
      bytesWritten: sendBuffer.written,
      bytesRead: this.#session.reading.bytes,
      listeners: pending.listeners,
      timers: this.#session.deadlines.size,
      rtt: pings.rtt,
      ...(this.#session.anyStreams?.numbers ?? NO_STREAMS),
    };
  }

  /** What hangs? Every call that has not ended, those made by this end first; made when it is asked for. */
  calls(): LiveCall[] {
    const { clock, pending, dispatcher } = this.#session;
    const view = { now: clock.now(), remote: this.remote };
    return [
      ...pending.all().map((c) => madeCall(c, pending.flushed(c), view)),
      ...dispatcher.all().map((serverCall) => servedCall(serverCall, view)),
    ];
  }

  /** Keeps the process alive while the connection is open, as it does from the start; undoes `unref`. */
  ref(): void {
    this.#transport.ref?.();
    this.#session.deadlines.hold(true);
  }

  /**
   * Lets the process end although the connection is open, calls in flight or
   * not; for the idle clients of command-line programs. Of no effect for a
   * transport that cannot: a duplex of Web Streams without an `unref` of its
   * own, standard input on Deno, and where there is no process to end.
   */
  unref(): void {
    this.#transport.unref?.();
    this.#session.deadlines.hold(false);
  }

  /**
   * Drains, in this order: takes no new call; says GOAWAY; lets calls already
   * accepted and running handlers finish, within `timeout`; flushes; closes.
   * What is not finished by then is settled with its true outcome, and the peer
   * is told. Resolves within `timeout` and 1,000 ms, whatever the peer does.
   * Idempotent: every call returns the same promise, which never rejects; one
   * with a shorter `timeout` than those before shortens it.
   *
   * @throws {TypeError} If `timeout` is not a number.
   */
  close(options: CloseOptions = {}): Promise<void> {
    return this.#session.ending.close(options);
  }

  /** Ends the connection at once: nothing is flushed, calls in flight are `unknown`. Resolves when it is over. */
  abort(reason?: unknown): Promise<void> {
    return this.#session.ending.abort(reason);
  }

  /** The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Can be used with `await using`, which closes it. */
export interface Connection extends AsyncDisposal {}
