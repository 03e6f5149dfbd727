// Mutual TLS: both ends show a certificate, and the server lets a client in by
// the name in it. Each end has a key of its own and trusts one authority.
//
// The certificates are those of the tests; make your own for anything else.

import { strictEqual } from "node:assert";
import { readFileSync } from "node:fs";
import {
  type CallContext,
  Client,
  connect,
  listen,
  RpcError,
  Server,
  type TcpAddress,
} from "@sluice/rpc";

const read = (name: string) =>
  readFileSync(new URL(`../tests/fixtures/${name}`, import.meta.url), "utf8");
const identity = (name: string) => ({
  cert: read(`${name}.pem`),
  key: read(`${name}-key.pem`),
  ca: read("ca.pem"),
});

const services = {
  Vault: {
    open: (_: undefined, { auth }: CallContext) => `opened for ${auth}`,
  },
};

/** Calls a server that lets in whoever's certificate bears one of `names`. */
async function visit(names: string[]): Promise<string> {
  const listener = await listen({
    port: 0,
    // Whoever has no certificate of this authority does not even get to HELLO.
    tls: { ...identity("server"), requestCert: true },
  });
  const server = new Server(services, {
    // What it returns is the handlers' ctx.auth.
    authorize: (_hello, { peer }) => {
      const name = String(peer.certificate?.subject.CN);
      return names.includes(name) && name;
    },
  });
  server.serve(listener);
  const { port } = listener.address as TcpAddress;
  const client = new Client<typeof services>(
    await connect({ host: "localhost", port, tls: identity("client") }),
  );
  try {
    return await client.call("Vault.open");
  } catch (error) {
    if (error instanceof RpcError) return `${error.code}, ${error.outcome}`;
    throw error;
  } finally {
    await Promise.all([client.close(), server.close()]);
  }
}

if ("Deno" in globalThis) {
  console.log("skipped: Deno's TLS servers ask their clients for nothing");
} else {
  const opened = await visit(["Sluice test client"]);
  strictEqual(opened, "opened for Sluice test client");
  const denied = await visit(["somebody else"]);
  strictEqual(denied, "unauthenticated, refused");
  console.log(`${opened}; somebody else: ${denied}`);
}
