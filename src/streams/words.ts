/**
 * What of an error can be told to the peer.
 *
 * @module
 */

import { RpcError } from "../errors.ts";

/** An RpcError in words that can be sent; undefined for anything else. What was thrown may throw again on being looked at. */
export function ownWords(error: unknown): RpcError | undefined {
  try {
    if (!(error instanceof RpcError)) return undefined;
    const { code, message, data } = error;
    return new RpcError(`${code}`, `${message}`, { data });
  } catch {
    return undefined;
  }
}
