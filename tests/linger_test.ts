/**
 * A typed close while the peer still sends: what was answered before it, and
 * GOAWAY, arrive all the same. And its end, also when the peer never closes.
 */

import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import {
  connect,
  ConnectionError,
  type Duplex,
  echoServices,
  FrameDecoderStream,
  listen,
  memoryPair,
  Server,
} from "../mod.ts";
import { TestClock } from "./support/clock.ts";
import { hello, join, KIND, readCode, request } from "./support/raw_peer.ts";
import { flood, receive, transports } from "./support/transports.ts";

const ANSWERED = 1000;

/** Sends good calls, a bad one, and then much more, all before it reads a byte. */
async function overrun(duplex: Duplex): Promise<void> {
  const writer = duplex.writable.getWriter();
  const calls = Array.from(
    { length: ANSWERED },
    (_, i) => request(i + 1, "Echo.echo", "x".repeat(100)),
  );
  await writer.write(join(hello(), ...calls, request(1, "Echo.echo")));
  const more = request(ANSWERED + 1, "Echo.echo", "y".repeat(60_000));
  for (let i = 0; i < 50; i++) await writer.write(more);

  let replies = 0;
  let code = "";
  const frames = duplex.readable.pipeThrough(new FrameDecoderStream());
  for await (const frame of frames) {
    if (frame.kind === KIND.REPLY) replies++;
    if (frame.kind === KIND.GOAWAY) code = readCode(frame).code;
  }
  assertEquals([replies, code], [ANSWERED, "protocol_error"]);
  await writer.close();
}

test("[L15] over TCP", async () => {
  const listener = await listen({ port: 0 });
  const server = new Server(echoServices());
  server.serve(listener);
  await overrun(await connect(listener.address));
  await server.close();
});

test("[L15] over a memory pair", async () => {
  const [near, far] = memoryPair();
  const server = new Server(echoServices());
  server.accept(far);
  await overrun(near);
  await server.close();
});

for (const transport of transports) {
  test(`${transport.name}: a peer that never closes loses the transport when lingering is over`, async () => {
    const { a, b, release } = await transport.make();
    const clock = new TestClock();
    const server = new Server(echoServices(), { clock });
    let over = false;
    server.accept(b).closed.then(() => over = true);
    await clock.advance(10_000);
    assert((await receive(a)).ended);
    while (!over) await clock.advance(1_000);
    // Were it still there, it would go on taking and dropping all of this.
    const failure = await flood(a, 64 * 1_048_576, { bytes: 0 });
    assert(failure instanceof ConnectionError);
    await server.close();
    await release().catch(() => {});
  });
}
