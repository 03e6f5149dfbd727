/**
 * The services a server under test offers; `docs/conformance.md` says what they
 * have to do, for servers in other languages.
 *
 * @module
 */

import {
  type CallContext,
  type Connection,
  echoServices,
  RpcError,
} from "../../mod.ts";

/** What is remembered of one connection. */
interface Room {
  /** The params of the calls started, in order. */
  readonly started: unknown[];
  /** Ends the calls that are held. */
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

/** How a call of `fail` is to end. */
interface Failure {
  readonly code: string;
  readonly message?: string;
  readonly data?: unknown;
}

/** The services; `running` is how many handlers the server lets run at once on a connection. */
export function conformanceServices(running: number) {
  return {
    ...echoServices(),
    Conformance: {
      /** Ends when `release` is called, whatever its signal says. */
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
      /** Ends at once; remembered as the others are. */
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
      /** Fails as it is told; without params with a fault of its own. */
      fail(params: Failure | undefined): never {
        if (params === undefined) throw new Error("a secret");
        const { code, message = "", data } = params;
        throw new RpcError(code, message, { data });
      },
      /** That many bytes, all 0. */
      bytes(count: number): Uint8Array {
        return new Uint8Array(count);
      },
      /** The metadata of this very call. */
      metadata(_: unknown, ctx: CallContext): Record<string, string> {
        return Object.fromEntries(ctx.metadata);
      },
      /** What is left of this very call's deadline, in ms; null without one. */
      remaining(_: unknown, ctx: CallContext): number | null {
        return ctx.deadline === undefined ? null : ctx.remaining;
      },
      /** How many handlers run at once on a connection. */
      running: (): number => running,
      /** Ends the connection in order, once this call has been answered. */
      close(_: unknown, ctx: CallContext): void {
        ctx.connection.close({ ctx });
      },
    },
  };
}

/** Large params are not worth keeping, and streams are not to be read. */
function brief(params: unknown): unknown {
  if (params instanceof ReadableStream) return null;
  return params instanceof Uint8Array ? params.length : params ?? null;
}
