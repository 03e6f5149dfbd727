/**
 * The client of `bench:urgent`, in a process of its own: makes urgent calls one
 * after another beside a load, and sends bytes over a plain socket beside both.
 *
 * @module
 */

import { connect as connectPlain } from "node:net";
import { Client, connect } from "../../mod.ts";
import { program } from "../support/program.ts";
import type { services, UrgentListening } from "./server.ts";

/** What runs beside the urgent calls. */
export const LOADS = ["idle", "messages", "stream"] as const;
export type Load = (typeof LOADS)[number];

/** The only argument of the client. */
export interface UrgentOrder extends UrgentListening {
  readonly load: Load;
  readonly seconds: number;
}

/** Times in ms. */
export interface Times {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
}

/** What the client measured: the urgent calls, the bytes, and the megabytes a second of the load, in both directions. */
export interface UrgentResult {
  readonly urgent: Times;
  readonly byte: Times;
  readonly mb_per_s: number;
}

const MESSAGES = 16;
const MESSAGE = 4 * 1024 * 1024 - 64;
/** Between two measurements, in ms. */
const PAUSE = 1;

type TestClient = Client<typeof services>;

const START: Record<Load, (client: TestClient) => void> = {
  idle: () => {},
  messages: (client) => {
    const bytes = new Uint8Array(MESSAGE);
    const again = async () => {
      for (;;) await client.call("Test.echo", bytes);
    };
    for (let i = 0; i < MESSAGES; i++) again().catch(() => {});
  },
  stream: (client) => {
    const read = async () => {
      const items = await client.call("Test.flood");
      for await (const _ of items);
    };
    read().catch(() => {});
  },
};

/** Runs `once` again and again. */
async function times(
  seconds: number,
  once: () => Promise<unknown>,
): Promise<Times> {
  const all: number[] = [];
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    const start = performance.now();
    await once();
    all.push(performance.now() - start);
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
  all.sort((a, b) => a - b);
  const at = (part: number) => all[Math.floor((all.length - 1) * part)];
  return { count: all.length, p50: at(0.5), p99: at(0.99) };
}

async function run(order: UrgentOrder): Promise<UrgentResult> {
  const { port, plain, load, seconds } = order;
  const client: TestClient = new Client(await connect({ port }));
  const socket = connectPlain(plain, "127.0.0.1");
  socket.setNoDelay(true);
  await new Promise((resolve) => socket.once("connect", resolve));
  START[load](client);
  const byte = () =>
    new Promise((resolve) => {
      socket.once("data", resolve);
      socket.write("x");
    });
  const urgent = () => client.call("Test.ping", 1, { priority: "urgent" });
  const warm = seconds / 4;
  await times(warm, urgent);
  const { bytesRead: before } = client.stats();
  const start = performance.now();
  const measured = await times(seconds, urgent);
  const took = performance.now() - start;
  const mb = (client.stats().bytesRead - before) / 1e6;
  const bytes = await times(seconds, byte);
  await client.abort();
  socket.destroy();
  return { urgent: measured, byte: bytes, mb_per_s: mb / took * 1000 };
}

if (import.meta.main) await program(run);
