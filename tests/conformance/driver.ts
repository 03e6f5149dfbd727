/**
 * A client under test: it follows the instructions of the conformance suite with
 * this library's client. `docs/conformance.md` describes the convention for other
 * languages.
 *
 * @module
 */

import {
  type CallHandle,
  Client,
  type ClientOptions,
  type CoreClient,
  type Duplex,
  type Outcome,
  ref,
  RpcError,
} from "../../mod.ts";

/** One instruction. Instructions are followed in order. */
export type Step =
  /** Makes a call, and does not wait for it. `bytes` are that many zeros in place of `params`. */
  | {
    readonly do: "call";
    readonly method: string;
    readonly params?: unknown;
    readonly bytes?: number;
    readonly timeout?: number;
    readonly metadata?: Record<string, string>;
    /** What to put into `params`, which have null in these places: a part of the result of call `call`. */
    readonly references?: readonly {
      readonly place: readonly string[];
      readonly call: number;
      readonly path: readonly string[];
    }[];
    /** In place of `params`: they are a stream of these. */
    readonly items?: readonly Item[];
    /** Whether that stream is the body, beside `params`. */
    readonly beside?: boolean;
    /** How that stream ends after its items. Default: without an error. */
    readonly then?: "fail" | "wait";
    /** How many items of a result are read before the reader pauses. Default: all. */
    readonly read?: number;
  }
  /** Cancels the stream that is the result of call `call`. */
  | { readonly do: "stop"; readonly call: number }
  /** Aborts the call with this index; 0 is the call that asked for instructions. */
  | { readonly do: "abort"; readonly call: number }
  /** Waits until the call with this index has settled. */
  | { readonly do: "await"; readonly call: number }
  /** Closes the connection gracefully. */
  | { readonly do: "close" }
  /** Calls `Conformance.report` with the results of the last script. */
  | { readonly do: "report" }
  /** Drops the connection, makes a new one, and continues there at once. */
  | { readonly do: "reconnect" };

/** An item of a stream: that many zero bytes, or a string of that many `x`, or the value itself. */
export type Item =
  | { readonly bytes: number }
  | { readonly text: number }
  | { readonly value: unknown };

/** The result of one call. */
export interface CallReport {
  readonly outcome: Outcome;
  /** Of a failed call: its code; "aborted" if it was aborted. */
  readonly code?: string;
  /** Of a failed call: its data, where there is some. */
  readonly data?: unknown;
  /** Of a call that succeeded: its result; of bytes, how many as `{ bytes }`. */
  readonly value?: unknown;
  /** Of a result that is a stream, or has a body: what was read of it, bytes that follow each other as one `{ bytes }`. */
  readonly items?: unknown[];
}

/** The result of a script. */
export interface Report {
  readonly calls: CallReport[];
  /** The code with which the connection ended; null after a graceful close. */
  readonly closed: string | null;
}

/** Makes the client under test. */
export type MakeClient = (
  duplex: Duplex,
  options: ClientOptions,
) => CoreClient<object>;

/** Connects again and again until there are no further instructions. */
export async function drive(
  dial: () => Promise<Duplex>,
  options: ClientOptions = {},
  make: MakeClient = (duplex, options) => new Client<object>(duplex, options),
): Promise<void> {
  let report: Report | null = null;
  do {
    report = await once(async () => make(await dial(), options), report);
  } while (report !== null);
}

async function once(
  connect: () => Promise<CoreClient<object>>,
  last: Report | null,
): Promise<Report | null> {
  let client = await connect();
  const next = new Made(client.connection.go("Conformance.next"));
  const calls = [next];
  // A connection that breaks before its instructions arrive is a case, too.
  const steps = await next.handle.reply.catch(() => []) as Step[] | null;
  for (const step of steps ?? [{ do: "close" }] satisfies Step[]) {
    if (step.do === "reconnect") {
      client.abort();
      client = await connect();
    } else if (step.do === "await") {
      await calls[step.call].handle.reply.catch(() => {});
    } else if (step.do === "report") {
      const handle = client.connection.go("Conformance.report", last);
      calls.push(new Made(handle));
    } else perform(client, calls, step);
  }
  const reason = await client.closed;
  if (steps === null) return null;
  return {
    calls: await Promise.all(calls.map((call) => call.describe())),
    closed: reason?.code ?? null,
  };
}

/** Aborts at once: a call aborted in the turn in which it is made need not be sent. */
function perform(
  client: CoreClient<object>,
  calls: Made[],
  step: Extract<Step, { do: "call" | "abort" | "stop" | "close" }>,
): void {
  switch (step.do) {
    case "call": {
      const { method, bytes, items, timeout, metadata, read, beside } = step;
      const stream = items && producer(items, step.then);
      const params = stream !== undefined && !beside
        ? stream
        : bytes !== undefined
        ? new Uint8Array(bytes)
        : refer(structuredClone(step.params), step.references, calls);
      const body = beside ? stream : undefined;
      const options = { timeout, metadata, body };
      calls.push(new Made(client.connection.go(method, params, options), read));
      return;
    }
    case "abort":
      calls[step.call].handle.abort(ABORTED);
      return;
    case "stop":
      calls[step.call].stop();
      return;
    case "close":
      client.close().catch(() => {});
  }
}

/** Puts references to the results of calls into params. */
function refer(
  params: unknown,
  references: Extract<Step, { do: "call" }>["references"] = [],
  calls: readonly Made[],
): unknown {
  for (const { place, call, path } of references) {
    let value: unknown = ref(calls[call].handle);
    for (const step of path) value = (value as Record<string, unknown>)[step];
    const last = place.at(-1);
    if (last === undefined) return value;
    let parent = params;
    for (const step of place.slice(0, -1)) {
      parent = (parent as Record<string, unknown>)[step];
    }
    (parent as Record<string, unknown>)[last] = value;
  }
  return params;
}

const ABORTED = new Error("aborted");

/** A stream of items, which are made as they are asked for. */
function producer(
  items: readonly Item[],
  then: "fail" | "wait" | undefined,
): ReadableStream<unknown> {
  let made = 0;
  return new ReadableStream({
    pull(controller) {
      if (made < items.length) controller.enqueue(valueOf(items[made++]));
      else if (then === "fail") {
        controller.error(new Error("the source failed"));
      } else if (then === undefined) controller.close();
    },
  }, { highWaterMark: 0 });
}

function valueOf(item: Item): unknown {
  if ("bytes" in item) return new Uint8Array(item.bytes);
  return "text" in item ? "x".repeat(item.text) : item.value;
}

/** One call that was made, and what is read of its result. */
class Made {
  readonly handle: CallHandle<unknown>;
  readonly #most: number;
  #reader: ReadableStreamDefaultReader<unknown> | undefined;
  readonly #items: unknown[] = [];
  /** Resolves when the result has been read, as far as it is to be. */
  readonly #read: Promise<void>;
  /** Why reading failed. */
  #failure: { readonly error: unknown } | undefined;

  constructor(handle: CallHandle<unknown>, most = Infinity) {
    this.handle = handle;
    this.#most = most;
    this.#read = handle.reply.then((result) => this.#begin(result), () => {});
  }

  stop(): void {
    this.#reader?.cancel().catch(() => {});
  }

  async #begin(result: unknown): Promise<void> {
    const stream = bodyOf(result) ?? result;
    if (!(stream instanceof ReadableStream)) return;
    const reader = this.#reader = stream.getReader();
    try {
      while (this.#items.length < this.#most) {
        const { done, value } = await reader.read();
        if (done) return;
        this.#note(value);
      }
    } catch (error) {
      this.#failure = { error };
    }
  }

  #note(value: unknown): void {
    if (!(value instanceof Uint8Array)) {
      this.#items.push(value);
      return;
    }
    const last = this.#items.at(-1);
    if (last instanceof Bytes) last.bytes += value.length;
    else this.#items.push(new Bytes(value.length));
  }

  async describe(): Promise<CallReport> {
    const outcome = await this.handle.settled;
    try {
      const value = await this.handle.reply;
      if (value instanceof ReadableStream) return await this.#describeStream();
      if (bodyOf(value) !== undefined) {
        const described = await this.#describeStream();
        return { ...described, value: (value as { value: unknown }).value };
      }
      const bytes = value instanceof Uint8Array;
      return { outcome, value: bytes ? { bytes: value.length } : value };
    } catch (error) {
      return { outcome, ...wordsOf(error) };
    }
  }

  async #describeStream(): Promise<CallReport> {
    await this.#read;
    const failure = this.#failure && wordsOf(this.#failure.error);
    return { outcome: "executed", items: this.#items, ...failure };
  }
}

/** The stream beside a result, if there is one. */
function bodyOf(result: unknown): ReadableStream<unknown> | undefined {
  const body = (result as { body?: unknown } | null | undefined)?.body;
  return body instanceof ReadableStream ? body : undefined;
}

/** Bytes of a stream that were read. */
class Bytes {
  bytes: number;

  constructor(bytes: number) {
    this.bytes = bytes;
  }
}

function wordsOf(error: unknown): Pick<CallReport, "code" | "data"> {
  if (!(error instanceof RpcError)) return { code: "aborted" };
  return { code: error.code, data: error.data };
}
