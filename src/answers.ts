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

import type { Clock } from "./clock.ts";
import type { Codec } from "./codec.ts";
import type { Connection } from "./connection.ts";
import type { Serving } from "./context.ts";
import { RpcError } from "./errors.ts";
import type { SchemaIssue } from "./method.ts";
import type { CallEvents, CameRequest } from "./observe.ts";
import type { Outbox } from "./outbox.ts";
import { noneServed, type ServedCounts } from "./stats.ts";
import { ownWords } from "./streams/words.ts";

/** What was thrown before the handler was called, where only who threw it can tell. */
export class NotStarted {
  readonly #error: unknown;

  constructor(error: unknown) {
    this.#error = error;
  }

  /** What was thrown, if `value` is one of these. (Not by `instanceof`: what a handler throws may throw on being looked at.) */
  static open(value: unknown): { readonly error: unknown } | undefined {
    const is = typeof value === "object" && value !== null && #error in value;
    return is ? { error: value.#error } : undefined;
  }
}

/** What the answers need of their connection. */
export interface AnswersContext {
  readonly connection: Connection;
  readonly clock: Clock;
  /** Is told of every answer, if anybody wants to know. */
  readonly observe: CallEvents | undefined;
  readonly codec: Codec;
  readonly outbox: Outbox;
  /** Whether callers see the message of what a handler throws. */
  readonly exposeErrors: boolean;
  /** What the peer accepts as a message body. */
  readonly peerMaxMessage: () => number;
  /** Tells the operator what `internal` hides from the caller. */
  readonly onError: (error: unknown, serving: Serving) => void;
}

/** Writes answers. Each of its methods returns whether it wrote one: encoding runs user code, which may end the connection. */
export class Answers {
  /** Answers so far, and calls that got none. */
  readonly counts: ServedCounts = noneServed();
  readonly #context: AnswersContext;

  constructor(context: AnswersContext) {
    this.#context = context;
  }

  /** Answers with a handler's result. */
  reply(serving: Serving, value: unknown): boolean {
    const { codec, outbox, observe } = this.#context;
    try {
      const given = value !== undefined && value === serving.given;
      codec.prepare(value, given, serving.method);
    } catch (error) {
      return this.fail(serving, true, this.unsayable(serving, error));
    }
    if (serving.done) return false;
    const error = this.#tooLarge(serving);
    if (error !== undefined) return this.fail(serving, true, error);
    const before = outbox.size;
    codec.reply(outbox, serving.id, serving.answered);
    this.counts.ok++;
    if (observe !== undefined) {
      const bytes = outbox.size - before;
      observe.answered(serving, "executed", undefined, bytes);
    }
    return true;
  }

  /** Answers with what a handler or a schema threw, or with `internal` in its place. */
  report(serving: Serving, started: boolean, error: unknown): boolean {
    const early = NotStarted.open(error);
    if (early !== undefined) return this.report(serving, false, early.error);
    return this.fail(serving, started, this.describe(serving, error));
  }

  /** What the caller is told of what a handler threw; the operator is told the rest. */
  describe(serving: Serving, error: unknown): RpcError {
    const own = ownWords(error) ?? givenUp(serving, error);
    if (own !== undefined) return own;
    this.#context.onError(error, serving);
    const text = this.#context.exposeErrors ? describe(error) : HIDDEN;
    return new RpcError("internal", text);
  }

  /** The same of a result that has no form on the wire, or an item of one. */
  unsayable(serving: Serving, error: unknown): RpcError {
    this.#context.onError(error, serving);
    return new RpcError(
      "internal",
      "the handler's result cannot be serialized",
    );
  }

  /** Answers that the result is a stream; returns what the call fails with if that cannot be said. */
  stream(serving: Serving): RpcError | undefined {
    const { codec, outbox } = this.#context;
    codec.streams?.prepare();
    const error = this.#tooLarge(serving);
    if (error === undefined) {
      codec.reply(outbox, serving.id, serving.answered);
    }
    return error;
  }

  /** A result that is a stream has ended, and the call with it. */
  streamed(serving: Serving, error: RpcError | undefined): void {
    this.counts[error === undefined ? "ok" : "failed"]++;
    this.#context.observe?.answered(serving, "executed", error, undefined);
  }

  /** Answers with an error as it is. */
  fail(serving: Serving, started: boolean, error: RpcError): boolean {
    const { codec, outbox, peerMaxMessage, observe } = this.#context;
    const { code, message, data } = error;
    try {
      codec.prepare(data, false);
    } catch {
      // Data that has no form on the wire does not hold the failure up.
      codec.prepare(undefined, false);
    }
    if (serving.done) return false;
    const most = peerMaxMessage();
    const { id, answered } = serving;
    const before = outbox.size;
    codec.failure(outbox, id, started, code, message, most, answered);
    this.counts[started ? "failed" : "refused"]++;
    if (observe !== undefined) {
      const outcome = started ? "executed" : "refused";
      observe.answered(serving, outcome, error, outbox.size - before);
    }
    return true;
  }

  /** Answers a call that got no further than its header. */
  refuse(request: CameRequest, code: string, message: string): void {
    const { observe, clock } = this.#context;
    const bytes = this.#refuse(request.id, code, message);
    if (!observe?.active) return;
    observe.refused(request, clock, refusal(code, message), bytes);
  }

  /** Answers a call that waited and is not to be started. An error with its stack costs more than all else here, so a flood of cancels makes none. */
  turnDown(serving: Serving, code: string, message: string): void {
    const { observe } = this.#context;
    const bytes = this.#refuse(serving.id, code, message);
    observe?.answered(serving, "refused", refusal(code, message), bytes);
  }

  #refuse(id: number, code: string, message: string): number {
    const { codec, outbox, peerMaxMessage } = this.#context;
    codec.prepare(undefined, false);
    const before = outbox.size;
    codec.failure(outbox, id, false, code, message, peerMaxMessage());
    this.counts.refused++;
    return outbox.size - before;
  }

  /** What a call fails with whose prepared reply is larger than it may be. */
  #tooLarge(serving: Serving): RpcError | undefined {
    const { codec, peerMaxMessage } = this.#context;
    const size = codec.replySize(serving.answered);
    const most = peerMaxMessage();
    if (size <= most) return undefined;
    // Where no caller says what it accepts, the limit is our own.
    const limit = codec.features.window
      ? "the caller accepts"
      : "the server's maxMessage is";
    const text = `a reply of ${size} bytes; ${limit} ${most}`;
    return new RpcError("resource_exhausted", text);
  }

  /** A call will never be answered: its connection is over. */
  lost(serving: Serving, why: () => RpcError): void {
    this.counts.lost++;
    this.#context.observe?.lost(serving, why());
  }
}

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
function givenUp(serving: Serving, error: unknown): RpcError | undefined {
  const { aborted } = serving;
  if (aborted === undefined || !isAbort(error)) return undefined;
  return ownWords(aborted.reason);
}

function isAbort(error: unknown): boolean {
  try {
    return (error as { name?: unknown }).name === "AbortError";
  } catch {
    return false;
  }
}

function describe(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error);
  } catch {
    return HIDDEN;
  }
}
