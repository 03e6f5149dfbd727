/** `messages`: streams of bytes whose boundaries are kept. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { type CallContext, messages, RpcError, withBody } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import {
  assertCloses,
  faceClient,
  faceServer,
  greet,
} from "../support/facing.ts";
import { pair } from "../support/pair.ts";
import {
  CALLER,
  data,
  end,
  KIND,
  reply,
  request,
} from "../support/raw_peer.ts";

const STREAM = [5];
const MESSAGE = 6;
const MORE = 2;

/** Byte arrays of the given sizes, each filled with its number. */
function sized(...sizes: number[]): Uint8Array[] {
  return sizes.map((size, i) => new Uint8Array(size).fill(i + 1));
}

const services = {
  M: {
    collect: async (items: ReadableStream<Uint8Array>) =>
      (await Array.fromAsync(items)).map((item) => [item.length, item[0] ?? 0]),
    give: (sizes: number[]) => messages(ReadableStream.from(sized(...sizes))),
    echo: (items: ReadableStream<Uint8Array>) => messages(items),
    body: (_: undefined, ctx: CallContext<Uint8Array>) =>
      withBody("v", messages(ctx.body ?? ReadableStream.from<Uint8Array>([]))),
  },
};

const SIZES = [0, 1, 0, 3, 1000, 32_768, 32_769, 100_000, 1_000_000, 0];

test("boundaries are kept in params, results and bodies, also of empty and large messages", async () => {
  const { client, close } = pair(services);
  const expected = SIZES.map((size, i) => [size, size === 0 ? 0 : i + 1]);
  const sources = [
    () => ReadableStream.from(sized(...SIZES)),
    async function* () {
      yield* sized(...SIZES);
    },
  ];
  for (const make of sources) {
    const params = messages(make());
    assertEquals(await client.call("M.collect", params), expected);
  }
  const given = await client.call("M.give", SIZES);
  assertInstanceOf(given, ReadableStream);
  assertEquals(await Array.fromAsync(given), sized(...SIZES));
  const echoed = await client.call("M.echo", messages(sources[0]()));
  assertEquals(await Array.fromAsync(echoed), sized(...SIZES));
  const { value, body } = await client.call("M.body", undefined, {
    body: messages(sources[0]()),
  });
  assertEquals(value, "v");
  assertEquals(await Array.fromAsync(body), sized(...SIZES));
  await close();
});

test("without messages(), bytes are joined while they wait; with it, they are not", async () => {
  for (const kept of [false, true]) {
    const { client, close } = pair({
      M: {
        give: () => {
          const source = ReadableStream.from(sized(...Array(2000).fill(100)));
          return kept ? messages(source) : source;
        },
      },
    }, { client: { streamCredit: 16_384 } });
    const stream = await client.call("M.give");
    // The producer runs out of credit, and what follows waits.
    for (let i = 0; i < 20; i++) await settle();
    const chunks = await Array.fromAsync(stream);
    assertEquals(chunks.length === 2000, kept);
    assertEquals(chunks.reduce((n, { length }) => n + length, 0), 200_000);
    await close();
  }
});

test("a message that its producer changes after the next was asked for arrives as it was", async () => {
  const { client, close } = pair(services);
  async function* reusing() {
    const buffer = new Uint8Array(50_000);
    for (let i = 1; i <= 20; i++) {
      buffer.fill(i);
      yield buffer;
    }
  }
  assertEquals(
    await client.call("M.collect", messages(reusing())),
    Array.from({ length: 20 }, (_, i) => [50_000, i + 1]),
  );
  await close();
});

test("a message that is too large, or is none, fails the stream", async () => {
  const { client, errors, close } = pair({
    M: {
      ...services.M,
      bad: (item: string) =>
        messages(ReadableStream.from([new Uint8Array(1), item as never])),
    },
  });
  const large = messages(ReadableStream.from(sized(1, 1_000_001)));
  const error = await assertRejects(
    () => client.call("M.collect", large),
    RpcError,
  );
  assertEquals([error.code, error.outcome], ["resource_exhausted", "executed"]);
  const text = messages(ReadableStream.from(["text" as never]));
  const refused = await assertRejects(
    () => client.call("M.collect", text),
    RpcError,
  );
  assertEquals(refused.code, "cancelled");
  assertInstanceOf(refused.cause, TypeError);
  const bad = (await client.call("M.bad", "text")).getReader();
  assertEquals((await bad.read()).value?.length, 1);
  const internal = await assertRejects(() => bad.read(), RpcError);
  assertEquals(internal.code, "internal");
  assertInstanceOf(errors.at(-1)?.error, TypeError);
  const gone = new Uint8Array(40_000);
  structuredClone(gone, { transfer: [gone.buffer] });
  const lost = messages(ReadableStream.from([gone]));
  await assertRejects(() => client.call("M.collect", lost), RpcError);
  await close();
});

test("messages() takes a stream, and can be read like one", async () => {
  for (
    const value of [undefined, "text", new Uint8Array(1), [new Uint8Array(1)]]
  ) {
    assertThrows(() => messages(value as never), TypeError);
  }
  const chunks = sized(1, 2);
  assertEquals(
    await Array.fromAsync(messages(ReadableStream.from(chunks))),
    chunks,
  );
  let cancelled = false;
  const source = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new Uint8Array(1)),
    cancel: () => void (cancelled = true),
  });
  for await (const _ of messages(source)) break;
  assert(cancelled);
});

test("a source that is dropped is cancelled", async () => {
  const { client, close } = pair(services);
  let cancelled = 0;
  const source = () =>
    messages(
      new ReadableStream<Uint8Array>({ cancel: () => void cancelled++ }),
    );
  const signal = AbortSignal.abort("no");
  await client.call("M.collect", source(), { signal }).catch(() => {});
  assertEquals(cancelled, 1);
  const handle = client.go("M.collect", source());
  await handle.sent;
  handle.abort();
  await assertRejects(() => handle.reply);
  assertEquals(cancelled, 2);
  await close();
});

test("[MG1] messages on the wire: one DATA each, cut with MORE where they are large", async () => {
  const { peer, connection } = faceClient();
  await greet({ peer }, { streams: true });
  await settle();
  const params = messages(ReadableStream.from(sized(0, 2, 32_769)));
  connection.go("M.f", params);
  await peer.nextOf(KIND.REQUEST);
  const frames = [];
  for (let i = 0; i < 4; i++) frames.push(await peer.nextOf(KIND.DATA));
  assertEquals(
    frames.map(({ flags, body }) => [flags, body[0], body.length - 1]),
    [
      [CALLER, MESSAGE, 0],
      [CALLER, MESSAGE, 2],
      [CALLER | MORE, MESSAGE, 32_768],
      [CALLER, MESSAGE, 1],
    ],
  );
  await peer.nextOf(KIND.END);
  const second = connection.go("M.f");
  await peer.nextOf(KIND.REQUEST);
  await peer.send(
    reply(2, STREAM),
    data(2, [MESSAGE, 1], MORE),
    data(2, [MESSAGE, 2], MORE),
    data(2, [MESSAGE]),
    data(2, [MESSAGE]),
    data(2, [2, 9]),
    end(2),
  );
  const items = await Array.fromAsync(
    await second.reply as ReadableStream<Uint8Array>,
  );
  assertEquals(items.map((item) => [...item]), [[1, 2], [], [9]]);
  await connection.abort();
});

test("[MG1] [PL3] kind 6 anywhere but in an item, and broken parts, close the connection", async () => {
  const hold = { M: { f: () => new Promise(() => {}) } };
  const bad = [
    [request(1, "M.f", [MESSAGE])],
    [request(1, "M.f", STREAM), data(1, [MESSAGE], CALLER | MORE)],
    [
      request(1, "M.f", STREAM),
      data(1, [MESSAGE, 1], CALLER | MORE),
      data(1, [2, 1], CALLER),
    ],
    [request(1, "M.f", STREAM), data(1, [7], CALLER)],
    [request(1, "M.f", STREAM), data(1, [5], CALLER)],
    [
      request(1, "M.f", STREAM),
      data(1, [MESSAGE, 1], CALLER | MORE),
      end(1, CALLER),
    ],
  ];
  for (const frames of bad) {
    const facing = faceServer(hold);
    await greet(facing, { streams: true });
    await facing.peer.send(...frames);
    await assertCloses(facing, "protocol_error");
  }
  const { peer, connection } = faceClient();
  await greet({ peer }, { streams: true });
  const handle = connection.go("M.f");
  await handle.sent;
  await peer.send(reply(1, [MESSAGE]));
  await assertCloses({ peer, connection } as never, "protocol_error");
});
