/**
 * What the peer is told of the calls it makes.
 *
 * Invariants owned here:
 * - A result or error that has no form on the wire, or is larger than the
 *   caller accepts, becomes a failure of that call alone.
 * - What a handler throws that is no `RpcError` reaches the caller as
 *   `internal`, without its message or stack, unless the server was told to
 *   expose it; `onError` gets all of it.
 *
 * @module
 */

import { isInstance } from "../base/brand.ts";
import type { Clock } from "../base/clock.ts";
import type { Codec } from "../wire/codec.ts";
import type { Connection } from "../types/connection.ts";
import type { ServerCall } from "./server_call.ts";
import { RpcError, toSendableError } from "../base/errors.ts";
import type { SchemaIssue } from "../types/schema.ts";
import type { CallObserverHub, RequestInfo } from "../types/observe.ts";
import type { SendBuffer } from "../connection/send_buffer.ts";
import { noneServed, type ServedCounts } from "../types/stats.ts";
import type { Thrown } from "../base/pull_source.ts";
import { GONE } from "../wire/payload.ts";
import { unserializable } from "../wire/to_json.ts";
import { messageOf } from "../base/user_code.ts";

/** What was thrown before the handler was called, where only who threw it can tell. */
export class PreHandlerError {
  readonly error: unknown;

  /** The same in every copy of the library. */
  static get sluiceBrand(): string {
    return "NotStarted";
  }

  /** True also for an instance that another copy of the library has made. */
  static [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(value, this, PreHandlerError);
  }

  constructor(error: unknown) {
    this.error = error;
  }

  /** What was thrown, if `value` is one of these. What a handler throws may throw again on being looked at. */
  static open(value: unknown): { readonly error: unknown } | undefined {
    try {
      return value instanceof PreHandlerError
        ? { error: value.error }
        : undefined;
    } catch {
      return undefined;
    }
  }
}

/** What the answers need of their connection. */
export interface ResponderContext {
  readonly connection: Connection;
  readonly clock: Clock;
  /** Is told of every answer, if anybody wants to know. */
  readonly observe: CallObserverHub | undefined;
  readonly codec: Codec;
  readonly sendBuffer: SendBuffer;
  /** Whether callers see the message of what a handler throws. */
  readonly exposeErrors: boolean;
  /** What the peer accepts as a message body. */
  peerMaxMessage(): number;
  /** Tells the operator what `internal` hides from the caller. */
  readonly onError: (error: unknown, call: ServerCall) => void;
}

/** Writes answers. Each of its methods returns whether it wrote one: encoding runs user code, which may end the connection. */
export class Responder {
  /** Answers so far, and calls that got none. */
  readonly counts: ServedCounts = noneServed();
  readonly #context: ResponderContext;
  /** Calls answered in this batch with bytes that their handlers gave away. */
  #given: ServerCall[] = [];

  constructor(context: ResponderContext) {
    this.#context = context;
  }

  /** Answers with a handler's result. */
  reply(call: ServerCall, value: unknown): boolean {
    const { codec, sendBuffer, observe } = this.#context;
    // The connection ends for it: an answer is not even encoded any more.
    if (sendBuffer.full) return false;
    try {
      const given = value !== undefined && value === call.transferred;
      codec.prepare(value, given, call.method, "result");
    } catch (error) {
      return this.fail(
        call,
        true,
        this.unserializableResult(call, error),
      );
    }
    if (call.done) return false;
    const error = this.#tooLarge(call);
    if (error !== undefined) return this.fail(call, true, error);
    const before = sendBuffer.size;
    codec.reply(sendBuffer, call.id, call.replyMetadata);
    this.counts.ok++;
    if (call.transferred !== undefined) this.#given.push(call);
    call.ending?.end({ items: undefined, error: undefined });
    if (observe !== undefined) {
      const bytes = sendBuffer.size - before;
      observe.answered(call, "executed", undefined, bytes);
    }
    return true;
  }

  /** Answers with what a handler or a schema threw, or with `internal` in its place. */
  replyWithError(
    call: ServerCall,
    started: boolean,
    error: unknown,
  ): boolean {
    const early = PreHandlerError.open(error);
    if (early !== undefined) {
      return this.replyWithError(call, false, early.error);
    }
    return this.fail(call, started, this.toRpcError(call, error));
  }

  /** What the caller is told of what a handler threw; the operator is told the rest. */
  toRpcError(call: ServerCall, error: unknown): RpcError {
    const own = toSendableError(error) ?? shared(error, call) ??
      givenUp(call, error);
    if (own !== undefined) return this.#sayable(call, own);
    this.#context.onError(error, call);
    const text = this.#context.exposeErrors ? messageOf(error, HIDDEN) : HIDDEN;
    return new RpcError("internal", text);
  }

  /** An error whose data can be sent: data that has no form on the wire does not hold it up. */
  #sayable(call: ServerCall, error: RpcError): RpcError {
    const { code, message, data } = error;
    if (data === undefined) return error;
    try {
      this.#context.codec.prepare(data, false, undefined, "data");
      return error;
    } catch (cause) {
      this.#context.onError(cause, call);
      return new RpcError(code, message);
    }
  }

  /** Tells the operator what a stream's cleanup threw, if it did. */
  cleanedUp(call: ServerCall, thrown: Thrown | undefined): void {
    if (thrown === undefined) return;
    const { error } = thrown;
    if (givenUp(call, error) === undefined) {
      this.#context.onError(error, call);
    }
  }

  /** The same of a result that has no form on the wire, or an item of one. */
  unserializableResult(call: ServerCall, error: unknown): RpcError {
    this.#context.onError(error, call);
    return new RpcError(
      "internal",
      "the handler's result cannot be serialized",
    );
  }

  /** A batch has gone, and what was given away with it. */
  onFlush(): void {
    if (this.#given.length > 0) this.#given = [];
  }

  /** The reply to call `id` is handed over without the bytes that were its result: it fails in the next batch. */
  spoiled(id: number): void {
    const call = this.#given.find((call) => call.id === id);
    if (call === undefined) return;
    queueMicrotask(() => {
      const gone = unserializable(`result: ${GONE}`);
      const { code, message } = this.unserializableResult(call, gone);
      const { codec, sendBuffer } = this.#context;
      const most = this.#context.peerMaxMessage();
      codec.prepare(undefined, false);
      codec.failure(sendBuffer, id, true, code, message, most);
    });
  }

  /** Answers that the result is a stream; returns what the call fails with if that cannot be said. */
  stream(call: ServerCall): RpcError | undefined {
    const { codec, sendBuffer } = this.#context;
    codec.streams?.prepare();
    const error = this.#tooLarge(call);
    if (error === undefined) {
      codec.reply(sendBuffer, call.id, call.replyMetadata);
    }
    return error;
  }

  /** A result that is a stream has ended, and the call with it. */
  finishStream(call: ServerCall, error: RpcError | undefined): void {
    this.counts[error === undefined ? "ok" : "failed"]++;
    call.ending?.end({ items: call.streams?.writer?.items, error });
    this.#context.observe?.answered(call, "executed", error, undefined);
  }

  /** Answers with an error as it is. */
  fail(call: ServerCall, started: boolean, error: RpcError): boolean {
    const { codec, sendBuffer, observe } = this.#context;
    if (sendBuffer.full) return false;
    const { code, message, data } = error;
    try {
      codec.prepare(data, false, undefined, "data");
    } catch (cause) {
      // Data that has no form on the wire does not hold the failure up.
      this.#context.onError(cause, call);
      codec.prepare(undefined, false);
    }
    if (call.done) return false;
    const most = this.#most;
    const { id, replyMetadata: answered } = call;
    const before = sendBuffer.size;
    codec.failure(sendBuffer, id, started, code, message, most, answered);
    this.counts[started ? "failed" : "refused"]++;
    call.ending?.end({ items: undefined, error });
    if (observe !== undefined) {
      const outcome = started ? "executed" : "refused";
      observe.answered(call, outcome, error, sendBuffer.size - before);
    }
    return true;
  }

  /** Answers a call that got no further than its header. */
  refuse(request: RequestInfo, code: string, message: string): void {
    const { observe, clock } = this.#context;
    const bytes = this.#refuse(request.id, code, message);
    if (!observe?.active) return;
    observe.refused(request, clock, refusal(code, message), bytes);
  }

  /** Answers a call that waited and is not to be started. An error with its stack costs more than all else here, so a flood of cancels makes none. */
  rejectUnstarted(call: ServerCall, code: string, message: string): void {
    const { observe } = this.#context;
    const bytes = this.#refuse(call.id, code, message);
    const { ending } = call;
    if (ending === undefined && observe === undefined) return;
    const error = refusal(code, message);
    ending?.end({ items: undefined, error });
    observe?.answered(call, "refused", error, bytes);
  }

  #refuse(id: number, code: string, message: string): number {
    const { codec, sendBuffer } = this.#context;
    codec.prepare(undefined, false);
    const before = sendBuffer.size;
    codec.failure(sendBuffer, id, false, code, message, this.#most);
    this.counts.refused++;
    return sendBuffer.size - before;
  }

  /** The largest body of an answer: what the peer accepts, and what there can be room for. */
  get #most(): number {
    const { codec, sendBuffer, peerMaxMessage } = this.#context;
    return Math.min(peerMaxMessage(), sendBuffer.most - codec.overhead);
  }

  /** What a call fails with whose prepared reply can never be sent. */
  #tooLarge(call: ServerCall): RpcError | undefined {
    const { codec, peerMaxMessage } = this.#context;
    const size = codec.replySize(call.replyMetadata);
    if (size <= this.#most) return undefined;
    const most = peerMaxMessage();
    // Without windows, this end's own limit is all there is.
    const whose = codec.features.window
      ? "the caller accepts"
      : "the server's maxMessage is";
    const text = size > most
      ? `a reply of ${size} bytes; ${whose} ${most}`
      : `a reply of ${size} bytes, for which the server's maxSendBuffer has no room`;
    return new RpcError("resource_exhausted", text);
  }

  /** A call will never be answered: its connection is over. */
  onConnectionLost(call: ServerCall, why: () => RpcError): void {
    this.counts.lost++;
    const items = call.streams?.writer?.items;
    call.ending?.end({ items, error: why() });
    this.#context.observe?.lost(call, why());
  }
}

/** A call that the handler made for this one shares its deadline, and may notice first that it has passed: no failure of either. */
function shared(error: unknown, call: ServerCall): RpcError | undefined {
  if (call.remaining > 0 || codeOf(error) !== LATE) return undefined;
  return new RpcError(LATE, "the call's deadline has passed");
}

/** The code of an error of a call; what was thrown may throw again on being looked at. */
function codeOf(error: unknown): string | undefined {
  try {
    return error instanceof RpcError ? error.code : undefined;
  } catch {
    return undefined;
  }
}

const LATE = "deadline_exceeded";

function refusal(code: string, message: string): RpcError {
  return new RpcError(code, message, { outcome: "refused" });
}

const HIDDEN = "the handler failed";

/** Most issues that travel with an `invalid_argument`. */
const MAX_ISSUES = 32;

/** A schema's issues as they travel. */
export function invalid(issues: readonly SchemaIssue[]): RpcError {
  const data = issues.slice(0, MAX_ISSUES).map(({ message, path }) => ({
    message: `${message}`,
    path: path?.map((p) => String(typeof p === "object" ? p.key : p)),
  }));
  const text = data[0]?.message ?? "the params are not valid";
  return new RpcError("invalid_argument", text, { data });
}

/** Why the call was given up, if that is all that the handler failed with: what it waited for was aborted by its signal. */
function givenUp(call: ServerCall, error: unknown): RpcError | undefined {
  const { aborted } = call;
  if (aborted === undefined || !isAbort(error)) return undefined;
  return toSendableError(aborted.reason);
}

function isAbort(error: unknown): boolean {
  try {
    return (error as { name?: unknown }).name === "AbortError";
  } catch {
    return false;
  }
}
