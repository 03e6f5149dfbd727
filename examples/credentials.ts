// Credentials: the server accepts a client that sends a valid token. The client
// gets its current token before each dial.

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
  // Returning false or undefined, or throwing, rejects the client. Any other value
  // becomes ctx.auth in the handlers.
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

// Called before each dial, so the client always sends the current token.
let logins = 0;
const client = new ReconnectingClient<typeof services>(dial, {
  credentials: async () => {
    logins++;
    await Promise.resolve("the answer of a login service");
    return tokens.get("ali") as string;
  },
});
strictEqual(await client.call("Diary.read"), "the diary of ali");
tokens.set("ali", "open caraway");
await client.connection?.abort();
strictEqual(await client.call("Diary.read"), "the diary of ali");
strictEqual(logins, 2);
await client.close();

// A rejected client gets an error, whose outcome says that nothing has run.
const stranger = new Client<typeof services>(dial(), { credentials: "open?" });
const error = await stranger.call("Diary.read").then(() => {}, (e) => e);
deepStrictEqual(
  error instanceof RpcError && [error.code, error.outcome],
  ["unauthenticated", "refused"],
);
await stranger.close();
await server.close();
console.log(`accepted with ${logins} tokens; a stranger was rejected`);
