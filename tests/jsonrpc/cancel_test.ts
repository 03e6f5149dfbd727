// Aborts, cancels and deadlines over JSON-RPC, for each dialect.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type CallContext, RpcError } from "../../mod.ts";
import { settle } from "../support/clock.ts";
import { faceJsonClient, faceJsonServer } from "../support/json_peer.ts";
import { Held } from "../support/services.ts";

type Remote = Record<string, (params?: unknown) => string>;

const call = (id: unknown, method: string) => ({
  jsonrpc: "2.0",
  id,
  method,
});
const cancelLsp = (id: unknown) => ({
  jsonrpc: "2.0",
  method: "$/cancelRequest",
  params: { id },
});
const cancelMcp = (requestId: unknown) => ({
  jsonrpc: "2.0",
  method: "notifications/cancelled",
  params: { requestId },
});

test("[A3] aborting a call in flight rejects at once and sends $/cancelRequest; the response frees its slot", async () => {
  const { peer, client, close } = faceJsonClient<Remote>({ dialect: "lsp" });
  const handle = client.go("f");
  const { id } = await peer.next();
  const reason = new Error("enough");
  handle.abort(reason);
  assertEquals(await handle.reply.catch((error) => error), reason);
  assertEquals(handle.outcome, "unknown");
  assertEquals(await peer.next(), cancelLsp(id));
  await settle();
  assertEquals(client.stats().inFlight, 1);
  const error = { code: -32800, message: "cancelled" };
  await peer.send({ jsonrpc: "2.0", id, error });
  assertEquals(await handle.settled, "unknown");
  assertEquals(client.stats().inFlight, 0);
  assertEquals(await close(), []);
});

test("a response that crosses the cancel gives the outcome executed", async () => {
  const { peer, client, close } = faceJsonClient<Remote>({ dialect: "lsp" });
  const handle = client.go("f");
  const { id } = await peer.next();
  handle.abort();
  await peer.send({ jsonrpc: "2.0", id, result: "done" });
  assertEquals(await handle.settled, "executed");
  assertEquals(await close(), [cancelLsp(id)]);
});

test("where no response follows a cancel, the slot is free once the cancel is sent, and a late response is dropped", async () => {
  const { peer, client, close } = faceJsonClient<Remote>({ dialect: "mcp" });
  const handle = client.go("f");
  const { id } = await peer.next();
  handle.abort();
  assertEquals(await handle.settled, "unknown");
  assertEquals(await peer.next(), cancelMcp(id));
  await settle();
  assertEquals(client.stats().inFlight, 0);
  await peer.send({ jsonrpc: "2.0", id, result: "late" });
  await settle();
  assertEquals(client.stats().lateReplies, 1);
  assertEquals(await close(), []);
});

test("aborting initialize rejects its call and sends no cancel", async () => {
  const { peer, client, close } = faceJsonClient<Remote>({ dialect: "mcp" });
  const handle = client.go("initialize", {});
  await peer.next();
  handle.abort("enough");
  assertEquals(await handle.reply.catch((reason) => reason), "enough");
  await client.notify("next");
  assertEquals(await close(), [{ jsonrpc: "2.0", method: "next" }]);
});

test("without a dialect an abort sends nothing, and the call keeps its slot until the response", async () => {
  const { peer, client, close } = faceJsonClient<Remote>({ window: 1 });
  const handle = client.go("f");
  const { id } = await peer.next();
  handle.abort();
  const next = client.call("g");
  await settle();
  assertEquals(client.stats().queued, 1);
  await peer.send({ jsonrpc: "2.0", id, result: "done" });
  assertEquals(await handle.settled, "executed");
  const { id: second, method } = await peer.next();
  assertEquals(method, "g");
  await peer.send({ jsonrpc: "2.0", id: second, result: "x" });
  assertEquals(await next, "x");
  assertEquals(await close(), []);
});

test("[A1] [A2] a call aborted before it is made, or while it waits for the window, is not sent", async () => {
  const { peer, client, close } = faceJsonClient<Remote>({
    dialect: "lsp",
    window: 1,
  });
  const before = client.go("a", [], { signal: AbortSignal.abort("early") });
  assertEquals(await before.settled, "not_sent");
  const first = client.call("f");
  const waiting = client.go("b");
  waiting.abort();
  assertEquals(await waiting.settled, "not_sent");
  const { id, method } = await peer.next();
  assertEquals(method, "f");
  await peer.send({ jsonrpc: "2.0", id, result: "x" });
  assertEquals(await first, "x");
  assertEquals(await close(), []);
});

test("[A8] a deadline is kept by the caller, and cancels the call at the peer", async () => {
  const { peer, client, clock, close } = faceJsonClient<Remote>({
    dialect: "lsp",
  });
  const late = client.call("f", [], { timeout: 500 });
  const { id, ...rest } = await peer.next();
  assertEquals(rest, { jsonrpc: "2.0", method: "f", params: [] });
  const rejected = assertRejects(() => late, RpcError);
  await clock.advance(501);
  const { code, outcome } = await rejected;
  assertEquals([code, outcome], ["deadline_exceeded", "unknown"]);
  assertEquals(await peer.next(), cancelLsp(id));
  await peer.send({ jsonrpc: "2.0", id, result: "late" });
  await settle();
  assertEquals(await close(), []);
});

test("$/cancelRequest fires the handler's signal, and the call is answered", async () => {
  const held = new Held();
  const { peer, close } = faceJsonServer(held.services, { dialect: "lsp" });
  await peer.send(call("a", "Held.work"));
  await settle();
  const { ctx, reject } = held.calls[0];
  assert(!ctx.signal.aborted);
  await peer.send(cancelLsp("a"), cancelLsp("b"), cancelLsp(null));
  await settle();
  assertEquals(ctx.signal.reason.code, "cancelled");
  reject(ctx.signal.reason);
  const { id, error } = await peer.next();
  assertEquals([id, error.code], ["a", -32800]);
  assertEquals(await close(), []);
});

test("a call cancelled while it waits for a free handler is answered at once and never started", async () => {
  const held = new Held();
  const options = { dialect: "lsp", maxRunning: 1 } as const;
  const { peer, close } = faceJsonServer(held.services, options);
  await peer.send(call(1, "Held.work"), call(2, "Held.work"), cancelLsp(2));
  const { id, error } = await peer.next();
  assertEquals([id, error.code], [2, -32800]);
  held.release("x");
  assertEquals((await peer.next()).id, 1);
  assertEquals(held.calls.length, 1);
  assertEquals(await close(), []);
});

test("notifications/cancelled fires the handler's signal, and no response follows, not even in a batch", async () => {
  const held = new Held();
  const { peer, connection, close } = faceJsonServer(held.services, {
    dialect: "mcp",
    maxRunning: 2,
  });
  await peer.send(call(1, "Held.work"));
  await peer.send([call(2, "Held.work"), call(3, "Held.echo")]);
  await settle();
  await peer.send(cancelMcp(1), cancelMcp(2));
  await settle();
  assert(held.calls.every(({ ctx }) => ctx.signal.aborted));
  held.release("too late");
  assertEquals(await peer.next(), [{ jsonrpc: "2.0", id: 3, result: null }]);
  await settle();
  assertEquals(connection.stats().receiving, 0);
  assertEquals(await close(), []);
});

/** What a handler may fail with after its signal has fired. */
const ABORTS: readonly [string, (signal: AbortSignal) => Promise<unknown>][] = [
  [
    "a timer of node:timers/promises",
    (signal) => sleep(1 << 30, undefined, { signal }),
  ],
  [
    "an AbortError of its own",
    (signal) =>
      aborted(signal).then(() => {
        throw new DOMException("stopped", "AbortError");
      }),
  ],
  [
    "the signal's reason",
    (signal) =>
      aborted(signal).then(() => {
        throw signal.reason;
      }),
  ],
];

for (const [what, wait] of ABORTS) {
  for (const dialect of ["lsp", "mcp"] as const) {
    test(`[X25] a cancelled handler that fails with ${what} counts as cancelled, and onError is not called (${dialect})`, async () => {
      const services = {
        wait: (_: unknown, ctx: CallContext) => wait(ctx.signal),
        echo: () => "x",
      };
      const { peer, errors, close } = faceJsonServer(services, { dialect });
      await peer.send(call(1, "wait"));
      await settle();
      await peer.send(
        dialect === "lsp" ? cancelLsp(1) : cancelMcp(1),
        call(2, "echo"),
      );
      const codes: unknown[] = [];
      let message = await peer.next();
      for (; message.id !== 2; message = await peer.next()) {
        codes.push(message.error.code);
      }
      codes.push(
        ...(await close() as { error: { code: number } }[]).map((m) =>
          m.error.code
        ),
      );
      assertEquals(codes, dialect === "lsp" ? [-32800] : []);
      assertEquals(errors, []);
    });
  }
}

test("[X25] an AbortError without a cancel is an internal error, and reported to onError", async () => {
  const services = {
    wait: () => Promise.reject(new DOMException("stopped", "AbortError")),
  };
  const { peer, errors, close } = faceJsonServer(services, { dialect: "lsp" });
  await peer.send(call(1, "wait"));
  assertEquals((await peer.next()).error.code, -32603);
  assertEquals(errors.length, 1);
  assertEquals(await close(), []);
});

function aborted(signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve) => signal.addEventListener("abort", resolve));
}

test("the server ignores a cancel of initialize", async () => {
  const held = new Held();
  const services = { initialize: held.services.Held.work };
  const { peer, close } = faceJsonServer(services, { dialect: "mcp" });
  await peer.send(call(1, "initialize"), cancelMcp(1));
  await settle();
  assert(!held.calls[0].ctx.signal.aborted);
  held.release("ready");
  assertEquals((await peer.next()).result, "ready");
  assertEquals(await close(), []);
});

test("malformed cancels do no harm", async () => {
  const { peer, close } = faceJsonServer({ f: () => "x" }, { dialect: "lsp" });
  for (const params of [undefined, [], [1], "x", { id: {} }, { x: 1 }, null]) {
    await peer.send({ jsonrpc: "2.0", method: "$/cancelRequest", params });
  }
  await peer.send(call(1, "f"));
  for (;;) {
    const { id, result } = await peer.next();
    if (id === null) continue;
    assertEquals([id, result], [1, "x"]);
    break;
  }
  assertEquals(await close(), []);
});
