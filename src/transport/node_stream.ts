/**
 * Node's streams, sockets above all, as a {@linkcode Duplex}.
 *
 * Invariants owned here:
 * - Whatever way a stream ends (only `end`, only `error`, only `close`),
 *   everything that waits for it settles, and no `error` goes uncaught.
 * - What had arrived before a reset is read before the error.
 * - A write settles when the system has its bytes; one write is under way at a
 *   time. (`write()` returning `true` is not enough: the chunk may still lie in
 *   the stream's own buffer, and its memory is the caller's again once we
 *   settle.)
 * - At most 64 KiB and one chunk are read ahead, besides the stream's own
 *   buffer.
 *
 * `Duplex.toWeb` is not used: it counts chunks instead of bytes, and drops what
 * has arrived when an error comes.
 *
 * @module
 */

import { toChunk } from "../base/bytes.ts";
import type { Duplex, DuplexInfo } from "../types/duplex.ts";
import { ConnectionError, quote } from "../base/errors.ts";
import { type Address, describeFault, lost, printAddress } from "./address.ts";
import { BUFFER, ReadHalf, type ReadHalfEvents } from "./read_half.ts";
import type {
  NodeReadable,
  NodeSocket,
  NodeWritable,
} from "./node_builtins.ts";
import { WriteHalf } from "./write_half.ts";
import { ownDuplex } from "./native_duplex.ts";
import type { CertificateNames, PeerCertificate } from "../types/connection.ts";

/**
 * A duplex over a pair of Node streams, which may be one socket; see the module.
 *
 * @param info Its addresses.
 * @param keepOutput Never end or destroy the output: it is the process's own.
 */
export function adapt(
  input: NodeReadable,
  output: NodeWritable,
  info: DuplexInfo = {},
  keepOutput = false,
): Duplex & DuplexInfo {
  const adapter = new NodeStreamAdapter(input, output, keepOutput);
  return ownDuplex(adapter.readHalf, adapter, info);
}

const CORKS = !("Bun" in globalThis);

class NodeStreamAdapter extends WriteHalf implements ReadHalfEvents {
  readonly readHalf: ReadHalf = new ReadHalf(BUFFER, this);
  readonly #input: NodeReadable;
  readonly #output: NodeWritable;
  readonly #keepOutput: boolean;
  /** One socket: the end of one direction by a fault is the end of both. */
  readonly #shared: boolean;
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
    this.#shared = (input as unknown) === output;
    this.#listen();
    // One that was destroyed in between has told of it, and tells no more.
    if (input.destroyed) this.#failReading(lost(input.errored ?? undefined));
    if (output.destroyed) this.fail(lost(output.errored ?? undefined));
  }

  #listen(): void {
    const input = this.#input;
    const output = this.#output;
    input.on("data", (chunk) => this.#arrived(chunk));
    input.on("end", () => this.#ended());
    // The listeners for `error` stay for good: one that comes late is nobody's.
    input.on("error", (error) => this.#failReading(lost(error)));
    input.on("close", () => this.#failReading(lost()));
    if (this.#shared) return;
    output.on("error", (error) => this.fail(lost(error)));
    output.on("close", () => this.fail(lost()));
  }

  #arrived(chunk: unknown): void {
    if (this.#cancelled || this.#readingDone) return;
    try {
      // Not as it is: a Buffer's `slice` shares memory where a Uint8Array's copies.
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

  onCancel(): void {
    this.#cancelled = true;
    this.onRead();
    this.#settleEnds();
  }

  /** After a cancel the rest is read and dropped: unread input would turn our FIN into a reset. */
  onRead(): void {
    if (this.#paused && (this.#cancelled || this.readHalf.hasCapacity)) {
      this.#paused = false;
      this.#input.resume();
    }
  }

  #ended(): void {
    this.#readingDone = true;
    this.readHalf.end();
    this.#settleEnds();
  }

  /** Several chunks leave in one system call; not on Bun, which would put them together first (7 % of both ends' CPU time with payloads of 64 KiB). */
  write(chunks: readonly Uint8Array[]): Promise<void> {
    const output = this.#output;
    const last = chunks.length - 1;
    return this.wait((done) => {
      if (last > 0 && CORKS) output.cork?.();
      for (let i = 0; i < last; i++) output.write(chunks[i]);
      output.write(chunks[last], done);
      if (last > 0 && CORKS) output.uncork?.();
    });
  }

  close(): Promise<void> {
    return this.wait((done) => {
      const ended = (error?: unknown) => {
        if (!error) this.#writingDone = true;
        done(error);
        this.#settleEnds();
      };
      if (this.#keepOutput) ended();
      else this.#output.end(ended);
    });
  }

  abort(reason: unknown): void {
    const closed = this.#writingDone;
    this.#readingDone = true;
    this.#writingDone = true;
    this.readHalf.drop(reason);
    super.fail(reason);
    // Not after our FIN: it would take back what the peer has yet to read.
    if (this.#shared && !closed) reset(this.#output);
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
    this.#salvage();
    this.readHalf.fail(reason);
    this.#input.destroy();
    if (this.#shared) this.fail(reason);
    else this.#settleEnds();
  }

  override fail(reason: unknown): void {
    if (this.#writingDone) return;
    this.#writingDone = true;
    super.fail(reason);
    if (this.#shared) this.#failReading(reason);
    else this.#settleEnds();
  }

  /** What had arrived and waited in the stream's own buffer while we had it paused. */
  #salvage(): void {
    if (!this.#paused || this.#cancelled) return;
    let chunk: unknown;
    while ((chunk = this.#input.read()) instanceof Uint8Array) {
      this.readHalf.push(new Uint8Array(chunk));
    }
  }

  /** Both directions are done: nothing must keep the process alive. */
  #settleEnds(): void {
    if (!this.#writingDone) return;
    if (this.#readingDone || (this.#cancelled && !this.#shared)) {
      this.#destroy();
    }
  }

  #destroy(): void {
    this.#readingDone = true;
    this.#input.destroy();
    if (!this.#shared && !this.#keepOutput) this.#output.destroy();
  }
}

/**
 * Looks at streams of a user's: one that is over would never tell of it again.
 *
 * @throws {ConnectionError} `unavailableError` if one has ended, failed or was
 * destroyed; `invalid_argument` if the readable yields text.
 */
export function checkStreams(input: NodeReadable, output: NodeWritable): void {
  checkState("readable", input, input.readableEnded);
  checkState("writable", output, output.writableEnded);
  const { readableEncoding } = input;
  if (readableEncoding === undefined || readableEncoding === null) return;
  throw new ConnectionError(
    "invalid_argument",
    `Cannot adapt: readable has setEncoding(${
      quote(readableEncoding)
    }) and yields text; hand over a stream of bytes`,
  );
}

function checkState(
  side: string,
  { destroyed, errored }: NodeReadable | NodeWritable,
  ended: boolean | undefined,
): void {
  const cause = errored ?? undefined;
  const state = cause !== undefined
    ? `has failed: ${describeFault(cause)}`
    : ended
    ? "has ended"
    : "was destroyed";
  if (cause === undefined && !destroyed && !ended) return;
  const text = `Cannot adapt: ${side} ${state}`;
  throw new ConnectionError("unavailable", text, { cause });
}

/** So that the peer reads an error, not an end. TCP alone knows a reset; the others just close. */
function reset(socket: NodeWritable): void {
  try {
    socket.resetAndDestroy?.();
  } catch {
    // No TCP socket: destroyed by the caller.
  }
}

/** What is used of what `getPeerCertificate` returns; nothing is in it if the peer has shown none. */
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

/** What the peer of a socket has shown, if anything. */
export function certificateOf(socket: NodeSocket): PeerCertificate | undefined {
  const shown = socket.getPeerCertificate?.() as NodeCertificate | undefined;
  if (!shown?.raw || !shown.subject || !shown.issuer) return undefined;
  return {
    // The runtime's objects have no prototype on some runtimes, and one on others.
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
 * @throws {ConnectionError} `unavailableError` if either has ended, failed or was
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
