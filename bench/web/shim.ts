/**
 * WebSockets as duplexes, until the library has its own.
 *
 * @module
 */

import type { Duplex } from "../../mod.ts";

export function fromWebSocket(socket: WebSocket): Duplex {
  socket.binaryType = "arraybuffer";
  const open = new Promise<void>((resolve, reject) => {
    if (socket.readyState === 1) resolve();
    socket.addEventListener("open", () => resolve());
    socket.addEventListener("close", () => reject(new Error("closed")));
  });
  open.catch(() => {});
  let ended = false;
  const readable = new ReadableStream<Uint8Array>({
    start(controller) {
      socket.addEventListener("message", ({ data }) => {
        if (ended) return;
        if (data.byteLength > 0) {
          return controller.enqueue(new Uint8Array(data));
        }
        ended = true;
        controller.close();
      });
      socket.addEventListener("close", () => {
        if (!ended) controller.error(new Error("the socket closed"));
        ended = true;
      });
    },
  });
  const writable = new WritableStream<Uint8Array>({
    start(controller) {
      controller.signal.addEventListener("abort", () => socket.close());
      socket.addEventListener(
        "close",
        () => controller.error(new Error("closed")),
      );
    },
    async write(chunk) {
      await open;
      socket.send(chunk.slice());
    },
    close: () => socket.send(new Uint8Array()),
  });
  return { readable, writable };
}

export function webSockets() {
  const waiting: Duplex[] = [];
  let wake = () => {};
  let closed = false;
  return {
    upgrade(request: Request): Response {
      const { socket, response } = Deno.upgradeWebSocket(request, {
        protocol: "sluice.1",
      });
      waiting.push(fromWebSocket(socket));
      wake();
      return response;
    },
    close() {
      closed = true;
      wake();
    },
    async *[Symbol.asyncIterator]() {
      while (!closed) {
        for (const duplex of waiting.splice(0)) yield duplex;
        if (!closed) await new Promise<void>((resolve) => wake = resolve);
      }
    },
  };
}
