/**
 * What a user can say of one call, read into the library's terms.
 *
 * @module
 */

import type { Call } from "./call.ts";
import type { Clock } from "../base/clock.ts";
import { MAX_METADATA } from "../wire/fields.ts";
import { MetadataBlock } from "../wire/metadata.ts";
import { utf8 } from "../base/utf8.ts";
import { isA } from "../base/user_code.ts";
import type { CallOptions, MetadataInit } from "../types/call.ts";

/** The same with what the library says of a call to itself; it goes along with them wherever they are handed on. */
export interface SentOptions extends CallOptions {
  /** Nobody waits for the answer: a wire that has notifications sends one. */
  oneWay?: boolean | undefined;
  /** Has the stack of the code that made the call, if its client captures stacks. */
  calledAt?: Error | undefined;
}

/**
 * When a call is due, by the clock's `now`; `Infinity` if never.
 *
 * @throws {TypeError} If a time is not a number.
 */
export function dueTime(options: CallOptions, clock: Clock): number {
  const { timeout, deadline, ctx } = options;
  let left = Infinity;
  if (timeout !== undefined) left = checkTime("timeout", timeout);
  if (deadline !== undefined) {
    // The wall clock is read here alone; from here on time is monotonic.
    const at = checkTime("deadline", Number(deadline));
    left = Math.min(left, at - clock.date());
  }
  if (ctx !== undefined) {
    left = Math.min(left, checkTime("ctx", ctx.remaining));
  }
  return left === Infinity ? left : clock.now() + left;
}

function checkTime(name: string, value: number): number {
  if (typeof value === "number" && !Number.isNaN(value)) return value;
  throw new TypeError(`Cannot use ${name}: not a time, received ${value}`);
}

/**
 * Metadata as an object.
 *
 * @throws {TypeError} If it is neither a plain object nor a `Map`.
 */
export function toRecord(given: MetadataInit): Record<string, string> {
  if (isA(given, Map)) return Object.fromEntries(given);
  // By its prototype's prototype: an object of another realm is plain, too.
  const prototype: unknown = Object.getPrototypeOf(given);
  if (prototype === null || Object.getPrototypeOf(prototype) === null) {
    return { ...given as Readonly<Record<string, string>> };
  }
  throw new TypeError(
    `Cannot send metadata: give a plain object or a Map, received ${
      typeName(given)
    }`,
  );
}

/**
 * Metadata as it travels.
 *
 * @throws {TypeError} If it is no metadata, or a name or value is not a string.
 * @throws {RangeError} If it is too large.
 */
export function toMetadata(given: MetadataInit): MetadataBlock {
  const metadata = new Map<string, string>();
  for (const [name, value] of Object.entries(toRecord(given))) {
    if (typeof value !== "string") {
      throw new TypeError(
        `Cannot send metadata: "${name}" is not a string, received ${typeof value}`,
      );
    }
    if (utf8(name).length > 255) {
      throw new RangeError("Cannot send metadata: a name is over 255 bytes");
    }
    metadata.set(name, value);
  }
  const block = MetadataBlock.of(metadata);
  const { size } = block;
  if (size > MAX_METADATA) {
    throw new RangeError(
      `Cannot send metadata: ${size} bytes, at most ${MAX_METADATA} fit`,
    );
  }
  return block;
}

/** What an object is, for messages: its class, if it tells. */
function typeName(value: object): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

/** Has a call's errors say where it was made, if that was captured. */
export function notePlace(call: Call, { calledAt }: SentOptions): void {
  if (calledAt !== undefined) call.extras().calledAt = calledAt;
}

/** Whether an error is what a call was aborted with: that is its user's, and stays as it is. */
export function isAbort(
  options: CallOptions | undefined,
  error: unknown,
): boolean {
  try {
    const { signal, ctx } = options ?? {};
    return signal?.aborted === true && signal.reason === error ||
      ctx?.signal.aborted === true && ctx.signal.reason === error;
  } catch {
    // Options that cannot be read are why it failed.
    return false;
  }
}
