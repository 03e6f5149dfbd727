// User code that calls, closes and aborts from inside the library's callbacks, or
// before it has noticed that the peer is gone.

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import {
  type CallContext,
  connect,
  echoServices,
  listen,
  memoryPair,
  RpcError,
  Server,
} from "../../mod.ts";
import { settle, turn } from "../support/clock.ts";
import { faceClient, greet } from "../support/facing.ts";
import { assertNothingLeft, pair } from "../support/pair.ts";
import { KIND, reply } from "../support/raw_peer.ts";
import { HAS_SOCKETS } from "../support/runtime.ts";
import { receive } from "../support/transports.ts";

test("[A4] an abort inside a reply callback ends only the call that is aborted", async () => {
  const facing = faceClient();
  await greet(facing);
  const { connection, peer } = facing;
  const first = connection.go("first");
  const second = connection.go("second");
  const told = first.reply.then(() => {
    first.abort("too late");
    second.abort("in time");
  });
  await settle();
  await peer.send(reply(1), reply(2));
  await told;
  assertEquals(await first.settled, "executed");
  // Its own reply was in the same chunk.
  assertEquals(await second.settled, "executed");
  assertEquals(await second.reply, "ok");
  const third = connection.go("third");
  await settle();
  await peer.send(reply(3));
  assertEquals(await third.reply, "ok");
  const closed = connection.close();
  for (const { kind } of await peer.rest()) assert(kind !== KIND.CANCEL);
  await peer.end();
  await closed;
  assertNothingLeft(connection);
});

test("[L5] a close inside a reply callback lets the other calls finish", async () => {
  const { client, close } = pair(echoServices());
  const handles = Array.from(
    { length: 100 },
    (_, i) => client.go("Echo.echo", i),
  );
  let closing: Promise<void> | undefined;
  handles[10].reply.then(() => closing = client.close());
  for (const [i, handle] of handles.entries()) {
    assertEquals(await handle.reply, i);
  }
  await closing;
  assertEquals(client.close(), closing!);
  await close();
});

test("[L5] an abort of the connection inside a reply callback settles the other calls with their true outcomes", async () => {
  const facing = faceClient();
  await greet(facing);
  const { connection, peer } = facing;
  const handles = Array.from({ length: 4 }, () => connection.go("m"));
  handles[0].reply.then(() => connection.abort("enough"));
  await settle();
  await peer.send(reply(1));
  await settle();
  await peer.send(reply(2)).catch(() => {});
  const outcomes = await Promise.all(handles.map(({ settled }) => settled));
  assertEquals(outcomes, ["executed", "unknown", "unknown", "unknown"]);
  assertEquals((await connection.closed)?.cause, "enough");
  assertNothingLeft(connection);
});

test("[L6] a call made after the peer is gone, and before the client notices, settles with its true outcome", async () => {
  const facing = faceClient();
  await greet(facing);
  const { connection, peer } = facing;
  const before = connection.go("before");
  await settle();
  const gone = peer.reset();
  const unnoticed = connection.go("unnoticed");
  assertEquals(connection.stats().state, "open");
  await gone;
  await settle();
  const noticed = connection.go("noticed");
  const outcomes: string[] = [];
  for (const { settled, reply } of [before, unnoticed, noticed]) {
    outcomes.push(await settled);
    const error = await reply.then(() => {}, (reason) => reason);
    assert(error instanceof RpcError);
    assertEquals(error.code, "unavailable");
  }
  assertEquals([outcomes[0], outcomes[2]], ["unknown", "not_sent"]);
  assert(["unknown", "not_sent"].includes(outcomes[1]), outcomes[1]);
  await connection.closed;
  assertNothingLeft(connection);
});

test("[H7] a handler calls back over its own connection, and the handler there calls back again", async () => {
  const services = {
    Deep: {
      dive: async (depth: number, ctx: CallContext): Promise<string> => {
        if (depth === 0) return "bottom";
        const call = ctx.connection.call("Deep.dive", depth - 1, { ctx });
        return `${depth} ${await call}`;
      },
    },
  };
  const [near, far] = memoryPair();
  const server = new Server(services);
  const [a, b] = [server.accept(near), server.accept(far)];
  const dives = [a.call("Deep.dive", 5), b.call("Deep.dive", 4)];
  assertEquals(await Promise.all(dives), [
    "5 4 3 2 1 bottom",
    "4 3 2 1 bottom",
  ]);
  await server.close();
  assertNothingLeft(a);
  assertNothingLeft(b);
});

test("[L16] a dial that was aborted leaves no connection behind", async (t) => {
  if (!HAS_SOCKETS) return t.skip("a page has no sockets");
  const listener = await listen({ port: 0 });
  const accepted = listener[Symbol.asyncIterator]();
  const controller = new AbortController();
  const { signal } = controller;
  const dials = Array.from(
    { length: 8 },
    () => connect({ ...listener.address, signal }).catch(() => undefined),
  );
  // By then some dials may have succeeded, others are in progress.
  await turn();
  controller.abort();
  for (const duplex of await Promise.all(dials)) {
    await duplex?.writable.abort().catch(() => {});
  }
  // Every connection accepted before this one was ended by its client.
  const last = await connect(listener.address);
  for (;;) {
    const { value } = await accepted.next();
    if (value.remote === last.local) {
      await value.writable.abort();
      break;
    }
    const { ended, error } = await receive(value);
    assert(ended || error !== undefined, "it is still open");
    await value.writable.abort().catch(() => {});
  }
  await last.writable.abort().catch(() => {});
  await listener.close();
});

test("[L13] a process whose client and server are closed exits by itself", async (t) => {
  if (!HAS_SOCKETS) return t.skip("a page has no processes");
  const { runScript } = await import("../support/script.ts");
  const { code, stdout } = await runScript("exit_rpc.ts");
  assertEquals({ code, stdout }, { code: 0, stdout: "closed\n" });
});
