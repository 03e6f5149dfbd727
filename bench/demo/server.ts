/**
 * The demo's server, in a process of its own: the echo services on a free port
 * of loopback, until the demo lets go of it. `server.ts gob` speaks Go's wire.
 *
 * @module
 */

import process from "node:process";
import { echoServices, listen, Server } from "../../mod.ts";
import { netrpc } from "../../netrpc.ts";
import { parentDone, tell } from "./parent.ts";

/** What the server tells the demo. */
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
  tell(listener.address satisfies object);
  await parentDone();
  await server.close({ timeout: 1000 });
  process.exit();
}
