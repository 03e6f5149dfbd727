/**
 * Call ids: maps the peer's ids to local ones, for all its requests that have
 * not been answered.
 *
 * The peer's ids are strings or numbers in any order; the dispatcher needs
 * numbers that increase. A notification gets an entry as well, and its response
 * is never written.
 *
 * Bounds:
 * - A request has its entry from the moment it is read until it is answered.
 * - At most `maxCalls` requests and `maxBytes` bytes have entries at once, but
 *   one request always has capacity.
 *
 * @module
 */

import type { BatchResponse } from "./batch.ts";
import type { JsonRpcId } from "./message.ts";

/** A request of the peer that has not been answered. */
export interface OpenRequest {
  /** The id that the peer chose; undefined for a notification. */
  readonly wireId: JsonRpcId | undefined;
  readonly method: string;
  /** Size of the message in bytes, as the window counts it. */
  readonly size: number;
  /** The responses that this one belongs to, if the request came in a batch. */
  readonly batch: BatchResponse | undefined;
  /** Set once it was cancelled under a dialect in which no response follows. */
  suppressed: boolean;
}

/** The requests of one connection that have not been answered, by local id. */
export class CallIds {
  readonly #requests = new Map<number, OpenRequest>();
  /** Local ids by the peer's. Of two requests with the same id, the later one. */
  readonly #ids = new Map<JsonRpcId, number>();
  #bytes = 0;
  #lastId = 0;
  readonly #maxCalls: number;
  readonly #maxBytes: number;

  constructor(maxCalls: number, maxBytes: number) {
    // A side that serves nothing accepts one, to answer that there is no method.
    this.#maxCalls = Math.max(1, maxCalls);
    this.#maxBytes = maxBytes;
  }

  /** Whether a request of `size` bytes fits within the bounds. */
  hasCapacity(size: number): boolean {
    return this.#requests.size === 0 ||
      (this.#requests.size < this.#maxCalls &&
        this.#bytes + size <= this.#maxBytes);
  }

  /** Adds a request and returns its local id. */
  add(request: OpenRequest): number {
    const id = this.#nextId();
    this.#requests.set(id, request);
    if (request.wireId !== undefined) this.#ids.set(request.wireId, id);
    this.#bytes += request.size;
    return id;
  }

  /** The local id of the request with this id of the peer. */
  find(wireId: JsonRpcId): number | undefined {
    return this.#ids.get(wireId);
  }

  /** The request with this local id. */
  get(id: number): OpenRequest | undefined {
    return this.#requests.get(id);
  }

  /** Removes a request that is answered, and returns it. */
  take(id: number): OpenRequest | undefined {
    const request = this.#requests.get(id);
    if (request === undefined) return undefined;
    this.#requests.delete(id);
    this.#bytes -= request.size;
    const { wireId } = request;
    if (wireId !== undefined && this.#ids.get(wireId) === id) {
      this.#ids.delete(wireId);
    }
    return request;
  }

  /** Ids are unsigned 32-bit numbers that wrap; one that is still in use is skipped. */
  #nextId(): number {
    do this.#lastId = (this.#lastId + 1) >>> 0; while (
      this.#requests.has(this.#lastId)
    );
    return this.#lastId;
  }
}
