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

import type {
  ConnectionSetup,
  PeerGate,
  ServeSide,
  Watchdog,
} from "./contract.ts";
import type { Clock } from "../base/clock.ts";
import type { Codec, CodecSettings } from "../wire/codec.ts";
import type { Limits, PeerHello } from "../types/connection.ts";
import type { Connection } from "../types/connection.ts";
import type { Timeout } from "../base/timers.ts";
import type { Shutdown } from "./shutdown.ts";
import { ConnectionError } from "../base/errors.ts";
import type { SendBuffer } from "./send_buffer.ts";
import { toCredentials } from "../wire/hello.ts";

/** What the opening needs of its connection. */
export interface HandshakeContext extends Connection {
  readonly codec: Codec;
  readonly sendBuffer: SendBuffer;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly serveSide: ServeSide;
  readonly shutdown: Shutdown;
  readonly timer: Timeout;
  readonly watchdog: Watchdog;
  /** Whether the peer may come in; undefined where everybody may. */
  readonly gate: PeerGate | undefined;
  /** Its `onHello` is told of the peer's, once the peer may come in. */
  readonly setup: Pick<ConnectionSetup, "onHello">;
}

/** Opens one connection. */
export class Handshake {
  readonly #context: HandshakeContext;

  constructor(context: HandshakeContext) {
    this.#context = context;
  }

  /** Says HELLO. On a wire without one, the peer's has come when this returns. */
  begin(): void {
    const { codec, sendBuffer, serveSide } = this.#context;
    const { timer, limits, gate } = this.#context;
    timer.set(limits.handshakeTimeout, () => void this.#late());
    codec.hello(sendBuffer);
    // Alone: what is said behind it can still be taken back until the verdict.
    if (gate !== undefined) sendBuffer.flush();
    else serveSide.open();
  }

  /** The peer's HELLO has come. */
  hello(hello: PeerHello): void {
    const { shutdown, timer, gate } = this.#context;
    if (gate === undefined) {
      timer.clear();
      this.#onHello();
      return;
    }
    gate.ask(hello, this.#context, {
      accepted: () => this.#admitted(),
      denied: (reason) => shutdown.end(reason, "goaway"),
    });
  }

  #admitted(): void {
    const { codec, serveSide, shutdown, timer } = this.#context;
    timer.clear();
    codec.onPeerAuthorized?.();
    this.#onHello();
    serveSide.open();
    shutdown.advance();
  }

  /** The peer's HELLO is here, and it may come in. */
  #onHello(): void {
    // What it refuses may have been all that a drain waited for.
    if (this.#context.shutdown.over) return;
    this.#context.watchdog.start();
    this.#context.setup.onHello?.();
  }

  async #late(): Promise<void> {
    const { clock, shutdown, gate, watchdog } = this.#context;
    await readFirst(clock);
    if (shutdown.over || watchdog.running) return;
    const text = gate?.asked
      ? "whether the peer may come in was not decided in time"
      : "the peer's HELLO did not come in time";
    shutdown.end(new ConnectionError("deadline_exceeded", text), "goaway");
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
  onStrayLine: CodecSettings["onStrayLine"],
): CodecSettings {
  const { services, serializer, makeGate, streams } = setup;
  const methods = services?.methods;
  const { maxMessage, windowCalls, windowBytes } = limits;
  const own = { maxMessage, windowCalls, windowBytes };
  const credentials = setup.credentials === undefined
    ? undefined
    : toCredentials(setup.credentials);
  return {
    hello: {
      ...own,
      windowCalls: methods === undefined || methods.size === 0
        ? 0
        : windowCalls,
      credentials,
      streams: streams &&
        { credit: limits.streamCredit, max: limits.maxStreams },
    },
    limits: own,
    authorizesPeer: makeGate !== undefined,
    methodTable: methods,
    serializer,
    streams: streams?.codec,
    onStrayLine,
  };
}

/** Turns of the event loop in which what has arrived is read before a verdict. */
const TURNS_TO_READ = 2;

/** Lets what has arrived be read before a peer is judged: our own event loop may have been the one that slept. */
export async function readFirst(clock: Clock): Promise<void> {
  for (let i = 0; i < TURNS_TO_READ; i++) await clock.turn();
}
