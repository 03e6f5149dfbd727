/**
 * What a connection runs over: a pair of byte streams, and what they promise.
 *
 * The contract, for everything that hands a {@linkcode Duplex} to Sluice:
 * - `readable` yields `Uint8Array` chunks that belong to the reader from then
 *   on. It ends when the peer has sent its FIN, and errors when the connection
 *   is lost: bytes that arrived before are delivered first.
 * - `writable.write()` settles when the transport has room again; a chunk
 *   belongs to the transport until then, and is read, never changed.
 * - `writable.close()` sends what is buffered and then FIN; reading goes on.
 * - `writable.abort()` destroys both directions at once.
 * - `readable.cancel()` stops reading and leaves writing alone.
 *
 * @module
 */

import { type DenoConnLike, fromDenoConn, isDenoConn } from "./deno_conn.ts";
import type { PeerCertificate } from "./certificate.ts";
import { halvesOf } from "./native_duplex.ts";

export type { DenoConnLike };

/** A readable and a writable side of bytes; see the module for what each must do. */
export interface Duplex {
  /** What the peer sends. */
  readonly readable: ReadableStream<Uint8Array>;
  /** What is sent to the peer. */
  readonly writable: WritableStream<Uint8Array>;
}

/** The symbol of asynchronous disposal, where the compiler's libraries have it; `never` elsewhere. */
export type AsyncDisposeKey = SymbolConstructor extends
  { readonly asyncDispose: infer Key extends symbol } ? Key : never;

/**
 * What `await using` needs: a method under `Symbol.asyncDispose`, which does
 * the same as `close()`. Where the compiler's libraries lack that symbol
 * (before TypeScript's `esnext.disposable`), the type asks for nothing.
 */
export type AsyncDisposal = {
  readonly [Key in AsyncDisposeKey]: () => Promise<void>;
};

/** Where a connection comes from; all of it optional. */
export interface DuplexInfo {
  /** The peer's address, printable. */
  readonly remote?: string | undefined;
  /** Our own address, printable. */
  readonly local?: string | undefined;
  /** What the peer showed in the TLS handshake, on runtimes that tell it: Node and Bun, not Deno. */
  readonly certificate?: PeerCertificate | undefined;
  /**
   * Whether `readable` is the standard output of a child process, into which
   * more may print than the peer: a wire of lines then drops what is no message
   * and tells `onError`, where it would close any other connection.
   * {@linkcode nodeDuplex} sets it.
   */
  readonly childOutput?: boolean | undefined;
  /** Keeps the process alive while the transport is open, as it does from the start; undoes `unref`. */
  readonly ref?: (() => void) | undefined;
  /** Lets the process end although the transport is open. Without it, it is the transport's own business. */
  readonly unref?: (() => void) | undefined;
}

/**
 * Checks what a user hands in as a connection, and adapts a `Deno.Conn`, whose
 * own streams break the contract above: closing one half closes all.
 *
 * @param value A duplex, or a `Deno.Conn`.
 * @returns The duplex itself, or one over the `Deno.Conn`.
 * @throws {TypeError} If it is neither, or one of its streams is locked or has
 *   failed. (Streams do not tell whether they have been closed; that shows with
 *   the first read and write.)
 *
 * @example
 * ```ts
 * import { assertStrictEquals, assertThrows } from "@std/assert";
 * import { memoryPair, toDuplex } from "@sluice/rpc";
 *
 * const [a] = memoryPair();
 * assertStrictEquals(toDuplex(a), a);
 *
 * a.readable.getReader();
 * assertThrows(() => toDuplex(a), TypeError, "readable is locked");
 * ```
 */
export function toDuplex(value: Duplex | DenoConnLike): Duplex & DuplexInfo {
  if (typeof value !== "object" || value === null) {
    throw new TypeError(
      `Cannot use as a duplex: expected { readable, writable }, received ${
        value === null ? "null" : typeof value
      }`,
    );
  }
  if (isDenoConn(value)) return fromDenoConn(value);
  // To look at the streams would make them.
  if (halvesOf(value)?.free) return value;
  check(value, "readable", "getReader");
  check(value, "writable", "getWriter");
  const writer = value.writable.getWriter();
  const failed = writer.desiredSize === null;
  writer.releaseLock();
  if (failed) {
    throw new TypeError("Cannot use as a duplex: writable has failed");
  }
  return value;
}

/** By shape, not by `instanceof`: another realm's or a polyfill's streams are streams. */
function check(value: Duplex, side: keyof Duplex, method: string): void {
  const stream = value[side] as unknown as Record<string, unknown> | undefined;
  if (typeof stream?.[method] !== "function") {
    throw new TypeError(`Cannot use as a duplex: ${side} is not a stream`);
  }
  if (stream.locked) {
    throw new TypeError(`Cannot use as a duplex: ${side} is locked`);
  }
}
