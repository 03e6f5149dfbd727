/**
 * Stages: a method as a transform of streams, and as a map over an iterable.
 *
 * Invariants:
 * - An input is in one of two lists from the moment it is taken until its result
 *   is handed to a read that waits. The readable side queues nothing. So a
 *   failure can name every input that was not acknowledged.
 * - At most `window` inputs are in the lists, and no further one is taken while
 *   their requests have `windowBytes`. Results that wait for a slow reader count.
 * - A stage ends once, whatever comes first. From then on none of its calls is
 *   in flight, and it listens to no signal.
 * - When a call fails, the calls in flight are cancelled. Results that came
 *   before the failure are delivered first.
 *
 * @module
 */

import { LinkedList, type ListNode } from "../base/linked_list.ts";
import { toInspectable } from "../base/user_code.ts";
import type { Caller, CallHandle } from "../types/call.ts";
import type { WireMap } from "../types/connection.ts";
import type {
  MethodAt,
  MethodName,
  ParamsOf,
  ResultOf,
} from "../types/services.ts";
import type { ServiceClient } from "./service_client.ts";
import {
  type OnStageError,
  type Stage,
  StageError,
  type StageOptions,
  type StageOutput,
  type StageSettings,
  toStageSettings,
} from "./stage_options.ts";

/** The {@linkcode Stage} that {@linkcode stage} returns for a method `N` of the services `S`. */
export type StageOf<
  S extends object,
  N extends string,
  M extends WireMap,
  Ordered extends boolean,
  OnError extends OnStageError,
> = Stage<
  ParamsOf<MethodAt<S, N>>,
  StageOutputOf<S, N, M, Ordered, OnError>
>;

/** The chunks that can be read from it: see {@linkcode StageOutput}. */
export type StageOutputOf<
  S extends object,
  N extends string,
  M extends WireMap,
  Ordered extends boolean,
  OnError extends OnStageError,
> = StageOutput<
  ParamsOf<MethodAt<S, N>>,
  ResultOf<MethodAt<S, N>, M>,
  Ordered,
  OnError
>;

/** The inputs that {@linkcode map} takes for a method `N` of the services `S`: an iterable of params, or an async one such as a stream. */
export type StageInputsOf<S extends object, N extends string> =
  | Iterable<ParamsOf<MethodAt<S, N>>>
  | AsyncIterable<ParamsOf<MethodAt<S, N>>>;

/**
 * Returns a method as a transform of streams: each chunk written is the params
 * of one call, each chunk read is its result. Results come in the order of the
 * inputs; with `ordered: false` they come as the server replies, each with the
 * index of its input.
 *
 * At most `window` inputs (default 1,024) are in progress, and no further input
 * is taken while their requests have `windowBytes` (default 16 MiB). So a slow
 * reader slows the source.
 *
 * The stage fails if a call fails, if either side is aborted or cancelled, or if
 * a signal fires: it cancels the calls in flight and fails once, with a
 * {@linkcode StageError} that lists every input whose result was not delivered.
 * With `onError: "yield"` a failed call does not fail the stage: its
 * `StageError` is a chunk in place of the result.
 *
 * @throws {RangeError} If `window` or `windowBytes` is less than 1.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { memoryPair, Server } from "@sluice/rpc";
 * import { Client, stage } from "@sluice/rpc/client";
 *
 * const services = { Math: { square: (n: number) => n * n } };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 * const client = new Client<typeof services>(near);
 *
 * const squares: number[] = [];
 * await ReadableStream.from([1, 2, 3])
 *   .pipeThrough(stage(client, "Math.square", { window: 512 }))
 *   .pipeTo(new WritableStream({ write: (n) => void squares.push(n) }));
 * assertEquals(squares, [1, 4, 9]);
 * await client.close();
 * await server.close();
 * ```
 */
export function stage<
  S extends object,
  M extends WireMap,
  N extends { [K in MethodName<S>]: K }[MethodName<S>],
  Ordered extends boolean = true,
  OnError extends OnStageError = "fail",
>(
  client: ServiceClient<S, M>,
  method: N,
  options: StageOptions<Ordered, OnError> = {},
): StageOf<S, N, M, Ordered, OnError> {
  const settings = toStageSettings(options);
  const transform: Stage<unknown, unknown> = new StageTransform(
    callMaker(client, method, settings),
    settings,
  );
  return transform as StageOf<S, N, M, Ordered, OnError>;
}

/**
 * Calls a method with each of `inputs` and iterates over the results, in the
 * order, within the window and with the errors of a {@linkcode stage}. The first
 * `next` starts it. Leaving the loop early cancels the calls in flight, and ends
 * the inputs.
 *
 * @throws {RangeError} If `window` or `windowBytes` is less than 1.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { memoryPair, Server } from "@sluice/rpc";
 * import { Client, map } from "@sluice/rpc/client";
 *
 * const services = { Math: { square: (n: number) => n * n } };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 * const client = new Client<typeof services>(near);
 *
 * const squares: number[] = [];
 * for await (const n of map(client, "Math.square", [1, 2, 3], { window: 2 })) {
 *   squares.push(n);
 * }
 * assertEquals(squares, [1, 4, 9]);
 * await client.close();
 * await server.close();
 * ```
 */
export function map<
  S extends object,
  M extends WireMap,
  N extends { [K in MethodName<S>]: K }[MethodName<S>],
  Ordered extends boolean = true,
  OnError extends OnStageError = "fail",
>(
  client: ServiceClient<S, M>,
  method: N,
  inputs: StageInputsOf<S, N>,
  options: StageOptions<Ordered, OnError> = {},
): AsyncIterableIterator<StageOutputOf<S, N, M, Ordered, OnError>> {
  const settings = toStageSettings(options);
  const makeCall = callMaker(client, method, settings);
  const results: AsyncIterableIterator<unknown> = new MapIterator(
    inputs,
    () => new StageTransform(makeCall, settings),
  );
  return results as ReturnType<typeof map<S, M, N, Ordered, OnError>>;
}

/** Makes the call of one input. */
type MakeCall = (input: unknown) => CallHandle;

function callMaker(
  client: object,
  method: string,
  { each }: StageSettings,
): MakeCall {
  return (input) => (client as Caller).go(method, input, each);
}

/** One input, from the moment it is taken until its result is delivered. */
class StageItemState implements ListNode<StageItemState> {
  previous: StageItemState | undefined = undefined;
  next: StageItemState | undefined = undefined;
  readonly index: number;
  readonly input: unknown;
  /** The call; undefined if the stage failed before the call was made. */
  handle: CallHandle | undefined = undefined;
  /** Bytes of the request. */
  size = 0;
  /** Whether `output` can be delivered. */
  done = false;
  output: unknown = undefined;

  constructor(index: number, input: unknown) {
    this.index = index;
    this.input = input;
  }
}

/** What {@linkcode stage} returns. */
class StageTransform implements Stage<unknown, unknown> {
  readonly readable: ReadableStream<unknown>;
  readonly writable: WritableStream<unknown>;

  readonly #makeCall: MakeCall;
  readonly #settings: StageSettings;
  #output!: ReadableStreamDefaultController<unknown>;
  #input!: WritableStreamDefaultController;

  /** All items in the order of the inputs; with `ordered: false` only those without a result. */
  readonly #items = new LinkedList<StageItemState>();
  /** With `ordered: false`: the items that have a result, in the order of the replies. */
  readonly #done = new LinkedList<StageItemState>();
  /** Inputs taken so far. */
  #taken = 0;
  /** Bytes of the requests of all items. */
  #bytes = 0;
  /** Whether a read waits for a result. */
  #readWaits = false;
  /** The write that waits for the window, if one does. */
  #room: PromiseWithResolvers<void> | undefined;
  /** The writer's close, which waits until the last result is delivered. */
  #closing: PromiseWithResolvers<void> | undefined;
  /** The call that failed; earlier results may still be delivered. */
  #failure: { readonly index: number; readonly cause: unknown } | undefined;
  /** How the stage has ended: without an error, or with this one. */
  #end: { readonly error: StageError | undefined } | undefined;

  constructor(makeCall: MakeCall, settings: StageSettings) {
    this.#makeCall = makeCall;
    this.#settings = settings;
    this.readable = new ReadableStream({
      start: (controller) => void (this.#output = controller),
      pull: () => this.#deliver(),
      cancel: (reason) => this.#stop(reason),
    }, { highWaterMark: 0 });
    this.writable = new WritableStream({
      start: (controller) => {
        this.#input = controller;
        // `abort` below is called only when the write that waits for room has ended.
        const { signal } = controller;
        signal?.addEventListener(
          "abort",
          () => this.#stop(signal.reason, "readable"),
        );
      },
      write: (input) => this.#take(input),
      close: () => this.#close(),
      abort: (reason) => this.#stop(reason, "readable"),
    }, { highWaterMark: 1 });
    for (const signal of settings.signals) {
      signal.addEventListener("abort", this);
      if (signal.aborted) this.#stop(signal.reason);
    }
  }

  /** Called when one of the signals has fired. */
  handleEvent({ target }: Event): void {
    this.#stop((target as AbortSignal).reason);
  }

  /** The next item, if its result can be delivered. */
  get #next(): StageItemState | undefined {
    const { first } = this.#settings.ordered ? this.#items : this.#done;
    return first?.done ? first : undefined;
  }

  get #hasRoom(): boolean {
    const { window, windowBytes } = this.#settings;
    return this.#items.length + this.#done.length < window &&
      this.#bytes < windowBytes;
  }

  // One input, in the order in which it travels.

  /** Takes an input and makes its call; resolves when there is room for the next. */
  #take(input: unknown): Promise<void> | undefined {
    const item = new StageItemState(this.#taken++, input);
    this.#items.push(item);
    if (this.#failure === undefined) this.#start(item);
    if (this.#failure === undefined && this.#hasRoom) return undefined;
    this.#room = Promise.withResolvers();
    return this.#room.promise;
  }

  #start(item: StageItemState): void {
    // Runs code of the user (toJSON, middleware), which may end the stage.
    const handle = this.#makeCall(item.input);
    item.handle = handle;
    const end = this.#end;
    if (end !== undefined) {
      handle.abort(end.error?.cause);
      throw end.error;
    }
    item.size = handle.size;
    this.#bytes += item.size;
    handle.reply.then(
      (value) => this.#settle(item, value, false),
      (error) => this.#settle(item, error, true),
    );
  }

  #settle(item: StageItemState, result: unknown, failed: boolean): void {
    if (this.#end !== undefined || this.#failure !== undefined) return;
    const { ordered, yields } = this.#settings;
    const { index } = item;
    if (failed && !yields) {
      this.#fail(index, result);
      return;
    }
    item.output = failed
      ? new StageError(index, result, [toUnacknowledged(item)])
      : ordered
      ? result
      : { index, value: result };
    item.done = true;
    if (!ordered) {
      this.#items.remove(item);
      this.#done.push(item);
    }
    if (this.#readWaits) this.#deliver();
  }

  /** Delivers the next result to the read that waits, now or when there is one. */
  #deliver(): void {
    const item = this.#next;
    this.#readWaits = item === undefined;
    if (item === undefined) return;
    (this.#settings.ordered ? this.#items : this.#done).remove(item);
    this.#bytes -= item.size;
    this.#output.enqueue(item.output);
    this.#advance();
  }

  /** Continues what waited for a delivery: the failure, the close, or a write. */
  #advance(): void {
    if (this.#failure !== undefined) {
      const { index, cause } = this.#failure;
      if (this.#next === undefined) this.#stop(cause, "both", index);
    } else if (this.#closing !== undefined) this.#finish();
    else if (this.#hasRoom) {
      this.#room?.resolve();
      this.#room = undefined;
    }
  }

  // How it ends.

  #close(): Promise<void> {
    this.#closing = Promise.withResolvers();
    const { promise } = this.#closing;
    this.#advance();
    return promise;
  }

  /** Ends without an error, if every result was delivered. */
  #finish(): void {
    if (this.#end !== undefined) return;
    if (this.#items.length + this.#done.length > 0) return;
    this.#end = { error: undefined };
    this.#unlisten();
    this.#output.close();
    this.#closing?.resolve();
  }

  /** Cancels the calls in flight; the stage fails when the earlier results are delivered. */
  #fail(index: number, cause: unknown): void {
    this.#failure = { index, cause };
    for (let s = this.#items.first; s !== undefined; s = s.next) {
      if (!s.done) s.handle?.abort(cause);
    }
    this.#advance();
  }

  /**
   * Ends at once; both sides fail with one error. A writable side that was
   * aborted fails by itself, so `sides` is `readable`: to fail it here would make
   * its `abort` reject.
   */
  #stop(
    cause: unknown,
    sides: "both" | "readable" = "both",
    index?: number,
  ): void {
    if (this.#end !== undefined) return;
    const items = [...all(this.#items), ...all(this.#done)];
    items.sort((a, b) => a.index - b.index);
    // Set first: the calls cancelled here must not fail the stage again.
    const end: { error: StageError | undefined } = { error: undefined };
    this.#end = end;
    this.#unlisten();
    for (const item of items) if (!item.done) item.handle?.abort(cause);
    const at = index ?? items[0]?.index ?? this.#taken;
    const error = new StageError(at, cause, items.map(toUnacknowledged));
    end.error = error;
    this.#output.error(error);
    if (sides === "both") this.#input.error(error);
    this.#room?.reject(error);
    this.#closing?.reject(error);
  }

  #unlisten(): void {
    for (const signal of this.#settings.signals) {
      signal.removeEventListener("abort", this);
    }
  }
}

function all(list: LinkedList<StageItemState>): StageItemState[] {
  const items: StageItemState[] = [];
  for (let s = list.first; s !== undefined; s = s.next) items.push(s);
  return items;
}

function toUnacknowledged({ index, input, handle }: StageItemState) {
  return { index, input, outcome: handle?.outcome ?? "not_sent" };
}

/** What {@linkcode map} returns: the results of a stage that reads its inputs from an iterable. */
class MapIterator implements AsyncIterableIterator<unknown> {
  readonly #inputs: Iterable<unknown> | AsyncIterable<unknown>;
  readonly #makeStage: () => Stage<unknown, unknown>;
  #reader: ReadableStreamDefaultReader<unknown> | undefined;
  #ended = false;

  constructor(
    inputs: Iterable<unknown> | AsyncIterable<unknown>,
    makeStage: () => Stage<unknown, unknown>,
  ) {
    this.#inputs = inputs;
    this.#makeStage = makeStage;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<unknown>> {
    if (this.#ended) return { done: true, value: undefined };
    this.#reader ??= this.#begin();
    try {
      const { done, value } = await this.#reader.read();
      return done ? { done, value: undefined } : { done, value };
    } catch (error) {
      // Only the first of several reads that wait gets the error.
      if (this.#ended) return { done: true, value: undefined };
      this.#ended = true;
      throw error;
    }
  }

  /** Cancels the calls in flight. Does not wait for the inputs' own `return`. */
  async return(value?: unknown): Promise<IteratorResult<unknown>> {
    if (!this.#ended) {
      this.#ended = true;
      const reason = new DOMException("The iteration was ended", "AbortError");
      // A failure that was not read is dropped.
      await this.#reader?.cancel(reason).catch(() => {});
    }
    return { done: true, value };
  }

  #begin(): ReadableStreamDefaultReader<unknown> {
    const { readable, writable } = this.#makeStage();
    // The reader gets the same failure.
    toStream(this.#inputs).pipeTo(writable).catch(() => {});
    return readable.getReader();
  }
}

/** Does what `ReadableStream.from` does, which some browsers lack. */
function toStream(
  inputs: Iterable<unknown> | AsyncIterable<unknown>,
): ReadableStream<unknown> {
  const iterator = Symbol.asyncIterator in Object(inputs)
    ? (inputs as AsyncIterable<unknown>)[Symbol.asyncIterator]()
    : (inputs as Iterable<unknown>)[Symbol.iterator]();
  return new ReadableStream({
    pull: async (controller) => {
      try {
        const { done, value } = await iterator.next();
        if (done) controller.close();
        else controller.enqueue(await value);
      } catch (error) {
        throw toInspectable(error);
      }
    },
    cancel: async () => {
      try {
        await iterator.return?.();
      } catch (error) {
        throw toInspectable(error);
      }
    },
  }, { highWaterMark: 0 });
}
