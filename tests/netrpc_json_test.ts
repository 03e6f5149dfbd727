/** Go's JSON wire without Go: the exact text, and what odd peers send. */

import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import {
  Client,
  type EchoServices,
  memoryPair,
  RpcError,
  Server,
} from "../mod.ts";
import { netrpc } from "../netrpc.ts";
import { ascii, Raw } from "./support/go_wire.ts";

const hello = { HelloService: { Hello: (name: string) => `hello:${name}` } };

function serveJson(services: object): { raw: Raw; server: Server<object> } {
  const raw = new Raw();
  const wire = netrpc({ encoding: "json" });
  const server = new Server<object>(services, { wire });
  server.accept(raw.duplex);
  return { raw, server };
}

const CALL = '{"method":"HelloService.Hello","params":["hi"],"id":0}\n';
const ANSWER = '{"id":0,"result":"hello:hi","error":null}\n';

/** What a server answers to text, in chunks of `size`. */
async function answers(
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
  const said = new TextDecoder().decode(await raw.rest());
  await server.close();
  return said;
}

test("JSON calls and answers are as Go writes them", async () => {
  const raw = new Raw();
  const wire = netrpc({ encoding: "json" });
  const client = new Client<EchoServices>(raw.duplex, { wire });
  const call = client.call("HelloService.Hello", "hi");
  assertEquals(await raw.take(CALL.length), ascii(CALL));
  await raw.send(ascii(ANSWER));
  assertEquals(await call, "hello:hi");
  await client.abort();
  assertEquals(await answers(hello, CALL), ANSWER);
});

test("JSON values may come back to back, in any chunks, with any id", async () => {
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
  const wanted = [...ids, "null"].map((id) => ANSWER.replace("0", id)).join("");
  for (const size of [1, 7, Infinity]) {
    const said = await answers(hello, [...calls, missing].join(""), size);
    assertEquals(said, wanted.replaceAll("-1.5e3", "-1500"));
  }
});

test("JSON errors are strings, and a result is never null", async () => {
  const services = {
    Odd: {
      fail: () => {
        throw new RpcError("x", 'bad "input"');
      },
      nothing: () => null,
    },
  };
  const call = (method: string) => `{"method":"${method}","params":[1],"id":3}`;
  assertEquals(
    await answers(services, call("Odd.fail")),
    '{"id":3,"result":null,"error":"bad \\"input\\""}\n',
  );
  assertEquals(
    await answers(services, call("Odd.nothing")),
    '{"id":3,"result":{},"error":null}\n',
  );
  assertEquals(
    await answers(services, call("Odd.absent")),
    '{"id":3,"result":null,"error":"rpc: can\'t find method Odd.absent"}\n',
  );
});

for (
  const [params, words] of [
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
  test(`JSON params that are no array are refused in Go's words: ${params || "none"}`, async () => {
    const call = `{"method":"HelloService.Hello",${params}"id":1}`;
    const error = JSON.stringify(words);
    const wanted = `{"id":1,"result":null,"error":${error}}\n`;
    assertEquals(await answers(hello, call + CALL), wanted + ANSWER);
  });
}

for (
  const [name, text] of [
    ["no JSON", "hello\n"],
    ["an array", "[1]"],
    ["a broken object", '{"method":}'],
    ["a method that is no string", '{"method":1,"params":[1],"id":1}'],
    ["an object deeper than the limit", '{"params":' + "[".repeat(2000)],
  ] as const
) {
  test(`JSON that closes the connection: ${name}`, async () => {
    assertEquals(await answers(hello, text + CALL), "");
  });
}

for (
  const [name, text] of [
    ["neither result nor error", '{"id":0,"result":null,"error":null}'],
    ["an id that is no number", '{"id":"0","result":1,"error":null}'],
  ] as const
) {
  test(`a JSON answer that closes the connection: ${name}`, async () => {
    const raw = new Raw();
    const wire = netrpc({ encoding: "json" });
    const client = new Client<EchoServices>(raw.duplex, { wire });
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

test("X34: a value nested deeper than Go's JSON wire takes fails its call at the sender, and no brackets in text do", async () => {
  const wire = netrpc({ encoding: "json" });
  const nested = (levels: number) => {
    let value: unknown = "[".repeat(5000);
    for (let i = 0; i < levels; i++) value = [value];
    return value;
  };
  const S = { echo: (value: unknown) => value, deep: () => nested(1000) };
  const server = new Server<object>({ S }, { wire });
  const [near, far] = memoryPair();
  server.accept(far);
  const client = new Client<{ S: Record<string, (p?: unknown) => unknown> }>(
    near,
    { wire },
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
