/**
 * Starts the server of the stream benchmarks, and a client of it.
 *
 * @module
 */

import { Client, connect } from "../../mod.ts";
import { Child } from "../demo/child.ts";
import { OWN } from "../demo/runtimes.ts";
import type { StreamsServer } from "./server.ts";
import type { StreamServices } from "./services.ts";

/** A client of {@linkcode StreamServices}. */
export type StreamClient = Client<StreamServices>;

/** Runs `work` with a client of a new server. `bytes` is the number of bytes for which its plain socket waits. */
export async function withServer<Result>(
  work: (client: StreamClient, plain: number) => Promise<Result>,
  bytes = 0,
): Promise<Result> {
  const file = import.meta.resolve("./server.ts");
  const child = new Child<StreamsServer>(OWN, file, `${bytes}`);
  try {
    let address: StreamsServer;
    await child.listen((message) => (address = message) !== undefined);
    const { host, port, plain } = address!;
    const client: StreamClient = new Client<StreamServices>(
      await connect({ host, port }),
    );
    const result = await work(client, plain);
    await client.close();
    return result;
  } finally {
    await child.stop();
  }
}

/** Seconds that `work` takes. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

/** @throws {Error} If the number is not the expected one. */
export function expect(what: string, got: number, wanted: number): void {
  if (got !== wanted) throw new Error(`${what}: ${got}, not ${wanted}`);
}
