/**
 * In the place of a watchdog, on a connection that nothing watches.
 *
 * @module
 */

import type { Watchdog } from "./contract.ts";

/** Watches nothing. */
export class NoWatchdog implements Watchdog {
  running = false;

  start(): void {
    this.running = true;
  }

  stop(): void {
    this.running = false;
  }

  leave(): void {}

  onPeerHalfClose(): void {}

  heard(): void {}

  writing(): void {}

  written(): void {}
}
