// Calls the echo server. Usage: `echo_client.ts [HOST:PORT]`

import { strictEqual } from "node:assert";
import process from "node:process";
import { Client, connect, type EchoServices } from "@sluice/rpc";

const [address = "127.0.0.1:8848", ...rest] = process.argv.slice(2);
const [, host, port] = /^\[?([^\]]+)\]?:([1-9]\d{0,4})$/.exec(address) ?? [];
if (port === undefined || Number(port) > 65_535 || rest.length > 0) {
  console.error("Usage: echo_client.ts [HOST:PORT]  (default 127.0.0.1:8848)");
  process.exit(2);
}

// EchoServices is the type of the services: "HelloService.Helo" would not compile.
const client = new Client<EchoServices>(
  await connect({ host, port: Number(port) }),
);
try {
  const reply = await client.call("HelloService.Hello", "client 0");
  console.log(reply);
  strictEqual(reply, "hello:client 0");

  // The same by a proxy, where a service is an object with methods. The three
  // requests are in flight at the same time.
  const hello = client.service("HelloService");
  const names = ["client 1", "client 2", "client 3"];
  const replies = await Promise.all(names.map((name) => hello.Hello(name)));
  for (const reply of replies) console.log(reply);
  strictEqual(replies.join(), "hello:client 1,hello:client 2,hello:client 3");
} finally {
  await client.close();
}
