/**
 * What a client's types say of the services at the other end. The tests run
 * too, so that the types are held against what really arrives.
 */

import { test } from "node:test";
import { assertEquals, assertRejects } from "@std/assert";
import {
  type CallContext,
  type CallHandle,
  type CallOptions,
  Client,
  expose,
  memoryPair,
  type MethodName,
  type ParamsOf,
  RpcError,
  Server,
  type ServiceProxy,
  type Wire,
} from "../../mod.ts";
import { pair } from "../support/pair.ts";
import {
  type services,
  services as served,
  type Tree,
} from "./typed_services.ts";
import { type Equal, holds } from "../support/type_assertions.ts";

test("method names are the dotted paths of every function", () => {
  holds<
    Equal<
      MethodName<typeof services>,
      "Users.find" | "Users.grow" | "Users.admin.drop" | "Math.half"
    >
  >();
  holds<Equal<MethodName<{ ping: () => void }>, "ping">>();
  holds<
    Equal<
      MethodName<{ "acme.v1": { Greeter: { hi(): string } } }>,
      "acme.v1.Greeter.hi"
    >
  >();
});

test("a client knows services by their imported type alone", async () => {
  const { client, close } = pair(served);
  const typed: Client<typeof services> = client;
  const user = await typed.call("Users.find", 7);
  holds<Equal<typeof user, { id: number; born: string; asked: string }>>();
  assertEquals(user, {
    id: 7,
    born: "1970-01-01T00:00:00.000Z",
    asked: "Users.find",
  });
  const dropped = await typed.call("Users.admin.drop", 7);
  holds<Equal<typeof dropped, undefined>>();
  assertEquals(dropped, undefined);
  await close();
});

test("a type that contains itself arrives as itself", async () => {
  const { client, close } = pair(served);
  const tree = await client.call("Users.grow", { name: "leaf" });
  const name: string | undefined = tree.children?.[0].children?.[0].name;
  const same: Tree = tree;
  assertEquals(name, undefined);
  assertEquals(same, { name: "root", children: [{ name: "leaf" }] });
  await close();
});

test("a call of a method that does not exist does not compile", async () => {
  const { client, close } = pair(served);
  // @ts-expect-error: there is no such method
  await assertRejects(() => client.call("Users.lose", 1), RpcError);
  // @ts-expect-error: a service is not a method
  await assertRejects(() => client.call("Users", 1), RpcError);
  // @ts-expect-error: what an object inherits is not a method
  await assertRejects(() => client.call("toString"), RpcError);
  // @ts-expect-error: there is no such service
  client.service("Nobody");
  await close();
});

test("a method whose service has dots in its key is found by its whole name", async () => {
  const { client, close } = pair({
    "acme.v1": { Greeter: { hi: (name: string) => `hi ${name}` } },
  });
  const greeting = await client.call("acme.v1.Greeter.hi", "x");
  holds<Equal<typeof greeting, string>>();
  assertEquals(greeting, "hi x");
  await close();
});

test("params are required, optional or absent as the handler declares them", async () => {
  const { client, close } = pair({
    S: {
      none: () => 1,
      one: (_text: string) => 1,
      maybe: (_text?: string) => 1,
      either: (_text: string | undefined) => 1,
      whatever: (_value: unknown) => 1,
      context: (_value: undefined, ctx: CallContext) => ctx.id,
    },
  });
  await client.call("S.none");
  await client.call("S.none", undefined, { timeout: 1000 });
  await client.call("S.one", "x");
  await client.call("S.maybe");
  await client.call("S.maybe", "x");
  await client.call("S.either");
  await client.call("S.whatever");
  await client.call("S.whatever", { any: ["thing"] });
  await client.call("S.context");
  // @ts-expect-error: it takes no params
  await client.call("S.none", "x");
  // @ts-expect-error: it needs params
  await client.call("S.one");
  // @ts-expect-error: it takes a string
  await client.call("S.one", 1);
  // @ts-expect-error: options come behind params
  await client.call("S.none", { timeout: 1000 });
  // @ts-expect-error: there is no such option
  await client.call("S.one", "x", { patience: 1 });
  const options: CallOptions = { metadata: { a: "b" }, transfer: true };
  await client.call("S.one", "x", options);
  await close();
});

test("callers see no difference between sync, async and void handlers", async () => {
  const { client, close } = pair({
    S: {
      sync: (): number => 1,
      async: () => Promise.resolve(1),
      nothing: () => {},
      later: () => Promise.resolve(),
      mixed: (now: boolean): number | Promise<string> =>
        now ? 1 : Promise.resolve("x"),
    },
  });
  const sync = client.call("S.sync");
  const async = client.call("S.async");
  const nothing = client.call("S.nothing");
  const later = client.call("S.later");
  const mixed = client.call("S.mixed", false);
  holds<Equal<typeof sync, Promise<number>>>();
  holds<Equal<typeof async, Promise<number>>>();
  holds<Equal<typeof nothing, Promise<undefined>>>();
  holds<Equal<typeof later, Promise<undefined>>>();
  holds<Equal<typeof mixed, Promise<string | number>>>();
  const replies = await Promise.all([sync, async, nothing, later, mixed]);
  assertEquals(replies, [1, 1, undefined, undefined, "x"]);
  await close();
});

test("the type of what arrives is what JSON makes of what was sent", () => {
  const hidden: unique symbol = Symbol("hidden");
  interface Row {
    readonly id: number;
    at: Date;
    home: URL;
    note: string | undefined;
    tag?: "a" | "b";
    gone: undefined;
    [hidden]: true;
  }
  type RowArrived = {
    readonly id: number;
    at: string;
    home: string;
    note?: string;
    tag?: "a" | "b";
    gone?: never;
  };
  holds<Equal<Wire<Row>, RowArrived>>();
  holds<Equal<Wire<{ rows: Row[] }>, { rows: RowArrived[] }>>();
  holds<Equal<Wire<[Date, ...number[]]>, [string, ...number[]]>>();
  holds<Equal<Wire<readonly Date[]>, readonly string[]>>();
  holds<Equal<Wire<(number | undefined)[]>, (number | null)[]>>();
  holds<Equal<Wire<Date | null | undefined>, string | null | undefined>>();
  holds<Equal<Wire<Record<string, Date>>, Record<string, string>>>();
  holds<
    Equal<
      Wire<{ kind: "a"; at: Date } | { kind: "b" }>,
      { kind: "a"; at: string } | { kind: "b" }
    >
  >();
});

test("what JSON does not change keeps its type", () => {
  type Id = string & { readonly brand: "id" };
  type Tagged = "x" | "y" | 3 | true | null;
  holds<Equal<Wire<Id>, Id>>();
  holds<Equal<Wire<{ id: Id }>, { id: Id }>>();
  holds<Equal<Wire<Tagged>, Tagged>>();
  holds<Equal<Wire<`v${number}`>, `v${number}`>>();
  holds<Equal<Wire<unknown>, unknown>>();
  holds<Equal<Wire<{ a: unknown }>, { a: unknown }>>();
  holds<Equal<Wire<never>, never>>();
  holds<Equal<Wire<{ a: [1, [2, "3"]] }>, { a: [1, [2, "3"]] }>>();
});

test("bytes arrive as bytes that belong to the receiver", async () => {
  const { client, close } = pair({
    S: { bytes: (b: Uint8Array): Uint8Array | undefined => b },
  });
  const reply = await client.call("S.bytes", new Uint8Array([1, 2]));
  holds<Equal<typeof reply, Uint8Array<ArrayBuffer> | undefined>>();
  assertEquals(reply, new Uint8Array([1, 2]));
  await close();
});

test("the proxy of a service has its methods, with types", async () => {
  const { client, close } = pair(served);
  const users = client.service("Users");
  holds<Equal<typeof users, ServiceProxy<typeof served.Users>>>();
  const user = await users.find(1, { timeout: 1000 });
  holds<Equal<typeof user.born, string>>();
  const dropped = await users.admin.drop(1);
  holds<Equal<typeof dropped, undefined>>();
  assertEquals(await client.service("Math").half(4), 2);
  // @ts-expect-error: it takes a number
  await users.find("1");
  // @ts-expect-error: there is no such method
  await assertRejects(() => users.lose(1), RpcError);
  await close();
});

test("a handle's reply has the method's result", async () => {
  const { client, close } = pair(served);
  const handle = client.go("Users.find", 1);
  holds<
    Equal<
      typeof handle,
      CallHandle<{ id: number; born: string; asked: string }>
    >
  >();
  // @ts-expect-error: it takes a number
  const wrong = client.go("Users.find", "1");
  assertEquals((await handle.reply).id, 1);
  assertEquals(await wrong.settled, "executed");
  await close();
});

test("an exposed instance has the named methods, and no other", async () => {
  class Counter {
    n = 0;
    add(by: number): number {
      return this.n += by;
    }
    reset(): void {
      this.n = 0;
    }
  }
  const { client, close } = pair({
    Counter: expose(new Counter(), ["add"]),
  });
  const n = await client.call("Counter.add", 2);
  holds<Equal<typeof n, number>>();
  assertEquals(n, 2);
  // @ts-expect-error: not exposed
  await assertRejects(() => client.call("Counter.reset"), RpcError);
  await close();
});

test("with an exact serializer the client gets the declared types", async () => {
  const serializer = exactDates;
  const services = { S: { next: (at: Date) => new Date(at.getTime() + 1) } };
  const [near, far] = memoryPair();
  const server = new Server(services, { serializer });
  server.accept(far);
  const client = new Client<typeof services, "exact">(near, { serializer });
  const next = await client.call("S.next", new Date(1));
  holds<Equal<typeof next, Date>>();
  assertEquals(next, new Date(2));
  const again = await client.service("S").next(next);
  holds<Equal<typeof again, Date>>();
  await client.close();
  await server.close();
});

/** Carries dates alone, and says that they arrive as they are. */
const exactDates = {
  name: "dates",
  wire: "exact" as const,
  encode: (value: unknown) =>
    new TextEncoder().encode(String((value as Date).getTime())),
  decode: (bytes: Uint8Array) =>
    new Date(Number(new TextDecoder().decode(bytes))),
};

test("no type of a call is any", () => {
  type IsAny<T> = 0 extends (1 & T) ? true : false;
  holds<Equal<IsAny<ParamsOf<typeof services.Math.half>>, false>>();
  holds<Equal<IsAny<Wire<unknown>>, false>>();
  holds<Equal<ParamsOf<() => void>, undefined>>();
  holds<Equal<ParamsOf<(a?: number) => void>, number | undefined>>();
});
