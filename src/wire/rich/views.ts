/**
 * Typed arrays, `DataView` and `ArrayBuffer`: what they are, their bytes, and
 * back. Their class is what they are made of, not what their prototype says.
 *
 * @module
 */

import {
  arrayGetter,
  copyBytes,
  getter,
  typedArrayTag,
} from "../../base/bytes.ts";

/** A class of views that travel. */
interface ViewClass {
  readonly name: string;
  readonly prototype: object;
  readonly BYTES_PER_ELEMENT?: number;
  new (buffer: ArrayBuffer): ArrayBufferView;
}

/** The classes of views, by the tag of the encoding. A runtime may lack `Float16Array`. */
const CLASSES = /* @__PURE__ */ (() => {
  const { Float16Array } = globalThis as { Float16Array?: ViewClass };
  const classes: (ViewClass | undefined)[] = [
    ...[Uint8Array, Int8Array, Uint8ClampedArray, Uint16Array, Int16Array],
    ...[Uint32Array, Int32Array, BigUint64Array, BigInt64Array, Float16Array],
    ...[Float32Array, Float64Array, DataView],
  ];
  const named = new Map<string, ViewClass>();
  for (const each of classes) {
    if (each !== undefined) named.set(`$${each.name}`, each);
  }
  return named;
})();

const arrayBuffer = /* @__PURE__ */ arrayGetter<ArrayBuffer>("buffer");
const arrayOffset = /* @__PURE__ */ arrayGetter<number>("byteOffset");
const arrayLength = /* @__PURE__ */ arrayGetter<number>("byteLength");
const viewBuffer = /* @__PURE__ */ getter<ArrayBuffer>(DataView, "buffer");
const viewOffset = /* @__PURE__ */ getter<number>(DataView, "byteOffset");
const viewLength = /* @__PURE__ */ getter<number>(DataView, "byteLength");
const bufferLength = /* @__PURE__ */ getter<number>(ArrayBuffer, "byteLength");

/** Bytes of a value under the tag that says what they are of. */
export interface TaggedBytes {
  readonly tag: string;
  /** A view of the value's own memory, which may be shared or resizable. */
  readonly bytes: Uint8Array;
}

/**
 * The bytes of a typed array or a `DataView`.
 *
 * @throws {TypeError} If its memory is gone: it was transferred, or shrunk.
 */
export function bytesOfView(view: ArrayBufferView): TaggedBytes {
  const name = typedArrayTag.call(view);
  if (name === undefined) {
    // These getters throw for a view without memory.
    const length = viewLength.call(view);
    const offset = viewOffset.call(view);
    const bytes = new Uint8Array(viewBuffer.call(view), offset, length);
    return { tag: "$DataView", bytes };
  }
  // Those of a typed array return 0; its methods throw.
  if (arrayLength.call(view) === 0) {
    Uint8Array.prototype.at.call(view as Uint8Array, 0);
  }
  const bytes = new Uint8Array(
    arrayBuffer.call(view),
    arrayOffset.call(view),
    arrayLength.call(view),
  );
  return { tag: `$${name}`, bytes };
}

/**
 * The bytes of an `ArrayBuffer`, also of one of another realm.
 *
 * @throws {TypeError} If it is none, or was transferred.
 */
export function bytesOfBuffer(buffer: ArrayBuffer): TaggedBytes {
  bufferLength.call(buffer);
  return { tag: "$ArrayBuffer", bytes: new Uint8Array(buffer) };
}

/** Whether a tag names bytes. */
export function isBytesTag(tag: string): boolean {
  return tag === "$ArrayBuffer" || CLASSES.has(tag);
}

/**
 * Makes what a tag names of `bytes[start..end)`, in memory of its own.
 *
 * @throws {RangeError} If the bytes do not fill whole elements.
 */
export function fromBytes(
  tag: string,
  bytes: Uint8Array,
  start: number,
  end: number,
): ArrayBufferView | ArrayBuffer {
  const Class = CLASSES.get(tag);
  const size = Class?.BYTES_PER_ELEMENT ?? 1;
  const copy = copyBytes(bytes, start, end) as Uint8Array<ArrayBuffer>;
  toLittleEndian(copy, size);
  return Class === undefined ? copy.buffer : new Class(copy.buffer);
}

/** The size of an element of what a tag names. */
export function elementSize(tag: string): number {
  return CLASSES.get(tag)?.BYTES_PER_ELEMENT ?? 1;
}

/** Whether this machine stores the low byte first, as the encoding does. */
const LITTLE_ENDIAN =
  /* @__PURE__ */ (() =>
    new Uint8Array(new Uint16Array([1]).buffer)[0] === 1)();

/** Changes elements of `size` bytes from the machine's order of bytes to that of the encoding, or back. */
export function toLittleEndian(
  bytes: Uint8Array,
  size: number,
  machine: boolean = LITTLE_ENDIAN,
): void {
  if (machine || size === 1) return;
  for (let at = 0; at + size <= bytes.length; at += size) {
    bytes.subarray(at, at + size).reverse();
  }
}
