/**
 * Middleware that carries traces along with calls.
 *
 * Invariant owned here: a call that names its trace keeps it; any other gets
 * the one it is made in, or a new one.
 *
 * @module
 */

import type { Metadata, ParentCall } from "../types/call.ts";
import type { ClientMiddleware } from "../types/middleware.ts";
import {
  nextSpan,
  parseTraceparent,
  startTrace,
  type TraceContext,
  traceMetadata,
  traceOf,
} from "./trace_context.ts";

/** Options of {@linkcode traced}. */
export interface TraceOptions {
  /** Where a tracer says what is going on: its active span's place, if there is one. Sent as it is. */
  current?: () => TraceContext | undefined;
  /** Whether a trace that begins here says that it was recorded. Default false. */
  sampled?: boolean | undefined;
}

/**
 * Client middleware that sends W3C Trace Context along: `traceparent` and
 * `tracestate` as metadata. The first of these that is there:
 *
 * - the `traceparent` among the call's own metadata, if it is valid;
 * - what `current` says;
 * - the trace of the handler that makes the call (`ctx` among its options),
 *   one step on;
 * - a new trace.
 *
 * The other end finds it by {@linkcode traceOf}.
 *
 * @example
 * ```ts
 * import { assertEquals, assertNotEquals } from "@std/assert";
 * import { type CallContext, Client, memoryPair, clientMiddleware, Server, traced, traceOf } from "@sluice/rpc";
 *
 * const services = { Trace: { id: (_: null, ctx: CallContext) => traceOf(ctx)?.traceId ?? "" } };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 * const client = new Client<typeof services>(near, { use: clientMiddleware(traced()) });
 * const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
 * assertNotEquals(await client.call("Trace.id", null), "");
 * assertEquals(
 *   await client.call("Trace.id", null, { metadata: { traceparent } }),
 *   "0af7651916cd43dd8448eb211c80319c",
 * );
 * await client.close();
 * await server.close();
 * ```
 */
export function traced(options: TraceOptions = {}): ClientMiddleware {
  const { current, sampled } = options;
  return ({ metadata, ctx }, next) => {
    if (parseTraceparent(metadata.traceparent) !== undefined) return next();
    const trace = current?.() ?? inherited(ctx) ?? startTrace(sampled);
    // What is not valid goes no further.
    const { traceparent: _, tracestate: __, ...rest } = metadata;
    return next({ metadata: { ...rest, ...traceMetadata(trace) } });
  };
}

function inherited(ctx: ParentCall | undefined): TraceContext | undefined {
  const { metadata } = (ctx ?? {}) as { metadata?: Metadata };
  const trace = metadata instanceof Map ? traceOf({ metadata }) : undefined;
  return trace && nextSpan(trace);
}
