/** The running handlers of a server as a whole, and which connection starts the next one. */

import { test } from "node:test";
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  type CallContext,
  type Client,
  Client as Caller,
  memoryPair,
  method,
  Server,
  type ServerOptions,
} from "../../mod.ts";
import { jsonRpc } from "../../jsonrpc.ts";
import { netrpc } from "../../netrpc.ts";
import { settle, TestClock } from "../support/clock.ts";
import { collect } from "../support/heap.ts";
import type { Any } from "../support/dials.ts";
import { assertNothingLeft } from "../support/pair.ts";
import {
  CALLER,
  data,
  hello,
  join,
  KIND,
  RawPeer,
  reply,
  request,
} from "../support/raw_peer.ts";
import { Held } from "../support/services.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);

/** A server whose handlers end when the test says so, and any number of clients. */
function crowd(options: ServerOptions, services?: object) {
  const held = new Held();
  const all: unknown = { ...held.services, ...services };
  const server = new Server<Any>(all as Any, {
    clock: new TestClock(),
    ...options,
  });
  const connect = (): Client<Any> => {
    const [near, far] = memoryPair();
    server.accept(far);
    return new Caller<Any>(near);
  };
  const running = () =>
    [...server.connections].reduce((n, c) => n + c.stats().running, 0);
  return { held, server, connect, running };
}

/** Ends handlers one after another, in the order in which they started, until all have run. */
async function drain(held: Held, total: number): Promise<void> {
  for (let i = 0; i < total; i++) {
    assert(i < held.calls.length, `of ${total} calls ${i} were started`);
    held.calls[i].resolve();
    await settle(1);
  }
}

/** For which connection each handler was started. */
function order(held: Held): string[] {
  return held.calls.map(({ params }) => String(params).split(" ")[0]);
}

test("[F9] between two starts of a flooding connection each of 100 that wait starts one call", async () => {
  const { held, server, connect, running } = crowd({ maxTotalRunning: 4 });
  const flooder = connect();
  const others = Array.from({ length: 100 }, connect);
  const flood = Array.from(
    { length: 1000 },
    () => flooder.go("Held.work", "F"),
  );
  await settle();
  // The last quarter of the slots is reserved for connections that run no handler.
  assertEquals(held.calls.length, 3);
  const few = others.flatMap((client, i) =>
    [1, 2].map(() => client.go("Held.work", `${i}`))
  );
  await settle();
  for (let i = 0; i < 200; i++) {
    assertEquals(running(), 4);
    held.calls[i].resolve();
    await settle(1);
  }
  const turns = order(held).slice(3);
  assertEquals(new Set(turns.slice(0, turns.indexOf("F"))).size, 100);
  await drain(held, 1200);
  for (const { reply } of [...flood, ...few]) await reply;
  await Promise.all([flooder, ...others].map((client) => client.close()));
  await server.close();
});

test("[F9] connections that all run handlers, and have more calls, start them round robin", async () => {
  const { held, server, connect, running } = crowd({ maxTotalRunning: 16 });
  const clients = Array.from({ length: 5 }, connect);
  for (const [c, client] of clients.entries()) {
    const calls = c === 0 ? 1000 : 20;
    for (let i = 0; i < calls; i++) client.go("Held.work", `${c}`);
  }
  await settle();
  assertEquals(running(), 12 + 4);
  // Whichever handler ends, the connection that waits longest starts the next.
  for (let i = 0; i < 60; i++) {
    held.calls[i].resolve();
    await settle(1);
  }
  const starts = order(held).slice(16, 76);
  for (let at = starts.indexOf("0"); at >= 0;) {
    const next = starts.indexOf("0", at + 1);
    if (next < 0) break;
    assertEquals(new Set(starts.slice(at, next)).size, 5, starts.join(" "));
    at = next;
  }
  held.release();
  await Promise.all(clients.map((client) => client.abort()));
  held.release();
  await server.close();
});

test("[F9] a few connections whose handlers never end do not keep the others from being served", async () => {
  const { held, server, connect, running } = crowd({ maxTotalRunning: 200 });
  const greedy = Array.from({ length: 10 }, connect);
  for (const client of greedy) {
    for (let i = 0; i < 100; i++) {
      client.go("Held.work").reply.catch(() => {});
    }
  }
  await settle();
  const hogged = running();
  assert(hogged >= 150 && hogged < 160, `${hogged} run`);
  const others = Array.from({ length: 25 }, connect);
  for (let round = 0; round < 10; round++) {
    const echoes = others.map((client) => client.call("Held.echo", round));
    assertEquals(await Promise.all(echoes), Array(25).fill(round));
  }
  const long = others.map((client) => client.go("Held.work", "long"));
  await settle();
  assertEquals(running(), hogged + 25);
  held.release();
  await settle();
  for (const { settled } of long) assertEquals(await settled, "executed");
  await Promise.all([...greedy, ...others].map((client) => client.abort()));
  held.release();
  await server.close();
});

test("[F9] the calls of one connection start in their order, whatever other connections wait", async () => {
  const { held, server, connect } = crowd({ maxTotalRunning: 3 });
  const clients = Array.from({ length: 5 }, connect);
  for (const [c, client] of clients.entries()) {
    for (let i = 0; i < 20; i++) client.go("Held.work", `${c} ${i}`);
  }
  await settle();
  await drain(held, 100);
  for (const c of clients.keys()) {
    const own = held.calls.map(({ params }) => `${params}`)
      .filter((params) => params.startsWith(`${c} `));
    assertEquals(own, Array.from({ length: 20 }, (_, i) => `${c} ${i}`));
  }
  await Promise.all(clients.map((client) => client.close()));
  await server.close();
});

test("[F9] a connection that has reached its own maxRunning lets the others go first", async () => {
  const { held, server, connect, running } = crowd({
    maxRunning: 1,
    maxTotalRunning: 3,
  });
  const greedy = connect();
  for (let i = 0; i < 10; i++) greedy.go("Held.work", "greedy");
  await settle();
  assertEquals(running(), 1);
  const [second, third, fourth] = [connect(), connect(), connect()];
  for (const client of [second, third, fourth]) client.go("Held.work", "other");
  await settle();
  assertEquals(order(held), ["greedy", "other", "other"]);
  held.calls[0].resolve();
  await settle();
  // The fourth waited in the queue; the next call of `greedy` waits behind it.
  assertEquals(order(held), ["greedy", "other", "other", "other"]);
  held.calls[1].resolve();
  await settle();
  assertEquals(order(held).at(-1), "greedy");
  await drain(held, 13);
  await Promise.all(
    [greedy, second, third, fourth].map((client) => client.close()),
  );
  await server.close();
});

test("[F1] handlers of connections that have ended keep their slots until they settle", async () => {
  const { held, server, connect } = crowd({ maxTotalRunning: 4 });
  for (let i = 0; i < 10; i++) {
    const client = connect();
    const connection = [...server.connections][0];
    for (let n = 0; n < 3; n++) {
      client.go("Held.work", i).reply.catch(() => {});
    }
    await settle();
    await client.abort();
    await connection.closed;
    assertNothingLeft(connection);
  }
  // They ignore their signals: four of them run on, and no other was started.
  assertEquals(held.calls.length, 4);
  const client = connect();
  const next = client.go("Held.work", "next");
  await settle();
  assertEquals(held.calls.length, 4);
  held.calls[0].resolve();
  await settle();
  assertEquals(held.calls.at(-1)?.params, "next");
  held.release();
  assertEquals(await next.settled, "executed");
  await client.close();
  await server.close();
});

test("a call that is cancelled while it waits, and a connection that ends while it waits, are skipped", async () => {
  const { held, server, connect } = crowd({ maxTotalRunning: 1 });
  const [first, second, third, fourth] = Array.from({ length: 4 }, connect);
  first.go("Held.work", "first");
  await settle();
  const cancelled = second.go("Held.work", "second");
  await settle();
  const lost = third.go("Held.work", "third");
  await settle();
  const served = fourth.go("Held.work", "fourth");
  await settle();
  cancelled.abort();
  lost.reply.catch(() => {});
  await third.abort();
  await settle();
  assertEquals(await cancelled.settled, "refused");
  held.calls[0].resolve();
  await settle();
  assertEquals(order(held), ["first", "fourth"]);
  held.release();
  assertEquals(await served.settled, "executed");
  await Promise.all([first, second, fourth].map((client) => client.close()));
  await server.close();
});

test("connections that end while they wait are collected, however long the others wait", async () => {
  const { held, server, connect } = crowd({ maxTotalRunning: 1 });
  const first = connect();
  first.go("Held.work");
  await settle();
  const gone: WeakRef<object>[] = [];
  const join = async () => {
    const client = connect();
    client.go("Held.work").reply.catch(() => {});
    await settle();
    const connection = [...server.connections][1];
    assertEquals(connection.stats().waiting, 1);
    await client.abort();
    await connection.closed;
    gone.push(new WeakRef(connection));
  };
  for (let i = 0; i < 10; i++) await join();
  await collect();
  // A collector that scans the stack conservatively may hold the latest.
  const left = gone.filter((each) => each.deref() !== undefined);
  assert(left.length <= 2, `${left.length} are still held`);
  held.release();
  await first.close();
  await server.close();
});

test("a handler that returns at once waits for a free slot, and occupies none", async () => {
  const { held, server, connect } = crowd({ maxTotalRunning: 1 });
  const [first, second, third] = [connect(), connect(), connect()];
  first.go("Held.work");
  await settle();
  const echoes = [second, third].flatMap((client) =>
    Array.from({ length: 100 }, (_, i) => client.go("Held.echo", i))
  );
  await settle();
  assertEquals(new Set(echoes.map(({ outcome }) => outcome)).size, 1);
  held.release();
  const values = await Promise.all(echoes.map(({ reply }) => reply));
  assertEquals(values.slice(0, 100), values.slice(100));
  await Promise.all([first, second, third].map((client) => client.close()));
  await server.close();
});

test("an asynchronous validation occupies a slot, which its handler takes over", async () => {
  const gates: (() => void)[] = [];
  const schema = {
    "~standard": {
      version: 1 as const,
      vendor: "test",
      validate: async (value: unknown) => {
        await new Promise<void>((resolve) => gates.push(resolve));
        return { value };
      },
    },
  };
  let running = 0;
  let most = 0;
  const ends: (() => void)[] = [];
  const work = async (_params: unknown, _ctx: CallContext) => {
    most = Math.max(most, ++running);
    await new Promise<void>((resolve) => ends.push(resolve));
    running--;
  };
  const { server, connect } = crowd({ maxTotalRunning: 2 }, {
    Checked: { work: method(schema, work) },
  });
  const clients = [connect(), connect(), connect()];
  const calls = clients.flatMap((client) =>
    [1, 2].map(() => client.call("Checked.work"))
  );
  let done = 0;
  for (const call of calls) call.then(() => done++);
  while (done < 6) {
    await settle(1);
    assert(gates.length + ends.length <= 2, "more than two at once");
    for (const open of gates.splice(0)) open();
    await settle(1);
    ends.shift()?.();
  }
  assertEquals(most, 2);
  await Promise.all(clients.map((client) => client.close()));
  await server.close();
});

test("[F14] when very many calls may start at once, the event loop runs other tasks in between", async () => {
  const { held, server, connect } = crowd({ maxTotalRunning: 1 });
  const blocker = connect();
  blocker.go("Held.work");
  await settle();
  const clients = Array.from({ length: 4 }, connect);
  const echoes = clients.flatMap((client) =>
    Array.from({ length: 4000 }, (_, i) => client.call("Held.echo", i))
  );
  await settle();
  const answered = () =>
    clients.reduce((n, client) => n + 4000 - client.stats().inFlight, 0);
  assertEquals(answered(), 0);
  held.release();
  const counts: number[] = [];
  while (counts.at(-1) !== 16_000) {
    await settle(1);
    counts.push(answered());
  }
  assert(counts.length >= 4, `all within ${counts.length} turns`);
  await Promise.all(echoes);
  await Promise.all([blocker, ...clients].map((client) => client.close()));
  await server.close();
});

test("invalid limits of a server are refused when it is made", () => {
  for (
    const options of [
      { maxConnections: 0 },
      { maxTotalRunning: 1.5 },
      { maxTotalBuffered: NaN },
      { maxTotalRunning: -1 },
    ]
  ) assertThrows(() => new Server({}, options), RangeError, "Cannot use max");
  new Server({}, { maxConnections: Infinity, maxTotalRunning: Infinity });
});

// Large messages: one is parsed in each turn of the event loop.

/** As JSON, more than is parsed in one turn. */
const LARGE = "x".repeat(300_000);

/** Counts the messages that are parsed in each turn of the event loop. */
class Begun {
  /** Large messages, and small ones. */
  large = 0;
  small = 0;
  /** Large ones that were begun before the first small one. */
  before: number | undefined;

  note(value: unknown): void {
    if (JSON.stringify(value).length >= 300_000) this.large++;
    else {
      this.before ??= this.large;
      this.small++;
    }
  }

  /** Lets the loop turn until `total` large ones have begun, and asserts that none began two in one turn. */
  async watch(total: number): Promise<void> {
    for (let idle = 0; this.large < total; idle++) {
      const { large } = this;
      await settle(1);
      const begun = this.large - large;
      assert(begun <= 1, `${begun} large messages in one turn`);
      if (begun > 0) idle = 0;
      assert(idle < 20, `${this.large} of ${total} have begun`);
    }
  }
}

/** Connects `n` peers that write the bytes of any protocol. */
function writers(server: Server<Any>, n: number) {
  return Array.from({ length: n }, () => {
    const [near, far] = memoryPair({ highWaterMark: 10_000_000 });
    server.accept(far);
    near.readable.cancel().catch(() => {});
    return near.writable.getWriter();
  });
}

const WIRES: Record<
  string,
  [ServerOptions["protocol"], (id: number, text: string) => Uint8Array]
> = {
  native: [undefined, (id, text) =>
    join(
      id === 1 ? hello() : [],
      request(id, "T.take", [1, ...utf8(JSON.stringify([text]))]),
    )],
  "JSON-RPC in lines": [
    jsonRpc() as never,
    (id, text) =>
      utf8(
        JSON.stringify({
          jsonrpc: "2.0",
          id,
          method: "T.take",
          params: [text],
        }) + "\n",
      ),
  ],
  "JSON-RPC with headers": [
    jsonRpc({ framing: "contentLength" }) as never,
    (id, text) => {
      const message = { jsonrpc: "2.0", id, method: "T.take", params: [text] };
      const body = JSON.stringify(message);
      return utf8(`Content-Length: ${body.length}\r\n\r\n${body}`);
    },
  ],
  "Go's JSON": [
    netrpc({ encoding: "json" }) as never,
    (id, text) =>
      utf8(JSON.stringify({ method: "T.take", params: [[text]], id })),
  ],
};

for (const [name, [wire, message]] of Object.entries(WIRES)) {
  for (const size of ["whole", "in pieces"]) {
    test(`[X21] one large message, ${size}, is parsed in a turn, and small calls go on beside them: ${name}`, async () => {
      const begun = new Begun();
      const server = new Server<Any>({
        T: { take: (value: unknown) => begun.note(value) },
      } as unknown as Any, { clock: new TestClock(), protocol: wire });
      const greedy = writers(server, 12);
      const [honest] = writers(server, 1);
      for (let id = 1; id <= 2; id++) {
        for (const writer of greedy) {
          const bytes = message(id, LARGE);
          const step = size === "whole" ? bytes.length : 70_000;
          for (let at = 0; at < bytes.length; at += step) {
            writer.write(bytes.subarray(at, at + step));
          }
        }
      }
      for (let id = 1; id <= 10; id++) honest.write(message(id, "small"));
      await begun.watch(24);
      assertEquals(begun.small, 10);
      assert(begun.before! <= 4, `${begun.before} before the first small one`);
      await Promise.all([...server.connections].map((c) => c.abort()));
      await server.close();
    });
  }
}

test("[X21] params that are large and have waited are parsed one in a turn", async () => {
  const begun = new Begun();
  const { held, server } = crowd({ maxTotalRunning: 1 }, {
    T: { take: (value: unknown) => begun.note(value) },
  });
  const writing = writers(server, 12);
  const [, message] = WIRES.native;
  const [first] = writers(server, 1);
  first.write(join(hello(), request(1, "Held.work")));
  await settle();
  for (const writer of writing) writer.write(message(1, LARGE));
  await settle(30);
  assertEquals([held.calls.length, begun.large], [1, 0]);
  held.release();
  await begun.watch(12);
  await Promise.all([...server.connections].map((c) => c.abort()));
  await server.close();
});

test("[X21] large replies of clients are parsed one in a turn", async () => {
  const begun = new Begun();
  const { server } = crowd({});
  const peers = Array.from({ length: 12 }, () => new RawPeer());
  const connections = peers.map(({ duplex }) => server.accept(duplex));
  for (const peer of peers) await peer.send(hello());
  await settle();
  for (const connection of connections) {
    connection.call("Peer.get").then((value) => begun.note(value));
  }
  for (const peer of peers) await peer.nextOf(KIND.REQUEST);
  const answer = reply(1, [1, ...utf8(JSON.stringify(LARGE))]);
  for (const peer of peers) peer.send(answer);
  await begun.watch(12);
  await Promise.all(connections.map((connection) => connection.abort()));
  await server.close();
});

test("[X21] large items of streams are parsed one in a turn", async () => {
  const begun = new Begun();
  const { server } = crowd({}, {
    T: {
      take: async (stream: ReadableStream<unknown>) => {
        for await (const item of stream) begun.note(item);
      },
    },
  });
  const peers = Array.from({ length: 12 }, () => new RawPeer());
  for (const peer of peers) server.accept(peer.duplex);
  const part = join([1], new Uint8Array(30_000).fill(0x30));
  part[1] = 0x22;
  part.fill(0x61, 2);
  const middle = join([1], part.subarray(2), [0x61]);
  const last = part.slice();
  last[1] = 0x61;
  last[30_000] = 0x22;
  for (const peer of peers) {
    await peer.send(hello({ streams: true }), request(1, "T.take", [5]));
  }
  await settle();
  // Ten parts of 30,000 bytes, as credit arrives.
  for (let i = 0; i < 10; i++) {
    const bytes = i === 0 ? part : i === 9 ? last : middle;
    const flags = CALLER | (i < 9 ? 2 : 0);
    for (const peer of peers) peer.send(data(1, bytes, flags));
    if (i < 9) await settle(8);
  }
  await begun.watch(12);
  await Promise.all([...server.connections].map((c) => c.abort()));
  await server.close();
});
