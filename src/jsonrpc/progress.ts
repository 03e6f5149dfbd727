/**
 * Progress: notifications that name a token, made by this end or by the other.
 *
 * Invariants owned here:
 * - A token has one listener while it is open; the progress of all others goes
 *   to one listener for them, or nowhere.
 * - Tokens of ours are counted from a number that nobody else begins at, so
 *   that those of the other side are not taken for them.
 *
 * @module
 */

/** What names a call's progress. */
export type ProgressToken = string | number;

/** What a dialect's progress notifications look like. */
interface ProgressForm {
  readonly method: string;
  /** The member of its params that is the token. */
  readonly member: string;
  /** What of the params is told. */
  readonly value: (params: Record<string, unknown>) => unknown;
  /** The request by which the other side announces a token of its own. */
  readonly create: string | undefined;
}

/** Within the integers of language servers, which have 32 bits. */
const FIRST = 1_000_000_000;

/** Takes the progress of tokens that nobody has opened here: those that the other side made. */
export type OtherProgress = (value: unknown, token: ProgressToken) => void;

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
 * Listeners to progress, by token. Its `services` belong into the client's.
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
 */
export class Progress {
  /** The handlers of the dialect's progress notification and, of language servers, of the request that announces a token; spread them into the services that the peer may call. */
  readonly services: Readonly<Record<string, (params: unknown) => void>>;

  readonly #listeners = new Map<unknown, (value: unknown) => void>();
  #last = FIRST;

  /**
   * Makes an empty table.
   *
   * @param other Told the progress of every token that is not open here, such
   *   as one that a language server has made with
   *   `window/workDoneProgress/create`, which is then answered. Without it such
   *   progress is dropped, and that request is not served.
   */
  constructor(dialect: "lsp" | "mcp", other?: OtherProgress) {
    const { method, member, value, create } = FORMS[dialect] as ProgressForm;
    const services: Record<string, (params: unknown) => void> = {
      [method]: (params) => {
        if (typeof params !== "object" || params === null) return;
        const said = params as Record<string, unknown>;
        const token = said[member];
        const listener = this.#listeners.get(token);
        if (listener !== undefined) listener(value(said));
        else if (isToken(token)) other?.(value(said), token);
      },
    };
    if (create !== undefined && other !== undefined) {
      services[create] = () => {};
    }
    this.services = services;
  }

  /**
   * Calls `listener` with each progress of the token that is returned, until
   * that is closed: of language servers the `value`, of MCP the whole params.
   *
   * @param token One that the other side has made; a new one unless given.
   * @throws {RangeError} If the token is open already.
   */
  open<T extends ProgressToken = number>(
    listener: (value: unknown) => void,
    token: T = this.#unused() as T,
  ): T {
    if (this.#listeners.has(token)) {
      throw new RangeError(`Cannot open progress: ${token} is open already`);
    }
    this.#listeners.set(token, listener);
    return token;
  }

  #unused(): number {
    while (this.#listeners.has(this.#last)) this.#last++;
    return this.#last++;
  }

  /** Listens no more. */
  close(token: ProgressToken): void {
    this.#listeners.delete(token);
  }
}

function isToken(token: unknown): token is ProgressToken {
  return typeof token === "string" || typeof token === "number";
}
