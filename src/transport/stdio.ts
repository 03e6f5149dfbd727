/**
 * This process's standard input and output as a duplex: for a server that its
 * client starts as a child process.
 *
 * @module
 */

import type { Duplex, DuplexInfo } from "../types/duplex.ts";
import { adapt, checkStreams } from "./node_stream.ts";
import { type DenoConnLike, fromDenoConn } from "./deno_conn.ts";
import { nodeProcess } from "./node_builtins.ts";

/**
 * Standard input and output as a duplex. Take it once, and print nothing else
 * to standard output; `console.error` is free.
 *
 * Standard output is never closed, as not every runtime can: `writable.close()`
 * waits until all is written, and the peer reads the end when the process
 * exits. Once writing is closed and reading has ended or been cancelled,
 * nothing here keeps the process alive.
 *
 * For the other side, hand the child's streams to `nodeDuplex`.
 *
 * @returns The duplex.
 * @throws {TypeError} If the runtime is neither Deno, Bun nor Node.
 * @throws {ConnectionError} `unavailableError` if one of them has ended or was
 *   destroyed; `invalid_argument` if standard input yields text, by
 *   `setEncoding`. (On Deno the first read tells of the former.)
 *
 * @example
 * ```ts ignore
 * import { Server, stdio } from "@sluice/rpc";
 *
 * new Server({ Echo: { say: (text: string) => text } }).accept(stdio());
 * ```
 */
export function stdio(): Duplex & DuplexInfo {
  const info = { remote: "stdin", local: "stdout" };
  const { Deno } = globalThis as unknown as { Deno?: DenoStdio };
  if (typeof Deno?.stdin?.read === "function") {
    return fromDenoConn(stdioConn(Deno), info, true);
  }
  const { stdin, stdout } = nodeProcess("stdio");
  checkStreams(stdin, stdout);
  return adapt(stdin, stdout, info, true);
}

/** What is used of `Deno`. */
interface DenoStdio {
  readonly stdin: Pick<DenoConnLike, "read" | "close">;
  readonly stdout: Pick<DenoConnLike, "write">;
}

/** Deno 2.9.5 goes on reading a `process.stdin` that was destroyed, and never exits: its own streams instead. */
function stdioConn({ stdin, stdout }: DenoStdio): DenoConnLike {
  return {
    read: (buffer) => stdin.read(buffer),
    write: (buffer) => stdout.write(buffer),
    closeWrite: () => Promise.resolve(),
    close: () => stdin.close(),
  };
}
