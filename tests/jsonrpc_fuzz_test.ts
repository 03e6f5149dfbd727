// A short run of the JSON-RPC fuzzer, with a seed of its own each time.

import { assert } from "@std/assert";
import { test } from "node:test";
import { fuzzJsonRpc } from "./fuzz/jsonrpc.ts";

test("the JSON-RPC wire survives a second of fuzzing, and of a fixed seed", async () => {
  const seed = Date.now() >>> 0;
  console.error(`JSON-RPC fuzz seed: ${seed}`);
  for (const each of [1, seed]) {
    const { sessions, bytes, closed } = await fuzzJsonRpc(each, 0.5);
    assert(sessions > 0 && bytes > 0 && closed <= sessions);
  }
});
