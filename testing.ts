/**
 * What the library is tested with, for tests of your own services and clients:
 * time that the test moves, connections with faults at exact bytes, a record of
 * what went over a connection, and a peer that does what the test says.
 *
 * | to | use |
 * | --- | --- |
 * | let hours pass at once | {@linkcode TestClock} |
 * | wait until nothing moves any more | {@linkcode settle} |
 * | cut, reset, stall, garble, duplicate, split, merge or delay bytes | {@linkcode faultyPair}, {@linkcode faulty} |
 * | see what was sent | {@linkcode recorded}, {@linkcode printFrames} |
 * | play a server or a client, frame by frame | {@linkcode scriptedPeer} |
 *
 * It imports nothing of a runtime or a test framework, and runs in a page, too.
 * The guide to testing has more: `docs/guides/testing.md`.
 *
 * @example A call whose reply is lost may have been executed
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, Server } from "@sluice/rpc";
 * import { faultyPair, settle } from "@sluice/rpc/testing";
 *
 * let total = 0;
 * const services = { Account: { deposit: (cents: number) => total += cents } };
 * const { near, far, back } = faultyPair();
 * const server = new Server(services);
 * server.accept(far);
 * const client = new Client<typeof services>(near);
 *
 * back.stall(); // What the server sends does not arrive,
 * const call = client.go("Account.deposit", 5);
 * await settle();
 * back.cut(); // and never will.
 * assertEquals([total, await call.settled], [5, "unknown"]);
 * await client.close();
 * await server.close();
 * ```
 *
 * @module
 */

// Time.
export { settle, TestClock } from "./src/testing/test_clock.ts";

// Faults.
export {
  faulty,
  type FaultyDuplex,
  type FaultyOptions,
  type FaultyPair,
  faultyPair,
} from "./src/testing/faulty.ts";
export type {
  Fault,
  FaultyChunks,
  FaultyDirection,
  FaultyDirectionOptions,
} from "./src/testing/fault_line.ts";

// What went over a connection.
export { recorded, type RecordedDuplex } from "./src/testing/recorded.ts";
export {
  type PeerFrame,
  printFrames,
  type PrintOptions,
  type ResultReference,
} from "./src/testing/peer_frame.ts";

// A peer that a test drives.
export {
  type ScriptedErrorOptions,
  type ScriptedGoaway,
  type ScriptedPeer,
  scriptedPeer,
  type ScriptedPeerOptions,
  type ScriptedRequestOptions,
} from "./src/testing/scripted_peer.ts";

// Types that the ones above refer to.
export type { Clock } from "./src/base/clock.ts";
export type { Frame } from "./src/wire/frame_transforms.ts";
export type { Duplex, DuplexInfo } from "./src/types/duplex.ts";
export type { Metadata, MetadataInit } from "./src/types/call.ts";
export type {
  CallWindow,
  Credentials,
  PeerHello,
  Serializer,
  StreamGrant,
} from "./src/types/connection.ts";
