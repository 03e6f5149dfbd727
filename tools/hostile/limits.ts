/**
 * The limits of the server under attack, which are the same in every run.
 *
 * @module
 */

import type { ServerOptions } from "../../mod.ts";

/** The options of the server. Others have their defaults. */
export const LIMITS = {
  windowCalls: 256,
  maxTotalRunning: 4096,
  maxTotalBuffered: 64 * 1024 * 1024,
  handshakeTimeout: 5000,
  messageTimeout: 5000,
  writeTimeout: 5000,
} satisfies ServerOptions;

/** Bytes of a reply that the peer does not read. */
export const BIG = 16 * 1024;

/**
 * Bytes of memory that the server process may take beyond what it took before
 * the attack: 32 KiB for each connection and 128 MiB of garbage; and where there
 * are peers that say something, what is buffered twice over (once more on its
 * way through the runtime), and as much again for each of their connections.
 */
export function memoryBound(peers: number, others: number): number {
  const idle = (peers + others) * 32_768 + 128 * 1024 * 1024;
  if (peers === 0) return idle;
  return idle + peers * 32_768 + 2 * LIMITS.maxTotalBuffered;
}
