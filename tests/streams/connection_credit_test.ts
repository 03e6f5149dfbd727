// [ST17] to [ST19]: the credit of all streams of a connection together.

import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { test } from "node:test";
import { Client, memoryPair, type RpcError } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import {
  assertCloses,
  assertLost,
  faceServer,
  greet,
} from "../support/facing.ts";
import { collect } from "../support/heap.ts";
import { pair } from "../support/pair.ts";
import {
  CALLER,
  connectionCredit,
  credit,
  data,
  end,
  frame,
  goaway,
  hello,
  KIND,
  type RawPeer,
  reply,
  request,
  stop,
} from "../support/raw_peer.ts";

const MORE = 2;
const CONNECTION = 2;
/** Payload kind of a stream. */
const STREAM = [5];
const LEAST = 65_536;

/** Bytes as a DATA frame's payload that counts `charge`. */
function bytes(charge: number): Uint8Array {
  return new Uint8Array(charge - 16).fill(2, 0, 1);
}

/** A string as a payload that counts `charge`. */
function text(charge: number): Uint8Array {
  return new Uint8Array(charge - 16).fill(0x61).fill(3, 0, 1);
}

/** A DATA frame: the call, what it counts, and whether more follows. */
type Sent = [id: number, charge: number, more: boolean];

/** Reads all that the peer receives. */
class Received {
  readonly #data: Sent[] = [];

  constructor(peer: RawPeer) {
    this.#read(peer).catch(() => {});
  }

  async #read(peer: RawPeer): Promise<void> {
    for (;;) {
      const got = await peer.next();
      if (got === undefined) return;
      if (got.kind !== KIND.DATA) continue;
      this.#data.push([got.id, got.body.length + 16, (got.flags & MORE) !== 0]);
    }
  }

  /** The DATA frames that have arrived since the last time, once nothing moves. */
  async data(): Promise<Sent[]> {
    await settle(40);
    return this.#data.splice(0);
  }
}

function sum(list: Sent[]): number {
  return list.reduce((all, [, n]) => all + n, 0);
}

/** A server whose `T.bytes` and `T.items` are endless, with `all` as the credit of the peer's HELLO. */
async function producing(all: number) {
  const facing = faceServer({
    T: {
      bytes: async function* () {
        for (;;) yield new Uint8Array(100_000);
      },
      items: async function* (size: number) {
        for (;;) yield "x".repeat(size);
      },
    },
  });
  const streams = { credit: 65_536, max: 1000, all };
  await greet(facing, { streams });
  return facing;
}

/** A JSON number as a payload. */
function json(n: number): number[] {
  return [1, ...new TextEncoder().encode(`${n}`)];
}

// The producer.

test("[ST17] all streams together send no more than the credit of the connection", async () => {
  const facing = await producing(100_000);
  const { peer } = facing;
  const received = new Received(peer);
  for (let id = 1; id <= 4; id++) await peer.send(request(id, "T.bytes"));
  const first = await received.data();
  assert(sum(first) <= 100_000 && sum(first) > 100_000 - 4096, `${sum(first)}`);
  // The credit of streams alone changes nothing.
  await peer.send(credit(1, 50_000, CALLER), credit(2, 50_000, CALLER));
  assertEquals(await received.data(), []);
  await peer.send(connectionCredit(50_000));
  const next = await received.data();
  const left = 150_000 - sum(first) - sum(next);
  assert(left >= 0 && left < 4096, `${left}`);
  await assertLost(facing);
});

test("streams that wait for the credit of the connection get it in turn", async () => {
  const facing = await producing(LEAST);
  const { peer } = facing;
  const received = new Received(peer);
  for (let id = 1; id <= 5; id++) {
    await peer.send(request(id, "T.items", json(500)));
  }
  await received.data();
  for (let i = 0; i < 200; i++) {
    await peer.send(
      connectionCredit(600),
      ...[1, 2, 3, 4, 5].map((id) => credit(id, 200, CALLER)),
    );
  }
  await settle(20);
  const counts = [0, 0, 0, 0, 0];
  for (const [id] of await received.data()) counts[id - 1]++;
  for (const count of counts) assert(count > 30 && count < 50, counts.join());
  await assertLost(facing);
});

test("[ST18] an item is begun only when the credit of the connection covers all of it", async () => {
  const facing = await producing(300_000);
  const { peer } = facing;
  const received = new Received(peer);
  // 100,000 bytes each: two of them fit, and the third waits for the rest.
  for (let id = 1; id <= 3; id++) {
    await peer.send(request(id, "T.items", json(100_000)));
  }
  const first = await received.data();
  assertEquals(new Set(first.map(([id]) => id)), new Set([1, 2]));
  assertEquals(
    sum(first),
    2 * 65_536,
    "each has used the credit of its stream",
  );
  // Both can end without another byte for the connection.
  await peer.send(...[1, 2, 3].map((id) => credit(id, 65_536, CALLER)));
  const rest = await received.data();
  assertEquals(new Set(rest.map(([id]) => id)), new Set([1, 2]));
  assertEquals(rest.filter(([, , more]) => !more).map(([id]) => id).sort(), [
    1,
    2,
  ]);
  await peer.send(connectionCredit(100_000));
  assertEquals(
    new Set((await received.data()).map(([id]) => id)),
    new Set([3]),
  );
  await assertLost(facing);
});

test("[ST18] a stream that is stopped gives back what it has reserved", async () => {
  const facing = await producing(220_000);
  const { peer } = facing;
  const received = new Received(peer);
  for (let id = 1; id <= 3; id++) {
    await peer.send(request(id, "T.items", json(100_000)));
  }
  assertEquals(
    new Set((await received.data()).map(([id]) => id)),
    new Set([1, 2]),
  );
  await peer.send(stop(1, CALLER), connectionCredit(70_000));
  assertEquals(
    new Set((await received.data()).map(([id]) => id)),
    new Set([3]),
  );
  await assertLost(facing);
});

test("an item that needs more than half of the credit of the connection fails its stream", async () => {
  const facing = await producing(LEAST);
  const { peer } = facing;
  await peer.send(request(1, "T.items", json(32_700)));
  const got = await peer.nextOf(KIND.END);
  assertEquals(got.flags, 2);
  await assertLost(facing);
});

test("[S8] [ST19] more credit than 2^31 - 1 is a fault, as much is none", async () => {
  const facing = await producing(LEAST);
  await facing.peer.send(connectionCredit(0x7fffffff - LEAST));
  await settle();
  await facing.peer.send(connectionCredit(1));
  await assertCloses(facing, "protocol_error");
});

test("[ST19] CREDIT of the connection with an id or the flag CALLER is a fault", async () => {
  for (const [id, flags] of [[1, CONNECTION], [0, CONNECTION | CALLER]]) {
    const facing = await producing(LEAST);
    await facing.peer.send(request(1, "T.bytes"));
    await settle();
    await facing.peer.send(frame(KIND.CREDIT, id, [0, 0, 0, 1], flags));
    await assertCloses(facing, "protocol_error");
  }
});

test("a stream that waits for the credit of the connection fails when the peer's FIN has come", async () => {
  const facing = await producing(LEAST);
  const { peer, connection } = facing;
  await peer.send(request(1, "T.bytes"), request(2, "T.bytes"));
  await settle(20);
  await peer.send(goaway(undefined));
  await peer.end();
  const ends = (await peer.rest()).filter(({ kind }) => kind === KIND.END);
  assertEquals(ends.length, 2);
  assertEquals(await connection.closed, undefined);
});

// The reader.

/** A server whose handlers hold their params. */
async function reading(options: Parameters<typeof faceServer>[1] = {}) {
  const streams: ReadableStream<unknown>[] = [];
  const release = Promise.withResolvers<unknown>();
  const facing = faceServer({
    T: {
      hold: (stream: ReadableStream<unknown>) => {
        streams.push(stream);
        return release.promise;
      },
      drop: () => "dropped",
    },
  }, { connectionCredit: LEAST, ...options });
  await greet(facing, { streams: true });
  return { ...facing, facing, streams, release };
}

/** What the peer is granted for the connection until nothing moves. */
async function granted(peer: RawPeer): Promise<number> {
  await settle();
  await peer.send(frame(KIND.PING, 78));
  let all = 0;
  for (;;) {
    const got = await peer.next();
    if (got === undefined || got.kind === KIND.PONG) return all;
    if (got.kind !== KIND.CREDIT || (got.flags & CONNECTION) === 0) continue;
    all += new DataView(got.body.buffer, got.body.byteOffset).getUint32(0);
  }
}

test("[S8] [ST17] DATA beyond the credit of the connection is a fault", async () => {
  for (const excess of [0, 1]) {
    const { facing, peer, connection } = await reading();
    await peer.send(request(1, "T.hold", STREAM), request(2, "T.hold", STREAM));
    await peer.send(
      data(1, bytes(30_000), CALLER),
      data(2, bytes(LEAST - 60_000), CALLER),
      data(1, bytes(30_000), CALLER),
    );
    await settle();
    assertEquals(connection.stats().connectionGranted, 0);
    if (excess === 0) await assertLost(facing);
    else {
      await peer.send(data(2, [0], CALLER));
      await assertCloses(facing, "resource_exhausted");
    }
  }
});

test("what is read is granted again once half of the credit is left", async () => {
  const { facing, peer, streams } = await reading();
  await peer.send(request(1, "T.hold", STREAM));
  await settle();
  const reader = streams[0].getReader();
  await peer.send(data(1, bytes(30_000), CALLER), data(1, bytes(5000), CALLER));
  await reader.read();
  assertEquals(await granted(peer), 0);
  await reader.read();
  assertEquals(await granted(peer), 35_000);
  await assertLost(facing);
});

test("[S8] [ST17] DATA that is discarded or ignored uses the credit, and gives it back", async () => {
  const { facing, peer, streams, release, connection } = await reading();
  const { stats } = connection;
  const now = () => stats.call(connection).connectionGranted;
  await peer.send(request(1, "T.hold", STREAM));
  await settle();
  await peer.send(data(1, bytes(10_000), CALLER));
  await streams[0].cancel();
  await peer.send(data(1, bytes(10_000), CALLER));
  await settle();
  assertEquals(now(), LEAST - 20_000, "discarded behind STOP");
  await peer.send(end(1, CALLER), data(1, bytes(10_000), CALLER));
  await settle();
  assertEquals(now(), LEAST - 30_000, "ignored behind END");
  release.resolve("done");
  await peer.nextOf(KIND.REPLY);
  await peer.send(data(1, bytes(2000), CALLER));
  await settle();
  assertEquals(now(), LEAST - 32_000, "ignored behind the end of the call");
  await peer.send(data(1, bytes(1000), CALLER));
  assertEquals(await granted(peer), 33_000);
  assertEquals(now(), LEAST);
  // Ignored or not: no more than that.
  await peer.send(data(1, bytes(LEAST), CALLER));
  await settle();
  await peer.send(data(1, bytes(LEAST + 1), CALLER));
  await assertCloses(facing, "resource_exhausted");
});

test("params of calls that wait to start do not use up the credit of others", async () => {
  const uploads = 30;
  const size = 100_000;
  const { client, connection, close } = pair({
    T: {
      size: async (stream: ReadableStream<Uint8Array>) => {
        let all = 0;
        for await (const chunk of stream) all += chunk.length;
        return all;
      },
    },
  }, {
    server: { maxRunning: 1, connectionCredit: LEAST, streamCredit: 16_384 },
  });
  let most = 0;
  const sizes = await Promise.all(Array.from({ length: uploads }, async () => {
    const source = async function* () {
      for (let i = 0; i < 10; i++) {
        most = Math.max(most, connection.stats().streamHeld);
        yield new Uint8Array(size / 10);
      }
    };
    return await client.call("T.size", source());
  }));
  assertEquals(sizes, sizes.map(() => size));
  assert(most <= LEAST + uploads * 16_384, `${most}`);
  await settle(5);
  assertEquals(connection.stats().streamHeld, 0);
  await close();
});

test("[S3] streams that nobody reads hold up others, until one of them is read or cancelled", async () => {
  const { client, close } = pair({
    T: {
      bytes: async function* () {
        for (;;) yield new Uint8Array(50_000);
      },
    },
  }, { client: { connectionCredit: LEAST } });
  const unread = await client.call("T.bytes");
  await settle(20);
  assertEquals(client.stats().connectionGranted < 4096, true);
  const reader = (await client.call("T.bytes")).getReader();
  let items = 0;
  const read = async () => {
    for (; items < 100; items++) await reader.read();
  };
  const done = read();
  await settle(20);
  assertEquals(items, 0);
  await unread.cancel();
  await done;
  await reader.cancel();
  await close();
});

test("what an ended stream holds is given back when nobody can read it any more", async () => {
  const { client, close } = pair({
    T: {
      items: async function* () {
        yield new Uint8Array(30_000);
        yield new Uint8Array(4000);
      },
      plain: () => "plain",
    },
  }, { client: { connectionCredit: LEAST } });
  const forget = async () => void await client.call("T.items");
  await forget();
  await settle(5);
  assertEquals(client.stats().streams, 0);
  const free = () => client.stats().connectionGranted === LEAST;
  for (let i = 0; i < 50 && !free(); i++) {
    // The engine itself may keep what the last call has left.
    await client.call("T.plain");
    await collect();
  }
  assert(free(), `${client.stats().connectionGranted}`);
  await close();
});

test("nothing is granted once the connection is over, though what has arrived is read", async () => {
  const [near, far] = memoryPair();
  const client = new Client<{ T: { items: () => ReadableStream<string> } }>(
    near,
    { connectionCredit: LEAST },
  );
  const writer = far.writable.getWriter();
  const chunks: Uint8Array[] = [];
  const heard = far.readable.pipeTo(
    new WritableStream({ write: (chunk) => void chunks.push(chunk) }),
  );
  await writer.write(hello({ streams: true }));
  const call = client.call("T.items");
  await settle();
  for (
    const bytes of [
      reply(1, STREAM),
      data(1, text(20_000)),
      data(1, text(20_000)),
      end(1),
    ]
  ) {
    await writer.write(bytes);
  }
  const stream = await call;
  await settle();
  const closed = client.close();
  await writer.close();
  await closed;
  await heard;
  const size = chunks.length;
  const items = await Array.fromAsync(stream);
  assertEquals(items.map(({ length }) => length), [19_983, 19_983]);
  await settle();
  assertEquals(chunks.length, size);
  assertEquals(client.stats().streamHeld, 0);
});

test("connectionCredit outside its range throws", () => {
  for (const connectionCredit of [0, LEAST - 1, 2 ** 31, Infinity, 70_000.5]) {
    const [near] = memoryPair();
    assertThrows(() => new Client(near, { connectionCredit }), RangeError);
  }
});

// Both, with everything at once.

const anyStream = fc.record({
  up: fc.boolean(),
  sizes: fc.array(
    fc.oneof(fc.nat(300), fc.nat(32_000), fc.constant(-1)),
    { minLength: 1, maxLength: 6 },
  ),
  large: fc.boolean(),
  reads: fc.option(fc.nat(4), { nil: Infinity }),
});

test("[S8] [ST17] [ST18] whatever streams cross, all that are read end, and both sides count alike", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyStream, { minLength: 1, maxLength: 14 }),
      fc.constantFrom(LEAST, 100_000, 300_000),
      async (streams, credit) => {
        async function* source(sizes: number[], large: boolean) {
          for (const size of sizes) {
            const n = large && size > 1000 ? Math.min(size, 32_000) : size;
            yield size < 0 ? new Uint8Array(90_000) : "x".repeat(n);
          }
        }
        const lengths = (sizes: number[]) =>
          sizes.reduce((all, n) => all + (n < 0 ? 90_000 : n), 0);
        const read = async (
          stream: ReadableStream<string | Uint8Array>,
          reads = Infinity,
        ) => {
          let [all, n] = [0, 0];
          for await (const item of stream) {
            all += item.length;
            if (++n > reads) return -1;
          }
          return all;
        };
        const options = { connectionCredit: credit, streamCredit: 16_384 };
        const { client, connection, close } = pair({
          T: {
            up: (stream: ReadableStream<string | Uint8Array>) => read(stream),
            down: (i: number) => source(streams[i].sizes, streams[i].large),
          },
        }, { client: options, server: options });
        const results = await Promise.all(
          streams.map(async ({ up, sizes, large, reads }, i) => {
            if (up) return await client.call("T.up", source(sizes, large));
            return await read(
              await client.call("T.down", i) as ReadableStream<string>,
              reads,
            );
          }),
        );
        for (const [i, got] of results.entries()) {
          if (got >= 0) assertEquals(got, lengths(streams[i].sizes));
        }
        await settle(20);
        const [a, b] = [client.stats(), connection.stats()];
        assertEquals([a.streams, b.streams], [0, 0]);
        if (b.connectionCredit > 0) {
          assertEquals(a.connectionGranted, b.connectionCredit);
          assertEquals(b.connectionGranted, a.connectionCredit);
        }
        assertEquals([a.streamHeld, b.streamHeld], [0, 0]);
        assert(a.connectionGranted > credit / 2 || a.connectionGranted === 0);
        await close();
      },
    ),
    { numRuns: 40 },
  );
});

test("[S8] [ST18] 100 streams of large items each end, though the credit has room for two at a time", async () => {
  const large = "x".repeat(1_000_000);
  const { client, close } = pair({
    T: {
      large: async function* () {
        yield large;
        yield large;
      },
    },
  }, { client: { connectionCredit: 2_100_000, streamCredit: 65_536 } });
  const lengths = await Promise.all(Array.from({ length: 100 }, async () => {
    const items = await Array.fromAsync(await client.call("T.large"));
    return items.map(({ length }) => length);
  }));
  for (const each of lengths) assertEquals(each, [1_000_000, 1_000_000]);
  await close();
});

test("an error of a stream names the item that is too large", async () => {
  const { client, close } = pair({
    T: {
      count: async (s: ReadableStream<string>) =>
        (await Array.fromAsync(s)).length,
    },
  }, { server: { connectionCredit: LEAST } });
  const items = ReadableStream.from(["x".repeat(40_000)]);
  const error = await client.call("T.count", items).then(
    () => undefined,
    (e) => e,
  );
  assertEquals((error.cause as RpcError).code, "resource_exhausted");
  assert(error.cause.message.includes("40000 bytes"), error.cause.message);
  await close();
});
