/**
 * What a listener is built on: a backend for each kind of address and runtime.
 *
 * @module
 */

import type { ConnectionError } from "../../base/errors.ts";
import type { Duplex, DuplexInfo } from "../../types/duplex.ts";
import type { ListenAddress } from "../address.ts";

/** What a backend reports to its listener. */
export interface ListenerEvents {
  /** A connection that is ready for use. */
  accept(duplex: Duplex & DuplexInfo): void;
  /** A fault that does not end the listener. */
  fault(error: ConnectionError): void;
  /** Whether a further connection would be destroyed. */
  readonly full: boolean;
}

/** Listens with the sockets of one runtime. */
export interface ListenerBackend {
  /** Listens; resolves to the real address. */
  open(): Promise<ListenAddress>;
  /** Says whether listening keeps the process alive. */
  setRef(on: boolean): void;
  /** Stops, and destroys connections that were not yet reported. Called once, even if `open` has failed. */
  close(): Promise<void>;
}

/** Milliseconds that a client has for its TLS handshake. */
export const HANDSHAKE_TIMEOUT = 10_000;
