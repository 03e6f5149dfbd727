/**
 * A value with a stream beside it, and a stream whose items are messages: what
 * `withBody` and `messages` make.
 *
 * Both are taken for a stream wherever the library asks whether something is
 * one: what is dropped is cancelled, be it wrapped or not.
 *
 * @module
 */

import { isInstance } from "../base/brand.ts";
import {
  type StreamValue,
  type StreamWrapper,
  toSource,
} from "../base/pull_source.ts";

/** A value with a stream beside it. Its caller gets one, too. */
export class ValueWithBody implements StreamWrapper {
  /** The same in every copy of the library. */
  static get sluiceBrand(): string {
    return "ValueWithBody";
  }

  /** True also for an instance that another copy of the library has made. */
  static [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(value, this, ValueWithBody);
  }

  readonly value: unknown;
  readonly body: StreamValue;

  constructor(value: unknown, body: StreamValue) {
    this.value = value;
    this.body = body;
  }

  get sluiceStream(): StreamValue {
    return this.body;
  }

  [Symbol.asyncIterator](): AsyncIterator<unknown> {
    return iterate(this);
  }
}

/** A stream of bytes whose boundaries are kept. */
export class MessageStream implements StreamWrapper {
  readonly sluiceStream: StreamValue;

  constructor(stream: StreamValue) {
    this.sluiceStream = stream;
  }

  get sluiceMessages(): boolean {
    return true;
  }

  [Symbol.asyncIterator](): AsyncIterator<unknown> {
    return iterate(this);
  }
}

/** Reads the stream within: the wrapper is as good as that. */
function iterate(wrapper: StreamWrapper): AsyncIterator<unknown> {
  const source = toSource(wrapper);
  return {
    next: () => source.next(),
    return: async (reason) => {
      const thrown = await source.cancel(reason);
      if (thrown !== undefined) throw thrown.error;
      return { done: true, value: undefined };
    },
  };
}
