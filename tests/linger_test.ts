/** A typed close while the peer still sends: what was answered before it, and GOAWAY, arrive all the same. */

import { test } from "node:test";
import { assertEquals } from "@std/assert";
import {
  connect,
  type Duplex,
  echoServices,
  FrameDecoderStream,
  listen,
  memoryPair,
  Server,
} from "../mod.ts";
import { hello, join, KIND, readCode, request } from "./support/raw_peer.ts";

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
