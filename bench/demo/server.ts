/**
 * The demo's server, in a process of its own: the echo services on a free loopback
 * port, until the demo ends it. `server.ts gob` uses Go's protocol.
 *
 * @module
 */

import process from "node:process";
import { echoServices, listen, Server } from "../../mod.ts";
import { netrpc } from "../../netrpc.ts";
import { parentDone, sendToParent } from "./parent.ts";

/** The message of the server: its address. */
export interface ServerMessage {
  readonly host: string;
  readonly port: number;
}

if (import.meta.main) {
  const server = new Server(echoServices(), {
    protocol: process.argv[2] === "gob" ? netrpc() : undefined,
    onError: (error) => console.error(error),
  });
  const listener = await listen({ port: 0 });
  server.serve(listener);
  sendToParent(listener.address satisfies object);
  await parentDone();
  await server.close({ timeout: 1000 });
  process.exit();
}
