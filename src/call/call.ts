/**
 * One call that this end made, and the handle a user holds of it.
 *
 * Invariants owned here:
 * - A call settles once: `settle` is reached by one path only, for a call that
 *   was just taken out of the table or the queue (or abandoned in it).
 * - What a handle was not asked for costs nothing and is never reported: its
 *   promises are made when they are asked for.
 *
 * @module
 */

import { shared } from "../base/brand.ts";
import type { Scope } from "../base/async_context.ts";
import type { Metadata } from "../wire/codec.ts";
import type { Timed } from "../base/timers.ts";
import { attribute, type Outcome, RpcError } from "../base/errors.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import type { CallEnd } from "../types/observe.ts";
import type { Waiting } from "./queue.ts";
import type { Numbered } from "./ring.ts";
import type { CallerStreams } from "../streams/call_streams.ts";
import { isA } from "../base/user_code.ts";

/**
 * Where a call is. It moves to the right only:
 * `waiting` for the window, then `sent` (in the batch or on its way), then
 * perhaps `streaming` (its caller has the stream; its place is held until that
 * ends), then perhaps `abandoned` (its caller was told; its place is held until
 * the peer answers), then `done`.
 */
export type CallState =
  | "waiting"
  | "sent"
  | "streaming"
  | "abandoned"
  | "done";

/** What a promise is settled with. */
export interface Resolvers<T> {
  resolve: (value: T) => void;
  reject: (reason: unknown) => void;
}

/** What only some calls have; the others do not pay for it. */
export interface Extra extends Timed {
  /** Aborts the call; listened to while it is waiting or sent. */
  signal: AbortSignal | undefined;
  /** The signal of the handler that makes this call, likewise. */
  inherited: AbortSignal | undefined;
  /** Travels with the request. */
  metadata: MetadataBlock | undefined;
  /** Came with the answer. */
  answered: MetadataBlock | undefined;
  /** Its streams, if it has any. */
  streams: CallerStreams | undefined;
  /** Waits for the final outcome. */
  settled: Resolvers<Outcome> | undefined;
  /** Waits for the hand-over. */
  sent: Resolvers<boolean> | undefined;
  /** Is told the call's end, where somebody observes. */
  observed: CallEnd | undefined;
  /** The async context in which its params are read, if they are a stream and that is not the one in which it is sent. */
  scope: Scope | undefined;
  /** Has the stack of the code that made the call, where its client captures them. */
  calledAt: Error | undefined;
}

/** A failure that nobody has asked for yet: a class of ours, so that no result is taken for one. */
class Failure {
  readonly reason: unknown;

  constructor(reason: unknown) {
    this.reason = reason;
  }
}

/**
 * An entry of the pending table: one object of one shape. A million of them may
 * be pending, so what few calls need, or none for long, is kept elsewhere.
 */
export class Call implements Numbered {
  seq = -1;
  state: CallState = "waiting";
  outcome: Outcome = "not_sent";
  readonly method: string;
  /** What it counts in the window. */
  size = 0;
  /** Where it stands in the batch it was written into. */
  place = 0;
  /** Its place in the queue, while it waits. */
  waiting: Waiting | undefined = undefined;
  extra: Extra | undefined = undefined;
  /** The caller's promise; without one, the result or {@linkcode Failure} is kept for the handle. */
  resolve: ((value: unknown) => void) | undefined = undefined;
  reject: ((reason: unknown) => void) | undefined = undefined;
  result: unknown = undefined;
  /** When it was made, by the `Tick` of who made it; 0 before. */
  began = 0;

  constructor(method: string) {
    this.method = method;
  }

  /** Tells the caller, who has not been told yet. */
  settle(outcome: Outcome, failed: boolean, result: unknown): void {
    this.outcome = outcome;
    if (this.resolve === undefined) {
      this.result = failed ? new Failure(result) : result;
    } else if (failed) this.reject?.(result);
    else this.resolve(result);
    // A stream has only begun.
    if (this.extra !== undefined && !this.extra.streams?.answered) {
      this.#tellEnd(outcome, failed, result);
    }
  }

  #tellEnd(outcome: Outcome, failed: boolean, result: unknown): void {
    const { extra } = this;
    if (extra?.observed === undefined) return;
    const { observed } = extra;
    extra.observed = undefined;
    observed.ended(outcome, failed, result);
  }

  /** The stream that its caller has been given is over, by a failure if there is one. */
  streamed(failure: { readonly error: unknown } | undefined): void {
    this.state = "done";
    // One that was aborted meanwhile may have been asked only then.
    this.extra?.settled?.resolve(this.outcome);
    this.#tellEnd("executed", failure !== undefined, failure?.error);
  }

  /** Names this call in an error that the library has made for it. Never in what aborted it, which is its user's. */
  blame<T>(error: T): T {
    if (isA(error, RpcError)) {
      attribute(error, this.method, this.extra?.calledAt);
    }
    return error;
  }

  /** Tells the caller of a stream, which is as good as an answer; the call lives on until that has ended. */
  stream(result: unknown): void {
    this.settle("executed", false, result);
    this.finish("executed");
    this.state = "streaming";
  }

  /** Ends its life; an abandoned call's outcome may have become known. */
  finish(outcome: Outcome): void {
    this.state = "done";
    this.outcome = outcome;
    this.extra?.settled?.resolve(outcome);
    this.extra?.sent?.resolve(outcome !== "not_sent");
  }

  /** Its extras, made when first needed. */
  extras(): Extra {
    return this.extra ??= {
      due: Infinity,
      slot: -1,
      expire: never,
      signal: undefined,
      inherited: undefined,
      metadata: undefined,
      answered: undefined,
      streams: undefined,
      settled: undefined,
      sent: undefined,
      observed: undefined,
      scope: undefined,
      calledAt: undefined,
    };
  }
}

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
  handedOver(call: Call): boolean;
  /** Makes `call.extra.sent` resolve at the hand-over. */
  awaitHandOver(call: Call): void;
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
      } else if (isA(call.result, Failure)) reject(call.result.reason);
      else resolve(call.result);
    }) as Promise<T>;
  }

  /** Resolves with `true` once the request was handed to the transport, with `false` once it never will be. Never rejects. */
  get sent(): Promise<boolean> {
    return this.#sent ??= new Promise((resolve, reject) => {
      const call = this.#call;
      if (this.#owner.handedOver(call)) resolve(true);
      else if (call.state === "done") resolve(call.outcome !== "not_sent");
      else {
        call.extras().sent = { resolve, reject };
        this.#owner.awaitHandOver(call);
      }
    });
  }

  /** What the handler sent along with its answer; `undefined` before that, and if it sent nothing along. */
  get metadata(): Metadata | undefined {
    return this.#call.extra?.answered?.entries;
  }

  /** Whether the call may have run, as far as is known now: a reply makes `unknown` into `executed`. */
  get outcome(): Outcome {
    const call = this.#call;
    if (call.state !== "sent") return call.outcome;
    return this.#owner.handedOver(call) ? "unknown" : "not_sent";
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

function never(): void {}
