/**
 * What a codec is told of its connection: what our HELLO says, and what we
 * hold ourselves to.
 *
 * Invariant owned here: who serves nothing grants no call.
 *
 * @module
 */

import type { CodecSettings } from "../wire/codec.ts";
import type { ConnectionSetup } from "./contract.ts";
import { toCredentials } from "../serve/credentials.ts";
import type { Limits } from "../wire/limits.ts";
import type { Registry } from "../serve/method_table.ts";

/**
 * Reads them off what a connection is made with.
 *
 * @throws {RangeError} If the credentials are too long.
 */
export function codecSettings(
  setup: ConnectionSetup,
  limits: Limits,
  registry: Registry,
  stray: CodecSettings["stray"],
): CodecSettings {
  const { services, serializer, verdict } = setup;
  const { maxMessage, windowCalls, windowBytes } = limits;
  const own = { maxMessage, windowCalls, windowBytes };
  const credentials = setup.credentials === undefined
    ? undefined
    : toCredentials(setup.credentials);
  return {
    hello: {
      ...own,
      windowCalls: registry.size === 0 ? 0 : windowCalls,
      credentials,
      streams: { credit: limits.streamCredit, max: limits.maxStreams },
    },
    own,
    guarded: verdict !== undefined,
    registry: services && registry,
    serializer,
    stray,
  };
}
