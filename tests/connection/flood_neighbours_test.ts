// Twenty hostile peers of one kind, and well-behaved clients on the same server:
// what the flood may hold is bounded, and the clients are served meanwhile.

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import {
  type CallContext,
  Client,
  type Connection,
  type ErrorCode,
  memoryPair,
  Server,
  type ServerOptions,
} from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";
import { assertNothingLeft } from "../support/pair.ts";
import { frame, hello, KIND, RawPeer, request } from "../support/raw_peer.ts";

const HOSTILE = 20;
/** More than all handlers that so many peers can make run. */
const ROOMY = { maxTotalRunning: 200 };
const ROUNDS = 12;
/** Turns of the event loop within which the call of a well-behaved client must be answered. */
const TURNS = 24;

const LIMITS = {
  windowCalls: 256,
  windowBytes: 65_536,
  maxRunning: 8,
  maxTotalRunning: 40,
  highWaterMark: 65_536,
  handshakeTimeout: 1000,
  messageTimeout: 1000,
  writeTimeout: 1000,
};

/** Handlers; those of `hold` end with their signals, those of `deaf` after everything else. */
function services(deaf: Promise<void>) {
  const gauge = { running: 0, most: 0 };
  const runs = async (end: (stop: () => void) => void) => {
    gauge.most = Math.max(gauge.most, ++gauge.running);
    await new Promise<void>(end);
    gauge.running--;
  };
  const bytes = new Uint8Array(20_000);
  return {
    gauge,
    services: {
      Test: {
        echo: (params: unknown) => params,
        big: () => bytes,
        hold: (_: unknown, { signal }: CallContext) =>
          runs((stop) => signal.addEventListener("abort", stop)),
        deaf: () => runs((stop) => deaf.then(stop)),
      },
    },
  };
}

interface Flood {
  /** What each peer sends in round `i`. */
  readonly send: (i: number) => Uint8Array[];
  /** Whether they send HELLO first, and read what the server sends. */
  readonly greets?: boolean;
  readonly reads?: boolean;
  /** How they end, at the latest after 1,000 ms; absent if they do not. */
  readonly closes?: ErrorCode;
  /** Bytes that one of them may make the server hold. */
  readonly holds: number;
  readonly options?: ServerOptions;
}

/** `n` frames of round `i`, by ids that go on. */
function frames(
  n: number,
  make: (id: number) => Uint8Array[],
): (i: number) => Uint8Array[] {
  return (i) => Array.from({ length: n }, (_, k) => make(i * n + k + 1)).flat();
}

const header = frame(KIND.REQUEST, 1);
new DataView(header.buffer).setUint32(0, 4 << 20);
const oversized = frame(KIND.REQUEST, 1);
new DataView(oversized.buffer).setUint32(0, 0x7fffffff);

/** What a request counts that is not answered: under 60 bytes, and 512 beside. */
const CALL = 60 + 512;

/** In `holds`: 100 bytes are HELLO and PONG, an error is under 120. */
const FLOODS: [string, Flood][] = [
  ["[F1] calls and their cancels, answers read", {
    send: frames(
      50,
      (id) => [request(id, "Test.hold"), frame(KIND.CANCEL, id)],
    ),
    reads: true,
    holds: 256 * CALL + 100 * 120,
  }],
  ["[F1] calls of deaf handlers and their cancels", {
    send: frames(
      50,
      (id) => [request(id, "Test.deaf"), frame(KIND.CANCEL, id)],
    ),
    reads: true,
    holds: 256 * CALL + 100 * 120,
    options: ROOMY,
  }],
  ["[F2] PINGs, unread", {
    send: frames(500, (id) => [frame(KIND.PING, id)]),
    holds: ROUNDS * 12 * 4,
  }],
  ["[F2] padding and frames to skip", {
    send: frames(500, (id) => [frame(id % 2 ? KIND.PAD : 0x80, id)]),
    holds: 100,
  }],
  ["[F2] cancels of one call, again and again", {
    send: (i) => [
      ...i === 0 ? [request(1, "Test.echo")] : [],
      ...Array.from({ length: 500 }, () => frame(KIND.CANCEL, 1)),
    ],
    holds: 100,
  }],
  ["[F3] more calls than the window", {
    send: frames(50, (id) => [request(id, "Test.deaf")]),
    closes: "resource_exhausted",
    holds: 256 * CALL,
    options: ROOMY,
  }],
  ["[F3] more bytes than the window", {
    send: frames(1, (id) => [request(id, "Test.deaf", "x".repeat(16_000))]),
    closes: "resource_exhausted",
    holds: 65_536 + 4 * CALL,
    options: ROOMY,
  }],
  ["[F4] replies that are never read", {
    send: (i) => i > 0 ? [] : frames(100, (id) => [request(id, "Test.big")])(0),
    closes: "deadline_exceeded",
    holds: 65_536 + 100 * CALL + 20_100,
  }],
  ["[F5] a header, byte by byte", {
    send: (i) => [header.subarray(i, i + 1)],
    closes: "deadline_exceeded",
    holds: 100,
  }],
  ["[F5] a body, byte by byte", {
    send: (i) => i === 0 ? [header] : [new Uint8Array(1)],
    closes: "deadline_exceeded",
    holds: 100 + ROUNDS,
  }],
  ["[F5] a HELLO, byte by byte", {
    greets: false,
    send: (i) => [hello().subarray(i, i + 1)],
    closes: "deadline_exceeded",
    holds: 100,
  }],
  ["[F6] silence", {
    greets: false,
    send: () => [],
    closes: "deadline_exceeded",
    holds: 100,
  }],
  ["[F10] unknown methods, answers unread", {
    send: frames(100, (id) => [request(id, "no.such")]),
    closes: "resource_exhausted",
    holds: 65_536,
  }],
  ["[F10] late deadlines, answers unread", {
    send: frames(100, (id) => [request(id, "Test.hold", "x", 0)]),
    closes: "resource_exhausted",
    holds: 65_536,
  }],
  ["[B4] a length that nobody accepts", {
    send: () => [oversized],
    closes: "frame_too_large",
    holds: 100,
  }],
  ["[F14] chunks of many small calls", {
    send: frames(300, (id) => [request(id, "Test.echo")]),
    reads: true,
    holds: 2 * 65_536 + 300 * CALL,
    options: { windowCalls: 1 << 20, windowBytes: 1 << 30 },
  }],
];

/** One hostile peer; a server that has closed may refuse what it sends. */
function intrude(server: Server<object>, flood: Flood) {
  const peer = new RawPeer({ highWaterMark: 32_768 });
  const connection = server.accept(peer.duplex);
  const attempt = (...bytes: Uint8Array[]) =>
    void peer.send(...bytes).catch(() => {});
  if (flood.greets !== false) attempt(hello());
  if (flood.reads) peer.rest().catch(() => {});
  return { peer, connection, attempt };
}

/** Calls once on each well-behaved client; all must be answered in time. */
async function serveAll(clients: Client<object>[], i: number): Promise<void> {
  let answered = 0;
  for (const [c, client] of clients.entries()) {
    const text = `${c} ${i}`;
    client.connection.call("Test.echo", text).then((reply) => {
      if (reply === text) answered++;
    });
  }
  for (let turn = 0; turn < TURNS && answered < clients.length; turn++) {
    await settle(1);
  }
  assertEquals(answered, clients.length, `answered in round ${i}`);
}

function assertBounded(connections: Connection[], holds: number): void {
  for (const connection of connections) {
    const { bufferedBytes, running } = connection.stats();
    assert(bufferedBytes <= holds, `${bufferedBytes} bytes of ${holds}`);
    assert(running <= LIMITS.maxRunning, `${running} handlers`);
  }
}

for (const [name, flood] of FLOODS) {
  test(`${name} is bounded, and other clients are served meanwhile`, async () => {
    const deaf = Promise.withResolvers<void>();
    const { gauge, services: served } = services(deaf.promise);
    const clock = new TestClock();
    const options = { clock, ...LIMITS, ...flood.options };
    const server = new Server(served, options);
    const hostile = Array.from(
      { length: HOSTILE },
      () => intrude(server as Server<object>, flood),
    );
    const connections = hostile.map(({ connection }) => connection);
    const clients = Array.from({ length: 3 }, () => {
      const [near, far] = memoryPair();
      server.accept(far);
      return new Client<object>(near);
    });
    for (let i = 0; i < ROUNDS; i++) {
      const bytes = flood.send(i);
      for (const { attempt } of hostile) {
        if (bytes.length > 0) attempt(...bytes);
      }
      await serveAll(clients, i);
      assertBounded(connections, flood.holds);
    }
    assert(gauge.most <= options.maxTotalRunning, `${gauge.most} ran`);
    await clock.advance(1000);
    for (const { connection, peer } of hostile) {
      const { state } = connection.stats();
      if (flood.closes === undefined) {
        assertEquals(state, "open");
        await connection.abort();
      } else {
        assert(state !== "open", "it is still open");
        peer.rest().catch(() => {});
        peer.end().catch(() => {});
      }
    }
    await clock.advance(7000);
    for (const { connection } of hostile) {
      const reason = await connection.closed;
      assertEquals(reason?.code, flood.closes ?? "cancelled");
      assertNothingLeft(connection);
    }
    deaf.resolve();
    await settle();
    await serveAll(clients, ROUNDS);
    assertEquals(gauge.running, 0);
    assertEquals(server.connections.size, clients.length);
    await Promise.all(clients.map((client) => client.close()));
    await server.close();
    assertEquals(clock.timers, 0);
  });
}
