/**
 * The costs of streams, and their targets.
 *
 * @module
 */

import { CHUNK } from "../rows.ts";
import type { Cost } from "../support/findings.ts";
import { measure } from "../support/program.ts";
import { short } from "../support/table.ts";
import type { BesideOrder, BesideResult } from "./beside.ts";
import type { BytesOrder, BytesResult } from "./bytes.ts";
import type { ManyOrder, ManyResult } from "./many.ts";
import type { SlowOrder, SlowResult } from "./slow.ts";
import type { StageOrder, StageResult } from "./stage.ts";

const MIB = 1024 * 1024;

const stage: Cost = async (runtime, quick) => {
  const calls = quick ? 5000 : 200_000;
  const { loop, stage, nothing } = await measure<StageOrder, StageResult>(
    runtime,
    import.meta.resolve("./stage.ts"),
    { calls, rounds: quick ? 1 : 5 },
  );
  return [{
    what: "stage(), window 1,024, compared with a loop of go",
    calls,
    value: stage / loop,
    unit: "x",
    least: 0.8,
    note: `${short(stage)} and ${short(loop)} calls/s`,
  }, {
    what: "an empty TransformStream, compared with a loop of go",
    calls,
    value: nothing / loop,
    unit: "x",
    note: `${short(nothing)} items/s`,
  }];
};

const bytes: Cost = async (runtime, quick) => {
  const chunks = quick ? 200 : 8000;
  const rates = await measure<BytesOrder, BytesResult>(
    runtime,
    import.meta.resolve("./bytes.ts"),
    { chunks, rounds: quick ? 1 : 5 },
  );
  return (["up", "down"] as const).map((way) => ({
    what: `bytes as ${
      way === "up" ? "params" : "result"
    }, compared with a plain socket`,
    calls: chunks,
    value: rates[way] / rates.plain,
    unit: "x",
    least: 0.7,
    note: `${short(rates[way])} and ${short(rates.plain)} MB/s`,
  }));
};

const beside: Cost = async (runtime, quick) => {
  const calls = quick ? 200 : 2000;
  const p99 = await measure<BesideOrder, BesideResult>(
    runtime,
    import.meta.resolve("./beside.ts"),
    { calls, rounds: quick ? 1 : 3 },
  );
  const besides = (["up", "down"] as const).map((way) => ({
    what: `p99 of a call beside bytes ${way}, compared with alone`,
    calls,
    value: p99[way] / p99.alone,
    unit: "x",
    most: 5,
    note: `${short(p99[way])} and ${short(p99.alone)} us`,
  }));
  return [...besides, {
    what: "the same of a byte over plain sockets",
    calls,
    value: p99.plainBeside / p99.plainAlone,
    unit: "x",
    note: `${short(p99.plainBeside)} and ${short(p99.plainAlone)} us`,
  }];
};

/** Bytes that the receiver may hold of a thousand streams: 64 KiB of each, and the budget. */
const BOUND = 1000 * 64 / 1024 + 16;

const many: Cost = async (runtime, quick) => {
  const order = { streams: 1000, chunks: quick ? 2 : 16 };
  const { streams, resident, before } = await measure<ManyOrder, ManyResult>(
    runtime,
    import.meta.resolve("./many.ts"),
    order,
  );
  const sent = order.streams * order.chunks * CHUNK / 1e6;
  const grown = `${short(resident - before)} MB more resident`;
  return [{
    what: `1,000 streams at once, ${short(sent)} MB: held and granted`,
    calls: order.streams,
    value: streams / MIB,
    unit: "MiB",
    most: BOUND,
    note: `${grown}, garbage included`,
  }];
};

const slow: Cost = async (runtime, quick) => {
  const items = quick ? 20_000 : 1_000_000;
  const { live } = await measure<SlowOrder, SlowResult>(
    runtime,
    import.meta.resolve("./slow.ts"),
    { items },
  );
  const [first] = live;
  return [{
    what: "a slow reader: live memory after a tenth, and most",
    calls: items,
    value: Math.max(...live) / first,
    unit: "x",
    most: 1.05,
    note: `${short(first / MIB)} and ${short(Math.max(...live) / MIB)} MiB`,
  }];
};

/** All costs by name, in the order in which they run. */
export const STREAMS = { stage, bytes, beside, many, slow };
