/**
 * What a caller passes with a call and gets back for it.
 *
 * @module
 */

import type { Outcome } from "../base/errors.ts";

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

/**
 * A call that `go` made: it can be watched and aborted, and its failure goes
 * unreported until somebody asks for its `reply`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, echoServices, memoryPair, Server } from "@sluice/rpc";
 *
 * const [near, far] = memoryPair();
 * const server = new Server(echoServices());
 * server.accept(far);
 * const client = new Client<ReturnType<typeof echoServices>>(near);
 * const handle = client.go("HelloService.Hello", "x");
 * assertEquals(await handle.reply, "hello:x");
 * assertEquals(handle.outcome, "executed");
 * await client.close();
 * await server.close();
 * ```
 */
export interface CallHandle<T = unknown> {
  /** The id on the wire; `undefined` while the call waits for the window, and for good if it was never sent. */
  readonly id: number | undefined;
  /** The method called. */
  readonly method: string;
  /** The bytes that the request takes: exact once it is sent, about right before that, and 0 if it cannot be encoded. */
  readonly size: number;
  /** The result. Rejects with an {@linkcode RpcError}, or with the reason that the call was aborted with. */
  readonly reply: Promise<T>;
  /** Resolves with `true` once the request was handed to the transport, with `false` once it never will be. Never rejects. */
  readonly sent: Promise<boolean>;
  /** The metadata that the handler sent with its reply; `undefined` before the reply, and if it sent none. */
  readonly metadata: Metadata | undefined;
  /** Whether the call may have run, as far as is known now: a reply turns `unknown` into `executed`. */
  readonly outcome: Outcome;
  /**
   * The final outcome. Resolves when the peer has replied, or when the call or
   * its connection has ended without a reply. Never rejects. For an aborted
   * call this is later than its `reply`.
   */
  readonly settled: Promise<Outcome>;
  /** Aborts the call, as its signal would. Has no effect on a call that has settled, its result stream included. */
  abort(reason?: unknown): void;
}

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
