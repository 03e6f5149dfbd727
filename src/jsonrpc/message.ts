/**
 * Messages: classifies one JSON value as a request, a response or neither, as
 * JSON-RPC 2.0 sections 4 and 5 define them.
 *
 * Order: the type of each member is checked before the member is used. Only own
 * properties are read, so a prototype that other code has extended cannot add
 * members to a message.
 *
 * @module
 */

/** A request's id as the peer sent it. The response carries it back unchanged. */
export type JsonRpcId = string | number | null;

/** A call of the peer, or its notification if `id` is undefined. */
export interface RequestMessage {
  readonly kind: "request";
  readonly id: JsonRpcId | undefined;
  readonly method: string;
  readonly params: unknown;
}

/** The response to a call of the local side. */
export interface ResponseMessage {
  readonly kind: "response";
  readonly id: JsonRpcId;
  readonly result: unknown;
  /** Undefined if the call succeeded. */
  readonly error: unknown;
}

/** Neither a request nor a response. */
export interface InvalidMessage {
  readonly kind: "invalid";
  /** Null if the message has no valid id. */
  readonly id: JsonRpcId;
  readonly reason: string;
  /** Whether it may be a response that lacks its result: it has an id and no method. */
  readonly mayBeResponse: boolean;
}

/** One message, classified. */
export type JsonRpcMessage = RequestMessage | ResponseMessage | InvalidMessage;

/** Classifies one message. */
export function readMessage(value: unknown): JsonRpcMessage {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return invalid(undefined, "a message must be an object");
  }
  const id = ownProperty(value, "id");
  if (!isId(id)) {
    return invalid(
      undefined,
      "the id must be a string, null or a number below 2^53",
    );
  }
  const method = ownProperty(value, "method");
  if (method === undefined && id !== undefined) {
    // JSON-RPC 1.0 sends both members, one of them null.
    const result = ownProperty(value, "result");
    const error = ownProperty(value, "error");
    if (error !== undefined && error !== null) {
      return { kind: "response", id, result: undefined, error };
    }
    if (result !== undefined) {
      return { kind: "response", id, result, error: undefined };
    }
    return invalid(
      id,
      "the message has no method, no result and no error",
      true,
    );
  }
  if (ownProperty(value, "jsonrpc") !== "2.0") {
    return invalid(id, 'the member jsonrpc must be "2.0"');
  }
  if (typeof method !== "string") {
    return invalid(id, "the method must be a string");
  }
  const params = ownProperty(value, "params") ?? undefined;
  if (params !== undefined && typeof params !== "object") {
    return invalid(id, "the params must be an array or an object");
  }
  return { kind: "request", id, method, params };
}

/** The value of an own property; undefined if the object has no such property of its own. */
export function ownProperty(value: object, name: string): unknown {
  return Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}

/** Whether a request may have this id. A number that `JSON.parse` has rounded could not go back unchanged. */
function isId(id: unknown): id is JsonRpcId | undefined {
  return typeof id === "string" || id === null || id === undefined ||
    (typeof id === "number" && Math.abs(id) <= Number.MAX_SAFE_INTEGER);
}

function invalid(
  id: JsonRpcId | undefined,
  reason: string,
  mayBeResponse = false,
): InvalidMessage {
  return { kind: "invalid", id: id ?? null, reason, mayBeResponse };
}
