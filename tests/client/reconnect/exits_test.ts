/**
 * [L17] Every place where a call of a reconnecting client can be, and everything
 * that can end it there: the call settles once, with its true outcome, and
 * leaves nothing behind.
 */

import { test } from "node:test";
import {
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
} from "@std/assert";
import {
  callable,
  type CallContext,
  type CallHandle,
  type CallOptions,
  clientOf,
  type Connection,
  memoryPair,
  type Outcome,
  ReconnectingClient,
  RpcError,
  Server,
} from "../../../mod.ts";
import { settle, TestClock } from "../../support/clock.ts";
import {
  assertNothingIsLeft,
  failing,
  hanging,
  Reconnecting,
  sendGoaway,
} from "../../support/dials.ts";
import { reply } from "../../support/raw_peer.ts";

/** A place where a call can be: how the test gets it there, and the outcome it has there. */
interface Place {
  readonly prepare: (t: Reconnecting) => Promise<void>;
  /** Runs after the call was made. Without it the call is ended in the same turn. */
  readonly arrive?: (t: Reconnecting) => Promise<void>;
  readonly outcome: Outcome;
}

const PLACES: Record<string, Place> = {
  "waiting for the first connection": {
    prepare: async (t) => {
      t.dials.then(hanging());
      await settle();
    },
    outcome: "not_sent",
  },
  "waiting for the next dial": {
    prepare: async (t) => {
      await t.ready();
      t.dials.then(failing());
      t.lose();
      await settle();
    },
    outcome: "not_sent",
  },
  "in the batch": {
    prepare: async (t) => void await t.ready(),
    outcome: "not_sent",
  },
  "waiting for the window": {
    prepare: async (t) => {
      await t.ready({ calls: 1 });
      t.go("first");
    },
    arrive: () => settle(),
    outcome: "not_sent",
  },
  "in flight": {
    prepare: async (t) => void await t.ready(),
    arrive: () => settle(),
    outcome: "unknown",
  },
  "in flight, on a connection that only finishes its calls": {
    prepare: async (t) => void await t.ready(),
    arrive: async (t) => {
      await settle();
      await sendGoaway(t.peers[0], 1);
    },
    outcome: "unknown",
  },
  "waiting to be sent again": {
    prepare: async (t) => void await t.ready(),
    arrive: async (t) => {
      await settle();
      t.dials.then(failing());
      await sendGoaway(t.peers[0]);
    },
    outcome: "refused",
  },
  "waiting to be sent again, as it is idempotent": {
    prepare: async (t) => void await t.ready(),
    arrive: async (t) => {
      await settle();
      t.dials.then(failing());
      await t.peers[0].reset();
      await settle();
    },
    outcome: "unknown",
  },
};

/** Something that ends a call. */
interface Exit {
  readonly options?: CallOptions;
  readonly take: (t: Reconnecting, handle: CallHandle) => Promise<unknown>;
  /** What the call rejects with: codes of an error, or the reason itself. */
  readonly reason: unknown;
  /** Whether a batch that was not sent yet is still sent. */
  readonly sends?: boolean;
}

const stop = new Error("stopped by the test");

/** Loses all connections, and lets every dial fail. */
async function never(t: Reconnecting, code: "unavailable" | "unauthenticated") {
  t.dials.then(failing(code));
  for (const peer of t.peers.slice(0, -1)) await peer.reset();
  t.lose();
  await t.peers[0]?.reset().catch(() => {});
  for (let i = 0; i < 4; i++) await t.advance(20_000);
}

const EXITS: Record<string, () => Exit> = {
  "its signal": () => {
    const controller = new AbortController();
    return {
      options: { signal: controller.signal },
      take: () => Promise.resolve(controller.abort(stop)),
      reason: stop,
    };
  },
  "its handle": () => ({
    take: (_t, handle) => Promise.resolve(handle.abort(stop)),
    reason: stop,
  }),
  "the signal of its outer call": () => {
    const controller = new AbortController();
    return {
      options: { ctx: { signal: controller.signal, remaining: Infinity } },
      take: () => Promise.resolve(controller.abort(stop)),
      reason: stop,
    };
  },
  "its deadline": () => ({
    options: { timeout: 10 },
    take: (t) => t.clock.advance(10),
    reason: "deadline_exceeded",
  }),
  "a close whose time runs out": () => ({
    take: (t) => {
      t.client.close({ timeout: 10 });
      return t.clock.advance(10);
    },
    reason: "unavailable",
    sends: true,
  }),
  "an abort of the client": () => ({
    take: (t) => {
      t.client.abort(stop);
      return settle();
    },
    reason: "unavailable",
  }),
  "dials that fail until the client gives up": () => ({
    take: (t) => never(t, "unavailable"),
    reason: "unavailable",
  }),
  "dials that the server rejects": () => ({
    take: (t) => never(t, "unauthenticated"),
    reason: ["unavailable", "unauthenticated"],
  }),
};

async function leaves(
  place: Place,
  exit: Exit,
  resend: "safe" | "never",
): Promise<void> {
  const t = new Reconnecting(["peer"], {
    resend,
    dialTimeout: 5000,
    retry: { attempts: 3 },
  });
  const batched = place === PLACES["in the batch"];
  const outcome = batched && exit.sends ? "unknown" : place.outcome;
  await place.prepare(t);
  const idempotent = place === PLACES[
    "waiting to be sent again, as it is idempotent"
  ];
  let told = 0;
  const handle = t.go("x", { idempotent, ...exit.options });
  const result = handle.reply.then(
    () => told++,
    (error) => (told++, error),
  );
  if (place.arrive !== undefined) await place.arrive(t);
  await exit.take(t, handle);
  await settle();
  assertEquals(told, 1, "settled, and once");
  const error = await result;
  if (exit.reason === stop) assertStrictEquals(error, stop);
  else {
    assertInstanceOf(error, RpcError);
    assertEquals([exit.reason].flat().includes(error.code), true, error.code);
    assertEquals(error.outcome, outcome);
  }
  assertEquals(handle.outcome, outcome);
  // Sends late replies on every connection.
  for (const peer of t.peers) await peer.send(reply(1)).catch(() => {});
  const over = t.client.abort();
  for (const peer of t.peers) await peer.end().catch(() => {});
  await t.advance(5000);
  await over;
  await t.client.closed;
  const settled = await handle.settled;
  // A late reply may have made the outcome known.
  const refined = outcome === "unknown" && settled === "executed";
  if (!refined) assertEquals(settled, outcome);
  assertEquals(told, 1);
  assertNothingIsLeft(t);
}

for (const [where, place] of Object.entries(PLACES)) {
  for (const [how, exit] of Object.entries(EXITS)) {
    test(
      `[L17] a call ${where} ends by ${how}`,
      () => leaves(place, exit(), "safe"),
    );
    if (where.startsWith("waiting to be sent again")) continue;
    test(
      `[L17] a call of a client with resend never, ${where}, ends by ${how}`,
      () => leaves(place, exit(), "never"),
    );
  }
}

for (const resend of ["safe", "never"] as const) {
  for (const windowCalls of [1, 64]) {
    for (const end of ["lost", "drained"] as const) {
      test(`[L17] a state listener may abort every call while its connection is ${end} (resend ${resend}, window ${windowCalls})`, async () => {
        const never = new Promise<never>(() => {});
        const server = new Server({ S: { slow: () => never } }, {
          windowCalls,
        });
        const handles: CallHandle[] = [];
        const client = new ReconnectingClient<
          { S: { slow: (n: number) => void } }
        >(() => {
          const [near, far] = memoryPair();
          server.accept(far);
          return near;
        }, {
          resend,
          whenOffline: "reject",
          onStateChange: (state) => {
            if (state !== "ready") handles.forEach((handle) => handle.abort());
          },
        });
        await client.ready;
        const { connection } = client;
        for (let i = 0; i < 4; i++) handles.push(client.go("S.slow", i));
        await settle();
        if (end === "lost") await connection!.abort();
        else await server.close({ timeout: 0 });
        await connection!.closed;
        await Promise.all(handles.map((handle) => handle.settled));
        await client.abort();
        const counted = Object.values(client.stats().settled).reduce((a, b) =>
          a + b
        );
        const { inFlight, queued } = connection!.stats();
        assertEquals([counted, inFlight, queued], [4, 0, 0]);
        await server.close({ timeout: 0 });
      });
    }
  }
}

test("a handler that closes its own client passes ctx, and is not waited for", async () => {
  let closed = false;
  const mine = {
    Mine: {
      close: async (_: undefined, ctx: CallContext) => {
        await client.close({ ctx });
        closed = true;
      },
    },
  };
  const server = new Server({});
  let accepted!: Connection;
  const clock = new TestClock();
  const client = new ReconnectingClient(() => {
    const [near, far] = memoryPair();
    accepted = server.accept(far);
    return near;
  }, { services: callable(mine), clock });
  await client.ready;
  const closing = clientOf<typeof mine>(accepted).call("Mine.close");
  await closing;
  assertEquals(closed, true);
  await client.closed;
  await server.close();
});
