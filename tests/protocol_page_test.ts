// The session in docs/protocol.md, section 23, byte for byte.

import { assertEquals } from "@std/assert";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  Client,
  type Duplex,
  type EchoServices,
  echoServices,
  memoryPair,
  Server,
} from "../mod.ts";
import { toHex } from "./support/vectors.ts";

const PAGE = new URL("../docs/protocol.md", import.meta.url);

/** What the page says that each end sends, as hex. */
function documented(): Record<string, string> {
  const [, section] = readFileSync(PAGE, "utf8").split("\n## 23. ");
  const [, block] = section.split(/```\w*\n/);
  const sent: Record<string, string> = {};
  let end = "";
  for (const line of block.split("\n")) {
    if (/^\w+$/.test(line)) end = line;
    // Bytes stand in groups, two spaces before their meaning.
    const [, bytes] = /^ {2}((?:[0-9a-f]{2,} )+) /.exec(line) ?? [];
    if (bytes !== undefined) {
      sent[end] = (sent[end] ?? "") + bytes.replaceAll(" ", "");
    }
  }
  return sent;
}

/** A duplex that notes what its user sends. */
function noting({ readable, writable }: Duplex, note: (hex: string) => void) {
  const { readable: sent, writable: from } = new TransformStream<
    Uint8Array,
    Uint8Array
  >({
    transform(chunk, controller) {
      note(toHex(chunk));
      controller.enqueue(chunk);
    },
  });
  sent.pipeTo(writable).catch(() => {});
  return { readable, writable: from };
}

test("the session in docs/protocol.md is what the library sends", async () => {
  const sent = { client: "", server: "" };
  const [near, far] = memoryPair();
  const server = new Server(echoServices());
  server.accept(noting(far, (hex) => sent.server += hex));
  const client = new Client<EchoServices>(
    noting(near, (hex) => sent.client += hex),
  );
  assertEquals(await client.call("HelloService.Hello", "x"), "hello:x");
  await client.close();
  await server.close();
  assertEquals(documented(), sent);
});
