/**
 * What a caller passes with a call and gets back for it.
 *
 * @module
 */

import type { CallHandle } from "../call/handle.ts";

/** What a nested call inherits from the handler that makes it; every handler's `ctx` is one. */
export interface ParentCall {
  /** Fires when the outer call is cancelled, late, or has lost its caller. */
  readonly signal: AbortSignal;
  /** What is left of the outer call's deadline, in ms; `Infinity` without one. */
  readonly remaining: number;
}

/** Short texts by name: a plain object, or a `Map` such as a handler's `ctx.metadata`. */
export type MetadataInit =
  | Readonly<Record<string, string>>
  | ReadonlyMap<string, string>;

/** Options of one call. */
export interface CallOptions {
  /** Aborts the call: it rejects at once with `signal.reason`, and the handler's own signal fires. */
  signal?: AbortSignal | undefined;
  /** Milliseconds until the call rejects with `deadline_exceeded`; 0 and below at once, `Infinity` never. */
  timeout?: number | undefined;
  /** The same as a moment: a `Date` or milliseconds since the epoch. The earlier of the two counts. */
  deadline?: Date | number | undefined;
  /** The `ctx` of the handler that makes this call: its signal and what is left of its deadline hold here too. */
  ctx?: ParentCall | undefined;
  /** Short texts that travel with the call, at most 65,535 bytes in all; names at most 255 bytes. */
  metadata?: MetadataInit | undefined;
  /** Hands `Uint8Array` params over instead of copying them: they must not be changed afterwards. */
  transfer?: boolean | undefined;
  /** Whether running twice is as good as once: then a {@linkcode ReconnectingClient} re-sends it even if it may have run. A plain client ignores it. */
  idempotent?: boolean | undefined;
}

/** Metadata of a call: short texts by name. */
export type Metadata = ReadonlyMap<string, string>;

/** What makes untyped calls: a {@linkcode Connection}, or what stands before one. */
export interface Caller {
  /** Calls a method and promises its result. */
  call(
    method: string,
    params?: unknown,
    options?: CallOptions,
  ): Promise<unknown>;
  /** Calls a method and returns a handle at once. */
  go(method: string, params?: unknown, options?: CallOptions): CallHandle;
  /** Why calls wait for a connection, where they do and that is known. */
  readonly away?: unknown;
}
