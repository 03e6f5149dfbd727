/**
 * Watches for what may not last too long: a peer that sends nothing, a write
 * that does not end, a message that never arrives whole, a connection without
 * calls.
 *
 * - One timer watches all four, set for the earliest time at which one of them
 *   can be due. It never keeps a process alive.
 * - Any byte received proves that the peer lives. What has arrived is read
 *   before a time counts as over: the local event loop may have been blocked.
 * - A peer that has sent its FIN cannot answer, so its silence proves nothing:
 *   PINGs go on being written, two for each silence (a system that no longer has
 *   the connection answers the first with a reset, and the second cannot be
 *   written), and `writeTimeout` applies to them.
 * - Nothing here runs for each message; for each chunk and each batch it is one
 *   look at the clock.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { ConnectionError, printMs } from "../base/errors.ts";
import type { KeepaliveFeature, Limits } from "../types/connection.ts";
import type { Codec } from "../wire/codec.ts";
import { toLimits } from "../wire/connection_limits.ts";
import type { PendingCalls } from "../call/pending_calls.ts";
import type { IncomingCalls, Watchdog } from "./contract.ts";
import { readFirst } from "./handshake.ts";
import type { Ping } from "./ping.ts";
import type { SendBuffer } from "./send_buffer.ts";
import type { Shutdown } from "./shutdown.ts";

/** What the watchdog needs of its connection. */
export interface WatchdogContext {
  readonly clock: Clock;
  readonly limits: Limits;
  readonly codec: Codec;
  readonly sendBuffer: SendBuffer;
  readonly pending: PendingCalls;
  readonly incoming: IncomingCalls;
  readonly pings: Ping;
  readonly shutdown: Shutdown;
}

/** Makes the watchdog of one connection; made by {@linkcode keepalive}. */
export type Keepalive = (connection: WatchdogContext) => Watchdog;

/** A PING follows `silent` and `unsure`, a graceful close `idle`; the others end the connection. */
type Condition =
  | "silent"
  | "unsure"
  | "dead"
  | "stalled"
  | "trickling"
  | "idle";

interface Due {
  readonly condition: Condition;
  readonly at: number;
  /** Whether what has arrived is read first. */
  readonly readsFirst: boolean;
}

/** Watches one connection, from the peer's HELLO on. */
export class IdleWatchdog implements Watchdog {
  readonly #connection: WatchdogContext;
  readonly #clock: Clock;
  readonly #limits: Limits;
  #timer: unknown;
  #running = false;
  readonly #onTimer = () => void this.#check();
  /** When the latest chunk arrived, and when the PING was sent that waits for one. */
  #readAt = 0;
  #pingedAt: number | undefined;
  /** Since when the current batch is being written, and the current message read. */
  #writingSince: number | undefined;
  #readingSince: number | undefined;
  #message: number | undefined;
  /** When there was last a call, and the count of calls at the last check. */
  #activeAt = 0;
  #calls: number | undefined;
  #idleTimeout: number;

  /** `limits` are those of the connection, with the times of `keepalive()`. */
  constructor(connection: WatchdogContext, limits: Limits) {
    this.#connection = connection;
    this.#clock = connection.clock;
    this.#limits = limits;
    this.#idleTimeout = limits.idleTimeout;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#readAt = this.#activeAt = this.#clock.now();
    this.#arm();
  }

  stop(): void {
    this.#running = false;
    this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  limitIdle(idleTimeout: number): void {
    if (idleTimeout >= this.#idleTimeout) return;
    this.#idleTimeout = idleTimeout;
    this.#activeAt = this.#clock.now();
    if (this.#running) this.#arm();
  }

  onPeerHalfClose(): void {
    this.#restartSilence();
    if (this.#running) this.#arm();
  }

  onRead(): void {
    this.#restartSilence();
    const message = this.#connection.codec.unfinished;
    if (message === this.#message) return;
    this.#message = message;
    this.#readingSince = message === undefined ? undefined : this.#readAt;
  }

  onFlush(): void {
    this.#writingSince = this.#clock.now();
  }

  onWritten(): void {
    this.#writingSince = undefined;
  }

  /** No PING is due for `keepaliveTime`. */
  #restartSilence(): void {
    this.#readAt = this.#clock.now();
    this.#pingedAt = undefined;
  }

  #arm(): void {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    const now = this.#clock.now();
    const next = Math.min(...this.#dues(now).map(({ at }) => at));
    if (next === Infinity) return;
    const delay = Math.min(MAX_DELAY, Math.max(1, Math.ceil(next - now)));
    this.#timer = this.#clock.setTimeout(this.#onTimer, delay);
    this.#clock.unref?.(this.#timer);
  }

  /** What can be due, and when; what has not begun could begin now. */
  #dues(now: number): Due[] {
    const { keepaliveTime, keepaliveTimeout, writeTimeout, messageTimeout } =
      this.#limits;
    const pinged = this.#pingedAt;
    const writing = this.#writingSince ?? now;
    const reading = this.#readingSince ?? now;
    const due = (condition: Condition, at: number, readsFirst = false) => ({
      condition,
      at,
      readsFirst,
    });
    return [
      pinged === undefined
        ? due("silent", this.#readAt + keepaliveTime)
        : this.#connection.shutdown.peerHalfClosed
        ? due("unsure", pinged + keepaliveTimeout)
        : due("dead", pinged + keepaliveTimeout, true),
      due("stalled", writing + writeTimeout, true),
      due("trickling", reading + messageTimeout, true),
      due("idle", this.#activeAt + this.#idleTimeout),
    ];
  }

  /** The number of all calls so far; undefined while one is open. */
  #countCalls(): number | undefined {
    const { pending, incoming } = this.#connection;
    if (!pending.empty || incoming.countOpen() > 0) return undefined;
    return pending.inFlight.last + (incoming.receiveWindow.lastId ?? 0);
  }

  async #check(): Promise<void> {
    const now = this.#clock.now();
    const calls = this.#countCalls();
    if (calls === undefined || calls !== this.#calls) this.#activeAt = now;
    this.#calls = calls;
    const due = this.#dues(now).filter(({ at }) => at <= now);
    if (due.some(({ readsFirst }) => readsFirst)) await readFirst(this.#clock);
    const still = this.#dues(now);
    for (const { condition, at } of due) {
      const since = still.find((other) => other.condition === condition)?.at;
      if (this.#running && since === at) this.#act(condition);
    }
    if (this.#running) this.#arm();
  }

  #act(condition: Condition): void {
    const { keepaliveTimeout, writeTimeout, messageTimeout } = this.#limits;
    const { shutdown } = this.#connection;
    switch (condition) {
      case "silent":
        this.#pingedAt = this.#clock.now();
        this.#ping();
        return;
      case "unsure":
        this.#restartSilence();
        this.#ping();
        return;
      case "idle":
        shutdown.close({});
        return;
      case "dead": {
        const text = "the peer did not answer a PING within ";
        const error = expired("unavailable", text, keepaliveTimeout);
        shutdown.end(error, "destroy");
        return;
      }
      case "stalled": {
        const text = "the peer took nothing of what was written for ";
        const error = expired("deadline_exceeded", text, writeTimeout);
        shutdown.end(error, "cancel");
        return;
      }
      case "trickling": {
        const text = "a message did not arrive whole within ";
        const error = expired("deadline_exceeded", text, messageTimeout);
        shutdown.end(error, "cancel");
        return;
      }
    }
  }

  #ping(): void {
    const { pings, sendBuffer } = this.#connection;
    if (!this.#connection.shutdown.peerHalfClosed) pings.send();
    // Otherwise what is being written probes the peer as well.
    else if (sendBuffer.idle) pings.probe();
  }
}

function expired(
  code: "unavailable" | "deadline_exceeded",
  text: string,
  ms: number,
): ConnectionError {
  return new ConnectionError(code, text + printMs(ms));
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
 * Closes the connection to a peer that is silent (`keepaliveTime`,
 * `keepaliveTimeout`), that does not read (`writeTimeout`), or that never
 * finishes a message (`messageTimeout`), and a connection without calls
 * (`idleTimeout`). Without it a client relies on the deadlines of its calls and
 * on the transport.
 *
 * @throws {RangeError} If a time is out of its range.
 *
 * @example
 * ```ts
 * import { assertEquals, assertRejects } from "@std/assert";
 * import { memoryPair, Server } from "@sluice/rpc";
 * import { Client, keepalive, RpcError } from "@sluice/rpc/client";
 *
 * const services = { Math: { square: (n: number) => n * n } };
 * const server = new Server(services);
 * const [{ readable, writable }, far] = memoryPair();
 * server.accept(far);
 *
 * // A network on which the server's bytes stop arriving.
 * let broken = false;
 * const network = new TransformStream<Uint8Array, Uint8Array>({
 *   transform(chunk, controller) {
 *     if (!broken) controller.enqueue(chunk);
 *   },
 * });
 * const duplex = { readable: readable.pipeThrough(network), writable };
 * const client = new Client<typeof services>(duplex, {
 *   keepalive: keepalive({ time: 20, timeout: 10 }),
 * });
 * assertEquals(await client.call("Math.square", 7), 49);
 *
 * // The call fails long before its deadline.
 * broken = true;
 * await assertRejects(
 *   () => client.call("Math.square", 8, { timeout: 5000 }),
 *   RpcError,
 *   "the peer did not answer a PING within 10 ms",
 * );
 * await server.close();
 * ```
 */
export function keepalive(options: KeepaliveOptions = {}): KeepaliveFeature {
  const { time, timeout } = options;
  // Read at once, so that a mistake shows where it is made.
  const checked = toLimits({ keepaliveTime: time, keepaliveTimeout: timeout });
  const make: Keepalive = (connection) => {
    const limits = { ...connection.limits };
    if (time !== undefined) limits.keepaliveTime = checked.keepaliveTime;
    if (timeout !== undefined) {
      limits.keepaliveTimeout = checked.keepaliveTimeout;
    }
    // Silence means nothing on a protocol without PING.
    if (!connection.codec.features.ping) limits.keepaliveTime = Infinity;
    return new IdleWatchdog(connection, limits);
  };
  return make;
}
