/**
 * Sockets, child processes and this process's own streams, where they are Node's:
 * each as a {@linkcode Duplex}.
 *
 * @module
 */

import type { Duplex, DuplexInfo } from "./duplex.ts";
import { adapt, checkStreams } from "./node_stream.ts";
import { type Address, printAddress } from "./address.ts";
import { certificateOf } from "./certificate.ts";
import type {
  NodeReadable,
  NodeSocket,
  NodeWritable,
} from "./node_builtins.ts";

export type { NodeReadable, NodeWritable };

/**
 * A duplex over a socket that is connected, with its addresses as they are now:
 * a socket that has been reset knows them no more.
 *
 * @param socket A `net.Socket` or `tls.TLSSocket` made with `allowHalfOpen`;
 *   no one else's from then on.
 * @param address What was dialled or listened at.
 * @param side Whose address that is.
 */
export function socketDuplex(
  socket: NodeSocket,
  address: Address,
  side: "remote" | "local",
): Duplex & DuplexInfo {
  const certificate = certificateOf(socket);
  const info = "path" in address ? { certificate, [side]: address.path } : {
    certificate,
    remote: print(socket.remoteAddress, socket.remotePort),
    local: print(socket.localAddress, socket.localPort),
  };
  return adapt(socket, socket, info);
}

function print(
  host: string | undefined,
  port: number | undefined,
): string | undefined {
  if (host === undefined || port === undefined) return undefined;
  return printAddress({ host, port });
}

/**
 * A duplex over a pair of Node streams, such as the `stdout` and `stdin` of a
 * child process.
 *
 * The two fail apart: when the child closes its input, what it still has to
 * say is read to its end. `writable.close()` ends `writable`;
 * `writable.abort()` destroys both streams.
 *
 * Two streams that are no sockets are taken for a child's: then a JSON-RPC wire
 * of lines drops what the child prints between its messages (`childOutput`).
 *
 * @param readable What is read from; a `stream.Readable` that nobody else reads.
 * @param writable What is written to; a `stream.Writable` that nobody else writes.
 * @returns The duplex.
 * @throws {TypeError} If either is not a Node stream.
 * @throws {ConnectionError} `unavailable` if either has ended, failed or was
 *   destroyed; `invalid_argument` if `readable` yields text, by `setEncoding`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { spawn } from "node:child_process";
 * import { nodeDuplex } from "@sluice/rpc";
 *
 * const child = spawn("cat", { stdio: ["pipe", "pipe", "inherit"] });
 * const duplex = nodeDuplex(child.stdout, child.stdin);
 * const writer = duplex.writable.getWriter();
 * await writer.write(new TextEncoder().encode("hello"));
 * await writer.close();
 *
 * assertEquals(await new Response(duplex.readable).text(), "hello");
 * ```
 */
export function nodeDuplex(
  readable: NodeReadable,
  writable: NodeWritable,
): Duplex & DuplexInfo {
  if (
    typeof readable?.on !== "function" || typeof readable.pause !== "function"
  ) {
    throw new TypeError("Cannot adapt: readable is not a Node stream");
  }
  if (
    typeof writable?.on !== "function" || typeof writable.write !== "function"
  ) {
    throw new TypeError("Cannot adapt: writable is not a Node stream");
  }
  checkStreams(readable, writable);
  return adapt(readable, writable, {
    childOutput: !sameStream(readable, writable) && isPipe(readable),
  });
}

function sameStream(readable: NodeReadable, writable: NodeWritable): boolean {
  return (readable as unknown) === writable;
}

/** Whether a stream is neither a network connection, nor the body of an HTTP message, nor this process's own input. */
function isPipe(readable: NodeReadable): boolean {
  const { remoteAddress, socket, fd } = readable as {
    remoteAddress?: unknown;
    socket?: unknown;
    fd?: unknown;
  };
  return remoteAddress === undefined && socket === undefined && fd !== 0;
}
