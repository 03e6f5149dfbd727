/**
 * Error codes: the library's words and JSON-RPC's numbers.
 *
 * Invariants owned here:
 * - A number says `refused` only where its meaning rules out that the call was
 *   started; where it leaves that open, so does the outcome.
 * - What has no word keeps its number: code "-32050" is the number -32050, and
 *   the other way round.
 *
 * @module
 */

import { own } from "./message.ts";

/** The message is not JSON. */
export const PARSE_ERROR = -32700;
/** The message is no request and no response. */
export const INVALID_REQUEST = -32600;
/** This end has no room for the call. */
export const OVERLOADED = -32080;
/** What a code becomes that has no number. */
const SERVER_ERROR = -32000;

/** A word, its number, and whether that says that the call was started; undefined if it may or may not. */
type CodeRow = readonly [code: string, number: number, started?: boolean];

const COMMON: readonly CodeRow[] = [
  ["protocol_error", INVALID_REQUEST, false],
  ["protocol_error", PARSE_ERROR, false],
  ["not_found", -32601, false],
  ["invalid_argument", -32602],
  ["internal", -32603],
  ["cancelled", -32800],
  ["resource_exhausted", OVERLOADED, false],
  ["unavailable", -32081, false],
  // Thrown by a handler: these must not look as if it had never started.
  ["not_found", -32082, true],
  ["resource_exhausted", -32083, true],
  ["unavailable", -32084, true],
  ["deadline_exceeded", -32085, true],
  ["permission_denied", -32086, true],
  ["unauthenticated", -32087, true],
];

/** Language servers' own. */
export const LSP_CODES: readonly CodeRow[] = [
  ["server_not_initialized", -32002, false],
  ["content_modified", -32801, true],
  ["server_cancelled", -32802],
  ["request_failed", -32803, true],
];

/** What a failure says. */
export interface CodedFailure {
  readonly code: string;
  readonly started: boolean | undefined;
  readonly message: string;
  readonly data: unknown;
}

/** Both directions of one connection's table. */
export class Codes {
  readonly #rows: readonly CodeRow[];

  /** @param custom A user's own: numbers by word. They go before all others. */
  constructor(
    custom: Readonly<Record<string, number>>,
    dialect: readonly CodeRow[],
  ) {
    const rows: CodeRow[] = Object.entries(custom).map(([code, number]) => {
      if (Number.isSafeInteger(number)) return [code, number, true];
      throw new TypeError(
        `Cannot use codes: ${code} is not a whole number, received ${number}`,
      );
    });
    this.#rows = [...rows, ...dialect, ...COMMON];
  }

  /** The number of a failure. */
  toNumber(code: string, started: boolean): number {
    const rows = this.#rows.filter((row) => row[0] === code);
    const fit = ([, , says]: CodeRow) => says === undefined || says === started;
    const row = rows.find(fit) ?? rows[0];
    if (row !== undefined) return row[1];
    return isNumeric(code) ? Number(code) : SERVER_ERROR;
  }

  /** What an `error` member says, of whatever form it is. */
  read(error: unknown): CodedFailure {
    if (typeof error !== "object" || error === null) {
      // As JSON-RPC 1.0 has it: any value.
      const message = typeof error === "string" ? error : "the call failed";
      return { code: "internal", started: undefined, message, data: error };
    }
    const number = own(error, "code");
    const text = own(error, "message");
    return {
      ...this.#fromNumber(number),
      message: typeof text === "string" ? text : "the call failed",
      data: own(error, "data"),
    };
  }

  #fromNumber(number: unknown): Pick<CodedFailure, "code" | "started"> {
    if (!Number.isSafeInteger(number)) {
      return { code: "internal", started: undefined };
    }
    const row = this.#rows.find((row) => row[1] === number);
    if (row !== undefined) return { code: row[0], started: row[2] };
    // Below are the specification's own and its servers'; the rest are answers
    // that applications give.
    const reserved = (number as number) >= -32768 &&
      (number as number) <= -32000;
    return { code: String(number), started: reserved ? undefined : true };
  }
}

function isNumeric(code: string): boolean {
  return /^-?(0|[1-9][0-9]{0,14})$/.test(code);
}
