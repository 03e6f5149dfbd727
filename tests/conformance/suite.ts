/**
 * All cases, and how one is run.
 *
 * @module
 */

import type { Case } from "./case.ts";
import { calls } from "./sections/calls.ts";
import { dependents } from "./sections/dependent_calls.ts";
import { cancels } from "./sections/cancel.ts";
import { endings, faults } from "./sections/ending.ts";
import { fragments } from "./sections/fragments.ts";
import { frames } from "./sections/frames.ts";
import { goaways } from "./sections/goaway.ts";
import { hellos } from "./sections/hello.ts";
import { ids } from "./sections/ids.ts";
import { contents } from "./sections/payloads.ts";
import { streams } from "./sections/streams.ts";
import { clientStreams } from "./sections/streams_client.ts";
import { deadlines, pings } from "./sections/time.ts";
import { windows } from "./sections/window.ts";
import { Skipped, type Target } from "./session.ts";

/** Every case, in the order of docs/protocol.md. */
export const CASES: readonly Case[] = [
  ...frames,
  ...hellos,
  ...ids,
  ...calls,
  ...dependents,
  ...fragments,
  ...contents,
  ...windows,
  ...cancels,
  ...deadlines,
  ...pings,
  ...goaways,
  ...streams,
  ...clientStreams,
  ...endings,
  ...faults,
];

const AUTHORIZATION =
  "binds an end that does not let everybody in; the suite knows nobody's secret";

/** Requirements without a case, and the reason. */
export const WITHOUT_CASE: Readonly<Record<string, string>> = {
  DC12: "cannot be seen from outside; see tests/serve/kept_results_test.ts",
  HE15: `${AUTHORIZATION}; see tests/serve/authorize_test.ts`,
  HE16: `${AUTHORIZATION}; see tests/serve/authorize_test.ts`,
  HE17: `${AUTHORIZATION}; see tests/serve/authorize_test.ts`,
  GA6:
    "takes a client whose ids can be made to jump; see tests/call/call_table_test.ts",
  FG7: "is about memory; see tests/connection/fragments_test.ts",
  LA4:
    "binds an end that cannot half-close; see tests/connection/no_half_close_test.ts",
  PL5:
    "takes a script in JSON that every language reads the same; see tests/wire/payload_test.ts",
  SL1: "takes an end with a serializer; see tests/wire/serializers_test.ts",
  SL2: "takes an end with a serializer; see tests/wire/serializers_test.ts",
  TR2:
    "takes a handler with large trailers; see tests/streams/trailers_test.ts",
  ST16:
    "allows a receiver something; see tests/connection/hostile_idle_test.ts",
  PP3: "binds an end that judges by silence; nothing of it can be seen",
};

/** The result of a case. */
export interface CaseResult {
  readonly result: "passed" | "failed" | "skipped";
  /** Why it failed or was skipped. */
  readonly why: string;
}

/** Runs one case; never rejects. */
export async function runCase(one: Case, target: Target): Promise<CaseResult> {
  try {
    await one.run(target);
    return { result: "passed", why: "" };
  } catch (error) {
    const result = error instanceof Skipped ? "skipped" : "failed";
    return { result, why: (error as Error).message };
  }
}
