/**
 * What can be set of a JSON-RPC wire.
 *
 * Invariant owned here: options are looked at when they are given, before any
 * stream is taken over.
 *
 * @module
 */

import { checkWindow } from "../wire/limits.ts";
import { Codes } from "./codes.ts";
import { type Dialect, type DialectName, toDialect } from "./dialect.ts";
import { checkFraming, type FramingName } from "./framing.ts";

/** Options of a JSON-RPC wire; both ends must agree on the first two. */
export interface JsonRpcOptions {
  /** How calls are cancelled. Default `none`: they are not. */
  dialect?: DialectName | undefined;
  /** How messages are told apart. Default `contentLength` for `lsp`, else `lines`. */
  framing?: FramingName | undefined;
  /** Calls of ours in flight at once, as the peer grants no window. Default: `windowCalls`, 4,096. */
  window?: number | undefined;
  /** Numbers of error codes beyond those of the specification, by their words: `{ out_of_stock: 1001 }`. */
  codes?: Readonly<Record<string, number>> | undefined;
}

/** The options, looked at. */
export interface Shape {
  readonly dialect: Dialect;
  readonly framing: FramingName;
  readonly window: number | undefined;
  readonly codes: Codes;
}

/**
 * Looks at options; those that are not ours are none of our business.
 *
 * @throws {TypeError} If one is none of its values.
 * @throws {RangeError} If `window` is no whole number from 1.
 */
export function toShape(options: JsonRpcOptions): Shape {
  const { window } = options;
  const dialect = toDialect(options.dialect ?? "none");
  checkWindow(window);
  return {
    dialect,
    framing: checkFraming(options.framing ?? dialect.framing),
    window,
    codes: new Codes(options.codes ?? {}, dialect.codes),
  };
}
