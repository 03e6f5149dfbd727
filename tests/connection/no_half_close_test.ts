/**
 * Transports that cannot send FIN alone: a close of `writable` ends both
 * directions, at both sides. LAST with ALL ends one of them.
 *
 * The clock of each test stands still, so nothing here waits for a limit.
 */

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import {
  callable,
  Client,
  type Duplex,
  halfCloseByFrame,
  memoryPair,
  Server,
} from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";
import { faceServer, greet } from "../support/facing.ts";
import { assertNothingLeft } from "../support/pair.ts";
import {
  goaway,
  KIND,
  last,
  RawPeer,
  reply,
  request,
} from "../support/raw_peer.ts";
import { Held } from "../support/services.ts";

/** Makes a duplex one that cannot half-close: once either side has closed, nothing is read or written any more. */
function withoutHalfClose(
  { readable, writable }: Duplex,
): Duplex & { closed: boolean } {
  const reader = readable.getReader();
  const writer = writable.getWriter();
  writer.closed.catch(() => {});
  let end = () => {};
  const duplex = {
    closed: false,
    readable: new ReadableStream<Uint8Array>({
      start(controller) {
        end = () => {
          if (!duplex.closed) controller.close();
          duplex.closed = true;
        };
      },
      async pull(controller) {
        const { done, value } = await reader.read();
        if (duplex.closed) return;
        if (done) end();
        else controller.enqueue(value);
      },
      cancel: () => void reader.cancel(),
    }, { highWaterMark: 0 }),
    writable: new WritableStream<Uint8Array>({
      async write(chunk) {
        if (duplex.closed) throw new Error("written after the close");
        await writer.write(chunk);
      },
      async close() {
        end();
        await writer.close();
      },
      abort: (reason) => writer.abort(reason),
    }),
  };
  return duplex;
}

/** A client and a server on such a transport, and a call that the server runs. */
async function pairWithout(serves = false) {
  const [near, far] = memoryPair();
  const held = new Held();
  const clock = new TestClock();
  const server = new Server(held.services, { clock });
  const connection = server.accept(halfCloseByFrame(withoutHalfClose(far)));
  const client = new Client(halfCloseByFrame(withoutHalfClose(near)), {
    clock,
    services: serves ? callable(held.services) : undefined,
  });
  const call = client.connection.go("Held.work");
  await settle();
  return { held, client, server, connection, call };
}

/** Both sides have ended in order, and the call was served. */
async function assertServed(
  { held, client, connection, call }: Awaited<ReturnType<typeof pairWithout>>,
): Promise<void> {
  await settle();
  held.release("done");
  assertEquals(await call.reply, "done");
  assertEquals(await connection.closed, undefined);
  assertEquals(await client.connection.closed, undefined);
  assertNothingLeft(connection);
  assertNothingLeft(client.connection);
}

for (const serves of [false, true]) {
  const who = serves ? "a client that serves calls" : "a client";
  test(`[X8] without half-close, a server closes while ${who} has a call`, async () => {
    const t = await pairWithout(serves);
    const closed = t.server.close();
    await assertServed(t);
    await closed;
  });

  test(`[X8] without half-close, ${who} closes while it has a call`, async () => {
    const t = await pairWithout(serves);
    const closed = t.client.close();
    await assertServed(t);
    await closed;
    await t.server.close();
  });
}

test("[X8] without half-close, both sides close while a call runs", async () => {
  const t = await pairWithout();
  const closed = Promise.all([t.server.close(), t.client.close()]);
  await assertServed(t);
  await closed;
});

test("[X8] without half-close, a connection that is lost is lost", async () => {
  const t = await pairWithout();
  await t.client.abort();
  assertEquals(await t.call.settled, "unknown");
  assertEquals((await t.connection.closed)?.code, "unavailable");
  await t.server.close();
});

test("[X8] a client without half-close keeps its transport open until the peer has ended", async () => {
  const raw = new RawPeer();
  const duplex = withoutHalfClose(raw.duplex);
  const client = new Client(halfCloseByFrame(duplex), {
    clock: new TestClock(),
  });
  await greet({ peer: raw });
  client.close();
  const kinds = async () => {
    const { kind, flags } = (await raw.next())!;
    return [kind, flags];
  };
  assertEquals(await kinds(), [KIND.GOAWAY, 1]);
  assertEquals(await kinds(), [KIND.LAST, 1]);
  await settle();
  assertEquals(duplex.closed, false);
  await raw.send(goaway(undefined), last(true));
  await raw.end();
  assertEquals(await client.closed, undefined);
  assert(duplex.closed);
});

test("[X8] LAST with ALL after a GOAWAY is a graceful FIN: the peer's calls are still served", async () => {
  const held = new Held();
  const { peer, connection, clock } = faceServer(held.services);
  await greet({ peer });
  const ours = connection.go("their.method");
  await settle();
  await peer.send(request(1, "Held.work"), goaway(1), last(true));
  await settle();
  assertEquals(ours.outcome, "unknown");
  assertEquals(held.calls[0].ctx.signal.aborted, false);
  held.release("done");
  const frames = await peer.rest();
  assertEquals(frames.map(({ kind }) => kind), [KIND.REQUEST, KIND.REPLY]);
  await peer.end();
  assertEquals(await connection.closed, undefined);
  assertNothingLeft(connection);
  assertEquals(clock.timers, 0);
});

test("[X8] LAST with ALL without a GOAWAY, or after one with a code, is a loss", async () => {
  for (const before of [[], [goaway(undefined, "internal")]]) {
    const held = new Held();
    const { peer, connection } = faceServer(held.services);
    await greet({ peer });
    await peer.send(request(1, "Held.work"));
    await settle();
    await peer.send(...before, last(true));
    await settle();
    assert(held.calls[0].ctx.signal.aborted);
    assertEquals(await peer.next(), undefined);
    await peer.end();
    const code = before.length === 0 ? "unavailable" : "internal";
    assertEquals((await connection.closed)?.code, code);
    assertNothingLeft(connection);
    held.release();
  }
});

test("[X8] what follows LAST with ALL is discarded, in the same chunk and later", async () => {
  const held = new Held();
  const { peer, connection } = faceServer(held.services);
  await greet({ peer });
  const late = [request(2, "Held.work"), reply(99), Uint8Array.of(255, 255)];
  await peer.send(
    request(1, "Held.work"),
    goaway(undefined),
    last(true),
    ...late,
  );
  await peer.send(...late);
  await settle();
  assertEquals(held.calls.length, 1);
  held.release("done");
  assertEquals((await peer.next())?.id, 1);
  assertEquals(await peer.next(), undefined);
  await peer.end();
  assertEquals(await connection.closed, undefined);
});
