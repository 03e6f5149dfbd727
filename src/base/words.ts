/**
 * What of an error can be told to the peer.
 *
 * @module
 */

import { RpcError } from "./errors.ts";

/**
 * An RpcError in words that can be sent; undefined for anything else. One that
 * has a `method` is of a call that this end has made: what another service
 * says to this one, or why it was not reached, is not for this one's callers.
 * What was thrown may throw again on being looked at.
 */
export function ownWords(error: unknown): RpcError | undefined {
  try {
    if (!(error instanceof RpcError)) return undefined;
    const { code, message, data, method } = error;
    if (method !== undefined) return undefined;
    return new RpcError(`${code}`, `${message}`, { data });
  } catch {
    return undefined;
  }
}
