/** Which functions of the services can be called. */

import { test } from "node:test";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { expose, method, Server } from "../../mod.ts";
import { pair } from "../support/pair.ts";
import * as v from "valibot";

/** Names what to write instead, in the words of the documentation. */
const EXPOSE = 'expose(instance, ["Hello"])';

/** Returns the text of the TypeError with which a server refuses these services. */
function refused(services: object): string {
  // Types would refuse most of these; this is about those who have none.
  return assertThrows(() => new Server<object>(services), TypeError).message;
}

class Greeter {
  greeting = "hello";
  Hello(name: string): string {
    return `${this.greeting}:${name}`;
  }
}

test("functions of nested plain objects are served by their dotted names", async () => {
  const { client, close } = pair({
    ping: () => "pong",
    A: { f: () => "A.f", B: { f: () => "A.B.f" } },
    "c.d": { "e.f": () => "c.d.e.f" },
  });
  assertEquals(await client.call("ping"), "pong");
  assertEquals(await client.call("A.f"), "A.f");
  assertEquals(await client.call("A.B.f"), "A.B.f");
  assertEquals(await client.call("c.d.e.f"), "c.d.e.f");
  await close();
});

test("an object without a prototype is a service", async () => {
  const bare: { f: () => number } = Object.create(null);
  bare.f = () => 1;
  const { client, close } = pair({ Bare: bare });
  assertEquals(await client.call("Bare.f"), 1);
  await close();
});

test("a handler is called as a method of the object in which it was written", async () => {
  const { client, close } = pair({
    A: {
      name: () => "A",
      own(): string {
        return this.name();
      },
    },
  });
  assertEquals(await client.call("A.own"), "A");
  await close();
});

test("[H6] a class instance is refused, and the error names expose", () => {
  const text = refused({ A: { Greeter: new Greeter() } });
  assert(text.includes("A.Greeter") && text.includes(EXPOSE), text);
  assert(refused(new Greeter()).includes(EXPOSE));
  for (const odd of [new Map(), [() => 1], new Date(), Promise.resolve()]) {
    assert(refused({ odd }).includes(EXPOSE));
  }
});

test("[H6] a class is refused, and the error names expose", () => {
  const text = refused({ Greeter });
  assert(text.includes("Greeter") && text.includes(EXPOSE), text);
  assert(refused({ A: { B: class {} } }).includes("A.B"));
});

test("[H6] getters and setters are refused and never run", () => {
  let ran = 0;
  const getter = {
    A: {
      get f() {
        ran++;
        return () => 1;
      },
    },
  };
  const setter = {
    set f(_: unknown) {
      ran++;
    },
  };
  const text = refused(getter);
  assert(text.includes("A.f") && text.includes(EXPOSE), text);
  assert(refused(setter).includes(EXPOSE));
  assertEquals(ran, 0);
});

test("[H6] inherited members are refused, also those of a plain object", () => {
  const base = { inherited: () => 1 };
  const heir = Object.assign(Object.create(base), { own: () => 2 });
  assert(refused({ Heir: heir }).includes(EXPOSE));
});

test("[H6] members that are not functions are refused by name and type", () => {
  for (const odd of [3, "x", true, null, undefined, 1n, Symbol()]) {
    const text = refused({ A: { odd } });
    assert(text.includes("A.odd") && text.includes("not a function"), text);
    assert(text.includes(odd === null ? "null" : typeof odd), text);
  }
});

test("[H6] symbols and members that are not enumerable are not served", async () => {
  const services = { A: { f: () => 1, [Symbol("g")]: () => 2 } };
  Object.defineProperty(services.A, "hidden", { value: () => 3 });
  const { client, close } = pair(services);
  assertEquals(await client.call("A.f"), 1);
  const handle = client.connection.go("A.hidden");
  assertEquals(await handle.settled, "refused");
  await close();
});

test("[H6] services that contain themselves are refused", () => {
  const cycle: Record<string, unknown> = { f: () => 1 };
  cycle.A = { cycle };
  assert(refused({ cycle }).includes("cycle.A.cycle"));
});

test("one service under two names is served under both", async () => {
  const shared = { f: () => 1 };
  const { client, close } = pair({ A: shared, B: { C: shared } });
  assertEquals(await client.call("A.f"), 1);
  assertEquals(await client.call("B.C.f"), 1);
  await close();
});

test("[H6] two methods of the same name are refused", () => {
  const text = refused({ a: { b: () => 1 }, "a.b": () => 2 });
  assert(text.includes("a.b") && text.includes("two methods"), text);
  refused({ "a.b": { c: () => 1 }, a: { "b.c": () => 2 } });
  const validated = method(v.string(), (s) => s);
  refused({ a: { b: validated }, "a.b": validated });
});

test("methods that are called class, or have an empty name, are served", async () => {
  const { client, close } = pair({
    class() {
      return 1;
    },
    "": { f: () => 2 },
  });
  assertEquals(await client.call("class"), 1);
  assertEquals(await client.call(".f"), 2);
  await close();
});

test("later changes to the services have no effect", async () => {
  const services: { A: Record<string, () => number> } = { A: { f: () => 1 } };
  const { client, close } = pair(services);
  services.A.f = () => 2;
  services.A.g = () => 3;
  assertEquals(await client.connection.call("A.f"), 1);
  assertEquals(await client.connection.go("A.g").settled, "refused");
  delete services.A.f;
  assertEquals(await client.connection.call("A.f"), 1);
  await close();
});

test("expose binds the named methods to their instance, and serves no others", async () => {
  class Loud extends Greeter {
    #secret = 1;
    secret(): number {
      return this.#secret;
    }
    more(): number {
      return 2;
    }
  }
  const loud = new Loud();
  const { client, close } = pair({ Loud: expose(loud, ["Hello", "secret"]) });
  loud.greeting = "HELLO";
  assertEquals(await client.call("Loud.Hello", "x"), "HELLO:x");
  assertEquals(await client.call("Loud.secret"), 1);
  const other = client.connection.go("Loud.more");
  assertEquals(await other.settled, "refused");
  await close();
});

test("[H6] expose refuses what is not a method of the instance", () => {
  const names = ["greeting", "missing", "toString", "constructor", "__proto__"];
  for (const name of names) {
    const error = assertThrows(
      () => expose(new Greeter(), [name] as unknown as ["Hello"]),
      TypeError,
    );
    assert(error.message.includes(name), error.message);
  }
});

test("what expose returns can stand beside other methods", async () => {
  const service = { ...expose(new Greeter(), ["Hello"]), ping: () => "pong" };
  const { client, close } = pair({ Greeter: service });
  assertEquals(await client.call("Greeter.Hello", "x"), "hello:x");
  assertEquals(await client.call("Greeter.ping"), "pong");
  await close();
});
