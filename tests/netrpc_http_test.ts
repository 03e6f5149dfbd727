/** The HTTP handshake before Go's wire. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { Client, type EchoServices } from "../mod.ts";
import { httpAccept, httpConnect, netrpc } from "../netrpc.ts";
import { settle, TestClock } from "./support/clock.ts";
import { ascii, FIRST_REPLY, Raw } from "./support/go_wire.ts";
import { join } from "./support/raw_peer.ts";

test("the HTTP handshake is Go's, and what comes behind it is not lost", async () => {
  const raw = new Raw();
  const dialling = httpConnect(raw.duplex);
  const request = "CONNECT /_goRPC_ HTTP/1.0\n\n";
  assertEquals(await raw.take(request.length), ascii(request));
  const answer = ascii("HTTP/1.0 200 Connected to Go RPC\n\n");
  await raw.send(join(answer, FIRST_REPLY.subarray(0, 10)));
  const client = new Client<EchoServices>(await dialling, { wire: netrpc() });
  const call = client.call("HelloService.Hello", "hi");
  await raw.take(78);
  await raw.send(FIRST_REPLY.subarray(10));
  assertEquals(await call, "hello:hi");
  await client.abort();
});

test("an HTTP handshake that does not end is given up", async () => {
  const clock = new TestClock();
  for (const handshake of [httpAccept, httpConnect]) {
    const raw = new Raw();
    const waiting = handshake(raw.duplex, { clock });
    const failed = assertRejects(() => waiting, Error, "in time");
    await raw.send(ascii("HTTP"));
    await settle();
    await clock.advance(10_000);
    await failed;
  }
  assertEquals(clock.timers, 0);
});

for (
  const [name, request, answer] of [
    ["another method", "GET /_goRPC_ HTTP/1.1\r\n\r\n", "405"],
    ["another path", "CONNECT /x HTTP/1.0\n\n", "404"],
  ] as const
) {
  test(`an HTTP request with ${name} is answered ${answer}`, async () => {
    const raw = new Raw();
    const accepting = httpAccept(raw.duplex);
    const failed = assertRejects(() => accepting, Error, "Go RPC");
    await raw.send(ascii(request));
    const said = new TextDecoder().decode(await raw.rest());
    assert(said.startsWith(`HTTP/1.0 ${answer} `), said);
    await failed;
  });
}
