/**
 * What `go()` returns: one call, its reply and its outcome.
 *
 * @module
 */

import type { Outcome } from "../base/errors.ts";
import { isInstanceOf } from "../base/user_code.ts";
import type { CallHandle, Metadata } from "../types/call.ts";
import { type Call, Rejection } from "./call.ts";

/** The functions of the promise made last: so a call's promise costs no closure. */
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

/** The table that a handle's call is in. */
export interface CallOwner {
  /** Rejects the call with `reason` and cancels it at the peer. */
  abort(call: Call, reason: unknown): void;
  /** Whether the call's frame was flushed. */
  flushed(call: Call): boolean;
  /** Calls `call.extra.sent` when the frame is flushed. */
  resolveOnFlush(call: Call): void;
  /** The table of the connection that has the call, if one has it. */
  tableOf(call: Call): object | undefined;
}

/** The call of a handle, also of one that another copy of the library has made. */
export function callOf(handle: CallHandle): Call {
  return (handle as Handle).sluiceCall;
}

/** The handle of one call. Its promises are made when they are asked for. */
export class Handle<T = unknown> implements CallHandle<T> {
  readonly #call: Call;
  readonly #owner: CallOwner;
  #reply: Promise<T> | undefined;
  #sent: Promise<boolean> | undefined;
  #settled: Promise<Outcome> | undefined;

  constructor(call: Call, owner: CallOwner) {
    this.#call = call;
    this.#owner = owner;
  }

  /** For {@linkcode callOf}, which may be another copy's. */
  get sluiceCall(): Call {
    return this.#call;
  }

  /** The same for its owner. */
  get sluiceOwner(): CallOwner {
    return this.#owner;
  }

  get id(): number | undefined {
    const { seq } = this.#call;
    return seq < 0 ? undefined : seq >>> 0;
  }

  get method(): string {
    return this.#call.method;
  }

  get size(): number {
    return this.#call.size;
  }

  get reply(): Promise<T> {
    return this.#reply ??= new Promise<unknown>((resolve, reject) => {
      const call = this.#call;
      const open = call.state === "waiting" || call.state === "sent";
      if (open) {
        call.resolve = resolve;
        call.reject = reject;
      } else if (isInstanceOf(call.result, Rejection)) {
        reject(call.result.reason);
      } else resolve(call.result);
    }) as Promise<T>;
  }

  get sent(): Promise<boolean> {
    return this.#sent ??= new Promise((resolve) => {
      const call = this.#call;
      // First: a call that was taken back from its batch has an id as if that
      // batch had flushed it.
      if (call.state === "done") resolve(call.outcome !== "not_sent");
      else if (this.#owner.flushed(call)) resolve(true);
      else {
        call.extras().sent = resolve;
        this.#owner.resolveOnFlush(call);
      }
    });
  }

  get metadata(): Metadata | undefined {
    return this.#call.extra?.replyMetadata?.entries;
  }

  get trailers(): Metadata | undefined {
    return this.#call.extra?.streams?.trailers?.entries;
  }

  get outcome(): Outcome {
    const call = this.#call;
    if (call.state !== "sent") return call.outcome;
    return this.#owner.flushed(call) ? "unknown" : "not_sent";
  }

  get settled(): Promise<Outcome> {
    return this.#settled ??= new Promise((resolve) => {
      const call = this.#call;
      const known = call.state === "done" || call.state === "streaming";
      if (known) resolve(call.outcome);
      else call.extras().settled = resolve;
    });
  }

  abort(reason?: unknown): void {
    const error = reason ??
      new DOMException("The call was aborted", "AbortError");
    this.#owner.abort(this.#call, error);
  }
}
