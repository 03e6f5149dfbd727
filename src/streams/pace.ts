/**
 * How much of a stream comes in a round trip: what its window has to be.
 *
 * A larger one makes nothing faster: the rest only waits on the way, and every
 * call behind it waits, too.
 *
 * Invariants owned here:
 * - The round trip is the shortest that any stream of the connection has had,
 *   from a grant to the first frame that could not have come without it: what
 *   waits on the way, or for the producer, only makes others longer.
 * - The speed is taken over a round trip at least: what comes in one burst says
 *   nothing of the time between bursts.
 *
 * @module
 */

import type { Clock } from "../clock.ts";

/** The shortest round trip of a connection's streams. */
export class Trip {
  readonly clock: Pick<Clock, "now">;
  /** In ms; Infinity before the first. */
  shortest = Infinity;

  constructor(clock: Pick<Clock, "now">) {
    this.clock = clock;
  }
}

/** How the bytes of one stream come, as they are charged. */
export class Pace {
  readonly #trip: Trip;
  /** When the period began over which the speed is taken, and what has come in it. */
  #since: number;
  #came = 0;
  /** When the grant was made whose round trip is measured, and what may still come without it; below 0 while none is. */
  #granted = 0;
  #before = -1;

  constructor(trip: Trip) {
    this.#trip = trip;
    this.#since = trip.clock.now();
  }

  /** Bytes have come. */
  came(bytes: number): void {
    this.#came += bytes;
    if (this.#before < 0) return;
    this.#before -= bytes;
    if (this.#before >= 0) return;
    const trip = this.#trip;
    const time = trip.clock.now() - this.#granted;
    if (time < trip.shortest) trip.shortest = time;
  }

  /** More is granted; `credit` bytes may come without it. */
  granted(credit: number): void {
    if (this.#before >= 0) return;
    this.#granted = this.#trip.clock.now();
    this.#before = credit;
  }

  /** Bytes that come in a round trip, since this was last told; undefined if that is not known yet. */
  perTrip(): number | undefined {
    const { clock, shortest } = this.#trip;
    const now = clock.now();
    const time = now - this.#since;
    if (time < shortest) return undefined;
    const bytes = time === 0 ? 0 : this.#came * shortest / time;
    this.#since = now;
    this.#came = 0;
    return bytes;
  }
}
