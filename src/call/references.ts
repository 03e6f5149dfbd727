/**
 * Dependent calls: `ref()` stands for the result of a call among the params of
 * another, which is sent without waiting for the first.
 *
 * - Where the peer keeps the result, both requests leave at once, and the peer
 *   puts the result in place before it starts the second call. Everywhere else
 *   the second call is held until the first has its reply, and is then sent with
 *   the value in place. Users see no difference but the time.
 * - A call refers only to calls of its own connection that were sent before it.
 *   Ids are looked up when it is written, so a call that is sent again never
 *   carries those of an older connection.
 * - The peer is told to drop a result when its reply has been read and no call
 *   that refers to it waits to be written.
 *
 * A client that does not import `ref` carries none of this: it is installed when
 * `ref` is first called.
 *
 * @module
 */

import { copyBytes } from "../base/bytes.ts";
import { RpcError } from "../base/errors.ts";
import { isPlain } from "../base/inspect.ts";
import { isStream } from "../base/pull_source.ts";
import {
  type PlacedReference,
  REFERENCE,
  references,
  type ReferenceTarget,
  targetOf,
} from "../base/references.ts";
import { isInstanceOf } from "../base/user_code.ts";
import type { CallHandle } from "../types/call.ts";
import type { PeerHello } from "../types/connection.ts";
import type { Ref } from "../types/references.ts";
import type { RequestExtras } from "../wire/codec.ts";
import { FLAG_KEEP, FLAG_REFS, RELEASE } from "../wire/frame.ts";
import { beginFrame } from "../wire/frame_writer.ts";
import { snapshot } from "../wire/values/payload.ts";
import { JSON_TEXT } from "../wire/protocol.ts";
import {
  encodeReferences,
  pathText,
  putAt,
  setIds,
  valueAt,
} from "../wire/reference_block.ts";
import { Snapshot } from "../wire/values/snapshot.ts";
import { unserializable } from "../wire/values/to_json.ts";
import { type Call, type CallLinks, Rejection } from "./call.ts";
import { queueFullError } from "./errors.ts";
import type { CallOwner, Handle } from "./handle.ts";
import type { LinkedCalls } from "./links.ts";

/** How deep params are searched for references. JSON that is deeper is refused if it has one there. */
const MAX_DEPTH = 100;

/** How many calls apart two calls may be that are linked: ids are compared as serial numbers. */
const MAX_DISTANCE = 0x80000000;

const TOO_LARGE = "with the results in place the call exceeds maxSendBuffer";

const NO_BLOCK = /* @__PURE__ */ new Uint8Array(0);

/**
 * Returns a value that stands for the result of a call, or for a part of it: use
 * it anywhere in the params of another call. The other call need not wait for
 * the first: both are sent at once, and the server puts the result in place
 * before it starts the second. Chains of any length take one round trip.
 *
 * `ref(handle).author.id` stands for that member of the result. It has no value
 * on this side: it cannot be awaited, called, printed or computed with. Members
 * named `then`, `toJSON` and `__proto__` cannot be reached; refer to what
 * contains them. Call `ref` in the turn in which the call was made: later the
 * request has left, and the second call waits for the reply first. It also does
 * if the server cannot keep results, or if the calls are of two clients.
 *
 * If the first call fails, the second does with the code `dependency_failed` and
 * the first one's error as its `cause`. It has not run then.
 *
 * @throws {TypeError} If `handle` is no handle of a call.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, memoryPair, ref, Server } from "@sluice/rpc";
 *
 * const services = {
 *   Users: { find: (name: string) => ({ id: name.length, name }) },
 *   Posts: { of: ({ author }: { author: number }) => [`post of ${author}`] },
 * };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 * const client = new Client<typeof services>(near);
 * await client.connection.opened;
 *
 * const user = client.go("Users.find", "ada");
 * const posts = await client.call("Posts.of", { author: ref(user).id });
 * assertEquals(posts, ["post of 3"]);
 * await client.close();
 * await server.close();
 * ```
 */
export function ref<T>(handle: CallHandle<T>): Ref<T> {
  if (references.sourceOf === undefined) {
    Object.assign(references, { find, blank, link, sourceOf });
  }
  const source = references.sourceOf?.(handle) as Links;
  return reference({ source, path: [] }) as Ref<T>;
}

/** What a reference stands for. */
interface ResultTarget extends ReferenceTarget {
  readonly source: Links;
}

// The proxy.

/** Nothing can be set on it, and it has no members of its own. */
const TARGET = /* @__PURE__ */ Object.freeze(
  /* @__PURE__ */ Object.create(null),
) as object;

function reference(target: ResultTarget): object {
  return new Proxy(TARGET, {
    get: (_, key) => {
      if (key === REFERENCE) return target;
      if (key === "toJSON") return meet;
      if (key === Symbol.toPrimitive) return noValue;
      if (typeof key === "symbol" || key === "then" || key === "__proto__") {
        return undefined;
      }
      const { source, path } = target;
      return reference({ source, path: [...path, key] });
    },
  });
}

function meet(): null {
  references.met++;
  return null;
}

function noValue(): never {
  throw new TypeError(
    "Cannot compute with a reference: it has no value on this side",
  );
}

// Where references stand.

function find(value: unknown, count?: number): PlacedReference[] {
  if (isInstanceOf(value, Snapshot)) return [...value.references ?? []];
  const list: PlacedReference[] = [];
  try {
    collect(value, [], list, new Set());
  } catch (cause) {
    // The user's getters and proxies run.
    throw unserializable("the params", cause);
  }
  if (count === undefined || count === list.length) return list;
  throw unserializable(
    "params: a reference",
    undefined,
    "it stands where it cannot be replaced; put it into a plain object or an array",
  );
}

/** Adds the references in `value`. `around` has the objects that contain it, and those that have none. */
function collect(
  value: unknown,
  place: readonly string[],
  list: PlacedReference[],
  around: Set<object>,
): void {
  if (typeof value !== "object" || value === null) return;
  const target = targetOf(value);
  if (target !== undefined) {
    list.push({ place, target });
    return;
  }
  if (place.length > MAX_DEPTH || around.has(value) || !isWalked(value)) return;
  around.add(value);
  const before = list.length;
  for (const [key, member] of Object.entries(value)) {
    if (typeof member !== "object" || key === "__proto__") continue;
    collect(member, [...place, key], list, around);
  }
  if (list.length > before) around.delete(value);
}

/** Whether the members of an object are what is sent of it. */
function isWalked(object: object): boolean {
  return !ArrayBuffer.isView(object) &&
    typeof (object as { toJSON?: unknown }).toJSON !== "function";
}

function blank(value: unknown, serializer?: object): unknown {
  const { references: knows } = (serializer ?? {}) as { references?: boolean };
  return knows ? value : find(value).reduce(
    (copy, { place }) => blankAt(copy, place, 0),
    value,
  );
}

/** Copies the objects on the way to a reference, and puts `null` in its place. An object of a class stays, with the reference in it. */
function blankAt(
  node: unknown,
  place: readonly string[],
  depth: number,
): unknown {
  if (depth === place.length) return meet();
  const list = Array.isArray(node);
  if (!list && !isPlain(node as object)) return node;
  const copy = (list ? [...node] : { ...node as object }) as Record<
    string,
    unknown
  >;
  copy[place[depth]] = blankAt(copy[place[depth]], place, depth + 1);
  return copy;
}

// The links of a call.

/** Of the handles that are none of `go` itself, such as those of a client with middleware. */
const others = /* @__PURE__ */ new WeakMap<CallHandle, Links>();

function sourceOf(handle: CallHandle): Links {
  const { sluiceCall: call, sluiceOwner: owner } = handle as Partial<Handle>;
  if (call !== undefined && owner !== undefined) {
    const links = linksOf(call);
    links.refer(handle, owner);
    return links;
  }
  let links = others.get(handle);
  if (links === undefined) {
    if (!isInstanceOf(handle?.reply, Promise)) {
      throw new TypeError(
        `Cannot refer to a result: expected the handle of a call, received ${typeof handle}`,
      );
    }
    others.set(handle, links = new Links(undefined));
    links.watch(handle);
  }
  return links;
}

function linksOf(call: Call): Links {
  return (call.extras().links ??= new Links(call)) as Links;
}

/** The results that a call refers to, until it has them or is sent and answered. */
interface Dependency {
  readonly calls: LinkedCalls;
  /** The params with `null` in the places of the references: a snapshot, or a value of the library's own. */
  readonly sent: unknown;
  readonly list: readonly PlacedReference[];
  /** The references as they are sent; undefined while the call is held. */
  block: Uint8Array | undefined;
  /** Whether the call has been written. */
  written: boolean;
}

/** A call as one whose result others refer to, and as one that refers to others' results. */
class Links implements CallLinks {
  readonly #call: Call | undefined;

  // As one whose result others refer to.

  /** What its caller got, once it has. */
  settled: { readonly failed: boolean; readonly value: unknown } | undefined;
  /** Whether the peer is to keep the result. */
  #referred = false;
  #owner: CallOwner | undefined;
  /** The count of the call for which the peer keeps the result; -1 if it does not. */
  #keptAs = -1;
  #answered = false;
  /** Calls that refer to it and wait to be written. */
  readonly #unwritten = new Set<Links>();
  /** Calls that are held until it has settled. */
  readonly #held = new Set<Links>();

  // As one that refers to others' results.

  #dependency: Dependency | undefined;

  constructor(call: Call | undefined) {
    this.#call = call;
  }

  get size(): number | undefined {
    return this.#dependency && (this.#dependency.block?.length ?? 0);
  }

  /** Somebody refers to the result. */
  refer(handle: CallHandle, owner: CallOwner): void {
    if (this.#referred || this.settled !== undefined) return;
    this.#referred = true;
    this.#owner = owner;
    const call = this.#call as Call;
    if (call.state === "waiting") return;
    if (call.state !== "sent") {
      if (call.resolve !== undefined) return this.watch(handle);
      const { result } = call;
      const failed = isInstanceOf(result, Rejection);
      this.settled = { failed, value: failed ? result.reason : result };
    } else {
      const calls = owner.tableOf(call) as LinkedCalls | undefined;
      if (calls === undefined || !keepsResults(calls)) return;
      const { inFlight, context: { sendBuffer } } = calls;
      if (inFlight.flushed(call) || call.batchOffset < 0) return;
      // One that is written in fragments is not in the batch.
      if (call.extra?.large !== undefined) return;
      // Its REQUEST is still in the batch that is filling.
      sendBuffer.at(call.batchOffset)[5] |= FLAG_KEEP;
      this.#keptAs = call.seq;
    }
  }

  /** Learns from the handle what the caller gets. */
  watch(handle: CallHandle): void {
    handle.reply.then(
      (value) => this.onSettled(false, value),
      (reason) => this.onSettled(true, reason),
    );
  }

  /** Whether a call on this connection can refer to its result: only one that is sent after it. */
  #isLinkable(calls: LinkedCalls, dependent: Call): boolean {
    const call = this.#call;
    if (call === undefined || this.#owner?.tableOf(call) !== calls) {
      return false;
    }
    if (call.state === "waiting") {
      const overtakes = dependent.extra?.urgent && !call.extra?.urgent;
      return call.waiting?.held === false && !overtakes && keepsResults(calls);
    }
    return this.#isKept(call, calls);
  }

  #isKept(call: Call, { inFlight }: LinkedCalls): boolean {
    return call.seq >= 0 && call.seq === this.#keptAs &&
      inFlight.last - call.seq < MAX_DISTANCE;
  }

  fields(peer: PeerHello): RequestExtras | undefined {
    const { seq } = this.#call as Call;
    const kept = this.#referred && peer.keepsResults === true;
    this.#keptAs = kept ? seq : -1;
    this.#answered = false;
    const dependency = this.#dependency;
    const { block } = dependency ?? {};
    if (dependency === undefined || block === undefined) {
      return kept ? { flags: FLAG_KEEP, block: NO_BLOCK } : undefined;
    }
    setIds(block, dependency.list.map((each) => sourceFor(each).#keptAs >>> 0));
    dependency.written = true;
    this.#leave(dependency);
    return { flags: kept ? FLAG_KEEP | FLAG_REFS : FLAG_REFS, block };
  }

  /** The results that it refers to need not be kept for it any more. */
  #leave({ calls, list }: Dependency): void {
    for (const each of list) {
      const source = sourceFor(each);
      source.#held.delete(this);
      if (!source.#unwritten.delete(this)) continue;
      // Later: the request that refers to the result may be written just now.
      queueMicrotask(() => {
        const { state } = calls.context.connection.stats();
        if (state === "open" || state === "draining") source.#tidy(calls);
      });
    }
  }

  onAnswered(): void {
    this.#answered = true;
    const calls = this.#owner?.tableOf(this.#call as Call);
    if (calls !== undefined) this.#tidy(calls as LinkedCalls);
  }

  /** If the peer keeps the result for nobody any more, tells it so. */
  #tidy({ context }: LinkedCalls): void {
    const id = this.#keptAs;
    if (!this.#answered || id < 0 || this.#unwritten.size > 0) return;
    this.#keptAs = -1;
    beginFrame(context.sendBuffer, 0, RELEASE, 0, id >>> 0);
  }

  onSettled(failed: boolean, value: unknown): void {
    this.settled = { failed, value };
    const held = [...this.#held];
    this.#held.clear();
    for (const links of held) links.#await();
    if (failed) this.#holdUnwritten();
  }

  /** Calls that wait to be written cannot refer to the result any more. */
  #holdUnwritten(): void {
    for (const links of [...this.#unwritten]) links.#hold(false);
  }

  // A call that refers to others' results, in the order in which it travels.

  /** Its params have references: see `References.link`. */
  link(calls: LinkedCalls, params: unknown): void {
    const { codec, setup } = calls.context;
    const call = this.#call as Call;
    const prepare = (value: unknown) =>
      codec.prepare(value, false, call.method, "params");
    const snapped = snapshot(params, false, setup);
    const all = find(snapped);
    let sent = isInstanceOf(snapped, Snapshot) ? snapped : blank(snapped);
    const list = all.filter((each) => sourceFor(each).settled === undefined);
    if (list.length < all.length) {
      const there = all.filter((each) => !list.includes(each));
      const filled = fill(call, sent, there);
      if (list.length === 0) return prepare(filled);
      const made = snapshot(filled, false, setup);
      sent = isInstanceOf(made, Snapshot) ? made.withReferences(list) : made;
    }
    const linkable = list.every((each) =>
      sourceFor(each).#isLinkable(calls, call)
    );
    const block = linkable && isInstanceOf(sent, Snapshot)
      ? encodeReferences(
        list.map(({ place, target }) => ({ place, path: target.path })),
      )
      : undefined;
    this.#dependency = { calls, sent, list, block, written: false };
    if (block === undefined) this.#await();
    else for (const each of list) sourceFor(each).#unwritten.add(this);
    // For its size. What is held is prepared again; a protocol may refuse `null` as params.
    const none = block === undefined && list[0].place.length === 0;
    prepare(none || !isInstanceOf(sent, Snapshot) ? undefined : sent);
  }

  onRefused(code: string): boolean {
    const dependency = this.#dependency;
    const known = code === "dependency_gone" || code === "dependency_failed";
    if (!dependency?.written || !known) return false;
    if (dependency.calls.queue.ended) return false;
    (this.#call as Call).outcome = "refused";
    this.#hold(true);
    return true;
  }

  /** The call waits for the results, and is sent with them in place. */
  #hold(refused: boolean): void {
    const dependency = this.#dependency as Dependency;
    this.#leave(dependency);
    dependency.block = undefined;
    dependency.written = false;
    const { queue } = dependency.calls;
    const call = this.#call as Call;
    call.state = "waiting";
    call.seq = -1;
    const queued = call.waiting !== undefined;
    if (queued) queue.remove(call);
    // One that is being made just now is not in the queue yet, and enters it as held.
    if (queued || refused) queue.push(call, undefined, true);
    this.#await();
    this.#holdUnwritten();
  }

  /** Waits for the results; then the call goes on in a later turn, because the code on the stack settles another call. */
  #await(): void {
    const dependency = this.#dependency;
    if (dependency === undefined) return;
    const sources = dependency.list.map(sourceFor);
    const failed = sources.some(({ settled }) => settled?.failed);
    const open = sources.filter(({ settled }) => settled === undefined);
    if (failed || open.length === 0) {
      queueMicrotask(() => this.#resume(dependency));
    } else for (const source of open) source.#held.add(this);
  }

  #resume(dependency: Dependency): void {
    const call = this.#call as Call;
    if (this.#dependency !== dependency || call.waiting === undefined) return;
    const { calls, sent, list } = dependency;
    const { context, inFlight, queue, settler } = calls;
    const { codec } = context;
    let failure: { readonly error: unknown } | undefined;
    try {
      const params = fill(call, sent, list);
      codec.prepare(params, false, call.method, "params");
    } catch (error) {
      failure = { error };
    }
    try {
      // The user's code that ran may have ended it.
      if (call.waiting === undefined) return codec.prepare(undefined, false);
      queue.remove(call);
      if (failure !== undefined) throw failure.error;
      this.drop();
      const { metadata, expiresAt } = call.extras();
      const timed = expiresAt !== Infinity;
      call.size = codec.requestSize(call.method, timed, metadata);
      inFlight.window.checkFit(call.size);
      if (call.size > context.sendBuffer.most) throw queueFullError(TOO_LARGE);
      // It was accepted before: no limit refuses it.
      queue.push(call, codec.savePrepared(), false);
      queue.flushQueue();
    } catch (error) {
      codec.prepare(undefined, false);
      settler.fail(call, call.outcome, error);
    }
  }

  drop(): void {
    const dependency = this.#dependency;
    this.#dependency = undefined;
    if (dependency !== undefined) this.#leave(dependency);
  }
}

function link(call: object, calls: object, params: unknown): void {
  const links = linksOf(call as Call);
  links.drop();
  links.link(calls as LinkedCalls, params);
}

function keepsResults({ inFlight }: LinkedCalls): boolean {
  return inFlight.window.granted.keepsResults === true;
}

function sourceFor({ target }: PlacedReference): Links {
  return (target as ResultTarget).source;
}

/**
 * Puts results in their places.
 *
 * @throws {RpcError} If a call has failed, or a path leads nowhere.
 */
function fill(
  call: Call,
  sent: unknown,
  list: readonly PlacedReference[],
): unknown {
  const { outcome } = call;
  for (const each of list) {
    const { settled } = sourceFor(each);
    if (!settled?.failed) continue;
    const text = "a call whose result it needs has failed";
    const cause = settled.value;
    throw new RpcError("dependency_failed", text, { outcome, cause });
  }
  let params = sent;
  if (isInstanceOf(sent, Snapshot)) {
    const { kind, text, bytes, serializer } = sent;
    params = kind === JSON_TEXT
      ? JSON.parse(text as string)
      : serializer?.decode(copyBytes(bytes as Uint8Array));
  }
  for (const each of list) {
    const { place, target } = each;
    const { value } = sourceFor(each).settled as { readonly value: unknown };
    const streamed = isStream(value) ||
      isStream((value as { body?: unknown } | null | undefined)?.body);
    const found = streamed ? undefined : valueAt(value, target.path);
    if (found === undefined) {
      const text = streamed
        ? "the result of a call is a stream or has one, and cannot be referred to"
        : `the result of a call has no ${pathText(target.path)}`;
      throw new RpcError("invalid_argument", text, { outcome });
    }
    const filled = putAt(params, place, found.value);
    if (filled === undefined) {
      throw unserializable(`params ${pathText(place)}: a reference`);
    }
    params = filled.value;
  }
  return params;
}
