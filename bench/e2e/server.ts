/**
 * The end-to-end benchmark's server, in a process of its own: the echo
 * services, where its argument says: `tcp`, `unix`, `ws`, or `stdio`.
 *
 * @module
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { WebSocketServer } from "ws";
import {
  echoServices,
  listen,
  type Listener,
  Server,
  stdio,
} from "../../mod.ts";
import { parentDone, sendToParent } from "../demo/parent.ts";

/** Where it listens. */
export interface ServerAddress {
  readonly url: string;
}

function newServer() {
  return new Server(echoServices(), {
    onError: (error) => console.error(error),
  });
}

/** Serves only its parent, until the parent ends it. */
async function serveParent(): Promise<void> {
  await newServer().accept(stdio()).closed;
}

/** Transports whose server is reached at an address. */
type Listening = "tcp" | "unix" | "ws";

function listenOver(transport: Listening, dir: string): Promise<Listener> {
  switch (transport) {
    case "tcp":
      return listen("tcp://127.0.0.1:0");
    case "unix":
      return listen({ path: join(dir, "socket") });
    case "ws":
      // Deno and Bun use servers of their own.
      return listen("ws://127.0.0.1:0/rpc", { WebSocketServer });
  }
}

async function serveAll(transport: Listening): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "sluice-bench-"));
  try {
    const server = newServer();
    const listener = await listenOver(transport, dir);
    server.serve(listener);
    sendToParent({ url: listener.url } satisfies ServerAddress);
    await parentDone();
    await server.close({ timeout: 1000 });
  } finally {
    await rm(dir, { recursive: true });
  }
}

if (import.meta.main) {
  const transport = process.argv[2];
  if (transport === "stdio") await serveParent();
  else await serveAll(transport as Listening);
  process.exit();
}
