// Calls and streams over a WebSocket, from a page and from a Worker of workerd
// to a server in another process.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import {
  callable,
  Client,
  ConnectionError,
  connectWebSocket,
  map,
  RpcError,
  streams,
} from "../../client.ts";
import { driver } from "./driver.ts";
import type { PageServices, Services } from "./services.ts";

const page: PageServices = { Page: { double: (n) => 2 * n } };

/** Connects, and closes when the test is over. */
async function withClient(
  use: (client: Client<Services>) => Promise<void>,
): Promise<void> {
  const client = new Client<Services>(
    await connectWebSocket(driver.serverUrl),
    { streams: streams(), services: callable(page) },
  );
  try {
    await use(client);
  } finally {
    await client.close();
  }
}

test("a call gets its reply", () =>
  withClient(async (client) => {
    assertEquals(await client.call("Math.square", 12), 144);
    const error = await assertRejects(
      () => client.call("Math.fail", "secret"),
      RpcError,
    );
    assertEquals([error.code, error.outcome], ["internal", "executed"]);
    assert(!error.message.includes("secret"));
  }));

test("1,000 calls at once get their replies", () =>
  withClient(async (client) => {
    const calls = Array.from(
      { length: 1000 },
      (_, n) => client.call("Math.square", n),
    );
    const replies = await Promise.all(calls);
    assert(replies.every((reply, n) => reply === n * n));
  }));

test("streams arrive in both directions", () =>
  withClient(async (client) => {
    const reader = (await client.call("Stream.count", 10_000)).getReader();
    for (let n = 1; n <= 10_000; n++) {
      assertEquals((await reader.read()).value, n);
    }
    assertEquals((await reader.read()).done, true);

    async function* numbers() {
      for (let n = 1; n <= 10_000; n++) {
        yield n;
      }
    }
    assertEquals(await client.call("Stream.sum", numbers()), 50_005_000);

    async function* words() {
      yield* ["both", "ways"];
    }
    const upper = (await client.call("Stream.upper", words())).getReader();
    assertEquals((await upper.read()).value, "BOTH");
    assertEquals((await upper.read()).value, "WAYS");
    assertEquals((await upper.read()).done, true);
  }));

test("map calls with each item", () =>
  withClient(async (client) => {
    const squares: number[] = [];
    for await (const square of map(client, "Math.square", [1, 2, 3])) {
      squares.push(square);
    }
    assertEquals(squares, [1, 4, 9]);
  }));

test("abort and deadline end a call, and its handler learns of it", () =>
  withClient(async (client) => {
    const controller = new AbortController();
    const { signal } = controller;
    const aborted = client.call("Work.hang", undefined, { signal });
    const before = await client.call("Work.aborts", 0);
    controller.abort(new Error("enough"));
    await assertRejects(() => aborted, Error, "enough");
    assertEquals(await client.call("Work.aborts", before + 1), before + 1);

    const late = client.call("Work.hang", undefined, { timeout: 50 });
    const error = await assertRejects(() => late, RpcError);
    assertEquals(error.code, "deadline_exceeded");
    assertEquals(await client.call("Work.aborts", before + 2), before + 2);
  }));

test("the server calls the page back", () =>
  withClient(async (client) => {
    assertEquals(await client.call("Work.callBack", 100), 9900);
  }));

test("a URL that leads to no WebSocket is unavailable", async () => {
  const url = new URL(
    "/nothing",
    new URL(driver.serverUrl, globalThis.location?.href),
  );
  url.protocol = "ws:";
  const error = await assertRejects(
    () => connectWebSocket(url),
    ConnectionError,
  );
  assertEquals(error.code, "unavailable");
});
