/**
 * What a connection is made with, and what plugs into it.
 *
 * The connection owns these interfaces. `serve/`, `streams/` and `watchdog.ts`
 * implement them and are passed in, so that a client that does not use a
 * feature does not carry its code.
 *
 * @module
 */

import type { Clock, Tick } from "../base/clock.ts";
import type { ConnectionError, RpcError } from "../base/errors.ts";
import type { LargeReads } from "../base/large_reads.ts";
import type { TimerHeap } from "../base/timers.ts";
import type {
  CallWindow,
  Connection,
  ConnectionOptions,
  Credentials,
  KeepaliveFeature,
  Limits,
  PeerHello,
  Protocol,
  ServiceDefinition,
} from "../types/connection.ts";
import type { CallObserverHub } from "../types/observe.ts";
import type {
  IncomingCallStats,
  LiveCall,
  LiveCallContext,
} from "../types/stats.ts";
import type {
  Codec,
  CodecFactory,
  CodecSettings,
  FragmentSupport,
  RequestLinks,
} from "../wire/codec.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import type { WriteScheduler } from "../wire/fragments/write_scheduler.ts";
import type { AnySerializer } from "../wire/values/serializers.ts";
import type { ByteChannel } from "../transport/duplex.ts";
import type {
  ConnectionStreams,
  IncomingStreams,
  StreamSupport,
} from "../streams/contract.ts";
import type { ReceiveWindow } from "./receive_window.ts";
import type { SendBuffer } from "./send_buffer.ts";

/** What a client or a server makes a connection with: their options, with the types that only the library knows. */
export interface ConnectionSetup
  extends Omit<ConnectionOptions, "observe" | "protocol" | "serializer"> {
  /** Replaces JSON. */
  serializer?: AnySerializer;
  /** Is notified of calls. */
  observe?: CallObserverHub | undefined;
  /** The protocol on the wire. */
  protocol?: ProtocolSetup | undefined;
  /** What the peer may call. */
  services?: ServiceSetup | undefined;
  /** Makes streams; without it params and results cannot be streams. */
  streams?: StreamSupport | undefined;
  /** Reads and writes large messages in fragments; without it each is sent whole. */
  fragments?: FragmentSupport | undefined;
  /** Watches for a peer that is silent or stuck; made by `keepalive()`. Without it nothing is watched. */
  keepalive?: KeepaliveFeature | undefined;
  /** The credentials in the local HELLO. */
  credentials?: Credentials | undefined;
  /** Makes the gate that authorizes the peer; without it every peer is accepted. */
  makeGate?: ((channel: ByteChannel) => PeerGate) | undefined;
  /** The memory that this connection shares with others of its server. */
  memory?: MemoryPool | undefined;
  /** Decides when a large message may be read, for all connections of a server. */
  largeReads?: LargeReads | undefined;
  /** Called when the peer's HELLO has been read and the peer was authorized. */
  onHello?: (() => void) | undefined;
  /** Called when the peer has sent GOAWAY, a warning included; the calls that it refuses have been settled. */
  onGoaway?: ((reason: ConnectionError) => void) | undefined;
}

/** A {@linkcode Protocol}, as the library uses it. */
export interface ProtocolSetup extends Omit<Protocol, "codec"> {
  readonly codec: CodecFactory;
}

/** A {@linkcode ServiceDefinition}, as the library uses it. */
export interface ServiceSetup extends ServiceDefinition {
  readonly serve: (context: ServeContext) => IncomingCalls;
  /** Reads what a request has to do with the results of other calls. */
  readonly readLinks?: CodecSettings["readLinks"];
}

/** What serving needs of its connection. */
export interface ServeContext {
  readonly codec: Codec;
  readonly sendBuffer: SendBuffer;
  readonly scheduler: WriteScheduler | undefined;
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
  /** The peer's HELLO; undefined before it is read. */
  helloReceived(): PeerHello | undefined;
}

/** The peer's calls on one connection. */
export interface IncomingCalls {
  /** The window that the peer's calls occupy, and their ids. */
  readonly receiveWindow: ReceiveWindow;
  /** The calls in numbers, without those of the window. */
  readonly numbers: Omit<IncomingCallStats, "receiving" | "receivingBytes">;
  /** The call whose handler is on the stack now. */
  readonly current: object | undefined;
  /** Why the connection drains, if it does. */
  readonly drainReason: RpcError | undefined;
  /** How many calls run, wait or arrive, without those in `except`. */
  countOpen(except?: ReadonlySet<object>): number;
  /** Lists the calls that have no reply yet, in the order in which they arrived. */
  calls(context: LiveCallContext): LiveCall[];
  /** A call has arrived; its payload is the codec's current one. */
  request(
    id: number,
    method: string,
    size: number,
    remaining: number,
    metadata: MetadataBlock | undefined,
    links?: RequestLinks,
  ): void;
  /** Changes the window that the peer is granted; see {@linkcode Connection.setWindow}. */
  setWindow(window: Partial<CallWindow>): void;
  /** The peer confirms update `id` of the window. */
  onWindow(id: number, window: CallWindow): void;
  /** The peer refers to the result of a call no more. */
  release(id: number): void;
  /** A call has begun to arrive in fragments; `request` follows when it is whole. */
  begin(id: number, size: number): void;
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
  /**
   * Warns the peer that the local side closes, unless it was granted no calls, and
   * fires `ctx.draining`; every request is still accepted. Calls `quiet` when the
   * peer has sent none for a while. Returns whether it was warned. Not there where
   * nothing is served.
   */
  warn?(why: string, quiet: () => void): boolean;
  /** Refuses every request from now on. */
  drain(why: string): void;
  /** Fires `ctx.draining` of the calls that are served now, and of those that arrive later. */
  signalDraining(why: string): void;
  /** The peer has sent its FIN: no further call arrives. */
  onPeerHalfClose(reason: ConnectionError): void;
  /** Refuses the calls that were never started; returns the last id for GOAWAY. */
  refuseUnstarted(lastId: number | undefined): number | undefined;
  /** The connection is over: signals fire, and no reply is written any more. */
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
  /** Closes it and drops what the transport has not taken yet. Returns whether that ends it at once. */
  evict(reason: ConnectionError): boolean;
}

/** Watches one connection from the peer's HELLO on. */
export interface Watchdog {
  start(): void;
  stop(): void;
  /** The peer has sent GOAWAY: the connection may be idle for no longer than this, in ms. */
  limitIdle(idleTimeout: number): void;
  /** The peer's FIN has arrived. */
  onPeerHalfClose(): void;
  /** A chunk was read. */
  onRead(): void;
  /** A batch was handed to the transport. */
  onFlush(): void;
  /** The transport has taken all of it. */
  onWritten(): void;
}
