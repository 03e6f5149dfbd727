/**
 * The server of `bench:urgent`, in a process of its own: the library's services,
 * and a plain socket that sends each byte back. It exits when its parent ends it.
 *
 * @module
 */

import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { listen, Server } from "../../mod.ts";
import { parentDone, sendToParent } from "../demo/parent.ts";

/** What the server sends its parent: `plain` is the port of the bytes. */
export interface UrgentListening {
  readonly port: number;
  readonly plain: number;
}

const SLICE = new Uint8Array(64 * 1024);

/** What the client calls. */
export const services = {
  Test: {
    ping: (n: number): number => n,
    echo: (bytes: Uint8Array): Uint8Array => bytes,
    async *flood(): AsyncGenerator<Uint8Array> {
      for (;;) yield SLICE;
    },
  },
};

if (import.meta.main) {
  const listener = await listen({ port: 0 });
  new Server(services).serve(listener);
  const plain = createServer((socket) => {
    socket.setNoDelay(true);
    socket.on("error", () => {});
    socket.on("data", (bytes) => void socket.write(bytes));
  });
  await new Promise<void>((done) => plain.listen(0, "127.0.0.1", done));
  sendToParent(
    {
      port: Number(new URL(listener.url).port),
      plain: (plain.address() as AddressInfo).port,
    } satisfies UrgentListening,
  );
  await parentDone();
  process.exit();
}
