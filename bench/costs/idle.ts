/**
 * What an idle connection holds on a server: growth of resident memory with
 * very many of them, each of which has made one call. Beside it the same with
 * bare sockets of the kind that the runtime's transport is made of.
 *
 * @module
 */

import { createServer, type Socket } from "node:net";
import { echoServices, listen, Server } from "../../mod.ts";
import { Child } from "../demo/child.ts";
import { residentBytes } from "../support/heap.ts";
import { program } from "../support/program.ts";

/** How many connections, with Sluice or bare. */
export interface IdleOrder {
  readonly connections: number;
  readonly bare: boolean;
}

/** Bytes for each of those that could be made. */
export interface IdleResult {
  readonly connections: number;
  readonly bytes: number;
}

/** What the clients tell. */
export type DialerMessage =
  | { readonly connected: number }
  | { readonly fault: string };

/** Connections made and ended before the first is counted. */
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

/** Connects clients, and returns how many, and how to end them. */
async function dial(port: number, connections: number) {
  // Always the same clients: they are not what is measured.
  const clients = new Child<DialerMessage>(
    "node",
    import.meta.resolve("./idle_clients.ts"),
    JSON.stringify({ port, connections }),
  );
  let connected = 0;
  await clients.listen((told) => {
    if ("fault" in told) throw new Error(told.fault);
    connected = told.connected;
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
