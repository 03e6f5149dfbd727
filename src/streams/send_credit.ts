/**
 * What the peer lets this side send over all streams of a connection together.
 *
 * Order and bounds:
 * - No DATA is written without credit for it.
 * - An item is begun only when there is credit for all of it, which is then
 *   reserved: every item that has begun can end, however many streams there are,
 *   and the peer's readers never wait for each other's parts.
 * - Writers that the credit does not suffice for get it in their order; none
 *   overtakes.
 *
 * @module
 */

import { protocolError } from "../base/errors.ts";
import { CHARGE_BESIDE, MAX_CREDIT, QUANTUM } from "../wire/protocol.ts";

/** A writer, as the credit sees it. */
export interface CreditUser {
  /** Bytes that it has reserved and not used. */
  reserved: number;
  /** Bytes that it waits for; 0 if it does not wait. */
  needed: number;
  /** Called when it has got them. */
  onReserved(): void;
}

/** The most that an item of `size` bytes can use, however the stream's credit cuts it. */
export function itemCharge(size: number): number {
  const parts = Math.floor(size / (QUANTUM - CHARGE_BESIDE)) + 1;
  return size + parts * CHARGE_BESIDE;
}

/** The credit of one connection. */
export class SendCredit {
  /** What is left, reserved bytes included. */
  left: number;
  /** The most that one item may use: a reader that holds nothing leaves no more than that unused. */
  readonly mostForItem: number;
  #reserved = 0;
  /** In their order. */
  readonly #waiting = new Set<CreditUser>();

  constructor(initial: number) {
    this.left = initial;
    this.mostForItem = initial / 2;
  }

  /** Uses `n` bytes for a whole item, if that overtakes nobody. */
  use(n: number): boolean {
    if (!this.#has(n)) return false;
    this.left -= n;
    return true;
  }

  /** Reserves `n` bytes for a writer, or lets it wait. */
  reserve(user: CreditUser, n: number): boolean {
    if (this.#has(n)) {
      this.#reserved += n;
      user.reserved = n;
      return true;
    }
    user.needed = n;
    this.#waiting.add(user);
    return false;
  }

  /** Reserves more for a writer, up to `most` bytes in all. Returns how many of them it has. */
  extend(user: CreditUser, most: number): number {
    if (this.#waiting.size === 0) {
      const free = this.left - this.#reserved;
      const more = Math.max(0, Math.min(most - user.reserved, free));
      this.#reserved += more;
      user.reserved += more;
    }
    return Math.min(most, user.reserved);
  }

  /** Uses `n` bytes that a writer has reserved. */
  useReserved(user: CreditUser, n: number): void {
    user.reserved -= n;
    this.#reserved -= n;
    this.left -= n;
  }

  /** Takes back what a writer has reserved, or waits for. */
  release(user: CreditUser): void {
    this.#reserved -= user.reserved;
    user.reserved = user.needed = 0;
    this.#waiting.delete(user);
    this.#serve();
  }

  /**
   * Adds what the peer grants.
   *
   * @throws {ConnectionError} `protocol_error`, if that makes more than the protocol allows.
   */
  grant(bytes: number): void {
    this.left += bytes;
    if (this.left > MAX_CREDIT) {
      protocolError(
        `the peer granted the connection ${this.left} bytes; at most ${MAX_CREDIT} are allowed`,
      );
    }
    this.#serve();
  }

  #has(n: number): boolean {
    return this.#waiting.size === 0 && n <= this.left - this.#reserved;
  }

  #serve(): void {
    for (const user of this.#waiting) {
      const { needed } = user;
      if (needed > this.left - this.#reserved) return;
      this.#waiting.delete(user);
      this.#reserved += needed;
      user.reserved = needed;
      user.needed = 0;
      user.onReserved();
    }
  }
}
