// The conformance suite against this library's client and server, and the check
// that it has a case for every requirement of docs/protocol.md.

import { assert, assertEquals } from "@std/assert";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as slim from "../../client.ts";
import type { ServerOptions } from "../../mod.ts";
import type { Case } from "./case.ts";
import { drive } from "./driver.ts";
import { memoryClient, memoryServer, type MemoryTarget } from "./memory.ts";
import { CASES, runCase, WITHOUT_CASE } from "./suite.ts";

const USUAL: ServerOptions = {
  windowCalls: 200,
  windowBytes: 150_000,
  maxMessage: 131_072,
  maxStreams: 16,
  connectionCredit: 2_200_000,
};

/** Smaller than the constants of the protocol, so that these apply. */
const SMALL: ServerOptions = {
  windowCalls: 4,
  windowBytes: 5000,
  maxMessage: 16_384,
};

/** Requirements for which the size of the window may matter. */
const SIZED = /^(FR2|HE13|CA|WI|CN2|GA|EN)/;

function check(one: Case, name: string, make: () => MemoryTarget): void {
  test(`conformance ${one.id}, ${name}: ${one.about}`, async () => {
    const target = make();
    const { result, why } = await runCase(one, target);
    if (name === PLAIN && result === "skipped") {
      assert(/no capability for (streams|fragments)$/.test(why), why);
    } else assertEquals([result, why], ["passed", ""]);
    await target.end();
  });
}

/** A slim client that has no features: cases of streams and fragments are skipped. */
const PLAIN = "slim client";

/** The client of `@sluice/rpc/client`. */
function slimClient(features: slim.ClientOptions): MemoryTarget {
  return memoryClient(
    { maxStreams: 16 },
    undefined,
    (dial, options) =>
      drive(
        dial,
        options,
        (duplex, options) =>
          new slim.Client<object>(
            duplex,
            { ...options, ...features } as slim.ClientOptions,
          ),
      ),
  );
}

for (const one of CASES) {
  if (one.role === "client") {
    check(one, "client", () => memoryClient({ maxStreams: 16 }));
    check(one, PLAIN, () => slimClient({}));
    check(one, `${PLAIN} with features`, () =>
      slimClient({
        streams: slim.streams(),
        fragments: slim.fragments(),
        keepalive: slim.keepalive(),
      }));
  } else {
    check(one, "server", () => memoryServer(USUAL));
    if (SIZED.test(one.id)) {
      check(one, "server of small windows", () => memoryServer(SMALL));
    }
  }
}

const PROTOCOL = readFileSync(
  new URL("../../docs/protocol.md", import.meta.url),
  "utf8",
);

/** The requirements of docs/protocol.md, as its list items define them. */
const REQUIREMENTS = new Set(
  Array.from(PROTOCOL.matchAll(/^- \[([A-Z]{2}\d+)\]/gm), ([, id]) => id),
);

test("every requirement of the protocol has a conformance case, and no case an unknown one", () => {
  const covered = new Set(CASES.map(({ id }) => id.split(".")[0]));
  for (const id of covered) assert(REQUIREMENTS.has(id), `${id} is unknown`);
  for (const id of Object.keys(WITHOUT_CASE)) {
    assert(REQUIREMENTS.has(id), `${id} is unknown`);
    assert(!covered.has(id), `${id} has a case`);
  }
  const without = [...REQUIREMENTS].filter((id) =>
    !covered.has(id) && !(id in WITHOUT_CASE)
  );
  assertEquals(without, []);
});

test("a conformance case's id stands for one case of each role", () => {
  const names = CASES.map(({ id, role }) => `${id} ${role}`);
  assertEquals(new Set(names).size, names.length);
  for (const { id } of CASES) assert(/^[A-Z]{2}\d+\.\d+$/.test(id), id);
});
