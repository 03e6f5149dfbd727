/**
 * A measurement in a process of its own: the side that starts it, and the side
 * that measures. The options are the program's only argument; the result comes
 * back as a line of JSON.
 *
 * @module
 */

import process from "node:process";
import { Child } from "../demo/child.ts";
import { parentDone, sendToParent } from "../demo/parent.ts";
import type { Runtime } from "../demo/runtimes.ts";

/** The message of a measuring program. */
type Answer<Result> =
  | { readonly result: Result }
  | { readonly fault: string };

/**
 * Runs a measuring program, and returns its result.
 *
 * @param file Its URL: `import.meta.resolve("./program.ts")`.
 * @throws {Error} If it failed, or exited without a result.
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

/** The body of a measuring program: measures, sends the result, and waits until the parent ends it. */
export async function program<Order, Result>(
  run: (order: Order) => Promise<Result>,
): Promise<void> {
  parentDone().then(() => process.exit());
  try {
    const result = await run(JSON.parse(process.argv[2]));
    sendToParent({ result } satisfies Answer<Result>);
  } catch (error) {
    const fault = error instanceof Error ? error.stack ?? error.message : error;
    sendToParent({ fault: String(fault) } satisfies Answer<Result>);
  }
}
