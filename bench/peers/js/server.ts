/**
 * A JavaScript peer's server, in a process of its own: `server.ts PEER`.
 *
 * @module
 */

import process from "node:process";
import { parentDone, sendToParent } from "../../demo/parent.ts";
import { type JsPeer, loadPeer } from "./peers.ts";

if (import.meta.main) {
  parentDone().then(() => process.exit());
  const peer = await loadPeer(process.argv[2] as JsPeer);
  sendToParent({ port: await peer.serve() });
}
