/**
 * Clients of the scripts that serve in a thread or a web worker.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import type { Client } from "../../mod.ts";
import type { WorkerServices } from "./scripts/port_services.ts";

export const SCRIPTS: URL = new URL("./scripts/", import.meta.url);

/** `deno test` checks the types of a worker's modules before it starts it, which may take longer than the default. */
export const SLOW_START = { handshakeTimeout: 55_000 };

/** Calls of every kind to the services of a worker. */
export async function useEverything(
  client: Client<WorkerServices>,
): Promise<void> {
  assertEquals(await client.call("Math.square", 3), 9);
  const calls = Array.from(
    { length: 10_000 },
    (_, n) => client.call("Math.square", n),
  );
  assertEquals(await Promise.all(calls), calls.map((_, n) => n * n));

  const numbers = async function* () {
    for (let n = 1; n <= 1000; n++) yield n;
  };
  assertEquals(await client.call("Stream.sum", numbers()), 500_500);
  const counted = await Array.fromAsync(
    await client.call("Stream.count", 1000),
  );
  assertEquals(counted.length, 1000);
  const doubled = await Array.fromAsync(
    await client.call("Stream.double", numbers()),
  );
  assertEquals(doubled, counted.map((n) => 2 * n));
  let bytes = 0;
  for await (const chunk of await client.call("Stream.bytes", 50)) {
    bytes += chunk.length;
  }
  assertEquals(bytes, 5_000_000);

  const reason = new Error("enough");
  const abort = new AbortController();
  const hanging = client.call("hang", undefined, { signal: abort.signal });
  await client.connection.ping();
  abort.abort(reason);
  assertEquals(await hanging.catch((error) => error), reason);
  assertEquals(await client.call("aborted"), 1);
}
