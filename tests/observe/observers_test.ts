/** Hooks at the start and the end of calls, and the diagnostics channels. */

import * as channels from "node:diagnostics_channel";
import { test } from "node:test";
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  type CallObserver,
  Client,
  clientMiddleware,
  diagnostics,
  memoryPair,
  type ObservedCall,
  observers,
  RpcError,
  Server,
} from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";
import { Reconnecting, sendGoaway } from "../support/dials.ts";
import { pair } from "../support/pair.ts";
import { hello, KIND, RawPeer, reply, request } from "../support/raw_peer.ts";
import { Held } from "../support/services.ts";

const services = {
  S: {
    echo: (value: unknown) => value,
    fail: (_: null) => {
      throw new RpcError("out_of_luck", "as asked");
    },
    broken: (_: null) => {
      throw new Error("secret");
    },
  },
};

/** Notes each start, and each end with its code and outcome. */
class Notes implements CallObserver {
  readonly lines: string[] = [];
  readonly ended: ObservedCall[] = [];

  readonly start = ({ side, method, id, code, outcome }: ObservedCall) => {
    this.lines.push(`${side} ${method} ${id} began ${code} ${outcome}`);
  };

  readonly end = (call: ObservedCall) => {
    const { side, method, id, code, outcome } = call;
    this.ended.push(call);
    this.lines.push(`${side} ${method} ${id} ended ${code} ${outcome}`);
  };

  /** The code and the outcome of each call that ended. */
  get ends(): unknown[] {
    return this.ended.map(({ code, outcome }) => [code, outcome]);
  }

  get items(): unknown[] {
    return this.ended.map(({ items }) => items);
  }
}

function observed() {
  const near = new Notes();
  const far = new Notes();
  const made = pair(services, {
    client: { observe: observers(near) },
    server: { observe: observers(far) },
  });
  return { ...made, near, far };
}

const ignore = () => {};

test("observers of client and server get the start and then the end of a call", async () => {
  const { client, near, far, close } = observed();
  await client.call("S.echo", "x");
  await settle();
  assertEquals(near.lines, [
    "client S.echo undefined began undefined undefined",
    "client S.echo 1 ended ok executed",
  ]);
  assertEquals(far.lines, [
    "server S.echo 1 began undefined undefined",
    "server S.echo 1 ended ok executed",
  ]);
  await close();
});

test("observers of both sides get the code and the outcome of a call, however it ends", async () => {
  const { client, near, far, close } = observed();
  await client.call("S.fail", null).catch(ignore);
  await client.call("S.broken", null).catch(ignore);
  await client.call("S.none" as "S.echo", 1).catch(ignore);
  await client.call("S.echo", 1n).catch(ignore);
  const reason = new Error("not wanted");
  await client.call("S.echo", 1, { signal: AbortSignal.abort(reason) })
    .catch(ignore);
  await client.call("S.echo", 1, { timeout: NaN }).catch(ignore);
  await client.call("S.echo", 1, { timeout: 0 }).catch(ignore);
  await settle();
  assertEquals(near.ends, [
    ["out_of_luck", "executed"],
    ["internal", "executed"],
    ["not_found", "refused"],
    ["invalid_argument", "not_sent"],
    ["cancelled", "not_sent"],
    ["invalid_argument", "not_sent"],
    ["deadline_exceeded", "not_sent"],
  ]);
  assertEquals(near.ended[4].error, reason);
  assertEquals(far.ends, [
    ["out_of_luck", "executed"],
    ["internal", "executed"],
    ["not_found", "refused"],
  ]);
  assertEquals((far.ended[1].error as Error).message, "the handler failed");
  await close();
});

test("observers of both sides get the same numbers of bytes, which are those on the wire", async () => {
  const { client, near, far, close } = observed();
  await client.call("S.echo", "x".repeat(100));
  await client.call("S.fail", null).catch(ignore);
  await settle();
  const bytes = ({ ended }: Notes) =>
    ended.map(({ requestBytes, replyBytes }) => [requestBytes, replyBytes]);
  // Request: header 12, method 2 + 6, payload 1 + 100. Reply: header and payload.
  assertEquals(bytes(near)[0], [121, 113]);
  assertEquals(bytes(near), bytes(far));
  await close();
});

test("the duration of a call is how long its caller waited, or on a server from arrival to reply; it is fixed at the end", async () => {
  const clock = new TestClock();
  const held = new Held();
  const notes = new Notes();
  const { client, close } = pair(held.services, {
    client: { clock, observe: observers(notes) },
    server: { clock, observe: observers(notes), maxRunning: 1 },
  });
  const calls = [1, 2].map((n) => client.call("Held.work", n));
  await settle();
  await clock.advance(30);
  held.release();
  await settle();
  await clock.advance(12);
  held.release();
  await Promise.all(calls);
  await clock.advance(1000);
  const durations = notes.ended.map(({ duration }) => duration);
  assertEquals(durations, [30, 30, 42, 42]);
  await close();
});

test("a call aborted in flight ends at once on the client, and on the server when the handler settles", async () => {
  const held = new Held();
  const near = new Notes();
  const far = new Notes();
  const { client, close } = pair(held.services, {
    client: { observe: observers(near) },
    server: { observe: observers(far) },
  });
  const handle = client.go("Held.work", 1);
  await settle();
  handle.abort();
  // The hook does not run in the middle of the abort.
  assertEquals(near.ends, []);
  await settle();
  assertEquals([near.ends, far.ends], [[["cancelled", "unknown"]], []]);
  held.release();
  await handle.settled;
  await settle();
  assertEquals(near.ends.length, 1);
  assertEquals(far.ends, [["ok", "executed"]]);
  await close();
});

test("calls of a connection that is lost end on both sides", async () => {
  const held = new Held();
  const near = new Notes();
  const far = new Notes();
  const { client, connection, server } = pair(held.services, {
    client: { observe: observers(near) },
    server: { observe: observers(far) },
  });
  client.go("Held.work", 1);
  await settle();
  await connection.abort();
  await client.closed;
  held.release();
  await settle();
  assertEquals(near.ends, [["unavailable", "unknown"]]);
  assertEquals(far.ends, [["unavailable", "unknown"]]);
  await server.close();
});

test("the observer of a server gets calls that never reach a handler", async () => {
  const notes = new Notes();
  const peer = new RawPeer();
  const server = new Server(new Held().services, {
    observe: observers(notes),
  });
  server.accept(peer.duplex);
  await peer.send(
    hello(),
    request(1, "Held.work", "x", 0),
    request(2, "Held.echo", [1, 0x7b]),
  );
  await settle();
  assertEquals(notes.ends, [
    ["deadline_exceeded", "refused"],
    ["invalid_argument", "refused"],
  ]);
  await server.close();
});

test("the observer of a reconnecting client gets a call once, however often it is sent", async () => {
  const notes = new Notes();
  const t = new Reconnecting(["peer", "peer"], { observe: observers(notes) });
  const first = await t.ready();
  const handle = t.go("x");
  await settle();
  await sendGoaway(first);
  await t.advance(100);
  const second = await t.ready();
  const { id } = await second.nextOf(KIND.REQUEST);
  await second.send(reply(id));
  await handle.reply;
  await settle();
  assertEquals(notes.lines, [
    "client m undefined began undefined undefined",
    "client m 1 ended ok executed",
  ]);
  await t.over();
});

test("observers run inside of middleware and get each call that it sends, with its metadata", async () => {
  const notes = new Notes();
  const { client, close } = pair(services, {
    client: {
      observe: observers(notes),
      use: clientMiddleware(async (_call, next) => {
        await next({ metadata: { try: "1" } });
        return await next({ metadata: { try: "2" } });
      }),
    },
  });
  await client.call("S.echo", 1);
  await settle();
  const tries = notes.ended.map(({ metadata }) => metadata.get("try"));
  assertEquals(tries, ["1", "2"]);
  await close();
});

test("an observer may call, abort and close; its exceptions and rejections are ignored", async () => {
  const held = new Held();
  const { client, server } = pair(held.services, {
    client: {
      observe: observers({
        start: () => Promise.reject(new Error("lost")),
        end: () => {
          if (outcomes.length > 0) return;
          outcomes.push("told");
          handles.forEach((handle) => handle.abort());
          client.go("Held.work", "more");
          client.abort();
          throw new Error("lost");
        },
      }),
    },
  });
  const outcomes: string[] = [];
  const handles = [1, 2, 3].map((n) => client.go("Held.work", n));
  await settle();
  await client.connection.abort();
  for (const handle of handles) outcomes.push(await handle.settled);
  await settle();
  assertEquals(outcomes, ["told", "unknown", "unknown", "unknown"]);
  const { inFlight, inFlightBytes, queued } = client.stats();
  assertEquals([inFlight, inFlightBytes, queued], [0, 0, 0]);
  held.release();
  await server.close();
});

test("an observer that was not active at the start of a call does not get its end", async () => {
  const notes = new Notes();
  const switched = { ...notes, active: false };
  const { client, close } = pair(services, {
    client: { observe: observers(switched) },
  });
  await client.call("S.echo", 1);
  const handle = client.go("S.echo", 2);
  switched.active = true;
  await handle.reply;
  await settle();
  assertEquals(notes.lines, []);
  await client.call("S.echo", 3);
  await settle();
  assertEquals(notes.lines.length, 2);
  await close();
});

test("[X46] observers of both sides get the end of a call when its stream has ended, with its code and its number of items", async () => {
  const services = {
    count: async function* (to: number) {
      for (let n = 0; n < to; n++) yield n;
      if (to === 2) throw new RpcError("out_of_luck", "no more");
      if (to > 2) await new Promise(() => {});
    },
  };
  const [near, far] = [new Notes(), new Notes()];
  const { client, connection } = pair(services, {
    client: { observe: observers(near) },
    server: { observe: observers(far) },
  });
  await Array.fromAsync(await client.call("count", 1));
  const two = await client.call("count", 2);
  await Array.fromAsync(two).catch(ignore);
  await settle();
  await client.call("count", 3);
  await settle();
  assertEquals([near.ends.length, far.ends.length], [2, 2]);
  await connection.abort();
  await settle();
  assertEquals(near.ends, [
    ["ok", "executed"],
    ["out_of_luck", "executed"],
    ["unavailable", "executed"],
  ]);
  // The client has read no item of the third stream, so the server waits for credit.
  assertEquals(near.items.slice(0, 2), [1, 2]);
  assertEquals(far.items.slice(0, 2), [1, 2]);
  assertEquals(far.ends, [
    ["ok", "executed"],
    ["out_of_luck", "executed"],
    ["unavailable", "unknown"],
  ]);
  const { served } = connection.stats();
  assertEquals(served, { ok: 1, failed: 1, refused: 0, lost: 1 });
  assertEquals(client.stats().settled.executed, 3);
  await client.closed;
});

test("each observer decides for itself whether it is active", async () => {
  const [off, on] = [new Notes(), new Notes()];
  const observe = observers({ ...off, active: false }, on);
  const { client, close } = pair(services, { client: { observe } });
  await client.call("S.echo", 1);
  await settle();
  assertEquals([off.lines.length, on.lines.length], [0, 2]);
  await close();
});

test("a hook that is not a function throws", () => {
  const wrong = { end: 5 } as unknown as CallObserver;
  assertThrows(() => observers(wrong), TypeError, "end is not a function");
});

test("channels get calls while there are subscribers, each side on its own", async () => {
  const messages: [string, ObservedCall][] = [];
  const listen = (message: unknown, name: string | symbol) =>
    void messages.push([String(name), message as ObservedCall]);
  const observe = observers(diagnostics());
  const [near, far] = memoryPair();
  const server = new Server(services, { observe });
  server.accept(far);
  const client = new Client<typeof services>(near, { observe });
  await client.call("S.echo", 1);
  assert(!observe.active);
  const names = ["client", "server"].flatMap((side) => [
    `sluice:${side}:start`,
    `sluice:${side}:end`,
  ]);
  for (const name of names) channels.subscribe(name, listen);
  await client.call("S.echo", 2);
  await settle();
  for (const name of names) channels.unsubscribe(name, listen);
  assert(!observe.active);
  await client.call("S.echo", 3);
  await settle();
  const told = messages.map(([name, { id }]) => `${name} ${id}`).sort();
  assertEquals(told, names.map((name) => `${name} 2`).sort());
  await client.close();
  await server.close();
});
