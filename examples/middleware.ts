// Middleware, each in a few lines: a token with every call and its check on the
// server, retries, a log, and a schema for one method.

import { deepStrictEqual, rejects, strictEqual } from "node:assert";
import {
  type CallContext,
  Client,
  type ClientMiddleware,
  clientMiddleware,
  memoryPair,
  type Middleware,
  RpcError,
  Server,
  type ServerMiddleware,
  type StandardSchema,
} from "@sluice/rpc";
import * as v from "valibot";

// Authentication. The client gets its token anew for each call. The server checks
// it before it starts the handler, so a rejected call has the outcome `refused`.
// The handler finds the user's name by the call's context.
const auth = (token: () => string): ClientMiddleware => (call, next) =>
  next({ metadata: { ...call.metadata, token: token() } });

const users = new WeakMap<CallContext, string>();
const authenticate =
  (names: Map<string, string>): ServerMiddleware => (call, next) => {
    const name = names.get(call.metadata.get("token") ?? "");
    if (name === undefined) {
      throw new RpcError("unauthenticated", "the token is unknown");
    }
    users.set(call.ctx, name);
    return next();
  };

// Retry: only a call that did not run or that may run twice, and only for an error
// that is temporary. The call's signal and deadline cover all attempts.
const retry = (tries: number): ClientMiddleware => async (call, next) => {
  for (let left = tries - 1;; left--) {
    try {
      return await next();
    } catch (error) {
      if (!(error instanceof RpcError) || error.code !== "busy") throw error;
      const safe = error.outcome === "not_sent" || error.outcome === "refused";
      if (left === 0 || !(safe || call.idempotent)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20 * Math.random()));
    }
  }
};

// Logging. It uses only what clients and servers both have, so it works on both.
const logging =
  (log: (line: string) => void): Middleware => async (call, next) => {
    try {
      const result = await next();
      log(`${call.method}: ok`);
      return result;
    } catch (error) {
      log(`${call.method}: ${error instanceof RpcError ? error.code : error}`);
      throw error;
    }
  };

// Validation on the client: invalid params are rejected without a round trip.
// (On the server, `method(schema, handler)` does the same.)
const validate = (
  schemas: Record<string, StandardSchema>,
): ClientMiddleware =>
async (call, next) => {
  const schema = schemas[call.method];
  if (schema === undefined) return await next();
  const result = await schema["~standard"].validate(call.params);
  if (result.issues === undefined) return await next({ params: result.value });
  throw new RpcError("invalid_argument", result.issues[0].message, {
    outcome: "not_sent",
  });
};

let busy = 2;
const services = {
  Shop: {
    order: (cups: number, ctx: CallContext) => `${cups} for ${users.get(ctx)}`,
  },
};
const overload: ServerMiddleware = (_call, next) => {
  if (busy-- > 0) throw new RpcError("busy", "come back later");
  return next();
};

const lines: string[] = [];
const log = logging((line) => lines.push(line));
const [near, far] = memoryPair();
const server = new Server(services, {
  use: [authenticate(new Map([["t1", "Ada"]])), overload],
});
server.accept(far);
let token = "t1";
const client = new Client<typeof services>(near, {
  use: clientMiddleware(
    log,
    validate({ "Shop.order": v.number() }),
    retry(3),
    auth(() => token),
  ),
});
try {
  strictEqual(await client.call("Shop.order", 2), "2 for Ada"); // At the third attempt.
  const wrong = "2" as unknown as number;
  await rejects(client.call("Shop.order", wrong), { outcome: "not_sent" });
  token = "stolen";
  await rejects(client.call("Shop.order", 2), {
    code: "unauthenticated",
    outcome: "refused",
  });
  deepStrictEqual(lines, [
    "Shop.order: ok",
    "Shop.order: invalid_argument",
    "Shop.order: unauthenticated",
  ]);
  console.log(lines.join("\n"));
} finally {
  await client.close();
  await server.close();
}
