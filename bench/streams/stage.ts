/**
 * Small calls by `stage()`, and by a loop of `go`, in turns.
 *
 * @module
 */

import { program } from "../support/program.ts";
import { median } from "../support/stats.ts";
import { type StreamClient, timed, withServer } from "./peer.ts";

/** Calls of each in a round. */
export interface StageOrder {
  readonly calls: number;
  readonly rounds: number;
}

/** Calls a second. */
export interface StageResult {
  readonly loop: number;
  readonly stage: number;
}

const HELLO = "HelloService.Hello";
const WINDOW = 1024;

function check(i: number, reply: string): void {
  if (reply === "hello:client " + i) return;
  throw new Error(`call ${i} was answered "${reply}"`);
}

async function loop(client: StreamClient, calls: number): Promise<void> {
  const done = Promise.withResolvers<void>();
  let right = 0;
  for (let i = 0; i < calls; i++) {
    if (client.desiredSize <= 0) await client.ready;
    client.go(HELLO, "client " + i).reply.then((reply) => {
      check(i, reply);
      if (++right === calls) done.resolve();
    }).catch(done.reject);
  }
  await done.promise;
}

async function stage(client: StreamClient, calls: number): Promise<void> {
  let made = 0;
  const names = new ReadableStream<string>({
    pull(controller) {
      if (made === calls) controller.close();
      else controller.enqueue("client " + made++);
    },
  });
  const replies = names.pipeThrough(client.stage(HELLO, { window: WINDOW }));
  const reader = replies.getReader();
  for (let i = 0; i < calls; i++) {
    const { value } = await reader.read();
    check(i, `${value}`);
  }
  await reader.cancel();
}

function run({ calls, rounds }: StageOrder): Promise<StageResult> {
  return withServer(async (client) => {
    const times: Record<keyof StageResult, number[]> = { loop: [], stage: [] };
    for (let i = 0; i <= rounds; i++) {
      const one = await timed(() => loop(client, calls));
      const other = await timed(() => stage(client, calls));
      if (i === 0) continue; // Warming up.
      times.loop.push(one);
      times.stage.push(other);
    }
    const rate = (seconds: number[]) => calls / median(seconds);
    return { loop: rate(times.loop), stage: rate(times.stage) };
  });
}

if (import.meta.main) await program(run);
