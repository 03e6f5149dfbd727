// Accepting connections: clients that disconnect before they are accepted, and
// clients that send nothing in their TLS handshake. Deno's backend runs over
// fake functions, so that the tests run on every runtime, on a test clock.

import { assert, assertEquals } from "@std/assert";
import { connect as netConnect } from "node:net";
import { test } from "node:test";
import type { Duplex, DuplexInfo } from "../../src/types/duplex.ts";
import type { ConnectionError } from "../../src/base/errors.ts";
import type {
  DenoListener,
  DenoNetConn,
} from "../../src/transport/sockets/deno_dial.ts";
import { DenoListenerBackend } from "../../src/transport/sockets/deno_listener.ts";
import { connect } from "../../src/transport/connect.ts";
import { listen } from "../../src/transport/listen.ts";
import { settle, TestClock } from "../support/clock.ts";

/** A connection that reads nothing, and whose handshake the test settles. */
class StillConn implements DenoNetConn {
  closed = false;
  readonly handshakeResult = Promise.withResolvers<unknown>();
  read(): Promise<null> {
    return new Promise(() => {});
  }
  write(buffer: Uint8Array): Promise<number> {
    return Promise.resolve(buffer.length);
  }
  closeWrite(): Promise<void> {
    return Promise.resolve();
  }
  handshake(): Promise<unknown> {
    return this.handshakeResult.promise;
  }
  close(): void {
    this.closed = true;
    this.handshakeResult.promise.catch(() => {});
    this.handshakeResult.reject(new Error("closed"));
  }
}

/** A listener to which the test gives connections and faults. */
class StillListener implements DenoListener {
  readonly addr = { port: 1 };
  accepts = 0;
  #next = Promise.withResolvers<DenoNetConn>();
  accept(): Promise<DenoNetConn> {
    this.accepts++;
    return this.#next.promise;
  }
  async give(conn: DenoNetConn): Promise<void> {
    const { resolve } = this.#renew();
    resolve(conn);
    await settle();
  }
  async fail(code: string): Promise<void> {
    const { reject } = this.#renew();
    reject(Object.assign(new Error(code), { code }));
    await settle();
  }
  close(): void {
    this.#renew().reject(new Error("closed"));
  }
  #renew(): PromiseWithResolvers<DenoNetConn> {
    const now = this.#next;
    this.#next = Promise.withResolvers();
    return now;
  }
}

/** A clock that records the delays of its timers. */
class RecordingClock extends TestClock {
  readonly waits: number[] = [];
  override setTimeout(fn: () => void, ms: number): number {
    this.waits.push(ms);
    return super.setTimeout(fn, ms);
  }
}

async function startBackend(tls: boolean) {
  const listener = new StillListener();
  const clock = new RecordingClock();
  const accepted: (Duplex & DuplexInfo)[] = [];
  const faults: ConnectionError[] = [];
  const open = () => listener;
  const never = () => Promise.reject(new Error("not used"));
  const net = {
    connect: never,
    connectTls: never,
    startTls: never,
    listen: open,
    listenTls: open,
  };
  const backend = new DenoListenerBackend(
    net,
    { host: "127.0.0.1", port: 0 },
    tls ? { cert: "", key: "" } : undefined,
    {
      full: false,
      accept: (duplex) => void accepted.push(duplex),
      fault: (error) => void faults.push(error),
    },
    clock,
  );
  await backend.open();
  return { backend, listener, clock, accepted, faults };
}

test("[X7] a client that disconnects before it is accepted is reported, and delays no other client", async () => {
  const { backend, listener, clock, accepted, faults } = await startBackend(
    false,
  );
  for (let i = 0; i < 50; i++) {
    for (const code of ["ENOTCONN", "ECONNABORTED", "ECONNRESET", "EINVAL"]) {
      await listener.fail(code);
    }
  }
  assertEquals([faults.length, clock.waits], [200, []]);
  assert(faults.every(({ code }) => code !== "resource_exhausted"));
  await listener.give(new StillConn());
  assertEquals(accepted.length, 1);
  await backend.close();
});

for (const code of ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"]) {
  test(`[X7] after ${code} the next accept waits 50 ms`, async () => {
    const { backend, listener, clock, accepted, faults } = await startBackend(
      false,
    );
    await listener.fail(code);
    assertEquals([clock.waits, listener.accepts], [[50], 1]);
    assertEquals(faults[0].code, "resource_exhausted");
    await clock.advance(50);
    await listener.give(new StillConn());
    assertEquals(accepted.length, 1);
    await backend.close();
  });
}

test("[X7] a client that fails while it is set up is closed and reported", async () => {
  const { backend, listener, clock, accepted, faults } = await startBackend(
    false,
  );
  const conn = new StillConn();
  const broken = Object.assign(conn, {
    setNoDelay: () => {
      throw new Error("gone");
    },
  });
  await listener.give(broken);
  assertEquals([conn.closed, accepted.length], [true, 0]);
  assertEquals([faults.length, clock.waits], [1, []]);
  await backend.close();
});

test("[X7] a silent TLS client is reported once, and closed if its handshake ends too late", async () => {
  const { backend, listener, clock, accepted, faults } = await startBackend(
    true,
  );
  const conn = new StillConn();
  await listener.give(conn);
  await clock.advance(10_001);
  assertEquals(faults.map(({ code }) => code), ["unauthenticated"]);
  conn.handshakeResult.resolve(undefined);
  await settle();
  assertEquals([conn.closed, accepted.length, faults.length], [true, 0, 1]);
  await backend.close();
});

test("[X7] with 256 silent TLS clients no client is accepted until one of them disconnects", async () => {
  const { backend, listener, clock, accepted } = await startBackend(true);
  const silent = Array.from({ length: 256 }, () => new StillConn());
  for (const conn of silent) await listener.give(conn);
  assertEquals(listener.accepts, 256);
  // They time out, and Deno still has their sockets.
  await clock.advance(10_001);
  assertEquals(listener.accepts, 256);
  silent[7].handshakeResult.reject(new Error("the client has closed"));
  await settle();
  assertEquals(listener.accepts, 257);
  const honest = new StillConn();
  await listener.give(honest);
  honest.handshakeResult.resolve(undefined);
  await settle();
  assertEquals(accepted.length, 1);
  await backend.close();
  assertEquals(silent.filter(({ closed }) => !closed).length, 0);
});

test("[X7] after hundreds of clients that connect and reset, the next client is accepted", async () => {
  const listener = await listen({ port: 0, onError: () => {} });
  const { port } = listener.address as { port: number };
  const connectAndReset = async () => {
    const socket = netConnect(port, "127.0.0.1");
    socket.on("error", () => {});
    await new Promise((resolve) => socket.once("connect", resolve));
    socket.resetAndDestroy();
    await new Promise((resolve) => socket.once("close", resolve));
  };
  for (let i = 0; i < 10; i++) {
    await Promise.all(Array.from({ length: 30 }, connectAndReset));
  }
  const near = await connect(listener.address);
  for await (const far of listener) {
    if (far.remote !== near.local) {
      await far.writable.abort().catch(() => {});
      continue;
    }
    await far.writable.close();
    await far.readable.cancel();
    break;
  }
  assertEquals((await Array.fromAsync(near.readable)).length, 0);
  await near.writable.close();
  await listener.close();
});
