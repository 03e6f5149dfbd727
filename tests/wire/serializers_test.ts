/** Lists of serializers: which one each side sends with, and calls before that is known. */

import { test } from "node:test";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  Client,
  type ClientOptions,
  memoryPair,
  type PeerHello,
  ReconnectingClient,
  rich,
  RpcError,
  type Serializer,
  type SerializerOption,
  Server,
  type ServerOptions,
} from "../../mod.ts";
import { settle } from "../support/clock.ts";
import {
  assertCloses,
  faceClient,
  faceServer,
  serializerField,
} from "../support/facing.ts";
import { pair, type PairOptions } from "../support/pair.ts";
import { failure, hello, KIND, RawPeer, reply } from "../support/raw_peer.ts";

const services = { S: { echo: (value: unknown) => value } };

/** A serializer that writes its name behind each value, and counts what it encodes. */
function named(name: string): Serializer & { encoded: number } {
  return {
    name,
    encoded: 0,
    encode(value) {
      this.encoded++;
      return new TextEncoder().encode(`${JSON.stringify(value)}|${name}`);
    },
    decode(bytes) {
      const [text, from] = new TextDecoder().decode(bytes).split("|");
      assertEquals(from, name);
      return JSON.parse(text);
    },
  };
}

/** The payload of a REQUEST of `S.echo`, with its kind. */
function payloadOf(frame: { body: Uint8Array }): string {
  const [kind, ...rest] = frame.body.subarray(8);
  return `${kind} ${new TextDecoder().decode(new Uint8Array(rest))}`;
}

test("each side sends with the first of its own serializers that the peer has", async () => {
  const [a, b, c] = ["a", "b", "c"].map(named);
  const cases: [SerializerOption, SerializerOption, number[]][] = [
    // How often a, b and c encode for a call and its result.
    [[a, b], [b, a], [1, 1, 0]],
    [[a, b, "json"], [c, b], [0, 2, 0]],
    [[a, "json"], ["json", a], [1, 0, 0]],
    [[a, "json"], [c, "json"], [0, 0, 0]],
    [[a, "json"], "json" as never, [0, 0, 0]],
    [a, [c, a], [2, 0, 0]],
    ["json" as never, [a, b, "json"], [0, 0, 0]],
  ];
  for (const [client, server, expected] of cases) {
    for (const each of [a, b, c]) each.encoded = 0;
    const to = (option: SerializerOption) => {
      const json = option === "json" as never;
      return { serializer: json ? undefined : option } as Pick<
        ServerOptions,
        "serializer"
      >;
    };
    const { client: caller, close } = pair(services, {
      client: to(client),
      server: to(server),
    });
    // Opened first: a side that does not know yet encodes with each.
    await caller.connection.opened;
    assertEquals(await caller.call("S.echo", { n: [1] }), { n: [1] });
    assertEquals([a, b, c].map(({ encoded }) => encoded), expected);
    await close();
  }
});

test("serializers without a common name close the connection on both sides", async () => {
  const { client, connection, server } = pair(services, {
    client: { serializer: [named("a"), named("b")] },
    server: { serializer: [named("c"), "json"] },
  });
  const error = await assertRejects(() => client.call("S.echo", 1), RpcError);
  assertEquals([error.code, error.outcome], ["unavailable", "not_sent"]);
  for (const { closed } of [client, connection]) {
    assertEquals((await closed)?.code, "serializer_mismatch");
  }
  await server.close();
});

test("[HE9] lists on the wire: absent is JSON, unknown names and spaces are passed over", async () => {
  const a = named("a");
  const cases: [SerializerOption, number[], boolean][] = [
    [[a, "json"], [], true],
    [[a, "json"], serializerField("json"), true],
    [[a, "json"], serializerField("x a"), true],
    [a, serializerField("x  a "), true],
    [a, serializerField("x json y"), false],
    [a, [], false],
    [a, serializerField("A"), false],
    [[a, "json"], [4, 0, 0], false],
  ];
  for (const [serializer, extra, open] of cases) {
    for (
      const facing of [
        faceClient({ serializer }),
        faceServer(
          services,
          { serializer } as Pick<ServerOptions, "serializer">,
        ),
      ]
    ) {
      await facing.peer.send(hello({ extra }));
      if (open) {
        await facing.connection.opened;
        await facing.connection.abort();
      } else await assertCloses(facing, "serializer_mismatch");
    }
  }
});

test("payload kind 4 is what the peer's own list says, also where this side sends another", async () => {
  const [a, b] = [named("a"), named("b")];
  const { peer, connection } = faceClient({ serializer: [a, b, "json"] });
  const call = connection.call("S.echo", 1);
  // The peer prefers b, and so sends with it; this side prefers a.
  await peer.send(hello({ extra: serializerField("b a") }));
  assertEquals((await peer.next())?.kind, KIND.HELLO);
  const sent = await peer.next();
  assert(sent !== undefined);
  assertEquals(payloadOf(sent), "4 1|a");
  await peer.send(reply(1, [4, ...new TextEncoder().encode("2|b")]));
  assertEquals(await call, 2);
  await connection.abort();
});

test("[PL1] JSON stays legal where both sides have a serializer", async () => {
  const { peer, connection } = faceClient({ serializer: named("a") });
  await peer.send(hello({ extra: serializerField("a") }));
  const call = connection.call("S.echo", 1);
  await settle();
  await peer.send(reply(1, [1, 0x32]));
  assertEquals(await call, 2);
  await connection.abort();
});

test("[PL4] kind 4 from a peer that should send JSON fails that call alone", async () => {
  const { peer, connection } = faceClient({ serializer: [named("a"), "json"] });
  await peer.send(hello());
  const calls = [1, 2].map((n) => connection.call("S.echo", n));
  await settle();
  await peer.send(reply(1, [4, 1]), reply(2));
  const error = await assertRejects(() => calls[0], RpcError);
  assertEquals([error.code, error.outcome], ["invalid_reply", "executed"]);
  assertEquals(await calls[1], "ok");
  await connection.abort();
});

test("with several serializers, calls wait for HELLO and are sent as they were when they were made", async () => {
  for (
    const [extra, expected] of [
      [serializerField("a"), '4 {"n":1}|a'],
      [[], '1 {"n":1}'],
    ] as const
  ) {
    const a = named("a");
    const { peer, connection } = faceClient({ serializer: [a, "json"] });
    const params = { n: 1 };
    const first = connection.go("S.echo", params);
    const second = connection.go("S.echo", "text");
    params.n = 2;
    assertEquals((await peer.next())?.kind, KIND.HELLO);
    await settle();
    assertEquals([first.outcome, first.id], ["not_sent", undefined]);
    assertEquals(connection.desiredSize, -2);
    await peer.send(hello({ extra }));
    const frames = [await peer.next(), await peer.next()];
    assertEquals(frames.map((frame) => frame && payloadOf(frame)), [
      expected,
      "3 text",
    ]);
    // The window counts what was sent, and no other form.
    const sizes = frames.map((frame) => 12 + (frame?.body.length ?? 0));
    assertEquals([first.size, second.size], sizes);
    const { inFlightBytes, queuedBytes } = connection.stats();
    assertEquals([inFlightBytes, queuedBytes], [sizes[0] + sizes[1], 0]);
    assertEquals(a.encoded, 1);
    await peer.send(reply(1), failure(2, "no", "", true));
    assertEquals(await first.reply, "ok");
    await assertRejects(() => second.reply, RpcError);
    await connection.abort();
  }
});

test("a call that the chosen serializer cannot carry fails alone; one that none can, at once", async () => {
  const { peer, connection } = faceClient({ serializer: [rich(), "json"] });
  const big = connection.go("S.echo", { n: 1n });
  const good = connection.go("S.echo", { n: 1 });
  const none = connection.go("S.echo", { f: () => 1 });
  const error = await assertRejects(() => none.reply, RpcError);
  assertEquals([error.code, error.outcome], ["invalid_argument", "not_sent"]);
  await settle();
  assertEquals(big.outcome, "not_sent");
  await peer.send(hello());
  const refused = await assertRejects(() => big.reply, RpcError);
  assertEquals([refused.code, refused.outcome], [
    "invalid_argument",
    "not_sent",
  ]);
  await settle();
  await peer.send(reply(1));
  assertEquals(await good.reply, "ok");
  await connection.abort();
});

test("a waiting call may be aborted before HELLO; its bytes are given back", async () => {
  const { peer, connection } = faceClient({ serializer: [named("a"), "json"] });
  const handles = [1, 2, 3].map((n) => connection.go("S.echo", { n }));
  handles[1].abort("no");
  await assertRejects(() => handles[1].reply);
  await peer.send(hello());
  await settle();
  await peer.send(reply(1), reply(2));
  assertEquals(await handles[0].reply, "ok");
  assertEquals(await handles[2].reply, "ok");
  assertEquals(connection.stats().queuedBytes, 0);
  await connection.abort();
});

test("a call that fits in the form that is chosen is sent, though all forms together are too large", async () => {
  const wide = { ...named("wide"), encode: () => new Uint8Array(60_000) };
  const serializer = [wide, "json"] as const;
  const { peer, connection } = faceClient({ serializer });
  const handle = connection.go("S.echo", { n: 1 });
  assert(handle.size > 60_000);
  await peer.send(hello({ maxMessage: 16 * 1024 }));
  await settle();
  await peer.send(reply(1));
  assertEquals(await handle.reply, "ok");
  // The other way round it is refused when HELLO has said so.
  const other = faceClient({ serializer });
  const large = other.connection.go("S.echo", { n: 1 });
  await other.peer.send(
    hello({ maxMessage: 16 * 1024, extra: serializerField("wide") }),
  );
  const error = await assertRejects(() => large.reply, RpcError);
  assertEquals([error.code, error.outcome], ["resource_exhausted", "not_sent"]);
  await connection.abort();
  await other.connection.abort();
});

test("a reconnecting client sends a call again in the form of each connection", async () => {
  const [a, peers] = [named("a"), [] as RawPeer[]];
  const client = new ReconnectingClient<object>(() => {
    const peer = new RawPeer();
    peers.push(peer);
    return peer.duplex;
  }, { serializer: [a, "json"], retry: { base: 1 } });
  const params = { n: 1 };
  const call = (client as unknown as Client).call(
    "S.echo" as never,
    params as never,
    { idempotent: true } as never,
  );
  params.n = 2;
  const read = async (peer: RawPeer, extra: readonly number[]) => {
    await peer.send(hello({ extra }));
    assertEquals((await peer.next())?.kind, KIND.HELLO);
    const frame = await peer.next();
    return frame && payloadOf(frame);
  };
  while (peers.length < 1) await settle();
  assertEquals(await read(peers[0], serializerField("a")), '4 {"n":1}|a');
  await peers[0].end();
  while (peers.length < 2) await new Promise((done) => setTimeout(done, 1));
  assertEquals(await read(peers[1], []), '1 {"n":1}');
  await peers[1].send(reply(1, [1, 0x35]));
  assertEquals(await call, 5 as never);
  assertEquals(a.encoded, 1);
  await Promise.all([client.close({ timeout: 0 }), peers[1].end()]);
});

test("streams, errors and both directions use what was agreed", async () => {
  const serializer = [rich(), "json"] as const;
  for (const other of [serializer, ["json"] as const]) {
    const { client, close } = pair(
      {
        S: {
          async *twice(items: ReadableStream<unknown>) {
            for await (const item of items) yield [item, item];
          },
          fail: (data: unknown) => {
            throw new RpcError("own", "text", { data });
          },
        },
      },
      { client: { serializer }, server: { serializer: other } } as PairOptions,
    );
    const values = [{ n: 1 }, null];
    const out = await client.call("S.twice", ReadableStream.from(values));
    assertEquals(
      await Array.fromAsync(out as AsyncIterable<unknown>),
      values.map((value) => [value, value]),
    );
    const error = await assertRejects(
      () => client.call("S.fail", { n: 1 }),
      RpcError,
    );
    assertEquals(error.data, { n: 1 });
    await close();
  }
});

test("names are checked when a client or a server is made", () => {
  const codec = { encode: () => new Uint8Array(), decode: () => 1 };
  const cases: SerializerOption[] = [
    { name: "a b", ...codec },
    { name: "a\n", ...codec },
    { name: "\x7f", ...codec },
    { name: "", ...codec },
    { name: "json", ...codec },
    ["json", { name: " ", ...codec }],
    { name: "é".repeat(128), ...codec },
    ["json", { name: "x".repeat(251), ...codec }],
    [],
  ];
  for (const serializer of cases) {
    const options = { serializer } as Pick<ServerOptions, "serializer">;
    assertThrows(() => new Client(memoryPair()[0], options), RangeError);
    assertThrows(() => new Server(services, options), RangeError);
    assertThrows(
      () => new ReconnectingClient(() => memoryPair()[0], options),
      RangeError,
    );
  }
  const longest: ClientOptions = {
    serializer: ["json", { name: "x".repeat(250), ...codec }],
  };
  new Client(memoryPair()[0], longest).close({ timeout: 0 });
});

test("`authorize` sees the names", async () => {
  const seen: PeerHello["serializers"][] = [];
  const server = new Server(services, {
    serializer: [named("a"), "json"],
    authorize: (hello) => seen.push(hello.serializers),
  });
  for (const serializer of [undefined, [named("b"), "json"]] as const) {
    const [near, far] = memoryPair();
    server.accept(far);
    const client = new Client<typeof services>(near, { serializer });
    assertEquals(await client.call("S.echo", 1), 1);
    await client.close();
  }
  assertEquals(seen, [undefined, "b json"]);
  await server.close();
});
