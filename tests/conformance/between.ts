/**
 * A man in the middle: passes frames between the suite and a client or server of
 * this library, and changes some of them. To the suite it looks like a side that
 * breaks a rule or lacks an ability.
 *
 * @module
 */

import { type Duplex, memoryPair } from "../../mod.ts";
import { frame, join, KIND } from "../support/raw_peer.ts";
import { helloBody } from "./bytes.ts";
import { Cutter, type RawFrame } from "./wire.ts";

/** The two directions of one connection. Frames are sent at once. */
export interface Line {
  toSuite(...frames: Uint8Array[]): void;
  toEnd(...frames: Uint8Array[]): void;
  /** Ends both connections, without a GOAWAY. */
  cut(): void;
}

/** Changes frames: returns the frames to pass on in place of one, or `undefined` to pass it on unchanged. */
export interface Meddler {
  readonly fromSuite?: (
    frame: RawFrame,
    line: Line,
  ) => Uint8Array[] | undefined;
  readonly fromEnd?: (frame: RawFrame, line: Line) => Uint8Array[] | undefined;
  /** The connection has just been made. */
  readonly begin?: (line: Line) => void;
  /** The side has sent its FIN, which has been passed on. */
  readonly ended?: (line: Line) => void;
}

/** The bytes of a frame as it was received. */
export function bytesOf({ kind, flags, id, body }: RawFrame): Uint8Array {
  return frame(kind, id, body, flags);
}

/** Puts a new man in the middle between the side and the suite for each connection. */
export function meddle(far: Duplex, make: () => Meddler): Duplex {
  const [near, middle] = memoryPair();
  const meddler = make();
  const toEnd = far.writable.getWriter();
  const toSuite = middle.writable.getWriter();
  const line: Line = {
    toSuite: (...frames) => void toSuite.write(join(...frames)).catch(ignore),
    toEnd: (...frames) => void toEnd.write(join(...frames)).catch(ignore),
    cut() {
      closed = true;
      toSuite.abort(CLOSED).catch(ignore);
      toEnd.abort(CLOSED).catch(ignore);
    },
  };
  let closed = false;
  for (const writer of [toEnd, toSuite]) writer.closed.catch(ignore);
  meddler.begin?.(line);
  const pass = (bytes: Uint8Array, to: "toEnd" | "toSuite") => line[to](bytes);
  const { fromSuite, fromEnd } = meddler;
  pump(
    middle.readable,
    fromSuite && ((got) => fromSuite(got, line)),
    (bytes) => pass(bytes, "toEnd"),
    toEnd,
  );
  pump(
    far.readable,
    fromEnd && ((got) => fromEnd(got, line)),
    (bytes) => pass(bytes, "toSuite"),
    toSuite,
    () => meddler.ended?.(line),
  );
  const writer = near.writable.getWriter();
  return {
    readable: near.readable,
    writable: new WritableStream({
      // As with a socket that the other side has closed.
      write: (chunk) => closed ? Promise.reject(CLOSED) : writer.write(chunk),
      close: () => writer.close(),
      abort: (reason) => writer.abort(reason),
    }),
  };
}

const CLOSED = new Error("the connection is closed at the other side");

async function pump(
  from: ReadableStream<Uint8Array>,
  change: ((frame: RawFrame) => Uint8Array[] | undefined) | undefined,
  pass: (bytes: Uint8Array) => void,
  to: WritableStreamDefaultWriter<Uint8Array>,
  ended: () => void = ignore,
): Promise<void> {
  const cutter = new Cutter();
  const reader = from.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (change === undefined) pass(value);
      else {
        const out = cutter.push(value).flatMap((got) =>
          change(got) ?? [bytesOf(got)]
        );
        if (out.length > 0) pass(join(...out));
      }
    }
    if (cutter.unfinished) pass(cutter.rest());
    await to.close().catch(ignore);
    ended();
  } catch (error) {
    to.abort(error).catch(ignore);
  }
}

/** The magic, and version 1. */
const MAGIC = helloBody();

/** Changes the fields of a HELLO. Bytes that are no HELLO stay as they are. */
export function changeHello(
  { kind, body }: RawFrame,
  change: (
    fields: readonly (readonly [number, readonly number[]])[],
  ) => readonly (readonly [number, readonly number[]])[],
): Uint8Array[] | undefined {
  if (kind !== KIND.HELLO || !MAGIC.every((byte, i) => body[i] === byte)) {
    return undefined;
  }
  const fields: [number, number[]][] = [];
  let at = 8;
  while (at + 3 <= body.length) {
    const length = body[at + 1] * 256 + body[at + 2];
    fields.push([body[at], [...body.subarray(at + 3, at + 3 + length)]]);
    at += 3 + length;
  }
  if (at !== body.length) return undefined;
  return [frame(KIND.HELLO, 0, helloBody(change(fields)))];
}

function ignore(): void {}

/**
 * Changes only the first HELLO in a direction. Bytes that are no HELLO, or no
 * frames, pass unchanged.
 */
export function helloAlone(
  far: Duplex,
  change: Parameters<typeof changeHello>[1],
): Duplex {
  return {
    readable: far.readable.pipeThrough(firstHello(change)),
    writable: through(far.writable, firstHello(change)),
  };
}

/** A writable whose bytes pass a transform. It passes on abort and FIN. */
function through(
  writable: WritableStream<Uint8Array>,
  transform: TransformStream<Uint8Array, Uint8Array>,
): WritableStream<Uint8Array> {
  const from = transform.writable.getWriter();
  const piped = transform.readable.pipeTo(writable);
  piped.catch(ignore);
  return new WritableStream({
    write: (chunk) => from.write(chunk),
    async close() {
      await from.close();
      await piped;
    },
    abort: (reason) => from.abort(reason),
  });
}

function firstHello(
  change: Parameters<typeof changeHello>[1],
): TransformStream<Uint8Array, Uint8Array> {
  let held: Uint8Array | undefined = new Uint8Array(0);
  return new TransformStream({
    transform(chunk, controller) {
      if (held === undefined) return controller.enqueue(chunk);
      held = join(held, chunk);
      const hello = held.length < 5 || held[4] === KIND.HELLO;
      const short = held.length < 4 ||
        (held[0] === 0 && held[1] === 0 && held[2] <= 0x40);
      if (hello && short) {
        const [first] = new Cutter().push(held);
        if (first === undefined) {
          // A header alone may be what its receiver has to judge.
          const length = held.length < 4 ? 0 : held[2] * 256 + held[3];
          if (length <= 16_384) return;
        } else if (
          first.kind === KIND.HELLO && first.reserved === 0 && first.flags === 0
        ) {
          const changed = changeHello(first, change) ?? [bytesOf(first)];
          const rest = held.subarray(12 + first.body.length);
          held = undefined;
          return controller.enqueue(join(...changed, rest));
        }
      }
      controller.enqueue(held);
      held = undefined;
    },
    flush(controller) {
      if (held !== undefined && held.length > 0) controller.enqueue(held);
    },
  });
}
