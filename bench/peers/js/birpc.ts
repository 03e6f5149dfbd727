/**
 * birpc over TCP: JSON, as its documentation recommends for text transports, one
 * line for each message. Its timer for each call is turned off.
 *
 * @module
 */

import { createBirpc } from "birpc";
import type { Socket } from "node:net";
import { connect, Lines, listen } from "./net.ts";
import { hello, type Peer } from "./peer.ts";

interface Functions {
  hello(text: string): string;
}

const birpc: Peer = {
  window: 512,

  serve: () => listen((socket) => void create<object>(socket, { hello })),

  async connect(port) {
    const socket = await connect(port);
    const remote = create<Functions>(socket, {});
    return {
      call: (text) => remote.hello(text),
      close: () => void socket.destroy(),
    };
  },
};

function create<Remote extends object>(
  socket: Socket,
  local: Record<string, unknown>,
) {
  let take = (_line: string) => {};
  const lines = new Lines(socket, (line) => take(line));
  return createBirpc<Remote>(local, {
    post: (line) => lines.send(line),
    on: (listener) => take = listener,
    serialize: JSON.stringify,
    deserialize: JSON.parse,
    timeout: -1,
  });
}

export default birpc;
