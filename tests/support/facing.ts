/**
 * A real client or server whose peer is a {@linkcode RawPeer}, and assertions on
 * how its connection closes.
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

/** One real side and its raw peer. Its clock moves only when the test moves it. */
export interface Facing {
  readonly peer: RawPeer;
  readonly connection: Connection;
  readonly clock: TestClock;
}

export interface FacingServer extends Facing {
  /** The arguments of every call of `onError`. */
  readonly errors: { error: unknown; info: ErrorInfo }[];
}

export interface FacingClient extends Facing {
  readonly client: Client<object>;
}

/** Makes a server with a raw peer. */
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

/** Makes a client with a raw peer. */
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

/** Sends a HELLO, and reads the HELLO of the real side. */
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
  /** The frames that the peer received before the FIN; the GOAWAY is the last. */
  readonly frames: Required<Frame>[];
  /** The text of the GOAWAY. */
  readonly text: string;
  /** The last id of the GOAWAY; undefined if it says that no call was served. */
  readonly lastId: number | undefined;
}

/**
 * Asserts that the real side sends a GOAWAY with `code` and then FIN, and that its
 * connection then closes for the same reason with nothing left.
 */
export async function assertCloses(
  { peer, connection }: Facing,
  code: ErrorCode,
): Promise<Closing> {
  const frames = await peer.rest();
  const goaways = frames.filter(({ kind }) => kind === KIND.GOAWAY);
  assertEquals(goaways.length, 1);
  const goaway = goaways[0];
  assert(frames.at(-1) === goaway, "a frame was sent after the GOAWAY");
  const said = readCode(goaway);
  assertEquals(said.code, code, said.text);
  const reason = await assertOver({ peer, connection }, code);
  assertEquals(reason.message, said.text);
  const lastId = goaway.flags === 1 ? undefined : goaway.id;
  return { reason, frames, text: said.text, lastId };
}

/** Ends the peer's direction, and asserts that the connection closes with nothing left. */
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

/** Ends the peer's direction without a GOAWAY, and asserts that nothing is left of the connection. */
export async function assertLost({ peer, connection }: Facing): Promise<void> {
  await peer.end();
  await peer.rest();
  assertEquals((await connection.closed)?.code, "unavailable");
  assertNothingLeft(connection);
}
