/** Payloads that cannot be encoded or decoded: only their own call fails. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "@std/assert";
import { Client, RpcError, Server } from "../../mod.ts";
import { pair, type PairOptions } from "../support/pair.ts";
import {
  hello,
  join,
  KIND,
  RawPeer,
  readCode,
  reply,
  request,
} from "../support/raw_peer.ts";

const services = {
  S: { echo: (value: unknown) => value, f: () => "f" },
};

/** How one call ends among others that succeed. */
async function failure(
  value: unknown,
  options?: PairOptions,
): Promise<RpcError> {
  const { client, close } = pair(services, options);
  assertEquals(await client.call("S.f"), "f");
  const handle = client.go("S.echo", value);
  const error = await assertRejects(() => handle.reply, RpcError);
  assertEquals(await handle.settled, error.outcome);
  assertEquals(await client.call("S.f"), "f");
  await close();
  return error;
}

const UNENCODABLE: Record<string, () => unknown> = {
  "a cycle": () => {
    const me: unknown[] = [];
    me.push(me);
    return me;
  },
  "a BigInt": () => 1n,
  "a function": () => () => 1,
  "a symbol": () => Symbol("s"),
  "an object that JSON leaves out": () => ({ toJSON: () => undefined }),
  "an object whose toJSON throws": () => ({
    toJSON() {
      throw new Error("mine");
    },
  }),
  "a Proxy of bytes": () => new Proxy(new Uint8Array(8), {}),
};

for (const [name, make] of Object.entries(UNENCODABLE)) {
  test(`[H4] params that are ${name} fail their call, not sent`, async () => {
    const error = await failure(make());
    assertEquals([error.code, error.outcome], ["invalid_argument", "not_sent"]);
  });
}

test("[H4] an array nested 1,000,000 deep arrives or fails its call, depending on the platform's limit", async () => {
  const { client, close } = pair(services);
  let nested: unknown[] = [];
  for (let i = 0; i < 1_000_000; i++) nested = [nested];
  const handle = client.go("S.echo", nested);
  const [result] = await Promise.allSettled([handle.reply]);
  if (result.status === "rejected") assertInstanceOf(result.reason, RpcError);
  assertEquals(await client.call("S.f"), "f");
  await close();
});

test("an error for params that cannot be encoded has the cause", async () => {
  const cause = new Error("mine");
  const { cause: told } = await failure({
    toJSON() {
      throw cause;
    },
  });
  assertEquals(told, cause);
});

/** Payload kinds, as a payload's first byte. */
const JSON_TEXT = 1, STRING = 3, CUSTOM = 4;

const UNREADABLE: Record<string, Uint8Array> = {
  "JSON that does not parse": join([JSON_TEXT], text("{")),
  "no JSON at all": Uint8Array.of(JSON_TEXT),
  "JSON that is not UTF-8": Uint8Array.of(JSON_TEXT, 0x22, 0xff, 0x22),
  "a string that is not UTF-8": Uint8Array.of(STRING, 0xff),
  "a short string whose eighth byte is not UTF-8": Uint8Array.of(
    STRING,
    ...text("1234567"),
    0xff,
  ),
  "a long string cut inside a character": join(
    [STRING],
    text("é".repeat(9000)).subarray(0, 17_999),
  ),
  "a custom payload without a serializer": Uint8Array.of(CUSTOM, 1, 2),
};

function text(s: string): Uint8Array {
  return new TextEncoder().encode(s);
}

for (const [name, payload] of Object.entries(UNREADABLE)) {
  test(`[H4] a call with ${name} is refused, others go on`, async () => {
    const peer = new RawPeer();
    const server = new Server(services);
    server.accept(peer.duplex);
    const bytes = [...payload];
    await peer.send(
      hello(),
      request(1, "S.echo", bytes),
      request(2, "S.echo", "fine"),
    );
    const error = await peer.nextOf(KIND.ERROR);
    assertEquals([error.id, error.flags & 1], [1, 0]);
    assertEquals(readCode(error).code, "invalid_argument");
    assertEquals((await peer.nextOf(KIND.REPLY)).id, 2);
    await peer.end();
    await server.close();
  });

  test(`[H4] a reply with ${name} fails its call, others go on`, async () => {
    const peer = new RawPeer();
    const client = new Client<typeof services>(peer.duplex, { firstId: 1 });
    await peer.send(hello());
    const first = client.go("S.echo", 1);
    const second = client.go("S.f");
    await first.sent;
    await peer.send(reply(1, [...payload]), reply(2, "fine"));
    const error = await assertRejects(() => first.reply, RpcError);
    assertEquals([error.code, error.outcome], ["invalid_reply", "executed"]);
    assert(error.cause !== undefined);
    assertEquals(await second.reply, "fine");
    await client.abort();
  });
}

test("[H4] params of JSON nested 100,000 deep crash neither side", async () => {
  const depth = 100_000;
  const nested = [...text("[".repeat(depth) + "]".repeat(depth))];
  const peer = new RawPeer();
  const server = new Server(services);
  server.accept(peer.duplex);
  await peer.send(
    hello(),
    request(1, "S.f", [JSON_TEXT, ...nested]),
    request(2, "S.echo", [JSON_TEXT, ...nested]),
    request(3, "S.f"),
  );
  // Each is either read or refused, depending on the platform's parser.
  for (;;) {
    const got = await peer.next();
    if (got?.kind === KIND.REPLY && got.id === 3) break;
    assert(got !== undefined && got.kind !== KIND.GOAWAY);
  }
  await peer.end();
  await server.close();
});

test("[H4] a reply nested 100,000 deep crashes neither side", async () => {
  const depth = 100_000;
  const nested = [...text("[".repeat(depth) + "]".repeat(depth))];
  const peer = new RawPeer();
  const client = new Client<typeof services>(peer.duplex, { firstId: 1 });
  await peer.send(hello());
  const [deep, fine] = [client.go("S.echo", 1), client.go("S.f")];
  await fine.sent;
  await peer.send(reply(1, [JSON_TEXT, ...nested]), reply(2, "fine"));
  assertEquals(await fine.reply, "fine");
  assertEquals(await deep.settled, "executed");
  await client.abort();
});

test("[H0] a call larger than the server's messages fails, not sent", async () => {
  const server = { maxMessage: 16 * 1024 };
  const error = await failure("x".repeat(16 * 1024), { server });
  assertEquals([error.code, error.outcome], ["resource_exhausted", "not_sent"]);
});

test("[H0] a call larger than the server's window fails, not sent", async () => {
  const server = { windowBytes: 10_000 };
  const error = await failure(new Uint8Array(10_000), { server });
  assertEquals([error.code, error.outcome], ["resource_exhausted", "not_sent"]);
});

test("[H0] a call that is too large for the server's HELLO fails when that arrives", async () => {
  const { client, close } = pair(services, {
    server: { maxMessage: 16 * 1024 },
  });
  const early = [
    client.go("S.echo", "x".repeat(100_000)),
    client.go("S.f"),
  ];
  const error = await assertRejects(() => early[0].reply, RpcError);
  assertEquals([error.code, error.outcome], ["resource_exhausted", "not_sent"]);
  assertEquals(await early[1].reply, "f");
  await close();
});
