/**
 * A connection behaves the same over a transport's own channel and over its
 * streams.
 */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import {
  Client,
  ConnectionError,
  type EchoServices,
  echoServices,
  memoryPair,
  RpcError,
  Server,
} from "../../mod.ts";
import { turn } from "../support/clock.ts";
import { assertNothingLeft } from "../support/pair.ts";
import {
  type End,
  type Pair,
  stall,
  type Transport,
  transports,
} from "../support/transports.ts";

/** A duplex with the same bytes, whose streams are not the transport's own. */
function wrap({ readable, writable, ...info }: End, seen: () => void): End {
  const counter = () =>
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        seen();
        controller.enqueue(chunk);
      },
    });
  const inward = counter();
  const outward = counter();
  readable.pipeTo(inward.writable).catch(() => {});
  outward.readable.pipeTo(writable).catch(() => {});
  return { ...info, readable: inward.readable, writable: outward.writable };
}

/** Runs a scenario over every transport, with its own channel and with its streams. */
function bothChannels(
  name: string,
  scenario: (a: End, b: End) => Promise<void>,
): void {
  for (const transport of transports) {
    for (const wrapped of [false, true]) {
      const channel = wrapped ? "through streams" : "its own channel";
      test(`${transport.name}, ${channel}: ${name}`, async () => {
        const { a, b, release } = await transport.make();
        let chunks = 0;
        const count = () => chunks++;
        try {
          if (wrapped) await scenario(wrap(a, count), wrap(b, count));
          else await scenario(a, b);
          assert(!wrapped || chunks > 0, "the wrapper was bypassed");
        } finally {
          await release().catch(() => {});
        }
      });
    }
  }
}

bothChannels(
  "calls of every size are answered, then both sides close",
  async (a, b) => {
    const server = new Server(echoServices());
    server.accept(b);
    const client = new Client<EchoServices>(a);
    const names = Array.from({ length: 300 }, (_, i) => "x".repeat(i * i));
    const replies = await Promise.all(
      names.map((name) => client.call("HelloService.Hello", name)),
    );
    assertEquals(replies, names.map((name) => "hello:" + name));
    await client.close();
    assertEquals(await client.closed, undefined);
    assertNothingLeft(client.connection);
    await server.close();
  },
);

bothChannels("an abort settles every call", async (a, b) => {
  const server = new Server({
    Test: { hang: () => new Promise<never>(() => {}) },
  });
  const served = server.accept(b);
  const client = new Client<{ Test: { hang(): Promise<never> } }>(a);
  const calls = Array.from({ length: 10 }, () => client.go("Test.hang"));
  await calls[9].sent;
  await client.abort();
  for (const call of calls) {
    const error = await assertRejects(() => call.reply, RpcError);
    assertEquals([error.code, error.outcome], ["unavailable", "unknown"]);
  }
  assert(await served.closed instanceof ConnectionError);
  assertNothingLeft(served);
  await server.close();
});

test("a duplex whose streams were used before loses nothing", async () => {
  for (const transport of transports) await readBefore(transport);
});

/** A user looks at the first chunk (of a proxy's greeting, say), then hands the duplex over. */
async function readBefore(transport: Transport): Promise<void> {
  const { a, b, release }: Pair = await transport.make();
  try {
    const writer = a.writable.getWriter();
    await writer.write(new TextEncoder().encode("greeting"));
    writer.releaseLock();
    const reader = b.readable.getReader();
    const { value } = await reader.read();
    reader.releaseLock();
    assertEquals(new TextDecoder().decode(value), "greeting");

    const server = new Server(echoServices());
    server.accept(b);
    const client = new Client<EchoServices>(a);
    assertEquals(await client.call("HelloService.Hello", "x"), "hello:x");
    await client.close();
    await server.close();
  } finally {
    await release().catch(() => {});
  }
}

test("a chunk for a read that nobody waited for is not lost", async () => {
  for (const transport of transports) {
    const { a, b, release } = await transport.make();
    const reader = b.readable.getReader();
    const reading = reader.read().catch(() => {});
    await turn();
    reader.releaseLock();
    await reading;
    const client = new Client<EchoServices>(a);
    const reply = client.call("HelloService.Hello", "x");
    // Until it has arrived: the first chunk is in the stream's own queue then.
    await stall({ bytes: 0 });
    const server = new Server(echoServices());
    server.accept(b);
    assertEquals(await reply, "hello:x");
    await client.close();
    await server.close();
    await release().catch(() => {});
  }
});

for (const when of ["before", "after"]) {
  test(`a connection locks streams that were created ${when} it`, async () => {
    for (const transport of transports) {
      const { a, b, release } = await transport.make();
      const before = when === "before" ? [a.readable, a.writable] : [];
      const server = new Server(echoServices());
      server.accept(b);
      const client = new Client<EchoServices>(a);
      for (const stream of [...before, a.readable, a.writable]) {
        assert(stream.locked);
      }
      for (const duplex of [a, b, { ...a }]) {
        assertThrows(() => new Client(duplex), TypeError, "readable is locked");
      }
      assertEquals(await client.call("HelloService.Hello", "x"), "hello:x");
      await client.close();
      await server.close();
      await release().catch(() => {});
    }
  });
}

test("a connection over a transport of the library creates no streams", async () => {
  const { ReadableStream, WritableStream } = globalThis;
  let made = 0;
  const count = <T extends new (...args: never[]) => object>(constructor: T) =>
    new Proxy(constructor, {
      construct(target, args) {
        made++;
        return Reflect.construct(target, args);
      },
    });
  for (const transport of transports) {
    // Not counted: some runtimes make streams when a WebSocket connects.
    const { a, b } = await transport.make();
    globalThis.ReadableStream = count(ReadableStream);
    globalThis.WritableStream = count(WritableStream);
    try {
      const server = new Server(echoServices());
      server.accept(b);
      const client = new Client<EchoServices>(a);
      assertEquals(await client.call("HelloService.Hello", "x"), "hello:x");
      await client.close();
      await server.close();
    } finally {
      Object.assign(globalThis, { ReadableStream, WritableStream });
    }
    assertEquals(made, 0, transport.name);
  }
});

test("chunks that a writable keeps are never changed", async () => {
  const [a, b] = memoryPair();
  const server = new Server(echoServices());
  server.accept(b);
  const writer = a.writable.getWriter();
  const kept: Uint8Array[] = [];
  const written: Uint8Array[] = [];
  const writable = new WritableStream<Uint8Array>({
    write(chunk) {
      kept.push(chunk);
      written.push(new Uint8Array(chunk));
      return writer.write(chunk);
    },
    close: () => writer.close(),
  });
  const client = new Client<EchoServices>({ readable: a.readable, writable });
  for (let round = 0; round < 3; round++) {
    const names = Array.from(
      { length: 3000 },
      (_, n) => `${round} `.repeat(n % 99),
    );
    const replies = names.map((n) => client.call("HelloService.Hello", n));
    assertEquals(await Promise.all(replies), names.map((n) => `hello:${n}`));
  }
  assert(kept.some(({ length }) => length > 60_000), "no segment was full");
  const changed = kept.findIndex((chunk, i) =>
    chunk.some((byte, j) => byte !== written[i][j])
  );
  assertEquals(changed, -1);
  await client.close();
  await server.close();
});
