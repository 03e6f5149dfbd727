/**
 * The errors Sluice throws, and the words they are told by.
 *
 * Invariants owned here:
 * - A fault says in its class whether it ended one call ({@linkcode RpcError})
 *   or a whole connection ({@linkcode ConnectionError}); never in its text.
 * - The library's own codes are one closed table ({@linkcode ErrorCode}).
 * - Text made from a peer's bytes is escaped and bounded ({@linkcode quote}).
 *
 * @module
 */

import { brand } from "./brand.ts";

/**
 * Whether a failed call may have run.
 *
 * - `not_sent`: no request with its id reaches the peer. Safe to send again.
 * - `refused`: the peer says that it did not start it. Safe to send again.
 * - `unknown`: handed over, and no answer came. It may have run.
 * - `executed`: its handler started, and an answer says how it ended.
 */
export type Outcome = "not_sent" | "refused" | "unknown" | "executed";

/** Every code the library itself uses. */
export const ERROR_CODES = [
  "address_in_use",
  "cancelled",
  "deadline_exceeded",
  "frame_too_large",
  "internal",
  "invalid_argument",
  "invalid_reply",
  "not_found",
  "not_sluice",
  "permission_denied",
  "protocol_error",
  "resource_exhausted",
  "serializer_mismatch",
  "truncated",
  "unauthenticated",
  "unavailable",
  "version_mismatch",
] as const;

/**
 * Every code the library itself uses; `docs/errors.md` gives cause and remedy
 * of each. A handler may throw an {@linkcode RpcError} with a code of its own.
 */
export type ErrorCode = (typeof ERROR_CODES)[number];

/** Whether a peer's word is one of the library's codes. */
export function isErrorCode(code: string): code is ErrorCode {
  return (ERROR_CODES as readonly string[]).includes(code);
}

/** What an {@linkcode RpcError} is made from. */
export interface RpcErrorOptions {
  /** Whether the call may have run; `executed` unless given, which is what a handler that throws one means. */
  outcome?: Outcome | undefined;
  /** Anything the serializer can carry; travels with the error. */
  data?: unknown;
  /** What brought the error about; stays on this side of the wire. */
  cause?: unknown;
  /** Whether the peer made the error. Default false; the library sets it, and tests may. */
  remote?: boolean | undefined;
}

/**
 * One call failed; the connection and all other calls go on (or have an end of
 * their own, which is then the `cause`).
 *
 * A handler throws one to choose the code, message and data that its caller
 * sees; everything else a handler throws reaches the caller as `internal`. So
 * does an error of a call that the handler itself has made (one with a
 * `method`): what another service says to this one is not for its callers. To
 * forward it, throw a new `RpcError` with what the caller may see.
 *
 * @example A handler that says what is wrong
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { RpcError } from "@sluice/rpc";
 *
 * const error = new RpcError("out_of_stock", "no cups left", { data: { cups: 0 } });
 * assertEquals(error.code, "out_of_stock");
 * assertEquals(error.outcome, "executed");
 * ```
 */
export class RpcError extends Error {
  /** The class name, fixed so that minifying does not change it. */
  override readonly name = "RpcError";
  /** What went wrong: one of {@linkcode ErrorCode}, or a handler's own code (at most 64 bytes on the wire). */
  readonly code: ErrorCode | (string & Record<never, never>);
  /** Whether the call may have run. */
  readonly outcome: Outcome;
  /** What the handler attached, or `undefined`. */
  readonly data: unknown;
  /** The method of the call that failed with it, at the end that made the call; `undefined` of an error that a handler or middleware has made. */
  readonly method: string | undefined = undefined;
  /** Where it was made: true if the peer sent it, false if this end found out by itself (a deadline, a lost connection, params without a form on the wire). */
  readonly remote: boolean;

  static {
    brand(this, "RpcError");
  }

  /** Makes one; at most 64 bytes of the code and 4 KiB of the message travel. */
  constructor(
    code: ErrorCode | (string & Record<never, never>),
    message: string,
    options: RpcErrorOptions = {},
  ) {
    super(message, causeOf(options));
    this.code = code;
    this.outcome = options.outcome ?? "executed";
    this.data = options.data;
    this.remote = options.remote === true;
  }
}

/** Names the call that failed with an error, unless that names one, and says where it was called if that is known. What cannot be changed stays as it is. */
export function attribute(
  error: RpcError,
  method: string,
  calledAt: Error | undefined,
): void {
  try {
    if (error.method !== undefined) return;
    Object.assign(error, { method });
    if (calledAt === undefined) return;
    const frames = `${calledAt.stack}`.replace(/^(?!\s*at\s|.*@).*\n/gm, "");
    error.stack = `${error.stack}\nCalled at:\n${frames}`;
  } catch {
    // It is a user's own, frozen or worse.
  }
}

/** A cause of `undefined` is none: an error that had it would be printed with `[cause]: undefined`. */
export function causeOf(
  options: ErrorOptions | undefined,
): ErrorOptions | undefined {
  return options?.cause === undefined ? undefined : { cause: options.cause };
}

/**
 * A connection could not be made, or has ended otherwise than by its own
 * `close()`. The calls it took with it reject with an {@linkcode RpcError} each
 * that has this as its `cause`.
 *
 * @example
 * ```ts
 * import { assertRejects } from "@std/assert";
 * import { connect, ConnectionError } from "@sluice/rpc";
 *
 * // Port 1 of loopback: nobody listens there.
 * await assertRejects(() => connect({ port: 1 }), ConnectionError);
 * ```
 */
export class ConnectionError extends Error {
  /** The class name, fixed so that minifying does not change it. */
  override readonly name = "ConnectionError";
  /** What went wrong. */
  readonly code: ErrorCode;

  static {
    brand(this, "ConnectionError");
  }

  /** Makes one; the underlying error, where there is one, is the `cause`. */
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, causeOf(options));
    this.code = code;
  }
}

/**
 * Ends the connection: the peer's bytes break the rules of the protocol.
 *
 * @throws {ConnectionError} `protocol_error`, always.
 */
export function protocolError(message: string): never {
  throw new ConnectionError("protocol_error", message);
}

/**
 * A peer's text made fit for a message or a log: quoted, control and
 * non-ASCII characters escaped, cut at `max` characters.
 */
export function quote(text: string, max = 64): string {
  const cut = text.length > max ? text.slice(0, max) : text;
  const json = JSON.stringify(cut).replace(
    /[^\x20-\x7e]/g,
    (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"),
  );
  return cut === text ? json : `${json}... (${text.length} characters)`;
}

/** A duration for a message: whole milliseconds, and fractions below one. */
export function printMs(ms: number): string {
  return `${ms < 1 ? Number(ms.toPrecision(2)) : Math.round(ms)} ms`;
}

/** From what surely did not run to what did. */
const ORDER: readonly Outcome[] = [
  "not_sent",
  "refused",
  "unknown",
  "executed",
];

/** The one that says more of what may have happened. */
export function worse(a: Outcome, b: Outcome): Outcome {
  return ORDER.indexOf(a) > ORDER.indexOf(b) ? a : b;
}

/**
 * An RpcError in words that can be sent; undefined for anything else. One that
 * has a `method` is of a call that this end has made: what another service
 * says to this one, or why it was not reached, is not for this one's callers.
 * What was thrown may throw again on being looked at.
 */
export function toSendableError(error: unknown): RpcError | undefined {
  try {
    if (!(error instanceof RpcError)) return undefined;
    const { code, message, data, method } = error;
    if (method !== undefined) return undefined;
    return new RpcError(`${code}`, `${message}`, { data });
  } catch {
    return undefined;
  }
}

/** Why a stream ends whose call does. */
export function callEndedError(): RpcError {
  const text = "the call is over, and its streams with it";
  return new RpcError("cancelled", text, { outcome: "unknown" });
}
