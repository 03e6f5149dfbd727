/**
 * What users see of a connection: its options, its limits, and what it knows of
 * the peer.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { ConnectionError } from "../base/errors.ts";
import type { Caller } from "./call.ts";
import type {
  AsyncDisposal,
  PeerCertificate,
  UpgradeRequest,
} from "./duplex.ts";
import type { Optional } from "./optional.ts";
import type { ConnectionStats, LiveCall } from "./stats.ts";

/** What the transport knows of the peer. */
export interface Peer {
  /** The peer's address, such as `127.0.0.1:80`; `undefined` if the transport does not know it. */
  readonly remote: string | undefined;
  /** The certificate that the peer showed in the TLS handshake and that was verified; `undefined` if it showed none, and on Deno, which does not disclose it. */
  readonly certificate: PeerCertificate | undefined;
  /** The HTTP request that has become the connection, with its cookies and its `Origin`; `undefined` if it was none. */
  readonly request: UpgradeRequest | undefined;
}

/**
 * A connection to one peer: makes calls, and can be watched and closed. A
 * {@linkcode Client} has one; a server has one for each client, and a handler
 * finds it as `ctx.connection`.
 *
 * @example A handler that calls its client back
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { type CallContext, callable, Client, memoryPair, Server } from "@sluice/rpc";
 *
 * const services = {
 *   Greeter: {
 *     greet: async (_: undefined, { connection }: CallContext) =>
 *       `hello, ${await connection.call("Me.name")}`,
 *   },
 * };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 * const client = new Client<typeof services>(near, {
 *   services: callable({ Me: { name: () => "ada" } }),
 * });
 * assertEquals(await client.call("Greeter.greet"), "hello, ada");
 * await client.close();
 * await server.close();
 * ```
 */
export interface Connection extends Caller, AsyncDisposal {
  /** The peer's address; `undefined` if the transport does not know it. */
  readonly remote: string | undefined;
  /** What the transport knows of the peer: its address, and its certificate over TLS. */
  readonly peer: Peer;
  /** What the server's `authorize` returned for this peer; `undefined` before it has, and without one. */
  readonly auth: unknown;
  /** Resolves when the peer's HELLO has arrived and, on a server with `authorize`, the peer was accepted: from then on the peer's limits apply. Rejects with a {@linkcode ConnectionError} if the connection is closed before. Ignoring it is safe. */
  readonly opened: Promise<void>;
  /** Resolves when the connection begins to end: either side drains, or it is closed already. Calls in flight may still be answered; new ones belong on another connection. Never rejects. */
  readonly draining: Promise<void>;
  /** Resolves when the connection is closed: with the fault that ended it, or with `undefined` after a graceful close by either side. Never rejects. */
  readonly closed: Promise<ConnectionError | undefined>;
  /** Resolves when the peer's window has room for a call, like `ready` of a stream's writer. Rejects once the connection accepts no more calls. Ignoring it is safe. */
  readonly ready: Promise<void>;
  /** How many calls the peer's window has room for, like `desiredSize` of a stream's writer; negative by the calls that wait. See {@linkcode Client.desiredSize}. */
  readonly desiredSize: number;
  /** The round-trip time of the latest PING, in ms; `undefined` until one was answered. The library sends a PING by itself only to a silent peer. */
  readonly rtt: number | undefined;
  /** Sends a PING; resolves with its round-trip time in ms. Rejects if the connection ends first. Ignoring it is safe. */
  ping(): Promise<number>;
  /** Returns numbers of the connection: calls, bytes, streams, timers. */
  stats(): ConnectionStats;
  /**
   * Changes how many calls the peer may have in flight, and how many bytes of
   * them: the limits `windowCalls` and `windowBytes`, while the connection
   * lives. A number that is left out stays as it is. For a server that sheds
   * load, and for a worker that wants fewer calls to wait for it; see
   * {@linkcode Server.setWindow} for all connections of a server.
   *
   * - The peer's calls that are in flight stay. Its other calls wait on its side
   *   until they fit; with 0 calls, all of them wait until the window is raised.
   *   None of them fails, unless its deadline passes.
   * - A lower window holds from when the peer has confirmed it, a round trip
   *   later. `stats()` shows the window that holds.
   * - Changes that follow each other faster than that are joined: the last one
   *   counts.
   * - A peer that cannot be told (another implementation, whose `movesWindow` is
   *   false) keeps the window that it has. Nothing happens either once the
   *   connection is draining.
   *
   * @throws {TypeError} If this side serves no calls, or the protocol has no
   *   windows.
   * @throws {RangeError} If `windowCalls` is not from 0 to 2^24, or
   *   `windowBytes` not from one message of `maxMessage` (or the limit
   *   `windowBytes`, if that is less) to 2^32 - 1.
   *
   * @example A server that takes no new calls for a while
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { Client, echoServices, memoryPair, Server } from "@sluice/rpc";
   *
   * const [near, far] = memoryPair();
   * const server = new Server(echoServices());
   * const connection = server.accept(far);
   * const client = new Client<ReturnType<typeof echoServices>>(near);
   *
   * connection.setWindow({ windowCalls: 0 });
   * await client.call("HelloService.Hello", "y"); // Its reply comes behind that.
   * const call = client.call("HelloService.Hello", "x");
   * assertEquals(client.stats().queued, 1);
   * connection.setWindow({ windowCalls: 100 });
   * assertEquals(await call, "hello:x");
   * await client.close();
   * await server.close();
   * ```
   */
  setWindow(window: Partial<CallWindow>): void;
  /** Lists the calls in flight, outgoing calls first. Use it to find requests that hang. */
  calls(): LiveCall[];
  /** Keeps the process alive while the connection is open, which is the default; undoes `unref`. */
  ref(): void;
  /**
   * Lets the process exit while the connection is open, even with calls in
   * flight: for idle clients of command-line programs. Has no effect on a
   * duplex of Web Streams without an `unref` of its own, and on standard input
   * on Deno.
   */
  unref(): void;
  /**
   * Closes the connection gracefully. It makes no new calls and warns the peer,
   * serves the calls that the peer has made before it read that, sends GOAWAY,
   * lets accepted calls and running handlers finish, sends what is buffered,
   * and closes the transport, in this order. With a `timeout` of 0 there is no
   * warning.
   *
   * Calls that are not finished within `timeout` are settled with their true
   * outcome. The promise resolves at most 1,000 ms after that, whatever the peer
   * does, and never rejects. Closing again returns the same promise; a shorter
   * `timeout` then replaces the longer one.
   *
   * @throws {TypeError} If `timeout` is not a number.
   */
  close(options?: CloseOptions): Promise<void>;
  /** Ends the connection at once, without sending what is buffered: calls in flight reject, with outcome `unknown` if they were sent. Resolves when the connection is closed; never rejects. */
  abort(reason?: unknown): Promise<void>;
}

/** Which call failed, for `onError`. */
export interface CallInfo {
  /** The method called. */
  readonly method: string;
  /** The call's id on its connection. */
  readonly id: number;
}

/** Where an error came from, for `onError`. All members are undefined if it happened while a connection was accepted. */
export interface ErrorInfo extends Partial<CallInfo> {
  /** The connection of the call. */
  readonly connection?: Connection | undefined;
}

/** Services that are ready to be served; made by {@linkcode callable}. Its members are for the library. */
export interface ServiceDefinition {
  /** The methods by dotted name. */
  readonly methods: ReadonlyMap<string, object>;
  /** Makes the part of one connection that serves them. */
  readonly serve: (context: never) => object;
  /** Reports an error that callers do not receive. Never throws. */
  readonly onError: (error: unknown, info: ErrorInfo) => void;
}

/** Streams as a feature of a client; made by {@linkcode streams}. Its members are for the library. */
export interface StreamFeature {
  /** Writes and reads the frames of streams. */
  readonly codec: object;
  /** Makes the streams of one connection. */
  readonly table: (context: never) => object;
}

/** Large messages in fragments as a feature of a client; made by {@linkcode fragments}. Its members are for the library. */
export interface FragmentFeature {
  /** Puts together what arrives on one connection. */
  readonly reader: (...args: never) => object;
  /** Writes one message. */
  readonly writer: (...args: never) => object;
  /** Decides what one connection writes next. */
  readonly scheduler: (...args: never) => object;
}

/** Keepalive as a feature of a client; made by {@linkcode keepalive}. Only the library calls it. */
export type KeepaliveFeature = (...args: never) => object;

/**
 * Options that clients and servers share; every member may be left out.
 *
 * A limit outside its range throws a `RangeError` when the client or the server
 * is made.
 *
 * @example Larger messages, fewer calls at the same time
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, type ConnectionOptions, echoServices, memoryPair, Server } from "@sluice/rpc";
 *
 * const options: ConnectionOptions = {
 *   maxMessage: 16 * 1024 * 1024,
 *   windowCalls: 100,
 * };
 * const [near, far] = memoryPair();
 * const server = new Server(echoServices(), options);
 * server.accept(far);
 * const client = new Client<ReturnType<typeof echoServices>>(near, options);
 * const bytes = new Uint8Array(5 * 1024 * 1024);
 * assertEquals(await client.call("Echo.echo", bytes), bytes);
 * await client.close();
 * await server.close();
 * ```
 */
export interface ConnectionOptions extends Optional<Limits> {
  /** Encodes values in place of JSON: one serializer, or several, made by {@linkcode serializers}. Both sides need a common one, or the connection closes with `serializer_mismatch`. */
  serializer?: Serializer | SerializerList | undefined;
  /** The protocol on the wire, such as `netrpc()`; by default Sluice's own. Both sides need the same. */
  protocol?: Protocol | undefined;
  /** The source of time; for tests. By default the platform's. */
  clock?: Clock | undefined;
  /** Observers that are notified when a call in either direction starts and ends; made by {@linkcode observers}. */
  observe?: Observers | undefined;
  /** The id of the first call; for tests. Default 1. */
  firstId?: number | undefined;
}

/**
 * How long closing may take, and what becomes of streams.
 *
 * @example End a feed that would never end by itself
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
   * Milliseconds for accepted calls and running handlers to finish; 0 for none,
   * `Infinity` for as long as they take. Default 5,000. If `close` is called
   * several times, the shortest holds. At most 1,000 ms later the connection is
   * closed.
   */
  timeout?: number | undefined;
  /**
   * What becomes of results that are streams. With `finish`, the default,
   * closing waits for them as for any call. With `end` it ends them in order:
   * after `ctx.draining` has fired, an iterator's `return` is called, or the
   * `ReadableStream` cancelled, and the reader finds the end of the stream
   * behind the items that were sent.
   */
  streams?: "finish" | "end" | undefined;
  /** The `ctx` of the handler that calls `close`: closing does not wait for this handler, so it may await `close`. */
  ctx?: object | undefined;
}

/** Credentials that a client shows to a server's `authorize`: text or bytes, at most 15,360 bytes (of text as UTF-8). The server receives a string or a `Uint8Array`, as it was given. */
export type Credentials = string | Uint8Array;

/** Returns credentials for each dial of a reconnecting client. The signal fires when the dial is given up. The dial fails with what this function throws. */
export type CredentialsSource = (
  signal: AbortSignal,
) => Credentials | Promise<Credentials>;

/** Observers of calls, for the option `observe`; made only by {@linkcode observers}. */
export interface Observers {
  /** Whether any observer wants to be notified of a call that starts now. */
  readonly active: boolean;
}

/** How values change between sender and receiver, for types: as JSON changes them (`json`), as the serializer {@linkcode rich} does (`rich`), or not at all (`exact`). */
export type WireMap = "json" | "rich" | "exact";

/** What the peer has sent in HELLO, its first message: the limits that calls to it must keep, and its credentials. A server's `authorize` receives it. */
export interface PeerHello {
  /** The largest message body that the peer accepts, in bytes. */
  readonly maxMessage: number;
  /** How many calls the peer accepts at the same time. */
  readonly windowCalls: number;
  /** How many request bytes of those calls the peer accepts, headers included. */
  readonly windowBytes: number;
  /** Whether the peer takes changes of the window that this side grants it: see {@linkcode Connection.setWindow}. */
  readonly movesWindow?: boolean;
  /** The peer's credentials: a string if it gave text, else bytes. Undefined if it gave none, or the protocol has none. */
  readonly credentials?: Credentials;
  /** The names of the peer's serializers in its order of preference, with a space between; undefined if it has JSON alone, or the protocol has none. */
  readonly serializers?: string | undefined;
  /** The streams that the peer accepts; undefined if it accepts none. */
  readonly streams?: StreamGrant;
  /** Whether the peer keeps results for dependent calls: see {@linkcode ref}. */
  readonly keepsResults?: boolean | undefined;
  /** Whether the peer reads large messages in fragments, so that others can pass between. */
  readonly fragments?: boolean;
}

/** A protocol in place of Sluice's own, for the option `protocol`; made by an entry point such as `@sluice/rpc/netrpc`. Its members are for the library. */
export interface Protocol<M extends WireMap = WireMap> {
  /** The protocol's name, for error messages. */
  readonly name: string;
  /** How values change between sender and receiver. */
  readonly values?: M;
  /** Whether values travel as JSON text: a call that waits is then encoded when it is made. */
  readonly json?: boolean;
  /** Makes the codec of one connection. */
  readonly codec: (receiver: never, settings: never) => object;
}

/** How many calls, and how many request bytes of calls, one side may have in flight. */
export interface CallWindow {
  /** Calls. */
  readonly windowCalls: number;
  /** Their request bytes, headers included. */
  readonly windowBytes: number;
}

/** The streams that one side accepts from the other. */
export interface StreamGrant {
  /** Bytes of each stream that may be sent before its reader grants more. */
  readonly credit: number;
  /** How many streams may be open at the same time. */
  readonly max: number;
  /** Bytes of all streams together that may be sent before their readers grant more. */
  readonly connectionCredit: number;
}

/**
 * The limits of one connection. Each side sets its own; sizes are in bytes,
 * times in milliseconds. All are whole numbers or, where there is no upper
 * bound, `Infinity`. `docs/limits.md` says what happens when one is exceeded.
 *
 * @example Fail fast in place of a long queue
 * ```ts
 * import { assertEquals, assertRejects } from "@std/assert";
 * import { Client, memoryPair, RpcError, Server } from "@sluice/rpc";
 *
 * const services = { Slow: { wait: () => new Promise<string>(() => {}) } };
 * const [near, far] = memoryPair();
 * const server = new Server(services, { windowCalls: 1 });
 * server.accept(far);
 * const client = new Client<typeof services>(near, { maxQueuedCalls: 0 });
 * await client.connection.ping(); // The server's limits are known now.
 * client.go("Slow.wait");
 * const error = await assertRejects(() => client.call("Slow.wait"), RpcError);
 * assertEquals([error.code, error.outcome], ["resource_exhausted", "not_sent"]);
 * await client.close({ timeout: 0 });
 * await server.close({ timeout: 0 });
 * ```
 */
export interface Limits {
  /** The largest message body that this side accepts, in bytes. A peer that sends more is disconnected. Default 4 MiB; from 16 KiB to 1 GiB. */
  readonly maxMessage: number;
  /** How many calls of the peer may be in flight. Well-behaved callers queue the rest. Default 4,096; at most 2^24. With 0 this side serves no calls. */
  readonly windowCalls: number;
  /** Request bytes of those calls, headers included. Default 16 MiB, or room for one message of `maxMessage` if that is more; at most 2^32 - 1. */
  readonly windowBytes: number;
  /** How many handlers may run at the same time. Further calls wait. Default 1,024; at least 1. */
  readonly maxRunning: number;
  /** How many outgoing calls may wait for the peer's window. The next one is rejected: `resource_exhausted`, outcome `not_sent`. Default 1,048,576; 0 lets none wait. */
  readonly maxQueuedCalls: number;
  /** Request bytes of those calls. Default 256 MiB. */
  readonly maxQueuedBytes: number;
  /** Unsent bytes above which this side starts no further handler. Default 1 MiB; at least 1. */
  readonly highWaterMark: number;
  /** The most unsent bytes. A frame that would exceed it is dropped, and the connection ends: `resource_exhausted`. Default 64 MiB, or twice `maxMessage` if that is more; at least 64 KiB. */
  readonly maxSendBuffer: number;
  /** Bytes of one incoming stream that the peer may send before they are read. Default 64 KiB; from 16 KiB to 1 MiB. */
  readonly streamCredit: number;
  /** How many incoming streams may be open at the same time. Default 1,024; at most 2^32 - 1. With 0 this side accepts none. */
  readonly maxStreams: number;
  /** Bytes of all incoming streams together that the peer may send before they are read. Streams that nobody reads use it up, and then hold up the others: read them or cancel them. Default 16 MiB; from 64 KiB to 2^31 - 1. */
  readonly connectionCredit: number;
  /** Time for the peer's HELLO to arrive, and for `authorize`; when it is over, the connection ends. Default 10,000. */
  readonly handshakeTimeout: number;
  /** Time without a byte from the peer, after which this side sends a PING. Default 30,000; `Infinity` for never. */
  readonly keepaliveTime: number;
  /** Time from that PING to the next byte from the peer; when it is over, the connection counts as lost. Default 20,000. */
  readonly keepaliveTimeout: number;
  /** Time for the transport to take one batch of bytes; a peer that reads nothing for so long is disconnected. Default 60,000. */
  readonly writeTimeout: number;
  /** Time from the first to the last byte of one message; when it is over, the connection ends. Default 60,000. */
  readonly messageTimeout: number;
  /** Time for the calls of a peer that has closed its sending half in order, and so answers no PING. Default 300,000; `Infinity` for no limit. */
  readonly halfCloseTimeout: number;
  /** Time without a call in either direction, after which this side closes the connection gracefully. Default `Infinity`. */
  readonly idleTimeout: number;
}

/** Several serializers in order of preference; made by {@linkcode serializers}. Its members are for the library. */
export interface SerializerList {
  /** Their names, with a space between. */
  readonly names: string;
  /** Chooses one. */
  readonly agree: (...args: never) => unknown;
  /** Encodes with each. */
  readonly forms: (...args: never) => object;
  /** Makes the encoder of one connection. */
  readonly encoder: (...args: never) => object;
}

/** The option `serializer`: one, or several in order of preference, in which `"json"` stands for JSON. */
export type SerializerOption<M extends WireMap = WireMap> =
  | (Serializer | SerializerList) & { readonly wire?: M }
  | readonly (Serializer & { readonly wire?: M } | "json")[];

/**
 * Encodes values in place of JSON; for the option `serializer`. It receives all
 * values but `undefined`, strings and `Uint8Array`s, which travel as they are.
 * Both sides need a serializer of the same name: HELLO carries the names, and
 * if none is common the connection closes with `serializer_mismatch`.
 *
 * @example Dates that stay dates
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
  /** The name that both sides must agree on; not `json`, without spaces and control characters, and with the other names of a list at most 255 bytes of UTF-8. */
  readonly name: string;
  /** Returns a value's bytes, which it must not change afterwards. If it throws, only that call fails. */
  encode(value: unknown): Uint8Array;
  /** Returns the value; it may keep `bytes`. If it throws, only that call fails. */
  decode(bytes: Uint8Array): unknown;
}
