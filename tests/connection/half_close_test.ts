/** Peers that have sent their FIN and wait for replies, or are gone. */

import { assert, assertEquals } from "@std/assert";
import { readFileSync } from "node:fs";
import { connect as connectPlain, type Socket } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { connect as connectTls } from "node:tls";
import {
  type CallContext,
  type Duplex,
  listen,
  type ListenOptions,
  memoryPair,
  type RpcError,
  Server,
} from "../../mod.ts";
import { netrpc } from "../../netrpc.ts";
import { settle, TestClock } from "../support/clock.ts";
import { faceServer, greet } from "../support/facing.ts";
import { FIRST, RawBytePeer } from "../support/go_peer.ts";
import { faceJsonServer } from "../support/json_peer.ts";
import { assertNothingLeft } from "../support/pair.ts";
import {
  goaway,
  hello,
  join as joined,
  KIND,
  request,
} from "../support/raw_peer.ts";
import { Held } from "../support/services.ts";
import { fixture } from "../support/fixture.ts";
import { withDirectory } from "../support/transports.ts";

const TIMES = { keepaliveTime: 500, keepaliveTimeout: 200 };

test("[X9] a peer that half-closed in order is sent PINGs, and receives its reply however late that is", async () => {
  const held = new Held();
  const facing = faceServer(held.services, TIMES);
  const { peer, connection, clock } = facing;
  await greet(facing);
  await peer.send(request(1, "Held.work"), goaway(undefined));
  await peer.end();
  for (let i = 0; i < 100; i++) await clock.advance(1000);
  assertEquals(connection.stats().state, "draining");
  assert(!held.calls[0].ctx.signal.aborted);
  held.release("at last");
  const heard = await peer.rest();
  const answer = heard.findIndex(({ kind }) => kind === KIND.REPLY);
  assert(answer > 100, `${answer} PINGs`);
  assertEquals(heard.length, answer + 1);
  assertEquals(await connection.closed, undefined);
  assertNothingLeft(connection);
});

test("[X9] a PING sent before the FIN does not count as unanswered after it", async () => {
  const held = new Held();
  const facing = faceServer(held.services, TIMES);
  const { peer, connection, clock } = facing;
  await greet(facing);
  await peer.send(request(1, "Held.work"));
  await clock.advance(500);
  await peer.nextOf(KIND.PING);
  const ping = connection.ping().then(() => "answered", (error) => error.code);
  await peer.send(goaway(undefined));
  await peer.end();
  assertEquals(await ping, "unavailable");
  await clock.advance(10_000);
  assertEquals(connection.stats().state, "draining");
  held.release();
  assertEquals(await connection.closed, undefined);
});

test("[X9] a half-closed peer that reads nothing is disconnected", async () => {
  const facing = faceServer({
    Test: {
      big: () => "x".repeat(400_000),
      hold: () => new Promise<never>(() => {}),
    },
  }, { ...TIMES, writeTimeout: 5000 });
  const { peer, connection, clock } = facing;
  await greet(facing);
  await peer.send(
    request(1, "Test.hold"),
    request(2, "Test.big"),
    goaway(undefined),
  );
  await peer.end();
  await settle();
  await clock.advance(4999);
  assertEquals(connection.stats().state, "draining");
  await clock.advance(10_000);
  assertEquals((await connection.closed)?.code, "deadline_exceeded");
  assertNothingLeft(connection);
});

test("[X9] a peer that has not half-closed still has to answer PINGs", async () => {
  const held = new Held();
  const facing = faceServer(held.services, TIMES);
  await greet(facing);
  await facing.peer.send(request(1, "Held.work"), goaway(undefined));
  await facing.clock.advance(700);
  assertEquals((await facing.connection.closed)?.code, "unavailable");
});

test("[X8] a half-close in order lasts halfCloseTimeout, and then the handler's signal fires", async () => {
  const held = new Held();
  const facing = faceServer(held.services, { halfCloseTimeout: 3000 });
  const { peer, connection, clock } = facing;
  await greet(facing);
  await peer.send(request(1, "Held.work"), goaway(undefined));
  await peer.end();
  await clock.advance(2999);
  assert(!held.calls[0].ctx.signal.aborted);
  await clock.advance(1);
  const reason = held.calls[0].ctx.signal.reason as RpcError;
  assert(reason.message.includes("3000 ms"), reason.message);
  assertEquals((await connection.closed)?.code, "deadline_exceeded");
  assertNothingLeft(connection);
});

test("[X8] a half-close before `authorize` decides lasts no longer than the handshake may", async () => {
  const facing = faceServer({ Test: { call: () => 1 } }, {
    authorize: () => new Promise(() => {}),
  });
  const { peer, connection, clock } = facing;
  await peer.send(hello(), request(1, "Test.call"), goaway(undefined));
  await peer.end();
  await clock.advance(9999);
  assertEquals(connection.stats().state, "draining");
  await clock.advance(1);
  assertEquals((await connection.closed)?.code, "deadline_exceeded");
  assertNothingLeft(connection);
});

/** One side of a memory pair as a user's own streams, whose writing can fail by itself. */
function failing(): { duplex: Duplex; fail: () => void; far: Duplex } {
  const [near, far] = memoryPair();
  let controller: WritableStreamDefaultController;
  const writable = new WritableStream<Uint8Array>({
    start: (c) => void (controller = c),
  });
  const duplex = { readable: far.readable, writable };
  return { duplex, far: near, fail: () => controller.error(new Error("gone")) };
}

test("[X8] a transport that fails after the FIN was read ends running calls at once", async () => {
  const held = new Held();
  const { duplex, far, fail } = failing();
  const server = new Server(held.services, { clock: new TestClock() });
  const connection = server.accept(duplex);
  const writer = far.writable.getWriter();
  await writer.write(
    joined(hello(), request(1, "Held.work"), goaway(undefined)),
  );
  await writer.close();
  await settle();
  assert(!held.calls[0].ctx.signal.aborted);
  fail();
  await settle();
  assert(held.calls[0].ctx.signal.aborted);
  assertEquals((await connection.closed)?.code, "unavailable");
  assertNothingLeft(connection);
  await server.close();
});

// Protocols on which a FIN without GOAWAY is a half-close.

test("[X8] JSON-RPC: a FIN alone is a half-close of halfCloseTimeout at most", async () => {
  const held = new Held();
  const { peer, connection, clock } = faceJsonServer(held.services, {
    halfCloseTimeout: 3000,
  });
  await peer.send({ jsonrpc: "2.0", id: 1, method: "Held.work" });
  await peer.end();
  await settle();
  await clock.advance(2999);
  assert(!held.calls[0].ctx.signal.aborted);
  await clock.advance(1);
  assert(held.calls[0].ctx.signal.aborted);
  await clock.advance(1000);
  assertEquals((await connection.closed)?.code, "deadline_exceeded");
  assertNothingLeft(connection);
});

test("[X8] net/rpc: a FIN alone is a half-close of halfCloseTimeout at most", async () => {
  const clock = new TestClock();
  const raw = new RawBytePeer();
  const signals: AbortSignal[] = [];
  const server = new Server<object, "exact">({
    HelloService: {
      Hello: (_: unknown, ctx: CallContext) => {
        signals.push(ctx.signal);
        return new Promise<never>(() => {});
      },
    },
  }, { protocol: netrpc(), clock, halfCloseTimeout: 3000 });
  const connection = server.accept(raw.duplex);
  await raw.send(FIRST);
  await raw.end();
  await settle();
  await clock.advance(2999);
  assertEquals(signals.map(({ aborted }) => aborted), [false]);
  await clock.advance(1);
  assertEquals(signals.map(({ aborted }) => aborted), [true]);
  await clock.advance(1000);
  assertEquals((await connection.closed)?.code, "deadline_exceeded");
  assertNothingLeft(connection);
});

// Sockets of a peer that half-closes and is then gone.

interface Place {
  readonly name: string;
  at(directory: string): ListenOptions;
  dial(address: { port: number } | { path: string }): Socket;
}

const PLACES: Place[] = [
  {
    name: "tcp",
    at: () => ({ port: 0 }),
    dial: (address) => connectPlain({ host: "127.0.0.1", ...address }),
  },
  {
    name: "unix",
    at: (directory) => ({ path: join(directory, "s") }),
    dial: (address) => connectPlain(address as { path: string }),
  },
  {
    name: "tls",
    at: () => ({
      port: 0,
      tls: { cert: fixture("server.pem"), key: fixture("server-key.pem") },
    }),
    dial: (address) =>
      connectTls({
        ...address as { port: number },
        host: "127.0.0.1",
        servername: "localhost",
        ca: fixture("ca.pem"),
      }),
  },
];

for (const { name, at, dial } of PLACES) {
  test(`[X8] ${name}: a peer that half-closed and is gone is noticed, and its descriptor closed`, async () => {
    await withDirectory(async (directory) => {
      const aborted = Promise.withResolvers<void>();
      let told: Error | undefined;
      const server = new Server({
        Test: {
          hold: (_: unknown, { signal }: CallContext) => {
            signal.addEventListener("abort", () => aborted.resolve());
            return new Promise<never>(() => {});
          },
        },
      }, {
        keepaliveTime: 50,
        keepaliveTimeout: 50,
        onError: (error) => told = error as Error,
      });
      const listener = await listen(at(directory));
      server.serve(listener);
      const { address } = listener;
      const socket = dial(address as { port: number } | { path: string });
      socket.on("error", () => {});
      await new Promise((resolve) => socket.once("data", resolve));
      socket.write(
        joined(hello(), request(1, "Test.hold"), goaway(undefined)),
      );
      await new Promise<void>((resolve) => socket.end(resolve));
      socket.destroy();
      await aborted.promise;
      const [connection] = server.connections;
      const reason = await connection?.closed ?? told;
      // Not for its silence: a peer that only reads is always silent.
      assert(reason?.message.includes("writing failed"), reason?.message);
      assertEquals(server.connections.size, 0);
      if ("port" in address) assertEquals(closeWaits(address.port), 0);
      await server.close();
    });
  });
}

/** Local sockets at a port whose peer has closed, and that are still open here; 0 where the system does not say. */
function closeWaits(port: number): number {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  let table: string;
  try {
    table = readFileSync("/proc/self/net/tcp", "utf8");
  } catch {
    return 0;
  }
  const lines = table.split("\n").map((line) => line.trim().split(/\s+/));
  return lines.filter(([, local, , state]) =>
    local?.endsWith(`:${hex}`) && state === "08"
  ).length;
}
