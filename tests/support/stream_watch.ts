/**
 * Sources and readers of streams that record how they end.
 *
 * @module
 */

/** What a source does after its last item. */
export type SourceEnd = "done" | "throw" | "wait";

/** Streams of whole numbers from 0, and their readers. */
export class StreamWatch {
  readonly #sources: { over: boolean; cancelled: number }[] = [];
  /** Ends those that wait. */
  readonly #waiting = new Set<() => void>();
  readonly #readers: { over: boolean; wrong: string | undefined }[] = [];

  /** How many sources were cancelled. */
  get cancelled(): number {
    return this.#sources.filter(({ cancelled }) => cancelled > 0).length;
  }

  /** How many sources have not ended, plus readers that have not received an end. */
  get open(): number {
    const sources = this.#sources.filter(({ over }) => !over);
    return sources.length + this.#readers.filter(({ over }) => !over).length;
  }

  /** Makes a source that gives `items` numbers, then does as `end` says. */
  source(items: number, end: SourceEnd = "done"): AsyncIterable<number> {
    const source = { over: false, cancelled: 0 };
    this.#sources.push(source);
    let next = 0;
    let finish = () => {};
    const over: IteratorResult<number> = { done: true, value: undefined };
    const wait = () =>
      new Promise<typeof over>((resolve) => {
        finish = () => {
          this.#waiting.delete(release);
          resolve(over);
        };
        const release = () => {
          source.over = true;
          finish();
        };
        this.#waiting.add(release);
      });
    const iterator: AsyncIterator<number> = {
      next() {
        if (next < items) {
          return Promise.resolve({ done: false, value: next++ });
        }
        if (end === "wait") return wait();
        source.over = true;
        if (end === "done") return Promise.resolve(over);
        return Promise.reject(new Error("the source has failed"));
      },
      return() {
        source.over = true;
        source.cancelled++;
        finish();
        return Promise.resolve(over);
      },
    };
    return { [Symbol.asyncIterator]: () => iterator };
  }

  /** Ends the sources that wait. */
  release(): void {
    for (const release of this.#waiting) release();
  }

  /** Reads to the end, or `most` items, and resolves with the number of items. A stream that ends without error must have `whole` items. */
  async read(
    stream: ReadableStream<unknown>,
    whole: number,
    most = Infinity,
  ): Promise<number> {
    // This comes first: if bytes were changed, it may be no stream.
    const reader = stream.getReader();
    const watched = { over: false, wrong: undefined as string | undefined };
    this.#readers.push(watched);
    let items = 0;
    try {
      while (items < most) {
        const { done, value } = await reader.read();
        if (done) {
          if (items !== whole) watched.wrong = `${items} items of ${whole}`;
          return items;
        }
        if (value !== items) watched.wrong = `item ${items} was ${value}`;
        items++;
      }
      await reader.cancel();
      return items;
    } finally {
      watched.over = true;
    }
  }

  /**
   * Checks that every source has ended or was cancelled once (both may happen at
   * the same time), and that every reader received the right items and an end.
   *
   * @throws {Error} If not, with the first fault.
   */
  check(garbled: boolean): void {
    for (const [n, { over, cancelled }] of this.#sources.entries()) {
      if (!over) throw new Error(`source ${n} was never ended or cancelled`);
      if (cancelled > 1) throw new Error(`source ${n} was cancelled twice`);
    }
    for (const [n, { over, wrong }] of this.#readers.entries()) {
      if (!over) throw new Error(`reader ${n} never received an end`);
      if (!garbled && wrong !== undefined) {
        throw new Error(`reader ${n}: ${wrong}`);
      }
    }
  }
}
