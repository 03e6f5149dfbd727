/**
 * The golden vectors of `tests/vectors/native.json`, read and typed.
 *
 * @module
 */

import vectors from "../vectors/native.json" with { type: "json" };
import type { ErrorCode, Serializer } from "../../mod.ts";

/** A payload: `text` for JSON and strings, `hex` for bytes and custom ones. */
export interface VectorPayload {
  kind:
    | "undefined"
    | "json"
    | "bytes"
    | "string"
    | "custom"
    | "stream"
    | "message";
  text?: string;
  hex?: string;
}

export interface HelloMessage {
  type: "hello";
  maxMessage?: number;
  windowCalls?: number;
  windowBytes?: number;
  /** Names, with a space between. */
  serializers?: string;
  /** In hex. */
  credentials?: string;
  /** Whether those are text. */
  credentialsText?: boolean;
  /** Bits. */
  capabilities?: number;
  streamCredit?: number;
  maxStreams?: number;
  connectionCredit?: number;
  unknown?: { type: number; hex: string }[];
}

export interface RequestMessage {
  type: "request";
  id: number;
  method: string;
  remaining?: number;
  urgent?: boolean;
  metadata?: [string, string][];
  keep?: boolean;
  references?: { place: string[]; id: number; path: string[] }[];
  payload: VectorPayload;
  /** Whether a stream comes beside the params. */
  body?: boolean;
}

/** A piece of another frame, in `hex`. */
export interface FragmentMessage {
  type: "fragment";
  id: number;
  caller: boolean;
  abort: boolean;
  hex: string;
}

export interface ReplyMessage {
  type: "reply";
  id: number;
  metadata?: [string, string][];
  payload: VectorPayload;
  /** Whether a stream comes beside the result. */
  body?: boolean;
}

export interface ErrorMessage {
  type: "error";
  id: number;
  started: boolean;
  metadata?: [string, string][];
  code: string;
  message: string;
  payload: VectorPayload;
}

export interface BareMessage {
  type: "cancel" | "ping" | "pong" | "release";
  id: number;
}

export interface GoawayMessage {
  type: "goaway";
  /** Whether it has flag WARNING; then it has no `lastId`. */
  warning?: true;
  lastId?: number | null;
  code: string;
  text: string;
}

export interface LastMessage {
  type: "last";
  all: boolean;
}

/** A request that was replaced before it was sent, or (without `method`) any body. */
export type PadMessage =
  | Omit<RequestMessage, "type"> & { type: "pad" }
  | { type: "pad"; id: number; flags: number; hex: string; method?: undefined };

export interface SkippableMessage {
  type: "skippable";
  kind: number;
  id: number;
  flags: number;
  hex: string;
}

export interface DataMessage {
  type: "data";
  id: number;
  caller: boolean;
  more: boolean;
  payload: VectorPayload;
}

/** With a `code`, the stream failed. */
export interface EndMessage {
  type: "end";
  id: number;
  caller: boolean;
  /** The trailers. */
  metadata?: [string, string][];
  code?: string;
  message?: string;
  payload?: VectorPayload;
}

export interface StopMessage {
  type: "stop";
  id: number;
  caller: boolean;
  code: string;
  text: string;
}

/** Moves a window of calls, or confirms that. */
export interface WindowMessage {
  type: "window";
  id: number;
  windowCalls: number;
  windowBytes: number;
  ack: boolean;
}

export interface CreditMessage {
  type: "credit";
  id: number;
  caller: boolean;
  /** Whether it is for all streams together; then `id` is 0. */
  connection: boolean;
  bytes: number;
}

export type Message =
  | DataMessage
  | FragmentMessage
  | EndMessage
  | StopMessage
  | CreditMessage
  | HelloMessage
  | RequestMessage
  | ReplyMessage
  | ErrorMessage
  | BareMessage
  | GoawayMessage
  | LastMessage
  | WindowMessage
  | PadMessage
  | SkippableMessage;

/** One frame, and its meaning. */
export interface Valid {
  name: string;
  about: string;
  /** Whether this library sends exactly these bytes. */
  sent: boolean;
  message: Message;
  bytes: string;
}

/** Bytes that end the connection, and the code with which they end it. */
export interface Malformed {
  name: string;
  about: string;
  /** Which side receives them. */
  to: "server" | "client" | "either";
  /** Whether a HELLO precedes them. */
  greeted: boolean;
  /** How many calls a client has in flight by then, ids from 1. */
  calls?: number;
  /** Whether the peer's HELLO has the capability for streams. */
  streams?: boolean;
  /** The name of the serializer of the side that receives them. */
  serializer?: string;
  bytes: string;
  code: ErrorCode;
}

/** Bytes after which the stream ends inside a frame. */
export interface Truncated {
  name: string;
  about: string;
  greeted: boolean;
  bytes: string;
  /** How many bytes the unfinished header or body lacks. */
  missing: number;
}

/** The whole file. */
export interface Vectors {
  version: number;
  valid: Valid[];
  malformed: Malformed[];
  truncated: Truncated[];
}

export const VECTORS: Vectors = vectors as unknown as Vectors;

/** The message of one type. */
export type MessageOf<T extends Message["type"]> = T extends BareMessage["type"]
  ? BareMessage
  : Extract<Message, { type: T }>;

/** The vectors whose message is of one type; those whose value is a stream, and those of dependent calls, left out. */
export function ofType<T extends Message["type"]>(
  type: T,
): (Valid & { message: MessageOf<T> })[] {
  type Wanted = Valid & { message: MessageOf<T> };
  return VECTORS.valid.filter((v): v is Valid & Wanted =>
    v.message.type === type && !isStreamed(v.message) && !isLinked(v.message)
  );
}

/** Whether a request has to do with the results of other calls. */
function isLinked(message: Message): boolean {
  return "keep" in message || "references" in message;
}

/** Whether the value of a request or reply is a stream, or has one beside it. */
export function isStreamed(message: Message): boolean {
  if ("body" in message && message.body) return true;
  return "payload" in message && message.payload?.kind === "stream";
}

/** The vector of this name. */
export function named(name: string): Valid {
  const found = VECTORS.valid.find((vector) => vector.name === name);
  if (found === undefined) throw new Error(`no vector ${name}`);
  return found;
}

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

export function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** A value that only the custom serializer can carry. */
export interface Hexed {
  hexed: string;
}

/** The serializer of the vectors with custom payloads. */
export const HEX_SERIALIZER: Serializer = {
  name: "hex-é",
  encode: (value) => fromHex((value as Hexed).hexed),
  decode: (bytes): Hexed => ({ hexed: toHex(bytes) }),
};

/** The value a payload stands for. */
export function valueOf({ kind, text = "", hex = "" }: VectorPayload): unknown {
  switch (kind) {
    case "undefined":
      return undefined;
    case "json":
      return JSON.parse(text);
    case "bytes":
    case "message":
      return fromHex(hex);
    case "string":
      return text;
    case "custom":
      return { hexed: hex };
    case "stream":
      throw new Error("a stream has no value");
  }
}

/** The options that a side needs for a payload. */
export function optionsFor(
  payload?: VectorPayload,
): { serializer?: Serializer } {
  return payload?.kind === "custom" ? { serializer: HEX_SERIALIZER } : {};
}
