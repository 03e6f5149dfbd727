/**
 * Measures bytes as a stream, in each direction, and over a plain socket, in turns.
 *
 * @module
 */

import { connectPlain, type Plain } from "../limit/plain.ts";
import { CHUNK } from "../rows.ts";
import { program } from "../support/program.ts";
import { median } from "../support/stats.ts";
import { expect, type StreamClient, timed, withServer } from "./peer.ts";
import { chunks, count } from "./services.ts";

/** Chunks of each in a round. */
export interface BytesOrder {
  readonly chunks: number;
  readonly rounds: number;
}

/** MB a second. */
export interface BytesResult {
  readonly plain: number;
  readonly up: number;
  readonly down: number;
}

/** Writes chunks to a plain socket, and waits until the server has read them. */
async function plain(port: number, most: number): Promise<void> {
  const taken = Promise.withResolvers<void>();
  let socket!: Plain;
  await connectPlain(port, (made) => {
    socket = made;
    return { data: () => taken.resolve() };
  });
  const chunk = new Uint8Array(CHUNK).fill(7);
  for (let i = 0; i < most; i++) {
    const busy = socket.write(chunk);
    if (busy !== undefined) await busy;
  }
  await taken.promise;
}

async function up(client: StreamClient, most: number): Promise<void> {
  const size = await client.call("Streams.count", chunks(most));
  expect("bytes up", size, most * CHUNK);
}

async function down(client: StreamClient, most: number): Promise<void> {
  const size = await count(await client.call("Streams.chunks", most));
  expect("bytes down", size, most * CHUNK);
}

function run({ chunks, rounds }: BytesOrder): Promise<BytesResult> {
  return withServer(async (client, port) => {
    const ways = {
      plain: () => plain(port, chunks),
      up: () => up(client, chunks),
      down: () => down(client, chunks),
    };
    const times = { plain: [], up: [], down: [] } as Record<
      keyof BytesResult,
      number[]
    >;
    for (let i = 0; i <= rounds; i++) {
      for (const way of ["plain", "up", "down"] as const) {
        const seconds = await timed(ways[way]);
        if (i > 0) times[way].push(seconds);
      }
    }
    const rate = (way: keyof BytesResult) =>
      chunks * CHUNK / median(times[way]) / 1e6;
    return { plain: rate("plain"), up: rate("up"), down: rate("down") };
  }, chunks * CHUNK);
}

if (import.meta.main) await program(run);
