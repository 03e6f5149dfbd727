/**
 * The server of `chunks.ts`, in a process of its own.
 *
 * @module
 */

import process from "node:process";
import { listen, Server } from "../../mod.ts";
import { parentDone, sendToParent } from "../demo/parent.ts";
import { countingServices } from "./chunks.ts";

if (import.meta.main) {
  const server = new Server(countingServices());
  const listener = await listen({ port: 0 });
  server.serve(listener);
  sendToParent(listener.address satisfies object);
  await parentDone();
  process.exit();
}
