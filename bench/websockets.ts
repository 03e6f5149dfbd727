/**
 * Compares WebSockets with the library's own TCP and with a bare WebSocket, in turns,
 * so that what else the machine does affects all alike.
 *
 * @module
 */

import { tool } from "../tools/process.ts";
import { findings } from "./support/findings.ts";
import { WEBSOCKETS } from "./websockets/costs.ts";

const ABOUT =
  `Measures calls over WebSockets, between the runtime's own server (on Node that
of the npm package ws) and its global WebSocket, in a process each. "calls"
compares calls of 16 bytes with the same over TCP, "bulk" an echo of 64 KiB with
that of a bare WebSocket and with TCP. The figures are medians of rounds in
turns.`;

if (import.meta.main) {
  await tool(() => findings("bench:websockets", ABOUT, WEBSOCKETS));
}
