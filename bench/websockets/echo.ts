/**
 * Echoes payloads of 64 KiB over the library, in a process of its own, with as many
 * in flight as the limit of a bare WebSocket has. As there, all of them are the
 * same bytes, which are not copied for each.
 *
 * @module
 */

import { Client, connect, type EchoServices } from "../../mod.ts";
import { IN_FLIGHT } from "../limit/styles.ts";
import { CHUNK } from "../rows.ts";
import { program } from "../support/program.ts";

/** The options of the client. */
export interface EchoOrder {
  readonly url: string;
  readonly calls: number;
}

/** The result. */
export interface EchoResult {
  readonly calls: number;
  readonly seconds: number;
}

/** The byte of which every payload consists. */
const FILL = 7;

/** Checks its length, first and last byte. Checking every byte would be measured, too. */
function check(reply: unknown): void {
  const right = reply instanceof Uint8Array && reply.length === CHUNK &&
    reply[0] === FILL && reply[CHUNK - 1] === FILL;
  if (!right) throw new Error("a payload came back changed");
}

async function echo(client: Client<EchoServices>, calls: number) {
  const payload = new Uint8Array(CHUNK).fill(FILL);
  let left = calls;
  const task = async () => {
    while (left-- > 0) {
      check(await client.call("Echo.echo", payload, { transfer: true }));
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, task));
}

async function run({ url, calls }: EchoOrder): Promise<EchoResult> {
  const client = new Client<EchoServices>(await connect(url));
  await echo(client, calls >> 2); // Only warms up.
  const began = performance.now();
  await echo(client, calls);
  const seconds = (performance.now() - began) / 1000;
  await client.close();
  return { calls, seconds };
}

if (import.meta.main) await program(run);
