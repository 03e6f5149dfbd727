/**
 * Makes the bytes of each frame of the native protocol that a scripted peer
 * sends. `docs/protocol.md` is normative for every layout here.
 *
 * @module
 */

import { utf8 } from "../base/utf8.ts";
import type { MetadataInit } from "../types/call.ts";
import type { CallWindow, PeerHello, Serializer } from "../types/connection.ts";
import {
  CANCEL,
  ERROR,
  FLAG_ACK,
  FLAG_ALL,
  FLAG_BODY,
  FLAG_DEADLINE,
  FLAG_KEEP,
  FLAG_METADATA,
  FLAG_NONE,
  FLAG_REFS,
  FLAG_STARTED,
  FLAG_URGENT,
  FLAG_WARNING,
  GOAWAY,
  HELLO,
  LAST,
  PING,
  PONG,
  RELEASE,
  REPLY,
  REQUEST,
  WINDOW,
  writeU16,
  writeU32,
} from "../wire/frame.ts";
import { encodeFrame } from "../wire/frame_transforms.ts";
import { codeAndText } from "../wire/frame_writer.ts";
import { encodeHello } from "../wire/hello.ts";
import { toMetadata } from "../wire/metadata.ts";
import { MAX_METHOD } from "../wire/native_codec.ts";
import { PayloadEncoder } from "../wire/values/payload.ts";
import type { PayloadRole } from "../wire/values/to_json.ts";
import type { ResultReference } from "./peer_frame.ts";

/** Joins arrays of bytes to a new one. */
export function join(parts: readonly Uint8Array[]): Uint8Array {
  const size = parts.reduce((sum, { length }) => sum + length, 0);
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** A REQUEST before it is encoded. */
export interface RequestParts {
  readonly id: number;
  readonly method: string;
  readonly params: unknown;
  readonly timeout: number | undefined;
  readonly urgent: boolean;
  readonly metadata: MetadataInit | undefined;
  readonly keep: boolean;
  readonly references: readonly ResultReference[];
  /** Whether a stream comes beside the params. */
  readonly body: boolean;
}

/** An ERROR before it is encoded. */
export interface ErrorParts {
  readonly id: number;
  readonly code: string;
  readonly message: string;
  readonly started: boolean;
  readonly data: unknown;
  readonly metadata: MetadataInit | undefined;
}

/** Encodes the frames of one side. */
export class FrameMaker {
  readonly #payload: PayloadEncoder;
  readonly #serializer: Serializer | undefined;

  constructor(serializer: Serializer | undefined) {
    this.#payload = new PayloadEncoder({
      sender: serializer,
      receiver: serializer,
    });
    this.#serializer = serializer;
  }

  hello(hello: PeerHello): Uint8Array {
    const own = this.#serializer?.name;
    const body = encodeHello({
      ...hello,
      serializers: hello.serializers ?? own,
    });
    return encodeFrame({ kind: HELLO, body });
  }

  request(request: RequestParts): Uint8Array {
    const { id, method, params, timeout, urgent, metadata } = request;
    const { body: hasBody, keep, references } = request;
    const name = utf8(method);
    if (name.length > MAX_METHOD) {
      throw new RangeError(
        `Cannot call: the method name has ${name.length} bytes, at most ${MAX_METHOD} fit`,
      );
    }
    const flags = (timeout === undefined ? 0 : FLAG_DEADLINE) |
      (hasBody ? FLAG_BODY : 0) | (urgent ? FLAG_URGENT : 0) |
      (metadata === undefined ? 0 : FLAG_METADATA) |
      (keep ? FLAG_KEEP : 0) | (references.length > 0 ? FLAG_REFS : 0);
    const body = join([
      ...(timeout === undefined ? [] : [u32(timeout)]),
      ...metadataParts(metadata),
      ...referenceParts(references),
      ...[u16(name.length), name],
      ...this.#value(params, "params"),
    ]);
    return encodeFrame({ kind: REQUEST, flags, id, body });
  }

  reply(
    id: number,
    result: unknown,
    metadata: MetadataInit | undefined,
    hasBody: boolean,
  ): Uint8Array {
    const flags = (hasBody ? FLAG_BODY : 0) |
      (metadata === undefined ? 0 : FLAG_METADATA);
    const parts = [
      ...metadataParts(metadata),
      ...this.#value(result, "result"),
    ];
    return encodeFrame({ kind: REPLY, flags, id, body: join(parts) });
  }

  error(error: ErrorParts): Uint8Array {
    const { id, code, message, started, data, metadata } = error;
    const flags = (started ? FLAG_STARTED : 0) |
      (metadata === undefined ? 0 : FLAG_METADATA);
    const body = join([
      ...metadataParts(metadata),
      codeAndText(code, message),
      ...this.#value(data, "data"),
    ]);
    return encodeFrame({ kind: ERROR, flags, id, body });
  }

  cancel(id: number): Uint8Array {
    return encodeFrame({ kind: CANCEL, id });
  }

  release(id: number): Uint8Array {
    return encodeFrame({ kind: RELEASE, id });
  }

  ping(id: number): Uint8Array {
    return encodeFrame({ kind: PING, id });
  }

  pong(id: number): Uint8Array {
    return encodeFrame({ kind: PONG, id });
  }

  window(
    id: number,
    { windowCalls, windowBytes }: CallWindow,
    ack: boolean,
  ): Uint8Array {
    const body = join([u32(windowCalls), u32(windowBytes)]);
    return encodeFrame({ kind: WINDOW, flags: ack ? FLAG_ACK : 0, id, body });
  }

  goaway(
    lastId: number | undefined,
    code: string,
    message: string,
  ): Uint8Array {
    const flags = lastId === undefined ? FLAG_NONE : 0;
    const body = codeAndText(code, message);
    return encodeFrame({ kind: GOAWAY, flags, id: lastId ?? 0, body });
  }

  warning(): Uint8Array {
    const body = codeAndText("", "");
    return encodeFrame({ kind: GOAWAY, flags: FLAG_WARNING, body });
  }

  last(all: boolean): Uint8Array {
    return encodeFrame({ kind: LAST, flags: all ? FLAG_ALL : 0 });
  }

  /** The payload kind, and the payload. */
  #value(
    value: unknown,
    role: PayloadRole,
  ): [Uint8Array, Uint8Array] {
    const payload = this.#payload;
    payload.prepare(value, false, role);
    const parts: [Uint8Array, Uint8Array] = [
      Uint8Array.of(payload.kind),
      payload.toBytes(),
    ];
    payload.clear();
    return parts;
  }
}

function metadataParts(metadata: MetadataInit | undefined): Uint8Array[] {
  if (metadata === undefined) return [];
  const { bytes } = toMetadata(metadata);
  return [u16(bytes.length), bytes];
}

/** The block of references behind its length, of whatever size. */
function referenceParts(references: readonly ResultReference[]): Uint8Array[] {
  if (references.length === 0) return [];
  const block = join(references.flatMap(({ place, id, path }) => {
    const text = utf8(JSON.stringify([place, path]));
    return [u32(id), u16(text.length), text];
  }));
  return [u16(block.length), block];
}

function u16(n: number): Uint8Array {
  const bytes = new Uint8Array(2);
  writeU16(bytes, 0, n);
  return bytes;
}

function u32(n: number): Uint8Array {
  const bytes = new Uint8Array(4);
  writeU32(bytes, 0, n);
  return bytes;
}
