/**
 * Batches: several messages as one JSON array (JSON-RPC 2.0 section 6).
 *
 * Order: the responses to a batch leave together, after its last call has been
 * answered. A batch that holds only notifications has no response.
 *
 * @module
 */

/**
 * Most messages in one batch. A larger batch gets a single error response,
 * because each of its messages could ask for a response larger than itself.
 */
export const MAX_BATCH = 1024;

const OPEN = /* @__PURE__ */ Uint8Array.of(0x5b);
const COMMA = /* @__PURE__ */ Uint8Array.of(0x2c);
const CLOSE = /* @__PURE__ */ Uint8Array.of(0x5d);
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** The responses to one batch, until the last of them is there. */
export class BatchResponse {
  /** Size of the responses that wait here, in bytes. */
  size = 0;
  #responses: Uint8Array[] = [];
  /** Calls without a response, plus one until the whole batch has been read. */
  #pending = 1;

  /** Registers a call of the batch that will be answered. */
  expect(): void {
    this.#pending++;
  }

  /** Adds a response: to a registered call, or to a message that was invalid. */
  add(response: Uint8Array): void {
    this.#responses.push(response);
    this.size += response.length + 1;
  }

  /**
   * Counts one registered call as finished, with or without a response, or the
   * batch as completely read. Returns whether nothing is pending any more.
   */
  finishOne(): boolean {
    this.#pending--;
    return this.#pending === 0;
  }

  /** Takes the responses out, as the parts of one JSON array; no parts if there are no responses. */
  take(): Uint8Array[] {
    const responses = this.#responses;
    this.#responses = [];
    this.size = 0;
    return responses.length === 0 ? [] : toJsonArray(responses);
  }
}

/** The parts of a JSON array with these messages as its elements. */
export function toJsonArray(messages: readonly Uint8Array[]): Uint8Array[] {
  const parts: Uint8Array[] = [OPEN];
  for (const message of messages) {
    if (parts.length > 1) parts.push(COMMA);
    parts.push(message);
  }
  parts.push(CLOSE);
  return parts;
}

/**
 * The byte range of each element of the JSON array in `bytes[start..end)`, as
 * pairs of start and end. The caller has parsed the text, so it is well formed.
 */
export function elementRanges(
  bytes: Uint8Array,
  start: number,
  end: number,
): number[] {
  const ranges: number[] = [];
  let depth = 0;
  let from = start;
  for (let at = start; at < end; at++) {
    switch (bytes[at]) {
      case QUOTE:
        at = endOfString(bytes, at);
        break;
      case 0x5b: // [
      case 0x7b: // {
        if (++depth === 1) from = at + 1;
        break;
      case 0x5d: // ]
      case 0x7d: // }
        if (--depth === 0) ranges.push(from, at);
        break;
      case 0x2c: // ,
        if (depth !== 1) break;
        ranges.push(from, at);
        from = at + 1;
        break;
    }
  }
  return ranges;
}

/** The index of the closing quote of the string that opens at `at`. */
function endOfString(bytes: Uint8Array, at: number): number {
  for (at++; bytes[at] !== QUOTE; at++) if (bytes[at] === BACKSLASH) at++;
  return at;
}
