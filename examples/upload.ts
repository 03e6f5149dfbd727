// Streams a file to the server, which returns its SHA-256. Usage: `upload.ts [FILE]`

import { strictEqual } from "node:assert";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { Client, connect, listen, Server } from "@sluice/rpc";

const services = {
  Files: {
    /** Hashes the bytes as they arrive. At most one stream window of them is held. */
    async sha256(bytes: ReadableStream<Uint8Array>) {
      const hash = createHash("sha256");
      for await (const chunk of bytes) hash.update(chunk);
      return hash.digest("hex");
    },
  },
};
const server = new Server(services);
const listener = await listen({ port: 0 });
server.serve(listener);
const client = new Client<typeof services>(await connect(listener.address));

const path = process.argv[2] ?? new URL(import.meta.url).pathname;
// A Node stream is an async iterable of bytes, which a call accepts as a stream.
const file: AsyncIterable<Uint8Array> = createReadStream(path);
const digest = await client.call("Files.sha256", file);

const expected = createHash("sha256").update(await readFile(path));
strictEqual(digest, expected.digest("hex"));
console.log(digest);
await client.close();
await server.close();
