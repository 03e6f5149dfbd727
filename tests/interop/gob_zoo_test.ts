/**
 * Gob's types against real Go: values made here and values made there, both
 * ways.
 */

import { assertEquals } from "@std/assert";
import { readFileSync } from "node:fs";
import { Client, connect, listen, Server } from "../../mod.ts";
import { netrpc, Registered, type ServicesOf } from "../../netrpc.ts";
import { goTest, runGo, withGoServer } from "./go_programs.ts";
import { generate, methods, registered } from "../support/go_zoo.ts";

/** Values each way. */
const SEEDS = 128;

const wire = netrpc({ methods, registered });

type Zoo = Client<ServicesOf<typeof methods>, "exact">;

function withZoo(use: (client: Zoo) => Promise<void>): Promise<void> {
  return withGoServer("zoo_server", ["gob"], async (port) => {
    const client: Zoo = new Client(await connect({ port }), { protocol: wire });
    try {
      await use(client);
    } finally {
      await client.close();
    }
  });
}

goTest(
  "values made here come back from Go as they were",
  () =>
    withZoo(async (client) => {
      const seeds = Array.from({ length: SEEDS }, (_, seed) => seed);
      const replies = await Promise.all(
        seeds.map((seed) => client.call("Zoo.Echo", generate(seed))),
      );
      for (const seed of seeds) {
        assertEquals(replies[seed], generate(seed), `seed ${seed}`);
      }
    }),
);

goTest(
  "values made by Go arrive, and go back as they were",
  () =>
    withZoo(async (client) => {
      for (let seed = 0; seed < SEEDS; seed++) {
        const Value = await client.call("Zoo.Generate", seed);
        const said = await client.call("Zoo.Check", { Seed: seed, Value });
        assertEquals(said, "", `seed ${seed}`);
      }
    }),
);

goTest(
  "Go's values come back to Go from a server of ours as they were",
  async () => {
    const services = { Zoo: { Echo: (value: unknown) => value } };
    const server = new Server(services, { protocol: wire });
    const listener = await listen({ port: 0 });
    server.serve(listener);
    const { port } = listener.address as { port: number };
    const address = `127.0.0.1:${port}`;
    const output = await runGo("zoo_client", "gob", address, String(SEEDS))
      .finally(() => server.close());
    assertEquals(output.trim().split("\n").at(-1), `zoo ${SEEDS}`);
  },
);

goTest(
  "interfaces in interfaces keep their registered names",
  () =>
    withZoo(async (client) => {
      let Inner: unknown = 5;
      for (let i = 0; i < 20; i++) {
        const wrapped = new Registered("zoo.Wrapped", { Inner });
        Inner = new Registered("zoo.Anys", [null, i, "x", wrapped]);
      }
      assertEquals(await client.call("Zoo.Any", { Inner }), { Inner });
    }),
);

goTest(
  "numbers in interfaces are what Registered says",
  () =>
    withZoo(async (client) => {
      const names = ["int8", "uint16", "uint64", "float32", "float64"];
      const values = names.map((name) => new Registered(name, 7));
      const Inner = new Registered("zoo.Anys", values);
      const reply = await client.call("Zoo.Any", { Inner });
      const plain = new Registered("zoo.Anys", [7, 7, 7, 7, 7]);
      assertEquals(reply, { Inner: plain });
    }),
);

goTest("the recorded streams are what Go writes", async () => {
  const file = new URL("../vectors/gob.json", import.meta.url);
  const recorded: unknown = JSON.parse(readFileSync(file, "utf8"));
  assertEquals(JSON.parse(await runGo("gob_vectors")), recorded);
});
