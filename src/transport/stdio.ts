/**
 * This process's standard input and output as a duplex, for a server that its
 * client starts as a child process.
 *
 * @module
 */

import type { Duplex, DuplexInfo } from "../types/duplex.ts";
import { type DenoConnLike, fromDenoConn } from "./sockets/deno_conn.ts";
import { nodeProcess } from "./sockets/node_builtins.ts";
import { checkNodeStreams, fromNodeStreams } from "./sockets/node_stream.ts";

/**
 * The standard input and output of this process as a duplex. The client that
 * has started the process passes the child's streams to
 * {@linkcode nodeDuplex}.
 *
 * Call it once, and print nothing else to standard output; `console.error` is
 * free to use.
 *
 * `writable.close()` waits until everything is written. It does not close
 * standard output, which not every runtime can: the peer reads the end when
 * this process exits. Once writing is closed, and reading has ended or been
 * cancelled, the duplex no longer keeps the process alive.
 *
 * @returns The duplex.
 * @throws {TypeError} If the runtime is not Deno, Bun or Node.
 * @throws {ConnectionError} `unavailable` if one of the streams has ended,
 *   failed or been destroyed (on Deno the first read fails instead);
 *   `invalid_argument` if `setEncoding` was called on standard input, which
 *   then yields text.
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
  checkNodeStreams(stdin, stdout);
  return fromNodeStreams(stdin, stdout, info, true);
}

/** The members of `Deno` that are used. */
interface DenoStdio {
  readonly stdin: Pick<DenoConnLike, "read" | "close">;
  readonly stdout: Pick<DenoConnLike, "write">;
}

/** Deno's own streams: Deno 2.9.5 still reads a `process.stdin` that was destroyed, and never exits. */
function stdioConn({ stdin, stdout }: DenoStdio): DenoConnLike {
  return {
    read: (buffer) => stdin.read(buffer),
    write: (buffer) => stdout.write(buffer),
    closeWrite: () => Promise.resolve(),
    close: () => stdin.close(),
  };
}
