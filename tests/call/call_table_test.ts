// The table of calls by id, over spans that no test could make calls for.

import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { CallTable } from "../../src/call/call_table.ts";

/** An entry of the table. */
function entry(): { seq: number } {
  return { seq: -1 };
}

test("[I6] an id of 2^32 calls ago is not given again while its call runs", () => {
  const ring = new CallTable<{ seq: number }>(5);
  const old = entry();
  ring.add(old);
  ring.last = 2 ** 32 + 4;
  const young = entry();
  ring.add(young);
  assertEquals([old.seq, young.seq >>> 0], [5, 6]);
  assertEquals(ring.get(5), old);
  assertEquals(ring.get(6), young);
});

test("[I6] a call outlives many turns of the ids, and keeps its own", () => {
  const ring = new CallTable<{ seq: number }>(0);
  const old = entry();
  ring.add(old);
  for (let turn = 1; turn < 10; turn++) {
    ring.last = turn * 2 ** 32 - 1;
    const young = entry();
    ring.add(young);
    assertEquals(young.seq >>> 0, 1);
    assertEquals(ring.get(0), old);
    ring.remove(young);
  }
  assertEquals(ring.all(), [old]);
});

test("[L4] an id from the peer is one of the last 2^31, so a call older than that is not after it", () => {
  const ring = new CallTable<{ seq: number }>(7);
  const old = entry();
  ring.add(old);
  for (const last of [7 + 2 ** 31, 7 + 2 ** 31 + 5, 7 + 3 * 2 ** 31]) {
    ring.last = last;
    const goaway = ring.widen(last >>> 0);
    assertEquals(goaway, last);
    assertEquals(old.seq <= goaway, true, "the old call goes on");
    assertEquals(ring.widen((last - 100) >>> 0), last - 100);
    assertEquals(ring.widen((last + 100) >>> 0), last + 100);
  }
});
