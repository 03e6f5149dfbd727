/**
 * Go's gob protocol without Go: the exact bytes, hostile and unusual messages,
 * and how connections end.
 */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import {
  Client,
  type ClientOptions,
  memoryPair,
  RpcError,
  Server,
  type ServerOptions,
} from "../../mod.ts";
import { goMethod, netrpc, string } from "../../netrpc.ts";
import { settle, TestClock } from "../support/clock.ts";
import {
  ascii,
  bytes,
  ERROR_REPLY,
  FIRST,
  FIRST_REPLY,
  RawBytePeer,
  REQUEST_TYPE,
  RESPONSE_TYPE,
  SECOND,
} from "../support/go_peer.ts";
import { assertNothingLeft, type Pair, pair } from "../support/pair.ts";
import { join } from "../support/raw_peer.ts";

type Hello = { HelloService: { Hello: (name: string) => string } };

const hello = { HelloService: { Hello: (name: string) => `hello:${name}` } };

function serve(
  services: object,
  options: ServerOptions<"exact"> = {},
): { raw: RawBytePeer; server: Server<object, "exact">; errors: unknown[] } {
  const raw = new RawBytePeer();
  const errors: unknown[] = [];
  const server = new Server<object, "exact">(services, {
    protocol: netrpc(),
    onError: (error) => errors.push(error),
    ...options,
  });
  server.accept(raw.duplex);
  return { raw, server, errors };
}

function dial(
  options: ClientOptions = {},
): { raw: RawBytePeer; client: Client<Hello> } {
  const raw = new RawBytePeer();
  const client = new Client<Hello>(raw.duplex, {
    protocol: netrpc(),
    ...options,
  });
  return { raw, client };
}

/** A client and a server, over gob. */
function gobPair<S extends object>(
  services: S,
  options: { client?: ClientOptions; server?: ServerOptions<"exact"> } = {},
): Pair<S> {
  const protocol = netrpc();
  return pair(services, {
    client: { protocol, ...options.client },
    // The helper's types are those of JSON; these tests check the values.
    server: { protocol, ...options.server } as object,
  });
}

test("calls are written as Go's client writes them", async () => {
  const { raw, client } = dial();
  const first = client.call("HelloService.Hello", "hi");
  assertEquals(await raw.take(78), FIRST);
  const second = client.call("HelloService.Hello", "hi2");
  assertEquals(await raw.take(33), SECOND);
  await raw.send(FIRST_REPLY);
  assertEquals(await first, "hello:hi");
  await client.abort();
  await assertRejects(() => second, RpcError);
});

test("replies are written as Go's server writes them", async () => {
  const { raw, server } = serve(hello);
  await raw.send(FIRST);
  assertEquals(await raw.take(95), FIRST_REPLY);
  await raw.send(SECOND);
  const reply =
    '19 ff82 01 12 "HelloService.Hello" 01 01 00 0c 0c 00 09 "hello:hi2"';
  assertEquals(await raw.take(39), bytes(reply));
  await raw.end();
  await server.close();
});

test("a server reads a stream that arrives in single bytes", async () => {
  const { raw, server } = serve(hello);
  const stream = join(FIRST, SECOND);
  await raw.send(...[...stream].map((byte) => Uint8Array.of(byte)));
  assertEquals((await raw.take(95 + 39)).subarray(0, 95), FIRST_REPLY);
  await raw.end();
  await server.close();
});

test("the text of an error reply becomes the error, and its body is ignored", async () => {
  const { raw, client } = dial({ firstId: 4 });
  const call = client.call("HelloService.Hello", "x");
  const next = client.call("HelloService.Hello", "y");
  await raw.take(78);
  await raw.send(RESPONSE_TYPE, ERROR_REPLY);
  const error = await assertRejects(() => call, RpcError, "bad input");
  assertEquals([error.code, error.outcome], ["go_error", "executed"]);
  const good = '19 ff82 01 12 "HelloService.Hello" 01 04 00 04 0c 00 01 "z"';
  await raw.send(bytes(good));
  assertEquals(await next, "z");
  await client.abort();
});

test("a client ignores a reply to a call that was never made", async () => {
  const { raw, client } = dial();
  const call = client.call("HelloService.Hello", "hi");
  await raw.take(78);
  const stray = '19 ff82 01 12 "HelloService.Hello" 01 63 00 04 0c 00 01 "z"';
  await raw.send(RESPONSE_TYPE, bytes(stray));
  await raw.send(FIRST_REPLY.subarray(RESPONSE_TYPE.length));
  assertEquals(await call, "hello:hi");
  assertEquals(client.stats().lateReplies, 1);
  await client.abort();
});

test("a reply that is not valid gob fails only its call", async () => {
  const { raw, client } = dial();
  const call = client.call("HelloService.Hello", "a");
  const next = client.call("HelloService.Hello", "b");
  await raw.take(78);
  const odd = '17 ff82 01 12 "HelloService.Hello" 00 03 0c 00 7f';
  await raw.send(RESPONSE_TYPE, bytes(odd));
  const error = await assertRejects(() => call, RpcError);
  assertEquals(error.code, "invalid_reply");
  const good = '19 ff82 01 12 "HelloService.Hello" 01 01 00 04 0c 00 01 "z"';
  await raw.send(bytes(good));
  assertEquals(await next, "z");
  await client.abort();
});

for (
  const [name, sent] of [
    ["an HTTP request", ascii("GET / HTTP/1.1\r\nHost: x\r\n\r\n")],
    ["random bytes", Uint8Array.of(3, 9, 9, 9, 200, 1)],
    ["a header that is not a struct", bytes('05 0c 00 02 "hi"')],
    [
      "a header of another struct",
      bytes(
        '12 ff81 03 01 02 ff82 00 01 01 01 01 "A" 01 04 00 00 00 05 ff82 01 02 00',
      ),
    ],
    [
      "a Seq above 2^53",
      join(REQUEST_TYPE, bytes("0d ff82 02 f8 ffffffffffffffff 00")),
    ],
    [
      "a method that is not UTF-8",
      join(REQUEST_TYPE, bytes("06 ff82 01 01 ff 00")),
    ],
    ["a message of 2^40 bytes", bytes("fa 010000000000")],
    ["a message one byte over the limit", bytes("fd 404001")],
  ] as const
) {
  test(`a server closes the connection and runs no handler: ${name}`, async () => {
    let ran = 0;
    const { raw, server, errors } = serve(
      { HelloService: { Hello: () => ran++ } },
      { maxMessage: 4 * 1024 * 1024 },
    );
    await raw.send(sent);
    assertEquals(await raw.rest(), new Uint8Array());
    await raw.end();
    await server.close();
    assertEquals(ran, 0);
    const [error] = errors as { code: string }[];
    assertEquals(error.code, "protocol_error");
  });
}

test("the error names the protocol that a peer speaks instead", async () => {
  const { raw, server, errors } = serve(hello);
  await raw.send(ascii("GET / HTTP/1.1\r\n\r\n"));
  await raw.rest();
  await raw.end();
  await server.close();
  assert((errors[0] as Error).message.endsWith(" (HTTP)"));
});

test("a stream that ends inside a message fails with truncated", async () => {
  const { raw, server, errors } = serve(hello);
  await raw.send(FIRST.subarray(0, 70));
  await raw.end();
  await raw.rest();
  await server.close();
  assertEquals((errors[0] as { code: string }).code, "truncated");
});

test("a FIN between messages is a half-close: open calls are still answered", async () => {
  const gate = Promise.withResolvers<string>();
  const aborted: unknown[] = [];
  const { raw, server, errors } = serve({
    HelloService: {
      Hello: (_: string, { signal }: { signal: AbortSignal }) => {
        signal.addEventListener("abort", () => aborted.push(signal.reason));
        return gate.promise;
      },
    },
  });
  await raw.send(FIRST);
  await raw.end();
  await settle();
  gate.resolve("hello:hi");
  assertEquals(await raw.rest(), FIRST_REPLY);
  await server.close();
  assertEquals([aborted, errors], [[], []]);
});

test("a FIN of the server fails the calls in flight", async () => {
  const { raw, client } = dial();
  const call = client.call("HelloService.Hello", "hi");
  await raw.take(78);
  await raw.end();
  const error = await assertRejects(() => call, RpcError);
  assertEquals([error.code, error.outcome], ["unavailable", "unknown"]);
  await client.close();
  assertNothingLeft(client.connection);
});

// Limits.

test("a server stops reading when its window is full, and continues when it is not", async () => {
  const gates: PromiseWithResolvers<string>[] = [];
  const services = {
    HelloService: {
      Hello: () => {
        const gate = Promise.withResolvers<string>();
        gates.push(gate);
        return gate.promise;
      },
    },
  };
  const { client, connection, errors, close } = gobPair(services, {
    client: { windowCalls: 10_000 },
    server: { windowCalls: 100 },
  });
  const calls = Array.from(
    { length: 1000 },
    () => client.call("HelloService.Hello"),
  );
  const replies = Promise.all(calls);
  let answered = 0;
  while (answered < 1000) {
    await settle();
    assert(
      connection.stats().receiving <= 100,
      `${connection.stats().receiving} held`,
    );
    for (; answered < gates.length; answered++) {
      gates[answered].resolve(String(answered));
    }
  }
  assertEquals((await replies).map(Number), calls.map((_, i) => i));
  await close();
  assertEquals(errors, []);
});

test("a server that has stopped reading can be closed", async () => {
  const never = new Promise<string>(() => {});
  const { client, connection, server } = gobPair({
    HelloService: { Hello: () => never },
  }, { server: { windowCalls: 64 } });
  const calls = Array.from(
    { length: 500 },
    () => client.call("HelloService.Hello").catch((error) => error.code),
  );
  await settle();
  assertEquals(connection.stats().receiving, 64);
  await server.close({ timeout: 0 });
  assertEquals(new Set(await Promise.all(calls)), new Set(["unavailable"]));
  await client.close();
  assertNothingLeft(connection);
  assertNothingLeft(client.connection);
});

test("the client's own windowCalls bounds the calls in flight", async () => {
  const { raw, client } = dial({ windowCalls: 3 });
  for (let i = 0; i < 10; i++) client.go("HelloService.Hello", "x");
  assertEquals([client.stats().inFlight, client.stats().queued], [3, 7]);
  await raw.take(78);
  await client.abort();
});

test("the client's window is 1,024 calls by default", async () => {
  for (const [window, wanted] of [[undefined, 1024], [2000, 2000]] as const) {
    const { raw, client } = dial({ protocol: netrpc({ window }) });
    for (let i = 0; i < 3000; i++) client.go("HelloService.Hello", "x");
    assertEquals(client.stats().inFlight, wanted);
    await raw.take(78);
    await client.abort();
  }
  for (const window of [0, 1.5, NaN]) {
    assertThrows(() => netrpc({ window }), RangeError, "window");
  }
});

test("an argument above maxMessage fails before it is sent", async () => {
  const { client } = dial({ maxMessage: 16 * 1024 });
  const error = await assertRejects(
    () => client.call("HelloService.Hello", "x".repeat(20_000)),
    RpcError,
  );
  assertEquals([error.code, error.outcome], ["resource_exhausted", "not_sent"]);
  await client.abort();
});

test("values of any size arrive, whether copied into the batch or attached", async () => {
  const services = { Echo: { echo: (value: unknown) => value } };
  const { client, close } = gobPair(services);
  for (const size of [0, 1, 28, 29, 127, 128, 255, 16_380, 16_390, 1 << 20]) {
    const text = "x".repeat(size);
    assertEquals(await client.call("Echo.echo", text), text);
    const bytes = new Uint8Array(size).fill(7);
    assertEquals(await client.call("Echo.echo", bytes), bytes);
  }
  await close();
});

// What the protocol does not support.

test("a deadline rejects the call at the client, and the call stays in flight until its reply", async () => {
  const clock = new TestClock();
  const { raw, client } = dial({ clock });
  const late = client.go("HelloService.Hello", "hi", { timeout: 50 });
  await raw.take(78);
  await clock.advance(50);
  const error = await assertRejects(() => late.reply, RpcError);
  assertEquals([error.code, late.outcome], ["deadline_exceeded", "unknown"]);
  assertEquals(client.stats().inFlight, 1);
  await raw.send(FIRST_REPLY);
  assertEquals(await late.settled, "executed");
  assertEquals(client.stats().inFlight, 0);
  await client.abort();
});

test("a call with metadata is rejected", async () => {
  const { client } = dial();
  const error = await assertRejects(
    () => client.call("HelloService.Hello", "x", { metadata: { a: "b" } }),
    RpcError,
    "metadata",
  );
  assertEquals([error.code, error.outcome], ["invalid_argument", "not_sent"]);
  await client.abort();
});

test("a call of a server to its client is rejected", async () => {
  const { client, connection, close } = gobPair(hello);
  assertEquals(await client.call("HelloService.Hello", "x"), "hello:x");
  const error = await assertRejects(() => connection.call("A.B"), RpcError);
  assertEquals([error.code, error.outcome], ["unavailable", "not_sent"]);
  await close();
});

test("a serializer cannot be combined with netrpc()", () => {
  const [near] = memoryPair();
  const serializer = {
    name: "x",
    encode: () => new Uint8Array(),
    decode: () => 0,
  };
  assertThrows(
    () => new Client(near, { protocol: netrpc(), serializer }),
    TypeError,
    "serializer",
  );
});

test("a result that gob cannot represent fails only its call, as internal", async () => {
  const services = {
    Odd: { odd: () => new Set([1]) as unknown, fine: () => 1 },
  };
  const { client, errors, close } = gobPair(services);
  const error = await assertRejects(() => client.call("Odd.odd"), RpcError);
  assertEquals(error.message, "the handler's result cannot be serialized");
  assertEquals(errors.length, 1);
  assertEquals(await client.call("Odd.fine"), 1);
  await close();
});

test("an error with an empty message is sent with its code as text", async () => {
  const services = {
    Odd: {
      odd: () => {
        throw new RpcError("empty", "");
      },
    },
  };
  const { client, close } = gobPair(services);
  await assertRejects(() => client.call("Odd.odd"), RpcError, "empty");
  await close();
});

test("the outcome of an error is unknown if its text may come from Go's own packages", async () => {
  const services = {
    Odd: {
      own: () => {
        throw new RpcError("own", "out of cups");
      },
      nested: () => {
        throw new RpcError("nested", "rpc: can't find method Other.method");
      },
    },
  };
  const { client, close } = gobPair(services);
  const outcome = async (method: "Odd.own" | "Odd.nested" | "Odd.absent") => {
    const call = () => client.call(method as "Odd.own");
    return (await assertRejects(call, RpcError)).outcome;
  };
  assertEquals(await outcome("Odd.own"), "executed");
  assertEquals(await outcome("Odd.nested"), "unknown");
  assertEquals(await outcome("Odd.absent"), "refused");
  await close();
});

test("an argument of another type is answered with Go's text, and the connection stays open", async () => {
  const Name = goMethod(string, string);
  const methods = { HelloService: { Hello: Name } };
  const { client, close } = gobPair(hello, {
    server: { protocol: netrpc({ methods }) },
  });
  const error = await assertRejects(
    () => client.call("HelloService.Hello", 5 as unknown as string),
    RpcError,
    "gob: decoding into local type *string, received remote type int",
  );
  assertEquals(error.outcome, "unknown");
  assertEquals(await client.call("HelloService.Hello", "x"), "hello:x");
  await close();
});

test("a getter that makes a call while params are encoded does not mix up the two calls", async () => {
  const services = { Echo: { echo: (value: unknown) => value } };
  const { client, close } = gobPair(services);
  let inner: Promise<unknown> | undefined;
  const params = {
    A: 1,
    get B() {
      inner ??= client.call("Echo.echo", { C: [1, 2, 3], D: "inner" });
      return "outer";
    },
  };
  assertEquals(await client.call("Echo.echo", params), { A: 1, B: "outer" });
  assertEquals(await inner, { C: [1, 2, 3], D: "inner" });
  await close();
});

// Messages above the local maxMessage.

for (const size of [7, 1000, Infinity]) {
  test(`[X27] an argument above the server's maxMessage is answered with an error, in chunks of ${size}`, async () => {
    let ran = 0;
    const { raw, server } = serve(
      { HelloService: { Hello: (name: string) => (ran++, `hello:${name}`) } },
      { maxMessage: 16_384 },
    );
    const large = join(
      bytes("fe c355 0c 00 fe c350"),
      new Uint8Array(50_000).fill(0x78),
    );
    const head = FIRST.subarray(0, FIRST.length - 6);
    const all = join(head, large, SECOND);
    for (let at = 0; at < all.length; at += size) {
      await raw.send(all.subarray(at, Math.min(all.length, at + size)));
    }
    await raw.end();
    const received = new TextDecoder().decode(await raw.rest());
    const text =
      "rpc: an argument has 50005 bytes, more than the receiver's maxMessage of 16384";
    assert(received.includes(text), received);
    assert(received.includes("hello:hi2"), received);
    assertEquals(ran, 1);
    await server.close();
  });

  test(`[X27] a reply above the client's maxMessage fails only its call, in chunks of ${size}`, async () => {
    const { raw, client } = dial({ maxMessage: 16_384 });
    const calls = [1, 2].map(() => client.call("HelloService.Hello", "hi"));
    calls[0].catch(() => {});
    await raw.take(78);
    const all = join(
      RESPONSE_TYPE,
      bytes('17 ff82 01 12 "HelloService.Hello" 00 fe c355 0c 00 fe c350'),
      new Uint8Array(50_000),
      bytes('19 ff82 01 12 "HelloService.Hello" 01 01 00 04 0c 00 01 "z"'),
    );
    for (let at = 0; at < all.length; at += size) {
      await raw.send(all.subarray(at, Math.min(all.length, at + size)));
    }
    const error = await assertRejects(
      () => calls[0],
      RpcError,
      "a reply has 50005 bytes, more than the receiver's maxMessage of 16384",
    );
    assertEquals([error.code, error.outcome], ["frame_too_large", "executed"]);
    assertEquals(await calls[1], "z");
    await client.abort();
  });
}

test("[X27] a queued call that is too large is answered with an error", async () => {
  const gate = Promise.withResolvers<string>();
  const { raw, server } = serve(
    { HelloService: { Hello: () => gate.promise } },
    { maxMessage: 16_384, maxRunning: 1 },
  );
  const head = SECOND.subarray(0, SECOND.length - 7);
  await raw.send(
    FIRST,
    join(head, bytes("fe c355 0c 00 fe c350"), new Uint8Array(50_000)),
  );
  await settle();
  gate.resolve("x");
  await raw.end();
  const received = new TextDecoder().decode(await raw.rest());
  assert(received.includes("an argument has 50005 bytes"), received);
  await server.close();
});

test("[X27] a header above the server's maxMessage closes the connection with frame_too_large", async () => {
  const { raw, server, errors } = serve(hello, { maxMessage: 16_384 });
  await raw.send(FIRST, bytes("fe c355"));
  await raw.rest();
  await raw.end();
  await server.close();
  const [error] = errors as { code: string; message: string }[];
  assertEquals(error.code, "frame_too_large");
  assert(error.message.includes("maxMessage of 16384"), error.message);
});

test("[X27] the error names whose maxMessage a message would exceed", async () => {
  for (const encoding of ["gob", "json"] as const) {
    const protocol = encoding === "json" ? netrpc({ encoding }) : netrpc();
    const { client } = dial({ protocol, maxMessage: 16_384 });
    const error = await assertRejects(
      () => client.call("HelloService.Hello", "x".repeat(20_000)),
      RpcError,
      "exceeds the local maxMessage, 16384 bytes",
    );
    assertEquals(error.outcome, "not_sent");
    await client.abort();
  }
  const { client, close } = gobPair({
    Echo: { echo: (n: number) => "x".repeat(n) },
  }, { server: { maxMessage: 16_384 } });
  await assertRejects(
    () => client.call("Echo.echo", 20_000),
    RpcError,
    "the server's maxMessage is 16384",
  );
  await close();
});

test("[X26] a null result without a declared type fails only its call", async () => {
  const { client, errors, close } = gobPair({
    Odd: { none: () => null, nothing: () => undefined },
  });
  await assertRejects(() => client.call("Odd.none"), RpcError, "serialized");
  assertEquals(await client.call("Odd.nothing") as unknown, {});
  assertEquals(errors.length, 1);
  await close();
});

for (
  const [text, outcome] of [
    ['value for "int8" out of range', "unknown"],
    ["EOF", "unknown"],
    ["unexpected EOF", "unknown"],
    ["illegal base64 data at input byte 4", "unknown"],
    ['parsing time "x" as "2006": cannot parse', "unknown"],
    ["Time.UnmarshalBinary: invalid length", "unknown"],
    ["Time.UnmarshalJSON: input is not a JSON string", "unknown"],
    ["Int.GobDecode: buffer too small", "unknown"],
    ["invalid character 'x' looking for beginning of value", "unknown"],
    ["unexpected end of JSON input", "unknown"],
    ['strconv.ParseInt: parsing "x": invalid syntax', "unknown"],
    ["encoding/hex: odd length hex string", "unknown"],
    ['math/big: cannot unmarshal "x" into a *big.Int', "unknown"],
    ['ParseAddr("x"): unable to parse IP', "unknown"],
    ["gob: duplicate type received", "unknown"],
    ["out of cups", "executed"],
    ["EOF of the list", "executed"],
    ["the value is out of range", "executed"],
    ["parsing failed", "executed"],
    ["user service: gone", "executed"],
  ] as const
) {
  test(`[X28] the outcome of the error "${text}" is ${outcome}`, async () => {
    const { client, close } = gobPair({
      Odd: {
        own: () => {
          throw new RpcError("own", text);
        },
      },
    });
    const error = await assertRejects(() => client.call("Odd.own"), RpcError);
    assertEquals([error.message, error.outcome], [text, outcome]);
    await close();
  });
}
