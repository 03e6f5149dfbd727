/**
 * Measures the memory that very many streams hold at their reading side.
 *
 * @module
 */

import { CHUNK } from "../rows.ts";
import { program } from "../support/program.ts";
import { expect, withServer } from "./peer.ts";
import { chunks, type Most } from "./services.ts";

/** Number of streams, and of the chunks of each. */
export interface ManyOrder {
  readonly streams: number;
  readonly chunks: number;
}

/** The most that the server held, and its memory before. */
export interface ManyResult extends Most {
  readonly before: number;
}

function run(order: ManyOrder): Promise<ManyResult> {
  return withServer(async (client) => {
    await client.call("Streams.watch");
    const { resident: before } = await client.call("Streams.most");
    const sizes = await Promise.all(
      Array.from(
        { length: order.streams },
        () => client.call("Streams.count", chunks(order.chunks)),
      ),
    );
    for (const size of sizes) expect("bytes", size, order.chunks * CHUNK);
    return { ...await client.call("Streams.most"), before };
  });
}

if (import.meta.main) await program(run);
