/**
 * `await using`, where the compiler's libraries have it.
 *
 * @module
 */

import { Client, listen, memoryPair, Server } from "@sluice/rpc";

const services = { Echo: { echo: (text: string) => text } };

/** Never called. */
export async function program(): Promise<string> {
  const [near, far] = memoryPair();
  await using server = new Server(services);
  await using listener = await listen({ port: 0 });
  server.serve(listener);
  server.accept(far);
  await using client = new Client<typeof services>(near);
  return await client.call("Echo.echo", "x");
}
