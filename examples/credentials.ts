// Credentials: the server accepts only clients that send a token it knows, and
// the client fetches a fresh token for each dial.

import { deepStrictEqual, strictEqual } from "node:assert";
import { createHash, timingSafeEqual } from "node:crypto";
import {
  type CallContext,
  Client,
  memoryPair,
  ReconnectingClient,
  RpcError,
  Server,
} from "@sluice/rpc";

const services = {
  Diary: {
    read: (_: undefined, ctx: CallContext) => `the diary of ${ctx.auth}`,
  },
};

/**
 * Whether two secrets are equal. The time it takes does not depend on where they
 * differ; `timingSafeEqual` needs inputs of one length, which hashes have.
 */
function isEqual(a: string | Uint8Array, b: string | Uint8Array): boolean {
  const hash = (secret: string | Uint8Array) =>
    createHash("sha256").update(secret).digest();
  return timingSafeEqual(hash(a), hash(b));
}

const tokens = new Map([["ali", "open sesame"], ["kasim", "open barley"]]);
const server = new Server(services, {
  // Handlers get what this returns as `ctx.auth`. If it returns false or
  // undefined, or throws, the server rejects the connection.
  authorize: ({ credentials = "" }) => {
    let user: string | false = false;
    for (const [name, token] of tokens) {
      if (isEqual(credentials, token)) user = name;
    }
    return user;
  },
});
function dial() {
  const [near, far] = memoryPair();
  server.accept(far);
  return near;
}

// The client calls `credentials` before each dial, so it always sends a token
// that is valid now.
let logins = 0;
const client = new ReconnectingClient<typeof services>(dial, {
  credentials: async () => {
    logins++;
    await Promise.resolve("an answer of the login service");
    return tokens.get("ali") as string;
  },
});
strictEqual(await client.call("Diary.read"), "the diary of ali");
tokens.set("ali", "open caraway");
await client.connection?.abort();
strictEqual(await client.call("Diary.read"), "the diary of ali");
strictEqual(logins, 2);
await client.close();

// A client that the server rejects gets an error which says that nothing has run.
const stranger = new Client<typeof services>(dial(), { credentials: "open?" });
const error = await stranger.call("Diary.read").then(() => {}, (e) => e);
deepStrictEqual(
  error instanceof RpcError && [error.code, error.outcome],
  ["unauthenticated", "refused"],
);
await stranger.close();
await server.close();
console.log(`accepted ${logins} tokens, rejected one`);
