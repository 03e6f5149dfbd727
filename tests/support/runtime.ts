/**
 * What the runtime has: a page has neither sockets nor the modules of Node.
 *
 * @module
 */

/** Whether the runtime has sockets. */
export const HAS_SOCKETS: boolean = "process" in globalThis;

/** Node's `Buffer`; in a page, which has none, `Uint8Array`. */
export const Buffer: { from(bytes: Uint8Array): Uint8Array } =
  globalThis.Buffer ?? Uint8Array;
