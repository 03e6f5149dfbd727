// Runs out of file descriptors while accepting, then has some again. Started
// with a low limit (`ulimit -n 64`). What the system does with the connection
// in between differs: Node's closes it unseen, the others keep it waiting.

import { closeSync, openSync } from "node:fs";
import type { Duplex, DuplexInfo } from "../../../src/types/duplex.ts";
import { connect } from "../../../src/transport/connect.ts";
import { listen } from "../../../src/transport/listen.ts";
import { turn } from "../clock.ts";

const faults: string[] = [];
const listener = await listen({
  port: 0,
  onError: (error) => faults.push(error.code),
});
const accepted = new Map<string, Duplex>();
let more = () => {};
(async () => {
  for await (const duplex of listener) {
    accepted.set(duplex.remote!, duplex);
    more();
  }
})();
async function meet(duplex: DuplexInfo): Promise<void> {
  while (!accepted.has(duplex.local!)) {
    await new Promise<void>((resolve) => more = resolve);
  }
}

// One connection first, so that everything needed has been opened.
const first = await connect(listener.address);
await meet(first);

const files: number[] = [];
try {
  for (;;) files.push(openSync("/dev/null", "r"));
} catch {
  // All taken: leave one, for the client's own socket.
  closeSync(files.pop()!);
}
const second = await connect(listener.address).catch(() => undefined);
for (let i = 0; i < 200; i++) await turn();
for (const file of files) closeSync(file);

const third = await connect(listener.address);
await meet(third);
console.log("goes on", faults.every((code) => code === "resource_exhausted"));
if (faults.length) console.error("onError received", faults.length, faults[0]);
for (const duplex of [first, second, third, ...accepted.values()]) {
  await duplex?.writable.abort().catch(() => {});
}
await listener.close();
