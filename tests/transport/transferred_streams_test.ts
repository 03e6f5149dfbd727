// Streams that are transferred to another thread, and serve there as a duplex.

import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { Worker as Thread } from "node:worker_threads";
import { Client } from "../../mod.ts";
import { assertNothingLeft } from "../support/pair.ts";
import type { WorkerServices } from "../support/scripts/port_services.ts";
import { SCRIPTS, SLOW_START, useEverything } from "../support/workers.ts";

/** Node and Deno transfer streams, as Chromium does. */
const options = {
  skip: "Bun" in globalThis && "Bun 1.4 cannot transfer streams",
};

/** A client of a thread to which two streams were transferred. */
function startThread() {
  const thread = new Thread(new URL("streams_thread.ts", SCRIPTS));
  const ended = new Promise((resolve) => thread.once("message", resolve));
  const toThread = new TransformStream<Uint8Array, Uint8Array>();
  const fromThread = new TransformStream<Uint8Array, Uint8Array>();
  const { readable } = toThread;
  const { writable } = fromThread;
  // The types of Node and Deno know of no transferable streams.
  const transfer = [readable, writable] as unknown as ArrayBuffer[];
  thread.postMessage({ readable, writable }, transfer);
  const client = new Client<WorkerServices>({
    readable: fromThread.readable,
    writable: toThread.writable,
  }, SLOW_START);
  return { thread, ended, client };
}

test(
  "a duplex of transferred streams carries calls, streams, aborts and the end",
  options,
  async () => {
    const { thread, ended, client } = startThread();
    await useEverything(client);
    await client.close();
    assertEquals(await client.closed, undefined);
    assertEquals(await ended, "closed");
    assertNothingLeft(client.connection);
    await thread.terminate();
  },
);

test(
  "an abort reaches the other thread through transferred streams",
  options,
  async () => {
    const { thread, ended, client } = startThread();
    assertEquals(await client.call("Math.square", 3), 9);
    await client.connection.abort();
    assertEquals(await ended, "unavailable");
    assertNothingLeft(client.connection);
    await thread.terminate();
  },
);
