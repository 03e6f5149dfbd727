// The session on the first page of docs/protocol.md, byte for byte: what it
// shows of the server is what the library's server sends, and what it shows of
// the client is what the minimal client and the library's client send.

import { assert, assertEquals } from "@std/assert";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  Client,
  type Duplex,
  type EchoServices,
  echoServices,
  memoryPair,
  Server,
} from "../../mod.ts";
import { driveMinimal } from "../conformance/minimal.ts";
import { TestClock } from "../support/clock.ts";
import { fromHex, toHex } from "../support/vectors.ts";

const PAGE = new URL("../../docs/protocol.md", import.meta.url);
const HEADER = 12;

/** One side's bytes between two changes of direction, as hex. */
interface Turn {
  readonly side: string;
  hex: string;
}

/** The session as the page shows it. */
function documented(): Turn[] {
  const page = readFileSync(PAGE, "utf8");
  const [, section] = page.split("\n### A short session in bytes\n");
  const [, block] = section.split(/```\w*\n/);
  const turns: Turn[] = [];
  for (const line of block.split("\n")) {
    if (/^\w+$/.test(line)) turns.push({ side: line, hex: "" });
    // The bytes are in groups; two spaces separate them from their meaning.
    const [, bytes] = /^ {2}((?:[0-9a-f]{2,} )+) /.exec(line) ?? [];
    const turn = turns.at(-1);
    if (bytes !== undefined && turn) turn.hex += bytes.replaceAll(" ", "");
  }
  return turns;
}

/** The frames in these bytes, each as hex. */
function frames(hex: string): string[] {
  const found: string[] = [];
  for (let at = 0; at < hex.length;) {
    const length = parseInt(hex.slice(at, at + 8), 16);
    const end = at + 2 * (HEADER + length);
    assert(end <= hex.length, "the last frame is complete");
    found.push(hex.slice(at, at = end));
  }
  return found;
}

/** A duplex that records what its user sends. */
function recorded(
  { readable, writable }: Duplex,
  record: (hex: string) => void,
) {
  const { readable: sent, writable: from } = new TransformStream<
    Uint8Array,
    Uint8Array
  >({
    transform(chunk, controller) {
      record(toHex(chunk));
      controller.enqueue(chunk);
    },
  });
  sent.pipeTo(writable).catch(() => {});
  return { readable, writable: from };
}

test("the session in docs/protocol.md: a server sends these bytes, then FIN", async () => {
  const turns = documented();
  assertEquals(
    turns.map(({ side }) => side),
    ["client", "server", "client", "server"],
  );
  const [near, far] = memoryPair();
  const server = new Server(echoServices());
  server.accept(far);
  const writer = near.writable.getWriter();
  const reader = near.readable.getReader();
  await writer.write(fromHex(turns[0].hex));
  let sent = "";
  while (sent.length < turns[1].hex.length) {
    const { value } = await reader.read();
    assert(value !== undefined, `FIN after ${sent}`);
    sent += toHex(value);
  }
  assertEquals(sent, turns[1].hex);
  await writer.write(fromHex(turns[2].hex));
  await writer.close();
  assertEquals(turns[3].hex, "");
  assertEquals((await reader.read()).done, true);
  await server.close();
});

test("the session in docs/protocol.md: the library's client sends the same REQUEST and GOAWAY", async () => {
  const turns = documented();
  const sent = { client: "", server: "" };
  const [near, far] = memoryPair();
  const server = new Server(echoServices());
  server.accept(recorded(far, (hex) => sent.server += hex));
  const client = new Client<EchoServices>(
    recorded(near, (hex) => sent.client += hex),
  );
  assertEquals(await client.call("HelloService.Hello", "x"), "hello:x");
  await client.close();
  await server.close();
  assertEquals(sent.server, turns[1].hex);
  const [, ...afterHello] = frames(turns[0].hex + turns[2].hex);
  assertEquals(frames(sent.client).slice(1), afterHello);
});

test("the session in docs/protocol.md: the minimal client sends the same HELLO and GOAWAY", async () => {
  const turns = documented();
  let sent = "";
  const server = new Server({ Conformance: { next: () => null } });
  const dial = () => {
    const [near, far] = memoryPair();
    server.accept(far);
    return Promise.resolve(recorded(near, (hex) => sent += hex));
  };
  await driveMinimal(dial, new TestClock());
  await server.close();
  const [hello, , goaway] = frames(turns[0].hex + turns[2].hex);
  const [firstSent, , lastSent] = frames(sent);
  assertEquals([firstSent, lastSent], [hello, goaway]);
});
