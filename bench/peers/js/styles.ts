/**
 * The demo's three styles, for any peer.
 *
 * @module
 */

import type { Tally } from "../../demo/styles.ts";
import type { Caller } from "./peer.ts";

/** The options of a style. */
export interface PeerWork {
  readonly calls: number;
  /** Tasks of the concurrent style. */
  readonly tasks: number;
  /** Seconds after which the sync style stops. */
  readonly seconds: number;
}

/** The name of a style. */
export type CallStyle = "sync" | "concurrent" | "pipeline";

/** Makes the calls, and compares every reply. */
type Style = (
  caller: Caller,
  work: PeerWork,
  tally: Tally,
  window: number,
) => Promise<void>;

const sync: Style = async (caller, { calls, seconds }, tally) => {
  let late = false;
  const timer = setTimeout(() => late = true, seconds * 1000);
  for (let i = 0; i < calls && !late; i++) {
    tally.check(i, await caller.call("client " + i));
  }
  clearTimeout(timer);
};

const concurrent: Style = async (caller, { calls, tasks }, tally) => {
  let next = 0;
  const task = async () => {
    while (next < calls) {
      const i = next++;
      tally.check(i, await caller.call("client " + i));
    }
  };
  await Promise.all(Array.from({ length: Math.min(tasks, calls) }, task));
};

const pipeline: Style = async (caller, { calls }, tally, window) => {
  let room: PromiseWithResolvers<void> | undefined;
  for (let i = 0; i < calls; i++) {
    if (i - tally.done >= window) {
      room = Promise.withResolvers();
      await room.promise;
    }
    caller.call("client " + i).then((reply) => {
      tally.check(i, reply);
      if (room === undefined) return;
      room.resolve();
      room = undefined;
    }, tally.fail);
  }
  await tally.finished;
};

/** The styles by name. */
export const PEER_STYLES: Record<CallStyle, Style> = {
  sync,
  concurrent,
  pipeline,
};
