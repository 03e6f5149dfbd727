/**
 * A method as a transform of streams.
 *
 * Invariants owned here:
 * - An input taken is in one of two lists until its result is delivered, and
 *   delivered means handed to a read that was waiting: the readable queues
 *   nothing. So a failure can name every input that was not acknowledged.
 * - At most `window` inputs are in the lists, and no further one is taken while
 *   their requests have `windowBytes`; both hold for results that wait for a
 *   slow reader, too.
 * - It ends once, whatever comes first: then no call of its own is in flight,
 *   and it listens to no signal.
 * - After a call has failed, what is still in flight is cancelled; results
 *   that had come before it are delivered before the failure.
 *
 * @module
 */

import type { Caller, CallHandle } from "../types/call.ts";
import { LinkedList, type ListNode } from "../base/linked_list.ts";
import {
  type OnStageError,
  type Stage,
  StageError,
  type StageOptions,
  type StageOutput,
  type StageSettings,
  toStageSettings,
} from "./stage_options.ts";
import type { ServiceClient } from "./service_client.ts";
import type { WireMap } from "../types/connection.ts";
import type {
  MethodAt,
  MethodName,
  ParamsOf,
  ResultOf,
} from "../types/services.ts";
import { tame } from "../base/user_code.ts";

/** One input on its way. */
class StageItemState implements ListNode<StageItemState> {
  previous: StageItemState | undefined = undefined;
  next: StageItemState | undefined = undefined;
  readonly index: number;
  readonly input: unknown;
  /** Its call; undefined if the stage had failed before it was made. */
  handle: CallHandle | undefined = undefined;
  /** Bytes of its request. */
  size = 0;
  /** Whether `item` is there to be delivered. */
  done = false;
  item: unknown = undefined;

  constructor(index: number, input: unknown) {
    this.index = index;
    this.input = input;
  }
}

/** Makes the calls of a stage, each from its input. */
export type MakeCall = (input: unknown) => CallHandle;

/** The stage behind {@linkcode Client.stage}. */
export class StageTransform implements Stage<unknown, unknown> {
  readonly readable: ReadableStream<unknown>;
  readonly writable: WritableStream<unknown>;

  readonly #go: MakeCall;
  readonly #settings: StageSettings;
  #output!: ReadableStreamDefaultController<unknown>;
  #input!: WritableStreamDefaultController;

  /** Inputs in order; where that is not the order of results, only those without one. */
  readonly #steps = new LinkedList<StageItemState>();
  /** Where order is of no account: those with a result, in the order of results. */
  readonly #done = new LinkedList<StageItemState>();
  #taken = 0;
  #bytes = 0;
  /** A read waits for a result. */
  #wanted = false;
  /** A write waits for room. */
  #room: PromiseWithResolvers<void> | undefined;
  /** The writer has closed, and waits for the last result to be delivered. */
  #closing: PromiseWithResolvers<void> | undefined;
  /** A call has failed; what came before it may still be delivered. */
  #failure: { readonly index: number; readonly cause: unknown } | undefined;
  /** It has ended in order, or with this error. */
  #end: { readonly error: StageError | undefined } | undefined;

  constructor(go: MakeCall, settings: StageSettings) {
    this.#go = go;
    this.#settings = settings;
    this.readable = new ReadableStream({
      start: (controller) => void (this.#output = controller),
      pull: () => this.#deliver(),
      cancel: (reason) => this.#stop(reason, BOTH),
    }, { highWaterMark: 0 });
    this.writable = new WritableStream({
      start: (controller) => {
        this.#input = controller;
        // `abort` below comes only when the write that waits for room is over.
        const { signal } = controller;
        signal?.addEventListener("abort", () => this.#stop(signal.reason));
      },
      write: (input) => this.#take(input),
      close: () => this.#close(),
      abort: (reason) => this.#stop(reason),
    }, { highWaterMark: 1 });
    for (const signal of settings.signals) {
      signal.addEventListener("abort", this);
      if (signal.aborted) this.#stop(signal.reason, BOTH);
    }
  }

  /** One of the signals has fired. */
  handleEvent({ target }: Event): void {
    this.#stop((target as AbortSignal).reason, BOTH);
  }

  /** The first input whose result can be delivered. */
  get #next(): StageItemState | undefined {
    const { first } = this.#settings.ordered ? this.#steps : this.#done;
    return first?.done ? first : undefined;
  }

  get #hasRoom(): boolean {
    const { window, windowBytes } = this.#settings;
    return this.#steps.length + this.#done.length < window &&
      this.#bytes < windowBytes;
  }

  // An input's way.

  /** Makes a call; resolves when there is room for the next. */
  #take(input: unknown): Promise<void> | undefined {
    const step = new StageItemState(this.#taken++, input);
    this.#steps.push(step);
    if (this.#failure === undefined) this.#start(step);
    if (this.#failure === undefined && this.#hasRoom) return undefined;
    this.#room = Promise.withResolvers();
    return this.#room.promise;
  }

  #start(step: StageItemState): void {
    // This runs user code (toJSON, middleware), which may end the stage.
    const handle = this.#go(step.input);
    step.handle = handle;
    const end = this.#end;
    if (end !== undefined) {
      handle.abort(end.error?.cause);
      throw end.error;
    }
    step.size = handle.size;
    this.#bytes += step.size;
    handle.reply.then(
      (value) => this.#settle(step, value, false),
      (error) => this.#settle(step, error, true),
    );
  }

  #settle(step: StageItemState, result: unknown, failed: boolean): void {
    if (this.#end !== undefined || this.#failure !== undefined) return;
    const { ordered, yields } = this.#settings;
    const { index } = step;
    if (failed && !yields) {
      this.#fail(index, result);
      return;
    }
    step.item = failed
      ? new StageError(index, result, [toLeft(step)])
      : ordered
      ? result
      : { index, value: result };
    step.done = true;
    if (!ordered) {
      this.#steps.remove(step);
      this.#done.push(step);
    }
    if (this.#wanted) this.#deliver();
  }

  /** Hands the reader a result, now or when there is one. */
  #deliver(): void {
    const step = this.#next;
    this.#wanted = step === undefined;
    if (step === undefined) return;
    (this.#settings.ordered ? this.#steps : this.#done).remove(step);
    this.#bytes -= step.size;
    this.#output.enqueue(step.item);
    this.#advance();
  }

  /** Goes on with what waited for a delivery. */
  #advance(): void {
    if (this.#failure !== undefined) {
      const { index, cause } = this.#failure;
      if (this.#next === undefined) this.#stop(cause, BOTH, index);
    } else if (this.#closing !== undefined) this.#finish();
    else if (this.#hasRoom) {
      this.#room?.resolve();
      this.#room = undefined;
    }
  }

  // Endings.

  #close(): Promise<void> {
    this.#closing = Promise.withResolvers();
    const { promise } = this.#closing;
    this.#advance();
    return promise;
  }

  /** Ends in order, if everything is delivered. */
  #finish(): void {
    if (this.#end !== undefined) return;
    if (this.#steps.length + this.#done.length > 0) return;
    this.#end = { error: undefined };
    this.#unlisten();
    this.#output.close();
    this.#closing?.resolve();
  }

  /** A call has failed. */
  #fail(index: number, cause: unknown): void {
    this.#failure = { index, cause };
    for (let s = this.#steps.first; s !== undefined; s = s.next) {
      if (!s.done) s.handle?.abort(cause);
    }
    this.#advance();
  }

  /**
   * Ends at once, and both sides fail with one error. (A writable whose own
   * abort is the reason fails by itself: failing it here would make that abort
   * reject.)
   */
  #stop(cause: unknown, sides?: typeof BOTH, index?: number): void {
    if (this.#end !== undefined) return;
    const steps = [...all(this.#steps), ...all(this.#done)];
    steps.sort((a, b) => a.index - b.index);
    // Set first: what is cancelled here must not come back as a failure.
    const end: { error: StageError | undefined } = { error: undefined };
    this.#end = end;
    this.#unlisten();
    for (const step of steps) if (!step.done) step.handle?.abort(cause);
    const at = index ?? steps[0]?.index ?? this.#taken;
    const error = new StageError(at, cause, steps.map(toLeft));
    end.error = error;
    this.#output.error(error);
    if (sides === BOTH) this.#input.error(error);
    this.#room?.reject(error);
    this.#closing?.reject(error);
  }

  #unlisten(): void {
    for (const signal of this.#settings.signals) {
      signal.removeEventListener("abort", this);
    }
  }
}

const BOTH = "both";

function all(list: LinkedList<StageItemState>): StageItemState[] {
  const steps: StageItemState[] = [];
  for (let s = list.first; s !== undefined; s = s.next) steps.push(s);
  return steps;
}

function toLeft({ index, input, handle }: StageItemState) {
  return { index, input, outcome: handle?.outcome ?? "not_sent" };
}

/** The results of a stage whose inputs are an iterable's. */
export class MapIterator implements AsyncIterableIterator<unknown> {
  readonly #inputs: Iterable<unknown> | AsyncIterable<unknown>;
  readonly #makeStage: () => Stage<unknown, unknown>;
  #reader: ReadableStreamDefaultReader<unknown> | undefined;
  #over = false;

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
    if (this.#over) return { done: true, value: undefined };
    this.#reader ??= this.#begin();
    try {
      const { done, value } = await this.#reader.read();
      return done ? { done, value: undefined } : { done, value };
    } catch (error) {
      // Of several that wait, the first is told.
      if (this.#over) return { done: true, value: undefined };
      this.#over = true;
      throw error;
    }
  }

  /** Cancels what is in flight; does not wait for the inputs' own `return`. */
  async return(value?: unknown): Promise<IteratorResult<unknown>> {
    if (!this.#over) {
      this.#over = true;
      const reason = new DOMException("The iteration was ended", "AbortError");
      // A failure that nobody has read is of no interest any more.
      await this.#reader?.cancel(reason).catch(() => {});
    }
    return { done: true, value };
  }

  #begin(): ReadableStreamDefaultReader<unknown> {
    const { readable, writable } = this.#makeStage();
    // Its failure is the reader's, too.
    toStream(this.#inputs).pipeTo(writable).catch(() => {});
    return readable.getReader();
  }
}

/** As `ReadableStream.from`, which not every browser has. */
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
        throw tame(error);
      }
    },
    cancel: async () => {
      try {
        await iterator.return?.();
      } catch (error) {
        throw tame(error);
      }
    },
  }, { highWaterMark: 0 });
}

/** What {@linkcode stage} makes for a method. */
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

/** What comes out of it. */
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

/** The params of a method, one after the other. */
export type StageInputs<S extends object, N extends string> =
  | Iterable<ParamsOf<MethodAt<S, N>>>
  | AsyncIterable<ParamsOf<MethodAt<S, N>>>;

/**
 * A method as a transform of streams: each chunk written is a call's params,
 * each chunk read its result. Results come in the order of the inputs, or
 * with `ordered: false` as they are answered, with their indexes.
 *
 * At most `window` inputs are under way, and no further one is taken while
 * their requests have `windowBytes`: a reader that is slow slows the source.
 *
 * A failed call, an abort or cancel of either side, or the signal cancels
 * what is in flight and fails the stage once, with a {@linkcode StageError}
 * that has every input not acknowledged. With `onError: "yield"` failed calls
 * are items instead, a {@linkcode StageError} each.
 *
 * @throws {RangeError} If a bound is out of its range.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, memoryPair, Server, stage } from "@sluice/rpc";
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
  const made: Stage<unknown, unknown> = new StageTransform(
    calls(client, method, settings),
    settings,
  );
  return made as StageOf<S, N, M, Ordered, OnError>;
}

/**
 * The results of a method called with each of `inputs`, as a
 * {@linkcode stage} gives them. The first `next` starts it; to return
 * early cancels what is in flight.
 *
 * @throws {RangeError} If a bound is out of its range.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, map, memoryPair, Server } from "@sluice/rpc";
 *
 * const services = { Math: { square: (n: number) => n * n } };
 * const [near, far] = memoryPair();
 * const server = new Server(services);
 * server.accept(far);
 * const client = new Client<typeof services>(near);
 *
 * const squares = map(client, "Math.square", [1, 2, 3], { window: 2 });
 * assertEquals(await Array.fromAsync(squares), [1, 4, 9]);
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
  inputs: StageInputs<S, N>,
  options: StageOptions<Ordered, OnError> = {},
): AsyncIterableIterator<StageOutputOf<S, N, M, Ordered, OnError>> {
  const settings = toStageSettings(options);
  const call = calls(client, method, settings);
  const results: AsyncIterableIterator<unknown> = new MapIterator(
    inputs,
    () => new StageTransform(call, settings),
  );
  return results as ReturnType<typeof map<S, M, N, Ordered, OnError>>;
}

function calls(
  client: object,
  method: string,
  { each }: StageSettings,
): MakeCall {
  return (input) => (client as Caller).go(method, input, each);
}
