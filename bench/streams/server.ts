/**
 * The server of the stream benchmarks, in a process of its own, and plain sockets
 * beside it: `server.ts BYTES`. A plain socket that has received BYTES bytes sends
 * one byte; one whose first byte is {@linkcode ECHO} sends a byte for each chunk.
 *
 * @module
 */

import process from "node:process";
import { listen, Server } from "../../mod.ts";
import { parentDone, sendToParent } from "../demo/parent.ts";
import { listenPlain } from "../limit/plain.ts";
import { BYTE } from "../limit/styles.ts";
import { ECHO, streamServices } from "./services.ts";

/** Its addresses. */
export interface StreamsServer {
  readonly host: string;
  readonly port: number;
  readonly plain: number;
}

if (import.meta.main) {
  const server = new Server(streamServices(), {
    // Enough for a thousand calls with open streams.
    windowCalls: 4096,
    maxRunning: 4096,
  });
  const listener = await listen({ port: 0 });
  server.serve(listener);
  const bytes = Number(process.argv[2]);
  const plain = await listenPlain((socket) => {
    let missing = bytes;
    let echo: boolean | undefined;
    return {
      data(chunk) {
        echo ??= chunk[0] === ECHO;
        if (echo) return socket.write(BYTE);
        missing -= chunk.length;
        if (missing === 0) socket.write(BYTE);
      },
    };
  });
  const { host, port } = listener.address as StreamsServer;
  sendToParent({ host, port, plain } satisfies StreamsServer);
  await parentDone();
  process.exit();
}
