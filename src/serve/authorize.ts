/**
 * Authorization: whether the server accepts a client, decided between the
 * client's HELLO and its own.
 *
 * - Nothing is sent before the decision, not even HELLO. What is written
 *   meanwhile waits in the send buffer behind it; a rejection discards it.
 * - There is at most one decision, and none after the connection has ended.
 * - Any failure is a rejection, and so is a function that returns nothing: a
 *   forgotten `return` must not accept every client.
 *
 * @module
 */

import { ConnectionError } from "../base/errors.ts";
import type { Connection, PeerHello } from "../types/connection.ts";
import type { ByteChannel } from "../transport/duplex.ts";
import type { PeerGate, PeerGateEvents } from "../connection/contract.ts";
import { DENIED } from "../connection/shutdown.ts";

/**
 * Decides whether the server accepts a client.
 *
 * The value that it returns, or that its promise resolves with, becomes the
 * handlers' `ctx.auth`. The server rejects the client, with `unauthenticated`,
 * if that value is `false`, `undefined` or `null`, and if the function throws or
 * its promise rejects; `onError` then receives the exception as the `cause`.
 *
 * No handler runs before the decision, which must be there within
 * `handshakeTimeout` of the start of the connection. Calls that the server makes
 * on `connection` wait for it, too: do not await one in here.
 *
 * @param hello The client's HELLO, with its `credentials`.
 * @param connection The connection. Its `peer` has the client's address and TLS
 *   certificate. Its `closed` resolves if the client leaves before the decision,
 *   which then has no effect.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { type CallContext, Client, memoryPair, Server } from "@sluice/rpc";
 *
 * const services = { Who: { am: (_: undefined, ctx: CallContext) => `${ctx.auth}` } };
 * const users = new Map([["token-1", "ada"]]);
 * const server = new Server(services, {
 *   authorize: (hello) => users.get(`${hello.credentials}`),
 * });
 * const [near, far] = memoryPair();
 * server.accept(far);
 * const client = new Client<typeof services>(near, { credentials: "token-1" });
 * assertEquals(await client.call("Who.am"), "ada");
 * await client.close();
 * await server.close();
 * ```
 */
export type Authorize = (hello: PeerHello, connection: Connection) => unknown;

interface HeldWrite {
  readonly chunks: readonly Uint8Array[];
  readonly written: PromiseWithResolvers<void>;
}

/** Holds back what a connection writes until its client is accepted. */
export class AuthorizationGate implements PeerGate {
  readonly borrows: boolean;
  auth: unknown = undefined;
  asked = false;
  pending = true;
  readonly #channel: ByteChannel;
  readonly #authorize: Authorize | undefined;
  #held: HeldWrite | undefined;

  /** @param authorize Makes the decision; undefined if the client is rejected anyway. */
  constructor(channel: ByteChannel, authorize: Authorize | undefined) {
    this.#channel = channel;
    this.borrows = channel.borrows;
    this.#authorize = authorize;
  }

  /** Holds one batch until the decision, and with it all that follow. */
  write(chunks: readonly Uint8Array[]): Promise<void> {
    if (!this.pending) return this.#channel.write(chunks);
    const written = Promise.withResolvers<void>();
    this.#held = { chunks, written };
    return written.promise;
  }

  async ask(
    hello: PeerHello,
    connection: Connection,
    events: PeerGateEvents,
  ): Promise<void> {
    this.asked = true;
    // Not in the middle of a chunk: the rest of it may end the connection.
    await undefined;
    if (!this.pending) return;
    let auth: unknown;
    let cause: unknown;
    try {
      auth = await this.#authorize?.(hello, connection);
    } catch (error) {
      cause = error;
    }
    if (!this.pending) return;
    if (auth === undefined || auth === null || auth === false) {
      events.denied(new ConnectionError("unauthenticated", DENIED, { cause }));
      return;
    }
    this.auth = auth;
    this.pending = false;
    this.#writeHeld();
    events.accepted();
  }

  drop(): boolean {
    const { pending } = this;
    this.pending = false;
    this.#held?.written.resolve();
    this.#held = undefined;
    return pending;
  }

  #writeHeld(): void {
    const held = this.#held;
    this.#held = undefined;
    if (held === undefined) return;
    const { chunks, written } = held;
    this.#channel.write(chunks).then(written.resolve, written.reject);
  }
}
