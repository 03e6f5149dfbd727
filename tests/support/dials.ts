/**
 * Dials whose result the test decides, and a reconnecting client that uses them.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import {
  type CallHandle,
  type CallOptions,
  type ClientState,
  ConnectionError,
  type Dial,
  type Duplex,
  type ErrorCode,
  memoryPair,
  ReconnectingClient,
  type ReconnectingClientOptions,
  type Server,
} from "../../mod.ts";
import { settle, TestClock } from "./clock.ts";
import { goaway, hello, RawPeer } from "./raw_peer.ts";

/** Services with any method, for raw peers. */
// deno-lint-ignore no-explicit-any
export type Any = Record<string, (params?: any) => any>;

/** Dials a server in this process. */
export function serving(server: Server<object>): Dial {
  return () => {
    const [near, far] = memoryPair();
    server.accept(far);
    return near;
  };
}

/** Dials that fail with `code`. */
export function failing(code: ErrorCode = "unavailable"): Dial {
  return () => {
    throw new ConnectionError(code, "the test refuses");
  };
}

/** Dials that never settle, not even when their signal fires. */
export function hanging(): Dial {
  return () => new Promise<Duplex>(() => {});
}

/** Dials in the given order; the last one is used for ever. */
export class Dials {
  /** The signal of each dial so far. */
  readonly signals: AbortSignal[] = [];
  readonly #steps: Dial[];

  constructor(...steps: Dial[]) {
    this.#steps = steps;
  }

  get count(): number {
    return this.signals.length;
  }

  /** Replaces the dials that are to come. */
  then(...steps: Dial[]): void {
    this.#steps.splice(0, Infinity, ...steps);
  }

  readonly dial: Dial = (signal) => {
    this.signals.push(signal);
    const step = this.#steps.length > 1
      ? this.#steps.shift() as Dial
      : this.#steps[0];
    return step(signal);
  };
}

/** A client with raw peers and a clock that the test moves. Its delays are half of their bound. */
export class Reconnecting {
  readonly clock: TestClock = new TestClock();
  readonly dials: Dials;
  readonly client: ReconnectingClient<Any>;
  /** Every state it entered, with the delay before the next dial if there is one. */
  readonly states: (ClientState | [ClientState, number])[] = [];
  /** The raw peers it has dialled, in order. */
  readonly peers: RawPeer[] = [];

  constructor(
    steps: readonly (Dial | "peer")[],
    { retry, ...options }: ReconnectingClientOptions = {},
  ) {
    this.dials = new Dials(...steps.map((s) => s === "peer" ? this.peer : s));
    this.client = new ReconnectingClient<Any>(this.dials.dial, {
      clock: this.clock,
      retry: { base: 100, cap: 1000, random: () => 0.5, ...retry },
      onStateChange: (state, { delay }) =>
        this.states.push(delay === undefined ? state : [state, delay]),
      ...options,
    });
  }

  /** Dials a new raw peer. */
  readonly peer: Dial = () => {
    const peer = new RawPeer();
    this.peers.push(peer);
    return peer.duplex;
  };

  /** The peer dialled last, after it has sent its HELLO. */
  async ready(fields?: Parameters<typeof hello>[0]): Promise<RawPeer> {
    await settle();
    const peer = this.peers.at(-1) as RawPeer;
    await peer.send(hello(fields));
    await settle();
    return peer;
  }

  go(params?: unknown, options?: CallOptions): CallHandle<unknown> {
    return this.client.go("m", params, options);
  }

  /** Lets everything settle, then moves the clock. */
  async advance(ms: number): Promise<void> {
    await settle();
    await this.clock.advance(ms);
  }

  /** Breaks the connection in this very turn. */
  lose(): void {
    this.client.connection?.abort(new Error("lost by the test"));
  }

  /** Aborts the client, and asserts that nothing is left of it. */
  async over(): Promise<void> {
    const over = this.client.abort(new Error("the test is over"));
    await settle();
    await over;
    await this.client.closed;
    assertNothingIsLeft(this);
  }
}

/** Asserts that nothing is left of a client that has ended. */
export function assertNothingIsLeft({ client, clock }: Reconnecting): void {
  const { state, connections, waiting, inFlight, queued, listeners, timers } =
    client.stats();
  assertEquals(
    { state, connections, waiting, inFlight, queued, listeners, timers },
    {
      state: "closed",
      connections: 0,
      waiting: 0,
      inFlight: 0,
      queued: 0,
      listeners: 0,
      timers: 0,
    },
  );
  assertEquals(clock.timers, 0);
}

/** Sends a GOAWAY: the peer does not serve calls above `lastId`. */
export async function sendGoaway(
  peer: RawPeer,
  lastId?: number,
): Promise<void> {
  await peer.send(goaway(lastId));
  await settle();
}
