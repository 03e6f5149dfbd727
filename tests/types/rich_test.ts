/** The types of services with the serializer `rich()`: what compiles, and what arrives. */

import { test } from "node:test";
import { assertEquals, assertRejects } from "@std/assert";
import {
  type CallContext,
  type Checked,
  Client,
  memoryPair,
  method,
  type NotSerializable,
  rich,
  RpcError,
  Server,
  type ServiceProxy,
  type Wire,
} from "../../mod.ts";
import { Client as SlimClient } from "../../client.ts";
import { type Equal, holds } from "../support/type_assertions.ts";
import * as z from "zod";

const serializer = rich();

test("all that the rich serializer carries arrives with its type, at any depth", () => {
  const hidden: unique symbol = Symbol("hidden");
  interface Row {
    readonly id: bigint;
    at: Date;
    home?: URL;
    note: string | undefined;
    find: RegExp;
    seen: Map<Date, Set<bigint>>;
    readonly raw: readonly [Uint8Array, ...Float64Array[]];
    why: RangeError;
    [hidden]: true;
  }
  type RowArrived = {
    readonly id: bigint;
    at: Date;
    home?: URL;
    note: string | undefined;
    find: RegExp;
    seen: Map<Date, Set<bigint>>;
    readonly raw: readonly [
      Uint8Array<ArrayBuffer>,
      ...Float64Array<ArrayBuffer>[],
    ];
    why: Error;
  };
  holds<Equal<Wire<Row, "rich">, RowArrived>>();
  holds<Equal<Wire<{ rows: Row[] }, "rich">, { rows: RowArrived[] }>>();
  holds<
    Equal<Wire<Date | null | undefined, "rich">, Date | null | undefined>
  >();
  holds<Equal<Wire<(bigint | undefined)[], "rich">, (bigint | undefined)[]>>();
  holds<
    Equal<
      Wire<{ kind: "a"; at: Date } | { kind: "b" }, "rich">,
      { kind: "a"; at: Date } | { kind: "b" }
    >
  >();
  holds<
    Equal<
      Wire<ReadonlyMap<string, ReadonlySet<1>>, "rich">,
      Map<string, Set<1>>
    >
  >();
});

test("bytes of any class arrive in memory of their own", () => {
  holds<Equal<Wire<Uint8Array, "rich">, Uint8Array<ArrayBuffer>>>();
  holds<Equal<Wire<[Int16Array], "rich">, [Int16Array<ArrayBuffer>]>>();
  holds<Equal<Wire<{ a: DataView }, "rich">, { a: DataView<ArrayBuffer> }>>();
  holds<Equal<Wire<{ a: ArrayBuffer }, "rich">, { a: ArrayBuffer }>>();
  holds<
    Equal<Wire<BigInt64Array[], "rich">, BigInt64Array<ArrayBuffer>[]>
  >();
});

test("what rich does not change keeps its type", () => {
  type Id = string & { readonly brand: "id" };
  holds<Equal<Wire<Id, "rich">, Id>>();
  holds<Equal<Wire<{ id: Id; at: Date }, "rich">, { id: Id; at: Date }>>();
  holds<Equal<Wire<unknown, "rich">, unknown>>();
  holds<Equal<Wire<{ a: unknown }, "rich">, { a: unknown }>>();
  holds<Equal<Wire<never, "rich">, never>>();
  holds<Equal<Wire<void, "rich">, undefined>>();
  holds<
    Equal<Wire<{ a?: 1n; b: undefined }, "rich">, { a?: 1n; b: undefined }>
  >();
  // JSON and exact are as they were.
  holds<Equal<Wire<{ at: Date }>, { at: string }>>();
  holds<Equal<Wire<{ at: Map<1, 1> }, "exact">, { at: Map<1, 1> }>>();
});

test("a recursive type arrives as a recursive type", () => {
  interface Node {
    at: Date;
    next?: Node;
    children: Map<string, Node>;
  }
  type Arrived = Wire<Node, "rich">;
  const node = {} as Arrived;
  const deep = node.next?.children?.get("x")?.next?.at;
  holds<Equal<typeof deep, Date | undefined>>();
  type Tree = bigint | Tree[] | { [key: string]: Tree };
  holds<Equal<Wire<Tree, "rich">, Tree>>();
  type Dated = Date | Dated[] | Map<string, Dated> | { [key: string]: Dated };
  holds<Equal<Wire<Dated, "rich">, Dated>>();
  holds<Equal<Wire<{ all: Dated }, "rich">, { all: Dated }>>();
});

test("a service of what rich carries compiles with rich(), and not without", () => {
  const services = {
    S: {
      dates: (at: Date) => new Set([at]),
      row: (p: { raw: Uint8Array; ids: ReadonlyMap<string, bigint> }) => p,
      errors: () => [new TypeError("x")],
      optional: (p?: { a: bigint | undefined; b?: URL }) => p,
      promise: () => Promise.resolve(new Map([[1, { at: new Date(0) }]])),
      unknown: (value: unknown) => value,
      context: (_: undefined, ctx: CallContext) => BigInt(ctx.id),
      async *items(from: ReadableStream<Date>) {
        for await (const at of from) yield { at, n: 1n };
      },
      zod: method(z.object({ at: z.date() }), ({ at }) => at),
    },
  };
  new Server(services, { serializer });
  // @ts-expect-error: JSON does not carry these
  new Server(services);
});

test("a service of what rich refuses does not compile", () => {
  const options = { serializer };
  // @ts-expect-error: a function cannot be sent
  new Server({ S: { f: () => ({ a: () => 1 }) } }, options);
  // @ts-expect-error: nor as an item of a Map
  new Server({ S: { f: () => new Map([["a", () => 1]]) } }, options);
  // @ts-expect-error: nor a symbol
  new Server({ S: { f: () => [Symbol()] } }, options);
  // @ts-expect-error: nor a promise within a value
  new Server({ S: { f: () => ({ a: Promise.resolve(1) }) } }, options);
  // @ts-expect-error: nor a stream within a value
  new Server({ S: { f: () => ({ a: new ReadableStream() }) } }, options);
  // @ts-expect-error: an instance of a class is made of functions
  new Server({ S: { f: () => new Counter() } }, options);
  // @ts-expect-error: nor do params arrive with functions
  new Server({ S: { f: (p: { a: () => 1 }) => p.a() } }, options);
  // @ts-expect-error: an Error does not arrive with a class of the user
  new Server({ S: { f: (p: HttpError) => p.status } }, options);
  // @ts-expect-error: shared memory is not shared over a connection
  new Server({ S: { f: (): SharedArrayBuffer[] => [] } }, options);
  new Server({ S: { f: () => new HttpError() } }, options);
});

class Counter {
  n = 0;
  add(by: number): number {
    return this.n += by;
  }
}

class HttpError extends Error {
  status = 404;
}

test("the compiler's message names the reason", () => {
  type Seen<T> = ReturnType<
    Checked<{ f: () => { a: T } }, "rich">["f"]
  >["a"];
  holds<Equal<Seen<symbol>, NotSerializable<"a symbol cannot be sent">>>();
  holds<Equal<Seen<() => 1>, NotSerializable<"a function cannot be sent">>>();
  type Awaited = NotSerializable<"a promise cannot be sent; await it first">;
  holds<Equal<Seen<Promise<1>>, Awaited>>();
});

test("a client with rich has the types of what arrives", async () => {
  const services = {
    Log: {
      after: (at: Date) => new Map([[1n, { at, raw: new Uint8Array([1, 2]) }]]),
      async *lines(_: undefined) {
        yield { at: new Date(0), none: undefined };
      },
    },
  };
  const [near, far] = memoryPair();
  const server = new Server(services, { serializer });
  holds<Equal<typeof server, Server<typeof services, "rich">>>();
  server.accept(far);
  const client = new Client<typeof services, "rich">(near, { serializer });
  const lines = await client.call("Log.after", new Date(5));
  holds<
    Equal<
      typeof lines,
      Map<bigint, { at: Date; raw: Uint8Array<ArrayBuffer> }>
    >
  >();
  assertEquals(lines.get(1n)?.at.getTime(), 5);
  for await (const line of await client.call("Log.lines")) {
    holds<Equal<typeof line, { at: Date; none: undefined }>>();
    assertEquals(line, { at: new Date(0), none: undefined });
  }
  const log = client.service("Log");
  holds<Equal<typeof log, ServiceProxy<typeof services.Log, "rich">>>();
  assertEquals((await log.after(new Date(6))).size, 1);
  const noDate = { at: () => 1 };
  // @ts-expect-error: it takes a Date
  await assertRejects(() => client.call("Log.after", noDate), RpcError);
  await client.close();
  await server.close();
});

test("the slim client with rich has the same types", async () => {
  const services = { S: { big: (n: bigint) => [n] } };
  const [near, far] = memoryPair();
  const server = new Server(services, { serializer });
  server.accept(far);
  const client = new SlimClient<typeof services, "rich">(near, { serializer });
  const reply = await client.call("S.big", 2n);
  holds<Equal<typeof reply, bigint[]>>();
  assertEquals(reply, [2n]);
  await client.close();
  await server.close();
});

test("services with a list of serializers are checked for the richest of it", async () => {
  const services = { S: { f: (at: Date) => new Map([["at", at]]) } };
  const list = [rich(), "json"] as const;
  const server = new Server(services, { serializer: list });
  // @ts-expect-error: JSON alone carries no Map
  new Server(services, { serializer: ["json"] });
  const [near, far] = memoryPair();
  server.accept(far);
  const client = new Client<typeof services, "rich">(near, {
    serializer: list,
  });
  const at = new Date(0);
  assertEquals(await client.call("S.f", at), new Map([["at", at]]));
  await client.close();
  await server.close();
});
