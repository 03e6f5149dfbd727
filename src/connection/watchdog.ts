/**
 * What a connection may not do for too long: say nothing, take nothing, never
 * finish a message, lie idle.
 *
 * Invariants owned here:
 * - One timer watches over all four, set for the earliest moment at which one
 *   of them can be due, and it never keeps a process alive.
 * - Any byte received proves that the peer lives. Before a verdict what has
 *   arrived is read: our own event loop may have been the one that slept.
 * - A peer that has sent its FIN cannot answer, and is not judged by silence:
 *   PINGs go on being written, two for each of its silences (to the first one a
 *   system that has no such connection any more answers with a reset, and the
 *   second cannot be written), and `writeTimeout` holds for them.
 * - Nothing here runs per message; per chunk and per batch it is one look at
 *   the clock.
 *
 * @module
 */

import { printMs } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import type { Keepalive, Watchdog, WatchdogEvents } from "./contract.ts";
import { toLimits } from "../wire/limits.ts";
import { readFirst } from "./handshake.ts";
import type { KeepaliveFeature, Limits } from "../types/connection.ts";

/** `silent` and `unsure` are answered by a PING, `idle` by a close; the rest ends the connection. */
type What = "silent" | "unsure" | "dead" | "stalled" | "trickling" | "idle";

interface Due {
  readonly what: What;
  readonly at: number;
  /** Whether what has arrived is read first. */
  readonly judged: boolean;
}

/** Watches one connection, from the peer's HELLO on. */
export class IdleWatchdog implements Watchdog {
  readonly #clock: Clock;
  readonly #limits: Limits;
  readonly #watched: WatchdogEvents;
  #timer: unknown;
  #running = false;
  readonly #tick = () => void this.#look();
  /** When the latest chunk came, and the PING that waits for one was sent. */
  #heardAt = 0;
  #askedAt: number | undefined;
  /** Since when the batch that is being written, and the message that is being read, are under way. */
  #writingSince: number | undefined;
  #readingSince: number | undefined;
  #reader: number | undefined;
  /** When there was last a call, and what `activity` said then. */
  #activeAt = 0;
  #calls: number | undefined;
  #idleTimeout: number;
  /** The peer's FIN has come. */
  #peerHalfClosed = false;

  constructor(clock: Clock, limits: Limits, watched: WatchdogEvents) {
    this.#clock = clock;
    this.#limits = limits;
    this.#watched = watched;
    this.#idleTimeout = limits.idleTimeout;
  }

  /** Whether it watches: the peer's HELLO has come. */
  get running(): boolean {
    return this.#running;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#heardAt = this.#activeAt = this.#clock.now();
    this.#arm();
  }

  stop(): void {
    this.#running = false;
    this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** The peer has said goodbye: it may be idle for less. */
  leave(idleTimeout: number): void {
    if (idleTimeout >= this.#idleTimeout) return;
    this.#idleTimeout = idleTimeout;
    this.#activeAt = this.#clock.now();
    if (this.#running) this.#arm();
  }

  /** The peer's FIN has come. */
  onPeerHalfClose(): void {
    this.#peerHalfClosed = true;
    this.#asked();
    if (this.#running) this.#arm();
  }

  /** A chunk has been read. */
  heard(): void {
    this.#asked();
    const message = this.#watched.unfinished();
    if (message === this.#reader) return;
    this.#reader = message;
    this.#readingSince = message === undefined ? undefined : this.#heardAt;
  }

  /** A batch is the writer's. */
  writing(): void {
    this.#writingSince = this.#clock.now();
  }

  /** The writer has taken all. */
  written(): void {
    this.#writingSince = undefined;
  }

  /** Nothing is to be asked for a while. */
  #asked(): void {
    this.#heardAt = this.#clock.now();
    this.#askedAt = undefined;
  }

  #arm(): void {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    const now = this.#clock.now();
    const next = Math.min(...this.#dues(now).map(({ at }) => at));
    if (next === Infinity) return;
    const delay = Math.min(MAX_DELAY, Math.max(1, Math.ceil(next - now)));
    this.#timer = this.#clock.setTimeout(this.#tick, delay);
    this.#clock.unref?.(this.#timer);
  }

  /** What can be due, and when; what has not begun could begin now. */
  #dues(now: number): Due[] {
    const { keepaliveTime, keepaliveTimeout, writeTimeout } = this.#limits;
    const { messageTimeout } = this.#limits;
    const asked = this.#askedAt;
    const writing = this.#writingSince ?? now;
    const reader = this.#readingSince ?? now;
    return [
      asked === undefined
        ? { what: "silent", at: this.#heardAt + keepaliveTime, judged: false }
        : this.#peerHalfClosed
        ? { what: "unsure", at: asked + keepaliveTimeout, judged: false }
        : { what: "dead", at: asked + keepaliveTimeout, judged: true },
      { what: "stalled", at: writing + writeTimeout, judged: true },
      { what: "trickling", at: reader + messageTimeout, judged: true },
      { what: "idle", at: this.#activeAt + this.#idleTimeout, judged: false },
    ];
  }

  async #look(): Promise<void> {
    const now = this.#clock.now();
    const calls = this.#watched.activity();
    if (calls === undefined || calls !== this.#calls) this.#activeAt = now;
    this.#calls = calls;
    const due = this.#dues(now).filter(({ at }) => at <= now);
    if (due.some(({ judged }) => judged)) await readFirst(this.#clock);
    const still = this.#dues(now);
    for (const { what, at } of due) {
      const since = still.find((other) => other.what === what)?.at;
      if (this.#running && since === at) this.#act(what);
    }
    if (this.#running) this.#arm();
  }

  #act(what: What): void {
    const { keepaliveTimeout, writeTimeout, messageTimeout } = this.#limits;
    switch (what) {
      case "silent":
        this.#askedAt = this.#clock.now();
        this.#watched.sendPing();
        return;
      case "unsure":
        this.#asked();
        this.#watched.sendPing();
        return;
      case "idle":
        this.#watched.onIdle();
        return;
      case "dead":
        this.#watched.onExpired(
          "unavailable",
          `the peer did not answer a PING within ${printMs(keepaliveTimeout)}`,
        );
        return;
      case "stalled":
        this.#watched.onExpired(
          "deadline_exceeded",
          `the peer took nothing of what was written for ${
            printMs(writeTimeout)
          }`,
        );
        return;
      case "trickling":
        this.#watched.onExpired(
          "deadline_exceeded",
          `a message did not arrive whole within ${printMs(messageTimeout)}`,
        );
        return;
    }
  }
}

/** Longest delay a platform timer takes, in ms. */
const MAX_DELAY = 0x7fffffff;

/** Times of {@linkcode keepalive}; each that is missing is the connection's. */
export interface KeepaliveOptions {
  /** Milliseconds of silence after which the peer is sent a PING. Default `keepaliveTime` (30,000). */
  readonly time?: number | undefined;
  /** Milliseconds for the PING to be answered by any byte at all. Default `keepaliveTimeout` (20,000). */
  readonly timeout?: number | undefined;
}

/**
 * Notices a peer that is silent (`keepaliveTime`, `keepaliveTimeout`), that
 * does not read (`writeTimeout`), or that never finishes a message
 * (`messageTimeout`), and closes a connection without calls (`idleTimeout`).
 * Without it a client relies on its calls' deadlines and on the transport.
 *
 * @throws {RangeError} If a time is out of its range.
 */
export function keepalive(options: KeepaliveOptions = {}): KeepaliveFeature {
  const { time, timeout } = options;
  // Read at once, so that a mistake shows where it is made.
  const checked = toLimits({ keepaliveTime: time, keepaliveTimeout: timeout });
  const made: Keepalive = (clock, limits, events, canPing) => {
    const own = { ...limits };
    if (time !== undefined) own.keepaliveTime = checked.keepaliveTime;
    if (timeout !== undefined) own.keepaliveTimeout = checked.keepaliveTimeout;
    // Silence means nothing on a protocol without PING.
    if (!canPing) own.keepaliveTime = Infinity;
    return new IdleWatchdog(clock, own, events);
  };
  return made;
}
