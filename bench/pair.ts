/**
 * A server and a client of it, each in a process of its own.
 *
 * @module
 */

import type { Program } from "./demo/child.ts";
import type { Result, Told } from "./rows.ts";

/** What a server tells once it listens. */
export interface Listening {
  readonly host?: string;
  readonly port: number;
}

/**
 * Starts a server, then its client, and resolves with the first result that
 * `read` finds in what the client tells.
 *
 * @throws {Error} What `read` throws, or if either end ends early.
 */
export async function runPair<T = Told>(
  startServer: () => Program<Listening>,
  startClient: (server: Listening) => Program<T>,
  read: (told: T) => Result | undefined = toResult as typeof read,
): Promise<Result> {
  return await using(startServer(), async (server) => {
    const listening = await first(server, (told) => told);
    return await using(
      startClient(listening),
      (client) => first(client, read),
    );
  });
}

function toResult(told: Told): Result {
  if ("fault" in told) throw new Error(told.fault);
  return told;
}

async function using<T, R>(
  program: Program<T>,
  work: (program: Program<T>) => Promise<R>,
): Promise<R> {
  try {
    return await work(program);
  } finally {
    await program.stop();
  }
}

/** The first thing told that `read` makes something of. */
async function first<T, R>(
  program: Program<T>,
  read: (told: T) => R | undefined,
): Promise<R> {
  let found: R | undefined;
  await program.listen((told) => {
    found ??= read(told); // What comes behind it is of no interest.
    return found !== undefined;
  });
  return found!;
}
