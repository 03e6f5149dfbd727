/**
 * What a listener is made of: where its connections come from, and go to.
 *
 * @module
 */

import type { Duplex, DuplexInfo } from "./duplex.ts";
import type { ConnectionError } from "../base/errors.ts";
import type { Address } from "./address.ts";

/** What a source of connections tells the listener. */
export interface Sink {
  /** A connection, ready for use. */
  accept(duplex: Duplex & DuplexInfo): void;
  /** A fault that does not end the listener. */
  fault(error: ConnectionError): void;
}

/** What listens, whatever it is made with. */
export interface Source {
  /** Listens; resolves to the real address. */
  open(): Promise<Address>;
  /** Says whether listening keeps the process alive. */
  hold(on: boolean): void;
  /** Stops, and destroys what has not been handed over. Called once, also when `open` has failed. */
  close(): Promise<void>;
}
