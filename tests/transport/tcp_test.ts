// Connecting and listening over TCP.

import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { test } from "node:test";
import { ConnectionError } from "../../src/base/errors.ts";
import { connect } from "../../src/transport/connect.ts";
import { listen } from "../../src/transport/listen.ts";
import { runScript } from "../support/script.ts";
import { pattern, receive, send, socketPair } from "../support/transports.ts";

/** A port that was free a moment ago, and where nobody listens. */
async function deadPort(): Promise<number> {
  const listener = await listen({ port: 0 });
  await listener.close();
  return (listener.address as { port: number }).port;
}

/** Counts the listeners on a signal. */
function countListeners(signal: AbortSignal): () => number {
  let count = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    count++;
    add(...args);
  };
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    count--;
    remove(...args);
  };
  return () => count;
}

test("[W4] a listener is on loopback by default, and has its real port", async () => {
  const listener = await listen({ port: 0 });
  const { host, port } = listener.address as { host: string; port: number };
  assertEquals(host, "127.0.0.1");
  assert(port > 0);
  await listener.close();
});

test("both sides know both addresses", async () => {
  const { a, b, release } = await socketPair({ port: 0 });
  assertEquals(a.remote, b.local);
  assertEquals(a.local, b.remote);
  assert(a.remote!.startsWith("127.0.0.1:"));
  await release();
});

test("IPv6 addresses work and are printed in brackets", async () => {
  const { a, b, release } = await socketPair({ host: "::1", port: 0 });
  assert(a.remote!.startsWith("[::1]:"));
  await send(a, pattern(10));
  assertEquals((await receive(b, 10)).bytes, pattern(10));
  await release();
});

test("host names are resolved", async () => {
  const { a, b, release } = await socketPair({ host: "localhost", port: 0 });
  await send(b, pattern(10));
  assertEquals((await receive(a, 10)).bytes, pattern(10));
  await release();
});

test("[L14] a refused connection is unavailable, with its cause", async () => {
  const port = await deadPort();
  const error = await assertRejects(
    () => connect({ port }),
    ConnectionError,
    `Cannot connect to 127.0.0.1:${port}: connection refused`,
  );
  assertEquals(error.code, "unavailable");
  assertEquals((error.cause as { code: string }).code, "ECONNREFUSED");
});

test("[L14] an unknown name is unavailable", async () => {
  const error = await assertRejects(
    () => connect({ host: "sluice.invalid", port: 1 }),
    ConnectionError,
    "Cannot connect to sluice.invalid:1: ",
  );
  assertEquals(error.code, "unavailable");
});

test("[L14] a port in use is address_in_use, with its cause", async () => {
  const listener = await listen({ port: 0 });
  const error = await assertRejects(
    () => listen(listener.address),
    ConnectionError,
    "address already in use",
  );
  assertEquals(error.code, "address_in_use");
  assertEquals((error.cause as { code: string }).code, "EADDRINUSE");
  await listener.close();
});

test("[L14] listening at an address of another machine is unavailable", async () => {
  const error = await assertRejects(
    () => listen({ host: "192.0.2.1", port: 0 }),
    ConnectionError,
    "Cannot listen at 192.0.2.1:0: address not available",
  );
  assertEquals(error.code, "unavailable");
});

test("an invalid address is a TypeError, a port out of range a RangeError", async () => {
  for (const port of [-1, 65_536, 1.5, NaN]) {
    await assertRejects(() => connect({ port }), RangeError, "port must be 1");
    await assertRejects(() => listen({ port }), RangeError, "port must be 0");
  }
  await assertRejects(() => connect({ port: 0 }), RangeError);
  for (
    const options of [
      {},
      { port: "80" },
      { port: 1, path: "x" },
      { path: "" },
      { path: "a\0b" },
      { host: "", port: 1 },
      undefined,
    ]
  ) {
    await assertRejects(() => connect(options as { port: 1 }), TypeError);
    await assertRejects(() => listen(options as { port: 1 }), TypeError);
  }
});

test("an aborted signal rejects connect without a dial", async () => {
  const listener = await listen({ port: 0 });
  const reason = { custom: "reason" };
  const signal = AbortSignal.abort(reason);
  const caught = await connect({ ...listener.address, signal })
    .catch((error) => error);
  assertStrictEquals(caught, reason);

  // The next connection is the first one.
  const [a, b] = await Promise.all([
    connect(listener.address),
    listener[Symbol.asyncIterator]().next(),
  ]);
  assertEquals(a.local, b.value.remote);
  await listener.close();
  await a.writable.abort();
  await b.value.writable.abort();
});

test("[L5] [L16] an abort rejects a dial with its reason, and no listener is left on the signal", async () => {
  const listener = await listen({ port: 0 });
  const controller = new AbortController();
  const { signal } = controller;
  const listeners = countListeners(signal);
  const dialling = connect({ ...listener.address, signal })
    .catch((error) => error);
  const reason = new Error("enough");
  controller.abort(reason);
  assertStrictEquals(await dialling, reason);
  assertEquals(listeners(), 0);
  await listener.close();
});

test("after a dial that succeeds or fails no listener is left on the signal", async () => {
  const { signal } = new AbortController();
  const listeners = countListeners(signal);
  const { a, release } = await socketPair({ port: 0 }, { signal });
  assert(a);
  assertEquals(listeners(), 0);
  await release();
  const port = await deadPort();
  await assertRejects(() => connect({ port, signal }), ConnectionError);
  assertEquals(listeners(), 0);
});

test("an abort after the dial has no effect", async () => {
  const controller = new AbortController();
  const { a, b, release } = await socketPair({ port: 0 }, {
    signal: controller.signal,
  });
  controller.abort();
  await send(a, pattern(10));
  assertEquals((await receive(b, 10)).bytes, pattern(10));
  await release();
});

test("an aborted signal rejects listen", async () => {
  const reason = new Error("enough");
  const caught = await listen({ port: 0, signal: AbortSignal.abort(reason) })
    .catch((error) => error);
  assertStrictEquals(caught, reason);
});

test("closing a listener ends its loops and frees the port, and connections live on", async () => {
  const listener = await listen({ port: 0 });
  const [a, accepted] = await Promise.all([
    connect(listener.address),
    listener[Symbol.asyncIterator]().next(),
  ]);
  const loops = [1, 2].map(async () => {
    for await (const _ of listener) throw new Error("nobody comes");
  });
  const closing = listener.close();
  assertStrictEquals(listener.close(), closing);
  assertStrictEquals(listener[Symbol.asyncDispose](), closing);
  await closing;
  await Promise.all(loops);
  for await (const _ of listener) throw new Error("nobody comes");

  const again = await listen(listener.address);
  await again.close();
  const b = accepted.value;
  await send(a, pattern(10));
  assertEquals((await receive(b, 10)).bytes, pattern(10));
  await Promise.all([a.writable.close(), b.writable.close()]);
  await Promise.all([receive(a), receive(b)]);
});

test("closing a listener destroys connections that nobody has accepted", async () => {
  const listener = await listen({ port: 0 });
  const first = await connect(listener.address);
  const second = await connect(listener.address);
  // Takes the first of the two; nobody takes the second.
  await listener[Symbol.asyncIterator]().next().then(({ value }) =>
    value.writable.abort()
  );
  await listener.close();
  const ends = await Promise.all([receive(first), receive(second)]);
  for (const { bytes } of ends) assertEquals(bytes.byteLength, 0);
  await first.writable.abort().catch(() => {});
  await second.writable.abort().catch(() => {});
});

test("leaving a loop leaves the listener open", async () => {
  const listener = await listen({ port: 0 });
  for (let i = 0; i < 3; i++) {
    const a = await connect(listener.address);
    for await (const b of listener) {
      assertEquals(b.remote, a.local);
      await b.writable.close();
      break;
    }
    assert((await receive(a)).ended);
    await a.writable.close();
  }
  await listener.close();
});

test("[L14] a listener that ran out of file descriptors accepts again", async () => {
  const { stdout } = await runScript("emfile.ts", { files: 64 });
  assertEquals(stdout, "goes on true\n");
});

test("[L13] a process exits by itself once its connections and listener are closed", async () => {
  const { code, stdout } = await runScript("exit.ts");
  assertEquals({ code, stdout }, { code: 0, stdout: "closed\n" });
});
