// Garbage collection: what the library must keep alive, and what it must let go.

import { assertEquals } from "@std/assert";
import { getEventListeners } from "node:events";
import process from "node:process";
import { test } from "node:test";
import {
  Client,
  connect,
  type Duplex,
  echoServices,
  listen,
  type ListenAddress,
  type Listener,
  RpcError,
  Server,
} from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { FULL } from "../support/full.ts";
import { collect, type Memory, memory } from "../support/heap.ts";
import { JsonRpcClient, JsonRpcServer } from "../../jsonrpc.ts";
import { netrpc } from "../../netrpc.ts";
import { pair } from "../support/pair.ts";
import { Held } from "../support/services.ts";

async function reasonOf(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(() => "it did not reject", (reason) => reason);
}

test("[A14] an abort arrives after a garbage collection, though only the call holds the derived signal", async () => {
  const held = new Held();
  const { client, close } = pair(held.services);
  const controllers = Array.from({ length: 100 }, () => new AbortController());
  const handles = controllers.map(({ signal }) =>
    client.go("Held.work", 1, { signal: AbortSignal.any([signal]) })
  );
  await settle();
  await collect();
  for (const [i, controller] of controllers.entries()) controller.abort(i);
  for (const [i, { reply }] of handles.entries()) {
    assertEquals(await reasonOf(reply), i);
  }
  held.release();
  await close();
});

test("[A14] a timeout signal that only its call holds fires after a garbage collection", async () => {
  const held = new Held();
  const { client, close } = pair(held.services);
  const { reply } = client.go("Held.work", 1, {
    signal: AbortSignal.timeout(1),
  });
  const reason = reasonOf(reply);
  await collect();
  // The signal's own timer does not keep the process alive.
  const alive = setInterval(() => {}, 1000);
  assertEquals((await reason as Error).name, "TimeoutError");
  clearInterval(alive);
  held.release();
  await close();
});

test("[A14] 1,000 connections share one signal: no listener is left on it, and no warning is printed", async () => {
  const warnings: Error[] = [];
  const warned = (warning: Error) => void warnings.push(warning);
  process.on("warning", warned);
  const controller = new AbortController();
  const { signal } = controller;
  const listeners = () => getEventListeners(signal, "abort").length;
  const held = new Held();
  const pairs = Array.from({ length: 1000 }, () => pair(held.services));
  const replies = pairs.map(({ client }) =>
    reasonOf(client.call("Held.work", 1, { signal }))
  );
  await settle();
  assertEquals(listeners(), 1000);
  controller.abort("all of you");
  assertEquals(new Set(await Promise.all(replies)), new Set(["all of you"]));
  assertEquals(listeners(), 0);
  held.release();
  await Promise.all(pairs.map(({ close }) => close()));
  process.off("warning", warned);
  assertEquals(warnings, []);
});

test("[M1] params and results of many calls are collected while their connection stays open", async () => {
  const { client, close } = pair(echoServices());
  const watched: WeakRef<object>[] = [];
  const watch = (value: object) => void watched.push(new WeakRef(value));
  const call = async (i: number) => {
    const params = { i, text: "x".repeat(100) };
    const result = await client.call("Echo.echo", params) as object;
    if (i % 500 === 0) {
      watch(params);
      watch(result);
    }
  };
  const count = FULL ? 1_000_000 : 20_000;
  let early: Memory | undefined;
  for (let made = 0; made < count; made += 1000) {
    const calls = Array.from({ length: 1000 }, (_, i) => call(i));
    await Promise.all(calls);
    if (made >= count / 4) early ??= await memory();
  }
  const late = await memory();
  const growth = late.live - (early as Memory).live;
  assertEquals(growth < 2_000_000, true, `${growth} bytes more are live`);
  assertEquals(watched.length, count / 1000 * 4);
  // The engine itself may keep the very last ones.
  const left = watched.filter((ref) => ref.deref() !== undefined).length;
  assertEquals(left > 2, false, `${left} are left`);
  await close();
});

// The memory of an idle connection.

interface Caller {
  call(method: "E.echo", params: unknown): Promise<unknown>;
  abort(): Promise<void>;
}

/** A server and its clients, on each protocol. */
interface Wire {
  serve(): { serve(source: Listener): unknown; close(): Promise<void> };
  call(duplex: Duplex): Caller;
}

const WIRES: Record<string, Wire> = {};

const echo = { E: { echo: (value: unknown) => value } };
const limits = { maxMessage: 3_000_000, windowBytes: 6_000_000 };

for (
  const [name, wire] of [
    ["native", undefined],
    ["net/rpc over gob", netrpc()],
    ["net/rpc over JSON", netrpc({ encoding: "json" })],
  ] as const
) {
  const options = { protocol: wire, ...limits } as object;
  WIRES[name] = {
    serve: () => new Server<object>(echo, options),
    call: (duplex) => new Client(duplex, options) as unknown as Caller,
  };
}
for (const framing of ["contentLength", "lines"] as const) {
  const options = { framing, ...limits };
  WIRES[`JSON-RPC, ${framing}`] = {
    serve: () => new JsonRpcServer<object>(echo, options),
    call: (duplex) =>
      new JsonRpcClient<object>(duplex, options) as unknown as Caller,
  };
}

/** Large enough to tell it from what a connection itself takes. */
const LARGE = 2_500_000;
const CONNECTIONS = 4;

for (
  const [what, large] of [
    ["has carried", LARGE],
    ["was too large to carry", 2 * LARGE],
  ] as const
) {
  test(`[X15] an idle connection of any protocol releases the memory of a message that it ${what}`, async () => {
    const open = async (name: string, address: ListenAddress) => {
      const caller = WIRES[name].call(await connect(address));
      const Text = name.slice(-1).repeat(large);
      const params = name.startsWith("JSON-RPC") ? [Text] : { Text };
      const outcome = await caller.call("E.echo", params).then(
        () => "has carried",
        (error) => error instanceof RpcError && "was too large to carry",
      );
      assertEquals(outcome, what);
      return caller;
    };
    const callers: Caller[] = [];
    const servers: { close(): Promise<void> }[] = [];
    const addresses: [string, ListenAddress][] = [];
    for (const name of Object.keys(WIRES)) {
      const server = WIRES[name].serve();
      const listener = await listen({ port: 0 });
      server.serve(listener);
      servers.push(server);
      addresses.push([name, listener.address]);
    }
    const openAll = async () => {
      for (const [name, address] of addresses) {
        callers.push(await open(name, address));
      }
    };
    // What the first messages leave behind is counted once.
    await openAll();
    const before = await memory();
    for (let i = 0; i < CONNECTIONS; i++) await openAll();
    const held = (await memory()).live - before.live;
    await Promise.all(callers.map((caller) => caller.abort()));
    await Promise.all(servers.map((server) => server.close()));
    // One protocol's message alone would be more.
    assertEquals(held < CONNECTIONS * LARGE, true, `${held} bytes`);
  });
}
