/**
 * Measures the cost of aborting very many calls in flight, on one shared signal, or
 * on one signal for each.
 *
 * In the same process it measures the same without the library: rejecting as many
 * promises, and aborting as many signals with one listener each. All times end
 * when every reaction has run.
 *
 * @module
 */

import process from "node:process";
import { Client, type EchoServices } from "../../mod.ts";
import { program } from "../support/program.ts";
import { ScriptedPeer } from "../support/scripted_peer.ts";
import { median } from "../support/stats.ts";

/** Number of calls and of rounds. */
export interface AbortOrder {
  readonly calls: number;
  readonly rounds: number;
}

/** Microseconds a call. */
export interface AbortResult {
  /** All calls aborted by one signal. */
  readonly shared: number;
  /** Each call aborted by its own. */
  readonly own: number;
  /** As many promises rejected. */
  readonly rejecting: number;
  /** As many signals aborted, one listener each. */
  readonly aborting: number;
}

/** What is aborted, and a promise of its end. */
interface Aborted {
  abort(): void;
  finished(): Promise<void>;
}

async function time(calls: number, { abort, finished }: Aborted) {
  const began = process.hrtime.bigint();
  abort();
  await finished();
  return Number(process.hrtime.bigint() - began) / 1000 / calls;
}

/** Calls in flight with these signals. */
async function inFlight(
  calls: number,
  signal: (i: number) => AbortSignal,
): Promise<{ peer: ScriptedPeer; rejected: Promise<unknown>[] }> {
  const peer = new ScriptedPeer();
  const client = new Client<EchoServices>(peer.duplex);
  const rejected: Promise<unknown>[] = [];
  for (let i = 0; i < calls; i++) {
    if (i % 4096 === 0) await new Promise((resolve) => setTimeout(resolve));
    const options = { signal: signal(i) };
    const call = client.call("HelloService.Hello", "client " + i, options);
    rejected.push(call.then(answered, caught));
  }
  await peer.received(calls);
  return { peer, rejected };
}

async function shared(calls: number): Promise<Aborted> {
  const controller = new AbortController();
  const { peer, rejected } = await inFlight(calls, () => controller.signal);
  return {
    abort: () => controller.abort(),
    finished: () => over(peer, calls, rejected),
  };
}

async function own(calls: number): Promise<Aborted> {
  const controllers = makeControllers(calls);
  const { peer, rejected } = await inFlight(
    calls,
    (i) => controllers[i].signal,
  );
  return {
    abort: () => {
      for (const controller of controllers) controller.abort();
    },
    finished: () => over(peer, calls, rejected),
  };
}

/** Resolves when every call has rejected and every CANCEL is sent. */
async function over(
  peer: ScriptedPeer,
  calls: number,
  rejected: Promise<unknown>[],
): Promise<void> {
  await rejected[calls - 1];
  await peer.received(2 * calls);
}

function rejecting(calls: number): Aborted {
  const reason = new DOMException("The call was aborted", "AbortError");
  const all = Array.from(
    { length: calls },
    () => Promise.withResolvers<void>(),
  );
  const rejected = all.map(({ promise }) => promise.then(answered, caught));
  return {
    abort: () => {
      for (const { reject } of all) reject(reason);
    },
    finished: async () => void await rejected[calls - 1],
  };
}

function aborting(calls: number): Aborted {
  const controllers = makeControllers(calls);
  let heard = 0;
  for (const { signal } of controllers) {
    signal.addEventListener("abort", () => heard++);
  }
  return {
    abort: () => {
      for (const controller of controllers) controller.abort();
    },
    finished: () =>
      heard === calls
        ? Promise.resolve()
        : Promise.reject(new Error("a listener was not called")),
  };
}

function makeControllers(count: number): AbortController[] {
  return Array.from({ length: count }, () => new AbortController());
}

function answered(): void {
  throw new Error("an aborted call got a reply");
}

function caught(): void {}

async function run({ calls, rounds }: AbortOrder): Promise<AbortResult> {
  const times = { shared: [], own: [], rejecting: [], aborting: [] } as Record<
    keyof AbortResult,
    number[]
  >;
  const cases = { shared, own, rejecting, aborting };
  for (let i = 0; i <= rounds; i++) {
    for (const name of Object.keys(cases) as (keyof AbortResult)[]) {
      const us = await time(calls, await cases[name](calls));
      if (i > 0) times[name].push(us); // The first round only warms up.
    }
  }
  return {
    shared: median(times.shared),
    own: median(times.own),
    rejecting: median(times.rejecting),
    aborting: median(times.aborting),
  };
}

if (import.meta.main) await program(run);
