// A call whose body goes up and comes back as messages, with trailers on both
// ENDs, and a fault at every byte of both directions.

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import {
  type CallContext,
  Client,
  messages,
  Server,
  withBody,
} from "../../mod.ts";
import type { Fault, FaultLine } from "../../src/testing/fault_line.ts";
import { linkedLines } from "../../src/testing/faulty.ts";
import { settle, TestClock } from "../support/clock.ts";
import { assertNothingLeft } from "../support/pair.ts";

const DIRECTIONS = ["out", "back"] as const;
const KINDS = ["cut", "reset", "stall", "garble"] as const;
const SIZES = [3, 0, 300];

type Faults = { readonly [D in (typeof DIRECTIONS)[number]]?: Fault };

const services = {
  S: {
    back(name: string, ctx: CallContext<Uint8Array>) {
      const body = ctx.body ?? ReadableStream.from<Uint8Array>([]);
      return withBody(
        { name },
        messages((async function* () {
          for await (const each of body) yield each;
          ctx.setTrailers({ seen: ctx.trailers?.get("sent") ?? "none" });
        })()),
      );
    },
  },
};

/** One call with a fault; throws if anything is not as it should be. */
async function run(
  faults: Faults,
  record?: (line: "out" | "back", size: number) => void,
): Promise<void> {
  const { near, far, out, back } = linkedLines({
    out: { faults: faults.out && [faults.out] },
    back: { faults: faults.back && [faults.back] },
  });
  const lines: Record<string, FaultLine> = { out, back };
  for (const d of DIRECTIONS) {
    lines[d].onWritten = (bytes) => record?.(d, bytes.length);
  }
  const clock = new TestClock(1);
  const server = new Server(services, { clock });
  const connection = server.accept(far);
  const client = new Client<typeof services>(near, { clock });
  const source = { begun: false, ended: false };
  async function* items() {
    source.begun = true;
    try {
      for (const size of SIZES) yield new Uint8Array(size).fill(size);
    } finally {
      source.ended = true;
    }
  }
  const handle = client.go("S.back", "name", {
    body: messages(items()),
    trailers: () => ({ sent: "3" }),
  });
  let told: unknown;
  const ended = (async () => {
    const { value, body } = await handle.reply;
    const sizes = (await Array.fromAsync(body)).map(({ length }) => length);
    told = [value, sizes, handle.trailers?.get("seen")];
  })().catch((error) => told = error.code ?? error);
  await settle(12);
  await clock.advance(12_000);
  const closed = Promise.all([client.close(), server.close()]);
  await settle(2);
  await clock.advance(24_000);
  await closed;
  await ended;
  const garbled = faults.out?.kind === "garble" ||
    faults.back?.kind === "garble";
  const whole = [{ name: "name" }, SIZES, "3"];
  if (typeof told !== "string" && !garbled) assertEquals(told, whole);
  assert(told !== undefined);
  assertEquals(source.ended, source.begun);
  assertNothingLeft(client.connection);
  assertNothingLeft(connection);
  assertEquals(clock.timers, 0);
}

const lengths = { out: 0, back: 0 };
await run({}, (line, size) => void (lengths[line] += size));

for (const kind of KINDS) {
  test(`[L1] [S6] a call with bodies, messages and trailers, ${kind} at any byte, ends truly and leaves nothing`, async () => {
    for (const direction of DIRECTIONS) {
      for (let at = 0; at < lengths[direction]; at++) {
        const fault: Fault = kind === "garble"
          ? { kind, at, bit: at % 8 }
          : { kind, at };
        await run({ [direction]: fault }).catch((cause) => {
          throw new Error(`${direction}:${kind}:${at}`, { cause });
        });
      }
    }
  });
}
