/**
 * The library's bulk client, in a process of its own: it sends payloads of 64 KiB
 * to the echo service, as the window allows.
 *
 * @module
 */

import process from "node:process";
import { Client, connect, type EchoServices } from "../../mod.ts";
import { parentDone, sendToParent } from "../demo/parent.ts";
import { cpuSeconds, Peak } from "../demo/usage.ts";
import { CHUNK, type Result, type ResultOrFault } from "../rows.ts";

/** The options of the client: its only argument, as JSON. */
export interface BulkOrder {
  readonly calls: number;
  readonly host: string;
  readonly port: number;
}

/** The byte of which every payload consists. */
const FILL = 7;

async function run({ calls, host, port }: BulkOrder): Promise<Result> {
  const peak = new Peak();
  const client = new Client<EchoServices>(await connect({ host, port }));
  const cpu = cpuSeconds();
  const began = performance.now();
  await echoAll(client, calls);
  const seconds = (performance.now() - began) / 1000;
  const used = cpuSeconds() - cpu;
  await client.close();
  return { calls, seconds, cpu: used, peak: peak.megabytes() };
}

async function echoAll(
  client: Client<EchoServices>,
  calls: number,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let missing = calls;
  const check = (reply: unknown) => {
    if (!isRight(reply)) reject(new Error("a payload came back changed"));
    else if (--missing === 0) resolve();
  };
  // Transferred, not copied: no code changes it.
  const payload = new Uint8Array(CHUNK).fill(FILL);
  for (let i = 0; i < calls; i++) {
    await client.ready;
    client.call("Echo.echo", payload, { transfer: true }).then(check, reject);
  }
  await promise;
}

/** Checks its length, first and last byte. Checking every byte would be measured, too. */
function isRight(reply: unknown): boolean {
  return reply instanceof Uint8Array && reply.length === CHUNK &&
    reply[0] === FILL && reply[CHUNK - 1] === FILL;
}

if (import.meta.main) {
  parentDone().then(() => process.exit());
  try {
    sendToParent(
      await run(JSON.parse(process.argv[2])) satisfies ResultOrFault,
    );
  } catch (error) {
    const fault = error instanceof Error ? error.message : String(error);
    sendToParent({ fault } satisfies ResultOrFault);
  }
}
