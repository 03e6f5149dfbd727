// OpenTelemetry: each call has a span on both sides, and all of them belong to
// one trace. Middleware carries the context from the client to the server as
// metadata, with the propagator of the OpenTelemetry API. The packages belong to
// this directory:
//
//   npm ci --prefix examples/opentelemetry
//
// Your own program imports "@sluice/rpc" instead of "../../mod.ts".

import { strictEqual } from "node:assert";
import {
  type Context,
  context,
  propagation,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TextMapGetter,
  trace,
} from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
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
  type Metadata,
  type MiddlewareCall,
  RpcError,
  Server,
  type ServerMiddleware,
} from "../../mod.ts";

const exporter = new InMemorySpanExporter();
propagation.setGlobalPropagator(new W3CTraceContextPropagator());
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
const provider = new TracerProvider({
  spanProcessors: [new SimpleSpanProcessor({ exporter })],
});
trace.setGlobalTracerProvider(provider);
const tracer = trace.getTracer("sluice");

/** Starts a span that is active while `next` runs, and ends with it. */
function withSpan(
  kind: SpanKind,
  parent: Context,
  call: MiddlewareCall,
  next: () => Promise<unknown>,
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

/** Sends the context of the client's span along with the call. */
const clientSpans: ClientMiddleware = (call, next) =>
  withSpan(SpanKind.CLIENT, context.active(), call, () => {
    const metadata = { ...call.metadata };
    propagation.inject(context.active(), metadata);
    return next({ metadata });
  });

/** Reads the propagator's fields from metadata. */
const fields: TextMapGetter<Metadata> = {
  get: (metadata, name) => metadata.get(name),
  keys: (metadata) => [...metadata.keys()],
};

/** Makes the client's span the parent of the server's. */
const serverSpans: ServerMiddleware = (call, next) => {
  const parent = propagation.extract(context.active(), call.metadata, fields);
  return withSpan(SpanKind.SERVER, parent, call, next);
};

const use = clientMiddleware(clientSpans);

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

// The shop's handler calls the stock. Its span is active meanwhile, so that the
// call to the stock belongs to the same trace.
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
  // The parent of each span but the first is the span before it.
  const ids = spans.map((s) => s.spanContext().spanId);
  const parents = spans.map((s) => s.parentSpanContext?.spanId);
  strictEqual(parents.slice(1).join(), ids.slice(0, -1).join());
} finally {
  await Promise.all([client.close(), stockClient.close()]);
  await Promise.all([shopServer.close(), stockServer.close()]);
}
