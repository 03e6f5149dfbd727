// A session with messages in fragments that is cut, reset or garbled: at every
// byte around the start of each fragment, and at others between.

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { type CallHandle, Client, Server } from "../../mod.ts";
import { type Fault, faultyPair, recorded, settle } from "../../testing.ts";
import { assertNothingLeft } from "../support/pair.ts";

const LARGE = 70_000;
const HEADER = 12;

interface Run {
  /** Bytes in each direction. */
  readonly bytes: { out: Uint8Array; back: Uint8Array };
  readonly outcomes: string[];
}

/** Three large calls, one of them aborted and one answered by an error, and an urgent one. */
async function run(faults: { out?: Fault; back?: Fault } = {}): Promise<Run> {
  let runs = 0;
  const services = {
    Test: {
      echo: (value: Uint8Array) => (runs++, value),
      beat: () => runs++,
    },
  };
  const { near, far } = faultyPair({
    out: { faults: faults.out ? [faults.out] : [] },
    back: { faults: faults.back ? [faults.back] : [] },
  });
  const record = recorded(near);
  const server = new Server(services, { onError: () => {} });
  const connection = server.accept(far);
  const client = new Client<typeof services>(record.duplex);
  client.connection.opened.catch(() => {});
  await settle(1);
  const urgent = { priority: "urgent" } as const;
  const calls: CallHandle[] = [
    client.go("Test.echo", new Uint8Array(LARGE)),
    client.go("Test.beat", undefined, urgent),
    client.go("Test.echo", new Uint8Array(LARGE)),
    client.go("Test.echo", new Uint8Array(LARGE), urgent),
  ];
  calls[2].abort();
  await settle(12);
  client.abort();
  connection.abort();
  await Promise.all([client.closed, connection.closed]);
  await server.close();
  const outcomes = await Promise.all(calls.map(({ settled }) => settled));
  for (const each of [client.connection, connection]) assertNothingLeft(each);
  const executed = outcomes.filter((outcome) => outcome === "executed").length;
  assert(executed <= runs, `${executed} of ${runs} calls`);
  const { sent: out, received: back } = record;
  return { bytes: { out, back }, outcomes };
}

/** Every byte of a header, and of the header of a message behind it, at the start of each frame; and some others. */
function offsets(bytes: Uint8Array): number[] {
  const all = new Set<number>();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + HEADER <= bytes.length;) {
    for (let i = 0; i <= 2 * HEADER; i++) all.add(at + i);
    at += HEADER + view.getUint32(at);
  }
  for (let at = 0; at < bytes.length; at += 7919) all.add(at);
  return [...all].filter((at) => at < bytes.length);
}

test("the session ends as it should without a fault", async () => {
  const { outcomes, bytes } = await run();
  assertEquals(outcomes, ["executed", "executed", "not_sent", "executed"]);
  const frames = offsets(bytes.out).length + offsets(bytes.back).length;
  assert(frames > 200, `${frames} offsets`);
});

for (const kind of ["cut", "reset", "garble"] as const) {
  test(`a session with fragments that is hit by a ${kind} settles every call, and leaves nothing`, async () => {
    const { bytes } = await run();
    for (const direction of ["out", "back"] as const) {
      for (const at of offsets(bytes[direction])) {
        const fault = kind === "garble"
          ? { kind, at, bit: at % 8 }
          : { kind, at };
        await run({ [direction]: fault }).catch((cause) => {
          throw new Error(`${direction}:${kind}:${at}`, { cause });
        });
      }
    }
  });
}
