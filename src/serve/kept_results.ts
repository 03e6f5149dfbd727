/**
 * Results that are kept for dependent calls: calls of the peer whose params
 * refer to the result of an earlier call of the same connection.
 *
 * - A result is kept encoded. Each call that refers to it decodes it for itself,
 *   so it sees what the caller has received, and handlers share no object.
 * - At most {@linkcode MAX_KEPT} results of {@linkcode MAX_KEPT_BYTES} bytes are
 *   kept, from their reply until the peer releases them. What exceeds that drops
 *   the oldest; a call that refers to a dropped one is refused with
 *   `dependency_gone`, and its caller sends it again with the value in place.
 * - A call that waits for a result is in no queue of the scheduler, so it delays
 *   no other call. It counts in the window, and its deadline runs.
 *
 * @module
 */

import { type ErrorCode, RpcError } from "../base/errors.ts";
import { copyBytes } from "../base/bytes.ts";
import { utf8 } from "../base/utf8.ts";
import type { Codec, RequestLinks } from "../wire/codec.ts";
import type { PayloadView, PreparedPayload } from "../wire/values/payload.ts";
import { BYTES, CUSTOM } from "../wire/protocol.ts";
import { pathText, putAt, valueAt } from "../wire/reference_block.ts";
import type { ReceiveWindow } from "../connection/receive_window.ts";

/** The most results that a connection keeps. */
const MAX_KEPT = 4096;

/** The most bytes that they have, with {@linkcode CHARGE} for each. */
const MAX_KEPT_BYTES = 1024 * 1024;

/** What a kept result counts besides its bytes. */
const CHARGE = 64;

/** What becomes of calls that have waited for results. */
export interface KeptResultsHost<C> {
  /** The most bytes of the params of a call. */
  readonly maxMessage: number;
  /** The results that a call waited for are there. */
  onResults(call: C): void;
  /** A result that a call waited for is none. */
  onNoResult(call: C, refusal: DependencyRefusal): void;
  /** Called in a later microtask, when one of the above was: calls may start, and a drain go on. */
  onChange(): void;
}

/** How far a call is whose result may be kept. */
type ResultState = "pending" | "kept" | "failed" | "stream" | "gone";

/** The result of one call with the flag KEEP. */
class KeptResult<C> {
  state: ResultState = "pending";
  payload: PayloadView | undefined = undefined;
  /** Calls that refer to it and have not started. */
  pins = 0;
  /** The peer refers to it no more. */
  released = false;
  /** Its call was answered. */
  settled = false;
  /** Of those, the ones that wait for it. */
  readonly waiting = new Set<ServerCallLinks<C>>();
  readonly id: number;

  constructor(id: number) {
    this.id = id;
  }

  get bytes(): number {
    return CHARGE + (this.payload?.end ?? 0);
  }
}

/** Why a call that refers to results is not started. */
export interface DependencyRefusal {
  readonly code: ErrorCode;
  readonly text: string;
}

/** What one call of the peer has to do with the results of others. */
export class ServerCallLinks<C> {
  /** Results that it waits for. */
  missing = 0;
  /** What its results take, decoded, until it is done. */
  decoded = 0;
  /** The call, if it waits for results. */
  call: C | undefined = undefined;
  readonly #owner: KeptResults<C>;
  readonly #links: RequestLinks;
  /** Its own result, if that is to be kept. */
  readonly #own: KeptResult<C> | undefined;
  /** The results that it refers to, in the order of its references; none once it has them. */
  #needs: (KeptResult<C> | undefined)[];

  constructor(
    owner: KeptResults<C>,
    links: RequestLinks,
    own: KeptResult<C> | undefined,
    needs: (KeptResult<C> | undefined)[],
  ) {
    this.#owner = owner;
    this.#links = links;
    this.#own = own;
    this.#needs = needs;
    for (const need of needs) if (need !== undefined) need.pins++;
  }

  /** The bytes of the results that it refers to. */
  get bytes(): number {
    return this.#needs.reduce((n, need) => n + (need?.payload?.end ?? 0), 0);
  }

  /** Why it cannot start, if it cannot. */
  get refusal(): DependencyRefusal | undefined {
    const { references } = this.#links;
    for (const [i, need] of this.#needs.entries()) {
      const { id } = references[i];
      switch (need?.state ?? "gone") {
        case "failed":
          return refuse("dependency_failed", `call ${id} has no result`);
        case "stream":
          return refuse(
            "invalid_argument",
            `the result of call ${id} is a stream or has one, and cannot be referred to`,
          );
        case "gone":
          return refuse(
            "dependency_gone",
            `the result of call ${id} is not kept`,
          );
      }
    }
    return undefined;
  }

  /** Makes it wait for the results that are not there. Returns whether there are any. */
  wait(call: C): boolean {
    this.call = call;
    for (const need of new Set(this.#needs)) {
      if (need?.state !== "pending") continue;
      need.waiting.add(this);
      this.missing++;
    }
    if (this.missing === 0) return false;
    this.#owner.waiting++;
    return true;
  }

  /** Keeps the prepared payload, which is the result. */
  keep(codec: Codec): void {
    const own = this.#own;
    if (own === undefined) return;
    // What makes no links has no other payloads.
    const prepared = codec.savePrepared() as PreparedPayload;
    codec.restorePrepared(prepared);
    own.state = "gone";
    if (prepared.size > MAX_KEPT_BYTES - CHARGE) return;
    own.payload = copyOf(prepared);
    own.state = "kept";
  }

  /** The result is a stream. */
  stream(): void {
    if (this.#own !== undefined) this.#owner.settle(this.#own, "stream");
  }

  /**
   * Puts the results in their places, and returns the params.
   *
   * @throws {DependencyError} If one is gone, or a place or a path leads nowhere.
   */
  fill(params: unknown, codec: Codec): unknown {
    if (this.#needs.length === 0) return params;
    const { refusal } = this;
    if (refusal !== undefined) throw new DependencyError(refusal);
    const results = new Map<KeptResult<C>, unknown>();
    this.decoded = 0;
    for (const [i, reference] of this.#links.references.entries()) {
      const need = this.#needs[i] as KeptResult<C>;
      const { place, path, id } = reference;
      if (!results.has(need)) results.set(need, this.#decode(need, codec));
      const found = valueAt(results.get(need), path);
      if (found === undefined) {
        throw invalid(`the result of call ${id} has no ${pathText(path)}`);
      }
      const { value } = found;
      // Not shared: the next reference gets a copy of its own.
      if (typeof value === "object" && value !== null) results.delete(need);
      if (
        value instanceof Uint8Array && place.length > 0 &&
        !this.#links.nestsBytes
      ) {
        throw invalid(`params ${pathText(place)}: bytes within a value`);
      }
      const filled = putAt(params, place, value);
      if (filled === undefined) {
        throw invalid(`the params have no null at ${pathText(place)}`);
      }
      params = filled.value;
    }
    return params;
  }

  #decode({ payload }: KeptResult<C>, codec: Codec): unknown {
    const { kind, bytes, end } = payload as PayloadView;
    this.decoded += codec.decodedSize(payload) + end;
    // The value may be, or share, the very bytes.
    const own = kind === BYTES || kind === CUSTOM ? copyBytes(bytes) : bytes;
    return codec.decodeRetained({ kind, bytes: own, at: 0, end });
  }

  /** It has its params: it refers to no result any more. */
  unpin(): void {
    const needs = this.#needs;
    if (needs.length === 0) return;
    this.#needs = [];
    if (this.missing > 0) this.#owner.waiting--;
    this.missing = 0;
    for (const need of needs) {
      if (need === undefined) continue;
      need.waiting.delete(this);
      need.pins--;
      this.#owner.tidy(need);
    }
  }

  /** The call is answered, or never will be. */
  end(): void {
    this.unpin();
    this.call = undefined;
    const own = this.#own;
    if (own?.state === "pending") this.#owner.settle(own, "failed");
    else if (own !== undefined) this.#owner.settle(own, own.state);
  }

  /** The call is refused by its header alone. */
  refused(): void {
    for (const need of this.#needs) if (need !== undefined) need.pins--;
    this.#needs = [];
    if (this.#own !== undefined) this.#owner.settle(this.#own, "failed");
  }
}

/** A call cannot start because of the results that it refers to. */
export class DependencyError extends Error {
  readonly refusal: DependencyRefusal;

  constructor(refusal: DependencyRefusal) {
    super(refusal.text);
    this.refusal = refusal;
  }

  /** The error that the caller receives. */
  get error(): RpcError {
    return new RpcError(this.refusal.code, this.refusal.text);
  }
}

/** A payload that was prepared, in memory of its own. */
function copyOf(prepared: PreparedPayload): PayloadView {
  const { kind, text, bytes } = prepared;
  const own = bytes === undefined ? utf8(text ?? "") : copyBytes(bytes);
  return { kind, bytes: own, at: 0, end: own.length };
}

function refuse(code: ErrorCode, text: string): DependencyRefusal {
  return { code, text };
}

function invalid(text: string): DependencyError {
  return new DependencyError(refuse("invalid_argument", text));
}

/** The results that one connection keeps. */
export class KeptResults<C> {
  /** Calls that wait for a result. */
  waiting = 0;
  readonly #host: KeptResultsHost<C>;
  readonly #receiveWindow: ReceiveWindow;
  /** By the id of their call, those of calls without a reply included. */
  readonly #table = new Map<number, KeptResult<C>>();
  /** Those of calls that were answered, the oldest first. */
  readonly #settled = new Set<KeptResult<C>>();
  /** Results whose calls have ended, and for which calls wait. A list, as each may refuse calls for whose results others wait. */
  readonly #ended: KeptResult<C>[] = [];
  #notifying = false;
  #closed = false;

  constructor(host: KeptResultsHost<C>, receiveWindow: ReceiveWindow) {
    this.#host = host;
    this.#receiveWindow = receiveWindow;
  }

  /** How many results are kept. */
  get size(): number {
    return this.#settled.size;
  }

  /** A call has arrived, whose request has `size` bytes. */
  link(id: number, size: number, links: RequestLinks): ServerCallLinks<C> {
    const needs = links.references.map(({ id }) => this.#table.get(id));
    // What no caller could have sent, its caller must send itself.
    let bytes = size;
    for (const need of needs) bytes += need?.payload?.end ?? 0;
    if (bytes > this.#host.maxMessage) needs.fill(undefined);
    let own: KeptResult<C> | undefined;
    if (links.keep) {
      // The ids have come round.
      this.release(id);
      own = new KeptResult<C>(id);
      this.#table.set(id, own);
    }
    return new ServerCallLinks(this, links, own, needs);
  }

  /** The peer refers to a result no more. */
  release(id: number): void {
    const result = this.#table.get(id);
    if (result === undefined) return;
    this.#table.delete(id);
    result.released = true;
    this.tidy(result);
  }

  /** Drops a result that nobody can refer to any more. */
  tidy(result: KeptResult<C>): void {
    if (result.released && result.pins === 0) this.#drop(result);
  }

  #drop(result: KeptResult<C>): void {
    if (!this.#settled.delete(result)) return;
    this.#receiveWindow.kept -= result.bytes;
    if (this.#table.get(result.id) === result) this.#table.delete(result.id);
    result.payload = undefined;
    if (result.state === "kept") result.state = "gone";
  }

  /** The call of a result is answered. */
  settle(result: KeptResult<C>, state: ResultState): void {
    if (result.settled || this.#closed) return;
    result.settled = true;
    result.state = state;
    this.#settled.add(result);
    this.#receiveWindow.kept += result.bytes;
    this.tidy(result);
    for (const oldest of this.#settled) {
      const fits = this.#settled.size <= MAX_KEPT &&
        this.#receiveWindow.kept <= MAX_KEPT_BYTES;
      if (fits) break;
      this.#drop(oldest);
    }
    if (result.waiting.size > 0) this.#notify(result);
  }

  #notify(result: KeptResult<C>): void {
    this.#ended.push(result);
    if (this.#notifying) return;
    this.#notifying = true;
    let next: KeptResult<C> | undefined;
    while ((next = this.#ended.pop()) !== undefined) {
      const all = [...next.waiting];
      next.waiting.clear();
      for (const links of all) this.#advance(links);
    }
    this.#notifying = false;
    // Later: the code on the stack is that of a handler, or ends the connection.
    queueMicrotask(() => this.#host.onChange());
  }

  /** One of the results that a call waits for is there. */
  #advance(links: ServerCallLinks<C>): void {
    const { call } = links;
    // An observer of another call may have ended it.
    if (call === undefined) return;
    links.missing--;
    const { refusal } = links;
    if (refusal === undefined && links.missing > 0) return;
    if (links.missing === 0) this.waiting--;
    if (refusal === undefined) this.#host.onResults(call);
    else this.#host.onNoResult(call, refusal);
  }

  /** The connection is over: nothing is kept, and no call waits. */
  close(): void {
    this.#closed = true;
    for (const result of this.#table.values()) result.waiting.clear();
    for (const result of this.#settled) this.#drop(result);
    this.#table.clear();
  }
}
