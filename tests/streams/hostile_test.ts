// Stream frames made by hand: what breaks the rules, and what is only late.

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import type { CallContext, ErrorCode } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import {
  assertCloses,
  assertLost,
  faceClient,
  faceServer,
  greet,
} from "../support/facing.ts";
import {
  CALLER,
  credit,
  data,
  end,
  frame,
  goaway,
  KIND,
  readCode,
  reply,
  request,
  stop,
} from "../support/raw_peer.ts";

const NUMBER = [1, 0x31];
const STREAM = [5];
const MORE = 2;

/** A server whose `Test.hold` reads nothing of its params, and does not answer. */
function faceHolding(options?: Parameters<typeof faceServer>[1]) {
  const streams: ReadableStream<unknown>[] = [];
  const signals: AbortSignal[] = [];
  const release = Promise.withResolvers<unknown>();
  const facing = faceServer({
    Test: {
      hold: (stream: ReadableStream<unknown>, ctx: CallContext) => {
        streams.push(stream);
        signals.push(ctx.signal);
        return release.promise;
      },
      count: async function* () {
        for (let i = 0;; i++) yield i;
      },
      call: () => "answered",
    },
  }, options);
  return { facing, streams, signals, release };
}

/** Bytes as a DATA frame's payload. */
function bytes(n: number): Uint8Array {
  const payload = new Uint8Array(1 + n);
  payload[0] = 2;
  return payload;
}

test("[S1] DATA up to the credit is accepted, one frame more closes the connection", async () => {
  // 16,384 bytes are granted; a frame of 1,007 bytes counts 1,024.
  const full = Array.from({ length: 16 }, () => data(1, bytes(1007), CALLER));
  const grant = { streamCredit: 16_384 };
  const { facing } = faceHolding(grant);
  await greet(facing, { streams: true });
  await facing.peer.send(request(1, "Test.hold", STREAM), ...full);
  await settle();
  assertEquals(facing.connection.stats().streamHeld, 16_384);
  assertEquals(facing.connection.stats().streamGranted, 0);
  await facing.peer.send(data(1, [0], CALLER));
  await assertCloses(facing, "resource_exhausted");
});

test("[S1] credit above 2^31 - 1 closes the connection", async () => {
  const { facing } = faceHolding();
  await greet(facing, { streams: { credit: 65_536, max: 1 } });
  await facing.peer.send(
    request(1, "Test.count", NUMBER),
    credit(1, 0x7fffffff - 65_536, CALLER),
  );
  assertEquals((await facing.peer.nextOf(KIND.DATA)).id, 1);
  assertEquals(facing.connection.stats().state, "open");
  await facing.peer.send(credit(1, 0x7fffffff, CALLER));
  await assertCloses(facing, "protocol_error");
});

test("[S1] frames of a stream that was never opened close the connection", async () => {
  const never: [string, Uint8Array][] = [
    ["DATA", data(5, NUMBER, CALLER)],
    ["END", end(5, CALLER)],
    ["STOP", stop(5, CALLER)],
    ["CREDIT", credit(5, 1, CALLER)],
    ["DATA of a call of ours", data(5, NUMBER)],
    ["END of a call of ours", end(5)],
    ["DATA for params that are none", data(1, NUMBER, CALLER)],
    ["END for params that are none", end(1, CALLER)],
    ["CREDIT for a result that is not there yet", credit(1, 1, CALLER)],
    ["STOP of a result that is not there yet", stop(1, CALLER)],
  ];
  for (const [what, bytes] of never) {
    const { facing } = faceHolding();
    await greet(facing, { streams: true });
    await facing.peer.send(request(1, "Test.hold", NUMBER), bytes);
    const { text } = await assertCloses(facing, "protocol_error");
    assert(text.includes("stream") || text.includes("never made"), what + text);
  }
});

test("[S1] frames for a stream that has ended are ignored", async () => {
  const late = [
    data(1, NUMBER, CALLER),
    data(1, bytes(32_767), CALLER),
    data(1, bytes(32_767), CALLER),
    data(1, bytes(32_767), CALLER),
    end(1, CALLER),
    end(1, CALLER, "x"),
    credit(1, 0xffffffff, CALLER),
    stop(1, CALLER),
  ];
  const { facing, release } = faceHolding();
  await greet(facing, { streams: true });
  const { peer } = facing;
  await peer.send(request(1, "Test.hold", STREAM), end(1, CALLER));
  await peer.send(...late.slice(0, 6));
  await settle();
  release.resolve("done");
  assertEquals((await peer.next())?.kind, KIND.REPLY);
  await peer.send(...late, request(2, "Test.call"));
  assertEquals((await peer.next())?.id, 2);
  await assertLost(facing);
});

test("[S1] frames for the ended result of an outgoing call are ignored", async () => {
  const facing = faceClient();
  await greet(facing, { streams: true });
  const { connection, peer } = facing;
  const result = connection.call("Test.count") as Promise<
    ReadableStream<unknown>
  >;
  await settle();
  await peer.send(reply(1, STREAM), data(1, NUMBER), end(1));
  await peer.send(
    data(1, NUMBER),
    end(1),
    end(1, 0, "x"),
    credit(1, 1),
    stop(1),
  );
  assertEquals(await Array.fromAsync(await result), [1]);
  assertEquals(connection.stats().inFlight, 0);
  await assertLost(facing);
});

test("[S1] more streams than were granted close the connection, in either direction", async () => {
  const { facing } = faceHolding({ maxStreams: 1 });
  await greet(facing, { streams: true });
  await facing.peer.send(
    request(1, "Test.hold", STREAM),
    request(2, "Test.hold", STREAM),
  );
  const { lastId } = await assertCloses(facing, "resource_exhausted");
  assertEquals(lastId, 1);
  const client = faceClient({ maxStreams: 1 });
  await greet(client, { streams: true });
  const handles = [1, 2].map(() => client.connection.go("Test.count"));
  await settle();
  await client.peer.send(reply(1, STREAM), reply(2, STREAM));
  await assertCloses(client, "resource_exhausted");
  assertEquals(handles[0].outcome, "executed");
});

test("[S1] a second reply to a call whose result is a stream closes the connection", async () => {
  for (
    const second of [
      reply(1, STREAM),
      reply(1),
      frame(KIND.ERROR, 1, [0, 0, 0, 0]),
    ]
  ) {
    const facing = faceClient();
    await greet(facing, { streams: true });
    const handle = facing.connection.go("Test.count");
    await settle();
    await facing.peer.send(reply(1, STREAM), second);
    await assertCloses(facing, "protocol_error");
    assertEquals(handle.outcome, "executed");
  }
});

test("[S1] malformed bodies close the connection", async () => {
  const bad: [string, Uint8Array, ErrorCode?][] = [
    ["DATA without a kind", data(1, [], CALLER)],
    ["DATA over 32 KiB", data(1, bytes(32_769), CALLER)],
    ["a stream as an item", data(1, [5], CALLER)],
    ["MORE on bytes", data(1, [2, 1], CALLER | MORE)],
    ["MORE on undefined", data(1, [0], CALLER | MORE)],
    ["a plain END with a body", frame(KIND.END, 1, [0], CALLER)],
    ["STOP cut short", frame(KIND.STOP, 1, [1], CALLER)],
    ["CREDIT cut short", frame(KIND.CREDIT, 1, [1], CALLER)],
  ];
  for (const [what, bytes, code = "protocol_error"] of bad) {
    const { facing } = faceHolding();
    await greet(facing, { streams: true });
    await facing.peer.send(request(1, "Test.hold", STREAM), bytes);
    const { reason } = await assertCloses(facing, code);
    assert(reason.message.length > 0, what);
  }
});

test("an item of two kinds, or one cut off by END, closes the connection", async () => {
  for (const second of [data(1, NUMBER, CALLER), end(1, CALLER)]) {
    const { facing } = faceHolding();
    await greet(facing, { streams: true });
    const first = data(1, [3, 0x61], CALLER | MORE);
    await facing.peer.send(request(1, "Test.hold", STREAM), first, second);
    await assertCloses(facing, "protocol_error");
  }
});

test("an item that does not parse fails its stream and no other", async () => {
  const { facing, streams, release } = faceHolding();
  await greet(facing, { streams: true });
  const { peer } = facing;
  await peer.send(
    request(1, "Test.hold", STREAM),
    data(1, NUMBER, CALLER),
    data(1, [1, 0x7b], CALLER),
  );
  await settle();
  const reader = streams[0].getReader();
  assertEquals((await reader.read()).value, 1);
  const reason = await reader.read().then(() => undefined, (e) => e);
  assertEquals(reason.code, "invalid_argument");
  const stopped = await peer.nextOf(KIND.STOP);
  assertEquals([stopped.flags, readCode(stopped).code], [
    0,
    "invalid_argument",
  ]);
  await peer.send(end(1, CALLER, "cancelled"));
  release.resolve("done");
  assertEquals((await peer.next())?.kind, KIND.REPLY);
  await assertLost(facing);
});

test("an item larger than its reader can take fails its stream with resource_exhausted, and no other", async () => {
  const options = { streamCredit: 16_384, connectionCredit: 65_536 };
  const { facing, streams, release } = faceHolding(options);
  await greet(facing, { streams: true });
  const { peer } = facing;
  await peer.send(request(1, "Test.hold", STREAM));
  await settle();
  const read = streams[0].getReader().read().then(() => undefined, (e) => e);
  // An item may take half of the credit of the connection.
  const part = new Uint8Array(4000).fill(0x61);
  part[0] = 3;
  for (let i = 0; i < 12; i++) await peer.send(data(1, part, CALLER | MORE));
  assertEquals((await read).code, "resource_exhausted");
  assertEquals(
    readCode(await peer.nextOf(KIND.STOP)).code,
    "resource_exhausted",
  );
  await peer.send(end(1, CALLER, "cancelled"));
  release.resolve("done");
  assertEquals((await peer.nextOf(KIND.REPLY)).id, 1);
  await assertLost(facing);
});

/** How an item fared that a producer cuts in parts of one size, and no other. */
async function deliver(
  size: number,
  partSize: number,
  options: { streamCredit?: number; connectionCredit?: number } = {},
): Promise<number | string> {
  const { facing, streams, release } = faceHolding(options);
  await greet(facing, { streams: true });
  const { peer } = facing;
  await peer.send(request(1, "Test.hold", STREAM));
  await settle();
  let ended: number | string | undefined;
  streams[0].getReader().read().then(
    ({ value }) => ended = (value as string).length,
    (error) => ended = error.code as string,
  );
  let left = options.streamCredit ?? 65_536;
  const heard = (async () => {
    for (;;) {
      const got = await peer.next();
      if (got === undefined) return;
      if (got.kind === KIND.STOP) ended = readCode(got).code;
      if (got.kind !== KIND.CREDIT || got.flags !== 0) continue;
      left += new DataView(got.body.buffer, got.body.byteOffset).getUint32(0);
    }
  })();
  const text = new Uint8Array(1 + partSize).fill(0x61);
  text[0] = 3;
  for (let sent = 0, idle = 0; sent < size && ended === undefined;) {
    const parts: Uint8Array[] = [];
    while (sent < size && parts.length < 200) {
      const n = Math.min(partSize, size - sent);
      if (left < n + 17) break;
      left -= n + 17;
      sent += n;
      const flags = CALLER | (sent < size ? MORE : 0);
      parts.push(data(1, text.subarray(0, 1 + n), flags));
    }
    if (parts.length > 0) await peer.send(...parts);
    await settle(2);
    idle = parts.length > 0 ? 0 : idle + 1;
    if (idle > 10) return `it stalls at ${sent} with ${left} bytes of credit`;
  }
  await settle();
  await peer.send(end(1, CALLER));
  release.resolve("done");
  await settle();
  await peer.end();
  await heard;
  await facing.connection.closed;
  return ended ?? "it is never delivered";
}

test("[X22] an item up to the limit is delivered, whatever parts it arrives in", async () => {
  for (const size of [999_999, 1_000_000]) {
    for (const part of [32_768, 32_767, 20_000, 4096, 4095, 1024, 300]) {
      assertEquals(await deliver(size, part), size, `parts of ${part}`);
    }
  }
  for (const part of [1, 2, 17, 255]) {
    assertEquals(await deliver(50_000, part), 50_000, `parts of ${part}`);
  }
});

test("[X22] an item above the limit is stopped, whatever parts it arrives in", async () => {
  for (const part of [32_768, 20_000, 4096, 300]) {
    assertEquals(await deliver(1_100_000, part), "resource_exhausted");
  }
});

test("[X22] the limit on items holds for other credits than the default", async () => {
  for (
    const streamCredit of [32_785, 40_000, 65_569, 65_570, 98_000, 1_048_576]
  ) {
    const size = await deliver(1_000_000, 32_768, { streamCredit });
    assertEquals(size, 1_000_000, `a credit of ${streamCredit}`);
  }
  for (const streamCredit of [16_384, 20_000, 32_784]) {
    const size = await deliver(1_000_000, 4079, { streamCredit });
    assertEquals(size, 1_000_000, `a credit of ${streamCredit}`);
  }
  // What fits in half of the credit is delivered, however small its parts are.
  const options = { streamCredit: 16_384, connectionCredit: 65_536 };
  assertEquals(await deliver(12_000, 1, options), 12_000);
  assertEquals(await deliver(40_000, 300, options), "resource_exhausted");
});

test("[X22] items in parts and whole items keep their bytes when they alternate", async () => {
  const { facing, streams, release } = faceHolding();
  await greet(facing, { streams: true });
  const { peer } = facing;
  await peer.send(request(1, "Test.hold", STREAM));
  const text = (n: number, seed: number) => {
    const bytes = new Uint8Array(1 + n);
    for (let i = 0; i < n; i++) bytes[1 + i] = 0x61 + (seed + i) % 26;
    bytes[0] = 3;
    return bytes;
  };
  const sizes = [[3], [1, 1, 1], [1, 5000, 2], [900, 100, 20], [4096, 1, 4096]];
  sizes.push([300, 1, 700, 30], [10], [256, 256, 256, 255], [1, 0], [1023]);
  const wanted: string[] = [];
  for (const parts of sizes) {
    let whole = "";
    for (const [i, n] of parts.entries()) {
      const part = text(n, whole.length);
      whole += new TextDecoder().decode(part.subarray(1));
      const more = i < parts.length - 1 ? MORE : 0;
      await peer.send(data(1, part, CALLER | more));
    }
    wanted.push(whole);
  }
  await peer.send(end(1, CALLER));
  await settle(20);
  assertEquals(await Array.fromAsync(streams[0]), wanted);
  release.resolve("done");
  await assertLost(facing);
});

test("[S3] unread streams hold no more than the credit of the connection, and calls go on", async () => {
  const { facing, streams } = faceHolding();
  await greet(facing, { streams: true });
  const { connection, peer } = facing;
  const full = bytes(32_767 - 16);
  for (let id = 1; id <= 1000; id++) {
    await peer.send(request(id, "Test.hold", STREAM));
    if (id > 256) continue;
    await peer.send(data(id, full, CALLER), data(id, full, CALLER));
  }
  await peer.send(request(1001, "Test.call"));
  assertEquals((await peer.next())?.id, 1001);
  assertEquals(streams.length, 1000);
  const { streamHeld, connectionGranted } = connection.stats();
  assertEquals([streamHeld, connectionGranted], [16 << 20, 0]);
  // The credit of the stream alone would do.
  await peer.send(data(1000, [2], CALLER));
  await assertCloses(facing, "resource_exhausted");
});

test("[S7] each frame costs a fixed charge, so tiny and empty frames use up the credit", async () => {
  for (const payload of [[2], [0], [2, 7], [3, 0x61]]) {
    const { facing } = faceHolding({ streamCredit: 16_384 });
    await greet(facing, { streams: true });
    const charge = 16 + payload.length;
    const most = Math.floor(16_384 / charge);
    const tiny = Array.from({ length: most }, () => data(1, payload, CALLER));
    await facing.peer.send(request(1, "Test.hold", STREAM), ...tiny);
    await settle();
    assertEquals(facing.connection.stats().streamHeld, most * charge);
    await facing.peer.send(data(1, payload, CALLER));
    await assertCloses(facing, "resource_exhausted");
  }
});

test("[S7] a stream of 100,000 tiny items goes on beside a hostile stream of empty frames", async () => {
  let honest = 0;
  const facing = faceServer({
    Test: {
      honest: async (items: ReadableStream<number>) => {
        for await (const n of items) honest += n;
        return honest;
      },
      drain: async (items: ReadableStream<Uint8Array>) => {
        for await (const _ of items);
      },
    },
  });
  await greet(facing, { streams: true });
  const { peer } = facing;
  await peer.send(
    request(1, "Test.honest", STREAM),
    request(2, "Test.drain", STREAM),
  );
  const left = [0, 65_536, 65_536];
  const send = async (id: number, payload: number[], count: number) => {
    const charge = 16 + payload.length;
    for (let sent = 0; sent < count;) {
      const n = Math.min(count - sent, Math.floor(left[id] / charge), 1000);
      left[id] -= n * charge;
      sent += n;
      if (n > 0) {
        await peer.send(
          ...Array.from({ length: n }, () => data(id, payload, CALLER)),
        );
        continue;
      }
      const got = await peer.nextOf(KIND.CREDIT);
      left[got.id] += new DataView(got.body.slice().buffer).getUint32(0);
    }
  };
  for (let i = 0; i < 10; i++) {
    await send(2, [2], 2000);
    await send(1, NUMBER, 10_000);
  }
  await peer.send(end(1, CALLER));
  const answer = await peer.nextOf(KIND.REPLY);
  assertEquals([answer.id, honest], [1, 100_000]);
  await assertLost(facing);
});

test("after the peer's FIN results that need more credit fail, and params that have not ended fail", async () => {
  const params = Promise.withResolvers<unknown>();
  const facing = faceServer({
    Test: {
      big: async function* () {
        for (;;) yield "x".repeat(1000);
      },
      small: async function* () {
        yield* [1, 2, 3];
      },
      sink: async (items: ReadableStream<unknown>) => {
        await Array.fromAsync(items).catch(params.resolve);
        return "sunk";
      },
    },
  });
  await greet(facing, { streams: { credit: 16_384, max: 8 } });
  const { peer } = facing;
  await peer.send(
    request(1, "Test.big"),
    request(2, "Test.small"),
    request(3, "Test.sink", STREAM),
    frame(KIND.GOAWAY, 0, [0, 0, 0], 1),
  );
  await peer.end();
  const frames = await peer.rest();
  const of = (id: number) =>
    frames.filter((f) => f.id === id && f.kind !== KIND.GOAWAY);
  const big = of(1).at(-1);
  assertEquals([big?.kind, big?.flags], [KIND.END, 2]);
  assertEquals(readCode(big!).code, "unavailable");
  assertEquals(of(2).map(({ kind }) => kind), [
    KIND.REPLY,
    KIND.DATA,
    KIND.DATA,
    KIND.DATA,
    KIND.END,
  ]);
  assertEquals(of(3).map(({ kind }) => kind), [KIND.REPLY]);
  assertEquals((await params.promise as { code: string }).code, "unavailable");
  assertEquals(await facing.connection.closed, undefined);
});

test("a result that starts, or gets its items, after the peer's FIN fails if it needs more credit", async () => {
  for (const method of ["Test.going", "Test.late"]) {
    const hold = Promise.withResolvers<void>();
    const large = async function* () {
      await hold.promise;
      yield "x".repeat(20_000);
    };
    const facing = faceServer({
      Test: {
        going: large,
        late: () => hold.promise.then(large),
      },
    });
    await greet(facing, { streams: { credit: 16_384, max: 8 } });
    const { peer } = facing;
    await peer.send(request(1, method), goaway(undefined));
    await peer.end();
    await settle();
    hold.resolve();
    await settle();
    assertEquals(facing.connection.stats().streams, 0, method);
    const frames = await peer.rest();
    const last = frames.findLast(({ kind }) => kind === KIND.END);
    assertEquals(readCode(last!).code, "unavailable", method);
    assertEquals(await facing.connection.closed, undefined);
  }
});
