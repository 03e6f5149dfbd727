/**
 * Whether a peer may come in: what stands between its HELLO and ours.
 *
 * Invariants owned here:
 * - Until the verdict nothing leaves, not even our HELLO. What is said
 *   meanwhile gathers in the outbox behind it; a denial throws it all away.
 * - There is one verdict at most, and none once the connection is over.
 * - Whatever goes wrong is a denial, and so is a function that returns nothing:
 *   a forgotten `return` must not let everybody in.
 *
 * @module
 */

import type { ByteChannel } from "../transport/duplex.ts";
import type { Connection, PeerHello } from "../types/connection.ts";
import { ConnectionError } from "../base/errors.ts";
import type { PeerGate, PeerGateEvents } from "../connection/contract.ts";
import { DENIED } from "../connection/shutdown.ts";

/**
 * Decides whether a peer may come in. What it returns, or its promise resolves
 * with, is the handlers' `ctx.auth`. The peer is denied if that is `false`,
 * `undefined` or `null`, and if it throws or rejects.
 *
 * It has `handshakeTimeout`, counted from the start of the connection. Handlers
 * do not run before the verdict. A call of its own to the peer waits for the
 * verdict, too: awaited here, it never ends.
 *
 * @param hello What the peer said first, its `credentials` above all.
 * @param connection Whose `peer` tells address and TLS certificate. Its `closed`
 *   resolves if the peer is gone before the verdict, which is then dropped.
 */
export type Authorize = (hello: PeerHello, connection: Connection) => unknown;

interface HeldWrite {
  readonly chunks: readonly Uint8Array[];
  readonly done: PromiseWithResolvers<void>;
}

/** The verdict on the peer of one connection, and the way of what is written to it. */
export class AuthorizationGate implements PeerGate {
  readonly borrows: boolean;
  /** What the peer was let in as. */
  auth: unknown = undefined;
  /** Whether the question has been put. */
  asked = false;
  readonly #path: ByteChannel;
  readonly #authorize: Authorize;
  #pending = true;
  #held: HeldWrite | undefined;

  constructor(path: ByteChannel, authorize: Authorize) {
    this.#path = path;
    this.borrows = path.borrows;
    this.#authorize = authorize;
  }

  /** Whether it is still awaited. */
  get pending(): boolean {
    return this.#pending;
  }

  /** Until the verdict a batch stays here, and so all that are behind it. */
  write(chunks: readonly Uint8Array[]): Promise<void> {
    if (!this.#pending) return this.#path.write(chunks);
    const done = Promise.withResolvers<void>();
    this.#held = { chunks, done };
    return done.promise;
  }

  /** Puts the question. */
  async ask(
    hello: PeerHello,
    connection: Connection,
    events: PeerGateEvents,
  ): Promise<void> {
    this.asked = true;
    // Not in the middle of a chunk: what follows in it may end the connection.
    await undefined;
    if (!this.#pending) return;
    let auth: unknown;
    let cause: unknown;
    try {
      auth = await this.#authorize(hello, connection);
    } catch (error) {
      cause = error;
      auth = undefined;
    }
    if (!this.#pending) return;
    if (auth === undefined || auth === null || auth === false) {
      events.denied(new ConnectionError("unauthenticated", DENIED, { cause }));
      return;
    }
    this.auth = auth;
    this.#pending = false;
    this.#release();
    events.accepted();
  }

  /** There will be none: what is held is thrown away. False if there was one. */
  drop(): boolean {
    if (!this.#pending) return false;
    this.#pending = false;
    this.#held?.done.resolve();
    this.#held = undefined;
    return true;
  }

  #release(): void {
    const held = this.#held;
    this.#held = undefined;
    if (held === undefined) return;
    const { chunks, done } = held;
    this.#path.write(chunks).then(done.resolve, done.reject);
  }
}
