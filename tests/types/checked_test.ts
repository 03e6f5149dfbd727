/**
 * What does not compile where a service is defined, and what must.
 *
 * Each rejected definition stands under the expectation that the checker
 * rejects it; a server of it is made all the same, as types stop nobody.
 */

import { test } from "node:test";
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  type CallContext,
  type CallOptions,
  type Checked,
  Client,
  clientOf,
  type Connection,
  expose,
  type Listener,
  memoryPair,
  method,
  type NotSerializable,
  type ReconnectingClient,
  RpcError,
  Server,
  type ServiceProxy,
  type Wire,
} from "../../mod.ts";
import { pair } from "../support/pair.ts";
import { type Equal, holds } from "../support/type_assertions.ts";
import { services } from "./typed_services.ts";
import * as v from "valibot";
import * as z from "zod";

test("what JSON carries compiles, at any depth", () => {
  type Row = { id: string; at: Date; tags?: readonly string[]; up: Row | null };
  interface Named {
    name: string | undefined;
    more: Record<string, [number, "x"?]>;
  }
  new Server({
    S: {
      row: (): Row[] => [],
      rows: (id: string): Promise<Map<string, Row>["size"]> =>
        Promise.resolve(id.length),
      named: (named: Named) => named,
      kind: (kind: keyof typeof KINDS) => KINDS[kind],
      optional: (p?: { a: string | undefined; b?: number }) => p,
      bytes: (bytes: Uint8Array | string) => bytes,
      unknown: (value: unknown) => value,
      error: (): never => {
        throw new Error();
      },
      generic: <T>(value: T): T => value,
      context: (_: void, ctx: CallContext) => ctx.metadata.size,
      thenable: (): PromiseLike<number> => Promise.resolve(1),
    },
  });
  new Server(services);
});

const KINDS = { A: 0 } as const;

test("an interface of services compiles as a type does", () => {
  interface Api {
    readonly Echo: { echo(text: string): Promise<string>; ping(): void };
  }
  const api: Api = {
    Echo: { echo: (text) => Promise.resolve(text), ping: () => {} },
  };
  const server: Server<Api> = new Server(api);
  assertEquals(server.connections.size, 0);
});

test("a result that JSON cannot carry does not compile", () => {
  // @ts-expect-error: JSON has no Map
  new Server({ S: { f: () => new Map<string, number>() } });
  // @ts-expect-error: JSON has no Set
  new Server({ S: { f: () => new Set<string>() } });
  // @ts-expect-error: JSON has no bigint
  new Server({ S: { f: () => 1n } });
  // @ts-expect-error: JSON has no symbol
  new Server({ S: { f: () => Symbol() } });
  // @ts-expect-error: JSON has no function
  new Server({ S: { f: () => () => 1 } });
  // @ts-expect-error: only a Uint8Array is carried as bytes
  new Server({ S: { f: () => new Float64Array(1) } });
  // @ts-expect-error: only a Uint8Array is carried as bytes
  new Server({ S: { f: () => new ArrayBuffer(1) } });
});

test("a result with a member that JSON cannot carry does not compile, at any depth", () => {
  // @ts-expect-error: JSON has no Map
  new Server({ S: { f: () => ({ a: { b: [new Map<string, 1>()] } }) } });
  // @ts-expect-error: JSON has no Set
  new Server({ S: { f: () => Promise.resolve({ a: new Set<string>() }) } });
  // @ts-expect-error: JSON has no bigint
  new Server({ S: { f: (): { a?: bigint } => ({}) } });
  // @ts-expect-error: JSON has no bigint
  new Server({ S: { f: (): [string, bigint] | null => null } });
  // @ts-expect-error: JSON has no function
  new Server({ S: { f: () => ({ a: () => 1 }) } });
  // @ts-expect-error: bytes inside JSON
  new Server({ S: { f: () => ({ a: new Uint8Array(1) }) } });
  // @ts-expect-error: JSON has no Map
  new Server({ S: { f: () => ({ toJSON: () => ({ a: new Map<1, 1>() }) }) } });
  // @ts-expect-error: JSON has no bigint, deep in a service
  new Server({ A: { B: { C: { f: () => ({ a: 1n }) } } } });
  // @ts-expect-error: JSON has no function, and a class instance is made of them
  new Server({ S: { f: () => new Counter() } });
});

test("a result of a recursive type with a member that JSON cannot carry does not compile", () => {
  interface Node {
    next?: Node;
    seen: Set<Node>;
  }
  // @ts-expect-error: JSON has no Set
  new Server({ S: { f: (): Node => ({ seen: new Set() }) } });
});

test("the compiler's message names the reason", () => {
  type Seen<T> = ReturnType<Checked<{ f: () => { a: T } }>["f"]>["a"];
  holds<Equal<Seen<bigint>, NotSerializable<"JSON has no bigint">>>();
  holds<Equal<Seen<symbol>, NotSerializable<"JSON has no symbol">>>();
  holds<Equal<Seen<() => 1>, NotSerializable<"JSON has no function">>>();
  holds<Equal<Seen<Map<1, 1>>, NotSerializable<"JSON has no Map">>>();
  holds<Equal<Seen<Set<1>>, NotSerializable<"JSON has no Set">>>();
  type Bytes = NotSerializable<
    "only a Uint8Array is carried as bytes, and only as the whole value"
  >;
  holds<Equal<Seen<Uint8Array>, Bytes>>();
  holds<Equal<Seen<DataView | ArrayBuffer>, Bytes>>();
});

test("params declared with another type than arrives do not compile", () => {
  // @ts-expect-error: a Date arrives as a string
  new Server({ S: { f: (at: Date) => at.getTime() } });
  // @ts-expect-error: a Date arrives as a string
  new Server({ S: { f: (p: { at: Date }) => p.at.getTime() } });
  // @ts-expect-error: JSON has no Map
  new Server({ S: { f: (p: { m: Map<string, 1> }) => p.m.size } });
  // @ts-expect-error: JSON has no bigint
  new Server({ S: { f: (p: bigint[]) => p.length } });
  // @ts-expect-error: JSON has no function
  new Server({ S: { f: (p: () => void) => p.length } });
  // @ts-expect-error: bytes inside JSON
  new Server({ S: { f: (p: { b: Uint8Array }) => p.b.length } });
  // @ts-expect-error: undefined in an array arrives as null
  new Server({ S: { f: (p: (string | undefined)[]) => p.length } });
  const method = {
    f(p: Set<string>) {
      return p.size;
    },
  };
  // @ts-expect-error: JSON has no Set
  new Server({ S: method });
});

test("a handler with other arguments than params and context does not compile", () => {
  // @ts-expect-error: the second argument is the context
  new Server({ S: { f: (a: string, b: number) => a.length + b } });
  // @ts-expect-error: there is no third
  new Server({ S: { f: (_: string, __: CallContext, c: number) => c } });
});

test("a member that is no function does not compile, and is not served", () => {
  // @ts-expect-error: not a function
  assertThrows(() => new Server({ S: { version: 3 } }), TypeError);
  // @ts-expect-error: not a function
  assertThrows(() => new Server({ S: null }), TypeError);
  // @ts-expect-error: a class
  assertThrows(() => new Server({ Counter }), TypeError);
});

test("an instance's exposed methods are checked, its others are not", () => {
  new Server({ S: expose(new Counter(), ["add"]) });
  // @ts-expect-error: JSON has no Map
  new Server({ S: expose(new Counter(), ["seen"]) });
  // @ts-expect-error: it has no such method
  assertThrows(() => expose(new Counter(), ["take"]), TypeError);
});

class Counter {
  n = 0;
  add(by: number): number {
    return this.n += by;
  }
  seen(): Map<number, number> {
    return new Map([[this.n, 1]]);
  }
}

test("a validated method takes its schema's input and gets its output", async () => {
  const { client, close } = pair({
    Zod: { len: method(z.string().transform((s) => s.length), (n) => n + 1) },
    Valibot: {
      year: method(
        v.pipe(v.string(), v.transform((s) => new Date(s))),
        (at, ctx) => `${at.getUTCFullYear()} ${ctx.method}`,
      ),
      or: method(v.optional(v.string(), "none"), (text) => text),
    },
  });
  const n = await client.call("Zod.len", "abc");
  holds<Equal<typeof n, number>>();
  assertEquals(n, 4);
  const year = await client.call("Valibot.year", "1999-01-01");
  holds<Equal<typeof year, string>>();
  assertEquals(year, "1999 Valibot.year");
  assertEquals(await client.call("Valibot.or"), "none");
  await close();
});

test("a validated method's client cannot pass its output", async () => {
  const { client, close } = pair({
    S: { f: method(z.string().transform(Number), (n) => n) },
  });
  // @ts-expect-error: it takes a string, of which it makes the number
  await assertRejects(() => client.call("S.f", 3), RpcError);
  await close();
});

test("a validated method whose input or result cannot be sent does not compile", () => {
  // @ts-expect-error: a Date arrives as a string, so this schema refuses all
  new Server({ S: { f: method(z.object({ at: z.date() }), () => 1) } });
  // @ts-expect-error: JSON has no Map
  new Server({ S: { f: method(v.map(v.string(), v.string()), () => 1) } });
  // @ts-expect-error: JSON has no bigint
  new Server({ S: { f: method(z.string(), () => ({ a: 1n })) } });
  // @ts-expect-error: the handler takes what the schema returns
  method(z.number(), (text: string) => text);
  new Server({ S: { f: method(z.coerce.date(), (at) => at.getTime()) } });
});

test("a service may have methods called schema and handler", async () => {
  const { client, close } = pair({
    Config: { schema: () => "s", handler: (n: number) => n },
  });
  assertEquals(await client.call("Config.schema"), "s");
  assertEquals(await client.call("Config.handler", 1), 1);
  await close();
});

test("only an exact serializer turns the check of JSON off", () => {
  const encode = () => new Uint8Array();
  const decode = () => undefined;
  const services = {
    S: { f: (at: Date) => new Map([[at, { bytes: new Uint8Array(1) }]]) },
  };
  new Server(services, {
    serializer: { name: "x", wire: "exact", encode, decode },
  });
  // @ts-expect-error: it does not say that values arrive as they are
  new Server(services, { serializer: { name: "x", encode, decode } });
  const exact = { name: "x", wire: "exact" as const, encode, decode };
  assertThrows(
    // @ts-expect-error: what is no function is none with any serializer
    () => new Server({ S: 3 }, { serializer: exact }),
    TypeError,
  );
});

test("the type of a proxy lacks the members that the proxy reserves", () => {
  type Odd = {
    then: () => 1;
    toJSON: () => 1;
    toString: () => "1";
    valueOf: () => 1;
    Here: { then(): 1; on(): 1 };
  };
  holds<Equal<keyof ServiceProxy<Odd>, "Here">>();
  holds<Equal<keyof ServiceProxy<Odd>["Here"], "on">>();
});

test("a peer without types is called through the connection", async () => {
  const [near, far] = memoryPair();
  const server = new Server(services);
  server.accept(far);
  const client = new Client<typeof services>(near);
  const reply = await client.connection.call("Math.half", 4);
  holds<Equal<typeof reply, unknown>>();
  assertEquals(reply, 2);
  await client.close();
  await server.close();
});

type Json =
  | string
  | number
  | boolean
  | null
  | Json[]
  | { [key: string]: Json };
interface JsonMap {
  [key: string]: JsonNode;
}
type JsonNode =
  | string
  | number
  | boolean
  | null
  | JsonMap
  | readonly JsonNode[];
type Sparse = null | Sparse[] | { [key: string]: Sparse | undefined };

test("[X35] recursive types of JSON compile as params, results, items and members", async () => {
  const json = z.json();
  const services = {
    S: {
      alias: (value: Json): Json => value,
      named: (value: JsonNode): JsonNode => value,
      sparse: (value: Sparse): Sparse => value,
      member: (row: { at: string; more: Json; when?: Json }) => row,
      list: (rows: Json[]) => Promise.resolve(rows),
      zod: method(json, (value) => value),
      zodMember: method(
        z.object({ a: z.string().optional(), b: json }),
        (row) => row,
      ),
      async *items(): AsyncGenerator<Json> {
        yield { a: [1] };
      },
    },
  };
  new Server(services);
  const { client, close } = pair(services);
  const alias = await client.call("S.alias", { a: [1, { b: null }] });
  holds<Equal<typeof alias, Json>>();
  assertEquals(alias, { a: [1, { b: null }] });
  const named = await client.call("S.named", [{ a: 1 }]);
  holds<Equal<typeof named, JsonNode>>();
  const zod = await client.call("S.zod", { a: 1 });
  holds<Equal<typeof zod, z.core.util.JSONType>>();
  const member = await client.call("S.member", { at: "", more: [] });
  holds<
    Equal<typeof member, { at: string; more: Json; when?: Json | undefined }>
  >();
  const mixed: Wire<{ at: Date; more: Json }> = { at: "", more: [] };
  assertEquals(mixed.at, "");
  for await (const item of await client.call("S.items")) {
    holds<Equal<typeof item, Json>>();
    assertEquals(item, { a: [1] });
  }
  await close();
});

test("[X35] an Error within a value does not compile; data with its members does", () => {
  // @ts-expect-error: JSON makes {} of an Error
  new Server({ S: { f: () => new RangeError("x") } });
  // @ts-expect-error: nor is one carried deeper down
  new Server({ S: { f: () => [{ why: new Error("x") }] } });
  // @ts-expect-error: nor does one arrive
  new Server({ S: { f: (p: { why: Error }) => p.why.message } });
  // @ts-expect-error: nor is an item one
  new Server({ S: { f: (): ReadableStream<Error> => new ReadableStream() } });
  new Server({ S: { f: () => ({ name: "x", message: "y" }) } });
});

test("[X35] options, and the types of a schema, may be undefined", async () => {
  const { client, close } = pair(services);
  const none: CallOptions = {
    signal: undefined,
    timeout: undefined,
    deadline: undefined,
    ctx: undefined,
    metadata: undefined,
    transfer: undefined,
    idempotent: undefined,
  };
  assertEquals(await client.call("Math.half", 4, none), 2);
  await close();
});

test("[X44] a class instance with private members does not compile as a service", () => {
  class Secret {
    #n = 1;
    add(by: number): number {
      return this.#n += by;
    }
  }
  // @ts-expect-error: its methods are to be named with expose()
  assertThrows(() => new Server({ S: new Secret() }), TypeError, "expose(");
  new Server({ S: expose(new Secret(), ["add"]) });
  class Open {
    add(by: number): number {
      return by;
    }
  }
  // To the compiler this one is an object like any other.
  assertThrows(() => new Server({ S: new Open() }), TypeError, "expose(");
});

test("[X44] a method of two parameters does not compile", () => {
  // @ts-expect-error: a method takes one parameter
  new Server({ S: { add: (a: number, b: number) => a + b } });
  // @ts-expect-error: and the context alone behind it
  new Server({ S: { f: (_a: number, _c: CallContext, _d: number) => 1 } });
  new Server({ S: { f: (_a: number, _c?: CallContext, _d?: number) => 1 } });
  new Server({ S: { f: (_a: number, { id }: { id: number }) => id } });
});

test("[X44] the error of expose() without names says what to write", () => {
  class Counter {
    add(by: number): number {
      return by;
    }
  }
  assertThrows(
    // @ts-expect-error: the names are missing
    () => expose(new Counter()),
    TypeError,
    'Cannot expose: not a list of names, received undefined; write expose(instance, ["Hello"])',
  );
  assertThrows(
    // @ts-expect-error: one name is no list
    () => expose(new Counter(), "add"),
    TypeError,
    "received string",
  );
});

test("[X44] a client without a type calls any method, with params and result unknown", async () => {
  const [near, far] = memoryPair();
  const server = new Server(services);
  server.accept(far);
  const client = new Client(near);
  const half = await client.call("Math.half", 4);
  holds<Equal<typeof half, unknown>>();
  assertEquals(half, 2);
  const again = await client.service("Math").half(8, { timeout: 5000 });
  holds<Equal<typeof again, unknown>>();
  assertEquals(again, 4);
  const { reply } = client.go("Math.half", 2);
  holds<Equal<typeof reply, Promise<unknown>>>();
  assertEquals(await reply, 1);
  await assertRejects(() => client.call("No.such", { any: "thing" }), RpcError);
  const peer = clientOf(client.connection);
  assertEquals(await peer.call("Math.half", 2), 1);
  await client.close();
  await server.close();
});

test("[X36] what can be closed can be used with `await using`, by its type as well", () => {
  const disposable = (_: AsyncDisposable | undefined) => {};
  disposable(undefined as Client | undefined);
  disposable(undefined as ReconnectingClient | undefined);
  disposable(undefined as Server<object> | undefined);
  disposable(undefined as Connection | undefined);
  disposable(undefined as Listener | undefined);
});
