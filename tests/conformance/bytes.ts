/**
 * Encodes frames and decodes them; all cases use it.
 *
 * @module
 */

import { frame, join, KIND } from "../support/raw_peer.ts";
import type { RawFrame } from "./wire.ts";

export {
  failure,
  frame,
  goaway,
  hello,
  type HelloFields,
  isWarning,
  join,
  KIND,
  last,
  reply,
  warning,
  window,
} from "../support/raw_peer.ts";

/** Payload kinds. */
export const PAYLOAD = {
  NONE: 0,
  JSON: 1,
  BYTES: 2,
  TEXT: 3,
  CUSTOM: 4,
  STREAM: 5,
  MESSAGE: 6,
};

/** Flag of REQUEST and REPLY: a body comes beside the payload. */
export const BODY = 0x10;
/** Flag of END: trailers. */
export const TRAILERS = 0x04;

/** A frame with one more flag. */
export function flagged(bytes: Uint8Array, flag: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[5] |= flag;
  return copy;
}

export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function u16(n: number): number[] {
  return [(n >>> 8) & 0xff, n & 0xff];
}

export function u32(n: number): number[] {
  return [...u16(n >>> 16), ...u16(n & 0xffff)];
}

/** A payload as in a body: its kind, then the bytes. */
export function payload(value: unknown): Uint8Array {
  if (value === undefined) return Uint8Array.of(PAYLOAD.NONE);
  if (value instanceof Uint8Array) return join([PAYLOAD.BYTES], value);
  if (typeof value === "string") return join([PAYLOAD.TEXT], utf8(value));
  return join([PAYLOAD.JSON], utf8(JSON.stringify(value)));
}

/** The optional parts of a REQUEST. */
export interface RequestParts {
  /** Milliseconds left; sets the flag. */
  deadline?: number;
  /** Entries, or the block's bytes; sets the flag. */
  metadata?: readonly (readonly [string, string])[] | Uint8Array;
  /** Sets flag KEEP. */
  keep?: boolean;
  /** References, or the bytes of the block; sets the flag. */
  references?: readonly Reference[] | Uint8Array;
  /** The payload, kind first. Without it, the payload is made from the value. */
  raw?: Uint8Array | readonly number[];
}

/** A reference: a place in the params, the id of a call, and a path in its result. */
export type Reference = readonly [
  place: readonly unknown[],
  id: number,
  path: readonly unknown[],
];

/** An entry of a block of references. */
export function referenceEntry(id: number, text: string | Uint8Array) {
  const bytes = typeof text === "string" ? utf8(text) : text;
  return join(u32(id), u16(bytes.length), bytes);
}

function referencePart(references: RequestParts["references"]): Uint8Array {
  if (references === undefined) return new Uint8Array(0);
  const bytes = references instanceof Uint8Array
    ? references
    : join(...references.map(([place, id, path]) =>
      referenceEntry(id, JSON.stringify([place, path]))
    ));
  return join(u16(bytes.length), bytes);
}

/** A metadata block, its length not counted. */
export function block(
  entries: readonly (readonly [string, string])[],
): Uint8Array {
  return join(...entries.map(([name, value]) => {
    const [n, v] = [utf8(name), utf8(value)];
    return join([n.length], n, u16(v.length), v);
  }));
}

function metadataPart(metadata: RequestParts["metadata"]): Uint8Array {
  if (metadata === undefined) return new Uint8Array(0);
  const bytes = metadata instanceof Uint8Array ? metadata : block(metadata);
  return join(u16(bytes.length), bytes);
}

/** A REQUEST; the method may be bytes that are no text. */
export function request(
  id: number,
  method: string | Uint8Array,
  value?: unknown,
  { deadline, metadata, keep, references, raw }: RequestParts = {},
): Uint8Array {
  const name = typeof method === "string" ? utf8(method) : method;
  const body = join(
    deadline === undefined ? [] : u32(deadline),
    metadataPart(metadata),
    referencePart(references),
    u16(name.length),
    name,
    raw ?? payload(value),
  );
  const flags = (deadline === undefined ? 0 : 1) |
    (metadata === undefined ? 0 : 2) | (keep ? 4 : 0) |
    (references === undefined ? 0 : 8);
  return frame(KIND.REQUEST, id, body, flags);
}

/** An answer with metadata, of either kind; `rest` is what follows the block. */
export function withMetadata(
  kind: number,
  id: number,
  metadata: NonNullable<RequestParts["metadata"]>,
  rest: Uint8Array,
  flags = 0,
): Uint8Array {
  return frame(kind, id, join(metadataPart(metadata), rest), flags | 2);
}

/** The body of an ERROR without metadata. */
export function errorBody(
  code: string | Uint8Array,
  message: string | Uint8Array = "",
  data: Uint8Array | readonly number[] = [PAYLOAD.NONE],
): Uint8Array {
  const c = typeof code === "string" ? utf8(code) : code;
  const m = typeof message === "string" ? utf8(message) : message;
  return join([c.length], c, u16(m.length), m, data);
}

/** A HELLO's body of magic, version and the fields given as type and value. */
export function helloBody(
  fields: readonly (readonly [number, readonly number[]])[] = [],
  version = 1,
  magic = "SLUICE",
): Uint8Array {
  return join(
    utf8(magic),
    u16(version),
    ...fields.map(([type, value]) => [type, ...u16(value.length), ...value]),
  );
}

/** A whole HELLO made of them. */
export function helloOf(...args: Parameters<typeof helloBody>): Uint8Array {
  return frame(KIND.HELLO, 0, helloBody(...args));
}

// Reading.

/** Reads a body field by field; strict, as the rules for text are. */
class Fields {
  at = 0;
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  uint(size: number): number {
    let n = 0;
    for (let i = 0; i < size; i++) n = n * 256 + this.bytes[this.at++];
    return n;
  }

  take(n: number): Uint8Array {
    if (this.at + n > this.bytes.length) throw new Error("a body is too short");
    return this.bytes.subarray(this.at, this.at += n);
  }

  text(n: number): string {
    return strict.decode(this.take(n));
  }

  metadata(flags: number): [string, string][] | undefined {
    if ((flags & 2) === 0) return undefined;
    const end = this.uint(2) + this.at;
    const entries: [string, string][] = [];
    while (this.at < end) {
      const name = this.text(this.uint(1));
      entries.push([name, this.text(this.uint(2))]);
    }
    if (this.at !== end) throw new Error("a metadata block is not filled");
    return entries;
  }

  references(flags: number): Reference[] {
    if ((flags & 8) === 0) return [];
    const end = this.uint(2) + this.at;
    const list: Reference[] = [];
    while (this.at < end) {
      const id = this.uint(4);
      const [place, path] = JSON.parse(this.text(this.uint(2)));
      list.push([place, id, path]);
    }
    if (this.at !== end) throw new Error("a block of references is not filled");
    return list;
  }

  payload(): Payload {
    const kind = this.uint(1);
    const bytes = this.take(this.bytes.length - this.at);
    return { kind, bytes, value: valueOf(kind, bytes) };
  }
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A received payload. */
export interface Payload {
  readonly kind: number;
  readonly bytes: Uint8Array;
  readonly value: unknown;
}

/** A decoded reply. */
export interface Answer extends Payload {
  readonly id: number;
  readonly ok: boolean;
  /** Of an ERROR. */
  readonly started: boolean;
  readonly code: string;
  readonly message: string;
}

export function readAnswer(
  { kind, flags, id, body }: Omit<RawFrame, "reserved">,
): Answer {
  const fields = new Fields(body);
  fields.metadata(flags);
  const ok = kind === KIND.REPLY;
  const code = ok ? "" : fields.text(fields.uint(1));
  const message = ok ? "" : fields.text(fields.uint(2));
  const started = ok || (flags & 1) !== 0;
  return { ...fields.payload(), id, ok, started, code, message };
}

/** A decoded REQUEST. */
export interface Request extends Payload {
  readonly id: number;
  readonly method: string;
  readonly remaining: number | undefined;
  readonly metadata: [string, string][] | undefined;
  /** Whether it has flag KEEP. */
  readonly keep: boolean;
  readonly references: Reference[];
  /** Bytes of its frame. */
  readonly size: number;
}

export function readRequest(
  { flags, id, body }: Omit<RawFrame, "reserved">,
): Request {
  const fields = new Fields(body);
  const remaining = (flags & 1) === 0 ? undefined : fields.uint(4);
  const metadata = fields.metadata(flags);
  const keep = (flags & 4) !== 0;
  const references = fields.references(flags);
  const method = fields.text(fields.uint(2));
  const size = 12 + body.length;
  const links = { keep, references };
  return {
    ...fields.payload(),
    id,
    method,
    remaining,
    metadata,
    ...links,
    size,
  };
}

/** A decoded WINDOW. */
export interface WindowUpdate {
  readonly id: number;
  readonly calls: number;
  readonly bytes: number;
  readonly ack: boolean;
}

export function readWindow(
  { flags, id, body }: Omit<RawFrame, "reserved">,
): WindowUpdate {
  if (body.length !== 8) throw new Error(`a WINDOW of ${body.length} bytes`);
  const fields = new Fields(body);
  const [calls, bytes] = [fields.uint(4), fields.uint(4)];
  return { id, calls, bytes, ack: (flags & 1) === 1 };
}

/** A decoded DATA. Its value is defined only for a whole item. */
export function readData(
  { body }: RawFrame,
): { readonly kind: number; readonly bytes: Uint8Array } {
  const fields = new Fields(body);
  return { kind: fields.uint(1), bytes: fields.take(body.length - 1) };
}

/** The value of a payload. Throws if it cannot be parsed. */
export function valueOf(kind: number, bytes: Uint8Array): unknown {
  switch (kind) {
    case PAYLOAD.NONE:
    case PAYLOAD.STREAM:
      if (bytes.length === 0) return undefined;
      break;
    case PAYLOAD.JSON:
      return JSON.parse(strict.decode(bytes));
    case PAYLOAD.BYTES:
      return bytes;
    case PAYLOAD.TEXT:
      return strict.decode(bytes);
  }
  throw new Error(`a payload of kind ${kind} and ${bytes.length} bytes came`);
}

/** A decoded GOAWAY. */
export interface Goaway {
  readonly lastId: number | undefined;
  readonly code: string;
  readonly text: string;
}

export function readGoaway(
  { flags, id, body }: Omit<RawFrame, "reserved">,
): Goaway {
  const fields = new Fields(body);
  const code = fields.text(fields.uint(1));
  const text = fields.text(fields.uint(2));
  if (fields.at !== body.length) throw new Error("a GOAWAY is too long");
  return { lastId: (flags & 1) === 1 ? undefined : id, code, text };
}

/** A decoded HELLO. */
export interface Hello {
  readonly size: number;
  readonly magic: string;
  readonly version: number;
  /** The types of its fields, in order. */
  readonly types: number[];
  readonly maxMessage: number;
  readonly calls: number;
  readonly bytes: number;
  /** Whether it takes WINDOW frames. */
  readonly windows: boolean;
  /** What it grants for streams; undefined without the capability. */
  readonly streams: StreamGrant | undefined;
  /** Whether it has the capability for dependent calls. */
  readonly keepsResults: boolean;
  readonly fragments: boolean;
}

/** The stream limits that a side grants. */
export interface StreamGrant {
  readonly credit: number;
  readonly max: number;
  /** Bytes of all streams together. */
  readonly all: number;
}

export function readHello({ body }: Omit<RawFrame, "reserved">): Hello {
  const fields = new Fields(body);
  const magic = fields.text(6);
  const version = fields.uint(2);
  const types: number[] = [];
  const limits = [0, 65_536, 64, 65_536];
  let capabilities = 0;
  let grant: StreamGrant = { credit: 65_536, max: 1024, all: 16 << 20 };
  while (fields.at < body.length) {
    const type = fields.uint(1);
    const value = fields.take(fields.uint(2));
    types.push(type);
    if (type >= 1 && type <= 3) {
      if (value.length !== 4) throw new Error(`HELLO field ${type} is no u32`);
      limits[type] = new Fields(value).uint(4);
    }
    if (type === 6) capabilities = new Fields(value).uint(4);
    if (type === 7) {
      const numbers = new Fields(value);
      const [credit, max, all] = [4, 4, 4].map((n) => numbers.uint(n));
      grant = { credit, max, all };
    }
  }
  const [, maxMessage, calls, bytes] = limits;
  return {
    size: body.length,
    magic,
    version,
    types,
    maxMessage,
    calls,
    bytes,
    fragments: (capabilities & 4) !== 0,
    windows: (capabilities & 16) !== 0,
    streams: (capabilities & 1) !== 0 ? grant : undefined,
    keepsResults: (capabilities & 32) !== 0,
  };
}
