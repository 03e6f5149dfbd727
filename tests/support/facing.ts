/**
 * A real client or server that faces a peer made by hand, and the check that
 * it closed as it should.
 *
 * @module
 */

import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import {
  type Checked,
  Client,
  type ClientOptions,
  type Connection,
  ConnectionError,
  type ErrorCode,
  type ErrorInfo,
  type Frame,
  Server,
  type ServerOptions,
} from "../../mod.ts";
import { TestClock } from "./clock.ts";
import { assertNothingLeft } from "./pair.ts";
import { hello, join, KIND, RawPeer, readCode } from "./raw_peer.ts";

/** One real end and its peer. Time stands still for it. */
export interface Facing {
  readonly peer: RawPeer;
  readonly connection: Connection;
  readonly clock: TestClock;
}

export interface FacingServer extends Facing {
  /** What the server's `onError` was told. */
  readonly errors: { error: unknown; info: ErrorInfo }[];
}

export interface FacingClient extends Facing {
  readonly client: Client<object>;
}

/** A server whose peer is made by hand. */
export function faceServer<S extends object>(
  services: S,
  options: ServerOptions = {},
): FacingServer {
  const peer = new RawPeer();
  const clock = new TestClock();
  const errors: FacingServer["errors"] = [];
  const server = new Server<S>(services as S & Checked<S>, {
    clock,
    onError: (error, info) => errors.push({ error, info }),
    ...options,
  });
  return { peer, clock, errors, connection: server.accept(peer.duplex) };
}

/** A client whose peer is made by hand. */
export function faceClient(options: ClientOptions = {}): FacingClient {
  const peer = new RawPeer();
  const clock = new TestClock();
  const client = new Client<object>(peer.duplex, { clock, ...options });
  return { peer, clock, client, connection: client.connection };
}

/** The HELLO field that names a serializer. */
export function serializerField(name: string): number[] {
  const bytes = new TextEncoder().encode(name);
  return [...join([4, 0, bytes.length], bytes)];
}

/** Sends a HELLO, and passes over the other end's. */
export async function greet(
  { peer }: Pick<Facing, "peer"> & Partial<Facing>,
  fields?: Parameters<typeof hello>[0],
): Promise<void> {
  await peer.send(hello(fields));
  assertEquals((await peer.next())?.kind, KIND.HELLO);
}

/** How a connection was closed. */
export interface Closing {
  readonly reason: ConnectionError;
  /** What the peer heard, up to the FIN; the GOAWAY last. */
  readonly frames: Required<Frame>[];
  /** What the GOAWAY said. */
  readonly text: string;
  /** Its id; undefined if it says that none was served. */
  readonly lastId: number | undefined;
}

/**
 * Asserts that the end tells its peer `code` with a GOAWAY, sends FIN, and is
 * then over, for the same reason and with nothing left.
 */
export async function assertCloses(
  { peer, connection }: Facing,
  code: ErrorCode,
): Promise<Closing> {
  const frames = await peer.rest();
  const goaways = frames.filter(({ kind }) => kind === KIND.GOAWAY);
  assertEquals(goaways.length, 1);
  const goaway = goaways[0];
  assert(frames.at(-1) === goaway, "nothing is sent behind the GOAWAY");
  const said = readCode(goaway);
  assertEquals(said.code, code, said.text);
  const reason = await assertOver({ peer, connection }, code);
  assertEquals(reason.message, said.text);
  const lastId = goaway.flags === 1 ? undefined : goaway.id;
  return { reason, frames, text: said.text, lastId };
}

/** Ends the peer's half, and asserts that the connection is over, with nothing left. */
export async function assertOver(
  { peer, connection }: Pick<Facing, "peer" | "connection">,
  code: ErrorCode,
): Promise<ConnectionError> {
  await peer.end();
  const reason = await connection.closed;
  assertInstanceOf(reason, ConnectionError);
  assertEquals(reason.code, code, reason.message);
  assertNothingLeft(connection);
  return reason;
}

/** Lets the peer go without a word, and asserts that nothing is left of the connection. */
export async function assertLost({ peer, connection }: Facing): Promise<void> {
  await peer.end();
  await peer.rest();
  assertEquals((await connection.closed)?.code, "unavailable");
  assertNothingLeft(connection);
}
