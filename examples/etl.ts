// Extract, transform, load: sends a million records through a service. The memory
// it needs does not depend on their number. Usage: `etl.ts [RECORDS]`
//
// `stage()` turns a method into a stream transform. At most `window` records are
// in flight, so the slowest of source, service and sink sets the pace.

import { strictEqual } from "node:assert";
import process from "node:process";
import { setFlagsFromString } from "node:v8";
import { Client, connect, listen, Server } from "@sluice/rpc";

/** Parses one line of a sensor's log into a record. */
const services = {
  Sensors: {
    parse(line: string) {
      const [at, sensor, celsius] = line.split(",");
      return { at: Number(at), sensor, kelvin: Number(celsius) + 273.15 };
    },
  },
};
const server = new Server(services);
const listener = await listen({ port: 0 });
server.serve(listener);
const client = new Client<typeof services>(await connect(listener.address));

function* log(lines: number) {
  for (let i = 0; i < lines; i++) yield `${i},s${i % 7},${i % 40}`;
}

// Without this, V8's young generation would grow as in any long-running process,
// and hide that the records themselves need only the memory of the window.
if (!("Bun" in globalThis)) setFlagsFromString("--semi-space-growth-factor=1");

const records = Number(process.argv[2] ?? 1_000_000);
let loaded = 0;
const warmest = new Map<string, number>();
const startedAt = performance.now();
await ReadableStream.from(log(records))
  .pipeThrough(client.stage("Sensors.parse", { window: 512 }))
  .pipeTo(
    new WritableStream({
      write({ at, sensor, kelvin }) {
        strictEqual(at, loaded++, "results arrive in the order of the inputs");
        warmest.set(sensor, Math.max(kelvin, warmest.get(sensor) ?? 0));
      },
    }),
  );
const seconds = (performance.now() - startedAt) / 1000;
await client.close();
await server.close();

strictEqual(loaded, records);
for (const [sensor, kelvin] of warmest) console.log(sensor, kelvin);
const rss_mb = Math.round(process.memoryUsage().rss / 1e6);
console.log(JSON.stringify({ records, seconds, rss_mb }));
