/**
 * TCP over loopback for peers without a transport of their own. Messages are lines,
 * and those of one turn of the event loop are one write.
 *
 * @module
 */

import net from "node:net";

/** The address on which all servers listen. */
export const HOST = "127.0.0.1";

/** Listens on a free port; resolves with the port. */
export function listen(accept: (socket: net.Socket) => void): Promise<number> {
  const server = net.createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    accept(socket);
  });
  return new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(0, HOST, () => {
      resolve((server.address() as net.AddressInfo).port);
    });
  });
}

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  const server = net.createServer();
  return new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(0, HOST, () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

/** Connects to a port. */
export function connect(port: number): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host: HOST, port, noDelay: true });
    socket.on("error", reject);
    socket.on("connect", () => resolve(socket));
  });
}

/** Lines of text on a socket. */
export class Lines {
  readonly #socket: net.Socket;
  #out = "";

  /** @param take Called with each received line. */
  constructor(socket: net.Socket, take: (line: string) => void) {
    this.#socket = socket;
    let rest = "";
    socket.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) take(line);
    });
  }

  /** Sends a line, together with the other lines of this turn of the event loop. */
  send(line: string): void {
    if (this.#out === "") setImmediate(() => this.#flush());
    this.#out += line + "\n";
  }

  #flush(): void {
    this.#socket.write(this.#out);
    this.#out = "";
  }
}
