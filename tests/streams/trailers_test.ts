/** Trailers: metadata at the end of a stream, in both directions. */

import { test } from "node:test";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  type CallContext,
  clientMiddleware,
  ReconnectingClient,
  RpcError,
  Server,
} from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { serving } from "../support/dials.ts";
import {
  assertCloses,
  assertLost,
  faceClient,
  faceServer,
  greet,
} from "../support/facing.ts";
import { pair } from "../support/pair.ts";
import {
  CALLER,
  end,
  frame,
  KIND,
  reply,
  request,
  stop,
} from "../support/raw_peer.ts";

const STREAM = [5];
const TRAILERS = 4;
const ERROR = 2;
/** A block with `a` = `1`. */
const BLOCK = [0, 5, 1, 0x61, 0, 1, 0x31];

const services = {
  S: {
    async *count(n: number, ctx: CallContext) {
      ctx.setTrailers({ first: "1", n: "0" });
      for (let i = 0; i < n; i++) yield i;
      ctx.setTrailers(new Map([["n", `${n}`]]));
      if (n === 3) throw new RpcError("own", "text", { data: { n } });
    },
    async sum(items: AsyncIterable<number>, ctx: CallContext) {
      const before = ctx.trailers;
      let sum = 0;
      for await (const n of items) sum += n;
      return [sum, before === undefined, ...(ctx.trailers ?? [])];
    },
    value: (_: undefined, ctx: CallContext) => {
      ctx.setTrailers({ a: "1" });
      return "value";
    },
  },
};

test("a handler's trailers arrive with the end of its stream", async () => {
  const { client, close } = pair(services);
  const handle = client.go("S.count", 2);
  const reader = (await handle.reply).getReader();
  assertEquals((await reader.read()).value, 0);
  assertEquals((await reader.read()).value, 1);
  assertEquals((await reader.read()).done, true);
  assertEquals([...handle.trailers ?? []], [["first", "1"], ["n", "2"]]);
  assertEquals(handle.metadata, undefined);
  await close();
});

test("trailers come with a failure, too, and after a cancel by the reader", async () => {
  const { client, close } = pair(services);
  const failed = client.go("S.count", 3);
  const error = await assertRejects(
    async () => await Array.fromAsync(await failed.reply),
    RpcError,
  );
  assertEquals([error.code, error.data], ["own", { n: 3 }]);
  assertEquals(failed.trailers?.get("n"), "3");
  const stopped = client.go("S.count", 1e9);
  const reader = (await stopped.reply).getReader();
  await reader.read();
  await reader.cancel();
  while (stopped.trailers === undefined) await settle();
  assertEquals(stopped.trailers.get("n"), "0");
  await close();
});

test("a result that is no stream has no trailers", async () => {
  const { client, close } = pair(services);
  const handle = client.go("S.value");
  assertEquals(await handle.reply, "value");
  assertEquals([handle.trailers, handle.metadata], [undefined, undefined]);
  await close();
});

test("a caller's trailers arrive with the end of its params", async () => {
  const { client, close } = pair(services);
  let sum = 0;
  async function* items() {
    for (const n of [1, 2, 3]) {
      sum += n;
      yield n;
    }
  }
  assertEquals(
    await client.call("S.sum", items(), {
      trailers: () => ({ sum: `${sum}` }),
    }),
    [6, true, ["sum", "6"]] as unknown[],
  );
  assertEquals(await client.call("S.sum", items()), [6, true] as unknown[]);
  await close();
});

test("trailers that cannot be made fail the caller's stream", async () => {
  const { client, errors, close } = pair(services);
  const bad: [() => never, string][] = [
    [() => {
      throw new RpcError("bad_sum", "text");
    }, "bad_sum"],
    [() => 1 as never, "cancelled"],
    [() => ({ a: "x".repeat(65_536) }) as never, "cancelled"],
  ];
  for (const [trailers, code] of bad) {
    const error = await assertRejects(
      () => client.call("S.sum", ReadableStream.from([1]), { trailers }),
      RpcError,
    );
    assertEquals([error.code, error.outcome], [code, "executed"]);
  }
  assertEquals(errors, []);
  // Not called where the stream fails, nor where there is none.
  let made = 0;
  const trailers = () => ({ n: `${++made}` });
  const failing = new ReadableStream<number>({
    pull: (controller) => controller.error(new Error("source")),
  });
  await assertRejects(() => client.call("S.sum", failing, { trailers }));
  await client.call("S.value", undefined, { trailers });
  assertEquals(made, 0);
  await close();
});

test("a caller that aborts its call as it makes the trailers ends the call once", async () => {
  const { client, close } = pair(services);
  const abort = new AbortController();
  const trailers = () => {
    abort.abort("enough");
    return { a: "1" };
  };
  const reason = await client.call("S.sum", ReadableStream.from([1]), {
    trailers,
    signal: abort.signal,
  }).catch((reason) => reason);
  assertEquals(reason, "enough");
  await close();
});

test("trailers that are too large are refused at once, and the stream goes on", async () => {
  const limits: [maxMessage: number, most: number][] = [
    [16_384, 16_384 - 4200],
    [4 << 20, 65_535],
  ];
  for (const [maxMessage, most] of limits) {
    const { client, close } = pair({
      S: {
        async *f(_: undefined, ctx: CallContext) {
          yield 1;
          ctx.setTrailers({ a: "x".repeat(most - 4) });
          assertThrows(() => ctx.setTrailers({ b: "" }), RangeError);
          assertThrows(() => ctx.setTrailers({ a: 1 as never }), TypeError);
          // The longest error fits as well, without its data.
          const data = "y".repeat(20_000);
          throw new RpcError("c".repeat(64), "m".repeat(4096), { data });
        },
      },
    }, { client: { maxMessage } });
    const handle = client.go("S.f");
    const error = await assertRejects(
      async () => await Array.fromAsync(await handle.reply),
      RpcError,
    );
    assertEquals([error.code.length, error.message.length], [64, 4096]);
    assertEquals(error.data === undefined, maxMessage === 16_384);
    assertEquals(handle.trailers?.get("a")?.length, most - 4);
    await close();
  }
});

test("[TR1] trailers on the wire: both directions, with and without an error", async () => {
  const { peer, connection } = faceClient();
  await greet({ peer }, { streams: true });
  const handles = [1, 2, 3].map(() => connection.go("S.f"));
  await settle();
  await peer.send(
    ...[1, 2, 3].map((id) => reply(id, STREAM)),
    frame(KIND.END, 1, BLOCK, TRAILERS),
    frame(KIND.END, 2, [...BLOCK, 1, 0x78, 0, 0, 0], TRAILERS | ERROR),
    frame(KIND.END, 3, [0, 0], TRAILERS),
  );
  await settle();
  const seen = handles.map(({ trailers }) => trailers && [...trailers]);
  assertEquals(seen, [[["a", "1"]], [["a", "1"]], []]);
  await connection.abort();

  const facing = faceServer(services);
  await greet(facing, { streams: true });
  await facing.peer.send(
    request(1, "S.sum", STREAM),
    frame(KIND.END, 1, BLOCK, CALLER | TRAILERS),
  );
  const answer = await facing.peer.nextOf(KIND.REPLY);
  assertEquals(
    new TextDecoder().decode(answer.body.subarray(1)),
    '[0,true,["a","1"]]',
  );
  await facing.peer.send(request(2, "S.count", [1, 0x30]));
  const last = await facing.peer.nextOf(KIND.END);
  assertEquals(last.flags, TRAILERS);
  const block = [5, ...utf8("first"), 0, 1, 0x31, 1, 0x6e, 0, 1, 0x30];
  assertEquals([...last.body], [0, block.length, ...block]);
  await assertLost(facing);
});

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

test("trailers that break their layout close the connection", async () => {
  const bad: Record<string, number[]> = {
    "no length": [],
    "half a length": [0],
    "a block that is cut": [0, 5, 1, 0x61, 0, 1],
    "an entry beyond the block": [0, 4, 1, 0x61, 0, 1, 0x31],
    "no UTF-8": [0, 5, 1, 0xff, 0, 1, 0x31],
    "more behind them": [...BLOCK, 0],
  };
  for (const [what, body] of Object.entries(bad)) {
    const facing = faceServer({ S: { hold: () => new Promise(() => {}) } });
    await greet(facing, { streams: true });
    await facing.peer.send(
      request(1, "S.hold", STREAM),
      frame(KIND.END, 1, body, CALLER | TRAILERS),
    );
    const { reason } = await assertCloses(facing, "protocol_error");
    assert(reason.message.includes("layout") || what === "no UTF-8", what);
  }
});

test("trailers of an ended stream are ignored; those that arrive are held until the call is over", async () => {
  const release = Promise.withResolvers<void>();
  const facing = faceServer({
    S: {
      hold: async (_: AsyncIterable<unknown>, ctx: CallContext) => {
        await release.promise;
        return ctx.trailers?.get("b");
      },
    },
  });
  const { peer, connection } = facing;
  await greet(facing, { streams: true });
  const value = "v".repeat(60_000);
  const entry = [1, 0x62, value.length >> 8, value.length & 255];
  const size = entry.length + value.length;
  const large = [size >> 8, size & 255, ...entry, ...utf8(value)];
  await peer.send(request(1, "S.hold", STREAM));
  await settle();
  const before = connection.stats().bufferedBytes;
  await peer.send(frame(KIND.END, 1, large, CALLER | TRAILERS));
  await settle();
  assertEquals(connection.stats().bufferedBytes - before, size);
  await peer.send(frame(KIND.END, 1, BLOCK, CALLER | TRAILERS), end(1, CALLER));
  release.resolve();
  const answer = await peer.nextOf(KIND.REPLY);
  assertEquals(answer.body.length, 1 + value.length);
  await settle();
  assert(connection.stats().bufferedBytes < before);
  await peer.send(
    frame(KIND.END, 1, BLOCK, CALLER | TRAILERS),
    stop(1, CALLER),
  );
  await assertLost(facing);
});

test("trailers pass middleware and a reconnecting client", async () => {
  const server = new Server(services);
  const client = new ReconnectingClient<typeof services>(
    serving(server as unknown as Server<object>),
    { use: clientMiddleware((call, next) => next(call)) },
  );
  const handle = client.go("S.count", 1);
  assertEquals(await Array.fromAsync(await handle.reply), [0]);
  assertEquals(handle.trailers?.get("n"), "1");
  const trailers = () => ({ a: "1" });
  assertEquals(
    await client.call("S.sum", ReadableStream.from([1]), { trailers }),
    [1, true, ["a", "1"]] as unknown[],
  );
  await client.close();
  await server.close();
});
