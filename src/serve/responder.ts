/**
 * Writes the replies to the calls of the peer.
 *
 * - A result or an error that cannot be serialized, or is larger than the
 *   caller accepts, fails that call alone.
 * - An exception of a handler that is not an `RpcError` reaches the caller as
 *   `internal`, without its message (unless `exposeErrors` is set) and without
 *   its stack. `onError` receives the exception itself.
 *
 * @module
 */

import { RpcError, toSendableError } from "../base/errors.ts";
import type { Thrown } from "../base/pull_source.ts";
import { references, refuseReferences } from "../base/references.ts";
import type { ValueWithBody } from "../streams/value_with_body.ts";
import { messageOf } from "../base/user_code.ts";
import type { RequestInfo } from "../types/observe.ts";
import { noneServed, type ServedCounts } from "../types/stats.ts";
import type { ReplyBuffer } from "../wire/frame_buffer.ts";
import { MIN_MESSAGE } from "../wire/protocol.ts";
import { GONE } from "../wire/values/payload.ts";
import { unserializable } from "../wire/values/to_json.ts";
import type { ServeContext } from "../connection/contract.ts";
import type { ServerCall } from "./server_call.ts";
import { UrgentLane } from "./urgent_lane.ts";

/** What was thrown before the handler was called, where only the code that threw it knows that. */
export class PreHandlerError {
  readonly error: unknown;

  constructor(error: unknown) {
    this.error = error;
  }

  /** What was thrown, if `value` is one of these. (A value that a handler throws may throw when it is looked at.) */
  static unwrap(value: unknown): { readonly error: unknown } | undefined {
    try {
      return value instanceof PreHandlerError ? value : undefined;
    } catch {
      return undefined;
    }
  }
}

/** What becomes of an exception that is not an `RpcError`. */
export interface ErrorPolicy {
  /** Whether callers receive its message. */
  readonly exposeErrors: boolean;
  /** Reports it to the operator. */
  readonly onError: (error: unknown, call: ServerCall) => void;
}

/**
 * Writes replies. `reply`, `replyWithError` and `fail` return whether they wrote
 * one: the user's code runs while a value is encoded, and may end the
 * connection.
 */
export class Responder {
  /** How many calls were answered, and how many got no reply. */
  readonly counts: ServedCounts = noneServed();
  readonly #context: ServeContext;
  readonly #errors: ErrorPolicy;
  /** Calls whose replies are in the current batch and carry transferred bytes. */
  #transferred: ServerCall[] = [];
  /** Made for the first urgent call. */
  #urgentLane: UrgentLane | undefined;

  constructor(context: ServeContext, errors: ErrorPolicy) {
    this.#context = context;
    this.#errors = errors;
  }

  // Calls whose handlers were called.

  /** Replies with the result of a handler. */
  reply(call: ServerCall, value: unknown): boolean {
    const { codec, sendBuffer, observe } = this.#context;
    // The send buffer has overflowed and ends the connection: nothing more is encoded.
    if (sendBuffer.full) return false;
    try {
      const transfer = value !== undefined && value === call.transferred;
      const { met } = references;
      codec.prepare(value, transfer, call.method, "result");
      refuseReferences(met);
    } catch (error) {
      return this.fail(call, true, this.unserializableResult(call, error));
    }
    if (call.done) return false;
    const error = this.#tooLarge(call);
    if (error !== undefined) return this.fail(call, true, error);
    const before = sendBuffer.size;
    // Of a call that was cancelled, or is late, its caller has no result.
    if (call.aborted === undefined) call.links?.keep(codec);
    codec.reply(this.#bufferFor(call), call.id, call.replyMetadata);
    this.counts.ok++;
    if (call.transferred !== undefined) this.#transferred.push(call);
    call.ending?.end({ items: undefined, error: undefined });
    if (observe !== undefined) {
      const bytes = sendBuffer.size - before;
      observe.answered(call, "executed", undefined, bytes);
    }
    return true;
  }

  /** Prepares the reply of a result that is a stream, or has one beside it. Returns the error that the call fails with if that reply cannot be sent. */
  prepareStream(
    call: ServerCall,
    body: ValueWithBody | undefined,
  ): RpcError | undefined {
    const { codec } = this.#context;
    try {
      if (body === undefined) codec.streams?.prepare();
      else codec.prepare(body.value, false, call.method, "result");
    } catch (error) {
      return this.unserializableResult(call, error);
    }
    return this.#tooLarge(call);
  }

  /** Replies with what was prepared. */
  stream(call: ServerCall, body: ValueWithBody | undefined): void {
    const { codec, sendBuffer } = this.#context;
    if (body !== undefined) call.streams?.markBody();
    codec.reply(sendBuffer, call.id, call.replyMetadata);
    call.links?.stream();
  }

  /** The stream that is the result of a call has ended; with an error, if there is one. */
  finishStream(call: ServerCall, error: RpcError | undefined): void {
    this.counts[error === undefined ? "ok" : "failed"]++;
    call.ending?.end({ items: call.streams?.writer?.items, error });
    this.#context.observe?.answered(call, "executed", error, undefined);
  }

  /** Replies with what a handler, a schema or a key threw, or with `internal` in its place. */
  replyWithError(call: ServerCall, started: boolean, error: unknown): boolean {
    const early = PreHandlerError.unwrap(error);
    if (early !== undefined) {
      return this.replyWithError(call, false, early.error);
    }
    return this.fail(call, started, this.toRpcError(call, error));
  }

  /** Replies with this very error; without its data, if that cannot be serialized. */
  fail(call: ServerCall, started: boolean, error: RpcError): boolean {
    const { codec, sendBuffer, observe } = this.#context;
    if (sendBuffer.full) return false;
    const { code, message, data } = error;
    try {
      codec.prepare(data, false, undefined, "data");
    } catch (cause) {
      this.#errors.onError(cause, call);
      codec.prepare(undefined, false);
    }
    if (call.done) return false;
    const { id, replyMetadata } = call;
    const before = sendBuffer.size;
    codec.failure(
      this.#bufferFor(call),
      id,
      started,
      code,
      message,
      this.maxReply,
      replyMetadata,
    );
    this.counts[started ? "failed" : "refused"]++;
    call.ending?.end({ items: undefined, error });
    if (observe !== undefined) {
      const outcome = started ? "executed" : "refused";
      observe.answered(call, outcome, error, sendBuffer.size - before);
    }
    return true;
  }

  // Calls that were not started.

  /** Refuses a call by its header alone. */
  refuse(request: RequestInfo, code: string, message: string): void {
    const { observe, clock } = this.#context;
    const bytes = this.#refuse(request.id, code, message);
    if (!observe?.active) return;
    observe.refused(request, clock, refusedError(code, message), bytes);
  }

  /** Refuses a call that waited. It makes an error only for those who read one: its stack costs more than all else here, and peers may send floods of CANCELs. */
  rejectUnstarted(call: ServerCall, code: string, message: string): void {
    const { observe } = this.#context;
    const bytes = this.#refuse(call.id, code, message);
    const { ending } = call;
    if (ending === undefined && observe === undefined) return;
    const error = refusedError(code, message);
    ending?.end({ items: undefined, error });
    observe?.answered(call, "refused", error, bytes);
  }

  #refuse(id: number, code: string, message: string): number {
    const before = this.#context.sendBuffer.size;
    this.#writeFailure(id, false, code, message);
    this.counts.refused++;
    return this.#context.sendBuffer.size - before;
  }

  #writeFailure(
    id: number,
    started: boolean,
    code: string,
    message: string,
  ): void {
    const { codec, sendBuffer } = this.#context;
    codec.prepare(undefined, false);
    codec.failure(sendBuffer, id, started, code, message, this.maxReply);
  }

  // What becomes of a reply.

  /** A batch was handed to the transport, with the transferred bytes in it. */
  onFlush(): void {
    if (this.#transferred.length > 0) this.#transferred = [];
  }

  /** The bytes of a result were detached before they were handed over: the call fails in the next batch. */
  spoiled(id: number): void {
    const call = this.#transferred.find((call) => call.id === id);
    if (call === undefined) return;
    queueMicrotask(() => {
      const cause = unserializable(`result: ${GONE}`);
      const { code, message } = this.unserializableResult(call, cause);
      this.#writeFailure(id, true, code, message);
    });
  }

  /** Where the reply to a call is written. */
  #bufferFor({ urgent }: ServerCall): ReplyBuffer {
    const { sendBuffer } = this.#context;
    if (!urgent) return sendBuffer;
    return this.#urgentLane ??= new UrgentLane(sendBuffer);
  }

  /** The connection is lost: the call gets no reply. */
  onConnectionLost(call: ServerCall, reason: () => RpcError): void {
    this.counts.lost++;
    const items = call.streams?.writer?.items;
    call.ending?.end({ items, error: reason() });
    this.#context.observe?.lost(call, reason());
  }

  // Errors.

  /** The error that the caller receives for what a handler threw; `onError` receives what that does not say. */
  toRpcError(call: ServerCall, error: unknown): RpcError {
    const sendable = toSendableError(error) ?? sharedDeadline(call, error) ??
      abortReason(call, error);
    if (sendable !== undefined) return this.#withSendableData(call, sendable);
    this.#errors.onError(error, call);
    const text = this.#errors.exposeErrors ? messageOf(error, HIDDEN) : HIDDEN;
    return new RpcError("internal", text);
  }

  /** The error, without its data if that cannot be serialized. */
  #withSendableData(call: ServerCall, error: RpcError): RpcError {
    const { code, message, data } = error;
    if (data === undefined) return error;
    try {
      this.#context.codec.prepare(data, false, undefined, "data");
      return error;
    } catch (cause) {
      this.#errors.onError(cause, call);
      return new RpcError(code, message);
    }
  }

  /** The error for a result, or an item of one, that cannot be serialized. */
  unserializableResult(call: ServerCall, error: unknown): RpcError {
    this.#errors.onError(error, call);
    return new RpcError(
      "internal",
      "the handler's result cannot be serialized",
    );
  }

  /** Reports what the cleanup of a result stream threw, if it threw. */
  reportCleanup(call: ServerCall, thrown: Thrown | undefined): void {
    if (thrown === undefined) return;
    const { error } = thrown;
    if (abortReason(call, error) === undefined) {
      this.#errors.onError(error, call);
    }
  }

  /** The largest body of a reply: what the peer accepts, and what fits into the send buffer. */
  get maxReply(): number {
    const { codec, sendBuffer } = this.#context;
    return Math.min(
      this.#context.peerMaxMessage(),
      sendBuffer.most - codec.overhead,
    );
  }

  /** The error of a call whose prepared reply is too large to be sent. */
  #tooLarge(call: ServerCall): RpcError | undefined {
    const { codec } = this.#context;
    const size = codec.replySize(call.replyMetadata);
    // Every peer accepts that much, and every send buffer has room for it.
    if (size <= MIN_MESSAGE || size <= this.maxReply) return undefined;
    const most = this.#context.peerMaxMessage();
    // A protocol without windows does not say what the caller accepts.
    const whose = codec.features.window
      ? "the caller accepts"
      : "the server's maxMessage is";
    const limit = size > most
      ? `${whose} ${most}`
      : "the server's maxSendBuffer has no room for it";
    const text = `the reply has ${size} bytes; ${limit}`;
    return new RpcError("resource_exhausted", text);
  }
}

/** A call that the handler makes with its `ctx` has the same deadline, and may notice first that it has passed. That is a failure of neither. */
function sharedDeadline(
  call: ServerCall,
  error: unknown,
): RpcError | undefined {
  if (call.remaining > 0 || codeOf(error) !== "deadline_exceeded") {
    return undefined;
  }
  return new RpcError("deadline_exceeded", LATE);
}

/** The code of an `RpcError`. (A value that a handler throws may throw when it is looked at.) */
function codeOf(error: unknown): string | undefined {
  try {
    return error instanceof RpcError ? error.code : undefined;
  } catch {
    return undefined;
  }
}

/** Why the call's signal fired, if the handler failed only because what it waited for was aborted by that signal. */
function abortReason(call: ServerCall, error: unknown): RpcError | undefined {
  const { aborted } = call;
  if (aborted === undefined || !isAbortError(error)) return undefined;
  return toSendableError(aborted.reason);
}

function isAbortError(error: unknown): boolean {
  try {
    return (error as { name?: unknown }).name === "AbortError";
  } catch {
    return false;
  }
}

function refusedError(code: string, message: string): RpcError {
  return new RpcError(code, message, { outcome: "refused" });
}

/** The message of a failure `deadline_exceeded`. */
export const LATE = "the call's deadline has passed";
const HIDDEN = "the handler failed";
