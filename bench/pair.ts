/**
 * Runs a server and its client, each in a process of its own.
 *
 * @module
 */

import type { Program } from "./demo/child.ts";
import type { Result, ResultOrFault } from "./rows.ts";

/** The message of a server that listens. */
export interface Listening {
  readonly host?: string;
  readonly port: number;
}

/**
 * Starts a server, then its client, and resolves with the first result that
 * `read` finds in the messages of the client.
 *
 * @throws {Error} What `read` throws, or if either process exits early.
 */
export async function runPair<T = ResultOrFault>(
  startServer: () => Program<Listening>,
  startClient: (server: Listening) => Program<T>,
  read: (message: T) => Result | undefined = toResult as typeof read,
): Promise<Result> {
  return await using(startServer(), async (server) => {
    const listening = await first(server, (message) => message);
    return await using(
      startClient(listening),
      (client) => first(client, read),
    );
  });
}

function toResult(message: ResultOrFault): Result {
  if ("fault" in message) throw new Error(message.fault);
  return message;
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

/** The first message of which `read` makes a result. */
async function first<T, R>(
  program: Program<T>,
  read: (message: T) => R | undefined,
): Promise<R> {
  let found: R | undefined;
  await program.listen((message) => {
    found ??= read(message); // Later messages do not matter.
    return found !== undefined;
  });
  return found!;
}
