/**
 * Node's streams as duplexes: sockets, the streams of child processes, and
 * those of this process.
 *
 * Invariants:
 * - However a stream ends (with `end`, `error` or `close` alone), everything
 *   that waits for it settles, and no `error` is uncaught.
 * - What arrived before a reset is read before the error.
 * - A write settles when the system has its bytes, and one write is under way
 *   at a time. (That `write()` returns `true` is not enough: the chunk may
 *   still be in the stream's own buffer, and its memory belongs to the caller
 *   again once the write has settled.)
 * - At most 64 KiB and one chunk are read ahead, besides the stream's own
 *   buffer.
 * - A certificate is shown only if TLS has verified it: both sides reject a
 *   peer whose certificate is not valid.
 *
 * `Duplex.toWeb` of Node is not used: it counts chunks instead of bytes, and
 * drops what has arrived when an error comes.
 *
 * @module
 */

import { toChunk } from "../../base/bytes.ts";
import { ConnectionError, quote } from "../../base/errors.ts";
import type {
  CertificateNames,
  Duplex,
  DuplexInfo,
  PeerCertificate,
} from "../../types/duplex.ts";
import { type Address, printAddress } from "../address.ts";
import { nativeDuplex } from "../native_duplex.ts";
import type {
  NodeReadable,
  NodeSocket,
  NodeWritable,
} from "./node_builtins.ts";
import { BUFFER, ReadHalf, type ReadHalfEvents } from "../read_half.ts";
import { describeError, lostError } from "../system_errors.ts";
import { WriteHalf } from "../write_half.ts";

/**
 * A duplex over two Node streams, such as the `stdout` and `stdin` of a child
 * process.
 *
 * The streams fail separately: if the child closes its input, what it still
 * writes is read to the end. `writable.close()` ends `writable`;
 * `writable.abort()` destroys both streams. `readable.cancel()` leaves writing
 * open; what the child still writes is dropped.
 *
 * Two streams that are no sockets are taken for those of a child process
 * (`childOutput`): a JSON-RPC protocol of lines then drops other text that the
 * child prints between its messages.
 *
 * @param readable The `stream.Readable` to read from, which nobody else reads.
 * @param writable The `stream.Writable` to write to, which nobody else writes.
 * @returns The duplex.
 * @throws {TypeError} If either is not a Node stream.
 * @throws {ConnectionError} `unavailable` if either has ended, failed or been
 *   destroyed; `invalid_argument` if `setEncoding` was called on `readable`,
 *   which then yields text.
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
  checkNodeStreams(readable, writable);
  return fromNodeStreams(readable, writable, {
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

/**
 * Checks streams that a user has passed. One that is over would emit nothing
 * more, and its connection would hang.
 *
 * @throws {ConnectionError} `unavailable` if either has ended, failed or been
 *   destroyed; `invalid_argument` if the readable yields text.
 */
export function checkNodeStreams(
  readable: NodeReadable,
  writable: NodeWritable,
): void {
  checkState("readable", readable, readable.readableEnded);
  checkState("writable", writable, writable.writableEnded);
  const { readableEncoding } = readable;
  if (readableEncoding === undefined || readableEncoding === null) return;
  throw new ConnectionError(
    "invalid_argument",
    `Cannot adapt: readable yields text, as setEncoding(${
      quote(readableEncoding)
    }) was called; pass a stream of bytes`,
  );
}

function checkState(
  side: string,
  { destroyed, errored }: NodeReadable | NodeWritable,
  ended: boolean | undefined,
): void {
  const cause = errored ?? undefined;
  const state = cause !== undefined
    ? `has failed: ${describeError(cause)}`
    : ended
    ? "has ended"
    : "was destroyed";
  if (cause === undefined && !destroyed && !ended) return;
  const text = `Cannot adapt: ${side} ${state}`;
  throw new ConnectionError("unavailable", text, { cause });
}

/**
 * A duplex over a connected socket. Its addresses are read now, since a socket
 * that was reset no longer has them.
 *
 * @param socket A `net.Socket` or `tls.TLSSocket`, created with
 *   `allowHalfOpen`. It belongs to the duplex from then on.
 * @param address Where it was dialled or accepted.
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
  return fromNodeStreams(socket, socket, info);
}

function print(
  host: string | undefined,
  port: number | undefined,
): string | undefined {
  if (host === undefined || port === undefined) return undefined;
  return printAddress({ host, port });
}

/** The members of what `getPeerCertificate` returns; all are missing if the peer has shown no certificate. */
interface NodeCertificate {
  readonly subject?: CertificateNames;
  readonly issuer?: CertificateNames;
  readonly subjectaltname?: string;
  readonly serialNumber?: string;
  readonly fingerprint256?: string;
  readonly valid_from?: string;
  readonly valid_to?: string;
  readonly raw?: Uint8Array;
}

/** The certificate that a socket's peer has shown, if any. */
function certificateOf(socket: NodeSocket): PeerCertificate | undefined {
  const shown = socket.getPeerCertificate?.() as NodeCertificate | undefined;
  if (!shown?.raw || !shown.subject || !shown.issuer) return undefined;
  return {
    // Copied, since these objects have a prototype on some runtimes only.
    subject: { ...shown.subject },
    issuer: { ...shown.issuer },
    altNames: shown.subjectaltname,
    serialNumber: shown.serialNumber ?? "",
    fingerprint256: shown.fingerprint256 ?? "",
    validFrom: shown.valid_from ?? "",
    validTo: shown.valid_to ?? "",
    raw: new Uint8Array(shown.raw),
  };
}

/**
 * A duplex over two Node streams, or one socket as both. They belong to the
 * duplex from then on.
 *
 * @param keepOutput Never end or destroy the output, which is the process's own.
 */
export function fromNodeStreams(
  input: NodeReadable,
  output: NodeWritable,
  info: DuplexInfo,
  keepOutput = false,
): Duplex & DuplexInfo {
  const adapter = new NodeStreamAdapter(input, output, keepOutput);
  return nativeDuplex(adapter.readHalf, adapter, info);
}

/** Not on Bun, which would copy the chunks into one (7 % of both sides' CPU time with payloads of 64 KiB). */
const CORKS = /* @__PURE__ */ (() => !("Bun" in globalThis))();

class NodeStreamAdapter extends WriteHalf implements ReadHalfEvents {
  readonly readHalf: ReadHalf = new ReadHalf(BUFFER, this);
  readonly #input: NodeReadable;
  readonly #output: NodeWritable;
  readonly #keepOutput: boolean;
  /** Whether both are one socket: a failure of one direction then ends both. */
  readonly #oneSocket: boolean;
  #paused = false;
  #cancelled = false;
  #readingDone = false;
  #writingDone = false;

  constructor(
    input: NodeReadable,
    output: NodeWritable,
    keepOutput: boolean,
  ) {
    super();
    this.#input = input;
    this.#output = output;
    this.#keepOutput = keepOutput;
    this.#oneSocket = (input as unknown) === output;
    this.#subscribe();
    // One that was destroyed before has emitted its events already.
    if (input.destroyed) {
      this.#failReading(lostError(input.errored ?? undefined));
    }
    if (output.destroyed) this.fail(lostError(output.errored ?? undefined));
  }

  #subscribe(): void {
    const input = this.#input;
    const output = this.#output;
    input.on("data", (chunk) => this.#onData(chunk));
    input.on("end", () => this.#onEnd());
    // The listeners for `error` stay for good: a late one would be uncaught.
    input.on("error", (error) => this.#failReading(lostError(error)));
    input.on("close", () => this.#failReading(lostError()));
    if (this.#oneSocket) return;
    output.on("error", (error) => this.fail(lostError(error)));
    output.on("close", () => this.fail(lostError()));
  }

  #onData(chunk: unknown): void {
    if (this.#cancelled || this.#readingDone) return;
    try {
      // A plain view: a Buffer's `slice` shares memory where a Uint8Array's copies.
      this.readHalf.push(toChunk(chunk));
    } catch (error) {
      this.#failReading(error);
      return;
    }
    if (!this.readHalf.hasCapacity && !this.#paused) {
      this.#paused = true;
      this.#input.pause();
    }
  }

  #onEnd(): void {
    this.#readingDone = true;
    this.readHalf.end();
    this.#destroyIfDone();
  }

  onRead(): void {
    this.#resumeIfPossible();
  }

  /** What still arrives is read and dropped: unread input would turn FIN into a reset. */
  onCancel(): void {
    this.#cancelled = true;
    this.#resumeIfPossible();
    this.#destroyIfDone();
  }

  #resumeIfPossible(): void {
    if (this.#paused && (this.#cancelled || this.readHalf.hasCapacity)) {
      this.#paused = false;
      this.#input.resume();
    }
  }

  /** Several chunks leave in one system call, where the runtime can do that. */
  write(chunks: readonly Uint8Array[]): Promise<void> {
    const output = this.#output;
    const last = chunks.length - 1;
    return this.untilDone((done) => {
      if (last > 0 && CORKS) output.cork?.();
      for (let i = 0; i < last; i++) output.write(chunks[i]);
      output.write(chunks[last], done);
      if (last > 0 && CORKS) output.uncork?.();
    });
  }

  close(): Promise<void> {
    return this.untilDone((done) => {
      const ended = (error?: unknown) => {
        if (!error) this.#writingDone = true;
        done(error);
        this.#destroyIfDone();
      };
      if (this.#keepOutput) ended();
      else this.#output.end(ended);
    });
  }

  abort(reason: unknown): void {
    const closed = this.#writingDone;
    this.#readingDone = true;
    this.#writingDone = true;
    this.readHalf.abort(reason);
    super.fail(reason);
    // Not after FIN: a reset would drop what the peer has yet to read.
    if (this.#oneSocket && !closed) reset(this.#output);
    this.#destroy();
  }

  override setRef(on: boolean): void {
    for (const stream of new Set([this.#input, this.#output])) {
      if (on) stream.ref?.();
      else stream.unref?.();
    }
  }

  #failReading(reason: unknown): void {
    if (this.#readingDone) return;
    this.#readingDone = true;
    this.#readBuffered();
    this.readHalf.fail(reason);
    this.#input.destroy();
    if (this.#oneSocket) this.fail(reason);
    else this.#destroyIfDone();
  }

  override fail(reason: unknown): void {
    if (this.#writingDone) return;
    this.#writingDone = true;
    super.fail(reason);
    if (this.#oneSocket) this.#failReading(reason);
    else this.#destroyIfDone();
  }

  /** Reads what had arrived in the stream's own buffer while it was paused. */
  #readBuffered(): void {
    if (!this.#paused || this.#cancelled) return;
    let chunk: unknown;
    while ((chunk = this.#input.read()) instanceof Uint8Array) {
      this.readHalf.push(new Uint8Array(chunk));
    }
  }

  /** Lets go of streams whose directions are both done: they must not keep the process alive. */
  #destroyIfDone(): void {
    if (!this.#writingDone) return;
    if (this.#readingDone || (this.#cancelled && !this.#oneSocket)) {
      this.#destroy();
    }
  }

  #destroy(): void {
    this.#readingDone = true;
    this.#input.destroy();
    if (!this.#oneSocket && !this.#keepOutput) this.#output.destroy();
  }
}

/** Makes the peer read an error, not an end. Only TCP has a reset; other sockets just close. */
function reset(socket: NodeWritable): void {
  try {
    socket.resetAndDestroy?.();
  } catch {
    // It is no TCP socket; the caller destroys it.
  }
}
