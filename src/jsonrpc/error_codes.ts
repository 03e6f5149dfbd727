/**
 * Error codes: maps the library's codes, which are text, to the numbers that
 * JSON-RPC sends, and back.
 *
 * Bounds on what a number proves:
 * - A number stands for the outcome `refused` only if its meaning rules out
 *   that a handler was started. Where the meaning leaves that open, the outcome
 *   is `unknown`.
 * - A number without a code in the table becomes its digits as text (-32050
 *   becomes the code "-32050"), and such a code becomes the same number again.
 *
 * The numbers come from JSON-RPC 2.0 section 5.1 and from LSP 3.17, "Error
 * Codes". Those from -32087 to -32080 are this library's own; they lie in the
 * range that section 5.1 leaves to servers (-32099 to -32000).
 *
 * @module
 */

import { ownProperty } from "./message.ts";

/** The message is not JSON. */
export const PARSE_ERROR = -32700;
/** The message is neither a request nor a response. */
export const INVALID_REQUEST = -32600;
/** The receiver has no capacity for the call. */
export const OVERLOADED = -32080;
/** Sent for a code that has no number. */
const SERVER_ERROR = -32000;
/** The error message where the peer sent none. */
const NO_MESSAGE = "the call failed, and the peer sent no error message";

/**
 * One code and its number. `started` tells whether the number proves that a
 * handler was started (true) or was not (false); undefined if it proves neither.
 */
type ErrorCodeRow = readonly [code: string, number: number, started?: boolean];

const COMMON: readonly ErrorCodeRow[] = [
  ["protocol_error", INVALID_REQUEST, false],
  ["protocol_error", PARSE_ERROR, false],
  ["not_found", -32601, false],
  ["invalid_argument", -32602],
  ["internal", -32603],
  ["cancelled", -32800],
  ["resource_exhausted", OVERLOADED, false],
  ["unavailable", -32081, false],
  // Thrown by a handler: the number must not suggest that it never started.
  ["not_found", -32082, true],
  ["resource_exhausted", -32083, true],
  ["unavailable", -32084, true],
  ["deadline_exceeded", -32085, true],
  ["permission_denied", -32086, true],
  ["unauthenticated", -32087, true],
];

/** The codes that the Language Server Protocol adds. */
export const LSP_ERROR_CODES: readonly ErrorCodeRow[] = [
  ["server_not_initialized", -32002, false],
  ["content_modified", -32801, true],
  ["server_cancelled", -32802],
  ["request_failed", -32803, true],
];

/** The content of a response's `error` member. */
export interface DecodedError {
  readonly code: string;
  /** Whether the handler was started; undefined if the number does not tell. */
  readonly started: boolean | undefined;
  readonly message: string;
  readonly data: unknown;
}

/** The error codes of one connection, for both directions. */
export class ErrorCodeTable {
  readonly #rows: readonly ErrorCodeRow[];

  /**
   * @param custom The user's numbers, by code. They take precedence.
   * @param dialect The codes that the dialect adds.
   * @throws {TypeError} If a number is not a safe integer.
   */
  constructor(
    custom: Readonly<Record<string, number>>,
    dialect: readonly ErrorCodeRow[],
  ) {
    const rows: ErrorCodeRow[] = Object.entries(custom).map(
      ([code, number]) => {
        if (Number.isSafeInteger(number)) return [code, number, true];
        throw new TypeError(
          `Cannot use codes: the number of ${code} must be a safe integer, received ${number}`,
        );
      },
    );
    this.#rows = [...rows, ...dialect, ...COMMON];
  }

  /** The number to send for an error; `started` tells whether its handler was started. */
  toNumber(code: string, started: boolean): number {
    const rows = this.#rows.filter((row) => row[0] === code);
    const fits = ([, , proves]: ErrorCodeRow) =>
      proves === undefined || proves === started;
    const row = rows.find(fits) ?? rows[0];
    if (row !== undefined) return row[1];
    return isNumeric(code) ? Number(code) : SERVER_ERROR;
  }

  /** Reads an `error` member, whatever its form. */
  decode(error: unknown): DecodedError {
    if (typeof error !== "object" || error === null) {
      // JSON-RPC 1.0 allows any value here.
      const message = typeof error === "string" ? error : NO_MESSAGE;
      return { code: "internal", started: undefined, message, data: error };
    }
    const number = ownProperty(error, "code");
    const message = ownProperty(error, "message");
    return {
      ...this.#fromNumber(number),
      message: typeof message === "string" ? message : NO_MESSAGE,
      data: ownProperty(error, "data"),
    };
  }

  #fromNumber(number: unknown): Pick<DecodedError, "code" | "started"> {
    if (!Number.isSafeInteger(number)) {
      return { code: "internal", started: undefined };
    }
    const row = this.#rows.find((row) => row[1] === number);
    if (row !== undefined) return { code: row[0], started: row[2] };
    // Section 5.1 reserves -32768 to -32000 for the protocol and for servers,
    // which may refuse a call. All other numbers come from a handler.
    const reserved = (number as number) >= -32768 &&
      (number as number) <= -32000;
    return { code: String(number), started: reserved ? undefined : true };
  }
}

/** Whether a code is a whole number in decimal digits. 15 digits are exact. */
function isNumeric(code: string): boolean {
  return /^-?(0|[1-9][0-9]{0,14})$/.test(code);
}
