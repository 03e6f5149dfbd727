/** How calls gather into few chunks, and what a loop of calls looks at to keep to the window. */

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { type Client, type EchoServices, echoServices } from "../../mod.ts";
import { turn } from "../support/clock.ts";
import { pair } from "../support/pair.ts";
import { Held } from "../support/services.ts";

const CALLS = 10_000;

/** Chunks written by the client and by the server while `loop` makes its calls. */
async function chunks(
  loop: (client: Client<EchoServices>) => Promise<unknown>,
): Promise<[number, number]> {
  const { client, connection, close } = pair(echoServices());
  await client.call("HelloService.Hello", "x");
  await turn();
  const out = client.stats().chunksWritten;
  const back = connection.stats().chunksWritten;
  await loop(client);
  const result: [number, number] = [
    client.stats().chunksWritten - out,
    connection.stats().chunksWritten - back,
  ];
  await close();
  return result;
}

/** Makes all calls, looking at the window as `room` does. */
const loop =
  (room: (client: Client<EchoServices>) => Promise<void> | undefined) =>
  async (client: Client<EchoServices>): Promise<void> => {
    const replies: Promise<string>[] = [];
    for (let i = 0; i < CALLS; i++) {
      const wait = room(client);
      if (wait !== undefined) await wait;
      replies.push(client.call("HelloService.Hello", `client ${i}`));
    }
    assertEquals((await Promise.all(replies))[CALLS - 1], "hello:client 9999");
  };

const STYLES: Record<
  string,
  [number, (client: Client<EchoServices>) => Promise<unknown>]
> = {
  "a loop that waits for nothing": [40, loop(() => undefined)],
  "a loop that looks at desiredSize": [
    40,
    loop((client) => client.desiredSize <= 0 ? client.ready : undefined),
  ],
  // Nothing here ever leaves the microtasks by itself: few calls gather at first.
  "a loop that awaits ready each time": [100, loop((client) => client.ready)],
  "64 tasks that each wait": [400, (client) => {
    let made = 0;
    return Promise.all(Array.from({ length: 64 }, async () => {
      while (made++ < CALLS) await client.call("HelloService.Hello", "x");
    }));
  }],
};

for (const [name, [most, style]] of Object.entries(STYLES)) {
  test(`${CALLS} calls from ${name} leave in at most ${most} chunks`, async () => {
    const [out, back] = await chunks(style);
    assert(out <= most && back <= most, `${out} and ${back} chunks`);
  });
}

test("desiredSize counts down to 0 and below, and up again with the answers", async () => {
  const held = new Held();
  const { client, close } = pair(held.services, { server: { windowCalls: 4 } });
  await client.call("Held.echo");
  assertEquals(client.desiredSize, 4);
  for (let i = 0; i < 4; i++) client.go("Held.work", i);
  assertEquals(client.desiredSize, 0);
  client.go("Held.work", 4);
  assertEquals(client.desiredSize, -1);
  const ready = client.ready;
  while (held.calls.length < 4) await turn();
  held.calls[0].resolve();
  while (held.calls.length < 5) await turn();
  assertEquals(client.desiredSize, 0);
  held.calls[1].resolve();
  await ready;
  assertEquals(client.desiredSize, 1);
  held.release();
  await close();
  assertEquals(client.desiredSize, 0);
});

test("calls that wait get a little room after a while, also if no more comes", async () => {
  const held = new Held();
  const { client, close } = pair(held.services, {
    server: { windowCalls: 800 },
  });
  await client.call("Held.echo");
  for (let i = 0; i < 800; i++) client.go("Held.work", i);
  const ready = client.ready;
  while (held.calls.length < 800) await turn();
  held.calls[0].resolve();
  await ready;
  assertEquals(client.desiredSize, 1);
  held.release();
  await close();
});
