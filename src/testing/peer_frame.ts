/**
 * The frames of the native protocol as objects that a test can compare, and as
 * text. `docs/protocol.md` is normative for every layout here.
 *
 * - A frame is checked whole: a body is exactly as long as its layout.
 * - Text for people never has credentials, and at most {@linkcode MAX_SHOWN}
 *   characters of a value.
 *
 * @module
 */

import { ConnectionError, protocolError, quote } from "../base/errors.ts";
import { type Metadata, NO_METADATA } from "../types/call.ts";
import type { PeerHello, Serializer } from "../types/connection.ts";
import { FieldReader } from "../wire/fields.ts";
import {
  CANCEL,
  CREDIT,
  DATA,
  END,
  ERROR,
  FLAG_ABORT,
  FLAG_ACK,
  FLAG_ALL,
  FLAG_BODY,
  FLAG_CALLER,
  FLAG_CONNECTION,
  FLAG_DEADLINE,
  FLAG_ERROR,
  FLAG_METADATA,
  FLAG_MORE,
  FLAG_NONE,
  FLAG_REFS,
  FLAG_STARTED,
  FLAG_TRAILERS,
  FLAG_URGENT,
  FLAG_WARNING,
  FRAGMENT,
  GOAWAY,
  HEADER_SIZE,
  HELLO,
  LAST,
  PING,
  PONG,
  readU32,
  RELEASE,
  REPLY,
  REQUEST,
  STOP,
  WINDOW,
} from "../wire/frame.ts";
import { checkHelloBits, FrameDecoder } from "../wire/frame_decoder.ts";
import type { Frame } from "../wire/frame_transforms.ts";
import { checkVersion, parseHello } from "../wire/hello.ts";
import { decodePayload } from "../wire/values/payload.ts";
import { CUSTOM, MAX_MESSAGE, MESSAGE, STREAM } from "../wire/protocol.ts";
import { readLinks } from "../wire/reference_block.ts";

/** Characters of a value that are shown as text. */
const MAX_SHOWN = 80;

/** A reference in the params of a REQUEST: at `place` belongs what is at `path` in the result of call `id`. */
export interface ResultReference {
  /** The way to the place in the params: keys, and indices as decimal text. */
  readonly place: readonly string[];
  /** The call whose result it is from. */
  readonly id: number;
  /** The way to the value in that result. */
  readonly path: readonly string[];
}

/**
 * A frame of the native protocol, decoded. `kind` says which it is, and `id` is
 * that of the call that it belongs to. The last four are of streams.
 * `fromCaller` says whether the sender of the frame made the call.
 */
export type PeerFrame =
  /** The first frame of each direction. */
  | { readonly kind: "hello"; readonly hello: PeerHello }
  /**
   * A call. If its params are a stream, `params` is undefined; `hasBody` says
   * that a stream comes beside them. `timeout` is the time until its deadline in
   * ms. `keep` is there if its result is to be kept, and `references` if its
   * params have references, with `null` in their places.
   */
  | {
    readonly kind: "request";
    readonly id: number;
    readonly method: string;
    readonly params: unknown;
    readonly isStream: boolean;
    readonly hasBody: boolean;
    readonly timeout: number | undefined;
    readonly urgent: boolean;
    readonly metadata: Metadata;
    readonly keep?: true;
    readonly references?: readonly ResultReference[];
  }
  /** A result. If it is a stream, `result` is undefined; `hasBody` says that a stream comes beside it. */
  | {
    readonly kind: "reply";
    readonly id: number;
    readonly result: unknown;
    readonly isStream: boolean;
    readonly hasBody: boolean;
    readonly metadata: Metadata;
  }
  /** A failure. `started` says whether the handler was called. */
  | {
    readonly kind: "error";
    readonly id: number;
    readonly code: string;
    readonly message: string;
    readonly data: unknown;
    readonly started: boolean;
    readonly metadata: Metadata;
  }
  /** The caller gives up a call. */
  | { readonly kind: "cancel"; readonly id: number }
  /** The caller refers to the result of a call no more. */
  | { readonly kind: "release"; readonly id: number }
  /** Asks for a PONG. */
  | { readonly kind: "ping"; readonly id: number }
  /** The reply to a PING. */
  | { readonly kind: "pong"; readonly id: number }
  /** The sender serves no call after `lastId`, none at all if that is undefined. `code` is empty for a graceful close. With `warning` it begins to close, and still serves calls; `lastId` is undefined then, too. */
  | {
    readonly kind: "goaway";
    readonly warning: boolean;
    readonly lastId: number | undefined;
    readonly code: string;
    readonly message: string;
  }
  /** The sender makes no more calls; with `all` it sends nothing more. */
  | { readonly kind: "last"; readonly all: boolean }
  /** Moves the window of calls that the sender grants; with `ack`, confirms the update with the same id and values. */
  | {
    readonly kind: "window";
    readonly id: number;
    readonly windowCalls: number;
    readonly windowBytes: number;
    readonly ack: boolean;
  }
  /** A piece of a request, reply or error. With `aborted`, the sender gives that up. */
  | {
    readonly kind: "fragment";
    readonly id: number;
    readonly fromCaller: boolean;
    readonly aborted: boolean;
    readonly bytes: Uint8Array;
  }
  /** An item of a stream, or with `more` a part of one. Its bytes are `payload`, behind the payload kind. */
  | {
    readonly kind: "data";
    readonly id: number;
    readonly fromCaller: boolean;
    readonly more: boolean;
    readonly payloadKind: number;
    readonly payload: Uint8Array;
  }
  /** The end of a stream; with a `code`, it has failed. */
  | {
    readonly kind: "end";
    readonly id: number;
    readonly fromCaller: boolean;
    readonly trailers: Metadata;
    readonly code: string | undefined;
    readonly message: string | undefined;
  }
  /** The reader of a stream wants no more items. */
  | {
    readonly kind: "stop";
    readonly id: number;
    readonly fromCaller: boolean;
    readonly code: string;
    readonly message: string;
  }
  /** The reader of a stream grants more bytes; with `connection`, for all streams together, and then `id` is 0. */
  | {
    readonly kind: "credit";
    readonly id: number;
    readonly fromCaller: boolean;
    readonly connection: boolean;
    readonly bytes: number;
  };

/**
 * Decodes a frame.
 *
 * @throws {ConnectionError} If its body breaks the rules of the protocol.
 * @throws {unknown} What JSON, UTF-8 or the serializer throws for a payload that
 *   is not valid.
 */
export function readFrame(
  frame: Required<Frame>,
  serializer: Serializer | undefined,
): PeerFrame {
  const id = frame.id as number;
  const flags = frame.flags as number;
  const bytes = frame.body as Uint8Array;
  const body = new FieldReader();
  body.open(bytes, 0, bytes.length);
  const metadata = (has = flags) => body.metadata(has)?.entries ?? NO_METADATA;
  const hasBody = (flags & FLAG_BODY) !== 0;
  const codeAndText = () => {
    const code = body.text(body.u8());
    return { code, message: body.text(body.u16()) };
  };
  const value = (last?: number) => {
    body.payload(last);
    return body.kind === STREAM
      ? undefined
      : decodePayload(body, serializer, false);
  };
  const fromCaller = (flags & FLAG_CALLER) !== 0;
  const stream = { id, fromCaller };
  const whole = <T extends PeerFrame>(frame: T): T => {
    body.done();
    return frame;
  };
  switch (frame.kind) {
    case HELLO: {
      // A later version may have flags of its own.
      if (!checkVersion(body)) checkHelloBits(flags);
      return { kind: "hello", hello: parseHello(body) };
    }
    case REQUEST: {
      const timeout = (flags & FLAG_DEADLINE) !== 0 ? body.u32() : undefined;
      const entries = metadata();
      const { keep, references } = readLinks(body, flags, { serializer });
      const links = {
        ...(keep && { keep }),
        ...((flags & FLAG_REFS) !== 0 && { references }),
      };
      const method = body.method();
      const params = value(hasBody ? CUSTOM : STREAM);
      const isStream = body.kind === STREAM;
      const urgent = (flags & FLAG_URGENT) !== 0;
      const shown = { hasBody, timeout, urgent, metadata: entries };
      const rest = { ...shown, ...links };
      return { kind: "request", id, method, params, isStream, ...rest };
    }
    case REPLY: {
      const entries = metadata();
      const result = value(hasBody ? CUSTOM : STREAM);
      const isStream = body.kind === STREAM;
      const rest = { isStream, hasBody, metadata: entries };
      return { kind: "reply", id, result, ...rest };
    }
    case ERROR: {
      const entries = metadata();
      const text = codeAndText();
      const data = value();
      const started = (flags & FLAG_STARTED) !== 0;
      return { kind: "error", id, ...text, data, started, metadata: entries };
    }
    case CANCEL:
      return whole({ kind: "cancel", id });
    case RELEASE:
      return whole({ kind: "release", id });
    case PING:
      return whole({ kind: "ping", id });
    case PONG:
      return whole({ kind: "pong", id });
    case GOAWAY: {
      const warning = (flags & FLAG_WARNING) !== 0;
      const none = warning || (flags & FLAG_NONE) !== 0;
      const lastId = none ? undefined : id;
      return whole({ kind: "goaway", warning, lastId, ...codeAndText() });
    }
    case LAST:
      return whole({ kind: "last", all: (flags & FLAG_ALL) !== 0 });
    case WINDOW: {
      const window = { windowCalls: body.u32(), windowBytes: body.u32() };
      const ack = (flags & FLAG_ACK) !== 0;
      return whole({ kind: "window", id, ...window, ack });
    }
    case FRAGMENT: {
      const aborted = (flags & FLAG_ABORT) !== 0;
      return { kind: "fragment", ...stream, aborted, bytes };
    }
    case DATA: {
      body.payload(MESSAGE);
      if (body.kind === STREAM) protocolError("an item that is a stream");
      const payload = bytes.slice(body.at);
      const more = (flags & FLAG_MORE) !== 0;
      const payloadKind = body.kind;
      return { kind: "data", ...stream, more, payloadKind, payload };
    }
    case END: {
      const trails = (flags & FLAG_TRAILERS) !== 0;
      const trailers = metadata(trails ? FLAG_METADATA : 0);
      if ((flags & FLAG_ERROR) === 0) {
        const none = { trailers, code: undefined, message: undefined };
        return whole({ kind: "end", ...stream, ...none });
      }
      const text = codeAndText();
      value();
      return { kind: "end", ...stream, trailers, ...text };
    }
    case STOP:
      return whole({ kind: "stop", ...stream, ...codeAndText() });
    case CREDIT: {
      const connection = (flags & FLAG_CONNECTION) !== 0;
      const bytes = body.u32();
      return whole({ kind: "credit", ...stream, connection, bytes });
    }
    default:
      throw new ConnectionError(
        "protocol_error",
        `unknown frame kind ${frame.kind}`,
      );
  }
}

/** Options of {@linkcode printFrames}. */
export interface PrintOptions {
  /** The serializer of both sides, if they have one in place of JSON. Without it, its values are shown as their size. */
  readonly serializer?: Serializer | undefined;
}

/**
 * Prints bytes of one direction of the native protocol as text, one line for
 * each frame: for messages of assertions, and to read what went over a
 * connection. The bytes begin at the start of a frame, such as those that
 * {@linkcode recorded} returns.
 *
 * It never throws for what the bytes are: a last line says that a frame is not
 * complete, or what is wrong from which byte on. Frames that a receiver ignores
 * (padding, and kinds reserved for extensions) are left out; of a long value
 * only the first 80 characters are shown, of credentials only that there are
 * some. The text is for people: it may change between versions.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { printFrames } from "@sluice/rpc/testing";
 *
 * const ping = [0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 1];
 * assertEquals(
 *   printFrames(Uint8Array.from([...ping, 0, 0])),
 *   "PING 1\n2 bytes of a frame that is not complete",
 * );
 * ```
 */
export function printFrames(
  bytes: Uint8Array,
  options: PrintOptions = {},
): string {
  const lines: string[] = [];
  const decoder = new FrameDecoder({
    frame(kind, flags, id, chunk, start, end) {
      const body = chunk.slice(start, end);
      lines.push(printRaw({ kind, flags, id, body }, options.serializer));
    },
  }, MAX_MESSAGE);
  const { length } = bytes;
  for (let at = 0; at < length;) {
    const size = at + 4 > length ? Infinity : HEADER_SIZE + readU32(bytes, at);
    try {
      decoder.push(bytes.subarray(at, at + size));
    } catch (error) {
      const why = (error as Error).message;
      lines.push(`no frame from byte ${at} on: ${why}`);
      break;
    }
    if (at + size > length) {
      lines.push(`${length - at} bytes of a frame that is not complete`);
    }
    at += size;
  }
  return lines.join("\n");
}

/** One line for a frame, also for one that cannot be read. */
export function printRaw(
  frame: Required<Frame>,
  serializer: Serializer | undefined,
): string {
  try {
    return printFrame(readFrame(frame, serializer));
  } catch (error) {
    const size = (frame.body as Uint8Array).length;
    const name = NAMES[frame.kind] ?? `kind ${frame.kind}`;
    return `${name} ${frame.id}, ${size} bytes: ${(error as Error).message}`;
  }
}

/** The names of docs/protocol.md. */
const NAMES: Readonly<Record<number, string>> = {
  [HELLO]: "HELLO",
  [REQUEST]: "REQUEST",
  [REPLY]: "REPLY",
  [ERROR]: "ERROR",
  [CANCEL]: "CANCEL",
  [RELEASE]: "RELEASE",
  [PING]: "PING",
  [PONG]: "PONG",
  [GOAWAY]: "GOAWAY",
  [LAST]: "LAST",
  [WINDOW]: "WINDOW",
  [FRAGMENT]: "FRAGMENT",
  [DATA]: "DATA",
  [END]: "END",
  [STOP]: "STOP",
  [CREDIT]: "CREDIT",
};

/** One line for a frame. */
export function printFrame(frame: PeerFrame): string {
  const name = frame.kind.toUpperCase();
  switch (frame.kind) {
    case "hello": {
      const { credentials, serializers, streams, ...rest } = frame.hello;
      const { fragments, movesWindow, keepsResults, ...limits } = rest;
      const fields = Object.entries(limits).map(([key, n]) => `${key} ${n}`);
      if (movesWindow) fields.push("moves windows");
      if (serializers !== undefined) {
        fields.push(`serializers ${quote(serializers)}`);
      }
      if (streams !== undefined) {
        const { max, credit, connectionCredit } = streams;
        fields.push(`streams ${max}, credit ${credit} of ${connectionCredit}`);
      }
      if (keepsResults) fields.push("keeps results");
      if (fragments) fields.push("fragments");
      if (credentials !== undefined) fields.push("credentials");
      return `${name} ${fields.join(", ")}`;
    }
    case "request": {
      const { id, method, params, isStream, timeout, urgent } = frame;
      const value = isStream ? "a stream" : show(params) + beside(frame);
      const time = timeout === undefined ? "" : `, timeout ${timeout} ms`;
      const how = time + (urgent ? ", urgent" : "") +
        (frame.keep ? ", kept" : "");
      return `${name} ${id} ${word(method)} ${value}${references(frame)}${how}${
        extra(frame)
      }`;
    }
    case "reply": {
      const value = frame.isStream
        ? "a stream"
        : show(frame.result) + beside(frame);
      return `${name} ${frame.id} ${value}${extra(frame)}`;
    }
    case "error": {
      const { id, code, message, data, started } = frame;
      const value = data === undefined ? "" : `, data ${show(data)}`;
      const how = started ? "executed" : "refused";
      return `${name} ${id} ${word(code)} ${quote(message)}, ${how}${value}${
        extra(frame)
      }`;
    }
    case "cancel":
    case "release":
    case "ping":
    case "pong":
      return `${name} ${frame.id}`;
    case "goaway": {
      const { warning, lastId, code, message } = frame;
      if (warning) return `${name} warns`;
      const last = lastId === undefined ? "no call" : `calls up to ${lastId}`;
      const why = code === "" ? "" : `, ${word(code)} ${quote(message)}`;
      return `${name} served ${last}${why}`;
    }
    case "last":
      return `${name}: ${frame.all ? "nothing" : "no call"} follows`;
    case "window": {
      const { id, windowCalls, windowBytes, ack } = frame;
      const window = `${windowCalls} calls, ${windowBytes} bytes`;
      return `${name} ${id} ${window}${ack ? ", confirmed" : ""}`;
    }
    case "fragment": {
      const { bytes, aborted } = frame;
      const what = aborted ? "given up" : `${bytes.length} bytes`;
      return `${name} ${frame.id} ${side(frame)} ${what}`;
    }
    case "data": {
      const { payload, more, payloadKind } = frame;
      const what = payloadKind === MESSAGE ? ", a message" : "";
      const rest = more ? ", more follows" : "";
      return `${name} ${frame.id} ${
        side(frame)
      } ${payload.length} bytes${what}${rest}`;
    }
    case "end":
    case "stop": {
      const { id, code, message } = frame;
      const why = code === undefined
        ? ""
        : ` ${word(code)} ${quote(message ?? "")}`;
      const last = frame.kind === "end" ? trailing(frame) : "";
      return `${name} ${id} ${side(frame)}${why}${last}`;
    }
    case "credit":
      return frame.connection
        ? `${name} of the connection ${frame.bytes} bytes`
        : `${name} ${frame.id} ${side(frame)} ${frame.bytes} bytes`;
  }
}

/** What stands in the places of the references of a call. */
function references({ references = [] }: {
  readonly references?: readonly ResultReference[];
}): string {
  return references.map(({ place, id, path }) =>
    `, ${["params", ...place].join(".")} = ${[`#${id}`, ...path].join(".")}`
  ).join("");
}

function side({ fromCaller }: { readonly fromCaller: boolean }): string {
  return fromCaller ? "from the caller" : "from the callee";
}

function beside({ hasBody }: { readonly hasBody: boolean }): string {
  return hasBody ? " and a body" : "";
}

function trailing({ trailers }: { readonly trailers: Metadata }): string {
  if (trailers.size === 0) return "";
  return `, trailers ${show(Object.fromEntries(trailers))}`;
}

function extra({ metadata }: { readonly metadata: Metadata }): string {
  if (metadata.size === 0) return "";
  return `, metadata ${show(Object.fromEntries(metadata))}`;
}

/** A name as it is, if it has no character that could be taken for another part of the line. */
function word(name: string): string {
  return /^[\w./$-]+$/.test(name) ? name : quote(name);
}

/** A value as short text. */
function show(value: unknown): string {
  if (value instanceof Uint8Array) return `<${value.length} bytes>`;
  let text: string;
  try {
    text = JSON.stringify(value) ?? String(value);
  } catch {
    // A serializer of the user's may make values that JSON does not have.
    text = String(value);
  }
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}...` : text;
}
