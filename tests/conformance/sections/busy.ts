/** Keeping a server's handlers busy, so that further calls wait. */

import { frame, KIND } from "../bytes.ts";
import type { ServerSession } from "../session.ts";

/** Makes as many calls as handlers may run, which end when they are cancelled. Returns their ids. */
export async function fillRunning(s: ServerSession): Promise<number[]> {
  const limit = await s.running();
  const ids: number[] = [];
  while (ids.length < limit) ids.push(await s.go("Conformance.wait", "busy"));
  // No call can check that they have started, because it would wait for them.
  await s.silence();
  return ids;
}

/** Cancels these calls. */
export async function empty(
  s: ServerSession,
  ids: readonly number[],
): Promise<void> {
  await s.send(...ids.map((id) => frame(KIND.CANCEL, id)));
  for (const _ of ids) await s.answer();
}
