/**
 * The errors that the library throws, and their codes.
 *
 * - The class of an error tells whether one call failed ({@linkcode RpcError})
 *   or a whole connection ({@linkcode ConnectionError}). Its text never does.
 * - The library's own codes are one closed table ({@linkcode ErrorCode}).
 * - Text from a peer is escaped and bounded ({@linkcode quote}).
 *
 * @module
 */

import { isInstance } from "./brand.ts";

/**
 * Whether a failed call may have run.
 *
 * - `not_sent`: its request does not reach the peer. Safe to send again.
 * - `refused`: the peer replied that it did not start it. Safe to send again.
 * - `unknown`: it was sent, and no reply came. It may have run.
 * - `executed`: its handler started, and the reply tells how it ended.
 */
export type Outcome = "not_sent" | "refused" | "unknown" | "executed";

/** Every code the library itself uses. */
export const ERROR_CODES = [
  "address_in_use",
  "cancelled",
  "deadline_exceeded",
  "dependency_failed",
  "dependency_gone",
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

/** Whether a code that a peer sent is one of the library's. */
export function isErrorCode(code: string): code is ErrorCode {
  return (ERROR_CODES as readonly string[]).includes(code);
}

/** The options of an {@linkcode RpcError}. */
export interface RpcErrorOptions {
  /** Whether the call may have run. Default `executed`, which fits an error that a handler throws. */
  outcome?: Outcome | undefined;
  /** Any value that the serializer can carry; sent with the error. */
  data?: unknown;
  /** What caused the error; it is never sent. */
  cause?: unknown;
  /** Whether the peer made the error. Default false; the library sets it, and tests may. */
  remote?: boolean | undefined;
}

/**
 * One call failed. The connection and all other calls continue, unless the
 * connection failed: then its {@linkcode ConnectionError} is the `cause`.
 *
 * A handler throws one to choose the code, message and data that its caller
 * receives. Everything else that a handler throws reaches the caller as
 * `internal`. So does an error of a call that the handler itself has made (one
 * with a `method`): what another service replied to this one is not for its
 * callers. To forward it, throw a new `RpcError` with what the caller may see.
 *
 * @example An error for a handler to throw
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
  /** What went wrong: one of {@linkcode ErrorCode}, or a handler's own code (at most 64 bytes are sent). */
  readonly code: ErrorCode | (string & Record<never, never>);
  /** Whether the call may have run. */
  readonly outcome: Outcome;
  /** What the handler attached, or `undefined`. */
  readonly data: unknown;
  /** The method of the call that failed, on the side that made the call; `undefined` in an error that a handler or middleware has made. */
  readonly method: string | undefined = undefined;
  /** Whether the peer sent the error. False if this side made it (a deadline, a lost connection, params that cannot be serialized). */
  readonly remote: boolean;

  /** The same in every copy of the library. */
  static get sluiceBrand(): string {
    return "RpcError";
  }

  /** True also for an instance that another copy of the library has made. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(value, this, RpcError);
  }

  /** At most 64 bytes of the code and 4 KiB of the message are sent. */
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

/**
 * Names the call that failed in an error of the library, unless the error names
 * a call already, and adds the stack of its caller if that is known. An error
 * that cannot be changed stays as it is.
 */
export function annotateError(
  error: unknown,
  method: string,
  calledAt: Error | undefined,
): void {
  try {
    if (!(error instanceof RpcError) || error.method !== undefined) return;
    Object.assign(error, { method });
    if (calledAt === undefined) return;
    const frames = `${calledAt.stack}`.replace(/^(?!\s*at\s|.*@).*\n/gm, "");
    error.stack = `${error.stack}\nCalled at:\n${frames}`;
  } catch {
    // It is an object of the user: frozen, or one that throws when it is read.
  }
}

/** Leaves out a cause of `undefined`, which would be printed as `[cause]: undefined`. */
export function causeOf(
  options: ErrorOptions | undefined,
): ErrorOptions | undefined {
  return options?.cause === undefined ? undefined : { cause: options.cause };
}

/**
 * A connection could not be made, or has ended other than by a local `close()`.
 * Each call that it ended rejects with an {@linkcode RpcError} that has this
 * error as its `cause`.
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

  /** The same in every copy of the library. */
  static get sluiceBrand(): string {
    return "ConnectionError";
  }

  /** True also for an instance that another copy of the library has made. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(value, this, ConnectionError);
  }

  /** The underlying error, if there is one, is the `cause`. */
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, causeOf(options));
    this.code = code;
  }
}

/**
 * Throws for bytes of the peer that break the rules of the protocol.
 *
 * @throws {ConnectionError} `protocol_error`, always.
 */
export function protocolError(message: string): never {
  throw new ConnectionError("protocol_error", message);
}

/**
 * Quotes a peer's text for a message or a log: control and non-ASCII characters
 * are escaped, and it is cut at `max` characters.
 */
export function quote(text: string, max = 64): string {
  const cut = text.length > max ? text.slice(0, max) : text;
  const json = JSON.stringify(cut).replace(
    /[^\x20-\x7e]/g,
    (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"),
  );
  return cut === text ? json : `${json}... (${text.length} characters)`;
}

/** Prints a duration for a message: whole milliseconds, fractions only below one. */
export function printMs(ms: number): string {
  return `${ms < 1 ? Number(ms.toPrecision(2)) : Math.round(ms)} ms`;
}

/** From what certainly did not run to what did. */
const ORDER: readonly Outcome[] = [
  "not_sent",
  "refused",
  "unknown",
  "executed",
];

/** The later one in that order. */
export function worse(a: Outcome, b: Outcome): Outcome {
  return ORDER.indexOf(a) > ORDER.indexOf(b) ? a : b;
}

/**
 * Copies what may be sent of an error that a handler threw; undefined for
 * anything but an {@linkcode RpcError}. One that has a `method` belongs to a call
 * that this side has made: what another service replied, or why it was not
 * reached, is not for the callers of this one. Reading a thrown value may throw.
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

/** Why a stream ends: its call has ended. */
export function callEndedError(): RpcError {
  const text = "the call is over, and its streams with it";
  return new RpcError("cancelled", text, { outcome: "unknown" });
}
