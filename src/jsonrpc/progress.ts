/**
 * Progress of calls: notifications that name a token of the caller's.
 *
 * Invariant owned here: a token is told apart from all others of its listener
 * table while it is open; progress for any other is dropped.
 *
 * @module
 */

/** What names a call's progress. */
export type ProgressToken = string | number;

/** What a dialect's progress notifications look like. */
interface Form {
  readonly method: string;
  /** The member of its params that is the token. */
  readonly member: string;
  /** What of the params is told. */
  readonly value: (params: Record<string, unknown>) => unknown;
}

const FORMS = {
  lsp: { method: "$/progress", member: "token", value: (p) => p.value },
  mcp: {
    method: "notifications/progress",
    member: "progressToken",
    value: (p) => p,
  },
} satisfies Record<string, Form>;

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
  /** The handler of the dialect's progress notification, by its name; spread it into the services that the peer may call. */
  readonly services: Readonly<Record<string, (params: unknown) => void>>;

  readonly #listeners = new Map<unknown, (value: unknown) => void>();
  #last = 0;

  /** Makes an empty table. */
  constructor(dialect: "lsp" | "mcp") {
    const { method, member, value } = FORMS[dialect] as Form;
    this.services = {
      [method]: (params) => {
        if (typeof params !== "object" || params === null) return;
        const said = params as Record<string, unknown>;
        this.#listeners.get(said[member])?.(value(said));
      },
    };
  }

  /**
   * Calls `listener` with each progress of the token that is returned, until
   * that is closed: of language servers the `value`, of MCP the whole params.
   */
  open(listener: (value: unknown) => void): number {
    this.#listeners.set(++this.#last, listener);
    return this.#last;
  }

  /** Listens no more. */
  close(token: ProgressToken): void {
    this.#listeners.delete(token);
  }
}
