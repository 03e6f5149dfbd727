/**
 * `ReadableStream.from`, which tests make streams with, and Chromium lacks.
 * `deno task browsers` checks that `src/` does not use it.
 *
 * @module
 */

ReadableStream.from ??= <T>(
  items: AsyncIterable<T> | Iterable<T | PromiseLike<T>>,
) => {
  const iterator = Symbol.asyncIterator in Object(items)
    ? (items as AsyncIterable<T>)[Symbol.asyncIterator]()
    : (items as Iterable<T | PromiseLike<T>>)[Symbol.iterator]();
  return new ReadableStream<T>({
    async pull(controller) {
      const { done, value } = await iterator.next();
      if (done) controller.close();
      else controller.enqueue(await value);
    },
    async cancel(reason) {
      await iterator.return?.(reason);
    },
  }, { highWaterMark: 0 });
};
