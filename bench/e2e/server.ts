/**
 * The end-to-end benchmark's server, in a process of its own: the echo
 * services, where its argument says: `tcp`, `unix`, or `stdio`.
 *
 * @module
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import {
  echoServices,
  listen,
  Server,
  stdio,
  type TcpAddress,
  type UnixAddress,
} from "../../mod.ts";
import { parentDone, sendToParent } from "../demo/parent.ts";

/** The address on which it listens. */
export type ServerAddress = TcpAddress | UnixAddress;

function newServer() {
  return new Server(echoServices(), {
    onError: (error) => console.error(error),
  });
}

/** Serves only its parent, until the parent ends it. */
async function serveParent(): Promise<void> {
  await newServer().accept(stdio()).closed;
}

async function serveAll(transport: "tcp" | "unix"): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "sluice-bench-"));
  try {
    const server = newServer();
    const listener = await (transport === "tcp"
      ? listen({ port: 0 })
      : listen({ path: join(dir, "socket") }));
    server.serve(listener);
    sendToParent(listener.address satisfies object);
    await parentDone();
    await server.close({ timeout: 1000 });
  } finally {
    await rm(dir, { recursive: true });
  }
}

if (import.meta.main) {
  const transport = process.argv[2];
  if (transport === "stdio") await serveParent();
  else await serveAll(transport as "tcp" | "unix");
  process.exit();
}
