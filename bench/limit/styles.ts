/**
 * The limits: the loop of the client of each, and nothing else.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { CHUNK } from "../rows.ts";
import {
  checkReply,
  Cutter,
  encodeRequests,
  frameId,
  REPLY_TEXT,
} from "./frames.ts";
import { connectNode, connectPlain, type Plain, writeNode } from "./plain.ts";
import { connectStreams } from "./streams.ts";
import { openWebSocket } from "./websocket.ts";

/** The byte that goes there and back in a ping-pong. */
export const BYTE: Uint8Array = Uint8Array.of(7);

/** The options of a limit. */
export interface LimitWork {
  readonly calls: number;
  /** Seconds after which a ping-pong stops. */
  readonly seconds: number;
}

/** Does the work. Resolves with the number of calls made. */
type Limit = (
  port: number,
  work: LimitWork,
  begin: () => void,
) => Promise<number>;

/** Sends frames that are encoded in advance; parses and counts replies. */
const raw: Limit = async (port, { calls }, begin) => {
  const chunks = encodeRequests(calls);
  const socket = await connectNode(port);
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  let next = 0;
  const cutter = new Cutter((bytes, at) => {
    checkReply(bytes, at);
    if (frameId(bytes, at) !== next++) throw new Error("a reply is missing");
  });
  begin();
  read(socket, reject, (chunk) => {
    cutter.push(chunk);
    if (next === calls) resolve(calls);
  });
  for (const { bytes } of chunks) await writeNode(socket, bytes);
  return await promise;
};

/**
 * Largest number of calls in flight with a promise each: so few that the promises
 * are collected young. Without a bound it was slower by half.
 */
const WINDOW = 8192;
/** Slots for these calls, and for one more chunk. */
const SLOTS = 2 * WINDOW;

type Resolve = (reply: string) => void;

/** The same with a promise for each call, resolved through an array, and each reply is compared. */
const promise: Limit = async (port, { calls }, begin) => {
  const chunks = encodeRequests(calls);
  const socket = await connectNode(port);
  const finished = Promise.withResolvers<number>();
  const slots = new Array<Resolve | undefined>(SLOTS).fill(undefined);
  let made = 0;
  let answered = 0;
  let right = 0;
  let blocked = false;
  let next = 0;

  const keep = (resolve: Resolve) => void (slots[made++ % SLOTS] = resolve);
  const check = (reply: string) => {
    if (reply !== "hello:client " + right) finished.reject(wrong(right, reply));
    else if (++right === calls) finished.resolve(calls);
  };
  const send = () => {
    while (!blocked && next < chunks.length && made - answered < WINDOW) {
      const { bytes, calls } = chunks[next++];
      for (let i = 0; i < calls; i++) new Promise(keep).then(check);
      if (!socket.write(bytes)) blocked = true;
    }
  };
  const texts = new Texts();
  const cutter = new Cutter((bytes, at, end) => {
    checkReply(bytes, at);
    const slot = frameId(bytes, at) % SLOTS;
    slots[slot]!(texts.read(bytes, at + REPLY_TEXT, end));
    slots[slot] = undefined;
    answered++;
  });

  begin();
  read(socket, finished.reject, (chunk) => {
    texts.forget();
    cutter.push(chunk);
    send();
  });
  socket.on("drain", () => {
    blocked = false;
    send();
  });
  send();
  return await finished.promise;
};

/** Decodes a whole chunk at once, and cuts the texts out of it: the fastest on all three runtimes. */
class Texts {
  #bytes: Uint8Array | undefined;
  #text = "";

  /** Call this when bytes may have changed. */
  forget(): void {
    this.#bytes = undefined;
  }

  read(bytes: Uint8Array, start: number, end: number): string {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
        .toString("latin1");
    }
    return this.#text.substring(start, end);
  }
}

function wrong(i: number, reply: string): Error {
  return new Error(`call ${i} was answered ${JSON.stringify(reply)}`);
}

/** Reads a socket. An exception of `take` is a fault of the reader. */
function read(
  socket: Socket,
  reject: (reason: unknown) => void,
  take: (chunk: Uint8Array) => void,
): void {
  socket.on("error", reject);
  socket.on("data", (chunk) => {
    try {
      take(chunk);
    } catch (error) {
      reject(error);
    }
  });
}

/** Sends a byte, waits for the same byte, and sends the next. */
const pingpong: Limit = async (port, { calls, seconds }, begin) => {
  const { promise, resolve } = Promise.withResolvers<number>();
  const clock = new Clock(seconds);
  let done = 0;
  await connectPlain(port, (socket) => {
    begin();
    clock.start();
    socket.write(BYTE);
    return {
      data() {
        if (++done === calls || clock.late) resolve(done);
        else socket.write(BYTE);
      },
    };
  });
  return await promise;
};

/** The same over bare Web Streams. */
const webstreams: Limit = async (port, { calls, seconds }, begin) => {
  const { readable, writable } = await connectStreams(port);
  const reader = readable.getReader();
  const writer = writable.getWriter();
  const clock = new Clock(seconds);
  begin();
  clock.start();
  let done = 0;
  while (done < calls && !clock.late) {
    writer.write(BYTE); // The byte that comes back shows that it was taken.
    await reader.read();
    done++;
  }
  return done;
};

/** Writes chunks of {@linkcode CHUNK} bytes as fast as they are taken, and counts the bytes that come back. */
const bulk: Limit = async (port, { calls }, begin) => {
  const { promise, resolve } = Promise.withResolvers<number>();
  let socket!: Plain;
  let missing = calls * CHUNK;
  await connectPlain(port, (made) => {
    socket = made;
    return {
      data(bytes) {
        missing -= bytes.length;
        if (missing === 0) resolve(calls);
      },
    };
  });
  const chunk = new Uint8Array(CHUNK).fill(7);
  begin();
  for (let i = 0; i < calls; i++) {
    const busy = socket.write(chunk);
    if (busy !== undefined) await busy;
  }
  return await promise;
};

/** Messages in flight over a bare WebSocket, which has no backpressure of its own. */
export const IN_FLIGHT = 64;

/** Sends messages of {@linkcode CHUNK} bytes, and one more for each that comes back. */
const websocket: Limit = async (port, { calls }, begin) => {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const message = new Uint8Array(CHUNK).fill(7);
  const warmUp = calls >> 2;
  let sent = 0;
  let back = 0;
  const socket = await openWebSocket(port, (bytes) => {
    if (bytes.byteLength !== CHUNK) reject(new Error("a message is not whole"));
    if (++back === warmUp) begin();
    else if (back === warmUp + calls) resolve(calls);
    if (sent < warmUp + calls) send();
  });
  const send = () => {
    sent++;
    socket.send(message);
  };
  if (warmUp === 0) begin();
  while (sent < Math.min(IN_FLIGHT, calls)) send();
  return await promise;
};

/** Says whether a time is over, without reading the clock each time. */
class Clock {
  late = false;
  readonly #seconds: number;

  constructor(seconds: number) {
    this.#seconds = seconds;
  }

  start(): void {
    setTimeout(() => this.late = true, this.#seconds * 1000);
  }
}

/** The limits by name, in the order in which they run. */
export const LIMITS = {
  raw,
  promise,
  pingpong,
  webstreams,
  bulk,
  websocket,
};

/** The name of a limit. */
export type LimitStyle = keyof typeof LIMITS;
