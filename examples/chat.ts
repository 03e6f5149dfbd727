// Calls in both directions on one connection: a chat server calls its clients.

import { deepStrictEqual } from "node:assert";
import {
  callable,
  type CallContext,
  Client,
  clientOf,
  connect,
  type Connection,
  listen,
  Server,
} from "@sluice/rpc";

/** The services of a chat member: the server calls these. */
interface Member {
  Screen: { show: (line: string) => void };
}

const members = new Map<string, Connection>();
const services = {
  Chat: {
    async join(name: string, { connection }: CallContext) {
      await broadcast(`${name} has joined`);
      members.set(name, connection);
      connection.closed.then(() => members.delete(name));
    },
    say: ({ name, text }: { name: string; text: string }) =>
      broadcast(`${name}: ${text}`),
  },
};

/** Calls all members at once. One that has left does not delay the others. */
async function broadcast(line: string): Promise<void> {
  const calls = [...members.values()].map((connection) =>
    clientOf<Member>(connection).call("Screen.show", line, { timeout: 1000 })
  );
  await Promise.allSettled(calls);
}

const server = new Server(services);
const listener = await listen({ port: 0 });
server.serve(listener);

/** Joins the chat. The lines that the member has received are in `screen`. */
async function join(name: string) {
  const screen: string[] = [];
  const mine = { Screen: { show: (line: string) => void screen.push(line) } };
  const duplex = await connect(listener.address);
  const client = new Client<typeof services>(duplex, {
    services: callable(mine),
  });
  await client.call("Chat.join", name);
  return { screen, client };
}

const ada = await join("Ada");
const bob = await join("Bob");
await bob.client.call("Chat.say", { name: "Bob", text: "hello" });
// The call returns after every member's screen has shown the line.
deepStrictEqual(ada.screen, ["Bob has joined", "Bob: hello"]);
await bob.client.close();
await ada.client.call("Chat.say", { name: "Ada", text: "gone already?" });
deepStrictEqual(bob.screen, ["Bob: hello"]);

for (const line of ada.screen) console.log(line);
await ada.client.close();
await server.close();
