// What is idle and unref'ed lets the process exit; ref undoes that.

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import {
  Client,
  type Duplex,
  type DuplexInfo,
  listen,
  memoryPair,
  ReconnectingClient,
  Server,
} from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";
import { runScript } from "../support/script.ts";
import { fixture } from "../support/fixture.ts";

const CASES = [
  "client",
  "client-without-an-answer",
  "client-with-a-call",
  "client-with-middleware-and-a-call",
  "client-of-tls",
  "reconnecting",
  "reconnecting-before-it-has-dialled",
  "reconnecting-that-waits",
  "listener",
  "listener-iterated",
  "listener-unref-ref-unref",
  "child",
  "memory",
  "port",
  "thread",
  "streams",
];

for (const what of CASES) {
  test(`[X50] a process exits although it has an idle ${what.replaceAll("-", " ")} that is unref'ed`, async () => {
    const tls = what.endsWith("tls")
      ? { cert: fixture("server.pem"), key: fixture("server-key.pem") }
      : undefined;
    const server = new Server({ hang: () => new Promise<void>(() => {}) });
    const listener = await listen({ port: 0, tls });
    server.serve(listener);
    const { port } = listener.address as { port: number };
    const args = [what, `${port}`, fixture("ca.pem")];
    const startedAt = performance.now();
    const { code, stdout } = await runScript("unref.ts", { args });
    assertEquals([code, stdout], [0, "open\n"]);
    // The timers of the scripts are set for 60 s.
    assert(performance.now() - startedAt < 40_000);
    await server.close({ timeout: 0 });
  });
}

/** A duplex that records calls of ref and unref. */
function recording(): { duplex: Duplex & DuplexInfo; notes: string[] } {
  const notes: string[] = [];
  const { readable, writable } = memoryPair()[0];
  const ref = () => void notes.push("ref");
  const unref = () => void notes.push("unref");
  return { duplex: { readable, writable, ref, unref }, notes };
}

/** A clock that counts the timers that keep the process alive. */
class HoldingClock extends TestClock {
  readonly held = new Set<unknown>();
  override setTimeout(fn: () => void, ms: number): number {
    const timer = super.setTimeout(fn, ms);
    this.held.add(timer);
    return timer;
  }
  override clearTimeout(timer: unknown): void {
    super.clearTimeout(timer);
    this.held.delete(timer);
  }
  unref(timer: unknown): void {
    this.held.delete(timer);
  }
}

test("[X50] a client applies unref and ref to its transport and its timers", async () => {
  const clock = new HoldingClock();
  const { duplex, notes } = recording();
  const client = new Client<{ a(): void }>(duplex, { clock });
  client.call("a", undefined, { timeout: 5000 }).catch(() => {});
  assertEquals(clock.held.size, 1);
  client.unref();
  assertEquals([notes, clock.held.size], [["unref"], 0]);
  client.call("a", undefined, { timeout: 500 }).catch(() => {});
  assertEquals(clock.held.size, 0);
  client.ref();
  assertEquals([notes, clock.held.size], [["unref", "ref"], 1]);
  await client.abort();
  assertEquals(clock.held.size, 0);
});

test("[X50] a reconnecting client applies them to every connection, later ones included", async () => {
  const clock = new HoldingClock();
  const ends: ReturnType<typeof recording>[] = [];
  const dial = () => {
    const end = recording();
    ends.push(end);
    return Promise.resolve(end.duplex);
  };
  const client = new ReconnectingClient<object>(dial, {
    clock,
    handshakeTimeout: 1000,
    retry: { base: 10, cap: 10, random: () => 1 },
  });
  client.unref();
  await settle();
  assertEquals(ends.map(({ notes }) => notes), [["unref"]]);
  assertEquals(clock.held.size, 0);
  // Nobody answers: the next one.
  await clock.advance(1001);
  await settle();
  await clock.advance(2000);
  await settle();
  assertEquals(ends[1].notes, ["unref"]);
  client.ref();
  assertEquals(ends.at(-1)?.notes.at(-1), "ref");
  await client.abort();
});
