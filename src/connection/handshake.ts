/**
 * The first part of a connection's life: from our HELLO to the peer's being in.
 *
 * Invariants owned here:
 * - The peer's HELLO, and the verdict on it where there is one, come within
 *   `handshakeTimeout` of the start, also where either end drains meanwhile.
 * - No handler runs before the verdict, and nothing is watched before the
 *   peer's HELLO.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { Codec, CodecSettings } from "../wire/codec.ts";
import type { Hello, Limits } from "../types/connection.ts";
import type { Connection } from "./connection.ts";
import type { ConnectionSetup } from "./contract.ts";
import type { Timer } from "../base/timers.ts";
import type { Dispatch } from "../serve/dispatcher.ts";
import type { Ending } from "./shutdown.ts";
import { ConnectionError } from "../base/errors.ts";
import type { Outbox } from "./send_buffer.ts";
import type { Verdict } from "../serve/authorize.ts";
import { readFirst, type Watchdog } from "./watchdog.ts";
import { toCredentials } from "../wire/hello.ts";
import type { Registry } from "../serve/method.ts";

/** What the opening needs of its connection. */
export interface OpeningContext {
  readonly codec: Codec;
  readonly outbox: Outbox;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly connection: Connection;
  readonly dispatch: Dispatch;
  readonly ending: Ending;
  readonly timer: Timer;
  readonly watchdog: Watchdog;
  /** Whether the peer may come in; undefined where everybody may. */
  readonly verdict: Verdict | undefined;
  /** Its `onHello` is told of the peer's, once the peer may come in. */
  readonly setup: Pick<ConnectionSetup, "onHello">;
}

/** Opens one connection. */
export class Opening {
  readonly #context: OpeningContext;

  constructor(context: OpeningContext) {
    this.#context = context;
  }

  /** Says HELLO. On a wire without one, the peer's has come when this returns. */
  begin(): void {
    const { codec, outbox, dispatch } = this.#context;
    const { timer, limits, verdict } = this.#context;
    timer.set(limits.handshakeTimeout, () => void this.#late());
    codec.hello(outbox);
    // Alone: what is said behind it can still be taken back until the verdict.
    if (verdict !== undefined) outbox.flush();
    else dispatch.open();
  }

  /** The peer's HELLO has come. */
  hello(hello: Hello): void {
    const { connection, ending, timer, verdict } = this.#context;
    if (verdict === undefined) {
      timer.clear();
      this.#greeted();
      return;
    }
    verdict.ask(hello, connection, {
      admitted: () => this.#admitted(),
      denied: (reason) => ending.end(reason, "goaway"),
    });
  }

  #admitted(): void {
    const { codec, dispatch, ending, timer } = this.#context;
    timer.clear();
    codec.admit?.();
    this.#greeted();
    dispatch.open();
    ending.advance();
  }

  /** The peer's HELLO is here, and it may come in. */
  #greeted(): void {
    // What it refuses may have been all that a drain waited for.
    if (this.#context.ending.over) return;
    this.#context.watchdog.start();
    this.#context.setup.onHello?.();
  }

  async #late(): Promise<void> {
    const { clock, ending, verdict, watchdog } = this.#context;
    await readFirst(clock);
    if (ending.over || watchdog.running) return;
    const text = verdict?.asked
      ? "whether the peer may come in was not decided in time"
      : "the peer's HELLO did not come in time";
    ending.end(new ConnectionError("deadline_exceeded", text), "goaway");
  }
}

/**
 * Reads them off what a connection is made with.
 *
 * @throws {RangeError} If the credentials are too long.
 */
export function codecSettings(
  setup: ConnectionSetup,
  limits: Limits,
  registry: Registry,
  stray: CodecSettings["stray"],
): CodecSettings {
  const { services, serializer, verdict } = setup;
  const { maxMessage, windowCalls, windowBytes } = limits;
  const own = { maxMessage, windowCalls, windowBytes };
  const credentials = setup.credentials === undefined
    ? undefined
    : toCredentials(setup.credentials);
  return {
    hello: {
      ...own,
      windowCalls: registry.size === 0 ? 0 : windowCalls,
      credentials,
      streams: { credit: limits.streamCredit, max: limits.maxStreams },
    },
    own,
    guarded: verdict !== undefined,
    registry: services && registry,
    serializer,
    stray,
  };
}
