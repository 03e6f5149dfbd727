// A recorded duplex keeps the bytes of both directions, and frames print as text.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import {
  type CallContext,
  Client,
  type Duplex,
  memoryPair,
  RpcError,
  type Serializer,
  Server,
} from "../../mod.ts";
import { printFrames, recorded } from "../../testing.ts";
import {
  CALLER,
  credit,
  data,
  end,
  failure,
  frame,
  goaway,
  hello,
  join,
  KIND,
  last,
  reply,
  request,
  stop,
  warning,
} from "../support/raw_peer.ts";
import { pattern } from "../support/transports.ts";

test("a record has the bytes of each direction, and changes nothing", async () => {
  const [inner, peer] = memoryPair();
  const record = recorded(inner);
  const writer = record.duplex.writable.getWriter();
  await writer.write(pattern(5));
  await writer.write(pattern(3));
  await writer.close();
  const there = Array.fromAsync(peer.readable);
  const back = peer.writable.getWriter();
  await back.write(pattern(7, 3));
  await back.close();
  const got = await Array.fromAsync(record.duplex.readable);
  assertEquals(join(...await there), join(pattern(5), pattern(3)));
  assertEquals(join(...got), pattern(7, 3));
  assertEquals(record.sent, join(pattern(5), pattern(3)));
  assertEquals(record.received, pattern(7, 3));
  assertThrows(() => recorded({} as Duplex), TypeError);
});

test("a record keeps its own copy of the bytes", async () => {
  const [inner] = memoryPair();
  const record = recorded(inner);
  const bytes = pattern(5);
  const writer = record.duplex.writable.getWriter();
  await writer.write(bytes);
  bytes.fill(0);
  record.sent.fill(9);
  assertEquals(record.sent, pattern(5));
});

test("what a client and a server say prints as one line for each frame", async () => {
  const services = {
    Test: {
      echo: (value: unknown, ctx: CallContext) => {
        ctx.setReplyMetadata({ from: "test" });
        return value;
      },
      fail: () => {
        throw new RpcError("out_of_stock", "no beans", { data: [1] });
      },
      async *count() {
        yield 1;
      },
    },
  };
  const [near, far] = memoryPair();
  const server = new Server(services);
  server.accept(far);
  const record = recorded(near);
  const client = new Client<typeof services>(record.duplex, {
    credentials: "secret",
  });
  await client.call("Test.echo", { a: [1, "x"] }, { metadata: { trace: "7" } });
  await client.call("Test.fail").catch(() => {});
  await client.call("Test.echo", "y".repeat(100));
  await client.call("Test.echo", new Uint8Array(9), { timeout: 5000 });
  await Array.fromAsync(await client.call("Test.count"));
  await Promise.all([client.close(), server.close()]);
  const sent = printFrames(record.sent);
  const lines = sent.replace(/timeout \d+/, "timeout N").split("\n");
  assertEquals(lines.filter((line) => !line.startsWith("CREDIT")), [
    "HELLO maxMessage 4194304, windowCalls 0, windowBytes 16777216, moves windows, streams 1024, credit 65536 of 16777216, fragments, credentials",
    'REQUEST 1 Test.echo {"a":[1,"x"]}, metadata {"trace":"7"}',
    "REQUEST 2 Test.fail undefined",
    `REQUEST 3 Test.echo "${"y".repeat(79)}...`,
    "REQUEST 4 Test.echo <9 bytes>, timeout N ms",
    "REQUEST 5 Test.count undefined",
    "GOAWAY served no call",
  ]);
  assertEquals(sent.includes("secret"), false);
  const received = printFrames(record.received).split("\n");
  assertEquals(received.slice(1, 3), [
    'REPLY 1 {"a":[1,"x"]}, metadata {"from":"test"}',
    'ERROR 2 out_of_stock "no beans", executed, data [1]',
  ]);
  assertEquals(received.slice(5, 8), [
    "REPLY 5 a stream",
    "DATA 5 from the callee 1 bytes",
    "END 5 from the callee",
  ]);
});

test("every kind of frame prints, and what a peer chose is quoted", () => {
  const bytes = join(
    hello(),
    request(1, "a\nb", [5], 20),
    request(2, "a.b", [1, 0x6e, 0x75, 0x6c, 0x6c], undefined, {
      keep: true,
      references: [[1, '[["x","0"],["id"]]'], [1, "[[],[]]"]],
    }),
    frame(KIND.RELEASE, 1),
    reply(2, [0]),
    failure(3, "not found", "no\n", false),
    frame(KIND.CANCEL, 4),
    frame(KIND.PING, 5),
    frame(KIND.PONG, 6),
    goaway(7, "internal", "why"),
    warning(),
    last(),
    last(true),
    frame(KIND.PAD, 0, [1, 2, 3]),
    data(8, [2, 1, 2, 3], 3),
    end(9, 0),
    end(9, CALLER, "cancelled", "x"),
    stop(10, CALLER),
    credit(11, 500),
  );
  assertEquals(printFrames(bytes).split("\n").slice(1), [
    'REQUEST 1 "a\\nb" a stream, timeout 20 ms',
    "REQUEST 2 a.b null, params.x.0 = #1.id, params = #1, kept",
    "RELEASE 1",
    "REPLY 2 undefined",
    'ERROR 3 "not found" "no\\n", refused',
    "CANCEL 4",
    "PING 5",
    "PONG 6",
    'GOAWAY served calls up to 7, internal "why"',
    "GOAWAY warns",
    "LAST: no call follows",
    "LAST: nothing follows",
    "DATA 8 from the caller 3 bytes, more follows",
    "END 9 from the callee",
    'END 9 from the caller cancelled "x"',
    'STOP 10 from the caller cancelled ""',
    "CREDIT 11 from the callee 500 bytes",
  ]);
});

test("bytes that are no whole frames print what they are, at every length", () => {
  const ping = frame(KIND.PING, 1);
  const all = join(ping, request(2, "A.b"));
  for (let length = 0; length <= all.length; length++) {
    const text = printFrames(all.subarray(0, length));
    const rest = length < 12 ? length : length - 12;
    const whole = [0, 12, all.length].includes(length);
    assertEquals(text.split("\n").length, length > 12 ? 2 : 1);
    const cut = `${rest} bytes of a frame that is not complete`;
    assertEquals(text.endsWith(cut), !whole, text);
  }
  const text = printFrames(join(ping, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]));
  assert(text.startsWith("PING 1\nno frame from byte 12 on: "), text);
  const body = printFrames(join(frame(KIND.CANCEL, 3, [1]), ping)).split("\n");
  assert(body[0].startsWith("CANCEL 3, 1 bytes: "), body[0]);
  assertEquals(body[1], "PING 1");
  const json = printFrames(reply(1, [1, 0x7b]));
  assert(json.startsWith("REPLY 1, 2 bytes: "), json);
});

test("values of a serializer print if it is given", () => {
  const serializer: Serializer = {
    name: "big",
    encode: () => new Uint8Array(),
    decode: (bytes) => ({ n: BigInt(bytes[0]) }),
  };
  const bytes = reply(1, [4, 7]);
  assertEquals(printFrames(bytes, { serializer }), "REPLY 1 [object Object]");
  assert(printFrames(bytes).startsWith("REPLY 1, 2 bytes: "));
});

test("bodies, trailers, messages and lists of serializers print", () => {
  const body = (bytes: Uint8Array) => {
    bytes[5] |= 0x10;
    return bytes;
  };
  const block = [0, 5, 1, 0x61, 0, 1, 0x31];
  const bytes = join(
    hello({ extra: [4, 0, 6, ...new TextEncoder().encode("a json")] }),
    body(request(1, "A.b", "x")),
    body(reply(1, [0])),
    data(1, [6, 1, 2]),
    frame(KIND.END, 1, block, 4),
    frame(KIND.END, 1, [...block, 1, 0x78, 0, 0, 0], 7),
  );
  const [first, ...rest] = printFrames(bytes).split("\n");
  assert(first.endsWith(', serializers "a json"'), first);
  assertEquals(rest, [
    'REQUEST 1 A.b "x" and a body',
    "REPLY 1 undefined and a body",
    "DATA 1 from the callee 2 bytes, a message",
    'END 1 from the callee, trailers {"a":"1"}',
    'END 1 from the caller x "", trailers {"a":"1"}',
  ]);
});
