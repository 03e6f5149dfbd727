/**
 * What a connection is made with, and what plugs into it.
 *
 * The connection owns these interfaces; `serve/` and `streams/` implement them
 * and are handed in, so that a connection that serves nothing carries no server.
 *
 * @module
 */

import type { LargeReads } from "../base/large_reads.ts";
import type { ConnectionError, RpcError } from "../base/errors.ts";
import type { Clock, Tick } from "../base/clock.ts";
import type { TimerHeap } from "../base/timers.ts";
import type { ByteChannel } from "../transport/duplex.ts";
import type {
  Connection,
  ConnectionOptions,
  Credentials,
  Limits,
  PeerHello,
  ServiceDefinition,
} from "../types/connection.ts";
import type { CallObserverHub } from "../types/observe.ts";
import type {
  IncomingCallStats,
  LiveCall,
  LiveCallContext,
} from "../types/stats.ts";
import type {
  ConnectionStreams,
  IncomingStreams,
  StreamSupport,
} from "../streams/contract.ts";
import type { Codec } from "../wire/codec.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import type { SendBuffer } from "./send_buffer.ts";

/** What a client or a server makes a connection with. */
export interface ConnectionSetup extends ConnectionOptions {
  /** What the peer may call. */
  services?: ServiceDefinition | undefined;
  /** Serves them, in place of `services.serve`: a server limits all its connections together. */
  serve?: ((context: ServeContext) => ServeSide) | undefined;
  /** Makes streams; without it params and results cannot be streams. */
  streams?: StreamSupport | undefined;
  /** Watches for a peer that is silent or stuck; without it nothing is watched. */
  keepalive?: Keepalive | undefined;
  /** The credentials in the HELLO of this side. */
  credentials?: Credentials | undefined;
  /** Makes the gate that authorizes the peer; without it every peer is accepted. */
  makeGate?: ((channel: ByteChannel) => PeerGate) | undefined;
  /** The memory that this connection shares with others of its server. */
  memory?: MemoryPool | undefined;
  /** Decides when a large message may be read, for all connections of a server. */
  largeReads?: LargeReads | undefined;
  /** Called when the peer's HELLO has been read and the peer was authorized. */
  onHello?: (() => void) | undefined;
  /** Called when the peer has sent GOAWAY; the calls that it refuses have been settled. */
  onGoaway?: ((reason: ConnectionError) => void) | undefined;
}

/** What serving needs of its connection. */
export interface ServeContext {
  readonly codec: Codec;
  readonly sendBuffer: SendBuffer;
  readonly deadlines: TimerHeap;
  readonly clock: Clock;
  readonly tick: Tick;
  readonly limits: Limits;
  readonly connection: Connection;
  readonly observe: CallObserverHub | undefined;
  readonly largeReads: LargeReads | undefined;
  /** The connection's streams, made when first used; undefined without support for them. */
  streams(): ConnectionStreams | undefined;
  /** Called when a call has ended: a drain may go on. */
  settled(): void;
  /** The largest message body that the peer accepts, in bytes. */
  peerMaxMessage(): number;
}

/** The serving half of a connection: the peer's calls. */
export interface ServeSide {
  readonly numbers: IncomingCallStats;
  /** What the unanswered calls take: their bytes, what was decoded from them, and a charge for each. */
  readonly heldBytes: number;
  /** Calls that occupy the receive window. */
  readonly held: number;
  /** Whether no further call may be read, on a protocol without windows. */
  readonly full: boolean;
  /** The id of the latest call, if there was one. */
  readonly lastId: number | undefined;
  /** The call whose handler is on the stack now. */
  readonly current: object | undefined;
  /** Why the connection drains, if it does. */
  readonly leaving: RpcError | undefined;
  /** How many calls run or wait, without those in `except`. */
  busy(except?: ReadonlySet<unknown>): number;
  /** Lists the calls that have no answer yet, in the order they came. */
  calls(context: LiveCallContext): LiveCall[];
  /** A call has come; its payload is the codec's current one. */
  request(
    id: number,
    method: string,
    size: number,
    remaining: number,
    metadata: MetadataBlock | undefined,
  ): void;
  /** The peer cancels a call. */
  cancel(id: number): void;
  /** The streams of a call: `null` if it has none, undefined if it is over. */
  streamsOf(id: number): IncomingStreams | null | undefined;
  /** The peer is authorized: handlers may start. */
  open(): void;
  /** Starts the calls that wait and may start. */
  startWaiting(): void;
  /** A batch was handed to the transport: the calls answered in it free their places. */
  onFlush(): void;
  /** The reply to a call lost its bytes before it was handed over. */
  spoiled(id: number): void;
  /** Refuses every request from now on. */
  drain(why: string): void;
  /** Fires `ctx.draining` of the calls that are served now, and of those that come. */
  tellDraining(why: string): void;
  /** The peer sends nothing more. */
  halfClosed(reason: ConnectionError): void;
  /** Refuses the calls that were never started; returns the last id for GOAWAY. */
  refuseUnstarted(lastId: number | undefined): number | undefined;
  /** The connection is over: signals fire, and nothing is answered. */
  end(reason: ConnectionError): void;
}

/** Decides whether a peer is accepted, and holds back what is written until then. */
export interface PeerGate extends Pick<ByteChannel, "write" | "borrows"> {
  /** What `authorize` returned. */
  readonly auth: unknown;
  /** Whether `authorize` was called. */
  readonly asked: boolean;
  /** Whether there is no decision yet. */
  readonly pending: boolean;
  /** Asks for the decision. */
  ask(
    hello: PeerHello,
    connection: Connection,
    events: PeerGateEvents,
  ): Promise<void>;
  /** Drops the decision, and what was held back; false if there was a decision. */
  drop(): boolean;
}

/** The decision of a {@linkcode PeerGate}: one of these is called once, unless it is dropped. */
export interface PeerGateEvents {
  accepted(): void;
  denied(reason: ConnectionError): void;
}

/** The memory that the connections of a server share. */
export interface MemoryPool {
  /** A connection reports again when its outgoing bytes have grown by this many. */
  readonly step: number;
  /** Adds a connection. */
  share(holder: MemoryHolder): MemoryShare;
}

/** What one connection holds of the shared memory. */
export interface MemoryShare {
  /** Reads again what the connection holds. */
  recordProgress(): void;
  /** The connection is over. Idempotent. */
  end(): void;
}

/** A connection, as the memory pool sees it. */
export interface MemoryHolder {
  /** Bytes that it holds now. */
  bytesHeld(): number;
  /** Closes it, without what can still be taken back. Returns whether it ended at once. */
  shed(reason: ConnectionError): boolean;
}

/** What is watched, as the watchdog sees it. */
export interface WatchdogEvents {
  /** Asks the peer whether it is there. */
  sendPing(): void;
  /** Which message has begun and not ended, if one has. */
  unfinished(): number | undefined;
  /** A number that differs if there were calls since it was last asked for; undefined while there are some. */
  activity(): number | undefined;
  /** A time has passed that may not. */
  onExpired(code: "unavailable" | "deadline_exceeded", text: string): void;
  /** Nothing was called for `idleTimeout`. */
  onIdle(): void;
}

/** Watches one connection from the peer's HELLO on. */
export interface Watchdog {
  /** Whether the peer's HELLO has come. */
  readonly running: boolean;
  start(): void;
  stop(): void;
  /** The peer has sent GOAWAY: it may be idle for no longer than this. */
  leave(idleTimeout: number): void;
  /** The peer's FIN has come. */
  onPeerHalfClose(): void;
  /** A chunk was read. */
  heard(): void;
  /** A batch was handed to the transport. */
  writing(): void;
  /** The transport has taken all of it. */
  written(): void;
}

/** Makes the watchdog of one connection; made by {@linkcode keepalive}. */
export type Keepalive = (
  clock: Clock,
  limits: Limits,
  events: WatchdogEvents,
  canPing: boolean,
) => Watchdog;
