/**
 * vscode-jsonrpc over TCP, with its own reader and writer for sockets.
 *
 * @module
 */

import type { Socket } from "node:net";
import {
  createMessageConnection,
  type MessageConnection,
  RequestType,
  SocketMessageReader,
  SocketMessageWriter,
} from "vscode-jsonrpc/node";
import { connect, listen } from "./net.ts";
import { hello, type Peer } from "./peer.ts";

const HELLO = new RequestType<string, string, void>("hello");

const jsonrpc: Peer = {
  window: 4_096,

  serve: () =>
    listen((socket) => {
      const connection = open(socket);
      connection.onRequest(HELLO, hello);
      connection.listen();
    }),

  async connect(port) {
    const socket = await connect(port);
    const connection = open(socket);
    connection.listen();
    return {
      call: (text) => connection.sendRequest(HELLO, text),
      close: () => void socket.destroy(),
    };
  },
};

function open(socket: Socket): MessageConnection {
  return createMessageConnection(
    new SocketMessageReader(socket),
    new SocketMessageWriter(socket),
  );
}

export default jsonrpc;
