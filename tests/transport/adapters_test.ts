// The adapters over fake sockets and connections, each of which fails in one
// way, and what `toDuplex` accepts.

import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { EventEmitter } from "node:events";
import { test } from "node:test";
import { toDuplex } from "../../src/transport/sockets/deno_conn.ts";
import type { Duplex } from "../../src/types/duplex.ts";
import { ConnectionError } from "../../src/base/errors.ts";
import { memoryPair } from "../../src/transport/memory.ts";
import { nodeDuplex } from "../../src/transport/sockets/node_stream.ts";
import { pattern, receive, send } from "../support/transports.ts";

/** A socket that does nothing by itself: the test makes its events. */
class StillSocket extends EventEmitter {
  paused = false;
  destroyed = false;
  /** The stream's own buffer, which `read` returns. */
  buffered: Uint8Array[] = [];
  done: ((error?: Error) => void) | undefined;
  pause() {
    this.paused = true;
  }
  resume() {
    this.paused = false;
  }
  read() {
    return this.buffered.shift() ?? null;
  }
  write(_chunk: Uint8Array, done: (error?: unknown) => void) {
    this.done = done;
    return true;
  }
  end(done?: () => void) {
    this.done = done;
  }
  destroy() {
    this.destroyed = true;
  }
}

function still(): { socket: StillSocket; duplex: Duplex } {
  const socket = new StillSocket();
  return { socket, duplex: nodeDuplex(socket, socket) };
}

/** Lets all promises that can settle do so. */
function microtasks(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

const reset = Object.assign(new Error("read ECONNRESET"), {
  code: "ECONNRESET",
});

for (
  const [name, end] of [
    ["close", (socket: StillSocket) => socket.emit("close")],
    ["error", (socket: StillSocket) => socket.emit("error", reset)],
    ["a failed write", (socket: StillSocket) => socket.done?.(reset)],
  ] as const
) {
  test(`[L20] ${name} alone settles a waiting write and read`, async () => {
    const { socket, duplex } = still();
    const writing = send(duplex, pattern(1)).catch((error) => error);
    const reading = receive(duplex);
    await microtasks();
    end(socket);
    const error = await writing;
    assert(error instanceof ConnectionError);
    assertEquals(error.code, "unavailable");
    assert((await reading).error instanceof ConnectionError);
    await assertRejects(() => send(duplex, pattern(1)), ConnectionError);
    assert(socket.destroyed);
  });

  test(`[L20] ${name} alone settles a waiting close`, async () => {
    const { socket, duplex } = still();
    const closing = duplex.writable.close().catch((error) => error);
    await microtasks();
    end(socket);
    assert(await closing instanceof ConnectionError);
    assert((await receive(duplex)).error instanceof ConnectionError);
    assert(socket.destroyed);
  });
}

test("[L20] end alone ends reading, and writing goes on", async () => {
  const { socket, duplex } = still();
  socket.emit("end");
  assert((await receive(duplex)).ended);
  const writing = send(duplex, pattern(1));
  await microtasks();
  socket.done!();
  await writing;
  assert(!socket.destroyed);
  const closing = duplex.writable.close();
  await microtasks();
  socket.done!();
  await closing;
  assert(socket.destroyed);
});

test("a write settles when the socket calls back, and not before", async () => {
  const { socket, duplex } = still();
  let settled = false;
  const writing = send(duplex, pattern(1)).then(() => settled = true);
  await microtasks();
  assert(!settled);
  socket.done!();
  await writing;
});

test("a socket is paused at 64 KiB unread, and a read resumes it", async () => {
  const { socket, duplex } = still();
  socket.emit("data", Buffer.alloc(65_535));
  assert(!socket.paused);
  socket.emit("data", Buffer.alloc(1));
  assert(socket.paused);
  await receive(duplex, 1);
  assert(!socket.paused);
});

test("[L20] what arrived before a reset is read first, from the socket's own buffer too", async () => {
  const { socket, duplex } = still();
  socket.emit("data", Buffer.from(pattern(65_536)));
  socket.buffered.push(Buffer.from(pattern(100, 65_536)));
  socket.emit("error", reset);
  socket.emit("close");
  const { bytes, error } = await receive(duplex);
  assertEquals(bytes, pattern(65_636));
  assert(error instanceof ConnectionError);
  assertStrictEquals(error.cause, reset);
  assertEquals(error.message, "Connection lost: connection reset");
});

test("[L20] errors after an abort are handled", async () => {
  const { socket, duplex } = still();
  await duplex.writable.abort();
  socket.emit("error", reset);
  socket.emit("close");
  socket.emit("error", reset);
  assert(socket.destroyed);
  await microtasks();
});

test("after a cancel the socket is read on", async () => {
  const { socket, duplex } = still();
  socket.emit("data", Buffer.alloc(100_000));
  assert(socket.paused);
  await duplex.readable.cancel();
  assert(!socket.paused);
  socket.emit("data", Buffer.alloc(100_000));
  assert(!socket.paused && !socket.destroyed);
});

test("a write to a memory pair waits when highWaterMark is exceeded", async () => {
  const [a, b] = memoryPair({ highWaterMark: 10 });
  const writer = a.writable.getWriter();
  await writer.write(pattern(10));
  let settled = false;
  const writing = writer.write(pattern(1)).then(() => settled = true);
  await microtasks();
  assert(!settled);
  await receive(b, 1);
  await writing;
  for (const highWaterMark of [-1, NaN]) {
    assertThrows(() => memoryPair({ highWaterMark }), RangeError);
  }
});

test("a write to a memory pair with highWaterMark 0 waits until it is read", async () => {
  const [a, b] = memoryPair({ highWaterMark: 0 });
  const writer = a.writable.getWriter();
  let settled = false;
  const writing = writer.write(pattern(5)).then(() => settled = true);
  await microtasks();
  assert(!settled);
  assertEquals((await receive(b, 5)).bytes, pattern(5));
  await writing;
});

test("toDuplex returns a duplex as it is, and refuses other values with a TypeError", () => {
  const [a] = memoryPair();
  assertStrictEquals(toDuplex(a), a);
  assert(!a.readable.locked && !a.writable.locked);
  for (
    const value of [undefined, null, 1, "x", {}, { readable: 1, writable: 2 }]
  ) {
    assertThrows(() => toDuplex(value as never), TypeError);
  }
  assertThrows(
    () => toDuplex({ readable: a.readable } as never),
    TypeError,
    "writable is not a stream, received undefined",
  );
  assertThrows(
    () => toDuplex(Promise.resolve(a) as never),
    TypeError,
    "received a promise; await it first",
  );
});

test("[L8] toDuplex refuses locked and failed streams", async () => {
  const [a, b] = memoryPair();
  const reader = a.readable.getReader();
  assertThrows(() => toDuplex(a), TypeError, "readable is locked");
  reader.releaseLock();
  const writer = a.writable.getWriter();
  assertThrows(() => toDuplex(a), TypeError, "writable is locked");
  writer.releaseLock();
  await b.writable.abort();
  assertThrows(() => toDuplex(a), TypeError, "writable has failed");
});

/** A `Deno.Conn` in memory, whose incoming data the test makes. */
function denoConn() {
  const incoming: (Uint8Array | null | Error)[] = [];
  let wake = () => {};
  const written: Uint8Array[] = [];
  const calls: string[] = [];
  const buffers: number[] = [];
  const conn = {
    async read(buffer: Uint8Array): Promise<number | null> {
      buffers.push(buffer.byteLength);
      while (incoming.length === 0) {
        await new Promise<void>((resolve) => wake = resolve);
      }
      const next = incoming.shift()!;
      if (next === null) return null;
      if (next instanceof Error) throw next;
      const part = next.subarray(0, buffer.byteLength);
      if (part.byteLength < next.byteLength) {
        incoming.unshift(next.subarray(part.byteLength));
      }
      buffer.set(part);
      return part.byteLength;
    },
    write(buffer: Uint8Array): Promise<number> {
      // As a socket may: a part of it.
      const part = buffer.slice(0, 3);
      written.push(part);
      return Promise.resolve(part.byteLength);
    },
    closeWrite(): Promise<void> {
      calls.push("closeWrite");
      return Promise.resolve();
    },
    close(): void {
      calls.push("close");
    },
    remoteAddr: { transport: "tcp", hostname: "192.0.2.1", port: 80 },
    localAddr: { transport: "unix", path: "/run/x" },
  };
  return {
    conn,
    written,
    calls,
    /** The length of each buffer that was given to `read`. */
    buffers,
    arrive(next: Uint8Array | null | Error) {
      incoming.push(next);
      wake();
    },
  };
}

test("the directions of a Deno.Conn close separately, and it closes after both", async () => {
  const { conn, calls, written, arrive } = denoConn();
  const duplex = toDuplex(conn);
  assertEquals(duplex.remote, "192.0.2.1:80");
  assertEquals(duplex.local, "/run/x");
  await send(duplex, pattern(7));
  assertEquals(written.map((part) => part.byteLength), [3, 3, 1]);
  await duplex.writable.close();
  assertEquals(calls, ["closeWrite"]);
  arrive(pattern(100));
  arrive(null);
  const { bytes, ended } = await receive(duplex);
  assertEquals(bytes, pattern(100));
  assert(ended);
  assertEquals(calls, ["closeWrite", "close"]);
});

test("what arrived before a Deno.Conn was lost is read first", async () => {
  const { conn, calls, arrive } = denoConn();
  const duplex = toDuplex(conn);
  arrive(pattern(100));
  arrive(reset);
  await microtasks();
  const { bytes, error } = await receive(duplex);
  assertEquals(bytes, pattern(100));
  assert(error instanceof ConnectionError);
  assertStrictEquals(error.cause, reset);
  await assertRejects(() => send(duplex, pattern(1)), ConnectionError);
  assertEquals(calls, ["close"]);
});

test("after a cancel a Deno.Conn is read on", async () => {
  const { conn, calls, arrive } = denoConn();
  const duplex = toDuplex(conn);
  await duplex.readable.cancel();
  for (let i = 0; i < 10; i++) arrive(new Uint8Array(60_000));
  await duplex.writable.close();
  assertEquals(calls, ["closeWrite"]);
  arrive(null);
  for (let turns = 0; calls.length < 2 && turns < 100; turns++) {
    await microtasks();
  }
  assertEquals(calls, ["closeWrite", "close"]);
});

test("the read buffer of a Deno.Conn grows with large reads, and shrinks after small ones", async () => {
  const { conn, buffers, arrive } = denoConn();
  const duplex = toDuplex(conn);
  // Together they fill four buffers, the third and fourth of the largest size.
  arrive(pattern(21 * 1024 + 2 * 65_536));
  const length = 21 * 1024 + 2 * 65_536;
  assertEquals((await receive(duplex, length)).bytes, pattern(length));
  assertEquals(
    buffers,
    [1024, 4096, 16_384, 65_536, 65_536, 65_536],
  );

  buffers.length = 0;
  for (let i = 0; i < 24; i++) {
    arrive(pattern(10));
    assertEquals((await receive(duplex, 1)).bytes, pattern(10));
  }
  const sizes = [65_536, 16_384, 4096].flatMap((size) => Array(8).fill(size));
  assertEquals(buffers, [...sizes.slice(1), 1024]);
});

test("later reads of a Deno.Conn leave a chunk unchanged", async () => {
  const { conn, arrive } = denoConn();
  const duplex = toDuplex(conn);
  for (const length of [10, 300, 1000, 1024, 4096, 5000]) {
    arrive(pattern(length));
    const { bytes } = await receive(duplex, length);
    arrive(new Uint8Array(length));
    await receive(duplex, length);
    assertEquals(bytes, pattern(length));
  }
});
