/**
 * Measures the memory of an idle connection on a server: the growth of resident
 * memory with very many connections, each of which has made one call; and the same
 * with bare sockets of the kind on which the transport is built.
 *
 * @module
 */

import { createServer, type Socket } from "node:net";
import { echoServices, listen, Server } from "../../mod.ts";
import { Child } from "../demo/child.ts";
import { residentBytes } from "../support/heap.ts";
import { program } from "../support/program.ts";

/** Number of connections, with Sluice or bare. */
export interface IdleOrder {
  readonly connections: number;
  readonly bare: boolean;
}

/** Bytes for each connection that could be made. */
export interface IdleResult {
  readonly connections: number;
  readonly bytes: number;
}

/** The messages of the clients. */
export type DialerMessage =
  | { readonly connected: number }
  | { readonly fault: string };

/** Connections made and ended before the measurement. */
const WARM_UP = 100;

/** A listening server; returns its port. */
async function serve(bare: boolean): Promise<number> {
  if (!bare) {
    const listener = await listen({ port: 0 });
    new Server(echoServices()).serve(listener);
    return (listener.address as { port: number }).port;
  }
  if ("Deno" in globalThis) return serveDeno();
  const server = createServer((socket) => echo(socket));
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return (server.address() as { port: number }).port;
}

function echo(socket: Socket): void {
  socket.on("error", () => {});
  socket.on("data", (chunk) => socket.write(chunk));
}

function serveDeno(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serve = async (conn: Deno.Conn) => {
    const buffer = new Uint8Array(1024);
    for (;;) {
      const n = await conn.read(buffer);
      if (n === null) return conn.close();
      await conn.write(buffer.subarray(0, n));
    }
  };
  (async () => {
    for await (const conn of listener) serve(conn).catch(() => {});
  })();
  return (listener.addr as Deno.NetAddr).port;
}

/** Connects clients. Returns their number, and a function that ends them. */
async function dial(port: number, connections: number) {
  // Always the same clients, because only the server is measured.
  const clients = new Child<DialerMessage>(
    "node",
    import.meta.resolve("./idle_clients.ts"),
    JSON.stringify({ port, connections }),
  );
  let connected = 0;
  await clients.listen((message) => {
    if ("fault" in message) throw new Error(message.fault);
    connected = message.connected;
    return true;
  });
  return { clients, connected };
}

async function run({ connections, bare }: IdleOrder): Promise<IdleResult> {
  const port = await serve(bare);
  const warm = await dial(port, WARM_UP);
  await warm.clients.stop();
  const before = await residentBytes();
  const { clients, connected } = await dial(port, connections);
  const after = await residentBytes();
  await clients.stop();
  return { connections: connected, bytes: (after - before) / connected };
}

if (import.meta.main) await program(run);
