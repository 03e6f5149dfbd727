// Credentials: a server that lets in who shows a token, and a client that shows
// a fresh one with each dial.

import { deepStrictEqual, strictEqual } from "node:assert";
import {
  type CallContext,
  Client,
  memoryPair,
  ReconnectingClient,
  RpcError,
  Server,
  timingSafeEqual,
} from "@sluice/rpc";

const services = {
  Diary: {
    read: (_: undefined, ctx: CallContext) => `the diary of ${ctx.auth}`,
  },
};

const tokens = new Map([["ali", "open sesame"], ["kasim", "open barley"]]);
const server = new Server(services, {
  // False, nothing or a throw denies; anything else is the handlers' ctx.auth.
  authorize: ({ credentials }) => {
    let user: string | false = false;
    for (const [name, token] of tokens) {
      if (timingSafeEqual(credentials, token)) user = name;
    }
    return user;
  },
});
function dial() {
  const [near, far] = memoryPair();
  server.accept(far);
  return near;
}

// Asked before each dial, so that a token that has changed is of no matter.
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

// Who is denied is told, and knows that nothing has run.
const stranger = new Client<typeof services>(dial(), { credentials: "open?" });
const error = await stranger.call("Diary.read").then(() => {}, (e) => e);
deepStrictEqual(
  error instanceof RpcError && [error.code, error.outcome],
  ["unauthenticated", "refused"],
);
await stranger.close();
await server.close();
console.log(`let in with ${logins} tokens; a stranger was refused`);
