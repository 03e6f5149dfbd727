/**
 * What a handler knows of the call it serves.
 *
 * Invariants owned here:
 * - A call's signal fires at most once; it costs nothing until it is asked for.
 * - Deadlines are monotonic; only `deadline`, for people, tells wall time.
 *
 * @module
 */

import type { Scope } from "../base/async_context.ts";
import { type Clock, ticksSince } from "../base/clock.ts";
import type { Metadata, MetadataInit } from "../types/call.ts";
import type { Connection, Peer } from "../types/connection.ts";
import type { TimerEntry } from "../base/timers.ts";
import type { ListNode } from "../base/linked_list.ts";
import type { CallEndingCell } from "../types/middleware.ts";
import { type MetadataBlock, toMetadata, toRecord } from "../wire/metadata.ts";
import type { MethodEntry } from "./method.ts";
import type { SerialQueue } from "./serial_queue.ts";
import type { IncomingStreams } from "../streams/contract.ts";
import type { LiveCall, LiveCallContext } from "../types/stats.ts";
import type { CallContext } from "../types/handler.ts";

/**
 * Where a served call is. It moves to the right only: `waiting` to be started,
 * `validating` its params, `running`, `streaming` (answered with a stream that
 * has not ended), `done` (answered, or nobody is left to answer).
 */
export type ServerCallState =
  | "waiting"
  | "validating"
  | "running"
  | "streaming"
  | "done";

/** What a served call asks of its dispatch. */
export interface ServerCallHost {
  readonly clock: Clock;
  readonly connection: Connection;
  /** Why the connection drains, if it does. */
  readonly leaving: unknown;
  expire(call: ServerCall): void;
}

const NO_METADATA: Metadata = new Map();

/** A call of the peer's that we serve; its handler sees it as a {@linkcode CallContext}. */
export class ServerCall
  implements CallContext, TimerEntry, ListNode<ServerCall> {
  state: ServerCallState = "waiting";
  /** Whether it is in the table of its connection; set by that alone. */
  entered = false;
  before: ServerCall | undefined = undefined;
  after: ServerCall | undefined = undefined;
  heapIndex = -1;
  expiresAt: number;
  readonly id: number;
  readonly size: number;
  /** When it came, by its dispatch's `Tick`. */
  readonly began: number;
  readonly target: MethodEntry;
  /** What the caller sent along. */
  readonly block: MetadataBlock | undefined;
  /** What goes along with the answer. */
  replyMetadata: MetadataBlock | undefined = undefined;
  /** How it ended, for its middleware; made if there is any. */
  ending: CallEndingCell | undefined = undefined;
  /** What the handler gave away. */
  transferred: Uint8Array | undefined = undefined;
  /** The params, undecoded, while they wait. */
  retained: unknown = undefined;
  /** What its params take beyond their bytes once they are decoded; -1 before, and for a call answered in the turn it came. */
  decoded = -1;
  /** Its streams, if it has any. */
  streams: IncomingStreams | undefined = undefined;
  /** The async context in which its result is read, if that is a stream. */
  scope: Scope | undefined = undefined;
  /** The line it is in, by the order of its method: it has its turn, or waits for it. */
  line: SerialQueue<ServerCall> | undefined = undefined;
  readonly #owner: ServerCallHost;
  #controller: AbortController | undefined = undefined;
  #draining: AbortController | undefined = undefined;
  /** Makes the reason: most handlers never look at their signal. */
  #reason: (() => unknown) | undefined = undefined;

  constructor(
    owner: ServerCallHost,
    target: MethodEntry,
    id: number,
    size: number,
    due: number,
    metadata: MetadataBlock | undefined,
    began: number,
  ) {
    this.#owner = owner;
    this.target = target;
    this.id = id;
    this.size = size;
    this.expiresAt = due;
    this.began = began;
    this.block = metadata;
  }

  get method(): string {
    return this.target.name;
  }

  get metadata(): Metadata {
    return this.block?.entries ?? NO_METADATA;
  }

  get connection(): Connection {
    return this.#owner.connection;
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
    if (this.#draining === undefined) {
      this.#draining = new AbortController();
      const { leaving } = this.#owner;
      if (leaving !== undefined) this.#draining.abort(leaving);
    }
    return this.#draining.signal;
  }

  get remaining(): number {
    if (this.expiresAt === Infinity) return Infinity;
    return Math.max(0, this.expiresAt - this.#owner.clock.now());
  }

  get deadline(): number | undefined {
    const { remaining } = this;
    if (remaining === Infinity) return undefined;
    return this.#owner.clock.date() + remaining;
  }

  setReplyMetadata(metadata: MetadataInit): void {
    const all = {
      ...Object.fromEntries(this.replyMetadata?.entries ?? []),
      ...toRecord(metadata),
    };
    this.replyMetadata = toMetadata(all);
  }

  transfer<Bytes extends Uint8Array>(bytes: Bytes): Bytes {
    this.transferred = bytes;
    return bytes;
  }

  /** Whether it is answered, or nobody is left to answer. */
  get done(): boolean {
    return this.state === "done";
  }

  /** Whether the signal has fired, and why. */
  get aborted(): { readonly reason: unknown } | undefined {
    return this.#reason && { reason: this.signal.reason };
  }

  /** Fires the signal; the reason is made if somebody has asked, or asks, for the signal. */
  abort(reason: () => unknown): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#controller?.abort(reason());
  }

  /** The connection drains. */
  drain(): void {
    this.#draining?.abort(this.#owner.leaving);
  }

  onTimeout(): void {
    this.#owner.expire(this);
  }
}

/** A call that this end serves, as it stands. */
export function servedCall(
  call: ServerCall,
  { now, remote }: LiveCallContext,
): LiveCall {
  const { method, id, state, began, size, expiresAt: due } = call;
  return {
    side: "server",
    method,
    id,
    state: call.aborted !== undefined || state === "done" ? "cancelled" : state,
    age: ticksSince(began, now),
    remaining: Math.max(0, due - now),
    bytes: size,
    remote,
  };
}
