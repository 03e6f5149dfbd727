/**
 * What differs between those who speak JSON-RPC: how a call is cancelled, and
 * which codes there are beyond the specification's.
 *
 * @module
 */

import type { Features } from "../wire/codec.ts";
import { LSP_CODES } from "./codes.ts";
import type { FramingName } from "./framing.ts";
import { own } from "./message.ts";

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
  readonly features: Features;
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

const features = (cancel: Features["cancel"]): Features => ({
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
