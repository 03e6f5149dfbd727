/**
 * A raw peer of the native protocol: sends any bytes or frames, and reads the
 * frames that come back. With it, functions that make each kind of frame.
 *
 * @module
 */

import {
  type Duplex,
  type Frame,
  FrameDecoderStream,
  memoryPair,
} from "../../mod.ts";

/** Frame kinds by the names of docs/protocol.md. */
export const KIND = {
  HELLO: 0x01,
  REQUEST: 0x02,
  REPLY: 0x03,
  ERROR: 0x04,
  CANCEL: 0x05,
  PING: 0x06,
  PONG: 0x07,
  GOAWAY: 0x08,
  PAD: 0x09,
  LAST: 0x0a,
  WINDOW: 0x0b,
  FRAGMENT: 0x0c,
  RELEASE: 0x0d,
  DATA: 0x10,
  END: 0x11,
  STOP: 0x12,
  CREDIT: 0x13,
} as const;

/** One frame's bytes. */
export function frame(
  kind: number,
  id = 0,
  body: Uint8Array | readonly number[] = [],
  flags = 0,
): Uint8Array {
  const bytes = new Uint8Array(12 + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, body.length);
  view.setUint8(4, kind);
  view.setUint8(5, flags);
  view.setUint32(8, id);
  bytes.set(body, 12);
  return bytes;
}

/** Joins byte arrays. */
export function join(...parts: (Uint8Array | readonly number[])[]): Uint8Array {
  const size = parts.reduce((sum, { length }) => sum + length, 0);
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function u16(n: number): number[] {
  return [n >>> 8, n & 0xff];
}

function u32(n: number): number[] {
  return [n >>> 24, (n >>> 16) & 0xff, (n >>> 8) & 0xff, n & 0xff];
}

function text(s: string): Uint8Array {
  return new TextEncoder().encode(s);
}

/** Fields of a HELLO. */
export interface HelloFields {
  maxMessage?: number;
  calls?: number;
  bytes?: number;
  version?: number;
  /** Whether it takes WINDOW frames. Default: it does not. */
  windows?: boolean;
  /** Whether it offers streams, and with which credit, number, and credit of all. */
  streams?: boolean | { credit: number; max: number; all?: number };
  /** Whether it keeps results for dependent calls. */
  keepsResults?: boolean;
  /** Whether it reads fragments. */
  fragments?: boolean;
  /** Appended as they are. */
  extra?: readonly number[];
}

/** A HELLO frame. */
export function hello(fields: HelloFields = {}): Uint8Array {
  const {
    maxMessage = 4 << 20,
    calls = 4096,
    bytes = 16 << 20,
    version = 1,
    windows = false,
    streams = false,
    keepsResults = false,
    fragments = false,
    extra = [],
  } = fields;
  const grant = typeof streams === "object"
    ? [
      ...[7, 0, 12, ...u32(streams.credit), ...u32(streams.max)],
      ...u32(streams.all ?? 16 << 20),
    ]
    : [];
  const capabilities = (streams === false ? 0 : 1) | (fragments ? 4 : 0) |
    (windows ? 16 : 0) | (keepsResults ? 32 : 0);
  const body = join(
    text("SLUICE"),
    u16(version),
    [1, 0, 4, ...u32(maxMessage)],
    [2, 0, 4, ...u32(calls)],
    [3, 0, 4, ...u32(bytes)],
    capabilities === 0 ? [] : [6, 0, 4, ...u32(capabilities), ...grant],
    extra,
  );
  return frame(KIND.HELLO, 0, body);
}

/** What a REQUEST has to do with the results of other calls. */
export interface Links {
  keep?: boolean;
  /** The entries of the block of references: ids, and texts. */
  references?: readonly (readonly [id: number, text: string])[];
}

/** A block of references behind its length; nothing without references. */
function block({ references = [] }: Links): Uint8Array {
  if (references.length === 0) return new Uint8Array(0);
  const entries = join(
    ...references.map(([id, entry]) =>
      join(u32(id), u16(text(entry).length), text(entry))
    ),
  );
  return join(u16(entries.length), entries);
}

/** A REQUEST frame with a string payload, or with given payload bytes (kind first). */
export function request(
  id: number,
  method: string,
  payload: string | readonly number[] = "x",
  remaining?: number,
  links: Links = {},
): Uint8Array {
  const name = text(method);
  const body = join(
    remaining === undefined ? [] : u32(remaining),
    block(links),
    u16(name.length),
    name,
    typeof payload === "string" ? join([3], text(payload)) : payload,
  );
  const flags = (remaining === undefined ? 0 : 1) | (links.keep ? 4 : 0) |
    (links.references?.length ? 8 : 0);
  return frame(KIND.REQUEST, id, body, flags);
}

/** A REPLY frame with a string payload, or with given payload bytes (kind first). */
export function reply(
  id: number,
  payload: string | readonly number[] = "ok",
): Uint8Array {
  const body = typeof payload === "string"
    ? join([3], text(payload))
    : Uint8Array.from(payload);
  return frame(KIND.REPLY, id, body);
}

/** An ERROR frame without data. */
export function failure(
  id: number,
  code: string,
  message: string,
  started: boolean,
): Uint8Array {
  const codeBytes = text(code);
  const messageBytes = text(message);
  const body = join(
    [codeBytes.length],
    codeBytes,
    u16(messageBytes.length),
    messageBytes,
    [0],
  );
  return frame(KIND.ERROR, id, body, started ? 1 : 0);
}

/** A GOAWAY frame. An undefined `lastId` says that no call was served. */
export function goaway(
  lastId: number | undefined,
  code = "",
  message = "",
): Uint8Array {
  const codeBytes = text(code);
  const messageBytes = text(message);
  const body = join(
    [codeBytes.length],
    codeBytes,
    u16(messageBytes.length),
    messageBytes,
  );
  return frame(KIND.GOAWAY, lastId ?? 0, body, lastId === undefined ? 1 : 0);
}

/** A GOAWAY that is a warning. */
export function warning(): Uint8Array {
  return frame(KIND.GOAWAY, 0, [0, 0, 0], 2);
}

/** Whether a frame is a warning. */
export function isWarning(got: Required<Frame>): boolean {
  return got.kind === KIND.GOAWAY && got.flags === 2;
}

/** A LAST frame; with `all` it stands for FIN. */
export function last(all = false): Uint8Array {
  return frame(KIND.LAST, 0, [], all ? 1 : 0);
}

/** The flag of stream frames whose sender made the call. */
export const CALLER = 1;

/** A DATA frame with a payload, kind first. */
export function data(
  id: number,
  payload: Uint8Array | readonly number[],
  flags = 0,
): Uint8Array {
  return frame(KIND.DATA, id, payload, flags);
}

/** An END frame; with a code, the stream has failed. */
export function end(
  id: number,
  flags = 0,
  code?: string,
  message = "",
): Uint8Array {
  if (code === undefined) return frame(KIND.END, id, [], flags);
  const body = failure(id, code, message, false).subarray(12);
  return frame(KIND.END, id, body, flags | 2);
}

/** A STOP frame. */
export function stop(id: number, flags = 0, code = "cancelled"): Uint8Array {
  const body = goaway(0, code, "").subarray(12);
  return frame(KIND.STOP, id, body, flags);
}

/** A CREDIT frame. */
export function credit(id: number, bytes: number, flags = 0): Uint8Array {
  return frame(KIND.CREDIT, id, u32(bytes), flags);
}

/** A CREDIT frame for all streams of the connection. */
export function connectionCredit(bytes: number): Uint8Array {
  return frame(KIND.CREDIT, 0, u32(bytes), 2);
}

/** A WINDOW frame; with `ack`, one that confirms an update. */
export function window(
  id: number,
  calls: number,
  bytes = 16 << 20,
  ack = false,
): Uint8Array {
  return frame(KIND.WINDOW, id, [...u32(calls), ...u32(bytes)], ack ? 1 : 0);
}

/** Code and text of a GOAWAY or ERROR frame. */
export function readCode(got: Required<Frame>): { code: string; text: string } {
  const decoder = new TextDecoder();
  const n = got.body[0];
  const code = decoder.decode(got.body.subarray(1, 1 + n));
  const m = (got.body[1 + n] << 8) | got.body[2 + n];
  return { code, text: decoder.decode(got.body.subarray(3 + n, 3 + n + m)) };
}

/** The method of a REQUEST frame that has no deadline and no metadata. */
export function readMethod(got: Required<Frame>): string {
  const n = (got.body[0] << 8) | got.body[1];
  return new TextDecoder().decode(got.body.subarray(2, 2 + n));
}

/** One side of a memory pair, driven by the test. */
export class RawPeer {
  /** The other side, for a client or server. */
  readonly duplex: Duplex;
  /**
   * Whether it answers a warning with LAST as soon as the test reads that far,
   * as every peer that has no calls left to make. The test does not see such a
   * warning.
   */
  answersWarning = true;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #frames: ReadableStreamDefaultReader<Required<Frame>>;

  constructor(options: { highWaterMark?: number } = {}) {
    const [near, far] = memoryPair(options);
    this.duplex = far;
    this.#writer = near.writable.getWriter();
    this.#writer.closed.catch(() => {});
    this.#frames = near.readable.pipeThrough(new FrameDecoderStream())
      .getReader();
  }

  /** Sends bytes as one chunk. */
  async send(...parts: Uint8Array[]): Promise<void> {
    await this.#writer.write(join(...parts));
  }

  /** The next frame; undefined after the FIN of the other side. */
  async next(): Promise<Required<Frame> | undefined> {
    const { value } = await this.#frames.read();
    if (!this.answersWarning || !value || !isWarning(value)) return value;
    await this.send(last()).catch(() => {});
    return this.next();
  }

  /** The next frame of one kind; skips others. */
  async nextOf(kind: number): Promise<Required<Frame>> {
    for (;;) {
      const got = await this.next();
      if (got === undefined) throw new Error(`no frame of kind ${kind} came`);
      if (got.kind === kind) return got;
    }
  }

  /** All frames until the FIN of the other side. */
  async rest(): Promise<Required<Frame>[]> {
    const frames: Required<Frame>[] = [];
    for (;;) {
      const got = await this.next();
      if (got === undefined) return frames;
      frames.push(got);
    }
  }

  /** Sends FIN. */
  async end(): Promise<void> {
    await this.#writer.close();
  }

  /** Resets the connection. */
  async reset(): Promise<void> {
    await this.#writer.abort(new Error("reset by the raw peer"));
  }
}
