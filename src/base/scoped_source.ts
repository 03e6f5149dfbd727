/**
 * A source whose items are made in the async context that it belongs to: a
 * generator's code runs when the next item is asked for, which is long after
 * its caller, or the middleware around its handler, has returned.
 *
 * Invariant owned here: every call of the user's code, cleanup included, is
 * made in that context, and nothing else is.
 *
 * @module
 */

import type { Scope } from "./async_context.ts";
import {
  type Source,
  type StreamValue,
  type Thrown,
  toSource,
} from "./pull_source.ts";

/**
 * As {@linkcode toSource}, within `scope` if there is one.
 *
 * @throws {TypeError} If the stream is locked already, or its iterator cannot be had.
 */
export function toScopedSource(
  value: StreamValue,
  scope: Scope | undefined,
): Source {
  if (scope === undefined) return toSource(value);
  const source = scope(toSource, value);
  const queues = isGenerator(value);
  let asked: Promise<unknown> | undefined;
  return {
    next: () => {
      const result = scope(next, source);
      if (queues) asked = result.catch(ignore);
      return result;
    },
    cancel: async (reason) => {
      // A generator would queue it behind the item that it is making, and V8
      // from 14 on then forgets the context (seen on Deno 2.9, not on Node 24).
      await asked;
      return await scope(cancel, source, reason);
    },
  };
}

/** Whether its iterator is a generator of the language's: what that is asked waits for what it was asked before. */
function isGenerator(value: StreamValue): boolean {
  const tag = Object.prototype.toString;
  const { [Symbol.asyncIterator]: iterator } = value as AsyncIterable<unknown>;
  return tag.call(value) === "[object AsyncGenerator]" ||
    tag.call(iterator) === "[object AsyncGeneratorFunction]";
}

function next(source: Source): Promise<IteratorResult<unknown>> {
  return source.next();
}

function cancel(
  source: Source,
  reason: unknown,
): Promise<Thrown | undefined> {
  return source.cancel(reason);
}

function ignore(): void {}
