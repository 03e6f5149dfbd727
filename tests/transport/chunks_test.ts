// Chunks that are not plain bytes, streams that are over before they are
// adapted, and how errors print.

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect as netConnect, createServer } from "node:net";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { inspect } from "node:util";
import { createContext, runInContext } from "node:vm";
import { JsonRpcClient, JsonRpcServer } from "../../jsonrpc.ts";
import {
  Client,
  ConnectionError,
  type Duplex,
  echoServices,
  FrameDecoderStream,
  memoryPair,
  nodeDuplex,
  RpcError,
  Server,
  StageError,
} from "../../mod.ts";
import { netrpc } from "../../netrpc.ts";
import { settle, TestClock } from "../support/clock.ts";
import { assertNothingLeft } from "../support/pair.ts";

/** The same bytes as other types. A view has 8 other bytes before and after it in its memory. */
const AS_TYPE: Record<string, (bytes: Uint8Array) => unknown> = {
  "an ArrayBuffer": (bytes) => new Uint8Array(bytes).buffer,
  "a DataView": (bytes) => {
    const { buffer } = padded(bytes);
    return new DataView(buffer, 8, bytes.length);
  },
  "a Uint16Array": (bytes) => {
    // The length is even: see `converted`.
    const { buffer } = padded(bytes);
    return new Uint16Array(buffer, 8, bytes.length / 2);
  },
  "an Int8Array": (bytes) => {
    const { buffer } = padded(bytes);
    return new Int8Array(buffer, 8, bytes.length);
  },
  "a Buffer of Node": (bytes) => buffers.from(bytes),
  "a subclass": (bytes) => new (class Mine extends Uint8Array {})(bytes),
  "bytes of shared memory": (bytes) => {
    const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
    shared.set(bytes);
    return shared;
  },
  "bytes of another realm": (bytes) => foreign("Uint8Array.from(list)", bytes),
  "an ArrayBuffer of another realm": (bytes) =>
    foreign("Uint8Array.from(list).buffer", bytes),
  "a DataView of another realm": (bytes) =>
    foreign("new DataView(Uint8Array.from(list).buffer)", bytes),
};

const { Buffer: buffers } = globalThis as unknown as {
  Buffer: { from(bytes: Uint8Array): Uint8Array };
};

function padded(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(bytes.length + 16).fill(0xee);
  all.set(bytes, 8);
  return all;
}

function foreign(code: string, bytes: Uint8Array): unknown {
  return runInContext(code, createContext({ list: [...bytes] }));
}

/** A duplex whose readable yields what `convert` makes of its chunks. An odd byte is yielded by itself. */
function converted(
  { readable, writable }: Duplex,
  convert: (bytes: Uint8Array) => unknown,
): Duplex {
  const transform = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      const even = chunk.length - chunk.length % 2;
      for (const part of [chunk.subarray(0, even), chunk.subarray(even)]) {
        if (part.length === 0) continue;
        const odd = part.length % 2 === 1;
        controller.enqueue((odd ? part : convert(part)) as Uint8Array);
      }
    },
  });
  return { readable: readable.pipeThrough(transform), writable };
}

for (const [what, convert] of Object.entries(AS_TYPE)) {
  test(`[X12] every protocol accepts ${what} as bytes`, async () => {
    for (const wire of [undefined, netrpc(), netrpc({ encoding: "json" })]) {
      const [near, far] = memoryPair();
      const server = new Server(echoServices(), { protocol: wire } as never);
      server.accept(converted(far, convert));
      const client = new Client<ReturnType<typeof echoServices>>(
        converted(near, convert),
        { protocol: wire } as never,
      );
      assertEquals(await client.call("HelloService.Hello", "ä"), "hello:ä");
      await client.close();
      await server.close();
      assertNothingLeft(client.connection);
    }
    const [near, far] = memoryPair();
    const services = { add: ([a, b]: [number, number]) => a + b };
    const server = new JsonRpcServer(services);
    server.accept(converted(far, convert));
    const client = new JsonRpcClient<typeof services>(converted(near, convert));
    assertEquals(await client.call("add", [1, 2]), 3);
    await client.close();
    await server.close();
  });
}

test("[X12] FrameDecoderStream accepts an ArrayBuffer", async () => {
  const frame = Uint8Array.of(0, 0, 0, 1, 6, 0, 0, 0, 0, 0, 0, 7, 42);
  const decoder = new FrameDecoderStream();
  const frames = ReadableStream.from([frame.buffer as unknown as Uint8Array])
    .pipeThrough(decoder);
  const [{ body }] = await Array.fromAsync(frames);
  assertEquals(body, Uint8Array.of(42));
});

const NOT_BYTES: readonly [string, unknown, string][] = [
  ["a string", 'secret "text"', "a string"],
  ["an empty string", "", "a string"],
  ["a number", 7, "number"],
  ["null", null, "null"],
  ["undefined", undefined, "undefined"],
  ["an array", [1, 2], "an object"],
  ["an object like bytes", { length: 1, byteLength: 1, 0: 1 }, "an object"],
  [
    "an object with the tag of an ArrayBuffer",
    { [Symbol.toStringTag]: "ArrayBuffer", byteLength: 1 },
    "an object",
  ],
];

for (const [what, chunk, name] of NOT_BYTES) {
  test(`[X12] ${what} as a chunk closes the connection with an error that names it`, async () => {
    const clock = new TestClock();
    const { writable } = memoryPair()[0];
    const readable = ReadableStream.from([chunk]) as ReadableStream<Uint8Array>;
    const client = new Client({ readable, writable }, { clock });
    const failed = client.connection.call("a").catch((error: RpcError) =>
      error
    );
    const reason = await client.closed;
    assertInstanceOf(reason, ConnectionError);
    assertEquals(reason.code, "invalid_argument");
    assertStringIncludes(reason.message, name);
    assertStringIncludes(reason.message, "Uint8Array");
    assertEquals((await failed as RpcError).cause, reason);
    assertNothingLeft(client.connection);
  });
}

// Streams that are over.

type Streams = [PassThrough, PassThrough];

const OVER: readonly [string, string, string, (streams: Streams) => unknown][] =
  [
    ["a readable that was destroyed", "unavailable", "was destroyed", ([r]) => {
      r.destroy();
    }],
    ["a readable that has failed", "unavailable", "no luck", ([r]) => {
      r.on("error", () => {});
      r.destroy(new Error("no luck"));
    }],
    ["a readable that has ended", "unavailable", "has ended", async ([r]) => {
      r.end();
      r.resume();
      await once(r, "end");
    }],
    [
      "a readable with setEncoding",
      "invalid_argument",
      "setEncoding",
      ([r]) => {
        r.setEncoding("utf8");
      },
    ],
    ["a writable that was destroyed", "unavailable", "was destroyed", (
      [, w],
    ) => {
      w.destroy();
    }],
    ["a writable that has failed", "unavailable", "no luck", ([, w]) => {
      w.on("error", () => {});
      w.destroy(new Error("no luck"));
    }],
    ["a writable that has ended", "unavailable", "has ended", ([, w]) => {
      w.end();
    }],
  ];

for (const [what, code, text, spoil] of OVER) {
  test(`[X11] nodeDuplex refuses ${what} at once`, async () => {
    const streams: Streams = [new PassThrough(), new PassThrough()];
    await spoil(streams);
    const error = assertThrows(
      () => nodeDuplex(streams[0], streams[1]),
      ConnectionError,
      text,
    );
    assertEquals(error.code, code);
    for (const stream of streams) stream.destroy();
  });
}

test("[X11] nodeDuplex refuses a socket that was destroyed, or that its peer has reset", async () => {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.resetAndDestroy();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const socket = netConnect(port, "127.0.0.1");
  socket.on("error", () => {});
  await new Promise((resolve) => socket.on("close", resolve));
  assertThrows(() => nodeDuplex(socket, socket), ConnectionError, "readable");
  server.close();
  await once(server, "close");
});

test("[X11] nodeDuplex refuses the streams of a child that has exited", async () => {
  const child = spawn(process.execPath, ["--version"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  child.stdin.on("error", () => {});
  child.stdout.resume();
  await once(child, "close");
  assertThrows(
    () => nodeDuplex(child.stdout, child.stdin),
    ConnectionError,
    "Cannot adapt",
  );
});

test("[X11] setEncoding after nodeDuplex closes the connection with an error that names text", async () => {
  const input = new PassThrough();
  const output = new PassThrough();
  output.resume();
  const client = new Client(nodeDuplex(input, output), {
    clock: new TestClock(),
  });
  input.setEncoding("utf8");
  input.write("hello");
  const reason = await client.closed;
  assertStringIncludes(inspect(reason), "a string");
  assertNothingLeft(client.connection);
  output.destroy();
});

const WEB_OVER: readonly [string, () => Duplex][] = [
  ["a readable that has closed", () => ({
    readable: new ReadableStream<Uint8Array>({ start: (c) => c.close() }),
    writable: new WritableStream<Uint8Array>(),
  })],
  ["a readable that has failed", () => ({
    readable: new ReadableStream<Uint8Array>({
      start: (c) => c.error(new Error("no luck")),
    }),
    writable: new WritableStream<Uint8Array>(),
  })],
];

for (const [what, make] of WEB_OVER) {
  test(`[X11] ${what}, as a Web stream, closes the connection at once with a ConnectionError`, async () => {
    const client = new Client(make(), { clock: new TestClock() });
    const failed = assertRejects(() => client.connection.call("a"), RpcError);
    const reason = await client.closed;
    assertInstanceOf(reason, ConnectionError);
    await failed;
    assertNothingLeft(client.connection);
  });
}

test("[X11] a writable that has closed, as a Web stream, closes the connection at once with a ConnectionError", async () => {
  const { readable, writable } = memoryPair()[0];
  const plain = new WritableStream<Uint8Array>();
  await plain.close();
  const client = new Client({ readable, writable: plain }, {
    clock: new TestClock(),
  });
  assertInstanceOf(await client.closed, ConnectionError);
  assertNothingLeft(client.connection);
  await writable.abort();
});

test("[X11] a Deno.Conn that is closed closes the connection at once with a ConnectionError", async () => {
  const bad = () => Promise.reject(new Error("BadResource"));
  const conn = { read: bad, write: bad, closeWrite: bad, close: () => {} };
  const client = new Client(conn as unknown as Duplex, {
    clock: new TestClock(),
  });
  assertInstanceOf(await client.closed, ConnectionError);
  assertNothingLeft(client.connection);
});

// How errors print.

test("[X49] an error without a cause prints none", async () => {
  const { client, close } = await abortedClient();
  const errors: unknown[] = [
    new RpcError("x", "y", { cause: undefined }),
    new ConnectionError("internal", "y", { cause: undefined }),
    new StageError(0, undefined, []),
    await client.closed,
    await client.connection.call("a").catch((error) => error),
  ];
  for (const error of errors) {
    const text = inspect(error, { depth: 10 });
    assert(!text.includes("undefined]"), text);
    assert(!/\[?cause\]?: undefined/.test(text), text);
  }
  assertEquals(new RpcError("x", "y", { cause: null }).cause, null);
  await close();
});

async function abortedClient() {
  const [near, far] = memoryPair();
  const client = new Client(near, { clock: new TestClock() });
  await client.abort();
  return { client, close: () => far.writable.abort().catch(() => {}) };
}

test("[X49] messages give times in whole milliseconds", async () => {
  const clock = new TestClock();
  for (const timeout of [4999.832000999999, 1000 / 3, 0.1 + 0.2]) {
    const [near, far] = memoryPair();
    const client = new Client(near, { clock });
    client.connection.call("a").catch(() => {});
    await settle();
    const closing = client.close({ timeout });
    await clock.advance(timeout + 1);
    await far.writable.abort();
    await closing;
    const text = (await client.closed)?.message ?? "";
    assert(/ within (\d+|0\.\d{1,2}) ms$/.test(text), text);
  }
});
