/**
 * Cap'n Web over a custom transport, as its documentation allows: TCP, one line for
 * each message, those of one turn of the event loop in one write.
 *
 * @module
 */

import { RpcSession, RpcTarget, type RpcTransport } from "capnweb";
import type { Socket } from "node:net";
import { connect, Lines, listen } from "./net.ts";
import { hello, type Peer } from "./peer.ts";

class Api extends RpcTarget {
  hello(text: string): string {
    return hello(text);
  }
}

class Transport implements RpcTransport {
  readonly #socket: Socket;
  readonly #lines: Lines;
  #waiting: PromiseWithResolvers<string> | undefined;
  #queue: string[] = [];
  #head = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#lines = new Lines(socket, (line) => this.#take(line));
    const lost = () => this.#waiting?.reject(new Error("disconnected"));
    socket.on("close", lost);
  }

  send(message: string): void {
    this.#lines.send(message);
  }

  receive(): Promise<string> {
    if (this.#head < this.#queue.length) {
      return Promise.resolve(this.#queue[this.#head++]);
    }
    this.#queue = [];
    this.#head = 0;
    this.#waiting = Promise.withResolvers();
    return this.#waiting.promise;
  }

  abort(): void {
    this.#socket.destroy();
  }

  #take(line: string): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) this.#queue.push(line);
    else waiting.resolve(line);
  }
}

const capnweb: Peer = {
  window: 4_096,

  serve: () =>
    listen((socket) => void new RpcSession(new Transport(socket), new Api())),

  async connect(port) {
    const socket = await connect(port);
    const api = new RpcSession<Api>(new Transport(socket)).getRemoteMain();
    return {
      call: (text) => api.hello(text) as Promise<string>,
      close: () => void socket.destroy(),
    };
  },
};

export default capnweb;
