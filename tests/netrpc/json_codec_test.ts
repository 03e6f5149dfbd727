/** Go's JSON protocol without Go: the exact text, and unusual and invalid messages. */

import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import {
  Client,
  type ClientOptions,
  type EchoServices,
  memoryPair,
  RpcError,
  Server,
} from "../../mod.ts";
import { netrpc } from "../../netrpc.ts";
import { ascii, RawBytePeer } from "../support/go_peer.ts";

const hello = { HelloService: { Hello: (name: string) => `hello:${name}` } };

function serveJson(
  services: object,
): { raw: RawBytePeer; server: Server<object> } {
  const raw = new RawBytePeer();
  const protocol = netrpc({ encoding: "json" });
  const server = new Server<object>(services, { protocol });
  server.accept(raw.duplex);
  return { raw, server };
}

const CALL = '{"method":"HelloService.Hello","params":["hi"],"id":0}\n';
const REPLY = '{"id":0,"result":"hello:hi","error":null}\n';

/** Returns what a server sends in reply to a text that arrives in chunks of `size`. */
async function exchange(
  services: object,
  text: string,
  size = Infinity,
): Promise<string> {
  const { raw, server } = serveJson(services);
  const all = ascii(text);
  for (let at = 0; at < all.length; at += size) {
    await raw.send(all.subarray(at, Math.min(all.length, at + size)));
  }
  await raw.end();
  const received = new TextDecoder().decode(await raw.rest());
  await server.close();
  return received;
}

test("calls and replies are written as Go writes them", async () => {
  const raw = new RawBytePeer();
  const protocol = netrpc({ encoding: "json" });
  const client = new Client<EchoServices>(raw.duplex, { protocol });
  const call = client.call("HelloService.Hello", "hi");
  assertEquals(await raw.take(CALL.length), ascii(CALL));
  await raw.send(ascii(REPLY));
  assertEquals(await call, "hello:hi");
  await client.abort();
  assertEquals(await exchange(hello, CALL), REPLY);
});

test("a server accepts calls without separators, in any chunks, with any id", async () => {
  const ids = [
    "0",
    '"a}b\\""',
    "null",
    "12345678901234567890",
    "-1.5e3",
    "[1]",
  ];
  const calls = ids.map((id) => CALL.trim().replace('"id":0', `"id":${id}`));
  const missing = CALL.trim().replace(',"id":0', "");
  const wanted = [...ids, "null"].map((id) => REPLY.replace("0", id)).join("");
  for (const size of [1, 7, Infinity]) {
    const received = await exchange(hello, [...calls, missing].join(""), size);
    assertEquals(received, wanted.replaceAll("-1.5e3", "-1500"));
  }
});

test("[X26] a server sends errors as strings, and never a null result without an error", async () => {
  const services = {
    Odd: {
      fail: () => {
        throw new RpcError("x", 'bad "input"');
      },
      nothing: () => undefined,
      none: () => null,
      notANumber: () => NaN,
    },
  };
  const call = (method: string) => `{"method":"${method}","params":[1],"id":3}`;
  assertEquals(
    await exchange(services, call("Odd.fail")),
    '{"id":3,"result":null,"error":"bad \\"input\\""}\n',
  );
  assertEquals(
    await exchange(services, call("Odd.nothing")),
    '{"id":3,"result":{},"error":null}\n',
  );
  for (const method of ["Odd.none", "Odd.notANumber"]) {
    assertEquals(
      await exchange(services, call(method)),
      '{"id":3,"result":null,"error":"the handler\'s result cannot be serialized"}\n',
    );
  }
  assertEquals(
    await exchange(services, call("Odd.absent")),
    '{"id":3,"result":null,"error":"rpc: can\'t find method Odd.absent"}\n',
  );
});

for (
  const [params, text] of [
    ["", "jsonrpc: request body missing params"],
    ['"params":null,', "jsonrpc: request body missing params"],
    [
      '"params":{"A":1},',
      "json: cannot unmarshal object into Go value of type [1]interface {}",
    ],
    [
      '"params":true,',
      "json: cannot unmarshal bool into Go value of type [1]interface {}",
    ],
  ] as const
) {
  test(`params that are not an array are rejected with Go's text: ${params || "none"}`, async () => {
    const call = `{"method":"HelloService.Hello",${params}"id":1}`;
    const error = JSON.stringify(text);
    const wanted = `{"id":1,"result":null,"error":${error}}\n`;
    assertEquals(await exchange(hello, call + CALL), wanted + REPLY);
  });
}

for (
  const [name, text] of [
    ["text that is not JSON", "hello\n"],
    ["an array", "[1]"],
    ["a broken object", '{"method":}'],
    ["a method that is not a string", '{"method":1,"params":[1],"id":1}'],
    ["an object deeper than the limit", '{"params":' + "[".repeat(2000)],
  ] as const
) {
  test(`a server closes the connection on ${name}`, async () => {
    assertEquals(await exchange(hello, text + CALL), "");
  });
}

for (
  const [name, text] of [
    ["an id that is not a number", '{"id":"0","result":1,"error":null}'],
  ] as const
) {
  test(`a client closes the connection on a reply with ${name}`, async () => {
    const raw = new RawBytePeer();
    const protocol = netrpc({ encoding: "json" });
    const client = new Client<EchoServices>(raw.duplex, { protocol });
    const call = client.call("HelloService.Hello", "hi");
    await raw.take(CALL.length);
    await raw.send(ascii(text));
    const error = await assertRejects(() => call, RpcError);
    assertEquals(error.outcome, "unknown");
    await raw.rest();
    await raw.end();
    assertEquals((await client.closed)?.code, "protocol_error");
  });
}

/** Returns a client, and the replies to its first calls when `text` arrives. */
async function replies(
  n: number,
  text: string,
  options: ClientOptions = {},
): Promise<{ client: Client<EchoServices>; replies: Promise<unknown>[] }> {
  const raw = new RawBytePeer();
  const protocol = netrpc({ encoding: "json" });
  const client = new Client<EchoServices>(raw.duplex, {
    protocol,
    ...options,
  });
  const replies = Array.from(
    { length: n },
    () => client.call("HelloService.Hello", "hi"),
  );
  for (const reply of replies) reply.catch(() => {});
  await raw.take(n * CALL.length);
  await raw.send(ascii(text));
  return { client, replies };
}

test("[X26] a null result without an error is null, and the connection stays open", async () => {
  for (const reply of ['{"id":0,"result":null,"error":null}', '{"id":0}']) {
    const { client, replies: [first, second] } = await replies(
      2,
      reply + REPLY.replace("0", "1"),
    );
    assertEquals([await first, await second], [null, "hello:hi"]);
    await client.abort();
  }
});

const INTEGERS = [
  ["9007199254740991", true],
  ["-9007199254740991", true],
  ["9007199254740992", true],
  ["9007199254740993", false],
  ["-9007199254740993", false],
  ["1152921504606846976", true],
  ["1152921504606847000", false],
  ["100000000000000000000", true],
  [`1${"0".repeat(400)}`, false],
  ["0.12345678901234567890", true],
  ["12345678901234567e2", true],
  ['"9007199254740993"', true],
] as const;

for (const [number, exact] of INTEGERS) {
  const name = number.length > 30 ? "10^400" : number;
  for (const place of [number, `{"A":[0,{"id":${number}}],"B\\"":"\\\\"}`]) {
    const where = place === number ? "" : ", inside an object";
    test(`[X30] the integer ${name} is ${exact ? "accepted" : "rejected, not rounded"}${where}`, async () => {
      const reply = `{"id":0,"result":${place},"error":null}`;
      const made = await replies(2, reply + REPLY.replace("0", "1"));
      const [first, second] = made.replies;
      if (exact) assertEquals(await first, JSON.parse(place));
      else {
        const error = await assertRejects(() => first, RpcError);
        assertEquals([error.code, error.outcome], [
          "invalid_reply",
          "executed",
        ]);
      }
      assertEquals(await second, "hello:hi");
      await made.client.abort();
      let ran = 0;
      const counting = {
        HelloService: { Hello: (_: string) => (ran++, "hello:hi") },
      };
      const call = CALL.replace('"hi"', place);
      const received = await exchange(counting, call + CALL);
      assertEquals(ran, exact ? 2 : 1);
      assertEquals(received.includes("would be rounded"), !exact);
      assertEquals(received.endsWith(REPLY), true);
    });
  }
}

const BIG = `"${"x".repeat(50_000)}"`;
const SMALL = { maxMessage: 16_384 };

for (const size of [7, 1000, 16_383, 16_384, Infinity]) {
  test(`[X27] a reply above the client's maxMessage fails only its call, in chunks of ${size}`, async () => {
    const raw = new RawBytePeer();
    const protocol = netrpc({ encoding: "json" });
    const client = new Client<EchoServices>(raw.duplex, {
      protocol,
      ...SMALL,
    });
    const calls = [1, 2, 3].map(() => client.call("HelloService.Hello", "hi"));
    for (const call of calls) call.catch(() => {});
    await raw.take(3 * CALL.length);
    const text = `{"id":0,"result":${BIG},"error":null}\n` +
      `{"error":null,"result":[${BIG},{"id":7}],"id":1}` +
      `{"id":9,"result":${BIG},"error":null}\n` + REPLY.replace("0", "2");
    const all = ascii(text);
    for (let at = 0; at < all.length; at += size) {
      await raw.send(all.subarray(at, Math.min(all.length, at + size)));
    }
    for (const call of calls.slice(0, 2)) {
      const error = await assertRejects(
        () => call,
        RpcError,
        "more than the receiver's maxMessage of 16384",
      );
      assertEquals([error.code, error.outcome], ["frame_too_large", "unknown"]);
    }
    assertEquals(await calls[2], "hello:hi");
    await client.abort();
  });

  test(`[X27] a call above the server's maxMessage is answered with an error, in chunks of ${size}`, async () => {
    let ran = 0;
    const counting = {
      HelloService: { Hello: (_: string) => (ran++, "hello:hi") },
    };
    const raw = new RawBytePeer();
    const protocol = netrpc({ encoding: "json" });
    const server = new Server<object>(counting, { protocol, ...SMALL });
    server.accept(raw.duplex);
    const all = ascii(CALL.replace('"hi"', BIG).replace(":0}", ':"a"}') + CALL);
    for (let at = 0; at < all.length; at += size) {
      await raw.send(all.subarray(at, Math.min(all.length, at + size)));
    }
    await raw.end();
    const received = new TextDecoder().decode(await raw.rest());
    await server.close();
    const [first, second] = received.split("\n");
    assertEquals(
      first,
      '{"id":"a","result":null,"error":"rpc: a call has 50054 bytes, more than the receiver\'s maxMessage of 16384"}',
    );
    assertEquals([`${second}\n`, ran], [REPLY, 1]);
  });
}

test("[X27] a message that is too large and does not show its call closes the connection with frame_too_large", async () => {
  const raw = new RawBytePeer();
  const protocol = netrpc({ encoding: "json" });
  const errors: unknown[] = [];
  const server = new Server<object>(hello, {
    protocol,
    ...SMALL,
    onError: (error) => errors.push(error),
  });
  server.accept(raw.duplex);
  await raw.send(ascii(`{"params":[${BIG}],"id":1,"method":"A.B"}`));
  await raw.rest();
  await raw.end();
  await server.close();
  assertEquals((errors[0] as { code: string }).code, "frame_too_large");
});

test("[X34] a value nested deeper than maxDepth fails its call at the sender, and brackets in strings do not count", async () => {
  const protocol = netrpc({ encoding: "json" });
  const nested = (levels: number) => {
    let value: unknown = "[".repeat(5000);
    for (let i = 0; i < levels; i++) value = [value];
    return value;
  };
  const S = { echo: (value: unknown) => value, deep: () => nested(1000) };
  const server = new Server<object>({ S }, { protocol });
  const [near, far] = memoryPair();
  server.accept(far);
  const client = new Client<{ S: Record<string, (p?: unknown) => unknown> }>(
    near,
    { protocol },
  );
  assertEquals(await client.call("S.echo", nested(998)), nested(998) as never);
  const error = await assertRejects(
    () => client.call("S.echo", nested(999)),
    RpcError,
  );
  assertEquals([error.code, error.outcome], ["invalid_argument", "not_sent"]);
  await assertRejects(() => client.call("S.deep"), RpcError);
  assertEquals(await client.call("S.echo", "on"), "on" as never);
  await client.close();
  await server.close();
});
