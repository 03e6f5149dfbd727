// Notifications, by each API that can send one: the message has no id, and no
// response is awaited.

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { jsonRpc, JsonRpcClient, notify } from "../../jsonrpc.ts";
import {
  Client,
  clientMiddleware,
  clientOf,
  type Connection,
  ReconnectingClient,
  type ServiceClient,
} from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { faceJsonServer, JsonPeer } from "../support/json_peer.ts";

type Remote = { log(): void; other(): void; work(): number };

type Notify = () => Promise<void>;

/** An API that sends a notification, its peer, and how to close it. */
interface Sender {
  readonly peer: JsonPeer;
  readonly notify: Notify;
  readonly inFlight: () => number;
  readonly close: () => Promise<unknown>;
}

const by = (calls: ServiceClient<Remote>): Notify => () => calls.notify("log");

const middleware = clientMiddleware((_call, next) => next());

const SENDERS: Record<string, (dialect: "lsp" | "mcp" | "none") => Sender> = {
  "a Client with this protocol": (dialect) => {
    const { peer, duplex } = newPeer(dialect);
    const client = new Client<Remote>(duplex, {
      protocol: jsonRpc({ dialect }),
    });
    return clientSender(peer, client);
  },
  "a JsonRpcClient": (dialect) => {
    const { peer, duplex } = newPeer(dialect);
    return clientSender(peer, new JsonRpcClient<Remote>(duplex, { dialect }));
  },
  "a JsonRpcClient behind middleware and defaults": (dialect) => {
    const { peer, duplex } = newPeer(dialect);
    const options = { dialect, use: middleware, timeout: 1000 } as const;
    return clientSender(peer, new JsonRpcClient<Remote>(duplex, options));
  },
  "clientOf a JsonRpcClient's connection": (dialect) => {
    const { peer, duplex } = newPeer(dialect);
    const client = new JsonRpcClient<Remote>(duplex, { dialect });
    const { connection } = client;
    return connectionSender(peer, connection, by(clientOf<Remote>(connection)));
  },
  "clientOf a server's connection, behind middleware": (dialect) => {
    const { peer, connection } = faceJsonServer({}, { dialect });
    const calls = clientOf<Remote>(connection, { use: middleware });
    return connectionSender(peer, connection, by(calls));
  },
  "notify of a server's connection": (dialect) => {
    const { peer, connection } = faceJsonServer({}, { dialect });
    return connectionSender(
      peer,
      connection,
      () => notify(connection, "log"),
    );
  },
  "a ReconnectingClient": (dialect) => {
    const { peer, duplex } = newPeer(dialect);
    const client = new ReconnectingClient<Remote>(
      () => Promise.resolve(duplex),
      { protocol: jsonRpc({ dialect }), idempotent: ["log"] },
    );
    return {
      peer,
      notify: by(client),
      inFlight: () => client.stats().inFlight,
      close: async () => {
        await peer.end();
        await client.close();
      },
    };
  },
};

function newPeer(dialect: string) {
  const peer = new JsonPeer(dialect === "lsp" ? "contentLength" : "lines");
  return { peer, duplex: peer.duplex };
}

function clientSender(peer: JsonPeer, client: Client<Remote>): Sender {
  return connectionSender(peer, client.connection, by(client));
}

function connectionSender(
  peer: JsonPeer,
  connection: Connection,
  notify: Notify,
): Sender {
  return {
    peer,
    notify,
    inFlight: () => connection.stats().inFlight,
    close: async () => {
      await peer.end();
      await connection.close();
    },
  };
}

for (const [what, make] of Object.entries(SENDERS)) {
  for (const dialect of ["lsp", "mcp", "none"] as const) {
    test(`[X24] notify of ${what} sends a message without an id (${dialect})`, async () => {
      const { peer, notify, inFlight, close } = make(dialect);
      const sent = notify();
      assertEquals(await peer.next(), {
        jsonrpc: "2.0",
        method: "log",
      });
      await sent;
      await settle();
      // Its slot is free without a response.
      assertEquals(inFlight(), 0);
      await close();
    });
  }
}

test("[X24] a notification that waits for a connection, or for the window, is sent without an id", async () => {
  const peer = new JsonPeer();
  const dialled = Promise.withResolvers<typeof peer.duplex>();
  const client = new ReconnectingClient<Remote>(() => dialled.promise, {
    protocol: jsonRpc({ window: 1 }),
  });
  const sent = [client.notify("log")];
  const work = client.call("work");
  sent.push(client.notify("other"));
  dialled.resolve(peer.duplex);
  const notified: unknown[] = [];
  for (let i = 0; i < 3; i++) {
    const { id, method } = await peer.next();
    if (method === "work") {
      await peer.send({ jsonrpc: "2.0", id, result: 1 });
    } else {
      assertEquals(id, undefined);
      notified.push(method);
    }
  }
  assertEquals([notified, await work], [["log", "other"], 1]);
  await Promise.all(sent);
  await peer.end();
  await client.close();
});

test("[X24] a call made by the params' toJSON does not turn the notification into a call", async () => {
  const { peer, duplex } = newPeer("none");
  const client = new JsonRpcClient<Record<string, (params?: unknown) => void>>(
    duplex,
  );
  const calls: Promise<unknown>[] = [];
  const params = {
    toJSON: () => {
      calls.push(client.call("work"));
      return { text: "a" };
    },
  };
  const sent = client.notify("log", params);
  const first = await peer.next();
  const second = await peer.next();
  assertEquals([first.method, second.method], ["work", "log"]);
  assert(first.id !== undefined);
  assertEquals(second, {
    jsonrpc: "2.0",
    method: "log",
    params: { text: "a" },
  });
  await sent;
  await peer.send({ jsonrpc: "2.0", id: first.id, result: null });
  await Promise.all(calls);
  await peer.end();
  await client.close();
});
