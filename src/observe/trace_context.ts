/**
 * The trace a call belongs to, as W3C Trace Context writes it
 * (https://www.w3.org/TR/trace-context/): `traceparent` and `tracestate`.
 *
 * Invariants owned here:
 * - What is made is of version 00 and valid. What comes is believed only if it
 *   is valid: else it counts as not there, and its `tracestate` with it.
 * - A higher version is read as far as version 00 reaches; of the flags only
 *   `sampled` is passed on.
 *
 * @module
 */

import type { Metadata } from "../types/call.ts";

/** A place in a trace. */
export interface TraceContext {
  /** The whole trace: 32 lower-case hexadecimal digits, not all zero. */
  readonly traceId: string;
  /** Who calls, within it: 16 such digits; the specification's parent-id, a tracer's span id. */
  readonly parentId: string;
  /** Whether the caller may have recorded it. */
  readonly sampled: boolean;
  /** What tracing systems pass on of their own, as it came; `undefined` if nothing valid. */
  readonly state?: string | undefined;
}

/** Version, trace-id, parent-id, flags; then what a later version may add. */
const TRACEPARENT =
  /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const ZEROS = /^0+$/;
const SAMPLED = 1;

/**
 * Reads a `traceparent`; `undefined` if it is none, or not valid.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { formatTraceparent, parseTraceparent } from "@sluice/rpc";
 *
 * const text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
 * const trace = parseTraceparent(text);
 * assertEquals(trace?.sampled, true);
 * assertEquals(trace && formatTraceparent(trace), text);
 * assertEquals(parseTraceparent(text.toUpperCase()), undefined);
 * ```
 */
export function parseTraceparent(
  text: string | undefined,
): TraceContext | undefined {
  const match = TRACEPARENT.exec(text ?? "");
  if (match === null) return undefined;
  const [, version, traceId, parentId, flags, more] = match;
  if (version === "ff" || version === "00" && more !== undefined) {
    return undefined;
  }
  if (ZEROS.test(traceId) || ZEROS.test(parentId)) return undefined;
  const sampled = (parseInt(flags, 16) & SAMPLED) !== 0;
  return { traceId, parentId, sampled };
}

/** Writes a `traceparent`. */
export function formatTraceparent(trace: TraceContext): string {
  const { traceId, parentId, sampled } = trace;
  return `00-${traceId}-${parentId}-${sampled ? "01" : "00"}`;
}

/** A new trace, with random ids. */
export function startTrace(sampled = false): TraceContext {
  // One draw for both: it is what takes the time.
  const ids = randomHex(24);
  const traceId = ids.slice(0, 32);
  const parentId = ids.slice(32);
  const valid = !ZEROS.test(traceId) && !ZEROS.test(parentId);
  return valid ? { traceId, parentId, sampled } : startTrace(sampled);
}

/** The same trace one step on, with a random parent-id. */
export function nextSpan(trace: TraceContext): TraceContext {
  const parentId = randomHex(8);
  return ZEROS.test(parentId) ? nextSpan(trace) : { ...trace, parentId };
}

/**
 * The trace that came with a call: of a handler's `ctx`, a server's middleware
 * call, or an observed one. `undefined` if none came, or it is not valid.
 */
export function traceOf(
  call: { readonly metadata: Metadata },
): TraceContext | undefined {
  const trace = parseTraceparent(call.metadata.get("traceparent"));
  const state = call.metadata.get("tracestate");
  if (trace === undefined || !isTracestate(state)) return trace;
  return { ...trace, state };
}

/** Metadata that carries a trace. */
export function traceMetadata(trace: TraceContext): Record<string, string> {
  const traceparent = formatTraceparent(trace);
  const { state } = trace;
  return isTracestate(state)
    ? { traceparent, tracestate: state }
    : { traceparent };
}

function randomHex(bytes: number): string {
  let text = "";
  for (const byte of crypto.getRandomValues(new Uint8Array(bytes))) {
    text += (byte + 0x100).toString(16).slice(1);
  }
  return text;
}

/** Most members of a `tracestate` (section 3.3.1.1 of the specification). */
const MAX_MEMBERS = 32;
/** A member (3.3.1.3): a simple or a multi-tenant key, `=`, printable text that does not end in a space. */
const MEMBER =
  /^([a-z][-a-z0-9_*/]{0,255}|[a-z0-9][-a-z0-9_*/]{0,240}@[a-z][-a-z0-9_*/]{0,13})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;

function isTracestate(text: string | undefined): text is string {
  if (text === undefined) return false;
  const members = text.split(",").map((member) => member.replace(OWS, ""));
  const present = members.filter((member) => member !== "");
  const keys = new Set<string>();
  for (const member of present) {
    const key = MEMBER.exec(member)?.[1];
    if (key === undefined || keys.has(key)) return false;
    keys.add(key);
  }
  return keys.size > 0 && keys.size <= MAX_MEMBERS;
}

/** Blanks around a member. */
const OWS = /^[ \t]+|[ \t]+$/g;
