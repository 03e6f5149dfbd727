/**
 * What one JSON value says, by the specification of JSON-RPC 2.0.
 *
 * Invariant owned here: nothing of a message is used before its type was
 * looked at, and only own properties are.
 *
 * @module
 */

/** An id as it may come: whatever it is, it goes back as it came. */
export type WireId = string | number | null;

/** The peer calls, or notifies if `id` is undefined. */
export interface RequestMessage {
  readonly kind: "request";
  readonly id: WireId | undefined;
  readonly method: string;
  readonly params: unknown;
}

/** The peer answers. */
export interface ResponseMessage {
  readonly kind: "response";
  readonly id: WireId;
  readonly result: unknown;
  /** Undefined if it is a result. */
  readonly error: unknown;
}

/** Neither; `id` is null where none can be made out. */
export interface InvalidMessage {
  readonly kind: "invalid";
  readonly id: WireId;
  readonly why: string;
  /** Whether it may be an answer that lacks its result: it has an id, and no method. */
  readonly answers: boolean;
}

/** What a message says. */
export type Message = RequestMessage | ResponseMessage | InvalidMessage;

/** Reads one message. */
export function readMessage(value: unknown): Message {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return invalid(undefined, "a message must be an object");
  }
  const id = own(value, "id");
  if (!isId(id)) return invalid(undefined, "the id is of no legal type");
  const method = own(value, "method");
  if (method === undefined && id !== undefined) {
    const result = own(value, "result");
    const error = own(value, "error");
    if (error !== undefined && error !== null) {
      return { kind: "response", id, result: undefined, error };
    }
    if (result !== undefined) {
      return { kind: "response", id, result, error: undefined };
    }
    return invalid(id, "it has no method, no result and no error", true);
  }
  if (own(value, "jsonrpc") !== "2.0") {
    return invalid(id, 'the member jsonrpc must be "2.0"');
  }
  if (typeof method !== "string") {
    return invalid(id, "the method must be a string");
  }
  const params = own(value, "params") ?? undefined;
  if (params !== undefined && typeof params !== "object") {
    return invalid(id, "the params must be an array or an object");
  }
  return { kind: "request", id, method, params };
}

/** An own property: what a prototype was given by others is no member of a message. */
export function own(value: object, name: string): unknown {
  return Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}

/** A number that JSON.parse has rounded could not go back as it came. */
function isId(id: unknown): id is WireId | undefined {
  return typeof id === "string" || id === null || id === undefined ||
    (typeof id === "number" && Math.abs(id) <= Number.MAX_SAFE_INTEGER);
}

function invalid(
  id: WireId | undefined,
  why: string,
  answers = false,
): InvalidMessage {
  return { kind: "invalid", id: id ?? null, why, answers };
}
