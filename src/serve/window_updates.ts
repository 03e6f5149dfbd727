/**
 * Moves the window that the peer was granted, while the connection lives.
 *
 * - At most one update waits for its ACK. Later ones are joined, and the result
 *   is sent when the ACK has arrived.
 * - What is accepted of the peer is the larger of the window that it obeys and
 *   of the one that it has not confirmed yet: so a peer that obeys is never at
 *   fault, whenever it reads the update.
 *
 * @module
 */

import type { CallWindow, Limits } from "../types/connection.ts";
import {
  checkLimit,
  illegalWindow,
  leastWindowBytes,
} from "../wire/connection_limits.ts";
import { MAX_WINDOW_CALLS } from "../wire/protocol.ts";
import type { ServeContext } from "../connection/contract.ts";
import type { ReceiveWindow } from "../connection/receive_window.ts";

/** What the updates need of their connection. */
export type WindowUpdatesContext = Pick<
  ServeContext,
  "codec" | "sendBuffer" | "limits" | "helloReceived"
>;

/** The updates of one connection's window. */
export class WindowUpdates {
  readonly #context: WindowUpdatesContext;
  readonly #receiveWindow: ReceiveWindow;
  /** The update that has no ACK yet, and the number of the latest. */
  #sent: CallWindow | undefined;
  #last = 0;
  /** What is to be granted; none of it is sent before both HELLOs are read. */
  #wanted: CallWindow;
  #open = false;
  /** The connection drains: the peer makes no more calls. */
  #over = false;

  constructor(context: WindowUpdatesContext, receiveWindow: ReceiveWindow) {
    this.#context = context;
    this.#receiveWindow = receiveWindow;
    this.#wanted = context.limits;
  }

  /** Changes the window; see {@linkcode Connection.setWindow}. */
  set(window: Partial<CallWindow>): void {
    const { codec, limits } = this.#context;
    if (codec.window === undefined) {
      throw new TypeError("Cannot set the window: the protocol has none");
    }
    this.#wanted = changeWindow(this.#wanted, window, limits);
    this.#send();
  }

  /** The peer is authorized. */
  open(): void {
    this.#open = true;
    this.#send();
  }

  /** No update is sent any more. */
  end(): void {
    this.#over = true;
  }

  /**
   * The peer obeys the update that was sent.
   *
   * @throws {ConnectionError} `protocol_error`, if it confirms anything else.
   */
  onAck(id: number, { windowCalls, windowBytes }: CallWindow): void {
    const sent = this.#sent;
    const awaited = id === this.#last && windowCalls === sent?.windowCalls &&
      windowBytes === sent.windowBytes;
    if (!awaited) illegalWindow(id);
    this.#sent = undefined;
    this.#receiveWindow.confirm(sent);
    this.#send();
  }

  #send(): void {
    const { codec, sendBuffer, limits } = this.#context;
    if (!this.#open || this.#over || this.#sent !== undefined) return;
    const { windowCalls, windowBytes } = this.#wanted;
    const now = this.#receiveWindow.confirmed ?? limits;
    const same = windowCalls === now.windowCalls &&
      windowBytes === now.windowBytes;
    if (same || !this.#context.helloReceived()?.movesWindow) return;
    const window = this.#sent = { windowCalls, windowBytes };
    this.#last++;
    this.#receiveWindow.grant(window);
    codec.window?.(sendBuffer, this.#last, window, false);
  }
}

/**
 * Returns `window` with the changes. `limits` are those that HELLO states.
 *
 * @throws {TypeError} If HELLO grants no calls: the peer then fails its calls.
 * @throws {RangeError} If a number is not legal.
 */
export function changeWindow(
  window: CallWindow,
  change: Partial<CallWindow>,
  limits: Limits,
): CallWindow {
  if (limits.windowCalls === 0) {
    throw new TypeError("Cannot set the window: this side serves no calls");
  }
  const { windowCalls = window.windowCalls } = change;
  const { windowBytes = window.windowBytes } = change;
  const least = leastWindowBytes(limits);
  return {
    windowCalls: checkLimit("windowCalls", windowCalls, 0, MAX_WINDOW_CALLS),
    windowBytes: checkLimit("windowBytes", windowBytes, least, 0xffffffff),
  };
}
