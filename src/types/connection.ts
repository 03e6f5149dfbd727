/**
 * What users see of a connection: its options, its limits and what it knows of the peer.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { ConnectionError } from "../base/errors.ts";
import type { Caller } from "./call.ts";
import type { AsyncDisposal, PeerCertificate } from "./duplex.ts";
import type { ConnectionStats, LiveCall } from "./stats.ts";

import type { Optional } from "./optional.ts";

/** What the transport tells of a peer. */
export interface Peer {
  /** Its address, where the transport knows it. */
  readonly remote: string | undefined;
  /** What it showed in the TLS handshake, and was verified; `undefined` if nothing, or on Deno, which does not tell. */
  readonly certificate: PeerCertificate | undefined;
}

/** A live connection. A {@linkcode Client} holds one; a server has one for each caller, and a handler sees it as `ctx.connection`. */
export interface Connection extends Caller, AsyncDisposal {
  /** The peer's address, where the transport knows it. */
  readonly remote: string | undefined;
  /** What the transport tells of the peer. */
  readonly peer: Peer;
  /** What the server's `authorize` returned for this peer; `undefined` before that, and without one. */
  readonly auth: unknown;
  /** Resolves when the connection is over: with what went wrong, or with `undefined` if one of its ends closed it in order. Never rejects. */
  readonly closed: Promise<ConnectionError | undefined>;
  /** Resolves when the window has room for a call, as a stream writer's `ready`; rejects once no call is taken any more. Ignoring it is safe. */
  readonly ready: Promise<void>;
  /** How many calls the window has room for, as a stream writer's `desiredSize`; see {@linkcode Client.desiredSize}. */
  readonly desiredSize: number;
  /** Milliseconds that the latest PING and its PONG took; undefined before. The library sends one by itself only to a peer that is silent. */
  readonly rtt: number | undefined;
  /** Sends a PING and resolves with the round-trip time in ms; rejects if the connection ends first. Ignoring it is safe. */
  ping(): Promise<number>;
  /** The connection in numbers. */
  stats(): ConnectionStats;
  /** What hangs? Every call that has not ended, those made by this end first; made when it is asked for. */
  calls(): LiveCall[];
  /** Keeps the process alive while the connection is open, as it does from the start; undoes `unref`. */
  ref(): void;
  /**
   * Lets the process end although the connection is open, calls in flight or
   * not; for the idle clients of command-line programs. Of no effect for a
   * transport that cannot: a duplex of Web Streams without an `unref` of its
   * own, standard input on Deno, and where there is no process to end.
   */
  unref(): void;
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
  close(options?: CloseOptions): Promise<void>;
  /** Ends the connection at once: nothing is flushed, calls in flight are `unknown`. Resolves when it is over. */
  abort(reason?: unknown): Promise<void>;
}

/** What a call that failed on our side was, for `onError`. */
export interface CallInfo {
  /** The method called. */
  readonly method: string;
  /** The call's id on its connection. */
  readonly id: number;
}

/** Where an error that `onError` is told came from; all undefined for one of accepting. */
export interface ErrorInfo extends Partial<CallInfo> {
  /** The connection it came by. */
  readonly connection?: Connection | undefined;
}

/**
 * Services that are ready to be served; made by {@linkcode callable}. Its
 * members are for the library.
 */
export interface ServiceDefinition {
  /** The methods by dotted name. */
  readonly methods: ReadonlyMap<string, object>;
  /** Makes what serves them on one connection. */
  readonly serve: (context: never) => object;
  /** Reports an error that callers do not receive; never throws. */
  readonly onError: (error: unknown, info: ErrorInfo) => void;
}

/** Streams as a feature of a client; made by {@linkcode streams}. Its members are for the library. */
export interface StreamFeature {
  /** The frames of streams. */
  readonly codec: object;
  /** Makes the streams of one connection. */
  readonly table: (context: never) => object;
}

/** Keepalive as a feature of a client; made by {@linkcode keepalive}. Calling it is for the library. */
export type KeepaliveFeature = (...args: never) => object;

/** What both ends of a connection can set. */
export interface ConnectionOptions extends Optional<Limits> {
  /** Replaces JSON; both ends must have one of the same name. */
  serializer?: Serializer | undefined;
  /** Another wire than the native one; both ends must speak the same. */
  protocol?: Protocol | undefined;
  /** Time, for tests. */
  clock?: Clock | undefined;
  /** Who is told of each call that begins and ends, either way; see {@linkcode observers}. */
  observe?: Observers | undefined;
  /** The first call's id, for tests. Default 1. */
  firstId?: number | undefined;
}

/**
 * How a connection is closed.
 *
 * @example A feed that would never end
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { type CallContext, Client, memoryPair, Server } from "@sluice/rpc";
 *
 * const services = {
 *   Feed: {
 *     async *ticks(_: undefined, { draining }: CallContext) {
 *       for (let n = 1;; n++) {
 *         yield n;
 *         if (n === 3) await new Promise((resolve) => draining.onabort = resolve);
 *       }
 *     },
 *   },
 * };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 * const client = new Client<typeof services>(near);
 *
 * const seen: number[] = [];
 * for await (const n of await client.call("Feed.ticks")) {
 *   seen.push(n);
 *   if (n === 3) server.close({ streams: "end" });
 * }
 * assertEquals(seen.slice(0, 3), [1, 2, 3]);
 * await client.close();
 * ```
 */
export interface CloseOptions {
  /**
   * Milliseconds for accepted calls and running handlers to finish. Default
   * 5,000. It holds whatever the connection's state is, and the shortest that
   * was asked for holds; 1,000 ms later the connection is over in any case.
   */
  timeout?: number | undefined;
  /**
   * What becomes of results that are streams: a drain lets them `finish` (the
   * default), or `end`s them in order. Then each source is asked for no more
   * (an iterator's `return` is called, a `ReadableStream` cancelled), and its
   * reader finds the end behind what had come; `ctx.draining` has fired before.
   */
  streams?: "finish" | "end" | undefined;
  /** The `ctx` of the handler that closes its own connection: it is not waited for. */
  ctx?: object | undefined;
}

/** What a client shows: a text, or any bytes; at most 15,360 bytes, of text as UTF-8. The server gets what was given: a string or a `Uint8Array`. */
export type Credentials = string | Uint8Array;

/** Gives credentials anew for each dial. Its signal fires when they are not wanted any more; what it throws fails the dial. */
export type CredentialsSource = (
  signal: AbortSignal,
) => Credentials | Promise<Credentials>;

/** Observers of calls, for the option `observe`; made by {@linkcode observers}, and by nothing else. */
export interface Observers {
  /** Whether anybody wants to know of a call that begins now. */
  readonly active: boolean;
}

/** How values change on the way: as JSON does it, or not at all, with a serializer that says so. */
export type WireMap = "json" | "exact";

/** What an end tells the other in its first message. */
export interface PeerHello {
  /** Largest message body accepted, in bytes. */
  readonly maxMessage: number;
  /** Calls accepted at once. */
  readonly windowCalls: number;
  /** Bytes of calls accepted at once, headers included. */
  readonly windowBytes: number;
  /** Who it says it is, if it does and the wire can: a string if it gave text, else bytes. */
  readonly credentials?: Credentials;
  /** What it grants for streams; undefined if it takes none. */
  readonly streams?: StreamGrant;
}

/**
 * Another wire than the native one, for the `wire` option of a client or a
 * server; made by an entry point such as `@sluice/rpc/netrpc`.
 */
export interface Protocol<M extends WireMap = WireMap> {
  /** For messages. */
  readonly name: string;
  /** How values change on the way. */
  readonly values?: M;
  /** Whether values travel as JSON text, so that they can be fixed as such before they are sent. */
  readonly json?: boolean;
  /** Makes the codec of one connection; the library's own business. */
  readonly codec: (receiver: never, settings: never) => object;
}

/** What an end grants for the streams that come to it. */
export interface StreamGrant {
  /** Bytes of each that may come before its reader grants more. */
  readonly credit: number;
  /** How many may be open at once. */
  readonly max: number;
}

/** The limits of one connection; each end has its own. */
export interface Limits {
  /** Largest message body accepted, in bytes. Default 4 MiB; at least 16 KiB, at most 1 GiB. */
  readonly maxMessage: number;
  /** Calls the peer may have with us at once. Default 4,096; at most 2^24; 0 serves nothing. */
  readonly windowCalls: number;
  /** Bytes of such calls, headers included. Default 16 MiB, or room for one message of `maxMessage` if that is more; at most 2^32 - 1. */
  readonly windowBytes: number;
  /** Handlers that run at once. Default 1,024. */
  readonly maxRunning: number;
  /** Calls of ours that may wait for the peer's window. Default 1,048,576. */
  readonly maxQueuedCalls: number;
  /** Bytes of such calls. Default 256 MiB. */
  readonly maxQueuedBytes: number;
  /** Outgoing bytes above which no new handler is started. Default 1 MiB. */
  readonly highWaterMark: number;
  /** Most outgoing bytes: the frame that would pass it is not kept, and the connection ends. Default 64 MiB, or twice `maxMessage` if that is more; at least 64 KiB. */
  readonly maxSendBuffer: number;
  /** Bytes of each stream that the peer may send before its reader reads. Default 64 KiB; 16 KiB to 1 MiB. */
  readonly streamCredit: number;
  /** Streams that may be open towards us at once. Default 1,024; 0 takes none; at most 2^32 - 1. */
  readonly maxStreams: number;
  /** Bytes that the windows of all streams may grow by, for readers that keep up and for large items. Default 16 MiB. */
  readonly streamBudget: number;
  /** Milliseconds for the peer's first message to come. Default 10,000. */
  readonly handshakeTimeout: number;
  /** Milliseconds without a byte from the peer after which it is sent a PING. Default 30,000; `Infinity` for never. */
  readonly keepaliveTime: number;
  /** Milliseconds for that PING to be answered by any byte at all; else the peer counts as gone. Default 20,000. */
  readonly keepaliveTimeout: number;
  /** Milliseconds for the transport to take a batch; a peer that does not read is let go. Default 60,000. */
  readonly writeTimeout: number;
  /** Milliseconds for a message that has begun to arrive whole. Default 60,000. */
  readonly messageTimeout: number;
  /** Milliseconds for the calls of a peer that has closed its half in order, and so answers no PING. Default 300,000; `Infinity` for no limit. */
  readonly halfCloseTimeout: number;
  /** Milliseconds without a call in either direction after which the connection is closed. Default `Infinity`. */
  readonly idleTimeout: number;
}

/**
 * Replaces JSON for values that are neither `undefined`, a string nor a
 * `Uint8Array`. Both ends must use one of the same name: it is told in HELLO,
 * and a connection between two that differ closes with `serializer_mismatch`.
 *
 * @example
 * ```ts
 * import type { Serializer } from "@sluice/rpc";
 *
 * const dates: Serializer = {
 *   name: "epoch-millis",
 *   encode: (value) => new TextEncoder().encode(String((value as Date).getTime())),
 *   decode: (bytes) => new Date(Number(new TextDecoder().decode(bytes))),
 * };
 * ```
 */
export interface Serializer {
  /** Told to the peer; at most 255 bytes of UTF-8. */
  readonly name: string;
  /** A value's bytes; they are the library's from then on. What it throws fails that call alone. */
  encode(value: unknown): Uint8Array;
  /** The value again; `bytes` is its own to keep. What it throws fails that call alone. */
  decode(bytes: Uint8Array): unknown;
}
