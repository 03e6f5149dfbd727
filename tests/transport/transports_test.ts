// Scenarios that run over every transport, in both directions.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { ConnectionError } from "../../src/base/errors.ts";
import {
  flood,
  matrix,
  pattern,
  receive,
  send,
  stall,
  stalling,
} from "../support/transports.ts";

const MIB = 1_048_576;

matrix("what is written comes back from an echo", async (a, b) => {
  const echo = b.readable.pipeTo(b.writable);
  const sent = pattern(300_000);
  const [received] = await Promise.all([
    receive(a),
    (async () => {
      let at = 0;
      for (const size of [1, 2, 1000, 65_536, 100_000, 133_461]) {
        await send(a, sent.subarray(at, at += size));
      }
      await a.writable.close();
    })(),
    echo,
  ]);
  assertEquals(received.bytes, sent);
  assert(received.ended);
});

matrix("a side that has closed still reads", async (a, b) => {
  await send(a, pattern(10));
  await a.writable.close();
  const first = await receive(b);
  assert(first.ended);
  assertEquals(first.bytes, pattern(10));

  const [second] = await Promise.all([
    receive(a),
    send(b, pattern(200_000)).then(() => b.writable.close()),
  ]);
  assert(second.ended);
  assertEquals(second.bytes, pattern(200_000));
});

matrix("both sides close at the same time", async (a, b) => {
  await Promise.all([a.writable.close(), b.writable.close()]);
  const ends = await Promise.all([receive(a), receive(b)]);
  assertEquals(ends.map((end) => end.ended), [true, true]);
});

matrix(
  "a stalled reader stalls the writer until it reads again",
  async (a, b) => {
    const progress = { bytes: 0 };
    const writing = flood(a, 64 * MIB, progress);
    await stall(progress);
    // The system buffers up to about 10 MiB, each half 64 KiB.
    assert(progress.bytes < 32 * MIB, `${progress.bytes} bytes taken`);

    const reading = receive(b);
    assertEquals(await writing, undefined);
    await a.writable.close();
    assertEquals((await reading).bytes.byteLength, 64 * MIB);
  },
  stalling,
);

matrix("while one direction is stalled the other flows", async (a, b) => {
  const progress = { bytes: 0 };
  const writing = flood(a, 64 * MIB, progress);
  await stall(progress);

  const [, received] = await Promise.all([
    send(b, pattern(MIB)),
    receive(a, MIB),
  ]);
  assertEquals(received.bytes, pattern(MIB));

  await b.writable.abort(new Error("enough"));
  assert(await writing instanceof ConnectionError);
}, stalling);

matrix("[L20] 8 MiB and then the end arrive without a change", async (a, b) => {
  const sent = pattern(8 * MIB);
  const sending = send(a, sent).then(() => a.writable.close());
  const received = await receive(b);
  await sending;
  assert(received.ended);
  assertEquals(received.bytes.byteLength, sent.byteLength);
  assert(received.bytes.every((byte, i) => byte === sent[i]));
});

matrix(
  "a writer may use its buffer again once a write has settled",
  async (a, b) => {
    const buffer = new Uint8Array(100_000);
    const sending = (async () => {
      for (let i = 1; i <= 20; i++) {
        await send(a, buffer.fill(i));
      }
      await a.writable.close();
    })();
    const { bytes } = await receive(b);
    await sending;
    assertEquals(bytes.byteLength, 2_000_000);
    assert(bytes.every((byte, at) => byte === 1 + Math.floor(at / 100_000)));
  },
);

matrix(
  "a chunk that is read is a plain Uint8Array that belongs to the reader",
  async (a, b) => {
    await send(a, pattern(1000));
    const reader = b.readable.getReader();
    const { value } = await reader.read();
    reader.releaseLock();
    assertEquals(value!.constructor, Uint8Array);
    value!.fill(0);
    await send(a, pattern(1000));
    assertEquals((await receive(b, 1000)).bytes, pattern(1000));
  },
);

matrix(
  "an abort rejects the local read and the peer's",
  async (a, b, transport) => {
    const reason = new Error("enough");
    const own = receive(a);
    const other = receive(b);
    await a.writable.abort(reason);

    assertEquals((await own).error, reason);
    const { error, ended } = await other;
    if (transport.resets) {
      assert(error instanceof ConnectionError, String(error));
      assertEquals(error.code, "unavailable");
    } else {
      assert(ended || error instanceof ConnectionError);
    }
    assert(await flood(b, 64 * MIB, { bytes: 0 }) instanceof ConnectionError);
  },
);

matrix("an abort settles the local stalled write", async (a, b) => {
  const progress = { bytes: 0 };
  const chunk = new Uint8Array(65_536);
  const writer = a.writable.getWriter();
  const writing = (async () => {
    for (;;) {
      await writer.write(chunk);
      progress.bytes += chunk.byteLength;
    }
  })().catch((error) => error);
  await stall(progress);
  const reason = new Error("enough");
  await writer.abort(reason);
  writer.releaseLock();

  assertEquals(await writing, reason);
  const { bytes } = await receive(b);
  assert(bytes.byteLength <= progress.bytes + chunk.byteLength);
}, stalling);

matrix(
  "[L20] a reset settles a stalled write and a pending read",
  async (a, b, transport) => {
    const progress = { bytes: 0 };
    const writing = flood(a, 64 * MIB, progress);
    const reading = receive(a);
    await stall(progress);
    await b.writable.abort(new Error("enough"));

    const error = await writing;
    assert(error instanceof ConnectionError);
    assertEquals(error.code, "unavailable");
    const read = await reading;
    if (transport.resets) assert(read.error instanceof ConnectionError);
    await assertRejects(() => send(a, pattern(1)));
  },
  stalling,
);

matrix(
  "[L20] what arrived before a reset is read first",
  async (a, b, transport) => {
    await send(b, pattern(1));
    assertEquals((await receive(a, 1)).bytes.byteLength, 1);
    await send(b, pattern(30_000), pattern(30_000, 30_000));
    await stall({ bytes: 0 });
    await b.writable.abort(new Error("enough"));
    await stall({ bytes: 0 });

    const { bytes, error } = await receive(a);
    assertEquals(bytes, pattern(60_000));
    if (transport.resets) assert(error instanceof ConnectionError);
  },
);

matrix("after a cancel both sides still write", async (a, b) => {
  await a.readable.cancel(new Error("not interested"));
  const progress = { bytes: 0 };
  const [failure, received] = await Promise.all([
    flood(b, 32 * MIB, progress),
    receive(b, MIB),
    send(a, pattern(MIB)),
  ]);
  assertEquals(failure, undefined);
  assertEquals(received.bytes, pattern(MIB));
  await a.writable.close();
  assert((await receive(b)).ended);
  await b.writable.close();
});

matrix(
  "a cancel resumes the peer's stalled write",
  async (a, b) => {
    const progress = { bytes: 0 };
    const writing = flood(b, 64 * MIB, progress);
    await stall(progress);
    await a.readable.cancel();
    assertEquals(await writing, undefined);
    await send(a, pattern(10));
    assertEquals((await receive(b, 10)).bytes, pattern(10));
  },
  stalling,
);

matrix(
  "[L20] a close while the peer is sending loses nothing",
  async (a, b) => {
    const chatter = flood(b, 16 * MIB, { bytes: 0 })
      .then(() => b.writable.close());
    const discarding = receive(a);
    const sending = send(a, pattern(MIB)).then(() => a.writable.close());
    const received = await receive(b);
    await Promise.all([chatter, sending]);
    assert(received.ended);
    assertEquals(received.bytes, pattern(MIB));
    assertEquals((await discarding).bytes.byteLength, 16 * MIB);
  },
);

matrix(
  "a write that is not bytes fails and ends the connection",
  async (a, b) => {
    const writer = a.writable.getWriter();
    await assertRejects(
      () => writer.write("text" as unknown as Uint8Array),
      TypeError,
      "expected a Uint8Array, received string",
    );
    writer.releaseLock();
    assert((await receive(a)).error instanceof TypeError);
    await receive(b);
  },
);

matrix("an empty chunk does not end the stream", async (a, b) => {
  await send(a, new Uint8Array(0), pattern(5), new Uint8Array(0));
  await a.writable.close();
  assertEquals((await receive(b)).bytes, pattern(5));
});
