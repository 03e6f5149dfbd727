// OpenTelemetry: a span around each call on client and server, and one trace across
// all of them, carried as W3C Trace Context. Install the packages first:
//
//   npm ci --prefix examples/opentelemetry
//
// Your own program imports "@sluice/rpc" instead of "../../mod.ts".

import { strictEqual } from "node:assert";
import {
  type Context,
  context,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
} from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  InMemorySpanExporter,
  SimpleSpanProcessor,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import {
  type CallContext,
  Client,
  type ClientMiddleware,
  clientMiddleware,
  memoryPair,
  type MiddlewareCall,
  type Next,
  RpcError,
  Server,
  type ServerMiddleware,
  type TraceContext,
  traced,
  traceOf,
} from "../../mod.ts";

const exporter = new InMemorySpanExporter();
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
const provider = new TracerProvider({
  spanProcessors: [new SimpleSpanProcessor({ exporter })],
});
trace.setGlobalTracerProvider(provider);
const tracer = trace.getTracer("sluice");

/** Runs a call within a span, which is the active one until the call has ended. */
function around(
  kind: SpanKind,
  parent: Context,
  call: MiddlewareCall,
  next: Next<object>,
): Promise<unknown> {
  const attributes = { "rpc.system": "sluice", "rpc.method": call.method };
  const options = { kind, attributes };
  const run = async (span: Span) => {
    try {
      return await next();
    } catch (error) {
      const code = error instanceof RpcError ? error.code : "cancelled";
      span.setAttribute("rpc.error", code);
      span.setStatus({ code: SpanStatusCode.ERROR, message: code });
      throw error;
    } finally {
      span.end();
    }
  };
  return tracer.startActiveSpan(call.method, options, parent, run);
}

const clientSpans: ClientMiddleware = (call, next) =>
  around(SpanKind.CLIENT, context.active(), call, next);

const serverSpans: ServerMiddleware = (call, next) =>
  around(SpanKind.SERVER, toContext(traceOf(call)), call, next);

/** A context whose active span is the caller's. */
function toContext(from: TraceContext | undefined): Context {
  if (from === undefined) return context.active();
  const { traceId, parentId: spanId, sampled } = from;
  const traceFlags = sampled ? TraceFlags.SAMPLED : TraceFlags.NONE;
  const remote = { traceId, spanId, traceFlags, isRemote: true };
  return trace.setSpanContext(context.active(), remote);
}

/** The active span's trace context, for `traced`. */
function current(): TraceContext | undefined {
  const span = trace.getActiveSpan()?.spanContext();
  if (span === undefined) return undefined;
  const { traceId, spanId: parentId, traceFlags } = span;
  return {
    traceId,
    parentId,
    sampled: (traceFlags & TraceFlags.SAMPLED) !== 0,
  };
}

// `traced` comes last, so that it sends the client's span as the parent.
const use = clientMiddleware(clientSpans, traced({ current }));

const stock = {
  Stock: {
    take: (cups: number) => {
      if (cups > 3) throw new RpcError("out_of_stock", "not that many");
      return cups;
    },
  },
};
const [toStock, atStock] = memoryPair();
const stockServer = new Server(stock, { use: [serverSpans] });
stockServer.accept(atStock);
const stockClient = new Client<typeof stock>(toStock, { use });

// The shop's handler makes a call of its own. Its span is the active one, so the
// call belongs to the same trace.
const shop = {
  Shop: {
    order: async (cups: number, ctx: CallContext) =>
      `${await stockClient.call("Stock.take", cups, { ctx })} cups`,
  },
};
const [toShop, atShop] = memoryPair();
const shopServer = new Server(shop, { use: [serverSpans] });
shopServer.accept(atShop);
const client = new Client<typeof shop>(toShop, { use });

try {
  strictEqual(await client.call("Shop.order", 2), "2 cups");
  await provider.forceFlush();
  const spans = exporter.getFinishedSpans().toReversed();
  strictEqual(spans.length, 4);
  for (const span of spans) {
    const { traceId, spanId } = span.spanContext();
    const parent = span.parentSpanContext?.spanId ?? "none";
    const kind = SpanKind[span.kind].toLowerCase();
    console.log(`${traceId} ${kind} ${span.name} ${spanId}, parent ${parent}`);
  }
  strictEqual(new Set(spans.map((s) => s.spanContext().traceId)).size, 1);
  // Each span but the first has the one before it as its parent.
  const ids = spans.map((s) => s.spanContext().spanId);
  const parents = spans.map((s) => s.parentSpanContext?.spanId);
  strictEqual(parents.slice(1).join(), ids.slice(0, -1).join());
} finally {
  await Promise.all([client.close(), stockClient.close()]);
  await Promise.all([shopServer.close(), stockServer.close()]);
}
