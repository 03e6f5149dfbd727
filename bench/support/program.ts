/**
 * A measurement in a process of its own: the side that asks, and the side that
 * measures. The order goes as the program's only argument, the answer comes
 * back as a line of JSON.
 *
 * @module
 */

import process from "node:process";
import { Child } from "../demo/child.ts";
import { parentDone, tell } from "../demo/parent.ts";
import type { Runtime } from "../demo/runtimes.ts";

/** What a measuring program tells. */
type Answer<Result> =
  | { readonly result: Result }
  | { readonly fault: string };

/**
 * Runs a measuring program, and returns what it found.
 *
 * @param file Its address: `import.meta.resolve("./it.ts")`.
 * @throws {Error} If it failed, or ended without an answer.
 */
export async function measure<Order, Result>(
  runtime: Runtime,
  file: string,
  order: Order,
): Promise<Result> {
  const child = new Child<Answer<Result>>(runtime, file, JSON.stringify(order));
  try {
    let result: Result | undefined;
    await child.listen((answer) => {
      if ("fault" in answer) throw new Error(answer.fault);
      result = answer.result;
      return true;
    });
    return result!;
  } finally {
    await child.stop();
  }
}

/** The body of a measuring program: answers its order, and waits to be let go. */
export async function program<Order, Result>(
  run: (order: Order) => Promise<Result>,
): Promise<void> {
  parentDone().then(() => process.exit());
  try {
    const result = await run(JSON.parse(process.argv[2]));
    tell({ result } satisfies Answer<Result>);
  } catch (error) {
    const fault = error instanceof Error ? error.stack ?? error.message : error;
    tell({ fault: String(fault) } satisfies Answer<Result>);
  }
}
