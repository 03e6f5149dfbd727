// Duplexes over message ports: peers that break the rules or vanish, ports of
// other styles, and a client and a server in two threads. The scenarios of
// transports_test.ts run over them, too.

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertThrows,
} from "@std/assert";
import { EventEmitter } from "node:events";
import { test } from "node:test";
// On Deno, ports have a `close` event only when this module is loaded.
import { Worker as Thread } from "node:worker_threads";
import {
  Client,
  ConnectionError,
  type ErrorCode,
  fromMessagePort,
  type MessagePortLike,
  RpcError,
  Server,
} from "../../mod.ts";
import { assertNothingLeft } from "../support/pair.ts";
import { runScript } from "../support/script.ts";
import type { WorkerServices } from "../support/scripts/port_services.ts";
import { SCRIPTS, SLOW_START, useEverything } from "../support/workers.ts";
import {
  type End,
  flood,
  pattern,
  receive,
  send,
  stall,
} from "../support/transports.ts";

const WINDOW = 262_144;
const MESSAGE = 65_536;
const COST = 256;

/** A port of which the test sends and receives each message itself. */
class RawPort {
  readonly received: unknown[] = [];
  closed = false;
  readonly #port: MessagePort;
  #wake: (() => void) | undefined;

  constructor(port: MessagePort) {
    this.#port = port;
    port.addEventListener("message", ({ data }) => {
      this.received.push(data);
      this.#wake?.();
    });
    port.addEventListener("close", () => {
      this.closed = true;
      this.#wake?.();
    });
    port.start();
  }

  send(...messages: unknown[]): void {
    for (const message of messages) this.#port.postMessage(message);
  }

  /** Waits until `done` is true of what has been received. */
  async until(done: () => boolean): Promise<void> {
    while (!done()) await new Promise<void>((wake) => this.#wake = wake);
  }

  /** The messages that are bytes. */
  get data(): ArrayBuffer[] {
    return this.received.filter((message) => message instanceof ArrayBuffer);
  }

  close(): void {
    this.#port.close();
  }
}

/** A duplex whose peer is the test. */
function facing(...first: unknown[]): { end: End; raw: RawPort } {
  const { port1, port2 } = new MessageChannel();
  const raw = new RawPort(port2);
  raw.send(...first);
  return { end: fromMessagePort(port1), raw };
}

/** What bytes count for in the window. */
function cost(messages: readonly ArrayBuffer[]): number {
  return messages.reduce((sum, { byteLength }) => sum + byteLength + COST, 0);
}

/** Asserts that reading and writing fail with `code`, and that the peer is told and the port closed. */
async function assertRefused(
  { end, raw }: { end: End; raw: RawPort },
  code: ErrorCode,
  text: string,
): Promise<Uint8Array> {
  const { bytes, error } = await receive(end);
  assertInstanceOf(error, ConnectionError);
  assertEquals([error.code, error.message], [code, text]);
  assertEquals(await flood(end, 1, { bytes: 0 }), error);
  await raw.until(() => raw.closed);
  assertEquals(raw.received.at(-1), "abort");
  return bytes;
}

test("the messages of a session are those of the specification", async () => {
  const { end, raw } = facing("sluice.1");
  await send(end, pattern(70_000));
  await end.writable.close();
  const large = Array.from({ length: 2 }, () => new ArrayBuffer(MESSAGE));
  raw.send(...large, "end");
  await receive(end);
  await raw.until(() => raw.closed);
  const [name, first, second, ...rest] = raw.received;
  assertEquals(name, "sluice.1");
  const sizes = [first, second].map((data) => (data as ArrayBuffer).byteLength);
  assertEquals(sizes, [65_536, 4464]);
  assertEquals(rest, ["end", MESSAGE + COST, MESSAGE + COST]);
});

test("[P1] a peer that never acknowledges gets 256 KiB and no more, until it does", async () => {
  const { end, raw } = facing("sluice.1");
  const progress = { bytes: 0 };
  const writing = flood(end, 40 * WINDOW, progress);
  await stall(progress);
  const sent = cost(raw.data);
  assert(sent <= WINDOW && sent > WINDOW - MESSAGE - COST, `${sent} sent`);

  raw.send(sent);
  await stall(progress);
  assertEquals(cost(raw.data), 2 * sent);

  raw.close();
  assertInstanceOf(await writing, ConnectionError);
});

for (const size of [MESSAGE, 1000, 1]) {
  test(`[P2] a peer that sends more than 256 KiB in messages of ${size} is disconnected, and what it was allowed is read`, async () => {
    const messages = Math.floor(WINDOW / (size + COST));
    const most = Array.from({ length: messages }, () => new ArrayBuffer(size));
    const within = facing("sluice.1", ...most, "end");
    assertEquals((await receive(within.end)).bytes.length, size * messages);
    await within.end.writable.close();

    const past = facing("sluice.1", ...most, new ArrayBuffer(size), "end");
    await stall({ bytes: 0 });
    const bytes = await assertRefused(
      past,
      "protocol_error",
      "The peer of the message port sent more than the 262144 bytes that may be unacknowledged",
    );
    assertEquals(bytes.length, size * messages);
  });
}

test("[P2] a peer that sends much in each message holds no more than is counted", async () => {
  const buffer = new ArrayBuffer(1_048_576);
  const { end, raw } = facing("sluice.1", new Uint8Array(buffer, 8, 4), "end");
  const reader = end.readable.getReader();
  const { value } = await reader.read();
  assertEquals([value!.length, value!.buffer.byteLength], [4, 4]);
  reader.releaseLock();
  await end.writable.close();
  await raw.until(() => raw.closed);
});

const sent = "The peer of the message port sent";
const FOREIGN: [string, unknown[], string][] = [
  ["text", ["hello"], `${sent} "hello", expected bytes`],
  ["an object", [{}], `${sent} a message of type object, expected bytes`],
  ["null", [null], `${sent} a message of type null, expected bytes`],
  ["true", [true], `${sent} a message of type boolean, expected bytes`],
  [
    "shared memory",
    [new SharedArrayBuffer(8)],
    `${sent} a message of type object, expected bytes`,
  ],
  ["the name again", ["sluice.1"], `${sent} "sluice.1", expected bytes`],
  [
    "no bytes",
    [new ArrayBuffer(0)],
    `${sent} 0 bytes in a message, of 1 to 65536`,
  ],
  [
    "too many bytes",
    [new ArrayBuffer(MESSAGE + 1)],
    `${sent} 65537 bytes in a message, of 1 to 65536`,
  ],
  [
    "bytes after its end",
    ["end", new ArrayBuffer(1)],
    `${sent} a message of type object after its end`,
  ],
  ["two ends", ["end", "end"], `${sent} "end" after its end`],
  ...[1, 0, -1, NaN, Infinity].map((n): [string, unknown[], string] => [
    `an acknowledgement of ${n} for nothing`,
    [n],
    `The peer of the message port acknowledged ${n} bytes of 0 in flight`,
  ]),
];
for (const [name, messages, text] of FOREIGN) {
  test(`[P3] a peer that sends ${name} is disconnected`, async () => {
    const peer = facing("sluice.1", new ArrayBuffer(3), ...messages);
    if (messages[0] === "end") {
      // What it has sent is read to the end; writing fails.
      await peer.raw.until(() => peer.raw.closed);
      assertEquals(peer.raw.received.at(-1), "abort");
      assertEquals((await receive(peer.end)).bytes.length, 3);
      const error = await flood(peer.end, 1, { bytes: 0 });
      assertEquals((error as ConnectionError).message, text);
      return;
    }
    const bytes = await assertRefused(peer, "protocol_error", text);
    assertEquals(bytes.length, 3);
  });
}

test("[P3] a peer that begins with something else, or with another version, is named", async () => {
  await assertRefused(
    facing(new ArrayBuffer(3)),
    "protocol_error",
    `${sent} a message of type object, expected "sluice.1" first`,
  );
  await assertRefused(
    facing("ready"),
    "protocol_error",
    `${sent} "ready", expected "sluice.1" first`,
  );
  await assertRefused(
    facing("sluice.2"),
    "version_mismatch",
    'The peer of the message port uses version "sluice.2", this side sluice.1',
  );
});

test("[P3] a message that cannot be deserialized disconnects", async () => {
  const port = new FakePort();
  const reading = receive(fromMessagePort(port));
  port.dispatchEvent(new Event("messageerror"));
  const { error } = await reading;
  assertInstanceOf(error, ConnectionError);
  assertEquals(error.code, "protocol_error");
  assertEquals(port.sent, ["sluice.1", "abort", "close"]);
});

/** A port that goes nowhere; the test makes its events. */
class FakePort extends EventTarget {
  readonly sent: unknown[] = [];
  failure: Error | undefined;
  listeners = 0;
  postMessage(message: unknown, _transfer: unknown[]): void {
    if (this.failure) throw this.failure;
    this.sent.push(message);
  }
  close(): void {
    this.sent.push("close");
  }
  override addEventListener(
    ...args: Parameters<EventTarget["addEventListener"]>
  ) {
    this.listeners++;
    super.addEventListener(...args);
  }
  override removeEventListener(
    ...args: Parameters<EventTarget["removeEventListener"]>
  ) {
    this.listeners--;
    super.removeEventListener(...args);
  }
  receive(data: unknown): void {
    this.dispatchEvent(new MessageEvent("message", { data }));
  }
}

test("[P3] chatter after a port's end changes nothing, and no listener stays", async () => {
  const port = new FakePort();
  const end = fromMessagePort(port);
  assert(port.listeners > 0);
  port.receive("sluice.1");
  port.receive("end");
  await end.writable.close();
  assertEquals(port.sent, ["sluice.1", "end", "close"]);
  assertEquals(port.listeners, 0);
  port.receive("text");
  port.dispatchEvent(new Event("close"));
  assert((await receive(end)).ended);
});

/** A client and a server whose messages pass through the test, which closes both ports instead of passing on message `at`. */
async function cutSession(at: number): Promise<number> {
  const [near, far] = [new MessageChannel(), new MessageChannel()];
  let passed = 0;
  const relay = (from: MessagePort, to: MessagePort) => {
    from.addEventListener("message", ({ data }) => {
      if (passed++ < at) return to.postMessage(data);
      from.close();
      to.close();
    });
    from.addEventListener("close", () => to.close());
    from.start();
  };
  relay(near.port2, far.port2);
  relay(far.port2, near.port2);
  const server = new Server({
    add: (n: number) => n + 1,
    count: async function* (to: number) {
      for (let n = 0; n < to; n++) yield n;
    },
  });
  const connection = server.accept(fromMessagePort(far.port1));
  const client = new Client<{
    add(n: number): number;
    count(to: number): AsyncIterable<number>;
  }>(fromMessagePort(near.port1));
  const outcomes = await Promise.allSettled([
    client.call("add", 1),
    client.call("add", 2),
    client.call("count", 3).then((items) => Array.fromAsync(items)),
    client.connection.ping(),
  ]);
  for (const outcome of outcomes) {
    if (outcome.status === "fulfilled") continue;
    const { reason } = outcome;
    assert(
      reason instanceof RpcError || reason instanceof ConnectionError,
      String(reason),
    );
  }
  await client.close();
  const reason = await client.closed;
  if (passed > at) {
    if (reason !== undefined) assertEquals(reason.code, "unavailable");
  } else {
    assertEquals(reason, undefined);
    assert(outcomes.every(({ status }) => status === "fulfilled"));
  }
  await server.close();
  await connection.closed;
  assertNothingLeft(client.connection);
  assertNothingLeft(connection);
  return passed;
}

test("[P4] a port that closes at any message of a session settles every call once", async () => {
  let at = 0;
  while (await cutSession(at) > at) at++;
  assert(at >= 8, `${at} messages`);
});

test("[P4] what arrived before the peer closed its port is read, and then the loss", async () => {
  const { end, raw } = facing("sluice.1", new ArrayBuffer(5));
  raw.close();
  const { bytes, error } = await receive(end);
  assertEquals(bytes.length, 5);
  assertInstanceOf(error, ConnectionError);
  assertEquals(error.code, "unavailable");
  assertEquals(await flood(end, 1, { bytes: 0 }), error);
});

test("[P4] a peer that closes its port after its end, and before the local one, is lost for writing only", async () => {
  const { end, raw } = facing("sluice.1", "end");
  raw.close();
  assert((await receive(end)).ended);
  await stall({ bytes: 0 });
  assertInstanceOf(await flood(end, 1, { bytes: 0 }), ConnectionError);
});

test("[P4] a worker whose script fails at the start is a lost connection; a later error of a page's worker is none", async () => {
  const early = new FakePort();
  const reading = receive(fromMessagePort(early));
  early.dispatchEvent(
    Object.assign(new Event("error"), { message: "no such file" }),
  );
  const { error } = await reading;
  assertInstanceOf(error, ConnectionError);
  assertEquals(error.code, "unavailable");
  assertEquals(
    error.message,
    "Connection lost: the worker has failed: no such file",
  );

  const late = new FakePort();
  const end = fromMessagePort(late);
  late.receive("sluice.1");
  late.dispatchEvent(new Event("error"));
  // A worker of Deno ends with its first uncaught error.
  assertEquals(late.sent.includes("close"), "Deno" in globalThis);
  await end.writable.abort().catch(() => {});
});

/** The style of Electron's `MessagePortMain`: `on`, events with `data`, and no memory is transferred. */
class MainPort extends EventEmitter {
  peer: MainPort | undefined;
  #queue: unknown[] | undefined = [];
  postMessage(message: unknown, transfer: unknown[] = []): void {
    if (transfer.length > 0) {
      throw new TypeError("Port at index 0 is not a valid port");
    }
    const { peer } = this;
    const data = structuredClone(message);
    queueMicrotask(() => peer!.#receive(data));
  }
  #receive(data: unknown): void {
    if (this.#queue) this.#queue.push(data);
    else this.emit("message", { data, ports: [] });
  }
  start(): void {
    const queue = this.#queue ?? [];
    this.#queue = undefined;
    for (const data of queue) this.#receive(data);
  }
  close(): void {
    const { peer } = this;
    queueMicrotask(() => peer!.emit("close"));
  }
}

test("[P5] a port that cannot transfer memory, and whose events have the message as data, carries a session", async () => {
  const [a, b] = [new MainPort(), new MainPort()];
  a.peer = b;
  b.peer = a;
  const server = new Server({ echo: (bytes: Uint8Array) => bytes });
  server.accept(fromMessagePort(b));
  const client = new Client<{ echo(bytes: Uint8Array): Uint8Array }>(
    fromMessagePort(a),
  );
  assertEquals(await client.call("echo", pattern(500_000)), pattern(500_000));
  await client.close();
  await server.close();
  assertEquals([a.listenerCount("message"), a.listenerCount("error")], [0, 0]);
});

test("[P5] a port that refuses every message is lost, with its error as the cause", async () => {
  const port = new FakePort();
  const end = fromMessagePort(port);
  port.failure = new Error("gone");
  const error = await flood(end, 1, { bytes: 0 });
  assertInstanceOf(error, ConnectionError);
  assertEquals([error.code, error.cause], ["unavailable", port.failure]);
  assertEquals((await receive(end)).error, error);
});

test("what is no message port is refused", () => {
  for (
    const value of [undefined, null, 1, {}, new EventTarget(), {
      postMessage() {},
    }]
  ) {
    assertThrows(
      () => fromMessagePort(value as MessagePortLike),
      TypeError,
      "Cannot adapt: expected a message port, received",
    );
  }
  const window = new FakePort();
  Object.assign(window, { window });
  assertThrows(
    () => fromMessagePort(window),
    TypeError,
    "a window is no message port",
  );
});

test("ref and unref reach the port while it is open", async () => {
  const { end, raw } = facing("sluice.1");
  const port = new FakePort();
  const notes: string[] = [];
  Object.assign(port, {
    ref: () => notes.push("ref"),
    unref: () => notes.push("unref"),
  });
  const fake = fromMessagePort(port);
  fake.unref?.();
  fake.ref?.();
  await fake.writable.abort().catch(() => {});
  fake.unref?.();
  assertEquals(notes, ["unref", "ref"]);
  raw.close();
  await receive(end);
});

/** Starts a thread, and a client of it. */
function startThread() {
  const thread = new Thread(new URL("port_thread.ts", SCRIPTS));
  const exited = new Promise<number>((resolve) => thread.on("exit", resolve));
  const client = new Client<WorkerServices>(
    fromMessagePort(thread),
    SLOW_START,
  );
  return { thread, exited, client };
}

test("[P6] a client and a server in two threads do all that they do over a socket, and both end by themselves", async () => {
  const { thread, exited, client } = startThread();
  await useEverything(client);
  await client.close();
  assertEquals(await client.closed, undefined);
  assertNothingLeft(client.connection);
  assertEquals(await exited, 0);
  assertEquals(thread.listenerCount("message"), 0);
});

test("[P6] a thread that exits, or is terminated, is a lost connection", async () => {
  const exiting = startThread();
  exiting.client.notify("exit", undefined);
  assertEquals((await exiting.client.closed)?.code, "unavailable");
  await exiting.exited;

  const { thread, client, exited } = startThread();
  const hanging = client.call("hang");
  await client.connection.ping();
  await thread.terminate();
  await exited;
  const error = await hanging.catch((error) => error);
  assertInstanceOf(error, RpcError);
  assertEquals([error.code, error.outcome], ["unavailable", "unknown"]);
  assertEquals((await client.closed)?.code, "unavailable");
  assertNothingLeft(client.connection);
});

test("[P6] a process with a client and a thread exits when the client has closed", async () => {
  assertEquals(await runScript("port_exit.ts"), { code: 0, stdout: "9\n" });
});

const WEB_WORKERS = typeof Worker === "function";

test(
  "[P6] a client and a server in a web worker do all that they do over a socket, and the worker goes on",
  { skip: !WEB_WORKERS && "Node has no web workers" },
  async () => {
    const worker = new Worker(new URL("port_web_worker.ts", SCRIPTS), {
      type: "module",
    });
    const client = new Client<WorkerServices>(
      fromMessagePort(worker),
      SLOW_START,
    );
    await useEverything(client);
    const over = new Promise((resolve) =>
      worker.addEventListener("message", ({ data }) => {
        if (typeof data === "string" && data.startsWith("over")) resolve(data);
      })
    );
    await client.close();
    assertEquals(await over, "over: undefined");
    assertNothingLeft(client.connection);
    worker.terminate();
  },
);
