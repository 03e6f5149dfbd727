/**
 * What can be set of a connection, and what it tells of itself.
 *
 * @module
 */

import type { ByteChannel } from "../transport/duplex.ts";
import type { ServiceDefinition } from "../serve/services.ts";
import type { ConnectionOptions, Credentials } from "../types/connection.ts";
import type { ConnectionError } from "../base/errors.ts";
import type { ServerResources } from "../serve/server_limits.ts";
import type { AuthorizationGate } from "../serve/authorize.ts";

/** What only the library sets. */
export interface ConnectionSetup extends ConnectionOptions {
  /** What the peer may call. */
  services?: ServiceDefinition | undefined;
  /** What our HELLO shows of us. */
  credentials?: Credentials | undefined;
  /** Makes what decides on the peer; a factory, so that only servers load it. */
  authorization?: ((path: ByteChannel) => AuthorizationGate) | undefined;
  /** What the connections of a server have in common. */
  shared?: ServerResources | undefined;
  /** The peer's HELLO has been read: it serves this connection. */
  onHello?: (() => void) | undefined;
  /** The peer has said goodbye: it takes no calls any more, those it refuses have been settled. */
  onGoaway?: ((reason: ConnectionError) => void) | undefined;
}
