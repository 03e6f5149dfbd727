/**
 * One call of the peer, from its request to its reply. Its handler sees it as
 * its `ctx`.
 *
 * - The signal of a call fires at most once. It is made when it is first read.
 * - Time is measured by the monotonic clock; `deadline` alone is wall time.
 *
 * @module
 */

import type { Scope } from "../base/async_context.ts";
import { type Clock, ticksSince } from "../base/clock.ts";
import type { ListNode } from "../base/linked_list.ts";
import type { TimerEntry } from "../base/timers.ts";
import {
  type Metadata,
  type MetadataInit,
  NO_METADATA,
} from "../types/call.ts";
import type { Connection, Peer } from "../types/connection.ts";
import type { CallContext } from "../types/handler.ts";
import type { CallEndingCell } from "../types/middleware.ts";
import type { LiveCall, LiveCallContext } from "../types/stats.ts";
import { type MetadataBlock, toMetadata, toRecord } from "../wire/metadata.ts";
import type { IncomingStreams } from "../streams/contract.ts";
import { toTrailers } from "../streams/trailers.ts";
import type { ServerCallLinks } from "./kept_results.ts";
import type { MethodEntry } from "./method.ts";
import type { SerialQueue } from "./serial_queue.ts";

/**
 * The states of a call. It moves only to the right: `waiting` to be started,
 * `validating` its params, `running`, `streaming` (its reply is a stream that
 * has not ended), `done` (answered, or its connection is lost).
 */
export type ServerCallState =
  | "waiting"
  | "validating"
  | "running"
  | "streaming"
  | "done";

/** What a call needs of the dispatcher that serves it. */
export interface ServerCallHost {
  readonly clock: Clock;
  readonly connection: Connection;
  /** Why the connection drains, if it does. */
  readonly drainReason: unknown;
  /** The largest body of a reply, in bytes. */
  readonly maxReply: number;
  /** The deadline of a call has passed. */
  expire(call: ServerCall): void;
  /** The handler of an ordered call lets the next call start. */
  passTurn(call: ServerCall): void;
}

/** A call of the peer. */
export class ServerCall
  implements CallContext, TimerEntry, ListNode<ServerCall> {
  state: ServerCallState = "waiting";
  /** Whether it is in the table of {@linkcode OpenCalls}, which alone sets this. */
  registered = false;
  /** Whether it goes ahead of calls that wait. */
  urgent = false;
  previous: ServerCall | undefined = undefined;
  next: ServerCall | undefined = undefined;
  heapIndex = -1;
  expiresAt: number;
  readonly id: number;
  readonly size: number;
  /** When it arrived, by the `Tick` of its connection. */
  readonly receivedAt: number;
  readonly methodEntry: MethodEntry;
  /** The metadata that the caller sent. */
  readonly metadataBlock: MetadataBlock | undefined;
  /** The metadata that the reply carries. */
  replyMetadata: MetadataBlock | undefined = undefined;
  /** The metadata that the end of its result carries, if that is a stream. */
  resultTrailers: MetadataBlock | undefined = undefined;
  /** How it ended, for its middleware; made if there is any. */
  ending: CallEndingCell | undefined = undefined;
  /** The bytes that the handler passed to `transfer`. */
  transferred: Uint8Array | undefined = undefined;
  /** The encoded params, while the call waits. */
  retained: unknown = undefined;
  /** What the decoded params take beyond their bytes; -1 before they are counted, and for a call answered in the turn in which it arrived. */
  decodedBytes = -1;
  /** Its streams, if it has any. */
  streams: IncomingStreams | undefined = undefined;
  /** What it has to do with the results of other calls, if anything. */
  links: ServerCallLinks<ServerCall> | undefined = undefined;
  /** The async context in which its result is read, if that is a stream. */
  scope: Scope | undefined = undefined;
  /** The queue of an ordered call that may run, or waits for those before it; undefined once it has passed its turn or has finished. */
  queue: SerialQueue<ServerCall> | undefined = undefined;
  readonly #host: ServerCallHost;
  #controller: AbortController | undefined = undefined;
  #drainController: AbortController | undefined = undefined;
  /** Makes the reason of the signal: most handlers never read it. */
  #reason: (() => unknown) | undefined = undefined;

  constructor(
    host: ServerCallHost,
    methodEntry: MethodEntry,
    id: number,
    size: number,
    expiresAt: number,
    metadataBlock: MetadataBlock | undefined,
    receivedAt: number,
  ) {
    this.#host = host;
    this.methodEntry = methodEntry;
    this.id = id;
    this.size = size;
    this.expiresAt = expiresAt;
    this.receivedAt = receivedAt;
    this.metadataBlock = metadataBlock;
  }

  // What the handler sees: see `CallContext`.

  get method(): string {
    return this.methodEntry.name;
  }

  get metadata(): Metadata {
    return this.metadataBlock?.entries ?? NO_METADATA;
  }

  get connection(): Connection {
    return this.#host.connection;
  }

  get peer(): Peer {
    return this.connection.peer;
  }

  get auth(): unknown {
    return this.connection.auth;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason());
    }
    return this.#controller.signal;
  }

  get draining(): AbortSignal {
    if (this.#drainController === undefined) {
      this.#drainController = new AbortController();
      const { drainReason } = this.#host;
      if (drainReason !== undefined) this.#drainController.abort(drainReason);
    }
    return this.#drainController.signal;
  }

  get remaining(): number {
    if (this.expiresAt === Infinity) return Infinity;
    return Math.max(0, this.expiresAt - this.#host.clock.now());
  }

  get deadline(): number | undefined {
    const { remaining } = this;
    if (remaining === Infinity) return undefined;
    return this.#host.clock.date() + remaining;
  }

  setReplyMetadata(metadata: MetadataInit): void {
    this.replyMetadata = toMetadata(merge(this.replyMetadata, metadata));
  }

  setTrailers(metadata: MetadataInit): void {
    const all = merge(this.resultTrailers, metadata);
    this.resultTrailers = toTrailers(all, this.#host.maxReply);
  }

  get body(): ReadableStream<unknown> | undefined {
    return this.streams?.body;
  }

  get trailers(): Metadata | undefined {
    return this.streams?.trailers?.entries;
  }

  transfer<Bytes extends Uint8Array>(bytes: Bytes): Bytes {
    this.transferred = bytes;
    return bytes;
  }

  passTurn(): void {
    this.#host.passTurn(this);
  }

  // What its dispatcher uses.

  /** Whether it has been answered, or its connection is lost. */
  get done(): boolean {
    return this.state === "done";
  }

  /** The reason of the signal, if it has fired. */
  get aborted(): { readonly reason: unknown } | undefined {
    return this.#reason && { reason: this.signal.reason };
  }

  /** Fires the signal. The reason is made only if the signal is read. */
  abort(reason: () => unknown): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#controller?.abort(reason());
  }

  /** The connection drains: fires `draining`. */
  drain(): void {
    this.#drainController?.abort(this.#host.drainReason);
  }

  onTimeout(): void {
    this.#host.expire(this);
  }
}

/** What was set before, with what is set now. */
function merge(
  block: MetadataBlock | undefined,
  metadata: MetadataInit,
): Record<string, string> {
  return {
    ...Object.fromEntries(block?.entries ?? []),
    ...toRecord(metadata),
  };
}

/** Describes a call as `connection.calls()` lists it. */
export function toLiveCall(
  call: ServerCall,
  { now, remote }: LiveCallContext,
): LiveCall {
  const { method, id, state, receivedAt, size, expiresAt } = call;
  return {
    side: "server",
    method,
    id,
    state: call.aborted !== undefined || state === "done" ? "cancelled" : state,
    age: ticksSince(receivedAt, now),
    remaining: Math.max(0, expiresAt - now),
    bytes: size,
    remote,
  };
}
