/**
 * What a listener is built on: one backend for Deno, one for Node and Bun.
 *
 * @module
 */

import type { ConnectionError } from "../base/errors.ts";
import type { Duplex, DuplexInfo } from "../types/duplex.ts";
import type { Address } from "./address.ts";

/** What a backend reports to its listener. */
export interface ListenerEvents {
  /** A connection that is ready for use. */
  accept(duplex: Duplex & DuplexInfo): void;
  /** A fault that does not end the listener. */
  fault(error: ConnectionError): void;
}

/** Listens with the sockets of one runtime. */
export interface ListenerBackend {
  /** Listens; resolves to the real address. */
  open(): Promise<Address>;
  /** Says whether listening keeps the process alive. */
  setRef(on: boolean): void;
  /** Stops, and destroys connections that were not yet reported. Called once, even if `open` has failed. */
  close(): Promise<void>;
}

/** Milliseconds that a client has for its TLS handshake. */
export const HANDSHAKE_TIMEOUT = 10_000;
