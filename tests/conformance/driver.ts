/**
 * A client under test: does what the conformance suite tells it, with this
 * library's client. `docs/conformance.md` has the convention, to be followed in
 * other languages.
 *
 * @module
 */

import {
  type CallHandle,
  Client,
  type ClientOptions,
  type Duplex,
  type Outcome,
  RpcError,
} from "../../mod.ts";

/** One thing to do; they are done in order. */
export type Step =
  /** Makes a call, and does not wait for it. `bytes` are that many zeros in place of `params`. */
  | {
    readonly do: "call";
    readonly method: string;
    readonly params?: unknown;
    readonly bytes?: number;
    readonly timeout?: number;
    readonly metadata?: Record<string, string>;
  }
  /** Gives the call with this index up; 0 is the call that asked what to do. */
  | { readonly do: "abort"; readonly call: number }
  /** Waits until the call with this index has come to its end. */
  | { readonly do: "await"; readonly call: number }
  /** Ends the connection in order. */
  | { readonly do: "close" }
  /** Calls `Conformance.report` with what became of the last script. */
  | { readonly do: "report" }
  /** Drops the connection, makes a new one, and goes on there at once. */
  | { readonly do: "reconnect" };

/** What became of one call. */
export interface CallReport {
  readonly outcome: Outcome;
  /** Of a failed call: its code; "aborted" if it was given up. */
  readonly code?: string;
  /** Of a failed call: its data, where there is some. */
  readonly data?: unknown;
  /** Of a call that succeeded: its result; of bytes, how many as `{ bytes }`. */
  readonly value?: unknown;
}

/** What became of a script. */
export interface Report {
  readonly calls: CallReport[];
  /** The code the connection ended with; null if it ended in order. */
  readonly closed: string | null;
}

/** Connects again and again until it is told that there is nothing left to do. */
export async function drive(
  dial: () => Promise<Duplex>,
  options: ClientOptions = {},
): Promise<void> {
  let report: Report | null = null;
  do {
    report = await once(dial, options, report);
  } while (report !== null);
}

async function once(
  dial: () => Promise<Duplex>,
  options: ClientOptions,
  last: Report | null,
): Promise<Report | null> {
  let client = new Client<object>(await dial(), options);
  const next = client.connection.go("Conformance.next");
  const calls = [next];
  // A connection that breaks before it is told what to do is a case, too.
  const steps = await next.reply.catch(() => []) as Step[] | null;
  for (const step of steps ?? [{ do: "close" }] satisfies Step[]) {
    if (step.do === "reconnect") {
      client.abort();
      client = new Client<object>(await dial(), options);
    } else if (step.do === "await") {
      await calls[step.call].reply.catch(() => {});
    } else if (step.do === "report") {
      calls.push(client.connection.go("Conformance.report", last));
    } else perform(client, calls, step);
  }
  const reason = await client.closed;
  if (steps === null) return null;
  return {
    calls: await Promise.all(calls.map(describe)),
    closed: reason?.code ?? null,
  };
}

/** At once: what is given up in the turn of its call need not be sent. */
function perform(
  client: Client<object>,
  calls: CallHandle<unknown>[],
  step: Extract<Step, { do: "call" | "abort" | "close" }>,
): void {
  switch (step.do) {
    case "call": {
      const { method, bytes, timeout, metadata } = step;
      const params = bytes === undefined ? step.params : new Uint8Array(bytes);
      calls.push(client.connection.go(method, params, { timeout, metadata }));
      return;
    }
    case "abort":
      calls[step.call].abort(ABORTED);
      return;
    case "close":
      client.close().catch(() => {});
  }
}

const ABORTED = new Error("aborted");

async function describe(call: CallHandle<unknown>): Promise<CallReport> {
  const outcome = await call.settled;
  try {
    const value = await call.reply;
    const bytes = value instanceof Uint8Array;
    return { outcome, value: bytes ? { bytes: value.length } : value };
  } catch (error) {
    if (!(error instanceof RpcError)) return { outcome, code: "aborted" };
    return { outcome, code: error.code, data: error.data };
  }
}
