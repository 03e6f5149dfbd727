// What the collector may take, and what it must not.

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

test("[A14] an abort arrives though only its call holds the signal made of it, after a collection", async () => {
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

test("[A14] a signal that only its call holds times out after a collection", async () => {
  const held = new Held();
  const { client, close } = pair(held.services);
  const { reply } = client.go("Held.work", 1, {
    signal: AbortSignal.timeout(1),
  });
  const reason = reasonOf(reply);
  await collect();
  // The signal's own timer keeps no process alive.
  const alive = setInterval(() => {}, 1000);
  assertEquals((await reason as Error).name, "TimeoutError");
  clearInterval(alive);
  held.release();
  await close();
});

test("[A14] 1,000 connections share one signal: nothing is left on it, and nobody is warned", async () => {
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

test("[M1] a great many calls on a connection that stays open: params and results are let go", async () => {
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
  // The engine itself may hold on to the very last.
  const left = watched.filter((ref) => ref.deref() !== undefined).length;
  assertEquals(left > 2, false, `${left} are left`);
  await close();
});

// What an idle connection holds.

interface Caller {
  call(method: "E.echo", params: unknown): Promise<unknown>;
  abort(): Promise<void>;
}

/** A server and its callers that speak each of the wires. */
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

/** Long enough to be told from what a connection itself takes. */
const LARGE = 2_500_000;
const CONNECTIONS = 4;

for (
  const [what, large] of [
    ["has carried", LARGE],
    ["was too large to carry", 2 * LARGE],
  ] as const
) {
  test(`[X15] an idle connection of any wire lets go of a message that it ${what}`, async () => {
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
    // Whatever the first ones leave behind is there once.
    await openAll();
    const before = await memory();
    for (let i = 0; i < CONNECTIONS; i++) await openAll();
    const held = (await memory()).live - before.live;
    await Promise.all(callers.map((caller) => caller.abort()));
    await Promise.all(servers.map((server) => server.close()));
    // One wire's alone would be more.
    assertEquals(held < CONNECTIONS * LARGE, true, `${held} bytes`);
  });
}
