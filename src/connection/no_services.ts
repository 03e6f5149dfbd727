/**
 * The serving half of a connection that serves nothing: every request is
 * refused (`not_found`) in the turn it came.
 *
 * It keeps the protocol's rules for whoever breaks them: ids must increase, and
 * the calls that a peer sends before it has read HELLO fit the early window.
 *
 * @module
 */

import { ConnectionError, quote, RpcError } from "../base/errors.ts";
import { noneServed, type ServedCounts } from "../types/stats.ts";
import type { IncomingCallStats, LiveCall } from "../types/stats.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import type { ServeContext, ServeSide } from "./contract.ts";
import { ReceiveWindow } from "./receive_window.ts";

/** No call is in use: each is answered when it comes. */
const NO_IDS: ReadonlyMap<number, unknown> = new Map();

/** Serves no calls. */
export class NoServices implements ServeSide {
  readonly current = undefined;
  readonly #context: ServeContext;
  readonly #window: ReceiveWindow;
  readonly #served: ServedCounts = noneServed();
  #draining = false;
  #leaving: RpcError | undefined;

  constructor(context: ServeContext) {
    this.#context = context;
    this.#window = new ReceiveWindow(context.codec.features.excess);
  }

  get numbers(): IncomingCallStats {
    const { calls: receiving, bytes: receivingBytes } = this.#window;
    const served = { ...this.#served };
    const none = { running: 0, waiting: 0, ordered: 0 };
    return { receiving, receivingBytes, ...none, served };
  }

  get heldBytes(): number {
    return this.#window.heldBytes;
  }

  get held(): number {
    return this.#window.calls;
  }

  get full(): boolean {
    return this.#window.full;
  }

  get lastId(): number | undefined {
    return this.#window.lastId;
  }

  get leaving(): RpcError | undefined {
    return this.#leaving;
  }

  busy(): number {
    return 0;
  }

  calls(): LiveCall[] {
    return [];
  }

  request(
    id: number,
    method: string,
    size: number,
    _remaining: number,
    block: MetadataBlock | undefined,
  ): void {
    const { codec, streams } = this.#context;
    this.#window.checkId(id, NO_IDS);
    if (this.#draining) {
      this.#window.recordId(id);
      // The peer settles calls above the id of our GOAWAY by itself.
      if (codec.features.goaway) return;
      const text = "the connection is closing";
      this.#refuse(id, method, size, block, "unavailable", text);
      return;
    }
    this.#window.reserve(size);
    if (codec.valueIsStream) streams()?.checkRoom();
    this.#window.recordId(id);
    const text = `there is no method ${quote(method)}`;
    this.#refuse(id, method, size, block, "not_found", text);
    this.#window.answered(size);
  }

  #refuse(
    id: number,
    method: string,
    size: number,
    block: MetadataBlock | undefined,
    code: string,
    text: string,
  ): void {
    const { codec, sendBuffer, observe, clock, connection } = this.#context;
    const most = Math.min(
      this.#context.peerMaxMessage(),
      sendBuffer.most - codec.overhead,
    );
    const before = sendBuffer.size;
    codec.prepare(undefined, false);
    codec.failure(sendBuffer, id, false, code, text, most);
    this.#served.refused++;
    if (!observe?.active) return;
    const error = new RpcError(code, text, { outcome: "refused" });
    const request = { connection, method, id, size, block };
    observe.refused(request, clock, error, sendBuffer.size - before);
  }

  cancel(id: number): void {
    this.#checkSeen(id, "CANCEL");
  }

  streamsOf(id: number): undefined {
    this.#checkSeen(id, "a frame of a stream");
  }

  #checkSeen(id: number, what: string): void {
    if (this.#window.seen(id)) return;
    throw new ConnectionError(
      "protocol_error",
      `${what} for call ${id}, which was never made`,
    );
  }

  open(): void {
    this.#window.grant(this.#context.limits);
  }

  startWaiting(): void {}

  onFlush(): void {
    this.#window.onFlush();
  }

  spoiled(): void {}

  drain(why: string): void {
    this.#draining = true;
    this.tellDraining(why);
  }

  tellDraining(why: string): void {
    const outcome = "unknown";
    this.#leaving ??= new RpcError("unavailable", why, { outcome });
  }

  halfClosed(reason: ConnectionError): void {
    this.drain(reason.message);
  }

  refuseUnstarted(lastId: number | undefined): number | undefined {
    return lastId;
  }

  end(reason: ConnectionError): void {
    this.drain(reason.message);
    this.#window.end();
  }
}
