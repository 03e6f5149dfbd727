/**
 * What can be set of a JSON-RPC wire.
 *
 * Invariant owned here: options are looked at when they are given, before any
 * stream is taken over.
 *
 * @module
 */

import { checkWindow } from "../wire/limits.ts";
import { Codes, LSP_CODES } from "./error_codes.ts";

import { checkFraming, type FramingName } from "./framing.ts";
import type { WireFeatures } from "../wire/codec.ts";
import { own } from "./message.ts";

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
export interface JsonRpcSettings {
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
export function toShape(options: JsonRpcOptions): JsonRpcSettings {
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

/**
 * - `lsp`: language servers and editors. `$/cancelRequest`; a cancelled call is
 *   answered all the same.
 * - `mcp`: the Model Context Protocol. `notifications/cancelled`; a cancelled
 *   call is not answered, and `initialize` is never cancelled.
 * - `none`: JSON-RPC as its specification has it, where nothing can be cancelled.
 */
export type DialectName = "lsp" | "mcp" | "none";

/** A dialect. */
export interface Dialect {
  readonly features: WireFeatures;
  /** What it is framed with unless said otherwise. */
  readonly framing: FramingName;
  /** The notification that cancels, and its member that names the call. */
  readonly cancel:
    | { readonly method: string; readonly member: string }
    | undefined;
  /** A method that must not be cancelled. */
  readonly sacred: string | undefined;
  readonly codes: typeof LSP_CODES;
}

const features = (cancel: WireFeatures["cancel"]): WireFeatures => ({
  window: false,
  goaway: false,
  deadline: false,
  ping: false,
  streams: false,
  cancel,
  excess: "refuse",
  unknownReply: "drop",
});

const DIALECTS: Readonly<Record<DialectName, Dialect>> = {
  lsp: {
    features: features("answered"),
    framing: "contentLength",
    cancel: { method: "$/cancelRequest", member: "id" },
    sacred: undefined,
    codes: LSP_CODES,
  },
  mcp: {
    features: features("silent"),
    framing: "lines",
    cancel: { method: "notifications/cancelled", member: "requestId" },
    sacred: "initialize",
    codes: [],
  },
  none: {
    features: features("none"),
    framing: "lines",
    cancel: undefined,
    sacred: undefined,
    codes: [],
  },
};

/**
 * The dialect of a name.
 *
 * @throws {TypeError} If there is none.
 */
export function toDialect(name: DialectName): Dialect {
  const dialect = own(DIALECTS, name) as Dialect | undefined;
  if (dialect !== undefined) return dialect;
  throw new TypeError(
    `Cannot use dialect: "lsp", "mcp" or "none", received ${name}`,
  );
}
