// A server of this library for the conformance suite: prints its address, and
// serves until it is ended. Its limits are small, so that they are reached soon.

import { listen, Server } from "../../mod.ts";
import { conformanceServices } from "./services.ts";

const RUNNING = 8;
const server = new Server(conformanceServices(RUNNING), {
  maxRunning: RUNNING,
  windowCalls: 200,
  windowBytes: 150_000,
  maxMessage: 131_072,
  maxStreams: 16,
  connectionCredit: 2_200_000,
  handshakeTimeout: 1500,
});
const listener = await listen({ port: 0 });
server.serve(listener);
const { address } = listener;
if ("port" in address) {
  console.log(`listening on ${address.host}:${address.port}`);
}
