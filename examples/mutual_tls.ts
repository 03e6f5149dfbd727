// Mutual TLS: client and server each present a certificate, and the server accepts
// a client by the name in its certificate. Each side has its own key, and both
// trust the same certificate authority.
//
// The certificates are those of the tests. Use your own for anything else.

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

/** Calls a server that accepts clients whose certificate has one of `names`. */
async function visit(names: string[]): Promise<string> {
  const listener = await listen({
    port: 0,
    // A client without a certificate of this authority fails in the TLS handshake.
    tls: { ...identity("server"), requestCert: true },
  });
  const server = new Server(services, {
    // Its result becomes ctx.auth in the handlers.
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
  console.log("skipped: Deno's TLS servers cannot request client certificates");
} else {
  const opened = await visit(["Sluice test client"]);
  strictEqual(opened, "opened for Sluice test client");
  const denied = await visit(["somebody else"]);
  strictEqual(denied, "unauthenticated, refused");
  console.log(`${opened}; somebody else: ${denied}`);
}
