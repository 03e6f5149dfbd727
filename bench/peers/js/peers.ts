/**
 * The JavaScript peers by name; each is loaded only where it is used.
 *
 * @module
 */

import type { Peer } from "./peer.ts";

const LOAD = {
  "ioredis": () => import("./ioredis.ts"),
  "birpc": () => import("./birpc.ts"),
  "capnweb": () => import("./capnweb.ts"),
  "vscode-jsonrpc": () => import("./vscode_jsonrpc.ts"),
  "grpc-js": () => import("./grpc_js.ts"),
};

/** The name of a peer. */
export type JsPeer = keyof typeof LOAD;

/** Loads a peer. */
export async function loadPeer(name: JsPeer): Promise<Peer> {
  return (await LOAD[name]()).default;
}
