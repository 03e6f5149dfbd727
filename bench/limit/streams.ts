/**
 * Bare Web Streams over a socket: the least code that makes it a
 * `{ readable, writable }` with backpressure.
 *
 * They are written here over the simplest socket, because those of the runtimes are
 * slower. CPU time of 30,000 round trips of a byte, these and those:
 * Deno 0.59 s and 1.0 s (`conn.readable`), Node 0.65 s and 0.84 s
 * (`Duplex.toWeb`), Bun 0.35 s and 0.51 s (`Duplex.toWeb`).
 *
 * @module
 */

import { copyBytes } from "../../src/base/bytes.ts";
import { OWN } from "../demo/runtimes.ts";
import { CHUNK } from "../rows.ts";
import {
  acceptDeno,
  type Attach,
  connectDeno,
  connectPlain,
  listenPlain,
  type Plain,
  type Reader,
  writeDeno,
} from "./plain.ts";

/** Both directions of a socket. */
export interface Streams {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
}

/** Listens on a free port of loopback; returns the port. */
export function listenStreams(
  accept: (streams: Streams) => void,
): Promise<number> | number {
  if (OWN === "deno") return acceptDeno((conn) => accept(denoStreams(conn)));
  return listenPlain(attachTo(accept));
}

/** Connects to a port of loopback. */
export async function connectStreams(port: number): Promise<Streams> {
  if (OWN === "deno") return denoStreams(await connectDeno(port));
  return await new Promise((resolve, reject) => {
    connectPlain(port, attachTo(resolve)).catch(reject);
  });
}

/** On Deno the stream pulls: each read of the stream reads the socket. */
function denoStreams(conn: Deno.Conn): Streams {
  const buffer = new Uint8Array(CHUNK);
  const readable = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const length = await conn.read(buffer);
      if (length === null) controller.close();
      else controller.enqueue(buffer.slice(0, length));
    },
  });
  const writable = new WritableStream<Uint8Array>({
    write: (bytes) => writeDeno(conn, bytes),
  });
  return { readable, writable };
}

/** On other runtimes the socket pushes bytes until it is paused. */
function attachTo(accept: (streams: Streams) => void): Attach {
  return (socket: Plain): Reader => {
    let control!: ReadableStreamDefaultController<Uint8Array>;
    let wanted: (() => void) | undefined;
    const readable = new ReadableStream<Uint8Array>({
      start: (controller) => void (control = controller),
      pull() {
        wanted?.();
        wanted = undefined;
      },
    }, new ByteLengthQueuingStrategy({ highWaterMark: CHUNK }));
    const writable = new WritableStream<Uint8Array>({
      write: (bytes) => socket.write(bytes),
    }, new ByteLengthQueuingStrategy({ highWaterMark: CHUNK }));
    accept({ readable, writable });
    return {
      data(bytes) {
        control.enqueue(copyBytes(bytes));
        if (control.desiredSize! > 0) return;
        return new Promise((resolve) => wanted = resolve);
      },
    };
  };
}
