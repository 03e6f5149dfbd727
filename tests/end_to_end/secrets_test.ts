// Every path on which code of the server fails, and all bytes that its peer gets:
// none of them discloses what went wrong inside.

import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { test } from "node:test";
import {
  type CallContext,
  ConnectionError,
  method,
  type Serializer,
  Server,
  type ServerOptions,
  type StandardSchema,
} from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";
import { frame, hello, KIND, RawPeer, request } from "../support/raw_peer.ts";

const SECRET = "s3cr3t";

/** Where the program runs: its directory, or the page's origin. */
const HERE = globalThis.process?.cwd() ?? location.origin;

/** An error that has the secret in its message, stack, cause and members. */
function telling(): Error {
  const cause = new Error(`the cause, ${SECRET}`);
  const error = new Error(`at ${import.meta.url}, ${SECRET}`, { cause });
  return Object.assign(error, { path: HERE, env: SECRET });
}

function fail(): never {
  throw telling();
}

/** A schema that calls `validate`. */
function schema(validate: () => never | Promise<never>): StandardSchema {
  return { "~standard": { version: 1, vendor: "test", validate } };
}

const later = () => Promise.resolve().then(fail);

/** What goes wrong in a call of `S.f`. */
const HANDLERS: Record<string, unknown> = {
  "a handler that throws": fail,
  "a handler that rejects": later,
  "a handler that throws no error": () => {
    throw { toString: () => SECRET, message: SECRET, stack: SECRET };
  },
  "a connection's error": () => {
    throw new ConnectionError("unavailable", SECRET, { cause: telling() });
  },
  "a thenable that throws": () => ({ then: fail }),
  "a toJSON that throws": () => ({ toJSON: fail }),
  "a getter that throws": () => ({
    get x() {
      return fail();
    },
  }),
  "a result that has no form": () => ({ [SECRET]: 1n }),
  "a cycle through a named member": () => {
    const circle: Record<string, unknown> = {};
    return circle[SECRET] = circle;
  },
  "a function": () => Object.assign(() => SECRET, { name: SECRET }),
  "a schema that throws": method(schema(fail), () => 1),
  "a schema that rejects": method(schema(later), () => 1),
  "a deadline that passes": () => new Promise(() => {}),
  "a handler that fails when it is cancelled": (
    _: unknown,
    { signal }: CallContext,
  ) =>
    new Promise((_, reject) =>
      signal.addEventListener("abort", () => reject(telling()))
    ),
};

/** What goes wrong around the call. */
const OPTIONS: Record<string, ServerOptions> = {
  "middleware that throws": { use: [fail] },
  "middleware that rejects": { use: [later] },
  "middleware that fails behind the handler": {
    use: [async (_call, next) => {
      await next();
      return fail();
    }],
  },
  "an onError that throws": { onError: fail, use: [fail] },
  "an authorize that throws": { authorize: fail },
  "an authorize that rejects": { authorize: later },
};

/** All bytes of the stream until it ends or fails, as text. */
async function heard(peer: RawPeer): Promise<string> {
  const decoder = new TextDecoder();
  const texts: string[] = [];
  try {
    for (;;) {
      const frame = await peer.next();
      if (frame === undefined) break;
      if (frame.kind !== KIND.HELLO) texts.push(decoder.decode(frame.body));
    }
  } catch (error) {
    // The stream was cut off; the bytes before that are there.
    assertInstanceOf(error, ConnectionError);
  }
  return texts.join("\n");
}

/** All bytes that a server sends to a peer that calls `S.f`, cancels it, calls an unknown method, and violates the protocol. */
async function said(
  f: unknown,
  options: ServerOptions = {},
  payload: readonly number[] = [3, 120],
): Promise<string> {
  const clock = new TestClock();
  const peer = new RawPeer();
  const text = heard(peer);
  const server = new Server<object>({ S: { f } }, { clock, ...options });
  const connection = server.accept(peer.duplex);
  const serializer = options.serializer as Serializer | undefined;
  const extra = serializer ? [4, 0, 3, ...utf8(serializer.name)] : [];
  await peer.send(
    hello({ extra }),
    request(1, "S.f", payload),
    request(2, "S.f", payload, 1000),
    request(3, "S.g", payload),
  );
  await settle();
  await clock.advance(1000);
  await peer.send(frame(KIND.CANCEL, 1)).catch(() => {});
  await settle();
  // The GOAWAY for this says what the peer did wrong.
  await peer.send(request(1, "S.f")).catch(() => {});
  await settle();
  await clock.advance(10_000);
  await connection.closed;
  return await text;
}

const utf8 = (text: string) => new TextEncoder().encode(text);

function assertTellsNothing(text: string): void {
  assert(text !== "", "nothing was said at all");
  const telling = [SECRET, HERE, "file:", "    at ", ".ts", ".js"];
  for (const word of telling) {
    assert(!text.includes(word), `"${word}" in ${text}`);
  }
}

for (const [name, handler] of Object.entries(HANDLERS)) {
  test(`[W5] ${name} discloses nothing internal to the caller`, async () => {
    assertTellsNothing(await said(handler));
  });
}

for (const [name, options] of Object.entries(OPTIONS)) {
  test(`[W5] ${name} discloses nothing internal to the caller`, async () => {
    assertTellsNothing(await said(() => 1, options));
  });
}

for (const step of ["encode", "decode"] as const) {
  test(`[W5] a serializer whose ${step} throws discloses nothing internal to the caller`, async () => {
    const encode = (value: unknown) => utf8(JSON.stringify(value));
    const serializer = { name: "own", encode, decode: () => 1, [step]: fail };
    assertTellsNothing(await said(() => ({}), { serializer }, [4, 120]));
  });
}

test("[W5] a server that exposes errors discloses their messages, and no stack", async () => {
  const text = await said(fail, { exposeErrors: true });
  assert(text.includes(SECRET));
  assertEquals(text.includes("    at "), false);
});
