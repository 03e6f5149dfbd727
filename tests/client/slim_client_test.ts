// The client of `@sluice/rpc/client`: what it does by itself, what it refuses
// without a feature, and what each feature adds.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import {
  callable,
  Client,
  clientMiddleware,
  clientOf,
  type ClientOptions,
  fragments,
  keepalive,
  map,
  observers,
  RpcError,
  stage,
  StageError,
  streams,
} from "../../client.ts";
import * as full from "../../mod.ts";
import { readHello } from "../conformance/bytes.ts";
import { settle, TestClock } from "../support/clock.ts";
import { assertCloses, greet } from "../support/facing.ts";
import { assertNothingLeft } from "../support/pair.ts";
import {
  frame,
  goaway,
  hello,
  KIND,
  RawPeer,
  readCode,
  reply,
  request,
} from "../support/raw_peer.ts";
import { Held } from "../support/services.ts";

const services = {
  Math: {
    square: (n: number) => n * n,
    fail: () => {
      throw new RpcError("out_of_luck", "as asked", { data: { why: 7 } });
    },
  },
  Text: {
    count: async (lines: AsyncIterable<string>) =>
      (await Array.fromAsync(lines)).length,
    upTo: async function* (n: number) {
      for (let i = 0; i < n; i++) yield i;
    },
    metadata: (_: null, { metadata }: full.CallContext) => [...metadata],
  },
};

/** What a slim client and the client with everything have in common. */
type AnyClient = Client<typeof services>;

/** A slim client and a server of `@sluice/rpc`. */
function slim<S extends object>(
  services: S,
  options: ClientOptions = {},
  serverOptions: full.ServerOptions = {},
) {
  const [near, far] = full.memoryPair();
  const server = new full.Server<S>(
    services as S & full.Checked<S>,
    serverOptions,
  );
  const connection = server.accept(far);
  const client = new Client<S>(near, options);
  const close = async () => {
    await Promise.all([client.close(), server.close()]);
    assertNothingLeft(client.connection);
    assertNothingLeft(connection);
  };
  return { client, server, connection, close };
}

/** A slim client whose peer is made by hand. */
function facing(options: ClientOptions = {}) {
  const peer = new RawPeer();
  const clock = new TestClock();
  const client = new Client<full.UntypedServices>(peer.duplex, {
    clock,
    ...options,
  });
  return { peer, clock, client, connection: client.connection };
}

async function errorOf(promise: Promise<unknown>): Promise<RpcError> {
  return await assertRejects(() => promise, RpcError);
}

// Calls.

test("the same program gets the same results from the slim client and the client with everything", async () => {
  const program = async (client: AnyClient): Promise<unknown[]> => {
    const options = { metadata: { name: "value" } };
    const handle = client.go("Math.square", 5);
    const failed = await errorOf(client.call("Math.fail"));
    const { code, message, outcome, data, method } = failed;
    return [
      await client.call("Math.square", 3),
      await client.service("Math").square(4),
      [await handle.reply, await handle.settled, await handle.sent],
      await client.notify("Math.square", 6),
      await client.call("Text.metadata", null, options),
      await Promise.all([1, 2, 3].map((n) => client.call("Math.square", n))),
      { code, message, outcome, data, method },
      await Array.fromAsync(map(client, "Math.square", [7, 8])),
      await client.call("Text.count", ReadableStream.from(["a", "b"])),
      await Array.fromAsync(await client.call("Text.upTo", 3)),
      client.desiredSize > 0,
      await client.ready,
      await client.close(),
      await client.closed,
    ];
  };
  const [near, far] = full.memoryPair();
  const server = new full.Server(services);
  server.accept(far);
  const expected = await program(new full.Client<typeof services>(near));
  await server.close();
  const { client, close } = slim(services, { streams: streams() });
  assertEquals(await program(client), expected);
  assertEquals(expected.slice(0, 2), [9, 16]);
  await close();
});

for (const feature of [undefined, fragments()]) {
  const cut = feature !== undefined;
  const how = cut ? "with fragments() cuts" : "without fragments() sends whole";
  test(`a slim client ${how} a large request, and takes a large reply`, async () => {
    const echo = { Text: { echo: (text: string) => text } };
    const text = "x".repeat(200_000);
    const { client, close } = slim(echo, { fragments: feature });
    await client.connection.opened;
    for (const priority of [undefined, "urgent"] as const) {
      assertEquals(await client.call("Text.echo", text, { priority }), text);
    }
    await close();

    const peer = new RawPeer();
    const wired = new Client(peer.duplex, { fragments: feature });
    await peer.send(hello({ fragments: true }));
    const greeting = readHello(await peer.nextOf(KIND.HELLO));
    assertEquals(greeting.fragments, cut);
    await wired.connection.opened;
    const { reply: result } = wired.go("Text.echo", text);
    const large = await peer.next();
    assertEquals(large?.kind, cut ? KIND.FRAGMENT : KIND.REQUEST);
    const failed = errorOf(result);
    await wired.abort();
    await failed;
  });
}

test("without fragments, a FRAGMENT of the server is a fault", async () => {
  const peer = new RawPeer();
  const client = new Client(peer.duplex);
  await peer.send(hello({ fragments: true }));
  await client.connection.opened;
  await peer.send(frame(KIND.FRAGMENT, 1, new Uint8Array(100)));
  assertEquals((await client.closed)?.code, "protocol_error");
});

test("a slim client's call ends at its deadline, and the handler's signal fires", async () => {
  const held = new Held();
  const clock = new TestClock();
  const { client, close } = slim(held.services, { clock }, { clock });
  const late = client.go("Held.work", 1, { timeout: 100 });
  await settle();
  await clock.advance(100);
  const error = await errorOf(late.reply);
  assertEquals([error.code, error.outcome], ["deadline_exceeded", "unknown"]);
  await settle();
  assert(held.calls[0].ctx.signal.aborted);
  held.release();
  assertEquals(await late.settled, "executed");
  await close();
});

test("an abort ends a slim client's call at once, and cancels it on the server", async () => {
  const held = new Held();
  const { client, close } = slim(held.services);
  const reason = new Error("enough");
  const aborter = new AbortController();
  const handle = client.go("Held.work", 1, { signal: aborter.signal });
  await settle();
  aborter.abort(reason);
  assertEquals(await handle.reply.catch((error) => error), reason);
  await settle();
  assert(held.calls[0].ctx.signal.aborted);
  held.release();
  assertEquals(await handle.settled, "executed");
  await close();
});

test("a slim client finishes its calls when the server drains, and makes no new ones", async () => {
  const held = new Held();
  const { client, server, close } = slim(held.services);
  const handle = client.go("Held.work", 1);
  await settle();
  const closing = server.close();
  await settle();
  const error = await errorOf(client.call("Held.echo", 2));
  assertEquals([error.code, error.outcome], ["unavailable", "not_sent"]);
  held.release("done");
  assertEquals(await handle.reply, "done");
  await closing;
  assertEquals(await client.closed, undefined);
  await close();
});

test("a slim client settles each call with its outcome: after GOAWAY, a loss, and in the window's queue", async () => {
  const { peer, client } = facing();
  await greet({ peer }, { calls: 3 });
  const sent = [1, 2, 3].map((n) => client.go("m", n));
  const queued = client.go("m", 4);
  await settle();
  await peer.send(reply(1, "ok"), goaway(2));
  assertEquals(await sent[0].settled, "executed");
  assertEquals(await sent[2].settled, "refused");
  assertEquals(await queued.settled, "not_sent");
  assertEquals(sent[1].outcome, "unknown");
  await peer.reset();
  assertEquals(await sent[1].settled, "unknown");
  const codes = [sent[1], sent[2], queued].map(async ({ reply }) =>
    (await errorOf(reply)).code
  );
  assertEquals(
    await Promise.all(codes),
    ["unavailable", "unavailable", "unavailable"],
  );
  assertEquals((await client.closed)?.code, "unavailable");
  assertNothingLeft(client.connection);
});

test("stats and calls of a slim client are those of its connection", async () => {
  const held = new Held();
  const { client, close } = slim(held.services);
  const handle = client.go("Held.work", 1);
  await settle();
  assertEquals(client.connection.stats().inFlight, 1);
  const [live] = client.connection.calls();
  assertEquals([live.side, live.method, live.state], [
    "client",
    "Held.work",
    "sent",
  ]);
  held.release();
  await handle.reply;
  assertEquals(client.connection.stats().settled.executed, 1);
  await close();
});

test("default options of a slim client hold for each call", async () => {
  const clock = new TestClock();
  const held = new Held();
  const { client, close } = slim({ ...held.services, ...services }, {
    clock,
    timeout: 50,
    metadata: { from: "slim" },
  }, { clock });
  assertEquals(await client.call("Text.metadata", null), [["from", "slim"]]);
  const late = client.go("Held.work", 1);
  await settle();
  await clock.advance(50);
  assertEquals((await errorOf(late.reply)).code, "deadline_exceeded");
  held.release();
  await close();
});

// Without `streams`.

test("without streams, HELLO offers none; with streams, it does", async () => {
  for (const feature of [undefined, streams()]) {
    const { peer, client } = facing({ streams: feature });
    const greeting = readHello(await peer.nextOf(KIND.HELLO));
    assertEquals(greeting.streams !== undefined, feature !== undefined);
    await client.abort();
  }
});

test("without streams, a stream as params is refused before it is read, and the error says what to pass", async () => {
  const { client, connection, close } = slim(services);
  let pulled = 0;
  const readable = new ReadableStream<string>({ pull: () => void pulled++ }, {
    highWaterMark: 0,
  });
  const generator = (async function* () {
    pulled++;
    yield "line";
  })();
  for (const lines of [readable, generator]) {
    const handle = client.go("Text.count", lines);
    const error = await errorOf(handle.reply);
    assertEquals([error.code, error.outcome, error.method], [
      "invalid_argument",
      "not_sent",
      "Text.count",
    ]);
    assert(error.message.includes("streams: streams()"), error.message);
    assertEquals(await handle.settled, "not_sent");
    assertEquals(await handle.sent, false);
  }
  assertEquals([pulled, readable.locked], [0, false]);
  assertEquals(connection.stats().served.ok, 0);
  // The connection goes on.
  assertEquals(await client.call("Math.square", 3), 9);
  await close();
});

test("without streams, a server's stream is refused by the server, and its source is cleaned up", async () => {
  const cleaned = Promise.withResolvers<void>();
  const errors: unknown[] = [];
  const { client, close } = slim(
    {
      numbers: () =>
        new ReadableStream<number>({
          pull: (controller) => controller.enqueue(1),
          cancel: () => cleaned.resolve(),
        }),
      square: (n: number) => n * n,
    },
    {},
    { onError: (error) => errors.push(error) },
  );
  const handle = client.go("numbers");
  const error = await errorOf(handle.reply);
  assertEquals([error.code, error.outcome], ["internal", "executed"]);
  assertEquals(await handle.settled, "executed");
  // Its operator learns why.
  assertEquals(errors.map((error) => (error as RpcError).code), [
    "invalid_argument",
  ]);
  await cleaned.promise;
  assertEquals(await client.call("square", 3), 9);
  await close();
});

test("without streams, a peer that sends a stream all the same is disconnected", async () => {
  const { peer, client, connection, clock } = facing();
  await greet({ peer }, { streams: true });
  const handle = client.go("m");
  await peer.nextOf(KIND.REQUEST);
  await peer.send(reply(1, [5]));
  await assertCloses({ peer, connection, clock }, "protocol_error");
  assertEquals((await errorOf(handle.reply)).code, "unavailable");

  const other = facing();
  await greet(other, { streams: true });
  await other.peer.send(frame(KIND.DATA, 1, [3, 120]));
  const { text } = await assertCloses(other, "protocol_error");
  assert(text.includes("capability"), text);
});

// Without `services`.

test("without services, the server's calls are refused: as not found before HELLO, and not sent behind it", async () => {
  const { client, connection, close } = slim(services);
  const caller = clientOf(connection);
  const early = Array.from({ length: 64 }, () => caller.go("Mine.double"));
  for (const handle of early) {
    const { code, outcome, message } = await errorOf(handle.reply);
    assertEquals([code, outcome], ["not_found", "refused"]);
    assert(message.includes("Mine.double"), message);
  }
  // The HELLO grants a window of no calls.
  const later = await errorOf(caller.call("Mine.double"));
  assertEquals([later.code, later.outcome], ["unavailable", "not_sent"]);
  const { served, receiving } = client.connection.stats();
  assertEquals([served.refused, receiving], [64, 0]);
  assertEquals(await client.call("Math.square", 3), 9);
  await close();
});

test("without services, a peer must keep to the rules of ids and of the window", async () => {
  const cases: [full.ErrorCode, string, ...Uint8Array[]][] = [
    ["protocol_error", "increase", request(2, "m"), request(2, "m")],
    ["protocol_error", "increase", request(2, "m"), request(1, "m")],
    ["protocol_error", "CANCEL", frame(KIND.CANCEL, 7)],
    // More than the early window, in one chunk.
    [
      "resource_exhausted",
      "calls",
      ...Array.from({ length: 65 }, (_, i) => request(i + 1, "m")),
    ],
    ["resource_exhausted", "bytes", request(1, "m", "x".repeat(70_000))],
  ];
  for (const [code, text, ...frames] of cases) {
    const facer = facing({ windowBytes: 65_536 });
    await greet(facer);
    await facer.peer.send(...frames);
    const closing = await assertCloses(facer, code);
    assert(closing.text.includes(text), closing.text);
  }
});

test("without services, what comes once the client drains is left to the peer to refuse", async () => {
  const { peer, client, connection } = facing();
  await greet({ peer });
  await peer.send(request(1, "m"));
  const refused = await peer.nextOf(KIND.ERROR);
  assertEquals([refused.id, readCode(refused).code], [1, "not_found"]);
  const handle = client.go("m");
  await peer.nextOf(KIND.REQUEST);
  const closing = client.close();
  assertEquals((await peer.nextOf(KIND.GOAWAY)).id, 1);
  await peer.send(request(2, "m"), reply(1, "ok"));
  assertEquals(await handle.reply, "ok");
  assertEquals((await peer.rest()).map(({ kind }) => kind), []);
  await peer.end();
  await closing;
  assertNothingLeft(connection);
});

test("with callable services, the server calls the slim client", async () => {
  const mine = { Mine: { double: (n: number) => 2 * n } };
  const { client, connection, close } = slim({
    quadruple: async (n: number, ctx: full.CallContext) =>
      2 * await clientOf<typeof mine>(ctx.connection).call("Mine.double", n),
  }, { services: callable(mine) });
  assertEquals(await client.call("quadruple", 3), 12);
  const caller = clientOf<typeof mine>(connection);
  assertEquals(await caller.call("Mine.double", 4), 8);
  await close();
});

// Keepalive.

test("without keepalive, a slim client lets a silent peer be, and sets no timer", async () => {
  const { peer, client, clock } = facing();
  await greet({ peer });
  await settle();
  assertEquals(clock.timers, 0);
  await clock.advance(24 * 3600 * 1000);
  assertEquals(client.connection.stats().state, "open");
  const handle = client.go("m");
  assertEquals((await peer.next())?.kind, KIND.REQUEST);
  await peer.send(reply(1, "still here"));
  assertEquals(await handle.reply, "still here");
  await client.abort();
});

test("with keepalive, a slim client pings a silent peer, and gives it up", async () => {
  const feature = keepalive({ time: 1000, timeout: 500 });
  const { peer, client, clock } = facing({ keepalive: feature });
  await greet({ peer });
  await settle();
  const handle = client.go("m");
  assertEquals((await peer.next())?.kind, KIND.REQUEST);
  await clock.advance(1000);
  const ping = await peer.next();
  assertEquals(ping?.kind, KIND.PING);
  // An answer proves that it lives.
  await peer.send(frame(KIND.PONG, ping?.id));
  await settle();
  await clock.advance(900);
  assertEquals(client.connection.stats().state, "open");
  await clock.advance(100);
  assertEquals((await peer.next())?.kind, KIND.PING);
  await clock.advance(500);
  const reason = await client.closed;
  assertEquals(reason?.code, "unavailable");
  assert(reason?.message.includes("500 ms"), reason?.message);
  assertEquals(await handle.settled, "unknown");
  assertNothingLeft(client.connection);
});

// Functions in place of methods.

test("stage and map work on a slim client, with back-pressure, order and errors", async () => {
  const { client, close } = slim(services);
  const results: number[] = [];
  await ReadableStream.from([1, 2, 3])
    .pipeThrough(stage(client, "Math.square", { window: 2 }))
    .pipeTo(new WritableStream({ write: (n) => void results.push(n) }));
  assertEquals(results, [1, 4, 9]);
  const mapped = map(client, "Math.square", [4, 5], { ordered: false });
  const values = (await Array.fromAsync(mapped)).sort((a, b) =>
    a.index - b.index
  );
  assertEquals(values, [{ index: 0, value: 16 }, { index: 1, value: 25 }]);
  const failing = map(client, "Math.fail", [undefined]);
  const error = await assertRejects(() => failing.next(), StageError);
  assertEquals(error.unacknowledged.map(({ outcome }) => outcome), [
    "executed",
  ]);
  await close();
});

test("middleware and observers work on a slim client", async () => {
  const seen: string[] = [];
  const { client, close } = slim(services, {
    streams: streams(),
    use: clientMiddleware((call, next) => {
      seen.push(`use ${call.method}`);
      return next();
    }),
    observe: observers({ start: ({ method }) => void seen.push(method) }),
  });
  assertEquals(await client.call("Math.square", 3), 9);
  const stream = await client.call("Text.upTo", 2);
  assertEquals(await Array.fromAsync(stream), [0, 1]);
  assertEquals(seen, [
    "use Math.square",
    "Math.square",
    "use Text.upTo",
    "Text.upTo",
  ]);
  await close();
});
