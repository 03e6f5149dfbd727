// Opens and closes one of everything; must then exit by itself.

import { connect } from "../../../src/transport/connect.ts";
import { listen } from "../../../src/transport/listen.ts";

const listener = await listen({ port: 0 });
const [a, { value: b }] = await Promise.all([
  connect(listener.address),
  listener[Symbol.asyncIterator]().next(),
]);
const [c, { value: d }] = await Promise.all([
  connect(listener.address),
  listener[Symbol.asyncIterator]().next(),
]);
// An orderly end of one, with its readers cancelled; an abort of the other.
await Promise.all([a.readable.cancel(), b.readable.cancel()]);
await Promise.all([a.writable.close(), b.writable.close()]);
await c.writable.abort();
await d.writable.abort();
await listener.close();
console.log("closed");
