/**
 * The server of the benchmarks of streams, in a process of its own, and beside
 * it plain sockets: one that takes `server.ts BYTES` bytes says so with one, and
 * one whose first byte is {@linkcode ECHO} answers each of its chunks with one.
 *
 * @module
 */

import process from "node:process";
import { listen, Server } from "../../mod.ts";
import { parentDone, sendToParent } from "../demo/parent.ts";
import { listenPlain } from "../limit/plain.ts";
import { BYTE } from "../limit/styles.ts";
import { ECHO, streamServices } from "./services.ts";

/** Where it can be reached. */
export interface StreamsServer {
  readonly host: string;
  readonly port: number;
  readonly plain: number;
}

if (import.meta.main) {
  const server = new Server(streamServices(), {
    // For a thousand calls whose streams are under way.
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
