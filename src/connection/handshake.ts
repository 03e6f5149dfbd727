/**
 * The first part of a connection's life: from the local HELLO until the peer
 * has said HELLO and is authorized.
 *
 * - The peer's HELLO, and the decision of `authorize` where there is one, come
 *   within `handshakeTimeout` of the start, also where either side drains
 *   meanwhile.
 * - No handler runs before the peer is authorized, and nothing is watched
 *   before the peer's HELLO.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { ConnectionError } from "../base/errors.ts";
import { Timeout, type TimerHeap } from "../base/timers.ts";
import type { Connection, Limits, PeerHello } from "../types/connection.ts";
import type { Codec, CodecSettings } from "../wire/codec.ts";
import { toCredentials } from "../wire/hello.ts";
import { namesOf } from "../wire/values/serializers.ts";
import type {
  ConnectionSetup,
  IncomingCalls,
  PeerGate,
  Watchdog,
} from "./contract.ts";
import type { SendBuffer } from "./send_buffer.ts";
import type { Shutdown } from "./shutdown.ts";

/** What the handshake needs of its connection. */
export interface HandshakeContext extends Connection {
  readonly codec: Codec;
  readonly sendBuffer: SendBuffer;
  readonly clock: Clock;
  readonly deadlines: TimerHeap;
  readonly limits: Limits;
  readonly incoming: IncomingCalls;
  readonly shutdown: Shutdown;
  readonly watchdog: Watchdog | undefined;
  readonly gate: PeerGate | undefined;
  readonly setup: Pick<ConnectionSetup, "onHello">;
}

/** Opens one connection. */
export class Handshake {
  readonly #context: HandshakeContext;
  readonly #timeout: Timeout;
  /** Whether the peer has said HELLO and is authorized. */
  #done = false;
  /** Made when somebody asks for it. */
  #opened: PromiseWithResolvers<void> | undefined;

  constructor(context: HandshakeContext) {
    this.#context = context;
    this.#timeout = new Timeout(context.clock, context.deadlines);
  }

  /** Sends HELLO. On a protocol without one, the peer's counts as received when this returns. */
  begin(): void {
    const { codec, sendBuffer, incoming, limits, gate } = this.#context;
    this.#timeout.set(limits.handshakeTimeout, () => void this.#expire());
    codec.hello(sendBuffer);
    // In a batch of its own: what follows can be taken back until the peer is authorized.
    if (gate !== undefined) sendBuffer.flush();
    else incoming.open();
  }

  /** The peer's HELLO has arrived. */
  onHello(hello: PeerHello): void {
    const { shutdown, gate } = this.#context;
    if (gate === undefined) this.#accept();
    else {
      gate.ask(hello, this.#context, {
        accepted: () => this.#accept(),
        denied: (reason) => shutdown.end(reason, "goaway"),
      });
    }
  }

  /** See {@linkcode Connection.opened}. */
  get opened(): Promise<void> {
    const opened = this.#opened ??= this.#makeOpened();
    return opened.promise;
  }

  #makeOpened(): PromiseWithResolvers<void> {
    const opened = Promise.withResolvers<void>();
    opened.promise.catch(() => {});
    if (this.#done) opened.resolve();
    const text = "the connection was closed before the peer's HELLO";
    this.#context.shutdown.closed.then((reason) =>
      opened.reject(reason ?? new ConnectionError("unavailable", text))
    );
    return opened;
  }

  #accept(): void {
    const { codec, incoming, shutdown, watchdog, setup } = this.#context;
    this.#done = true;
    this.#opened?.resolve();
    this.#timeout.clear();
    codec.onPeerAuthorized?.();
    // The calls that HELLO rules out may have been all that a drain waited for.
    if (shutdown.ended) return;
    watchdog?.start();
    setup.onHello?.();
    incoming.open();
    shutdown.advance();
  }

  async #expire(): Promise<void> {
    const { clock, shutdown, gate } = this.#context;
    await readFirst(clock);
    if (shutdown.ended || this.#done) return;
    const text = gate?.asked
      ? "`authorize` did not decide in time"
      : "the peer's HELLO did not arrive in time";
    shutdown.end(new ConnectionError("deadline_exceeded", text), "goaway");
  }
}

/**
 * What the codec of a connection is made with.
 *
 * @throws {RangeError} If the credentials are too long, or the name of a serializer is not one.
 */
export function codecSettings(
  setup: ConnectionSetup,
  limits: Limits,
  onStrayLine: CodecSettings["onStrayLine"],
): CodecSettings {
  const { services, serializer, makeGate, fragments, streams, credentials } =
    setup;
  return {
    hello: {
      ...limits,
      // A peer that can call nothing is granted no calls.
      windowCalls: services?.methods.size ? limits.windowCalls : 0,
      movesWindow: true,
      keepsResults: services?.readLinks !== undefined,
      credentials: credentials === undefined
        ? undefined
        : toCredentials(credentials),
      serializers: namesOf(serializer),
      streams: streams && {
        credit: limits.streamCredit,
        max: limits.maxStreams,
        connectionCredit: limits.connectionCredit,
      },
      fragments: fragments !== undefined,
    },
    // A copy, because the connection sets the window that it grants in its own.
    limits: { ...limits },
    authorizesPeer: makeGate !== undefined,
    methodTable: services?.methods,
    readLinks: services?.readLinks,
    serializer,
    streams: streams?.codec,
    fragments,
    onStrayLine,
  };
}

/** Turns of the event loop in which what has arrived is read before a time counts as over. */
const TURNS_TO_READ = 2;

/** Lets what has arrived be read before a peer counts as silent: the local event loop may have been blocked. */
export async function readFirst(clock: Clock): Promise<void> {
  for (let i = 0; i < TURNS_TO_READ; i++) await clock.turn();
}
