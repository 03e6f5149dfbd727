// TLS: which peers are accepted, which are rejected, and with which errors.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { ConnectionError } from "../../src/base/errors.ts";
import type { ConnectTls, ListenTls } from "../../src/transport/address.ts";
import { connect } from "../../src/transport/connect.ts";
import { listen, type Listener } from "../../src/transport/listen.ts";
import { fixture } from "../support/fixture.ts";
import { pattern, receive, send, socketPair } from "../support/transports.ts";

const onDeno = "Deno" in globalThis;

/** The certificate `name` of the fixtures, with its key. */
function identity(name: string): { cert: string; key: string } {
  return { cert: fixture(`${name}.pem`), key: fixture(`${name}-key.pem`) };
}

/** Listens with the certificate `name`; `fault` is the first fault. */
async function serve(
  name: string,
  more: Partial<ListenTls> = {},
): Promise<
  { listener: Listener; port: number; fault: Promise<ConnectionError> }
> {
  const { promise: fault, resolve } = Promise.withResolvers<ConnectionError>();
  const listener = await listen({
    port: 0,
    tls: { ...identity(name), ...more },
    onError: resolve,
  });
  return { listener, port: (listener.address as { port: number }).port, fault };
}

/** Dials a server with the certificate `name`, which must be rejected; returns the error. */
async function refusal(
  name: string,
  tls: ConnectTls,
  host?: string,
): Promise<ConnectionError> {
  const { listener, port } = await serve(name);
  const error = await assertRejects(
    () => connect({ host, port, tls }),
    ConnectionError,
    "TLS handshake failed: ",
  );
  await listener.close();
  assertEquals(error.code, "unauthenticated");
  assert(error.cause instanceof Error);
  return error;
}

/** Asserts that the error matches; the runtimes have different texts. */
function assertSays(error: ConnectionError, pattern: RegExp): void {
  const cause = error.cause as Error & { code?: string };
  assert(
    pattern.test(`${error.message} ${cause.code}`),
    `${error.message} ${cause.code}`,
  );
}

test("[W3] a certificate of an unknown issuer is rejected", async () => {
  assertSays(await refusal("server", {}), /UNABLE_TO_VERIFY|UnknownIssuer/);
});

test("[W3] a self-signed certificate is rejected", async () => {
  const error = await refusal("selfsigned", { ca: fixture("ca.pem") });
  assertSays(error, /SELF_SIGNED|UNABLE_TO_VERIFY|UnknownIssuer/);
});

test("[W3] a certificate for another host is rejected", async () => {
  const error = await refusal("other", { ca: fixture("ca.pem") });
  assertSays(error, /ALTNAME_INVALID|NotValidForName|not valid for name/);
});

test("[W3] a certificate that is not valid for servername is rejected", async () => {
  const error = await refusal("server", {
    ca: fixture("ca.pem"),
    servername: "other.invalid",
  });
  assertSays(error, /ALTNAME_INVALID|NotValidForName|not valid for name/);
});

test("[W3] an expired certificate is rejected", async () => {
  const error = await refusal("expired", { ca: fixture("ca.pem") });
  assertSays(error, /EXPIRED|[Ee]xpired/);
});

test("servername is verified in place of the host", async () => {
  const { a, b, release } = await socketPair(
    { port: 0, tls: identity("other") },
    { tls: { ca: fixture("ca.pem"), servername: "other.invalid" } },
  );
  await send(a, pattern(10));
  assertEquals((await receive(b, 10)).bytes, pattern(10));
  await release();
});

test("host names are verified by default", async () => {
  const { a, b, release } = await socketPair(
    { host: "localhost", port: 0, tls: identity("server") },
    { tls: { ca: [fixture("other.pem"), fixture("ca.pem")] } },
  );
  await send(b, pattern(10));
  assertEquals((await receive(a, 10)).bytes, pattern(10));
  await release();
});

test("client and server agree on an application protocol", async () => {
  const { release } = await socketPair(
    { port: 0, tls: { ...identity("server"), alpn: ["sluice", "other"] } },
    { tls: { ca: fixture("ca.pem"), alpn: ["sluice"] } },
  );
  await release();
});

test("[W3] a client without TLS is rejected, and the next client accepted", async () => {
  const { listener, port, fault } = await serve("server");
  const plain = await connect({ port });
  await send(plain, new TextEncoder().encode("hello, who is there?\r\n\r\n"));
  const error = await fault;
  assertEquals(error.code, "unauthenticated");
  assert(error.message.startsWith("TLS handshake failed: "), error.message);
  assert(error.cause instanceof Error);
  await receive(plain);
  await plain.writable.abort().catch(() => {});

  const [a, { value: b }] = await Promise.all([
    connect({ port, tls: { ca: fixture("ca.pem") } }),
    listener[Symbol.asyncIterator]().next(),
  ]);
  await listener.close();
  await send(a, pattern(10));
  assertEquals((await receive(b, 10)).bytes, pattern(10));
  await a.writable.abort();
  await b.writable.abort();
});

/** The first message of a client that knows nothing later than this version of TLS. */
function oldClientHello(minor: number): Uint8Array {
  const ciphers = [0xc0, 0x13, 0xc0, 0x14, 0x00, 0x2f, 0x00, 0x35];
  const random = new Array(32).fill(7);
  const body = [3, minor, ...random, 0, 0, ciphers.length, ...ciphers, 1, 0];
  const handshake = [1, 0, 0, body.length, ...body];
  return Uint8Array.from([22, 3, 1, 0, handshake.length, ...handshake]);
}

for (const [name, minor] of [["1.0", 1], ["1.1", 2]] as const) {
  test(`[W3] a client that offers TLS ${name} only is rejected`, async () => {
    const { listener, port, fault } = await serve("server");
    const old = await connect({ port });
    await send(old, oldClientHello(minor));
    const error = await fault;
    assertEquals(error.code, "unauthenticated");
    assert(error.cause instanceof Error);
    // An alert at most; never a ServerHello.
    const { bytes } = await receive(old);
    assert(bytes.length === 0 || bytes[0] === 21, `${bytes}`);
    await old.writable.abort().catch(() => {});
    await listener.close();
  });
}

test("[W3] a server without TLS is rejected", async () => {
  const listener = await listen({ port: 0 });
  const { port } = listener.address as { port: number };
  const serving = (async () => {
    for await (const peer of listener) {
      await send(peer, new TextEncoder().encode("220 hello\r\n"));
      await receive(peer);
      await peer.writable.abort().catch(() => {});
    }
  })();
  const error = await assertRejects(
    () => connect({ port, tls: {} }),
    ConnectionError,
    "TLS handshake failed: ",
  );
  assertEquals(error.code, "unauthenticated");
  await listener.close();
  await serving;
});

test("a refused connection with TLS is unavailable, not unauthenticated", async () => {
  const { listener, port } = await serve("server");
  await listener.close();
  const error = await assertRejects(
    () => connect({ port, tls: {} }),
    ConnectionError,
    "connection refused",
  );
  assertEquals(error.code, "unavailable");
});

test("an abort ends a handshake that the server never answers", async () => {
  const listener = await listen({ port: 0 });
  const { port } = listener.address as { port: number };
  const controller = new AbortController();
  const dialling = connect({ port, tls: {}, signal: controller.signal })
    .catch((error) => error);
  const { value: peer } = await listener[Symbol.asyncIterator]().next();
  const reason = new Error("enough");
  controller.abort(reason);
  assertEquals(await dialling, reason);
  // The client has closed the socket.
  await receive(peer);
  await peer.writable.abort().catch(() => {});
  await listener.close();
});

test("closing a listener destroys connections in their TLS handshake", async () => {
  const { listener, port } = await serve("server");
  const plain = await connect({ port });
  // Another handshake is complete: the first has been accepted by then.
  const [a, { value: b }] = await Promise.all([
    connect({ port, tls: { ca: fixture("ca.pem") } }),
    listener[Symbol.asyncIterator]().next(),
  ]);
  await listener.close();
  // Deno 2.9.5 leaves the socket open until its client closes it.
  if (!onDeno) assertEquals((await receive(plain)).bytes.byteLength, 0);
  await plain.writable.abort().catch(() => {});
  await a.writable.abort();
  await b.writable.abort();
});

if (onDeno) {
  test("on Deno a listener cannot request client certificates", async () => {
    await assertRejects(
      () =>
        listen({
          port: 0,
          tls: { ...identity("server"), requestCert: true },
        }),
      TypeError,
      "Deno cannot request client certificates",
    );
  });
} else {
  test("a client with a valid certificate is accepted", async () => {
    const { a, b, release } = await socketPair(
      {
        port: 0,
        tls: {
          ...identity("server"),
          requestCert: true,
          ca: fixture("ca.pem"),
        },
      },
      { tls: { ca: fixture("ca.pem"), ...identity("client") } },
    );
    await send(a, pattern(10));
    assertEquals((await receive(b, 10)).bytes, pattern(10));
    await release();
  });

  for (const name of ["none", "selfsigned"]) {
    test(`a client is rejected whose certificate is ${name}`, async () => {
      const { listener, port, fault } = await serve("server", {
        requestCert: true,
        ca: fixture("ca.pem"),
      });
      const own = name === "none" ? {} : identity(name);
      // In TLS 1.3 the client is connected before the server has checked it.
      const client = await connect({
        port,
        tls: { ca: fixture("ca.pem"), ...own },
      }).catch(() => undefined);
      const error = await fault;
      assertEquals(error.code, "unauthenticated", error.message);
      if (client) {
        assertEquals((await receive(client)).bytes.byteLength, 0);
        await client.writable.abort().catch(() => {});
      }
      await listener.close();
    });
  }
}
