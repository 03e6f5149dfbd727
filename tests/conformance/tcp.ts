/**
 * Targets over TCP: a server at an address, or clients that connect to the suite.
 *
 * @module
 */

import { connect, type Duplex, listen, type Listener } from "../../mod.ts";
import type { Case } from "./case.ts";
import { ClientSession, type Role, type Target } from "./session.ts";
import { type CaseResult, CASES, runCase } from "./suite.ts";
import type { Pace } from "./wire.ts";

/** Milliseconds an end may take to answer, and for it to have said all it has to say. */
const PATIENCE = 3000;
const QUIET = 60;

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const realPace: Pace = {
  async within<T>(what: string, promise: Promise<T>, extra = 0): Promise<T> {
    const limit = PATIENCE + extra;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      const report = () => reject(new Error(`${what} came within ${limit} ms`));
      timer = setTimeout(report, limit);
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      clearTimeout(timer);
    }
  },
  quiet: () => sleep(QUIET),
  lapse: sleep,
};

/** A server under test. */
export function serverAt(host: string, port: number): Target {
  const dial = () => connect({ host, port });
  return { role: "server", pace: realPace, dial };
}

/** Clients under test, which connect to us. */
export class ClientsAt implements Target {
  readonly role: Role = "client";
  readonly pace: Pace = realPace;
  /** Where they connect, as `HOST:PORT`. */
  readonly address: string;
  readonly #listener: Listener;
  readonly #accepted: AsyncIterator<Duplex>;
  /** The connection that the next `dial` gives. */
  #next: Promise<Duplex> | undefined;

  private constructor(listener: Listener) {
    this.#listener = listener;
    const { address } = listener;
    this.address = "port" in address ? `${address.host}:${address.port}` : "";
    this.#accepted = listener[Symbol.asyncIterator]();
  }

  static async listen(port: number): Promise<ClientsAt> {
    return new ClientsAt(await listen({ port }));
  }

  /** Waits for the first one, however long it takes. */
  async first(): Promise<void> {
    this.#next = Promise.resolve(await this.#take());
  }

  async dial(): Promise<Duplex> {
    const next = this.#next ?? this.#take();
    this.#next = next;
    const duplex = await next;
    this.#next = undefined;
    return duplex;
  }

  async #take(): Promise<Duplex> {
    const { done, value } = await this.#accepted.next();
    if (done) throw new Error("the listener was closed");
    return value;
  }

  /** After a failed case the client may be anywhere in its script: finds where it asks anew. */
  async resume(): Promise<void> {
    for (let attempt = 0; attempt < 5; attempt++) {
      const session = new ClientSession(this);
      try {
        await session.open();
        await session.exchangeHello();
        return;
      } catch {
        continue;
      } finally {
        await session.end();
      }
    }
  }

  /** Tells the client that there are no further instructions. */
  async close(): Promise<void> {
    const session = new ClientSession(this);
    try {
      await session.open();
      await session.exchangeHello();
      await session.dismiss();
    } finally {
      await session.end();
      await this.#listener.close();
    }
  }
}

/** How many cases came to what. */
export type Tally = Record<CaseResult["result"], number>;

/** Runs all cases of a target's role whose id starts with `only`, one after the other. */
export async function runAll(
  target: Target,
  only: string,
  report: (one: Case, result: CaseResult) => void,
): Promise<Tally> {
  const tally: Tally = { passed: 0, failed: 0, skipped: 0 };
  for (const one of CASES) {
    if (one.role !== target.role || !one.id.startsWith(only)) continue;
    const result = await runCase(one, target);
    tally[result.result]++;
    report(one, result);
    if (result.result === "failed" && target instanceof ClientsAt) {
      await target.resume();
    }
  }
  return tally;
}
