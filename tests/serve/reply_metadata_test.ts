/** Metadata of replies: with results, with errors, through middleware. */

import { test } from "node:test";
import { assertEquals, assertRejects } from "@std/assert";
import { type CallContext, clientMiddleware, RpcError } from "../../mod.ts";
import { faceClient, faceServer, greet } from "../support/facing.ts";
import { pair } from "../support/pair.ts";
import { frame, hello, KIND, request } from "../support/raw_peer.ts";

const services = {
  S: {
    with: (params: Record<string, string>, ctx: CallContext) => {
      ctx.setReplyMetadata({ first: "1", cost: "0" });
      ctx.setReplyMetadata(params);
      return "ok";
    },
    without: (_: null) => "ok",
    failing: (_: null, ctx: CallContext) => {
      ctx.setReplyMetadata({ cost: "3" });
      throw new RpcError("out_of_luck", "as asked");
    },
    large: (_: null, ctx: CallContext) => {
      ctx.setReplyMetadata({ name: "x".repeat(60_000) });
      return "ok";
    },
    wrong: (_: null, ctx: CallContext) =>
      ctx.setReplyMetadata({ name: 1 as unknown as string }),
  },
};

test("reply metadata travels with the result, and a later value of a name replaces an earlier one", async () => {
  const { client, close } = pair(services);
  const handle = client.go("S.with", { cost: "2 \u20ac" });
  assertEquals(handle.metadata, undefined);
  assertEquals(await handle.reply, "ok");
  assertEquals(
    handle.metadata,
    new Map([["first", "1"], ["cost", "2 \u20ac"]]),
  );
  const plain = client.go("S.without", null);
  await plain.reply;
  assertEquals(plain.metadata, undefined);
  await close();
});

test("reply metadata travels with an error", async () => {
  const { client, close } = pair(services);
  const handle = client.go("S.failing", null);
  await assertRejects(() => handle.reply, RpcError, "as asked");
  assertEquals(handle.metadata?.get("cost"), "3");
  const wrong = client.go("S.wrong", null);
  const error = await assertRejects(() => wrong.reply, RpcError);
  assertEquals(error.code, "internal");
  assertEquals(wrong.metadata, undefined);
  await close();
});

test("[H0] reply metadata larger than the caller accepts fails that call alone, and is left out of the error", async () => {
  const facing = faceServer(services);
  await greet(facing, { maxMessage: 16 * 1024 });
  const { peer } = facing;
  await peer.send(request(1, "S.large", [0]), request(2, "S.without", [0]));
  const error = await peer.nextOf(KIND.ERROR);
  assertEquals([error.id, error.flags, error.body.length < 1000], [1, 1, true]);
  assertEquals((await peer.nextOf(KIND.REPLY)).id, 2);
  const over = facing.connection.abort();
  await over;
});

test("a client's middleware and the handle see the reply metadata", async () => {
  const costs: unknown[] = [];
  const { client, close } = pair(services, {
    client: {
      use: clientMiddleware(async (call, next) => {
        const result = await next();
        costs.push(call.replyMetadata?.get("cost"));
        return result;
      }),
    },
  });
  const handle = client.go("S.with", { cost: "7" });
  await handle.reply;
  assertEquals(costs, ["7"]);
  assertEquals(handle.metadata?.get("cost"), "7");
  await close();
});

test("the metadata of a reply after the caller gave up is there once the call is settled", async () => {
  const { peer, connection } = faceClient();
  await peer.send(hello());
  const handle = connection.go("m");
  await peer.nextOf(KIND.REQUEST);
  handle.abort();
  await assertRejects(() => handle.reply);
  // One entry, "c": "3", and no value.
  await peer.send(frame(KIND.REPLY, 1, [0, 5, 1, 99, 0, 1, 51, 0], 2));
  assertEquals(await handle.settled, "executed");
  assertEquals(handle.metadata, new Map([["c", "3"]]));
  await connection.abort();
});
