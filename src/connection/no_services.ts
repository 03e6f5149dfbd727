/**
 * The incoming calls of a connection that serves nothing: every request is
 * refused (`not_found`) in the turn in which it arrives.
 *
 * It checks a peer that breaks the protocol all the same: ids must increase, and
 * the calls that the peer sends before it has read HELLO fit the early window.
 *
 * @module
 */

import { quote, RpcError } from "../base/errors.ts";
import type { LiveCall } from "../types/stats.ts";
import { noneServed } from "../types/stats.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import { illegalWindow } from "../wire/connection_limits.ts";
import type { IncomingCalls, ServeContext } from "./contract.ts";
import { ReceiveWindow } from "./receive_window.ts";

/** No id is in use: each call is answered at once. */
const NO_IDS: ReadonlyMap<number, unknown> = new Map();

/** Serves no calls. */
export class NoServices implements IncomingCalls {
  readonly receiveWindow: ReceiveWindow;
  readonly current = undefined;
  drainReason: RpcError | undefined;
  readonly #context: ServeContext;
  readonly #served = noneServed();
  #draining = false;

  readonly #checkRoom = () => this.#context.streams()?.checkRoom();

  constructor(context: ServeContext) {
    this.#context = context;
    this.receiveWindow = new ReceiveWindow(context.codec.features.excess);
  }

  get numbers(): IncomingCalls["numbers"] {
    const served = { ...this.#served };
    return { running: 0, waiting: 0, ordered: 0, served, kept: 0 };
  }

  countOpen(): number {
    return this.receiveWindow.arriving;
  }

  calls(): LiveCall[] {
    return [];
  }

  request(
    id: number,
    method: string,
    size: number,
    _remaining: number,
    metadataBlock: MetadataBlock | undefined,
  ): void {
    const { receiveWindow } = this;
    const { codec, sendBuffer, observe, clock, connection } = this.#context;
    const excludes = this.#excludes;
    const { urgent, opensStream } = codec;
    const check = opensStream && !excludes ? this.#checkRoom : undefined;
    if (!receiveWindow.accept(id, size, NO_IDS, excludes, urgent, check)) {
      return;
    }
    const text = `there is no method ${quote(method)}`;
    const most = this.#context.peerMaxMessage();
    const before = sendBuffer.size;
    codec.prepare(undefined, false);
    codec.failure(sendBuffer, id, false, "not_found", text, most);
    receiveWindow.answered(size);
    this.#served.refused++;
    if (!observe?.active) return;
    const error = new RpcError("not_found", text, { outcome: "refused" });
    const request = { connection, method, id, size, metadataBlock };
    observe.refused(request, clock, error, sendBuffer.size - before);
  }

  setWindow(): never {
    throw new TypeError("Cannot set the window: this side serves no calls");
  }

  onWindow(id: number): void {
    illegalWindow(id);
  }

  begin(id: number, size: number): void {
    const { urgent } = this.#context.codec;
    this.receiveWindow.begin(id, size, NO_IDS, this.#excludes, urgent);
  }

  /** Whether the local GOAWAY excludes requests from now on: the peer settles those by itself. */
  get #excludes(): boolean {
    return this.#draining && this.#context.codec.features.goaway;
  }

  cancel(id: number): void {
    this.receiveWindow.checkSeen(id, "CANCEL");
  }

  streamsOf(id: number): undefined {
    this.receiveWindow.checkSeen(id, "a frame of a stream");
  }

  onFlush(): void {
    this.receiveWindow.onFlush();
  }

  drain(why: string): void {
    this.#draining = true;
    this.signalDraining(why);
  }

  signalDraining(why: string): void {
    const outcome = "unknown";
    this.drainReason ??= new RpcError("unavailable", why, { outcome });
  }

  refuseUnstarted(lastId: number | undefined): number | undefined {
    return lastId;
  }

  end(): void {
    this.receiveWindow.end();
  }

  /** HELLO has granted no calls, so the early window stays. */
  open(): void {}

  // No call is ever open that these could concern.

  startWaiting(): void {}

  release(): void {}

  spoiled(): void {}

  onPeerHalfClose(): void {}
}
