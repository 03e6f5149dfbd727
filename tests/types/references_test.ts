/**
 * What may stand for the result of another call in the params of a call.
 */

import { test } from "node:test";
import { assertEquals, assertRejects } from "@std/assert";
import {
  type CallHandle,
  type Client,
  type Ref,
  ref,
  type RefTo,
  RpcError,
  type UntypedRef,
} from "../../mod.ts";
import { pair } from "../support/pair.ts";
import { type Equal, holds } from "../support/type_assertions.ts";

interface User {
  readonly id: number;
  readonly name?: string;
  readonly tags: readonly string[];
  readonly boss: { readonly id: number } | null;
  readonly at: [number, string];
}

interface Tree {
  readonly value: number;
  readonly children: readonly Tree[];
}

type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

const user: User = {
  id: 7,
  name: "ada",
  tags: ["x", "y"],
  boss: { id: 1 },
  at: [3, "z"],
};

const services = {
  Users: {
    find: (_: string) => user,
    born: (_: undefined) => ({ at: new Date(0) }),
    all: async function* () {
      yield user;
    },
  },
  Echo: {
    number: (n: number) => n,
    text: (text: string | null) => text,
    query: (query: { author: number; tags?: readonly string[] }) => query,
    pair: (both: [number, string]) => both,
    tree: (tree: Tree) => tree,
    json: (json: Json) => json,
    either: (it: { kind: "a"; a: number } | { kind: "b"; b: string }) => it,
    maybe: (n?: number) => n ?? -1,
  },
};

test("a reference has the members of the result", async () => {
  const { client, close } = pair(services);
  const found = client.go("Users.find", "ada");
  const it = ref(found);
  holds<Equal<typeof it.id, Ref<number>>>();
  holds<Equal<typeof it.name, Ref<string>>>();
  holds<Equal<typeof it.tags[0], Ref<string>>>();
  holds<Equal<typeof it.boss.id, Ref<number>>>();
  // A Date has become a string.
  const born = ref(client.go("Users.born"));
  holds<Equal<typeof born.at, Ref<string>>>();
  // @ts-expect-error The result has no such member.
  it.nobody;
  // @ts-expect-error A number has no members.
  it.id.toFixed;
  // @ts-expect-error A reference cannot be awaited.
  it.then;
  await found.reply;
  await close();
});

test("a reference fits where its value fits", async () => {
  const { client, close } = pair(services);
  await client.connection.opened;
  const it = ref(client.go("Users.find", "ada"));
  const author = it.id;
  assertEquals(await client.call("Echo.number", author), 7);
  assertEquals(await client.call("Echo.text", it.name), "ada");
  assertEquals(
    await client.call("Echo.query", {
      author,
      tags: ref(client.go("Users.find", "")).tags,
    }),
    { author: 7, tags: ["x", "y"] },
  );
  const again = ref(client.go("Users.find", "ada"));
  assertEquals(await client.call("Echo.pair", [again.id, "w"]), [7, "w"]);
  const other = ref(client.go("Users.find", "ada"));
  assertEquals(await client.call("Echo.pair", other.at), [3, "z"]);
  const value = ref(client.go("Users.find", "ada")).id;
  const tree = { value: 1, children: [{ value, children: [] }] };
  assertEquals(await client.service("Echo").tree(tree), {
    value: 1,
    children: [{ value: 7, children: [] }],
  });
  const a = ref(client.go("Users.find", "ada")).id;
  assertEquals(await client.call("Echo.either", { kind: "a", a }), {
    kind: "a",
    a: 7,
  });
  const json = ref(client.go("Users.find", "ada")).tags[1];
  assertEquals(await client.call("Echo.json", [json, { json }]), ["y", {
    json: "y",
  }]);
  const maybe = ref(client.go("Users.find", "ada")).id;
  assertEquals(await client.call("Echo.maybe", maybe), 7);
  await close();
});

test("a reference does not fit where its value does not", () => {
  const refuse = (client: Client<typeof services>) => {
    const it = ref(client.go("Users.find", "ada"));
    // @ts-expect-error A number is not a text.
    client.call("Echo.text", it.id);
    // @ts-expect-error Nor is it within an object.
    client.call("Echo.query", { author: it.name });
    // @ts-expect-error A stream cannot be referred to.
    client.call("Echo.number", ref(client.go("Users.all")));
    // @ts-expect-error A promise is no reference.
    client.call("Echo.number", client.call("Echo.number", 1));
  };
  holds<Equal<typeof refuse, (client: Client<typeof services>) => void>>();
});

test("plain params are checked as before", () => {
  const refuse = (client: Client<typeof services>) => {
    // @ts-expect-error A text is not a number.
    client.call("Echo.number", "1");
    // @ts-expect-error A member is missing.
    client.call("Echo.query", {});
    // @ts-expect-error There is no such member.
    client.call("Echo.query", { author: 1, nobody: 1 });
    // @ts-expect-error The params are missing.
    client.call("Echo.number");
  };
  holds<Equal<typeof refuse, (client: Client<typeof services>) => void>>();
});

test("an untyped client has references of every shape", async () => {
  const { client, close } = pair(services);
  const untyped = client as unknown as Client;
  const handle: CallHandle = untyped.go("Users.find", "ada");
  const it = ref(handle);
  holds<Equal<typeof it, UntypedRef>>();
  const deep: UntypedRef = it.boss.id;
  assertEquals(await untyped.call("Echo.number", deep), 1);
  await assertRejects(
    () =>
      untyped.call("Echo.number", ref(untyped.go("Users.find")).boss.nobody),
    RpcError,
    '"boss.nobody"',
  );
  await close();
});

test("a reference to a union is one to any of it", () => {
  holds<Equal<Ref<string | number>, RefTo<string | number>>>();
});
