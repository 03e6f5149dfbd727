/**
 * Measures small calls by `stage()`, by a loop of `go`, and items through a
 * `TransformStream` that does nothing, in turns.
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

/** Calls, or items, a second. */
export interface StageResult {
  readonly loop: number;
  readonly stage: number;
  readonly nothing: number;
}

const HELLO = "HelloService.Hello";
const PREFIX = "hello:";
const WINDOW = 1024;

function check(prefix: string, i: number, reply: string): void {
  if (reply === prefix + "client " + i) return;
  throw new Error(`call ${i} has the reply "${reply}"`);
}

async function loop(client: StreamClient, calls: number): Promise<void> {
  const done = Promise.withResolvers<void>();
  let right = 0;
  for (let i = 0; i < calls; i++) {
    if (client.desiredSize <= 0) await client.ready;
    client.go(HELLO, "client " + i).reply.then((reply) => {
      check(PREFIX, i, reply);
      if (++right === calls) done.resolve();
    }).catch(done.reject);
  }
  await done.promise;
}

/** Sends as many names through `transform`, and checks what comes out. */
async function through(
  transform: ReadableWritablePair<string, string>,
  calls: number,
  prefix: string,
): Promise<void> {
  let made = 0;
  const names = new ReadableStream<string>({
    pull(controller) {
      if (made === calls) controller.close();
      else controller.enqueue("client " + made++);
    },
  });
  const reader = names.pipeThrough(transform).getReader();
  for (let i = 0; i < calls; i++) {
    const { value } = await reader.read();
    check(prefix, i, `${value}`);
  }
  await reader.cancel();
}

function run({ calls, rounds }: StageOrder): Promise<StageResult> {
  return withServer(async (client) => {
    const ways: Record<keyof StageResult, () => Promise<void>> = {
      loop: () => loop(client, calls),
      stage: () =>
        through(client.stage(HELLO, { window: WINDOW }), calls, PREFIX),
      nothing: () => through(new TransformStream(), calls, ""),
    };
    const names = Object.keys(ways) as (keyof StageResult)[];
    const rates = { loop: 0, stage: 0, nothing: 0 };
    const times = names.map((): number[] => []);
    for (let i = 0; i <= rounds; i++) {
      for (const [j, name] of names.entries()) {
        const seconds = await timed(ways[name]);
        if (i > 0) times[j].push(seconds); // The first round only warms up.
      }
    }
    names.forEach((name, j) => rates[name] = calls / median(times[j]));
    return rates;
  });
}

if (import.meta.main) await program(run);
