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
  type Checked,
  Client,
  expose,
  memoryPair,
  method,
  type NotSerializable,
  RpcError,
  Server,
  type ServiceProxy,
} from "../mod.ts";
import { pair } from "./support/pair.ts";
import { type Equal, holds } from "./support/types.ts";
import { services } from "./support/typed_services.ts";
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

test("a result that JSON does not carry does not compile", () => {
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

test("nor does one that has such a member anywhere", () => {
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

test("nor does one of a type that contains itself and such a member", () => {
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

test("params declared otherwise than they arrive do not compile", () => {
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

test("a handler takes params and a context, nothing else", () => {
  // @ts-expect-error: the second argument is the context
  new Server({ S: { f: (a: string, b: number) => a.length + b } });
  // @ts-expect-error: there is no third
  new Server({ S: { f: (_: string, __: CallContext, c: number) => c } });
});

test("what is no function does not compile, nor is it served", () => {
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

test("a validated method's input and result must survive the wire", () => {
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

test("an exact serializer turns the check off, another one does not", () => {
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

test("a proxy's type has none of the members that its object denies", () => {
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

test("an untyped peer is reached through the connection", async () => {
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
