// What is named by the arguments is idle and unref'ed; the process must then
// exit by itself, with everything open. The other end is another process: the
// one that the tests run in, whose port is the second argument.

import { spawn } from "node:child_process";
import process from "node:process";
import { Worker } from "node:worker_threads";
import {
  Client,
  clientMiddleware,
  connect,
  type Duplex,
  fromMessagePort,
  listen,
  memoryPair,
  nodeDuplex,
  ReconnectingClient,
} from "../../../mod.ts";

const [what, port] = process.argv.slice(2);
const dial = () => connect({ port: Number(port) });
const ping = (client: Client<object>) => client.connection.ping();

const CASES: Record<string, () => Promise<void>> = {
  client: async () => {
    const client = new Client<object>(await dial());
    await ping(client);
    client.unref();
  },
  "client-without-an-answer": async () => {
    // Its handshake timeout is unref'ed as well.
    const client = new Client<object>(await dial());
    client.unref();
  },
  "client-with-a-call": async () => {
    const client = new Client<{ hang(): void }>(await dial());
    client.call("hang", undefined, { timeout: 60_000 }).catch(() => {});
    await client.connection.ping();
    client.unref();
  },
  "client-with-middleware-and-a-call": async () => {
    const client = new Client<{ hang(): void }>(await dial(), {
      use: clientMiddleware((_call, next) => next()),
    });
    client.call("hang", undefined, { timeout: 60_000 }).catch(() => {});
    await client.connection.ping();
    client.unref();
  },
  "client-of-tls": async () => {
    const client = new Client<object>(
      await connect({ port: Number(port), tls: { ca: process.argv[4] } }),
    );
    await ping(client);
    client.unref();
  },
  reconnecting: async () => {
    const client = new ReconnectingClient<object>(dial);
    await client.ready;
    client.unref();
  },
  "reconnecting-before-it-has-dialled": () => {
    const client = new ReconnectingClient<object>(dial);
    client.unref();
    return Promise.resolve();
  },
  "reconnecting-that-waits": () =>
    new Promise((resolve) => {
      const client = new ReconnectingClient<{ a(): void }>(
        () => Promise.reject(new Error("nobody there")),
        {
          retry: { base: 60_000, cap: 60_000, random: () => 1 },
          onStateChange: (state) => {
            if (state !== "waiting") return;
            client.unref();
            resolve();
          },
        },
      );
      client.call("a", undefined, { timeout: 60_000 }).catch(() => {});
    }),
  listener: async () => {
    const listener = await listen({ port: 0 });
    listener.unref();
  },
  "listener-iterated": async () => {
    const listener = await listen({ port: 0 });
    listener[Symbol.asyncIterator]().next();
    listener.unref();
  },
  "listener-unref-ref-unref": async () => {
    const listener = await listen({ port: 0 });
    listener.unref();
    listener.ref();
    listener.unref();
  },
  child: () => {
    const child = spawn(process.execPath, ["--version"]);
    const duplex: Duplex & { unref?: () => void } = nodeDuplex(
      child.stdout,
      child.stdin,
    );
    duplex.unref?.();
    child.unref();
    child.stderr.destroy();
    return Promise.resolve();
  },
  memory: () => {
    const client = new Client<object>(memoryPair()[0]);
    client.unref();
    return Promise.resolve();
  },
  port: () => {
    const { port1 } = new MessageChannel();
    new Client<object>(fromMessagePort(port1)).unref();
    return Promise.resolve();
  },
  thread: async () => {
    const file = new URL("./port_thread.ts", import.meta.url);
    const client = new Client<object>(fromMessagePort(new Worker(file)));
    await ping(client);
    client.unref();
  },
  streams: () => {
    // Without an unref of its own, the transport is left alone.
    const { readable, writable } = memoryPair()[0];
    new Client<object>({ readable, writable }).unref();
    return Promise.resolve();
  },
};

await CASES[what]();
console.log("open");
