/** The types of bodies: what compiles, and what arrives. */

import { test } from "node:test";
import { assertEquals } from "@std/assert";
import {
  type CallContext,
  type Client,
  messages,
  method,
  type ResultOf,
  Server,
  type Wire,
  type WithBody,
  withBody,
} from "../../mod.ts";
import { pair } from "../support/pair.ts";
import { type Equal, holds } from "../support/type_assertions.ts";
import * as v from "valibot";

test("a result with a body arrives as its value and a ReadableStream", async () => {
  const services = {
    S: {
      load: (n: number) =>
        withBody({ at: new Date(n) }, ReadableStream.from([new Date(n)])),
      later: async (n: number) => {
        await undefined;
        return withBody(n, messages(ReadableStream.from([new Uint8Array(n)])));
      },
    },
  };
  new Server(services);
  type Loaded = ResultOf<typeof services.S.load>;
  holds<Equal<Loaded["value"], { at: string }>>();
  holds<Equal<Loaded["body"], ReadableStream<string>>>();
  type Later = ResultOf<typeof services.S.later>;
  holds<Equal<Later["value"], number>>();
  holds<Equal<Later["body"], ReadableStream<Uint8Array<ArrayBuffer>>>>();
  holds<
    Equal<Wire<WithBody<Date, Date>, "rich">["body"], ReadableStream<Date>>
  >();
  const { client, close } = pair(services);
  const { value, body } = await client.call("S.load", 0);
  const at: string = value.at;
  assertEquals(at, "1970-01-01T00:00:00.000Z");
  assertEquals(await Array.fromAsync(body), [at]);
  await close();
});

test("an object with a value and a body is no result with a body", () => {
  type Plain = { value: number; body: string };
  holds<Equal<Wire<Plain>, Plain>>();
  new Server({ S: { plain: (): Plain => ({ value: 1, body: "x" }) } });
});

test("a handler declares the items of its body", () => {
  const schema = v.object({ name: v.string() });
  const services = {
    S: {
      async save(_: { name: string }, ctx: CallContext<Uint8Array>) {
        let size = 0;
        for await (const chunk of ctx.body ?? []) size += chunk.length;
        return size;
      },
      checked: method(schema, async ({ name }, ctx: CallContext<string>) => {
        const items: string[] = await Array.fromAsync(ctx.body ?? []);
        return [name, ...items];
      }),
      any: (_: undefined, { body }: CallContext) => {
        holds<Equal<typeof body, ReadableStream<unknown> | undefined>>();
      },
    },
  };
  new Server(services);
  holds<
    Equal<
      Parameters<Client<typeof services>["call"]>[0],
      "S.save" | "S.checked" | "S.any"
    >
  >();
});

test("a value or an item that cannot be sent does not compile", () => {
  // @ts-expect-error: JSON has no Map
  new Server({ S: { f: () => withBody(new Map(), ReadableStream.from([1])) } });
  // @ts-expect-error: JSON has no bigint
  new Server({ S: { f: () => withBody(1, ReadableStream.from([1n])) } });
  new Server({
    S: {
      // @ts-expect-error: a body is carried only as the whole of a result
      f: () => ({ inner: withBody(1, ReadableStream.from([1])) }),
    },
  });
});
