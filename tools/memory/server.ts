/**
 * The server under attack, in a process of its own. It reports its address, then
 * its size some times a second, until its parent ends it.
 *
 * @module
 */

import process from "node:process";
import { parentDone, sendToParent } from "../../bench/demo/parent.ts";
import {
  type CallContext,
  listen,
  Server,
  type ServerOptions,
} from "../../mod.ts";
import { collect, memory, memoryNow } from "../../tests/support/heap.ts";
import { caseOf, LIMITS } from "./cases.ts";
import { gob } from "./gob.ts";

/** Its reports: its address once, then its size, and how connections ended once. */
export type Report =
  | { readonly address: { readonly host: string; readonly port: number } }
  | { readonly rss: number; readonly held: number; readonly read: number }
  | { readonly ended: Record<string, number> };

/** Milliseconds between two measurements. */
const EVERY = 300;

const large = new Uint8Array(4_000_000);
const waiting: (() => void)[] = [];

/** Keeps params until the call ends. */
function hold(params: unknown, { signal }: CallContext): Promise<number> {
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(params === null ? 0 : 1));
  });
}

const services = {
  Sink: {
    hold,
    rows: hold,
    /** Receives a stream that it does not read. */
    stream: hold,
    bytes: (params: Uint8Array) => params.length,
    /** Answers when all are asked to. */
    large: async () => {
      await new Promise<void>((resolve) => waiting.push(resolve));
      return large;
    },
    release: () => {
      for (const resolve of waiting) resolve();
    },
  },
};

function pause(): Promise<false> {
  return new Promise((resolve) => setTimeout(resolve, EVERY, false));
}

if (import.meta.main) {
  const { options, undecided, wire } = caseOf(process.argv[2]);
  const ended: Record<string, number> = {};
  const all: ServerOptions = {
    ...LIMITS,
    ...options,
    onError: (error) => {
      const { code } = error as { code: string };
      ended[code] = (ended[code] ?? 0) + 1;
    },
  };
  if (undecided) all.authorize = () => new Promise(() => {});
  if (wire === "gob") all.protocol = gob as never;
  const server = new Server<object>(services, all);
  const listener = await listen({ port: 0 });
  server.serve(listener);
  const before = await memory();
  const { host, port } = listener.address as { host: string; port: number };
  sendToParent({ address: { host, port } } satisfies Report);
  const done = parentDone();
  for (let over = false; !over;) {
    over = await Promise.race([done.then(() => true), pause()]);
    const { rss } = await memoryNow();
    await collect();
    const { live } = await memoryNow();
    const { bytesRead: read } = server.stats();
    const size = { rss: rss - before.rss, held: live - before.live, read };
    sendToParent(size satisfies Report);
  }
  sendToParent({ ended } satisfies Report);
  process.exit();
}
