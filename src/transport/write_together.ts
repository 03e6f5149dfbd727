/**
 * Many chunks as few, for a transport that writes one at a time: there, a write
 * costs more than a copy of 64 KiB.
 *
 * Invariant owned here: at most one buffer is kept for the whole process while
 * nobody writes. (One for each connection would be held by idle ones, too; one
 * made for each write has to be cleared each time.)
 *
 * @module
 */

/** Bytes that are written at once. */
const TOGETHER = 256 * 1024;

let spare: Uint8Array | undefined;

/** Writes `chunks` in order by `write`, whose argument is only lent until it resolves. */
export async function writeTogether(
  chunks: readonly Uint8Array[],
  write: (chunk: Uint8Array) => Promise<void>,
): Promise<void> {
  const buffer = spare ?? new Uint8Array(TOGETHER);
  spare = undefined;
  let fill = 0;
  for (let chunk of chunks) {
    while (fill + chunk.length > TOGETHER) {
      const part = chunk.subarray(0, TOGETHER - fill);
      chunk = chunk.subarray(part.length);
      if (fill === 0) await write(part);
      else {
        buffer.set(part, fill);
        fill = 0;
        await write(buffer);
      }
    }
    buffer.set(chunk, fill);
    fill += chunk.length;
  }
  if (fill > 0) await write(buffer.subarray(0, fill));
  // Not after a failure: the system may have it still.
  spare = buffer;
}
