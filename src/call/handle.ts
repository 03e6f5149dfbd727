/**
 * What `go()` returns: one call, its reply and its outcome.
 *
 * @module
 */

import { shared } from "../base/brand.ts";
import type { Metadata } from "../types/call.ts";
import type { Outcome } from "../base/errors.ts";
import { isA } from "../base/user_code.ts";
import { type Call, Rejection } from "./call.ts";

/** Hands its two functions out, so that a call's promise costs no closure of ours. */
let resolveNext: (value: unknown) => void;

let rejectNext: (reason: unknown) => void;

const executor = (
  resolve: (value: unknown) => void,
  reject: (reason: unknown) => void,
) => {
  resolveNext = resolve;
  rejectNext = reject;
};

/** Makes the promise that a new call's caller gets. */
export function promiseOf(call: Call): Promise<unknown> {
  const promise = new Promise(executor);
  call.resolve = resolveNext;
  call.reject = rejectNext;
  return promise;
}

/** What a handle asks of the table its call is in. */
export interface CallOwner {
  /** Rejects the call with `reason` and cancels it at the peer. */
  abort(call: Call, reason: unknown): void;
  /** Whether the call's frame was handed to the transport. */
  flushed(call: Call): boolean;
  /** Makes `call.extra.sent` resolve at the hand-over. */
  resolveOnFlush(call: Call): void;
}

/** The call of a handle, for who watches over calls of its own making. */
export let callOf: (handle: CallHandle) => Call;

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
export class CallHandle<T = unknown> {
  static {
    // By a symbol: a handle that another copy of the library made is one, too.
    const key = shared("call");
    Object.defineProperty(this.prototype, key, {
      get(this: CallHandle): Call {
        return this.#call;
      },
    });
    callOf = (handle) => (handle as unknown as { [key]: Call })[key];
  }

  readonly #call: Call;
  readonly #owner: CallOwner;
  #reply: Promise<T> | undefined;
  #sent: Promise<boolean> | undefined;
  #settled: Promise<Outcome> | undefined;

  /** Made by `go`; not for others. */
  constructor(call: Call, owner: CallOwner) {
    this.#call = call;
    this.#owner = owner;
  }

  /** The id on the wire; `undefined` while the call waits for the window, and for good if it never left it. */
  get id(): number | undefined {
    const { seq } = this.#call;
    return seq < 0 ? undefined : seq >>> 0;
  }

  /** The method called. */
  get method(): string {
    return this.#call.method;
  }

  /** What its request counts in bytes: exactly once it is sent, before that about, and 0 if it has no form on the wire. */
  get size(): number {
    return this.#call.size;
  }

  /** The result; rejects with an {@linkcode RpcError} or with what the call was aborted with. */
  get reply(): Promise<T> {
    return this.#reply ??= new Promise<unknown>((resolve, reject) => {
      const call = this.#call;
      const open = call.state === "waiting" || call.state === "sent";
      if (open) {
        call.resolve = resolve;
        call.reject = reject;
      } else if (isA(call.result, Rejection)) reject(call.result.reason);
      else resolve(call.result);
    }) as Promise<T>;
  }

  /** Resolves with `true` once the request was handed to the transport, with `false` once it never will be. Never rejects. */
  get sent(): Promise<boolean> {
    return this.#sent ??= new Promise((resolve, reject) => {
      const call = this.#call;
      if (this.#owner.flushed(call)) resolve(true);
      else if (call.state === "done") resolve(call.outcome !== "not_sent");
      else {
        call.extras().sent = { resolve, reject };
        this.#owner.resolveOnFlush(call);
      }
    });
  }

  /** What the handler sent along with its answer; `undefined` before that, and if it sent nothing along. */
  get metadata(): Metadata | undefined {
    return this.#call.extra?.replyMetadata?.entries;
  }

  /** Whether the call may have run, as far as is known now: a reply makes `unknown` into `executed`. */
  get outcome(): Outcome {
    const call = this.#call;
    if (call.state !== "sent") return call.outcome;
    return this.#owner.flushed(call) ? "unknown" : "not_sent";
  }

  /**
   * The final outcome: resolves when the peer has answered, or the call or its
   * connection has ended without. Never rejects. For an aborted call this is
   * later than its `reply`.
   */
  get settled(): Promise<Outcome> {
    return this.#settled ??= new Promise((resolve, reject) => {
      const call = this.#call;
      const known = call.state === "done" || call.state === "streaming";
      if (known) resolve(call.outcome);
      else call.extras().settled = { resolve, reject };
    });
  }

  /** Aborts the call as its signal would; no effect on one that has settled, its stream included. */
  abort(reason?: unknown): void {
    const error = reason ??
      new DOMException("The call was aborted", "AbortError");
    this.#owner.abort(this.#call, error);
  }
}
