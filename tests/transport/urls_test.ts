// URLs for `connect` and `listen`, and names within the process.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "node:path";
import { test } from "node:test";
import {
  Client,
  connect,
  ConnectionError,
  listen,
  ReconnectingClient,
  Server,
} from "../../mod.ts";
import { ReconnectingClient as SlimReconnectingClient } from "../../client.ts";
import { fixture } from "../support/fixture.ts";
import { receive, withDirectory } from "../support/transports.ts";

const services = { Echo: { echo: (text: string) => text } };

const cert = { cert: fixture("server.pem"), key: fixture("server-key.pem") };
const ca = fixture("ca.pem");

test("connect takes what a listener says of itself, as a URL and as an object", async () => {
  await withDirectory(async (directory) => {
    const cases: [string, object, object][] = [
      ["tcp://127.0.0.1:0", {}, {}],
      ["tls://127.0.0.1:0", { tls: cert }, { tls: { ca } }],
      [`unix:${join(directory, "a b.sock")}`, {}, {}],
      [`unix:${join(directory, "a%23b%3Fc%25.sock")}`, {}, {}],
      ["memory:urls_test", {}, {}],
    ];
    for (const [url, settings, options] of cases) {
      const server = new Server(services);
      const listener = await listen(url, settings);
      server.serve(listener);
      const { protocol } = new URL(url);
      assertEquals(new URL(listener.url).protocol, protocol);
      for (
        const duplex of [
          await connect(listener.url, options),
          await connect(new URL(listener.url), options),
          await connect({ ...listener.address, ...options }),
        ]
      ) {
        const client = new Client<typeof services>(duplex);
        assertEquals(await client.call("Echo.echo", url), url);
        await client.close();
      }
      await server.close();
    }
  });
});

test("a TCP address of IPv6 keeps its brackets in the URL alone", async () => {
  const listener = await listen("tcp://[::1]:0").catch((error) => {
    // A machine without IPv6.
    assertEquals(error.code, "unavailable");
    return undefined;
  });
  if (listener === undefined) return;
  assertEquals((listener.address as { host: string }).host, "::1");
  assert(/^tcp:\/\/\[::1\]:\d+$/.test(listener.url), listener.url);
  const duplex = await connect(listener.url);
  await duplex.writable.abort().catch(() => {});
  await listener.close();
});

test("what is no address is refused with a sentence that says why", async () => {
  const cases: [string, string][] = [
    ["127.0.0.1:80", "not a URL"],
    ["", "not a URL"],
    ["http://127.0.0.1:80", "not tcp, tls, unix, ws, wss or memory"],
    ["tcp://127.0.0.1", "has no port"],
    ["memory:", "has no name"],
    ["unix:", "path must be"],
    ["unix://run/app.sock", 'a path begins after "unix:"'],
    ["unix:/%ff", "percent-encoded"],
    ["tcp://127.0.0.1:1/rpc", "nothing but a host and a port"],
    ["tcp://user:secret@127.0.0.1:1", "nothing but a host and a port"],
    ["tls://127.0.0.1:1?token=secret", "no query"],
    ["memory:a?b", "no query"],
    ["unix:/a#b", "no query"],
  ];
  for (const [url, text] of cases) {
    for (const use of [connect, listen]) {
      const error = await assertRejects(() => use(url), TypeError, text);
      assert(!error.message.includes("secret"), error.message);
    }
  }
  await assertRejects(() => connect("tcp://127.0.0.1:0"), RangeError, "1 to");
  const tls = { tls: {} };
  await assertRejects(() => connect("tcp://[::1]:1", tls), TypeError, "tls:");
  await assertRejects(() => connect("ws://x/", tls), TypeError, "WebSocket");
  await assertRejects(() => listen("tls://[::1]:0"), TypeError, "option tls");
  const wss = "wss://127.0.0.1:0/";
  await assertRejects(() => listen(wss), TypeError, "option tls");
});

test("a memory name has one listener, and none after its close", async () => {
  await assertRejects(
    () => connect("memory:nobody"),
    ConnectionError,
    "nobody in this process listens there",
  );
  const listener = await listen("memory:one");
  const taken = await assertRejects(() => listen("memory:one"));
  assertEquals((taken as ConnectionError).code, "address_in_use");
  // The failed attempt has not taken the name away.
  const waiting = await connect("memory:one");
  await listener.close();
  // It was not accepted.
  assert((await receive(waiting)).error instanceof ConnectionError);
  await assertRejects(() => connect("memory:one"), ConnectionError);
  await (await listen("memory:one")).close();
});

test("a reconnecting client takes every URL", async () => {
  const server = new Server(services);
  server.serve(await listen("memory:reconnecting"));
  const client = new ReconnectingClient<typeof services>("memory:reconnecting");
  assertEquals(await client.call("Echo.echo", "x"), "x");
  await client.close();
  await server.close();
});

test("a reconnecting client refuses at once what it can never dial", () => {
  const cases: [unknown, string][] = [
    ["127.0.0.1:80", "not a URL"],
    ["tcp://127.0.0.1", "has no port"],
    [undefined, "expected a URL or a function, received undefined"],
    [Promise.resolve(), "received a promise; pass () => connect(...)"],
  ];
  for (const [to, text] of cases) {
    const make = () => new ReconnectingClient(to as string);
    assertThrows(make, TypeError, text);
  }
  const slim = () => new SlimReconnectingClient("ws://x/" as never);
  assertThrows(slim, TypeError, "expected a function, received string");
});

test("where there are no sockets, connect rejects with a TypeError", async () => {
  const names = ["Deno", "process"];
  const owned = names.map((name) =>
    Object.getOwnPropertyDescriptor(globalThis, name)
  );
  const urls = ["tcp://127.0.0.1:1", "tls://127.0.0.1:1", "unix:/nothing"];
  const dials = urls.map((url) => {
    // As in a page, and for this turn only.
    for (const name of names) {
      Object.defineProperty(globalThis, name, {
        value: undefined,
        configurable: true,
      });
    }
    const dial = connect(url);
    for (const [i, name] of names.entries()) {
      const own = owned[i];
      if (own) Object.defineProperty(globalThis, name, own);
      else delete (globalThis as Record<string, unknown>)[name];
    }
    return dial;
  });
  const kinds = ["TCP", "TLS", "a Unix socket"];
  for (const [i, kind] of kinds.entries()) {
    await assertRejects(() => dials[i], TypeError, `Cannot use ${kind}: this`);
  }
});
