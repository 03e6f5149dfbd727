/**
 * JSON-RPC messages as a peer may write them, legal except for what a seed breaks:
 * version 2.0 in both framings, and Go's.
 *
 * @module
 */

import type { FramingName } from "../../jsonrpc.ts";
import type { Random } from "../support/random.ts";

const ATOMS: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  2 ** 53,
  "",
  "x",
  '\u0000\n"\\]}',
  "€😀\ud800",
  [],
  {},
];
const METHODS = [
  "echo",
  "fail",
  "slow",
  "nobody",
  "__proto__",
  "$/cancelRequest",
  "notifications/cancelled",
];
const MEMBERS = ["jsonrpc", "id", "method", "params", "result", "error"];

/** A random value that is not deep. */
function anything(random: Random, depth = 3): unknown {
  if (depth === 0 || random.oneIn(2)) return random.pick(ATOMS);
  const size = random.below(4);
  const items = Array.from({ length: size }, () => anything(random, depth - 1));
  if (random.oneIn(2)) return items;
  return Object.fromEntries(items.map((item) => [random.pick(MEMBERS), item]));
}

/** A message. Some have one illegal member. */
function message(random: Random): unknown {
  const made: Record<string, unknown> = { jsonrpc: "2.0" };
  switch (random.below(4)) {
    case 0:
      made.id = random.pick([1, 2, 3, "a", null]);
      made.result = anything(random);
      break;
    case 1:
      made.id = 1 + random.below(20);
      made.error = { code: random.below(3) - 32601, message: "m" };
      break;
    default:
      made.method = random.pick(METHODS);
      if (!random.oneIn(3)) made.id = random.pick([1, 2, 3, "a", "b", null]);
      if (!random.oneIn(3)) made.params = random.pick([[1], { id: 1 }, {}]);
  }
  if (random.oneIn(4)) made[random.pick(MEMBERS)] = anything(random);
  if (random.oneIn(8)) delete made[random.pick(MEMBERS)];
  return made;
}

/** A message, or several as a batch. A few are no messages. */
function text(random: Random): string {
  if (random.oneIn(10)) return JSON.stringify(anything(random));
  if (random.oneIn(3)) {
    const size = random.below(6);
    return JSON.stringify(Array.from({ length: size }, () => message(random)));
  }
  return JSON.stringify(message(random));
}

const HEADERS = [
  "Content-Length: ",
  "content-length:",
  "Content-Type: x; charset=utf8\r\nContent-Length: ",
  "X: y\r\nContent-Length: ",
];
const LENGTHS = ["99999999999999", "-1", "", "1e3", "0", "0x5", " 5"];

/** A message in its framing. A few have a wrong length. */
function framed(random: Random, framing: FramingName): string {
  const body = text(random);
  if (framing === "lines") {
    return body + random.pick(["\n", "\n", "\r\n", "\n\n"]);
  }
  const length = random.oneIn(60)
    ? random.pick(LENGTHS)
    : String(new TextEncoder().encode(body).length);
  return `${random.pick(HEADERS)}${length}\r\n\r\n${body}`;
}

/** A call or a reply of Go's package, mostly legal. */
function goMessage(random: Random): string {
  const made: Record<string, unknown> = random.oneIn(2)
    ? { method: random.pick(GO_METHODS), params: [anything(random)], id: 0 }
    : { id: 0, result: anything(random), error: null };
  made.id = random.pick([0, 1, 2, 3, 17, random.below(30), "a", null, 1.5]);
  if (random.oneIn(6)) made[random.pick(MEMBERS)] = anything(random);
  if (random.oneIn(6)) made.error = random.pick(["no", null, { a: 1 }, ""]);
  if (random.oneIn(8)) delete made[random.pick(MEMBERS)];
  return JSON.stringify(made) + random.pick(["\n", "\n", "", " \r\n"]);
}

const GO_METHODS = ["S.e", "S.f", "S.h", "S.none", "None.e", "none", ""];

/** A sequence of messages of version 2.0. */
export function jsonRpcStream(
  random: Random,
  framing: FramingName,
): Uint8Array {
  const parts = Array.from(
    { length: random.below(20) },
    () => framed(random, framing),
  );
  return new TextEncoder().encode(parts.join(""));
}

/** A sequence of messages of Go's package. */
export function goJsonStream(random: Random): Uint8Array {
  const parts = Array.from(
    { length: random.below(20) },
    () => goMessage(random),
  );
  return new TextEncoder().encode(parts.join(""));
}
