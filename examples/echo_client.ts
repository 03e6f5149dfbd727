// Calls the echo server: `echo_client.ts [HOST:PORT]`.

import { strictEqual } from "node:assert";
import process from "node:process";
import { Client, connect, type EchoServices } from "@sluice/rpc";

const [address = "127.0.0.1:8848", ...rest] = process.argv.slice(2);
const [, host, port] = /^\[?([^\]]+)\]?:([1-9]\d{0,4})$/.exec(address) ?? [];
if (port === undefined || Number(port) > 65_535 || rest.length > 0) {
  console.error("Usage: echo_client.ts [HOST:PORT]  (127.0.0.1:8848)");
  process.exit(2);
}

// The type says what the server offers: "HelloService.Helo" would not compile.
const client = new Client<EchoServices>(
  await connect({ host, port: Number(port) }),
);
try {
  const reply = await client.call("HelloService.Hello", "client 0");
  console.log(reply);
  strictEqual(reply, "hello:client 0");

  // The same through a proxy, where a service is an object with methods. None
  // waits for another: all three requests are on their way at once.
  const hello = client.service("HelloService");
  const names = ["client 1", "client 2", "client 3"];
  const replies = await Promise.all(names.map((name) => hello.Hello(name)));
  for (const reply of replies) console.log(reply);
  strictEqual(replies.join(), "hello:client 1,hello:client 2,hello:client 3");
} finally {
  await client.close();
}
