/**
 * Batches: arrays of messages.
 *
 * Invariants owned here:
 * - A batch's answers leave together, once the last call in it is answered;
 *   one of notifications alone has no answer.
 *
 * @module
 */

/** Most messages in one batch; a larger one is refused whole, as each could ask for an answer larger than itself. */
export const MAX_BATCH = 1024;

/** The answers to one batch. */
export class AnswerBatch {
  /** What the answers come to, in bytes. */
  size = 0;
  #answers: Uint8Array[] = [];
  /** Calls to be answered, and one more until the whole batch was read. */
  #open = 1;

  /** A call of the batch has come. */
  expect(): void {
    this.#open++;
  }

  /** Adds the answer to a call that was expected, or to what was no call. */
  add(answer: Uint8Array): void {
    this.#answers.push(answer);
    this.size += answer.length + 1;
  }

  /** One that was expected is answered, or never will be; or all was read. Returns whether it was the last. */
  done(): boolean {
    this.#open--;
    return this.#open === 0;
  }

  /** Takes the answers out, as the parts of one array; none if there are none. */
  take(): Uint8Array[] {
    const answers = this.#answers;
    this.#answers = [];
    this.size = 0;
    return answers.length === 0 ? [] : toArray(answers);
  }
}

/** The parts of a JSON array of these messages. */
export function toArray(messages: readonly Uint8Array[]): Uint8Array[] {
  const parts: Uint8Array[] = [OPEN];
  for (const message of messages) {
    if (parts.length > 1) parts.push(COMMA);
    parts.push(message);
  }
  parts.push(CLOSE);
  return parts;
}

const OPEN = Uint8Array.of(0x5b);
const COMMA = Uint8Array.of(0x2c);
const CLOSE = Uint8Array.of(0x5d);
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * Where each element of the JSON array in `bytes[start..end)` stands: pairs of
 * start and end. The text has been parsed, so it is known to be well formed.
 */
export function elementsOf(
  bytes: Uint8Array,
  start: number,
  end: number,
): number[] {
  const places: number[] = [];
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
        if (--depth === 0) places.push(from, at);
        break;
      case 0x2c: // ,
        if (depth !== 1) break;
        places.push(from, at);
        from = at + 1;
        break;
    }
  }
  return places;
}

/** The closing quote of the string that opens at `at`. */
function endOfString(bytes: Uint8Array, at: number): number {
  for (at++; bytes[at] !== QUOTE; at++) if (bytes[at] === BACKSLASH) at++;
  return at;
}
