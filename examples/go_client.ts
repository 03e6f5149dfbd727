// Calls HelloService.Hello of a Go net/rpc server in three styles, and checks every
// reply. Usage: `go_client.ts [HOST:PORT] [--calls N]`

import { strictEqual } from "node:assert";
import { performance } from "node:perf_hooks";
import process from "node:process";
import { parseArgs } from "node:util";
import { Client, connect, type EchoServices } from "@sluice/rpc";
import { netrpc } from "@sluice/rpc/netrpc";

function options(): { host: string; port: number; calls: number } {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { calls: { type: "string", default: "10000" } },
  });
  const [address = "127.0.0.1:8848", ...rest] = positionals;
  const [, host, port] = /^\[?([^\]]+)\]?:([1-9]\d{0,4})$/.exec(address) ?? [];
  const calls = Number(values.calls);
  const fits = host !== undefined && Number(port) <= 65_535 &&
    Number.isInteger(calls) && calls > 0 && rest.length === 0;
  if (fits) return { host, port: Number(port), calls };
  console.error(
    "Usage: go_client.ts [HOST:PORT] [--calls N]  (default 127.0.0.1:8848, 10000)",
  );
  process.exit(2);
}

type Hello = Client<EchoServices>;

async function call(client: Hello, i: number): Promise<void> {
  const reply = await client.call("HelloService.Hello", `client ${i}`);
  strictEqual(reply, `hello:client ${i}`);
}

/** Awaits each reply before it sends the next request. */
async function sync(client: Hello, calls: number): Promise<void> {
  for (let i = 0; i < calls; i++) await call(client, i);
}

/** Sends as fast as the window allows, without waiting for replies. */
async function pipelined(client: Hello, calls: number): Promise<void> {
  const replies: Promise<void>[] = [];
  for (let i = 0; i < calls; i++) {
    await client.ready;
    replies.push(call(client, i));
  }
  await Promise.all(replies);
}

/** Makes all calls at once. Those above the window wait in the client. */
async function concurrent(client: Hello, calls: number): Promise<void> {
  const ids = Array.from({ length: calls }, (_, i) => i);
  await Promise.all(ids.map((i) => call(client, i)));
}

const { host, port, calls } = options();
for (const style of [sync, pipelined, concurrent]) {
  const client: Hello = new Client(
    await connect({ host, port }),
    { protocol: netrpc() },
  );
  try {
    const startedAt = performance.now();
    await style(client, calls);
    const rate = Math.round(calls * 1000 / (performance.now() - startedAt));
    console.log(`${style.name}: ${calls} calls, ${rate} calls/s`);
  } finally {
    await client.close();
  }
}
