/**
 * Options of the JSON-RPC protocol, and what the dialects differ in: how a call
 * is cancelled, and which error codes exist beyond the specification's.
 *
 * Order: all options are checked before a stream of the duplex is locked.
 *
 * @module
 */

import type { WireFeatures } from "../wire/codec.ts";
import { checkWindow } from "../wire/connection_limits.ts";
import { ErrorCodeTable, LSP_ERROR_CODES } from "./error_codes.ts";
import { checkFraming, type FramingName } from "./framing.ts";
import { ownProperty } from "./message.ts";

/**
 * Options of the JSON-RPC protocol. Nothing is negotiated: client and server
 * must use the same `dialect`, `framing` and `codes`.
 *
 * @example
 * ```ts
 * import { assertEquals, assertRejects } from "@std/assert";
 * import { memoryPair, RpcError } from "@sluice/rpc";
 * import { JsonRpcClient, type JsonRpcOptions, JsonRpcServer } from "@sluice/rpc/jsonrpc";
 *
 * const options: JsonRpcOptions = {
 *   dialect: "lsp",
 *   framing: "lines",
 *   codes: { out_of_stock: 1001 },
 * };
 * const services = {
 *   buy: () => {
 *     throw new RpcError("out_of_stock", "no cups left");
 *   },
 * };
 * const [near, far] = memoryPair();
 * const server = new JsonRpcServer(services, options);
 * server.accept(far);
 * const client = new JsonRpcClient<typeof services>(near, options);
 * const error = await assertRejects(() => client.call("buy"), RpcError);
 * assertEquals(error.code, "out_of_stock"); // 1001 on the wire
 * await client.close();
 * await server.close();
 * ```
 */
export interface JsonRpcOptions {
  /** How calls are cancelled, and which error codes the peer knows. Default `"none"`: calls cannot be cancelled. */
  dialect?: DialectName | undefined;
  /** How messages are separated. Default `"contentLength"` for the dialect `"lsp"`, otherwise `"lines"`. */
  framing?: FramingName | undefined;
  /**
   * Most outgoing calls in flight at once, from 1 to 16,777,216. Further calls
   * wait in the client. A JSON-RPC peer does not announce a window of its own.
   * Default: the value of `windowCalls`, 4,096 unless set.
   */
  window?: number | undefined;
  /**
   * The numbers of your own error codes, such as `{ out_of_stock: 1001 }`. They
   * must be safe integers, and take precedence over the built-in numbers. A
   * code without a number is sent as -32000.
   */
  codes?: Readonly<Record<string, number>> | undefined;
}

/**
 * Which extension of JSON-RPC 2.0 the peer uses. The specification itself has
 * no way to cancel a call.
 *
 * | name | to cancel a call, the caller sends | then the peer | used by |
 * | --- | --- | --- | --- |
 * | `lsp` | `$/cancelRequest` (LSP 3.17, "Cancellation Support") | still answers the call | language servers and editors |
 * | `mcp` | `notifications/cancelled` (MCP, "Cancellation"), but never for `initialize` | does not answer the call | Model Context Protocol |
 * | `none` | nothing: the call fails at the caller alone | still answers the call | everything else |
 *
 * `lsp` also adds the error codes of LSP 3.17: `server_not_initialized`,
 * `content_modified`, `server_cancelled` and `request_failed`.
 */
export type DialectName = "lsp" | "mcp" | "none";

/** The options after their check, with defaults filled in. */
export interface JsonRpcSettings {
  readonly dialect: Dialect;
  readonly framing: FramingName;
  readonly window: number | undefined;
  readonly codes: ErrorCodeTable;
}

/**
 * Checks the options and fills in defaults. Other properties are ignored.
 *
 * @throws {TypeError} If `dialect`, `framing` or a number in `codes` is invalid.
 * @throws {RangeError} If `window` is not an integer from 1 to 16,777,216.
 */
export function toSettings(options: JsonRpcOptions): JsonRpcSettings {
  const { window } = options;
  const dialect = toDialect(options.dialect ?? "none");
  checkWindow(window);
  return {
    dialect,
    framing: checkFraming(options.framing ?? dialect.framing),
    window,
    codes: new ErrorCodeTable(options.codes ?? {}, dialect.codes),
  };
}

/** What one dialect defines. */
export interface Dialect {
  readonly features: WireFeatures;
  /** The default framing. */
  readonly framing: FramingName;
  /** The notification that cancels a call, and the member of its params that holds the call's id. */
  readonly cancel:
    | { readonly method: string; readonly member: string }
    | undefined;
  /** A method whose calls must not be cancelled. */
  readonly uncancellable: string | undefined;
  readonly codes: typeof LSP_ERROR_CODES;
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
    features: /* @__PURE__ */ features("answered"),
    framing: "contentLength",
    cancel: { method: "$/cancelRequest", member: "id" },
    uncancellable: undefined,
    codes: LSP_ERROR_CODES,
  },
  mcp: {
    features: /* @__PURE__ */ features("silent"),
    framing: "lines",
    cancel: { method: "notifications/cancelled", member: "requestId" },
    uncancellable: "initialize",
    codes: [],
  },
  none: {
    features: /* @__PURE__ */ features("none"),
    framing: "lines",
    cancel: undefined,
    uncancellable: undefined,
    codes: [],
  },
};

function toDialect(name: DialectName): Dialect {
  // Own properties only: there is no dialect "constructor".
  const dialect = ownProperty(DIALECTS, name) as Dialect | undefined;
  if (dialect !== undefined) return dialect;
  throw new TypeError(
    `Cannot use dialect: it must be "lsp", "mcp" or "none", received ${name}`,
  );
}
