/**
 * A close for a fault, or a drain, while the peer still sends: the replies made
 * before it, and GOAWAY, arrive all the same. The connection ends even if the
 * peer never closes.
 */

import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import {
  ConnectionError,
  type Duplex,
  echoServices,
  FrameDecoderStream,
  Server,
} from "../../mod.ts";
import { TestClock, turn } from "../support/clock.ts";
import {
  hello,
  isWarning,
  join,
  KIND,
  readCode,
  request,
} from "../support/raw_peer.ts";
import { flood, receive, transports } from "../support/transports.ts";

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

/**
 * Calls and reads until it is warned, pauses without a LAST, and sends much more
 * once the GOAWAY has come; returns the replies' ids and the last that is
 * served. Calls `quiet` when all that it has called is answered.
 */
async function callUntilGoodbye(
  duplex: Duplex,
  quiet: () => Promise<void>,
): Promise<[Set<number>, number]> {
  const replies = new Set<number>();
  let warned = false;
  let lastId: number | undefined;
  const reading = (async () => {
    const frames = duplex.readable.pipeThrough(new FrameDecoderStream());
    for await (const frame of frames) {
      if (frame.kind === KIND.REPLY) replies.add(frame.id);
      if (isWarning(frame)) warned = true;
      else if (frame.kind === KIND.GOAWAY) lastId = frame.id;
    }
  })();
  const writer = duplex.writable.getWriter();
  await writer.write(hello());
  let id = 0;
  while (!warned) {
    const more = Array.from({ length: 100 }, () => request(++id, "Echo.echo"));
    await writer.write(join(...more));
    // Within the window, as a well-behaved peer.
    while (!warned && id - replies.size > 2000) await turn();
  }
  while (replies.size < id) await turn();
  await quiet();
  while (lastId === undefined) await turn();
  const late = request(++id, "Echo.echo", "z".repeat(60_000));
  for (let i = 0; i < 50; i++) {
    new DataView(late.buffer).setUint32(8, ++id);
    await writer.write(late);
  }
  await writer.close();
  await reading;
  return [replies, lastId];
}

for (const transport of transports) {
  test(`[L15] ${transport.name}: a close for a fault while the peer sends: replies and GOAWAY arrive`, async () => {
    const { a, b, release } = await transport.make();
    const server = new Server(echoServices());
    server.accept(b);
    await overrun(a);
    await server.close();
    await release().catch(() => {});
  });

  test(`[L15] ${transport.name}: a drain while the peer sends: every call up to GOAWAY's is answered`, async () => {
    const { a, b, release } = await transport.make();
    const clock = new TestClock();
    const server = new Server(echoServices(), { clock });
    const connection = server.accept(b);
    const calling = callUntilGoodbye(a, async () => {
      while (connection.stats().state === "draining") await clock.advance(1000);
    });
    while (connection.stats().chunksWritten < 5) await turn();
    await server.close();
    const [replies, lastId] = await calling;
    assertEquals(replies.size, lastId);
    for (let id = 1; id <= lastId; id++) assert(replies.has(id), `${id}`);
    assertEquals(await connection.closed, undefined);
    await release().catch(() => {});
  });
}

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
