/**
 * A client and a server over a memory pair, and the assertion that nothing is
 * left of a closed connection.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import {
  type Checked,
  Client,
  type ClientOptions,
  type Connection,
  type ErrorInfo,
  memoryPair,
  Server,
  type ServerOptions,
} from "../../mod.ts";

/** What `pair` makes. */
export interface Pair<S extends object> {
  readonly client: Client<S>;
  readonly server: Server<S>;
  /** The connection of the server. */
  readonly connection: Connection;
  /** The arguments of every call of the server's `onError`. */
  readonly errors: { error: unknown; info: ErrorInfo }[];
  /** Closes both sides, and asserts that nothing is left of them. */
  close(): Promise<void>;
}

/** Options of `pair`. */
export interface PairOptions {
  readonly client?: ClientOptions;
  readonly server?: ServerOptions;
  /** How many bytes each direction of the memory pair holds. */
  readonly highWaterMark?: number;
}

/** Connects a client to a server of `services`. */
export function pair<S extends object>(
  services: S,
  options: PairOptions = {},
): Pair<S> {
  const { highWaterMark } = options;
  const [near, far] = memoryPair({ highWaterMark });
  const errors: Pair<S>["errors"] = [];
  // The tests of types check what services may contain, not this helper.
  const server = new Server<S>(services as S & Checked<S>, {
    onError: (error, info) => errors.push({ error, info }),
    ...options.server,
  });
  const connection = server.accept(far);
  const client = new Client<S>(near, options.client);
  const close = async () => {
    await Promise.all([client.close(), server.close()]);
    assertNothingLeft(client.connection);
    assertNothingLeft(connection);
  };
  return { client, server, connection, errors, close };
}

/** Asserts that a connection is closed and holds nothing any more. */
export function assertNothingLeft(connection: Connection): void {
  const { state, queued, waiting, listeners, timers, ...stats } = connection
    .stats();
  const {
    inFlight,
    inFlightBytes,
    receiving: held,
    receivingBytes: heldBytes,
    streams,
    kept,
  } = stats;
  const counts = { inFlight, inFlightBytes, held, heldBytes, streams, kept };
  assertEquals(
    { state, ...counts, queued, waiting, listeners, timers },
    {
      state: "closed",
      inFlight: 0,
      inFlightBytes: 0,
      held: 0,
      heldBytes: 0,
      streams: 0,
      kept: 0,
      queued: 0,
      waiting: 0,
      listeners: 0,
      timers: 0,
    },
  );
}
