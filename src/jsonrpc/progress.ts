/**
 * Progress of running calls: passes progress notifications to listeners, by
 * their token.
 *
 * Order and bounds:
 * - A token has at most one listener. Progress of all other tokens goes to the
 *   one listener for these, or is dropped.
 * - Local tokens count up from {@linkcode FIRST_TOKEN}, where no peer begins, so
 *   that the peer's own tokens do not collide with them.
 *
 * @module
 */

/** Identifies the progress of one call, as in LSP 3.17, "Progress Support", and MCP, "Progress". */
export type ProgressToken = string | number;

/**
 * Receives the progress of tokens that are not open, such as those that the
 * peer has created. `value` has the same form as for {@linkcode Progress.open}.
 */
export type OtherProgress = (value: unknown, token: ProgressToken) => void;

/** The first local token: within the 32-bit integers of LSP, and above what peers count to. */
const FIRST_TOKEN = 1_000_000_000;

/** The form of a dialect's progress notifications. */
interface ProgressForm {
  readonly method: string;
  /** The member of the params that holds the token. */
  readonly member: string;
  /** The part of the params that a listener receives. */
  readonly value: (params: Record<string, unknown>) => unknown;
  /** The request by which the peer announces a token of its own. */
  readonly create: string | undefined;
}

const FORMS = {
  lsp: {
    method: "$/progress",
    member: "token",
    value: (p) => p.value,
    create: "window/workDoneProgress/create",
  },
  mcp: {
    method: "notifications/progress",
    member: "progressToken",
    value: (p) => p,
    create: undefined,
  },
} satisfies Record<string, ProgressForm>;

/**
 * Listens to the progress of calls, by token. Pass its `services` to the client
 * (or server), open a token, and send that token with a call, where the dialect
 * has it: `workDoneToken` or `partialResultToken` in the params for `lsp`,
 * `_meta.progressToken` for `mcp`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { type CallContext, memoryPair } from "@sluice/rpc";
 * import { JsonRpcClient, JsonRpcServer, notify, Progress } from "@sluice/rpc/jsonrpc";
 *
 * const services = {
 *   "workspace/symbol": ({ partialResultToken: token }: { partialResultToken: string | number }, ctx: CallContext) => {
 *     notify(ctx.connection, "$/progress", { token, value: ["first"] });
 *     return ["second"];
 *   },
 * };
 * const [near, far] = memoryPair();
 * const server = new JsonRpcServer(services, { dialect: "lsp" });
 * server.accept(far);
 *
 * const progress = new Progress("lsp");
 * const client = new JsonRpcClient<typeof services>(near, {
 *   dialect: "lsp",
 *   services: progress.services,
 * });
 * const parts: unknown[] = [];
 * const token = progress.open((value) => parts.push(value));
 * const last = await client.call("workspace/symbol", { partialResultToken: token });
 * progress.close(token);
 * assertEquals([...parts, last], [["first"], ["second"]]);
 * await client.close();
 * await server.close();
 * ```
 *
 * @example A token that the server has created
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { type CallContext, memoryPair } from "@sluice/rpc";
 * import { JsonRpcClient, JsonRpcServer, notify, Progress } from "@sluice/rpc/jsonrpc";
 *
 * const services = {
 *   index: async (_: undefined, { connection }: CallContext) => {
 *     await connection.call("window/workDoneProgress/create", { token: "index" });
 *     await notify(connection, "$/progress", { token: "index", value: "half" });
 *   },
 * };
 * const [near, far] = memoryPair();
 * const server = new JsonRpcServer(services, { dialect: "lsp" });
 * server.accept(far);
 *
 * const seen: unknown[] = [];
 * const progress = new Progress("lsp", (value, token) => seen.push([token, value]));
 * const client = new JsonRpcClient<typeof services>(near, {
 *   dialect: "lsp",
 *   services: progress.services,
 * });
 * await client.call("index");
 * assertEquals(seen, [["index", "half"]]);
 * await client.close();
 * await server.close();
 * ```
 */
export class Progress {
  /**
   * The handlers of the dialect's progress notification and, for `lsp` with a
   * listener for other tokens, of `window/workDoneProgress/create`. Spread them
   * into the services that the peer may call.
   */
  readonly services: Readonly<Record<string, (params: unknown) => void>>;

  readonly #listeners = new Map<unknown, (value: unknown) => void>();
  #nextToken = FIRST_TOKEN;

  /**
   * Creates a table without open tokens.
   *
   * @param dialect The dialect of the connection.
   * @param other Receives the progress of every token that is not open here,
   *   for example one that a language server has created by
   *   `window/workDoneProgress/create`. Without it that progress is dropped,
   *   and `window/workDoneProgress/create` is answered `not_found`.
   */
  constructor(dialect: "lsp" | "mcp", other?: OtherProgress) {
    const { method, member, value, create } = FORMS[dialect] as ProgressForm;
    const services: Record<string, (params: unknown) => void> = {
      [method]: (params) => {
        if (typeof params !== "object" || params === null) return;
        const members = params as Record<string, unknown>;
        const token = members[member];
        const listener = this.#listeners.get(token);
        if (listener !== undefined) listener(value(members));
        else if (isToken(token)) other?.(value(members), token);
      },
    };
    if (create !== undefined && other !== undefined) {
      services[create] = () => {};
    }
    this.services = services;
  }

  /**
   * Opens a token and returns it. Until it is closed, `listener` is called with
   * each of its progress notifications: for `lsp` with the `value` of the
   * params, for `mcp` with the params.
   *
   * @param token A token that the peer has created. By default a new number,
   *   from 1,000,000,000 upwards.
   * @throws {RangeError} If the token is open already.
   */
  open<T extends ProgressToken = number>(
    listener: (value: unknown) => void,
    token: T = this.#unusedToken() as T,
  ): T {
    if (this.#listeners.has(token)) {
      throw new RangeError(
        `Cannot open progress: the token is open already, received ${token}`,
      );
    }
    this.#listeners.set(token, listener);
    return token;
  }

  #unusedToken(): number {
    while (this.#listeners.has(this.#nextToken)) this.#nextToken++;
    return this.#nextToken++;
  }

  /** Closes a token: its listener is not called any more. Closing it twice is harmless. */
  close(token: ProgressToken): void {
    this.#listeners.delete(token);
  }
}

function isToken(token: unknown): token is ProgressToken {
  return typeof token === "string" || typeof token === "number";
}
