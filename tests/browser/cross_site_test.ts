// A page of another origin than the server's.

import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { Client, ConnectionError, connectWebSocket } from "../../client.ts";
import { driver } from "./driver.ts";
import type { Services } from "./services.ts";

test("by default a server refuses a page of another origin", async () => {
  const error = await assertRejects(
    () => connectWebSocket(driver.serverUrl),
    ConnectionError,
  );
  assertEquals(error.code, "unavailable");
});

test("a server accepts a page of another origin that allowOrigins names", async () => {
  const client = new Client<Services>(await connectWebSocket(driver.openUrl));
  assertEquals(await client.call("Math.square", 3), 9);
  await client.close();
});
