/**
 * Which errors a reader may receive, by what became of the call, the connection
 * and the source.
 *
 * @module
 */

import { type CallContext, RpcError } from "../../mod.ts";
import type { Entry } from "../support/call_log.ts";
import type { End } from "./link.ts";
import type { StreamLife, Truth } from "./stream_life.ts";

/** A call that has a stream. */
export interface StreamCall {
  readonly n: number;
  /** Who made it, how, and when it is due. */
  caller?: End;
  entry?: Entry;
  signal?: AbortSignal;
  due?: number;
  /** What it was aborted with, by its handle. */
  reason?: unknown;
  /** Who serves it. */
  callee?: End;
  ctx?: CallContext;
  /** Whether nothing of its handler runs any more. */
  answered: boolean;
  readonly lives: Partial<Record<Which, StreamLife>>;
}

/** Which of a call's streams. */
export type Which = "params" | "result";

/** An item of this size, in bytes, fits in every limit. */
const SMALL = 16_000;
/** Reasons for which a stream ends with its connection. */
const LOST = ["unavailable", "cancelled", "deadline_exceeded", "truncated"];

/** Which errors the reader of a call's stream may receive. */
export function truthOf(
  call: StreamCall,
  which: Which,
  now: () => number,
): Truth {
  return {
    about: (error, life) =>
      which === "params"
        ? paramsTruth(call, error, life)
        : resultTruth(call, error, life, now()),
    get cancelled() {
      const { caller, entry, callee, ctx } = call;
      if (which === "params") {
        return callee?.streams.isCancelled(`s${ctx?.id}`) === true;
      }
      return caller?.streams.isCancelled(`c${entry?.handle?.id}`) === true;
    },
  };
}

/** What an error is about that the caller's reader receives. */
function resultTruth(
  call: StreamCall,
  error: unknown,
  life: StreamLife,
  now: number,
): string | undefined {
  const { caller, signal, reason, due = Infinity } = call;
  if (signal?.aborted && error === signal.reason) return "aborted";
  if (reason !== undefined && error === reason) return "aborted";
  if (!(error instanceof RpcError) || error.outcome !== "executed") {
    return undefined;
  }
  const { code } = error;
  if (code === "deadline_exceeded" && due <= now) return "late";
  if (isFailure(life, error, "internal", "internal")) return "failed";
  if (!caller?.open && LOST.includes(code)) return "lost";
  if (code === "resource_exhausted" && life.largest > SMALL) return "large";
  return undefined;
}

/** What an error is about that a handler's reader receives. */
function paramsTruth(
  { callee, ctx, answered }: StreamCall,
  error: unknown,
  life: StreamLife,
): string | undefined {
  if (ctx?.signal.aborted && error === ctx.signal.reason) return "aborted";
  if (!(error instanceof RpcError)) return undefined;
  const { code } = error;
  if (isFailure(life, error, "cancelled", "invalid_argument")) return "failed";
  if (answered && code === "cancelled") return "over";
  if (!callee?.open && LOST.includes(code)) return "lost";
  if (code === "resource_exhausted" && life.largest > SMALL) return "large";
  return undefined;
}

/** Whether an error reports the failure of the source: with its own code and text if it threw an `RpcError`, otherwise as `hidden`; or as `unsayable` if the item could not be serialized. */
function isFailure(
  { ending, thrown, whole }: StreamLife,
  { code, message }: RpcError,
  hidden: string,
  unsayable: string,
): boolean {
  if (!whole) return false;
  if (ending === "unsayable") return code === unsayable;
  if (ending !== "threw") return false;
  if (!(thrown instanceof RpcError)) return code === hidden;
  return code === thrown.code && message === thrown.message;
}
