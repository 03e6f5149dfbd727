/**
 * The services of a server under test. `docs/conformance.md` describes them for
 * servers in other languages.
 *
 * @module
 */

import {
  type CallContext,
  type Connection,
  echoServices,
  RpcError,
  withBody,
} from "../../mod.ts";

/** The state of one connection. */
interface Room {
  /** The params of the calls whose handlers have started, in order. */
  readonly started: unknown[];
  /** Functions that end the held calls. */
  readonly held: (() => void)[];
}

const rooms = new WeakMap<Connection, Room>();

function room({ connection }: CallContext): Room {
  let found = rooms.get(connection);
  if (found === undefined) {
    found = { started: [], held: [] };
    rooms.set(connection, found);
  }
  return found;
}

/** How a call of `fail` ends. */
interface Failure {
  readonly code: string;
  readonly message?: string;
  readonly data?: unknown;
}

/** Makes the services. `running` is the number of handlers that may run at once on a connection. */
export function conformanceServices(running: number) {
  return {
    ...echoServices(),
    Conformance: {
      /** Ends when `release` is called, even if its signal fires before. */
      hold(params: unknown, ctx: CallContext): Promise<string> {
        const { started, held } = room(ctx);
        started.push(brief(params));
        return new Promise((resolve) => held.push(() => resolve("released")));
      },
      /** Fails with `told` when its signal fires. */
      wait(params: unknown, ctx: CallContext): Promise<never> {
        room(ctx).started.push(brief(params));
        return new Promise((_, reject) => {
          const tell = () => reject(new RpcError("told", "the signal fired"));
          if (ctx.signal.aborted) tell();
          else ctx.signal.addEventListener("abort", tell, { once: true });
        });
      },
      /** Ends at once, and is recorded like the others. */
      note(params: unknown, ctx: CallContext): void {
        room(ctx).started.push(brief(params));
      },
      /** Ends all calls of `hold` on this connection. */
      release(_: unknown, ctx: CallContext): void {
        for (const end of room(ctx).held.splice(0)) end();
      },
      /** The params of the calls above on this connection, in the order of their start. */
      started(_: unknown, ctx: CallContext): unknown[] {
        return room(ctx).started;
      },
      /** Fails as its params say; without params it throws an internal error. */
      fail(params: Failure | undefined): never {
        if (params === undefined) throw new Error("a secret");
        const { code, message = "", data } = params;
        throw new RpcError(code, message, { data });
      },
      /** That many bytes, all 0. */
      bytes(count: number): Uint8Array {
        return new Uint8Array(count);
      },
      /** The metadata of this call. */
      metadata(_: unknown, ctx: CallContext): Record<string, string> {
        return Object.fromEntries(ctx.metadata);
      },
      /** The time until this call's deadline, in ms; null without one. */
      remaining(_: unknown, ctx: CallContext): number | null {
        return ctx.deadline === undefined ? null : ctx.remaining;
      },
      /** Lets the caller have so many calls in flight from now on. */
      window(calls: number, ctx: CallContext): void {
        ctx.connection.setWindow({ windowCalls: calls });
      },
      /** The params, and the body beside them. */
      beside: (params: unknown, ctx: CallContext) =>
        withBody(params, ctx.body ?? ReadableStream.from<unknown>([])),
      /** How many handlers run at once on a connection. */
      running: (): number => running,
      /** Closes the connection gracefully, once this call has its reply. */
      close(_: unknown, ctx: CallContext): void {
        ctx.connection.close({ ctx });
      },
    },
  };
}

/** Large params are not kept, and streams are not read. */
function brief(params: unknown): unknown {
  if (params instanceof ReadableStream) return null;
  return params instanceof Uint8Array ? params.length : params ?? null;
}
