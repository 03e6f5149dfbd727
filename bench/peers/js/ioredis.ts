/**
 * ioredis with auto-pipelining, against `redis-server` ECHO. ECHO adds nothing, so
 * the text is sent as the reply must be, and replies are as long as others'.
 *
 * @module
 */

import { spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { Redis } from "ioredis";
import { freePort, HOST } from "./net.ts";
import { hello, type Peer } from "./peer.ts";

const ioredis: Peer = {
  window: 4_096,

  /** Redis cannot pick a free port by itself. */
  async serve() {
    const port = await freePort();
    const redis = spawn(
      "redis-server",
      ["--bind", HOST, "--port", String(port), "--save", ""],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    process.on("exit", () => redis.kill());
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    redis.on("error", reject);
    redis.on("close", (code) => {
      reject(new Error(`redis-server ended with status ${code}`));
    });
    createInterface({ input: redis.stdout }).on("line", (line) => {
      if (line.includes("Ready to accept connections")) resolve(port);
    });
    return await promise;
  },

  async connect(port) {
    const redis = new Redis({
      host: HOST,
      port,
      enableAutoPipelining: true,
      lazyConnect: true,
    });
    await redis.connect();
    return {
      call: (text) => redis.echo(hello(text)),
      close: () => redis.disconnect(),
    };
  },
};

export default ioredis;
