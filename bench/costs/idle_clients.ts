/**
 * The clients of `idle.ts`, all in one process. Each writes the bytes of one call,
 * checks the reply, and stays connected until the parent ends the process.
 *
 * @module
 */

import { connect, type Socket } from "node:net";
import process from "node:process";
import { hello, join, request } from "../../tests/support/raw_peer.ts";
import { parentDone, sendToParent } from "../demo/parent.ts";
import type { DialerMessage } from "./idle.ts";

/** Largest number of dials at once. */
const AT_ONCE = 100;

const CALL = join(
  hello({ calls: 0 }),
  request(1, "HelloService.Hello", "client 1"),
);

/** A connection whose call has its reply; a bare server replies with the call itself. */
function dial(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1" });
    let received = "";
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("the server closed")));
    socket.on("data", (bytes) => {
      received += bytes.toString("latin1");
      if (received.endsWith("client 1")) resolve(socket);
    });
    socket.write(CALL);
  });
}

/** Connects as many as the system allows. */
async function dialAll(port: number, count: number): Promise<Socket[]> {
  const sockets: Socket[] = [];
  while (sockets.length < count) {
    const some = Math.min(AT_ONCE, count - sockets.length);
    sockets.push(
      ...await Promise.all(Array.from({ length: some }, () => dial(port))),
    );
  }
  return sockets;
}

if (import.meta.main) {
  parentDone().then(() => process.exit());
  const { port, connections } = JSON.parse(process.argv[2]);
  try {
    const sockets = await dialAll(port, connections);
    sendToParent({ connected: sockets.length } satisfies DialerMessage);
  } catch (error) {
    sendToParent({ fault: String(error) } satisfies DialerMessage);
  }
}
