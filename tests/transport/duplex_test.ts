// How the core takes over a duplex: by the channel that it carries, and without
// a transport.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  attachChannel,
  channelOf,
  checkDuplex,
  openChannel,
} from "../../src/transport/duplex.ts";
import { memoryPair } from "../../src/transport/memory.ts";

/** The files of `src/` that a file loads at run time, itself included. */
function loadedFiles(file: string): Set<string> {
  const loaded = new Set<string>();
  const visit = (url: URL) => {
    if (loaded.has(url.href)) return;
    loaded.add(url.href);
    const source = readFileSync(url, "utf8");
    const imports = source.matchAll(
      /^(?:import|export) (?!type\b)[^;]*?from "(\.[^"]+)";$/gm,
    );
    for (const [, path] of imports) visit(new URL(path, url));
  };
  const root = new URL("../../src/", import.meta.url);
  visit(new URL(file, root));
  return new Set([...loaded].map((href) => href.slice(root.href.length)));
}

test("the check and the channel of a duplex load no transport", () => {
  assert(loadedFiles("transport/memory.ts").has("transport/read_half.ts"));
  for (
    const file of ["transport/duplex.ts", "wire/frame_transforms.ts"]
  ) {
    const transports = [...loadedFiles(file)].filter((loaded) =>
      loaded.startsWith("transport/") && loaded !== "transport/duplex.ts"
    );
    assertEquals(transports, [], file);
  }
});

test("a connection loads no transport", () => {
  const transports = [...loadedFiles("connection/connection.ts")]
    .filter((file) => file.startsWith("transport/"));
  assertEquals(transports, ["transport/duplex.ts"]);
});

test("openChannel uses the channel that a duplex carries, once", () => {
  const [a] = memoryPair();
  const channel = channelOf(a);
  assert(channel?.free);
  assertEquals(checkDuplex(a), a);
  assert(openChannel(a) === channel);
  assert(!channel.free);
  assertThrows(() => checkDuplex(a), TypeError, "readable is locked");
  assertThrows(() => openChannel(a), TypeError);
});

test("openChannel uses the streams of a duplex whose stream was used", () => {
  const [a] = memoryPair();
  assert(!a.readable.locked);
  assert(openChannel(a) !== channelOf(a));
  assert(a.readable.locked && a.writable.locked);
});

test("only the duplex itself carries its channel: no copy, proxy or heir does", () => {
  const [a] = memoryPair();
  const channel = channelOf(a)!;
  const copy = Object.defineProperties(
    {},
    Object.getOwnPropertyDescriptors(a),
  );
  for (const other of [{ ...a }, copy, new Proxy(a, {}), Object.create(a)]) {
    assertEquals(channelOf(other), undefined);
  }
  const stranger = {};
  attachChannel(stranger, channel);
  assertEquals(channelOf(stranger), undefined);
  assert(channelOf(a) === channel);
});
