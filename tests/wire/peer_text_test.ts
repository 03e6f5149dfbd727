// Text of a peer in local errors is escaped and bounded; text that is sent is
// never cut inside a character.

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { RpcError } from "../../mod.ts";
import { quote } from "../../src/base/errors.ts";
import { boundedUtf8 } from "../../src/base/utf8.ts";
import { settle } from "../support/clock.ts";
import {
  assertCloses,
  faceClient,
  faceServer,
  greet,
  serializerField,
} from "../support/facing.ts";
import { goaway, hello, KIND, readCode, request } from "../support/raw_peer.ts";

/** Colours, a forged line, a bidirectional override, NUL, and a separator that is a line to some. */
const FORGED = "\x1b[31m\r\nINFO all is well\u202e\0\u2028\x9b";

/** Asserts that text is one line of printable ASCII, and not too long. */
function assertTame(text: string): void {
  assert(/^[\x20-\x7e]*$/.test(text), JSON.stringify(text));
  assert(text.length <= 1000, `${text.length} characters`);
}

test("[W6] a GOAWAY's code and text are escaped and bounded in the errors of calls and the connection", async () => {
  for (const repeat of [1, 100]) {
    const facing = faceClient();
    await greet(facing);
    const handle = facing.connection.go("m");
    await settle();
    const words = FORGED.repeat(repeat);
    await facing.peer.send(goaway(undefined, FORGED.slice(0, 10), words));
    const error = await handle.reply.then(() => {}, (reason) => reason);
    assert(error instanceof RpcError);
    assertTame(error.message);
    assert(error.message.includes("\\u001b"), error.message);
    await facing.peer.end();
    const reason = await facing.connection.closed;
    assertTame(reason?.message ?? "");
  }
});

test("[W6] the first bytes of another protocol are escaped in the error", async () => {
  for (
    const words of [FORGED, "\xff".repeat(500), "\x1b]0;title\x07".repeat(99)]
  ) {
    const facing = faceServer({});
    await facing.peer.send(
      new TextEncoder().encode(`${words}${"x".repeat(64)}`),
    );
    assertEquals((await facing.peer.next())?.kind, KIND.HELLO);
    const { reason } = await assertCloses(facing, "not_sluice");
    assertTame(reason.message);
  }
});

test("[W6] the name of another serializer is escaped in the error", async () => {
  const facing = faceServer({});
  await facing.peer.send(hello({ extra: serializerField(FORGED) }));
  assertEquals((await facing.peer.next())?.kind, KIND.HELLO);
  const { reason } = await assertCloses(facing, "serializer_mismatch");
  assertTame(reason.message);
  assert(reason.message.includes("\\u001b"), reason.message);
});

test("[W6] the name of an unknown method is escaped and cut in the reply", async () => {
  const facing = faceServer({});
  await greet(facing);
  await facing.peer.send(request(1, FORGED.repeat(200)));
  assertTame(readCode(await facing.peer.nextOf(KIND.ERROR)).text);
  await facing.peer.end();
  await facing.connection.closed;
});

test("[W6] quoted text is one line, bounded, and states its true length", () => {
  for (const text of ["", "plain", FORGED, "é😀", '"\\'.repeat(50)]) {
    assertTame(quote(text));
    assertTame(quote(text.repeat(1000)));
  }
  assert(quote("a".repeat(1000)).includes("1000"));
  assertEquals(JSON.parse(quote(FORGED)), FORGED);
});

test("[H9] a text that is too long is cut between characters, never inside one", () => {
  const strict = new TextDecoder("utf-8", { fatal: true });
  for (const character of ["a", "é", "→", "😀"]) {
    for (let pad = 0; pad < 4; pad++) {
      const text = "x".repeat(pad) + character.repeat(5000);
      for (const most of [0, 1, 2, 3, 4, 63, 64, 4095, 4096]) {
        const bytes = boundedUtf8(text, most);
        assert(bytes.length <= most);
        assert(most - bytes.length < 4 || bytes.length > most - 4);
        assert(text.startsWith(strict.decode(bytes)));
      }
    }
  }
});

test("[H9] a lone surrogate at the cut is still UTF-8", () => {
  const strict = new TextDecoder("utf-8", { fatal: true });
  for (
    const text of [
      "a\ud83d".repeat(50),
      "\ude00".repeat(50),
      "\ud83d".repeat(50),
    ]
  ) {
    for (let most = 0; most < 70; most++) {
      strict.decode(boundedUtf8(text, most));
    }
  }
});
