// A thread that serves one client over the two streams that it gets as its
// first message, and says how that connection has ended.

import { parentPort } from "node:worker_threads";
import { type Duplex, Server } from "../../../mod.ts";
import { services } from "./port_services.ts";

parentPort!.once("message", async (duplex: Duplex) => {
  const connection = new Server(services).accept(duplex);
  const reason = await connection.closed;
  parentPort!.postMessage(reason?.code ?? "closed");
});
