/**
 * A Web Worker that serves the port it is sent.
 *
 * @module
 */

import { fromMessagePort, Server } from "../../../mod.ts";

const services = {
  Math: { square: (n: number) => n * n },
  Stream: {
    async *bytes(items: number) {
      for (let n = 0; n < items; n++) yield new Uint8Array(65_536);
    },
  },
};

/** What it serves. */
export type WorkerServices = typeof services;

const server = new Server(services);
addEventListener("message", (event) => {
  const { ports } = event as MessageEvent;
  server.accept(fromMessagePort(ports[0]!));
});
