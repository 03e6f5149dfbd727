/**
 * Dials that go as the test says, and a reconnecting client over them.
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

/** Services of any name, for peers made by hand. */
// deno-lint-ignore no-explicit-any
export type Any = Record<string, (params?: any) => any>;

/** Connects to a server of this process. */
export function serving(server: Server<object>): Dial {
  return () => {
    const [near, far] = memoryPair();
    server.accept(far);
    return near;
  };
}

/** Fails. */
export function failing(code: ErrorCode = "unavailable"): Dial {
  return () => {
    throw new ConnectionError(code, "the test refuses");
  };
}

/** Never answers, not even to its signal. */
export function hanging(): Dial {
  return () => new Promise<Duplex>(() => {});
}

/** Dials one after another; the last goes on for ever. */
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

  /** Has the coming dials go otherwise. */
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

/** A client whose time stands still, whose delays are half of their bound, and whose peers are made by hand. */
export class Reconnecting {
  readonly clock: TestClock = new TestClock();
  readonly dials: Dials;
  readonly client: ReconnectingClient<Any>;
  /** Every change of state, with what the next dial waits for. */
  readonly states: (ClientState | [ClientState, number])[] = [];
  /** The peers that were connected to, in order. */
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

  /** Dials a peer made by hand. */
  readonly peer: Dial = () => {
    const peer = new RawPeer();
    this.peers.push(peer);
    return peer.duplex;
  };

  /** The peer connected to last, once it has said HELLO. */
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

  /** Lets what is under way go on, then time pass. */
  async advance(ms: number): Promise<void> {
    await settle();
    await this.clock.advance(ms);
  }

  /** The connection breaks, in this very turn. */
  lose(): void {
    this.client.connection?.abort(new Error("lost by the test"));
  }

  /** Ends the client, and asserts that nothing is left of it. */
  async over(): Promise<void> {
    const over = this.client.abort(new Error("the test is over"));
    await settle();
    await over;
    await this.client.closed;
    assertNothingIsLeft(this);
  }
}

/** Asserts that nothing is left of a client that is over. */
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

/** A peer that says goodbye to all calls above `lastId`. */
export async function sendGoaway(
  peer: RawPeer,
  lastId?: number,
): Promise<void> {
  await peer.send(goaway(lastId));
  await settle();
}
