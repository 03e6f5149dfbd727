/**
 * Go's `net/rpc` against real Go, both ways: the experiment's programs, and a
 * service of structs, maps and errors, over gob, JSON and HTTP.
 */

import { assertEquals, assertRejects } from "@std/assert";
import {
  Client,
  connect,
  ConnectionError,
  type Duplex,
  type DuplexSource,
  type EchoServices,
  listen,
  type Protocol,
  RpcError,
  Server,
} from "../../mod.ts";
import {
  httpConnect,
  httpListener,
  netrpc,
  type ServicesOf,
} from "../../netrpc.ts";
import { arith, type Figure, figure } from "./arith.ts";
import { GO_CALLS, goTest, runGo, withGoServer } from "./go_programs.ts";
import { assertNothingLeft } from "../support/pair.ts";
import { methods } from "../support/go_zoo.ts";

// The experiment: our three clients, Go's server.

type Style = (client: Client<EchoServices>) => Promise<void>;

const name = (i: number) => `client ${i}`;

function check(i: number, reply: string): void {
  if (reply !== `hello:${name(i)}`) assertEquals(reply, `hello:${name(i)}`);
}

const STYLES: Record<string, Style> = {
  sync: async (client) => {
    for (let i = 0; i < GO_CALLS; i++) {
      check(i, await client.call("HelloService.Hello", name(i)));
    }
  },
  pipelined: async (client) => {
    const replies: Promise<void>[] = [];
    for (let i = 0; i < GO_CALLS; i++) {
      await client.ready;
      const { reply } = client.go("HelloService.Hello", name(i));
      replies.push(reply.then((text) => check(i, text)));
    }
    await Promise.all(replies);
  },
  concurrent: async (client) => {
    const ids = Array.from({ length: GO_CALLS }, (_, i) => i);
    await Promise.all(ids.map(async (i) => {
      check(i, await client.call("HelloService.Hello", name(i)));
    }));
  },
};

for (const [style, run] of Object.entries(STYLES)) {
  goTest(
    `our ${style} client calls the experiment's Go server`,
    () =>
      withGoServer("hello_server", ["127.0.0.1:0"], async (port) => {
        const client = new Client<EchoServices>(
          await connect({ port }),
          { protocol: netrpc() },
        );
        await run(client);
        await client.close();
        assertNothingLeft(client.connection);
      }),
  );
}

// The experiment: Go's three clients, our server.

/** Runs `use` with the address of a server of ours, and says what it reported. */
async function withOurServer(
  services: object,
  wire: Protocol,
  use: (address: string) => Promise<void>,
  wrap: (source: DuplexSource) => DuplexSource = (source) => source,
): Promise<void> {
  const errors: unknown[] = [];
  const server = new Server(services, {
    protocol: wire,
    onError: (error) => errors.push(error),
  });
  const listener = await listen({ port: 0 });
  server.serve(wrap(listener));
  const { port } = listener.address as { port: number };
  try {
    await use(`127.0.0.1:${port}`);
  } finally {
    await server.close();
  }
  assertEquals(errors, []);
}

for (const style of ["sync", "pipeline", "concurrent"]) {
  goTest(`the experiment's ${style} client calls our server`, () => {
    const services = {
      HelloService: { Hello: (request: string) => "hello:" + request },
    };
    return withOurServer(services, netrpc(), async (address) => {
      const said = await runGo(
        "hello_client",
        style,
        address,
        String(GO_CALLS),
      );
      assertEquals(said.split(",")[0], `${style}: ${GO_CALLS} calls`);
    });
  });
}

goTest(
  "Go's pipelined client is answered by handlers that take their time",
  () => {
    const services = {
      HelloService: {
        Hello: async (request: string) => {
          await Promise.resolve();
          return "hello:" + request;
        },
      },
    };
    return withOurServer(services, netrpc(), async (address) => {
      await runGo("hello_client", "pipeline", address, String(GO_CALLS));
    });
  },
);

// Structs, maps and errors.

type Arith = Client<ServicesOf<typeof methods>, "exact">;

const open: Record<string, (port: number) => Promise<Duplex>> = {
  gob: (port) => connect({ port }),
  json: (port) => connect({ port }),
  http: async (port) => await httpConnect(await connect({ port })),
};

function wireFor(encoding: string): Protocol {
  return encoding === "json"
    ? netrpc({ encoding: "json" })
    : netrpc({ methods });
}

for (const encoding of ["gob", "json", "http"]) {
  goTest(
    `our client calls Go's arithmetic over ${encoding}`,
    () =>
      withGoServer("zoo_server", [encoding], async (port) => {
        const client: Arith = new Client(await open[encoding](port), {
          protocol: wireFor(encoding),
        });
        const Args = { A: 17, B: 5 };
        assertEquals(await client.call("Arith.Multiply", Args), 85);
        const quotient = { Quo: 3, Rem: 2 };
        assertEquals(await client.call("Arith.Divide", Args), quotient);
        assertEquals(await client.call("Arith.Sum", [1, 2, 0.5]), 3.5);
        assertEquals(await client.call("Arith.Nothing", {}), {});
        const counts = await client.call("Arith.Count", ["a", "b", "a"]);
        const entries = encoding === "json"
          ? Object.entries(counts)
          : [...counts];
        assertEquals(new Map(entries), new Map([["a", 2], ["b", 1]]));
        const error = await assertRejects(
          () => client.call("Arith.Divide", { A: 1, B: 0 }),
          RpcError,
          "divide by zero",
        );
        assertEquals([error.code, error.outcome], ["go_error", "executed"]);
        await client.close();
        assertNothingLeft(client.connection);
      }),
  );

  goTest(
    `[X23] a Go client hears the same from our server as from Go's, over ${encoding}`,
    async () => {
      let fromGo = "";
      await withGoServer("zoo_server", [encoding], async (port) => {
        fromGo = await runGo("zoo_client", encoding, `127.0.0.1:${port}`);
      });
      const asMap = (map: Map<string, unknown>) =>
        encoding === "json" ? Object.fromEntries(map) : map;
      await withOurServer(
        arith(asMap),
        wireFor(encoding),
        async (address) => {
          assertEquals(await runGo("zoo_client", encoding, address), fromGo);
        },
        (source) => encoding === "http" ? httpListener(source) : source,
      );
      assertEquals(
        fromGo.includes('"rpc: can\'t find service a.b.Multiply"'),
        true,
      );
    },
  );
}

goTest(
  "plain values need no types",
  () =>
    withGoServer("zoo_server", ["gob"], async (port) => {
      type Plain = {
        Arith: {
          Multiply: (args: { A: number; B: number }) => number;
          Describe: (points: Map<string, { X: number; Y: number }>) => string;
          Divide: (args: { A: number; B: number }) => unknown;
        };
      };
      const client = new Client<Plain, "exact">(
        await connect({ port }),
        { protocol: netrpc() },
      );
      assertEquals(await client.call("Arith.Multiply", { A: 6, B: 7 }), 42);
      const points = new Map([["a", { X: 1, Y: 2 }]]);
      assertEquals(await client.call("Arith.Describe", points), "1 {1 2}");
      // Go leaves out what is zero; its types say that it is there.
      assertEquals(await client.call("Arith.Divide", { A: 4, B: 2 }), {
        Quo: 2,
        Rem: 0,
      });
      await client.close();
    }),
);

goTest(
  "[X23] Go reads structs of plain values as they were, whatever members they leave out",
  () =>
    withGoServer("zoo_server", ["gob"], async (port) => {
      type Shapes = {
        Shapes: {
          Print: (figure: Figure) => string;
          PrintAll: (figures: Figure[]) => string;
          Expect: (n: number) => string;
        };
      };
      const client = new Client<Shapes, "exact">(
        await connect({ port }),
        { protocol: netrpc() },
      );
      const wanted: string[] = [];
      for (let n = 1; n < 9; n++) {
        wanted.push(await client.call("Shapes.Expect", n));
        const printed = await client.call("Shapes.Print", figure(n));
        assertEquals(printed, wanted[n - 1]);
        const back = Object.fromEntries(Object.entries(figure(n)).reverse());
        const again = await client.call("Shapes.Print", back as never);
        assertEquals(again, printed);
      }
      const figures = wanted.map((_, i) => figure(i + 1));
      assertEquals(
        await client.call("Shapes.PrintAll", figures),
        `[${wanted.join(" ")}]`,
      );
      await client.close();
    }),
);

goTest(
  "what is not there is refused, and the connection lives on",
  () =>
    withGoServer("zoo_server", ["gob"], async (port) => {
      type Absent = {
        Arith: { Absent: (n: number) => number };
        Absent: { Multiply: (n: number) => number };
        Nowhere: (n: number) => number;
      };
      const client = new Client<Absent>(await connect({ port }), {
        protocol: netrpc(),
      });
      const names = ["Arith.Absent", "Absent.Multiply", "Nowhere"] as const;
      for (const name of names) {
        const error = await assertRejects(() => client.call(name, 1), RpcError);
        assertEquals([error.code, error.outcome], ["not_found", "refused"]);
      }
      await client.close();
    }),
);

goTest(
  "Go's HTTP server says no to another path",
  () =>
    withGoServer("zoo_server", ["http"], async (port) => {
      await assertRejects(
        async () => httpConnect(await connect({ port }), { path: "/other" }),
        ConnectionError,
        "404 Not Found",
      );
    }),
);

/** What is odd about a service of Go's, or of ours. */
interface Odd {
  Shapes: {
    Small: (n: number) => number;
    Blob: (text: string) => number;
    When: (text: string) => number;
    Nil: (n: number) => number[] | null;
    Long: (n: number) => string;
    Wide: (n: number) => number | bigint;
    Expect: (n: number) => string;
  };
}

async function withOdd(
  encoding: string,
  use: (client: Client<Odd, "exact">) => Promise<void>,
): Promise<void> {
  const wire = encoding === "json" ? netrpc({ encoding: "json" }) : netrpc();
  await withGoServer("zoo_server", [encoding], async (port) => {
    const options = { protocol: wire, maxMessage: 65_536 };
    const client = new Client<Odd, "exact">(await connect({ port }), options);
    await use(client);
    // Whatever it was, the connection lives on.
    assertEquals(typeof await client.call("Shapes.Expect", 1), "string");
    await client.close();
  });
}

for (
  const [encoding, method, argument, words] of [
    ["gob", "Small", 1000, "out of range"],
    ["json", "Small", 1000, "json: "],
    ["json", "Blob", "!!!!", "illegal base64"],
    ["json", "When", "today", "parsing time"],
  ] as const
) {
  goTest(
    `[X28] Go's words for an argument that it cannot read leave the outcome unknown, over ${encoding}: ${words}`,
    () =>
      withOdd(encoding, async (client) => {
        const error = await assertRejects(
          () => client.call(`Shapes.${method}`, argument as never),
          RpcError,
          words,
        );
        assertEquals([error.code, error.outcome], ["go_error", "unknown"]);
      }),
  );
}

for (const encoding of ["gob", "json"]) {
  goTest(
    `[X26] [X27] [X30] Go's nil, long and wide results over ${encoding}`,
    () =>
      withOdd(encoding, async (client) => {
        const json = encoding === "json";
        if (json) assertEquals(await client.call("Shapes.Nil", 1), null);
        const [long, wide] = await Promise.all([
          assertRejects(() => client.call("Shapes.Long", 100_000), RpcError),
          client.call("Shapes.Wide", 1).catch((error) => error.code),
        ]);
        assertEquals(long.code, "frame_too_large");
        assertEquals(long.outcome, json ? "unknown" : "executed");
        assertEquals(wide, json ? "invalid_reply" : 2n ** 53n + 1n);
        assertEquals(await client.call("Shapes.Wide", -1), 2 ** 53 - 1);
      }),
  );

  goTest(
    `[X26] [X27] Go's client lives on after a null of ours and a call too large for us, over ${encoding}`,
    async () => {
      let taken = 0;
      const services = {
        Odd: {
          Null: () => null,
          NaN: () => encoding === "json" ? NaN : null,
          Nothing: () => undefined,
          Take: (text: string) => {
            taken++;
            return text.length;
          },
        },
      };
      const wire = encoding === "json"
        ? netrpc({ encoding: "json" })
        : netrpc();
      const server = new Server<object>(
        services,
        { protocol: wire, maxMessage: 65_536 } as object,
      );
      const listener = await listen({ port: 0 });
      server.serve(listener);
      const { port } = listener.address as { port: number };
      const address = `127.0.0.1:${port}`;
      const output = await runGo("zoo_client", encoding, address, "odd")
        .finally(() => server.close());
      const lines = output.trim().split("\n");
      const unsayable =
        'error rpc.ServerError "the handler\'s result cannot be serialized"';
      assertEquals(lines.slice(0, 3), [
        `"Odd.Null" ${unsayable}`,
        `"Odd.NaN" ${unsayable}`,
        "Odd.Nothing &{}",
      ]);
      assertEquals(/rpc: an? \w+ has 1048\d{3} bytes/.test(lines[3]), true);
      assertEquals(lines.slice(4), ["Odd.Take 1"]);
      assertEquals(taken, 1);
    },
  );
}
