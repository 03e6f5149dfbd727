// WebSockets through the HTTP server of each runtime: which requests become
// connections, and what becomes of them.

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { createServer, type Server as HttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { WebSocket as WsSocket, WebSocketServer } from "ws";
import {
  type CallContext,
  Client,
  connect,
  ConnectionError,
  type ConnectTls,
  connectWebSocket,
  fromWebSocket,
  listen,
  type Listener,
  ReconnectingClient,
  Server,
  type WebSocketListener,
  type WebSocketListenerOptions,
  webSockets,
} from "../../mod.ts";
import { turn } from "../support/clock.ts";
import { fixture } from "../support/fixture.ts";
import { SignalCount } from "../support/signal_count.ts";
import { receive, send } from "../support/transports.ts";

const onDeno = "Deno" in globalThis;
const onNode = !onDeno && !("Bun" in globalThis);

/** Headers of a valid request; `undefined` leaves one out. */
type Headers = Record<string, string | undefined>;

/** Sends a request with just these headers, as `fetch` and `WebSocket` may not; returns the status and the headers of the response. */
async function request(
  port: number,
  headers: Headers = {},
  { path = "/rpc", method = "GET", tls }: {
    path?: string;
    method?: string;
    tls?: ConnectTls;
  } = {},
): Promise<{ status: number; text: string }> {
  const all: Headers = {
    Host: `127.0.0.1:${port}`,
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "sluice.1",
    ...headers,
  };
  const lines = Object.entries(all)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}: ${value}\r\n`);
  const duplex = await connect({ port, tls });
  const head = `${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n`;
  await send(duplex, new TextEncoder().encode(head));
  let text = "";
  const reader = duplex.readable.getReader();
  while (!text.includes("\r\n\r\n")) {
    const { done, value } = await reader.read();
    if (done) break;
    text += new TextDecoder().decode(value);
  }
  reader.releaseLock();
  await duplex.writable.abort().catch(() => {});
  return { status: Number(text.split(" ")[1]), text };
}

function portOf(listener: Listener): number {
  return Number(new URL(listener.url).port);
}

/** Listens at `/rpc` and runs `use`. */
async function withListener(
  options: Pick<WebSocketListenerOptions, "allowOrigins" | "onError">,
  use: (port: number, listener: Listener) => Promise<void>,
): Promise<void> {
  const listener = await listen("ws://127.0.0.1:0/rpc", {
    WebSocketServer,
    ...options,
  });
  try {
    await use(portOf(listener), listener);
  } finally {
    await listener.close();
  }
}

test("[K11] by default only pages of the server's own host may connect", async () => {
  await withListener({}, async (port) => {
    const own = `http://127.0.0.1:${port}`;
    const statuses: [string | undefined, number][] = [
      [undefined, 101],
      [own, 101],
      [own.replace("http", "https"), 101],
      ["http://127.0.0.1:1", 403],
      [`http://localhost:${port}`, 403],
      ["https://evil.example", 403],
      [`http://127.0.0.1:${port}.evil.example`, 403],
      ["null", 403],
      ["", 403],
    ];
    for (const [origin, expected] of statuses) {
      const { status } = await request(port, { Origin: origin });
      assertEquals([origin, status], [origin, expected]);
    }
  });
});

test("[K11] an origin is compared with Host as URLs are: default ports and case do not matter", async () => {
  await withListener({}, async (port) => {
    const cases: [origin: string, host: string, status: number][] = [
      ["http://example.com", "example.com:80", 101],
      ["https://example.com", "example.com:443", 101],
      ["http://example.com", "EXAMPLE.com", 101],
      ["http://[::1]:7000", "[::1]:7000", 101],
      ["https://example.com", "example.com:80", 403],
      ["http://example.com:81", "example.com", 403],
      ["http://example.com", "example.com.evil.example", 403],
      ["http://example.com, http://evil.example", "example.com", 403],
    ];
    for (const [Origin, Host, expected] of cases) {
      const { status } = await request(port, { Origin, Host });
      assertEquals([Origin, Host, status], [Origin, Host, expected]);
    }
  });
});

test("[K11] allowOrigins allows only what a list has, or a function answers with true", async () => {
  const allowOrigins = () => Promise.resolve(false) as unknown as boolean;
  await withListener({ allowOrigins }, async (port) => {
    const { status } = await request(port, { Origin: "https://evil.example" });
    assertEquals(status, 403);
  });
  for (const value of ["https://example.com", null, 1, {}]) {
    assertThrows(
      () => webSockets({ WebSocketServer, allowOrigins: value as never }),
      TypeError,
      "allowOrigins",
    );
  }
});

test("[K11] allowOrigins replaces that by a list, a function, or everybody", async () => {
  const errors: ConnectionError[] = [];
  const onError = (error: ConnectionError) => void errors.push(error);
  const cases: [WebSocketListenerOptions["allowOrigins"], number[]][] = [
    [["https://app.example"], [101, 403, 101]],
    [[], [403, 403, 101]],
    ["*", [101, 101, 101]],
    [(origin) => origin.endsWith(".evil"), [403, 101, 101]],
    [() => {
      throw new Error("no idea");
    }, [403, 403, 101]],
  ];
  for (const [allowOrigins, expected] of cases) {
    await withListener({ allowOrigins, onError }, async (port) => {
      const statuses = [];
      for (
        const Origin of ["https://app.example", "https://x.evil", undefined]
      ) {
        statuses.push((await request(port, { Origin })).status);
      }
      assertEquals(statuses, expected);
    });
  }
  assertEquals(errors.map(({ message }) => message), [
    "allowOrigins failed: no idea",
    "allowOrigins failed: no idea",
  ]);
});

test("[K11] an entry of allowOrigins that no browser sends is refused at once", () => {
  const wrong = ["https://a.example/", "https://A.example", "a.example", ""];
  for (const origin of [...wrong, "https://a.example:443"]) {
    const options = { WebSocketServer, allowOrigins: [origin] };
    assertThrows(() => webSockets(options), TypeError, JSON.stringify(origin));
  }
  const right = ["https://a.example", "http://[::1]:8080", "null"];
  webSockets({ WebSocketServer, allowOrigins: right });
});

test("[K13] what may be secret in a URL is in no message and in no address", async () => {
  await withListener({}, async (port, listener) => {
    const url = `ws://user:secret@127.0.0.1:${port}/rpc?token=secret`;
    const near = await connectWebSocket(url).catch(() => undefined);
    if (near !== undefined) {
      assertEquals(near.remote, `ws://127.0.0.1:${port}/rpc`);
      const { value } = await listener[Symbol.asyncIterator]().next();
      await Promise.all([near.writable.abort(), value.writable.abort()]);
    }
  });
  const refused = "ws://user:secret@127.0.0.1:1/rpc?token=secret";
  const error = await assertRejects(() => connectWebSocket(refused));
  assert(!(error as Error).message.includes("secret"));
});

test("[K11] a request that is no WebSocket's, or does not offer the subprotocol, gets a response that says why", async () => {
  await withListener({}, async (port) => {
    const cases: [Headers, { path?: string; method?: string }, number][] = [
      [{ Upgrade: undefined, Connection: "close" }, {}, 426],
      [{ Upgrade: undefined, Connection: "close" }, { method: "POST" }, 426],
      [{ "Sec-WebSocket-Protocol": undefined }, {}, 400],
      [{ "Sec-WebSocket-Protocol": "chat, sluice.2" }, {}, 400],
      [{ "Sec-WebSocket-Protocol": "chat, sluice.1" }, {}, 101],
      [{}, { path: "/other" }, 404],
      [{}, { path: "/rpc?token=1" }, 101],
    ];
    for (const [headers, how, expected] of cases) {
      const { status, text } = await request(port, headers, how);
      assertEquals([headers, how, status], [headers, how, expected]);
      if (status !== 101) continue;
      assert(/sec-websocket-protocol: sluice\.1\r\n/i.test(text), text);
    }
  });
});

test("[K11] a request whose path, Host or key is malformed gets a response, and harms nobody else", async () => {
  await withListener({}, async (port) => {
    const cases: [Headers, string][] = [
      [{}, "//"],
      [{}, "//x:99999/rpc"],
      [{}, "http://[/rpc"],
      [{ Host: "a b" }, "/rpc"],
      [{ Host: "x:99999" }, "/rpc"],
      [{ Host: "" }, "/rpc"],
      [{ "Sec-WebSocket-Key": undefined }, "/rpc"],
      [{ "Sec-WebSocket-Version": undefined }, "/rpc"],
      [{ "Sec-WebSocket-Protocol": "sluice.1,,," }, "/rpc"],
    ];
    for (const [headers, path] of cases) {
      const { status } = await request(port, headers, { path });
      // Runtimes differ in what they refuse. 500 would be a fault of the server's own.
      const known = [101, 400, 404, 426].includes(status);
      assert(known, `${status} for ${path} ${JSON.stringify(headers)}`);
    }
    assertEquals((await request(port)).status, 101);
  });
});

test(
  "[K11] on Deno a request that cannot be upgraded is refused, and reported",
  {
    skip: !onDeno,
  },
  async () => {
    const errors: ConnectionError[] = [];
    const onError = (error: ConnectionError) => void errors.push(error);
    await withListener({ onError }, async (port) => {
      const headers = { "Sec-WebSocket-Key": undefined };
      assertEquals((await request(port, headers)).status, 400);
    });
    assertEquals(errors.map(({ message }) => message.split(":")[0]), [
      "Cannot upgrade a request",
    ]);
  },
);

test(
  "[K11] on Node a request that cannot be upgraded is refused, and reported",
  {
    skip: !onNode,
  },
  async () => {
    const errors: ConnectionError[] = [];
    const sockets = webSockets({
      WebSocketServer: class {
        handleUpgrade(): void {
          throw new Error("upgraded already");
        }
      },
      onError: (error) => void errors.push(error),
    });
    const { port, stop } = await serveBeside(sockets);
    assertEquals((await request(port)).status, 500);
    await stop();
    assertEquals(errors.map(({ message }) => message), [
      "Cannot upgrade a request: upgraded already",
    ]);
  },
);

/** The certificate `name` of the fixtures, with its key. */
function identity(name: string): { cert: string; key: string } {
  return { cert: fixture(`${name}.pem`), key: fixture(`${name}-key.pem`) };
}

test("[K11] wss: serves over TLS, and reports a handshake that fails where the runtime tells", async () => {
  const { promise: fault, resolve } = Promise.withResolvers<ConnectionError>();
  const listener = await listen("wss://127.0.0.1:0/rpc", {
    WebSocketServer,
    tls: identity("server"),
    onError: resolve,
  });
  const port = portOf(listener);
  const tls = { ca: fixture("ca.pem") };
  assertEquals((await request(port, {}, { tls })).status, 101);
  await assertRejects(() => connect({ port, tls: {} }), ConnectionError);
  if (onNode) assert((await fault).message.startsWith("TLS handshake failed"));
  await listener.close();
});

test("[K11] wss: accepts only clients with a valid certificate if it requests one, and on Deno does not listen", async () => {
  const ca = fixture("ca.pem");
  const listening = listen("wss://127.0.0.1:0/rpc", {
    WebSocketServer,
    tls: { ...identity("server"), ca, requestCert: true },
  });
  if (onDeno) {
    await assertRejects(() => listening, TypeError, "client certificates");
    return;
  }
  const listener = await listening;
  const port = portOf(listener);
  const statuses: [Partial<ConnectTls>, boolean][] = [
    [identity("client"), true],
    [identity("selfsigned"), false],
    [{}, false],
  ];
  for (const [own, accepted] of statuses) {
    const response = await request(port, {}, { tls: { ca, ...own } })
      .catch(() => undefined);
    assertEquals(response?.status === 101, accepted);
  }
  await listener.close();
});

test("[K11] a client that never finishes its request or TLS handshake does not delay close", async () => {
  for (const tls of [undefined, identity("server")]) {
    const scheme = tls ? "wss" : "ws";
    const listener = await listen(`${scheme}://127.0.0.1:0/rpc`, {
      WebSocketServer,
      tls,
    });
    const silent = await connect({ port: portOf(listener) });
    // The start of a TLS record, or of a request.
    await send(silent, new Uint8Array(tls ? [22, 3, 1, 2, 0] : [71, 69, 84]));
    // The server has it: it has answered one that came later.
    const ca = { ca: fixture("ca.pem") };
    await request(portOf(listener), {}, { path: "/x", tls: tls && ca });
    await listener.close();
    await silent.writable.abort().catch(() => {});
  }
});

/** A service that says what it sees of its caller. */
const services = {
  Who: {
    am: (_: undefined, { auth, connection }: CallContext) => ({
      auth: String(auth),
      path: new URL(connection.peer.request!.url, "http://x").pathname,
      address: /^127\.0\.0\.1:\d+$/.test(`${connection.peer.remote}`),
    }),
  },
};

/** Serves beside another route of the runtime's own HTTP server; returns its port and how to stop it. */
async function serveBeside(
  sockets: WebSocketListener,
): Promise<{ port: number; stop: () => unknown }> {
  const { Deno, Bun } = globalThis as unknown as {
    Deno?: {
      serve(options: object, fetch: unknown): {
        addr: { port: number };
        shutdown(): Promise<void>;
      };
    };
    Bun?: { serve(options: object): { port: number; stop(): unknown } };
  };
  const fetch = (request: Request, info: object) =>
    new URL(request.url).pathname === "/rpc"
      ? sockets.upgrade(request, info)
      : new Response("hello");
  const hostname = "127.0.0.1";
  if (Deno) {
    const server = Deno.serve({ hostname, port: 0, onListen() {} }, fetch);
    return { port: server.addr.port, stop: () => server.shutdown() };
  }
  if (Bun) {
    const websocket = sockets.bun;
    const server = Bun.serve({ hostname, port: 0, fetch, websocket });
    return { port: server.port, stop: () => server.stop() };
  }
  const server: HttpServer = createServer((_, response) => {
    response.end("hello");
  });
  server.on("upgrade", sockets.handleUpgrade);
  await new Promise<void>((resolve) => server.listen(0, hostname, resolve));
  return {
    port: (server.address() as AddressInfo).port,
    stop: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

test("[K11] a listener that is closed refuses, and leaves its connections alone", async () => {
  const sockets = webSockets({ WebSocketServer });
  const { port, stop } = await serveBeside(sockets);
  const accepted = sockets[Symbol.asyncIterator]();
  const near = await connectWebSocket(`ws://127.0.0.1:${port}/rpc`);
  const { value: far } = await accepted.next();
  const waiting = await connectWebSocket(`ws://127.0.0.1:${port}/rpc`);
  await sockets.close();
  assertEquals((await accepted.next()).done, true);
  assertEquals((await request(port)).status, 503);
  // The one that was not accepted is destroyed, the other goes on.
  assertInstanceOf((await receive(waiting)).error, ConnectionError);
  await Promise.all([near.writable.close(), far.writable.close()]);
  assert((await receive(near)).ended && (await receive(far)).ended);
  await stop();
});

test("[K11] a connection that is destroyed in the turn in which it is accepted tells its peer", async () => {
  await withListener({}, async (_, listener) => {
    const accepting = listener[Symbol.asyncIterator]().next();
    const dialling = connectWebSocket(listener.url);
    await (await accepting).value.writable.abort(new Error("enough"));
    const near = await dialling;
    assertInstanceOf((await receive(near)).error, ConnectionError);
  });
});

test("[K12] one server serves WebSockets beside other routes, and authorize sees the request", async () => {
  const sockets = webSockets({ WebSocketServer });
  const server = new Server(services, {
    authorize: (_, { peer }) => {
      const cookie = peer.request?.headers.get("cookie") ?? "";
      return cookie.startsWith("user=") && cookie.slice(5);
    },
  });
  server.serve(sockets);
  const { port, stop } = await serveBeside(sockets);
  const url = `ws://127.0.0.1:${port}/rpc`;
  try {
    const page = await fetch(`http://127.0.0.1:${port}/`);
    assertEquals(await page.text(), "hello");
    const none = await fetch(`http://127.0.0.1:${port}/rpc`);
    if (!onNode) assertEquals(none.status, 426);
    await none.body?.cancel();

    const socket = new WsSocket(url, "sluice.1", {
      headers: { cookie: "user=ada" },
    });
    const client = new Client<typeof services>(fromWebSocket(socket));
    assertEquals(await client.call("Who.am"), {
      auth: "ada",
      path: "/rpc",
      address: true,
    });
    await client.close();

    const other = new Client<typeof services>(await connectWebSocket(url));
    const error = await assertRejects(() => other.call("Who.am"));
    assertEquals((error as { code?: string }).code, "unauthenticated");
    await other.closed;
  } finally {
    await server.close();
    await stop();
  }
});

test("[K12] on Node a listener without the class of ws says what it needs", {
  skip: !onNode,
}, async () => {
  await assertRejects(
    () => listen("ws://127.0.0.1:0/rpc"),
    TypeError,
    "WebSocketServer",
  );
  assertThrows(() => webSockets(), TypeError, "WebSocketServer");
});

test("[K13] a dial that is refused, aborted, or answered by another server fails with a typed error", async () => {
  const listener = await listen({ port: 0 });
  const { port } = listener.address as { port: number };
  await listener.close();
  const refused = await connectWebSocket(`ws://127.0.0.1:${port}/`)
    .catch((error) => error);
  assertInstanceOf(refused, ConnectionError);
  assertEquals(refused.code, "unavailable");
  assert(refused.message.includes(`ws://127.0.0.1:${port}/`), refused.message);
  // Node's own error has no text.
  assert(!refused.message.endsWith('""'), refused.message);

  const reason = new Error("enough");
  assertEquals(
    await connectWebSocket("ws://127.0.0.1:1/", {
      signal: AbortSignal.abort(reason),
    }).catch((error) => error),
    reason,
  );
  // A dial that succeeds leaves no listener.
  const signals = new SignalCount();
  await withListener({}, async (_, { url }) => {
    const { signal } = signals.make();
    await (await connectWebSocket(url, { signal })).writable.abort();
    assertEquals(signals.listeners, 0);
  });
  // A server that never answers.
  const silent = await listen({ port: 0 });
  const controller = new AbortController();
  const dialling = connect(`ws://127.0.0.1:${portOf(silent)}/`, {
    signal: controller.signal,
  }).catch((error) => error);
  const { value: accepted } = await silent[Symbol.asyncIterator]().next();
  controller.abort(reason);
  assertEquals(await dialling, reason);
  await accepted.writable.abort().catch(() => {});
  await silent.close();

  await assertRejects(() => connectWebSocket("http//x"), TypeError);
});

test("a URL of HTTP, and one relative to the page, lead to the WebSocket", async () => {
  await withListener({}, async (port, listener) => {
    const accepted = listener[Symbol.asyncIterator]();
    const { location } = globalThis;
    const page = { href: `http://127.0.0.1:${port}/a/page.html?x` };
    Object.defineProperty(globalThis, "location", {
      value: page,
      configurable: true,
    });
    try {
      for (const url of [`http://127.0.0.1:${port}/rpc`, "/rpc", "../rpc"]) {
        const duplex = await connectWebSocket(url);
        assertEquals(duplex.remote, `ws://127.0.0.1:${port}/rpc`);
        const { value } = await accepted.next();
        await Promise.all([duplex.writable.close(), value.writable.close()]);
        await Promise.all([receive(duplex), receive(value)]);
      }
    } finally {
      Object.defineProperty(globalThis, "location", {
        value: location,
        configurable: true,
      });
    }
  });
});

test("[K14] a reconnecting client takes a URL, and comes back after a restart", async () => {
  type Services = typeof services;
  const at = { WebSocketServer };
  const first = new Server(services);
  const listener = await listen("ws://127.0.0.1:0/rpc", at);
  first.serve(listener);
  const client = new ReconnectingClient<Services>(listener.url, {
    retry: { base: 1, cap: 20 },
  });
  assertEquals((await client.call("Who.am")).path, "/rpc");
  const call = client.call("Who.am");
  await call;
  await first.close();
  await listener.close();

  const second = new Server(services);
  // Deno frees the address a little after the last connection has ended.
  let again: Listener | undefined;
  while (again === undefined) {
    again = await listen(listener.url, at).catch((error) => {
      assertEquals(error.code, "address_in_use");
    }) ?? undefined;
    await turn();
  }
  second.serve(again);
  assertEquals((await client.call("Who.am")).path, "/rpc");
  await client.close();
  await second.close();
});
