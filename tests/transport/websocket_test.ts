// One WebSocket as a duplex: bounds, errors and close codes, over fake sockets.

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { test } from "node:test";
import { Client, RpcError, Server } from "../../mod.ts";
import { ConnectionError } from "../../src/base/errors.ts";
import { openChannel } from "../../src/transport/duplex.ts";
import { nativeDuplex } from "../../src/transport/native_duplex.ts";
import {
  MAX_BUFFERED,
  MAX_UNREAD,
  MESSAGE_SIZE,
  type MessageSocket,
  MessageTransport,
} from "../../src/transport/web/message_transport.ts";
import { closeError } from "../../src/transport/web/close_codes.ts";
import { fromWebSocket } from "../../src/transport/web/websocket.ts";
import { connectWebSocket } from "../../src/transport/web/websocket_dial.ts";
import type { Duplex } from "../../src/types/duplex.ts";
import { settle, TestClock } from "../support/clock.ts";
import { FakeWebSocket, fakeWebSockets } from "../support/fake_websocket.ts";
import { pattern, receive, send } from "../support/transports.ts";

/** A socket whose buffer and events the test decides. */
class ManualSocket implements MessageSocket {
  bufferedAmount = 0;
  copies = false;
  readonly sent: Uint8Array[] = [];
  readonly closed: number[] = [];
  terminated = 0;
  paused = 0;
  resumed = 0;
  terminate?: () => void = () => this.terminated++;
  pause?: () => void = () => this.paused++;
  resume?: () => void = () => this.resumed++;

  send(message: Uint8Array<ArrayBuffer>): void {
    this.sent.push(message);
    this.bufferedAmount += message.length;
  }

  close(code: number): void {
    this.closed.push(code);
  }
}

/** A transport over a socket of the test's, by the test's clock. */
function manual(open = true) {
  const socket = new ManualSocket();
  const clock = new TestClock(1);
  const transport = new MessageTransport(socket, open, clock);
  const duplex: Duplex = nativeDuplex(transport.readHalf, transport, {});
  return { socket, clock, transport, duplex };
}

test("[K2] no message is sent while more than 256 KiB wait in the socket, and a write settles below that", async () => {
  const { socket, clock, transport } = manual();
  const chunk = new Uint8Array(MESSAGE_SIZE);
  let written = false;
  transport.write(Array(16).fill(chunk)).then(() => written = true);
  await settle();
  // The bound, and the message that exceeds it.
  assertEquals(socket.bufferedAmount, MAX_BUFFERED + MESSAGE_SIZE);
  await clock.advance(1000);
  assertEquals(socket.bufferedAmount, MAX_BUFFERED + MESSAGE_SIZE);

  let most = 0;
  while (!written) {
    socket.bufferedAmount = 0;
    await clock.advance(50);
    most = Math.max(most, socket.bufferedAmount);
  }
  assertEquals(socket.sent.length, 16);
  assert(most <= MAX_BUFFERED + MESSAGE_SIZE, `${most} bytes buffered`);
  assertEquals(clock.timers, 0);
});

test("[K2] a message from the peer and the event drain look at the buffer before the timer does", async () => {
  for (const event of ["message", "drain"] as const) {
    const { socket, clock, transport } = manual();
    let written = false;
    // All but the last fit into the socket's buffer and the message above it.
    const fitting = Math.floor(MAX_BUFFERED / MESSAGE_SIZE) + 1;
    const chunks = Array(fitting + 1).fill(new Uint8Array(MESSAGE_SIZE));
    transport.write(chunks).then(() => written = true);
    await settle();
    socket.bufferedAmount = 0;
    if (event === "drain") transport.onDrain();
    else transport.onMessage(new Uint8Array(1).buffer);
    await settle();
    assert(written, event);
    assertEquals(clock.timers, 0);
  }
});

test("[K3] small chunks travel in one message, large ones in messages of 128 KiB, and the bytes are the same", async () => {
  for (const copies of [false, true]) {
    const { socket, transport } = manual();
    socket.copies = copies;
    const seen: Uint8Array<ArrayBuffer>[] = [];
    // As a socket that copies does.
    socket.send = (message) => void seen.push(message.slice());
    const all = pattern(1000 + 150_000 + 7);
    const chunks = [1, 9, 90, 900, 150_000, 0, 7].map((size, i, sizes) => {
      const from = sizes.slice(0, i).reduce((sum, n) => sum + n, 0);
      return all.subarray(from, from + size);
    });
    await transport.write(chunks);
    assert(seen.every(({ length }) => length > 0 && length <= MESSAGE_SIZE));
    assertEquals(seen.length, Math.ceil(all.length / MESSAGE_SIZE));
    assertEquals(new Uint8Array(await new Blob(seen).arrayBuffer()), all);
  }
});

test("[K3] a socket that keeps a message gets memory of its own", async () => {
  const { socket, transport } = manual();
  const chunk = pattern(1000);
  await transport.write([chunk]);
  await transport.write([chunk.subarray(0, 10), chunk.subarray(10, 20)]);
  await transport.write([chunk.subarray(30, 40), chunk.subarray(50, 60)]);
  chunk.fill(0);
  assertEquals(socket.sent[0], pattern(1000));
  assertEquals(socket.sent[1], pattern(20));
});

test("[K3] writes of no bytes send nothing: an empty message is the end", async () => {
  const { socket, transport } = manual();
  await transport.write([new Uint8Array(0), new Uint8Array(0)]);
  assertEquals(socket.sent.length, 0);
});

test("[K4] a socket that can pause is paused at 64 KiB unread, and resumed when they are read", async () => {
  const { socket, transport } = manual();
  transport.onMessage(new Uint8Array(65_000));
  assertEquals(socket.paused, 0);
  transport.onMessage(new Uint8Array(1000));
  assertEquals([socket.paused, socket.resumed], [1, 0]);
  await transport.readHalf.read();
  assertEquals([socket.paused, socket.resumed], [1, 1]);
  // Tiny messages count with what they cost.
  for (let i = 0; i < 600; i++) transport.onMessage(new Uint8Array(1));
  assert(socket.paused > 1);
});

test("[K4] one that cannot is closed at 64 MiB unread, tiny messages included", async () => {
  for (const size of [1_048_576, 1]) {
    const { socket, transport } = manual();
    socket.pause = socket.resume = undefined;
    const message = new Uint8Array(size);
    let messages = 0;
    while (socket.closed.length === 0) {
      transport.onMessage(message);
      messages++;
      assert(messages * size <= MAX_UNREAD + size);
    }
    // 128 bytes are charged for each message.
    const charged = messages * (size + 128);
    assert(charged > MAX_UNREAD && charged < MAX_UNREAD + 2 * (size + 128));
    assertEquals(socket.closed, [4009]);
    // What it held is gone.
    const error = await transport.readHalf.read().catch((error) => error);
    assertInstanceOf(error, ConnectionError);
    assertEquals(error.code, "resource_exhausted");
    assertEquals(transport.readHalf.bytes, 0);
  }
});

test("[K4] what arrives after a cancel is dropped, and keeps nothing", async () => {
  const { socket, transport, duplex } = manual();
  await duplex.readable.cancel();
  for (let i = 0; i < 100; i++) transport.onMessage(new Uint8Array(1_048_576));
  assertEquals([transport.readHalf.bytes, socket.closed.length], [0, 0]);
});

const REFUSED: readonly [string, unknown[], string, number, string][] = [
  ["a text message", ["hello"], "protocol_error", 4002, "text message"],
  [
    "a message after the end",
    [new ArrayBuffer(0), new ArrayBuffer(1)],
    "protocol_error",
    4002,
    "after the end",
  ],
  [
    "a message above 1 MiB",
    [new ArrayBuffer(1_048_577)],
    "resource_exhausted",
    4009,
    "1048577 bytes",
  ],
  ["a Blob", [new Blob([])], "invalid_argument", 4003, "no bytes"],
];

for (const [what, messages, code, closeCode, text] of REFUSED) {
  test(`[K5] ${what} ends the connection with ${code}, and the peer gets ${closeCode}`, async () => {
    const { socket, clock, transport } = manual();
    const written = transport.write([new Uint8Array(10)]);
    await written;
    for (const message of messages) transport.onMessage(message);
    assertEquals(socket.closed, [closeCode]);
    const error = transport.failure?.reason;
    assertInstanceOf(error, ConnectionError);
    assertEquals(error.code, code);
    assert(error.message.includes(text), error.message);
    const next = await transport.write([new Uint8Array(1)]).catch((e) => e);
    assertEquals(next, error);
    transport.onClose(closeCode, "");
    assertEquals(clock.timers, 0);
  });
}

test("[K5] a server that chooses another subprotocol, or none, is refused", async () => {
  for (const [chosen, said] of [["", "none"], ["chat", '"chat"']]) {
    const { socket, transport } = manual(false);
    const writing = transport.write([new Uint8Array(1)]).catch((e) => e);
    transport.onOpen(chosen);
    const error = await writing;
    assertInstanceOf(error, ConnectionError);
    assertEquals(error.code, "protocol_error");
    assert(error.message.endsWith(said), error.message);
    assertEquals([socket.sent.length, socket.closed], [0, [4002]]);
  }
  const open = new FakeWebSocket("chat");
  const error = assertThrows(() => fromWebSocket(open), ConnectionError);
  assertEquals(error.code, "protocol_error");
});

test("[K6] every close code becomes a typed error, and those of pages mean what those of RFC 6455 mean", () => {
  const codes: [number, string][] = [
    [1000, "unavailable"],
    [1001, "unavailable"],
    [1002, "protocol_error"],
    [1003, "protocol_error"],
    [1005, "unavailable"],
    [1006, "unavailable"],
    [1007, "protocol_error"],
    [1008, "permission_denied"],
    [1009, "resource_exhausted"],
    [1011, "internal"],
    [1012, "unavailable"],
    [1015, "unauthenticated"],
    [3000, "unauthenticated"],
    [3003, "permission_denied"],
    [3008, "deadline_exceeded"],
    [3999, "unavailable"],
    [4000, "unavailable"],
    [4001, "unavailable"],
    [4002, "protocol_error"],
    [4008, "permission_denied"],
    [4009, "resource_exhausted"],
    [4999, "unavailable"],
    [0, "unavailable"],
  ];
  for (const [code, expected] of codes) {
    const error = closeError(code, "why\u0000");
    assertEquals([code, error.code], [code, expected]);
    assert(error.message.includes(`${code}`), error.message);
    assert(!error.message.includes("\u0000"));
  }
});

test("[K6] the peer sees the code of the error with which a side aborts", async () => {
  const codes = {
    protocol_error: "protocol_error",
    resource_exhausted: "resource_exhausted",
    permission_denied: "permission_denied",
    unauthenticated: "unauthenticated",
    internal: "internal",
    cancelled: "unavailable",
  } as const;
  for (const [code, seen] of Object.entries(codes)) {
    const [near, far] = fakeWebSockets();
    const a = fromWebSocket(near);
    const b = fromWebSocket(far);
    const reason = new ConnectionError(code as keyof typeof codes, "enough");
    await a.writable.abort(reason);
    const { error } = await receive(b);
    assertInstanceOf(error, ConnectionError);
    assertEquals([code, error.code], [code, seen]);
  }
});

test("[K7] what is written to a connecting socket is sent when it opens", async () => {
  const { socket, transport } = manual(false);
  let written = false;
  transport.write([pattern(10)]).then(() => written = true);
  await settle();
  assertEquals([written, socket.sent.length], [false, 0]);
  transport.onOpen("sluice.1");
  await settle();
  assertEquals([written, socket.sent], [true, [pattern(10)]]);
});

test("[K7] a socket that is given up while it connects is closed again when it opens: Deno's server forgets the first time", () => {
  const { socket, transport } = manual(false);
  transport.abort(new Error("enough"));
  transport.onOpen("sluice.1");
  assertEquals(socket.closed, [4001, 4001]);
  transport.onClose(4001, "");
});

test("[K7] one that cannot connect fails with the platform's error as the cause", async () => {
  const { clock, transport } = manual(false);
  const writing = transport.write([pattern(10)]).catch((error) => error);
  const reading = transport.readHalf.read().catch((error) => error);
  const cause = new Error("connection refused");
  transport.onError(cause);
  transport.onClose(1006, "");
  const error = await writing;
  assertInstanceOf(error, ConnectionError);
  assertEquals([error.code, error.cause], ["unavailable", cause]);
  assertEquals(await reading, error);
  assertEquals(clock.timers, 0);
});

test("[K7] a socket that reports an error and no close before it opens, as on Node 22, has failed", async () => {
  /** Reports an error in its first turn, and nothing else. */
  class SilentSocket extends EventTarget {
    readonly url = "ws://host/rpc";
    readonly readyState = 0;
    readonly protocol = "";
    readonly bufferedAmount = 0;
    binaryType = "blob";

    constructor() {
      super();
      queueMicrotask(() => this.dispatchEvent(new Event("error")));
    }

    send(): void {}
    close(): void {}
  }
  const { error: lost } = await receive(fromWebSocket(new SilentSocket()));
  assertInstanceOf(lost, ConnectionError);
  assertEquals(lost.code, "unavailable");
  assert(lost.message.includes("did not open"), lost.message);
  assert(lost.message.includes("sluice.1"), lost.message);

  const { WebSocket } = globalThis;
  const define = (value: unknown) =>
    Object.defineProperty(globalThis, "WebSocket", {
      value,
      configurable: true,
      writable: true,
    });
  define(SilentSocket);
  try {
    const failed = await connectWebSocket("ws://host/rpc")
      .catch((error) => error);
    assertInstanceOf(failed, ConnectionError);
    assertEquals(failed.code, "unavailable");
    assertEquals(
      failed.message,
      "Cannot connect to ws://host/rpc: no server has accepted the WebSocket (close code 1006)",
    );
  } finally {
    define(WebSocket);
  }
});

test("[K7] calls over a socket that never opens are not sent, and those over one that opens are", async () => {
  for (const opens of [false, true]) {
    const [near, far] = fakeWebSockets();
    near.readyState = 0;
    const server = new Server({ Echo: { echo: (text: string) => text } });
    server.accept(fromWebSocket(far));
    const client = new Client(fromWebSocket(near));
    const handle = client.go("Echo.echo", "x");
    await settle();
    assertEquals([near.sent, client.connection.stats().inFlight], [0, 1]);
    if (opens) {
      near.open();
      assertEquals(await handle.reply, "x");
      await client.close();
    } else {
      near.lose();
      const error = await assertRejects(() => handle.reply, RpcError);
      assertEquals([error.code, error.outcome], ["unavailable", "not_sent"]);
      await client.closed;
    }
    await server.close({ timeout: 0 });
  }
});

test("[K7] a closed socket, and what is none, is refused at once", () => {
  const closed = new FakeWebSocket();
  closed.readyState = 3;
  const error = assertThrows(() => fromWebSocket(closed), ConnectionError);
  assertEquals(error.code, "unavailable");
  for (const value of [undefined, null, {}, "ws://x"]) {
    assertThrows(() => fromWebSocket(value as never), TypeError, "WebSocket");
  }
});

test("[K8] the end is sent once, after everything else, and waits until the socket has sent it", async () => {
  const { socket, clock, transport } = manual();
  await transport.write([pattern(10)]);
  let closed = false;
  transport.close().then(() => closed = true);
  await settle();
  assertEquals([closed, socket.sent.length], [false, 2]);
  assertEquals(socket.sent[1].length, 0);
  socket.bufferedAmount = 0;
  await clock.advance(50);
  assert(closed);
  // The peer has not ended: the socket stays open.
  assertEquals(socket.closed, []);
  transport.onMessage(new ArrayBuffer(0));
  assertEquals(socket.closed, [1000]);
  transport.onClose(1000, "");
  assertEquals((await transport.readHalf.read()).done, true);
  assertEquals([transport.failure, clock.timers], [undefined, 0]);
});

test("[K8] a close with 1000 proves that the peer has the end", async () => {
  const { clock, transport } = manual();
  const closing = transport.close();
  transport.onMessage(new ArrayBuffer(0));
  transport.onClose(1000, "");
  await closing;
  assertEquals([transport.failure, clock.timers], [undefined, 0]);
});

test("[K8] one with any other code, or before the peer's end, is a loss", async () => {
  const { socket, transport } = manual();
  await transport.write([pattern(1)]);
  assertEquals(socket.bufferedAmount, 1);
  const closing = transport.close().catch((error) => error);
  transport.onClose(1006, "");
  assertInstanceOf(await closing, ConnectionError);
  const read = await transport.readHalf.read().catch((error) => error);
  assertInstanceOf(read, ConnectionError);
});

test("[K9] a peer that does not answer a close is terminated after a second, where the socket can do that", async () => {
  for (const answers of [true, false]) {
    const { socket, clock, transport } = manual();
    transport.abort(new Error("enough"));
    if (answers) transport.onClose(4001, "");
    // It may still send, which changes nothing.
    else transport.onMessage(new Uint8Array(1));
    await clock.advance(999);
    assertEquals(socket.terminated, 0);
    await clock.advance(1);
    assertEquals(socket.terminated, answers ? 0 : 1);
    assertEquals(clock.timers, 0);
  }
});

test("[K9] a socket that reports its close while it is told to close leaves no timer", () => {
  const { socket, clock, transport } = manual();
  socket.close = (code) => transport.onClose(code, "");
  transport.abort(new Error("enough"));
  assertEquals(clock.timers, 0);
});

test("[K9] a paused socket is resumed when it is closed, so that the peer's answer arrives", () => {
  const { socket, transport } = manual();
  transport.onMessage(new Uint8Array(65_536));
  assertEquals([socket.paused, socket.resumed], [1, 0]);
  transport.abort(new Error("enough"));
  transport.onMessage(new Uint8Array(65_536));
  assertEquals([socket.paused, socket.resumed], [1, 1]);
  assertEquals(transport.readHalf.bytes, 0);
  transport.onClose(4001, "");
});

test("[K9] a socket that throws when it sends or closes fails its duplex, and nothing else", async () => {
  const { socket, transport } = manual();
  socket.send = () => {
    throw new Error("no");
  };
  socket.close = () => {
    throw new Error("no, neither");
  };
  const error = await transport.write([pattern(1)]).catch((error) => error);
  assertInstanceOf(error, ConnectionError);
  assertInstanceOf(
    await transport.readHalf.read().catch((error) => error),
    ConnectionError,
  );
});

/** A `WebSocketStream` whose peer is the test. */
function fakeStream(protocol = "sluice.1") {
  const inbound = new TransformStream<unknown>();
  const outbound = new TransformStream<unknown>(
    undefined,
    { highWaterMark: 1 },
    { highWaterMark: 1 },
  );
  const closed = Promise.withResolvers<
    { closeCode?: number; reason?: string }
  >();
  const calls: unknown[] = [];
  return {
    socket: {
      opened: Promise.resolve({
        readable: inbound.readable,
        writable: outbound.writable,
        protocol,
      }),
      closed: closed.promise,
      close: (info: unknown) => void calls.push(info),
    },
    peer: {
      writer: inbound.writable.getWriter(),
      reader: outbound.readable.getReader(),
    },
    closed,
    calls,
  };
}

test("[K10] a WebSocketStream is a duplex with the backpressure of its streams", async () => {
  const { socket, peer, closed, calls } = fakeStream();
  const duplex = fromWebSocket(socket);
  const sending = send(duplex, pattern(100));
  assertEquals((await peer.reader.read()).value, pattern(100));
  await sending;

  // The peer's third message of 64 KiB waits: the first is in the duplex's queue, the second in the stream's.
  let arrived = 0;
  const flooding = (async () => {
    for (let i = 0; i < 8; i++) {
      await peer.writer.write(pattern(65_536).buffer);
      arrived++;
    }
    await peer.writer.write(new ArrayBuffer(0));
  })();
  await settle(20);
  assert(arrived < 5, `${arrived} messages taken`);
  const { bytes, ended } = await receive(duplex);
  await flooding;
  assertEquals([bytes.length, ended], [8 * 65_536, true]);

  const closing = duplex.writable.close();
  assertEquals(((await peer.reader.read()).value as Uint8Array).length, 0);
  await closing;
  assertEquals(calls, [{ closeCode: 1000, reason: "" }]);
  closed.resolve({ closeCode: 1000 });
});

test("[K10] messages that wait in two WebSocketStreams have memory of their own", async () => {
  const streams = [fakeStream(), fakeStream()];
  const chunks = [1, 2].map((byte) => new Uint8Array(10).fill(byte));
  const channels = streams.map(({ socket }) =>
    openChannel(fromWebSocket(socket))
  );
  await settle();
  // Several chunks, which are gathered in one message.
  const writes = channels.map((channel, i) =>
    channel.write([chunks[i], chunks[i]])
  );
  await settle();
  for (const [i, { peer }] of streams.entries()) {
    const { value } = await peer.reader.read();
    assertEquals(value, new Uint8Array(20).fill(i + 1));
  }
  await Promise.all(writes);
});

test("[K10] what a WebSocketStream got before its close is read before the loss", async () => {
  const { socket, peer, closed } = fakeStream();
  const duplex = fromWebSocket(socket);
  const flooding = (async () => {
    for (let i = 0; i < 4; i++) await peer.writer.write(pattern(65_536).buffer);
    await peer.writer.close();
  })();
  await settle(20);
  closed.resolve({ closeCode: 4009, reason: "too much" });
  await settle(20);
  // The loss shows although nobody has read.
  await assertRejects(() => send(duplex, pattern(1)), ConnectionError);
  const { bytes, error } = await receive(duplex);
  await flooding;
  assertEquals(bytes.length, 4 * 65_536);
  assertInstanceOf(error, ConnectionError);
  assertEquals(error.code, "resource_exhausted");
});

test("[K10] one that cannot connect, and one with another subprotocol, fail", async () => {
  const failure = new Error("refused");
  const lost = fromWebSocket({
    opened: Promise.reject(failure),
    closed: Promise.reject(failure),
    close() {},
  });
  const { error } = await receive(lost);
  assertInstanceOf(error, ConnectionError);
  assertEquals(error.cause, failure);

  const { socket, calls } = fakeStream("chat");
  const other = await receive(fromWebSocket(socket));
  assertInstanceOf(other.error, ConnectionError);
  assertEquals(other.error.code, "protocol_error");
  assertEquals(calls, [{ closeCode: 4002, reason: "" }]);
});
