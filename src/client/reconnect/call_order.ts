/**
 * The order of a reconnecting client's calls, where its server keeps one.
 *
 * Invariants owned here:
 * - Calls of one order and key are with one connection at a time: what is made
 *   later waits until an older connection has answered for all that it has. So
 *   they reach servers in the order they were made, however they are re-sent.
 * - Once one of them ends `unknown`, none of those made by then goes out behind
 *   it, unless its user wants that.
 *
 * @module
 */

import { RpcError } from "../../base/errors.ts";
import type { ActiveConnection } from "./dial.ts";
import { LinkedList, type ListNode } from "../../base/linked_list.ts";
import { checkKey, type OrderKey } from "../../base/inspect.ts";
import type { ResendableCall } from "./resendable_call.ts";

/** The order of a method or a service: by a key of the params, or of all its calls. */
export type CallOrder = true | ((params: never) => OrderKey);

/** What a sequence asks of its client. */
export interface SequenceOwner {
  /** Sends what follows on a call that ended `unknown`. */
  readonly continueAfterUnknown: boolean;
  /** Rejects a call that waits. */
  fail(call: ResendableCall, error: RpcError): void;
  /** A call that was held may go out, in its order. */
  release(call: ResendableCall): void;
}

/** A call's place in its sequence. */
export class Position implements ListNode<Position> {
  before: Position | undefined = undefined;
  after: Position | undefined = undefined;
  /** Whether the call waits for its sequence, not for a connection. */
  held = false;
  /** Whether one before it has ended `unknown`: it is not sent any more. */
  broken = false;
  readonly call: ResendableCall;
  readonly #sequence: Sequence;

  constructor(call: ResendableCall, sequence: Sequence) {
    this.call = call;
    this.#sequence = sequence;
  }

  /** Whether the call may not be given to `link` yet. */
  blocks(link: ActiveConnection): boolean {
    return this.#sequence.blocks(link);
  }

  /** It is held until it is released. */
  hold(): void {
    this.held = true;
    this.#sequence.held++;
  }

  /** It is given to a connection. */
  sent(link: ActiveConnection): void {
    this.#sequence.sent(link);
  }

  /** A connection gives it back. */
  back(): void {
    this.call.link = undefined;
    this.#sequence.back();
  }

  /** Its caller is about to be told that it may have run or not. */
  tells(): void {
    this.#sequence.tells();
  }

  /** It has ended. */
  ended(): void {
    this.#sequence.ended(this);
  }
}

/** The calls of one order and key that have not ended. */
class Sequence {
  /** Calls that are held. */
  held = 0;
  /** In the order they were made. */
  readonly #positions = new LinkedList<Position>();
  /** The connection that has some of them, and how many. */
  #link: ActiveConnection | undefined;
  #sent = 0;
  /** Whether a caller has been told that a call is `unknown`, and cannot have heard yet. */
  #telling = false;
  readonly #owner: SequenceOwner;
  readonly #emptied: () => void;

  constructor(owner: SequenceOwner, emptied: () => void) {
    this.#owner = owner;
    this.#emptied = emptied;
  }

  enter(call: ResendableCall): void {
    const position = call.position = new Position(call, this);
    position.broken = this.#telling;
    this.#positions.push(position);
  }

  blocks(link: ActiveConnection): boolean {
    return this.held > 0 || (this.#sent > 0 && this.#link !== link);
  }

  sent(link: ActiveConnection): void {
    this.#link = link;
    this.#sent++;
  }

  back(): void {
    this.#sent--;
    this.#advance();
  }

  /**
   * Whoever runs before the caller hears of it calls without knowing. (Before
   * the promise is rejected: what that sets off runs behind our microtask, and
   * its calls are made knowingly.)
   */
  tells(): void {
    if (this.#telling || this.#owner.continueAfterUnknown) return;
    this.#telling = true;
    queueMicrotask(() => {
      this.#telling = false;
      this.#forget();
    });
  }

  ended(position: Position): void {
    const { call, held } = position;
    this.#positions.remove(position);
    if (held) this.held--;
    if (call.link !== undefined) this.#sent--;
    if (call.outcome === "unknown" && !this.#owner.continueAfterUnknown) {
      this.#break(call.number);
    }
    this.#advance();
    this.#forget();
  }

  #forget(): void {
    if (this.#positions.length === 0 && !this.#telling) this.#emptied();
  }

  /** Ends what waits behind a call that may have run or not; what a connection has is told if it comes back. */
  #break(number: number): void {
    const waiting: ResendableCall[] = [];
    let at = this.#positions.last;
    // From behind, up to where an earlier break began: each call is broken once.
    for (; at !== undefined && !at.broken; at = at.before) {
      if (at.call.number < number) break;
      at.broken = true;
      if (at.call.waiting !== undefined && at.call.link === undefined) {
        waiting.push(at.call);
      }
    }
    for (const call of waiting.reverse()) this.#owner.fail(call, broken(call));
  }

  /** Releases what is held, once no connection has anything of it. */
  #advance(): void {
    if (this.#sent > 0) return;
    this.#link = undefined;
    let at = this.#positions.first;
    for (; at !== undefined && this.held > 0; at = at.after) {
      if (!at.held) continue;
      this.held--;
      this.#owner.release(at.call);
    }
  }
}

/** One call must not be sent behind another that may have run or not. */
export function broken({ method }: ResendableCall): RpcError {
  const text =
    `an earlier call in the order of ${method} may have run, or not: this one was not sent behind it`;
  return new RpcError("aborted", text, { outcome: "not_sent" });
}

/** The sequences of one order, by key. */
interface OrderedCalls {
  readonly key: ((params: never) => OrderKey) | undefined;
  readonly sequences: Map<OrderKey | undefined, Sequence>;
}

/** All sequences of a client. There are no more of them than calls that have not ended. */
export class Sequences {
  readonly #orders = new Map<string, OrderedCalls>();
  readonly #owner: SequenceOwner;

  /**
   * @param orders By method, or by service for all methods in it together.
   * @throws {TypeError} If one of them is neither `true` nor a function.
   */
  constructor(
    orders: Readonly<Record<string, CallOrder>>,
    owner: SequenceOwner,
  ) {
    this.#owner = owner;
    for (const [name, order] of Object.entries(orders)) {
      if (order !== true && typeof order !== "function") {
        throw new TypeError(
          `Cannot order ${name}: neither true nor a function, received ${typeof order}`,
        );
      }
      const key = order === true ? undefined : order;
      this.#orders.set(name, { key, sequences: new Map() });
    }
  }

  /**
   * Puts a new call in its place, if its method has an order: the one of the
   * longest name that leads to it.
   *
   * @throws {TypeError} If its key is none; else what the user's function throws.
   */
  enter(call: ResendableCall, params: unknown): void {
    const order = this.#orderOf(call.method);
    if (order === undefined) return;
    const { sequences } = order;
    const key = order.key && checkKey(order.key(params as never));
    let sequence = sequences.get(key);
    if (sequence === undefined) {
      sequence = new Sequence(this.#owner, () => sequences.delete(key));
      sequences.set(key, sequence);
    }
    sequence.enter(call);
  }

  #orderOf(method: string): OrderedCalls | undefined {
    for (let end = method.length; end > 0;) {
      const order = this.#orders.get(method.slice(0, end));
      if (order !== undefined) return order;
      end = method.lastIndexOf(".", end - 1);
    }
    return undefined;
  }
}
