/** Keeping a server's handlers busy, so that further calls wait. */

import { frame, KIND } from "../bytes.ts";
import type { ServerSession } from "../session.ts";

/** Fills every place where a handler may run with calls that end when cancelled; gives their ids. */
export async function fillRunning(s: ServerSession): Promise<number[]> {
  const limit = await s.running();
  const ids: number[] = [];
  while (ids.length < limit) ids.push(await s.go("Conformance.wait", "busy"));
  // No call can ask whether they have started: it would wait behind them.
  await s.silence();
  return ids;
}

/** Ends them again. */
export async function empty(
  s: ServerSession,
  ids: readonly number[],
): Promise<void> {
  await s.send(...ids.map((id) => frame(KIND.CANCEL, id)));
  for (const _ of ids) await s.answer();
}
