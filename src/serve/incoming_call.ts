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
import type { Clock } from "../base/clock.ts";
import type { Metadata, Opaque } from "../wire/codec.ts";
import type { Connection, Peer } from "../connection/connection.ts";
import type { Timed } from "../base/timers.ts";
import type { Linked } from "../base/linked_list.ts";
import type { EndingCell } from "../types/middleware.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import type { Method } from "./method_table.ts";
import {
  type Inherited,
  type MetadataInit,
  toMetadata,
  toRecord,
} from "../call/options.ts";
import type { OrderLine } from "./order_lines.ts";
import type { CalleeStreams } from "../streams/call_streams.ts";

/** The second argument of every handler; pass it on as a nested call's `ctx` option. */
export interface CallContext extends Inherited {
  /** The method called. */
  readonly method: string;
  /** The call's id on its connection. */
  readonly id: number;
  /**
   * Fires when the caller cancelled, the deadline passed, or the connection
   * went away; its `reason` is an {@linkcode RpcError} that says which.
   */
  readonly signal: AbortSignal;
  /**
   * Fires when either end of the connection begins to drain, or it is lost: the
   * time for a handler without an end of its own, a live feed say, to come to
   * one. The call goes on; what the handler does is up to it.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { type CallContext, Client, memoryPair, Server } from "@sluice/rpc";
   *
   * const services = {
   *   Feed: {
   *     async *prices(_: undefined, { draining }: CallContext) {
   *       yield 42;
   *       await new Promise((resolve) => {
   *         if (draining.aborted) resolve(undefined);
   *         else draining.addEventListener("abort", resolve);
   *       });
   *     },
   *   },
   * };
   * const [near, far] = memoryPair();
   * const server = new Server(services);
   * server.accept(far);
   * const client = new Client<typeof services>(near);
   * const prices = (await client.call("Feed.prices")).getReader();
   * assertEquals(await prices.read(), { done: false, value: 42 });
   * const closed = server.close();
   * assertEquals((await prices.read()).done, true);
   * await closed;
   * await client.close();
   * ```
   */
  readonly draining: AbortSignal;
  /** When the caller stops waiting, in milliseconds since the epoch, as near as the wall clock tells; `undefined` without a deadline. */
  readonly deadline: number | undefined;
  /** What is left of that, in ms; `Infinity` without a deadline. */
  readonly remaining: number;
  /** What the caller sent along. */
  readonly metadata: Metadata;
  /**
   * Sends short texts along with the answer, result or error; a later value of
   * a name replaces an earlier one. The caller finds them as its handle's
   * `metadata`.
   *
   * @throws {TypeError} If a value is not a string.
   * @throws {RangeError} If it is too large; see `metadata` of a call's options.
   */
  answerWith(metadata: MetadataInit): void;
  /**
   * Gives bytes away: as the handler's result they are sent uncopied, as a
   * call's params are with its `transfer` option, and are not to be touched any
   * more. Worth it from some 16 KiB on. Returns them.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { type CallContext, Client, memoryPair, Server } from "@sluice/rpc";
   *
   * const services = {
   *   Zeros: { make: (n: number, ctx: CallContext) => ctx.transfer(new Uint8Array(n)) },
   * };
   * const [near, far] = memoryPair();
   * const server = new Server(services);
   * server.accept(far);
   * const client = new Client<typeof services>(near);
   * assertEquals((await client.call("Zeros.make", 65_536)).length, 65_536);
   * await client.close();
   * await server.close();
   * ```
   */
  transfer<Bytes extends Uint8Array>(bytes: Bytes): Bytes;
  /** What the server's `authorize` returned for this connection; `undefined` without one. */
  readonly auth: unknown;
  /** What the transport tells of the caller: its address, and its certificate over TLS. */
  readonly peer: Peer;
  /** The connection the call came by, to call back on or to close. */
  readonly connection: Connection;
}

/**
 * Where a served call is. It moves to the right only: `waiting` to be started,
 * `validating` its params, `running`, `streaming` (answered with a stream that
 * has not ended), `done` (answered, or nobody is left to answer).
 */
export type ServingState =
  | "waiting"
  | "validating"
  | "running"
  | "streaming"
  | "done";

/** What a served call asks of its dispatch. */
export interface ServingOwner {
  readonly clock: Clock;
  readonly connection: Connection;
  /** Why the connection drains, if it does. */
  readonly leaving: unknown;
  expire(serving: Serving): void;
}

const NO_METADATA: Metadata = new Map();

/** A call of the peer's that we serve; its handler sees it as a {@linkcode CallContext}. */
export class Serving implements CallContext, Timed, Linked<Serving> {
  state: ServingState = "waiting";
  /** Whether it is in the table of its connection; set by that alone. */
  entered = false;
  before: Serving | undefined = undefined;
  after: Serving | undefined = undefined;
  slot = -1;
  due: number;
  readonly id: number;
  readonly size: number;
  /** When it came, by its dispatch's `Tick`. */
  readonly began: number;
  readonly target: Method;
  /** What the caller sent along. */
  readonly block: MetadataBlock | undefined;
  /** What goes along with the answer. */
  answered: MetadataBlock | undefined = undefined;
  /** How it ended, for its middleware; made if there is any. */
  ending: EndingCell | undefined = undefined;
  /** What the handler gave away. */
  given: Uint8Array | undefined = undefined;
  /** The params, undecoded, while they wait. */
  kept: Opaque = undefined;
  /** What its params take beyond their bytes once they are decoded; -1 before, and for a call answered in the turn it came. */
  decoded = -1;
  /** Its streams, if it has any. */
  streams: CalleeStreams | undefined = undefined;
  /** The async context in which its result is read, if that is a stream. */
  scope: Scope | undefined = undefined;
  /** The line it is in, by the order of its method: it has its turn, or waits for it. */
  line: OrderLine | undefined = undefined;
  readonly #owner: ServingOwner;
  #controller: AbortController | undefined = undefined;
  #draining: AbortController | undefined = undefined;
  /** Makes the reason: most handlers never look at their signal. */
  #reason: (() => unknown) | undefined = undefined;

  constructor(
    owner: ServingOwner,
    target: Method,
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
    this.due = due;
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
    if (this.due === Infinity) return Infinity;
    return Math.max(0, this.due - this.#owner.clock.now());
  }

  get deadline(): number | undefined {
    const { remaining } = this;
    if (remaining === Infinity) return undefined;
    return this.#owner.clock.date() + remaining;
  }

  answerWith(metadata: MetadataInit): void {
    const all = {
      ...Object.fromEntries(this.answered?.entries ?? []),
      ...toRecord(metadata),
    };
    this.answered = toMetadata(all);
  }

  transfer<Bytes extends Uint8Array>(bytes: Bytes): Bytes {
    this.given = bytes;
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

  expire(): void {
    this.#owner.expire(this);
  }
}
