/** Section 5 of docs/protocol.md: ids. */

import { assert, assertEquals } from "@std/assert";
import { frame, KIND, readAnswer, reply, request } from "../bytes.ts";
import { client, rows, type Section, server } from "../case.ts";
import { Skipped, WRITTEN } from "../session.ts";

const LEGAL: [string, number[]][] = [
  ["0 as the first id", [0]],
  ["1 as the first id", [1]],
  ["2^31 as the first id", [2 ** 31]],
  ["2^32 - 1 as the first id", [2 ** 32 - 1]],
  ["ids with gaps", [3, 10, 1000, 1_000_000]],
  ["a step of 2^31 - 1", [5, 5 + 2 ** 31 - 1]],
  ["ids that wrap around after 2^32 - 1", [2 ** 32 - 2, 2 ** 32 - 1, 0, 1]],
  ["a gap across the end of the range", [2 ** 32 - 16, 5]],
  ["two turns of the range", [
    1,
    2 ** 31,
    2 ** 32 - 1,
    2 ** 30,
    2 ** 31,
    2 ** 32 - 1,
    2,
  ]],
];

const ILLEGAL: [string, number[]][] = [
  ["the same id twice", [5, 5]],
  ["a lower id", [5, 4]],
  ["an id far below", [2 ** 31, 1]],
  ["a step of 2^31", [5, 5 + 2 ** 31]],
  ["a step of 2^31 + 1", [5, 5 + 2 ** 31 + 1]],
  ["a lower id across the end of the range", [3, 2 ** 32 - 1]],
  ["an id of before a gap", [1, 100, 50]],
  ["0 twice", [0, 0]],
];

export const ids: Section = [
  ...rows(
    "ID1",
    1,
    LEGAL,
    (id, [what, list]) =>
      server(id, `${what}: served`, async (s) => {
        await s.exchangeHello();
        // One after the other: an id may come again once its call is answered.
        for (const n of list) {
          await s.send(request(n, "Echo.echo", n));
          const got = readAnswer(await s.expect(KIND.REPLY));
          assertEquals([got.id, got.value], [n, n]);
        }
      }),
  ),
  ...rows(
    "ID1",
    11,
    ILLEGAL,
    (id, [what, list]) =>
      server(id, `${what}: closes, protocol_error`, async (s) => {
        await s.exchangeHello();
        await s.send(...list.map((n) => request(n, "Echo.echo", n)));
        const closing = await s.closes("protocol_error");
        s.checkAnswered(closing, list.slice(0, -1));
      }),
  ),
  ...server(
    "ID1.21",
    "the id of a refused call counts as used, too",
    async (s) => {
      await s.exchangeHello();
      await s.send(request(9, "no.such"));
      await s.answer(9);
      await s.send(request(9, "Echo.echo"));
      await s.closes("protocol_error");
    },
  ),
  ...server(
    "ID1.22",
    "an id answered long ago is not used again",
    async (s) => {
      await s.exchangeHello();
      for (let i = 0; i < 20; i++) await s.call("Echo.echo", i);
      await s.send(request(3, "Echo.echo"));
      await s.closes("protocol_error");
    },
  ),
  ...client("ID1.31", "the ids of a client's calls increase", async (c) => {
    await c.exchangeHello();
    let last = c.nextId;
    await c.script(
      ...Array.from(
        { length: 200 },
        () => ({ do: "call", method: "m" }) as const,
      ),
    );
    for (const { id } of await c.requests(200)) {
      const step = (id - last) >>> 0;
      assert(step >= 1 && step < 2 ** 31, `${id} after ${last}`);
      last = id;
    }
  }),
  ...client(
    "ID1.32",
    "the ids of a client's calls increase with replies in between, too",
    async (c) => {
      await c.exchangeHello();
      let last = c.nextId;
      const twice = [1, 2, 3, 4, 5].flatMap((n) => [
        { do: "call", method: "m" } as const,
        { do: "await", call: n } as const,
      ]);
      await c.script(...twice);
      for (let i = 0; i < 5; i++) {
        const { id } = await c.request();
        assert(((id - last) | 0) > 0, `${id} after ${last}`);
        last = id;
        await c.send(reply(id));
      }
    },
  ),
  ...rows("ID2", 1, [
    ["", [1, 2 ** 31 - 1, 2 ** 32 - 2, 1]],
    [", across 0", [2 ** 32 - 3, 2 ** 31 - 4, 2 ** 32 - 6, 2 ** 32 - 3]],
  ] as [string, number[]][], (id, [where, [running, ...round]]) =>
    server(
      id,
      `an id that comes round to a call that runs${where}: closes`,
      async (s) => {
        await s.exchangeHello();
        await s.send(request(running, "Conformance.wait"));
        for (const n of round.slice(0, -1)) {
          await s.send(request(n, "Echo.echo", n));
          assertEquals((await s.expect(KIND.REPLY)).id, n);
        }
        await s.send(request(running, "Echo.echo"));
        await s.closes("protocol_error");
      },
    )),
  ...client(
    "ID3.1",
    "a call aborted before it is sent leaves a gap, and no REQUEST",
    async (c) => {
      await c.exchangeHello();
      await c.script(
        { do: "call", method: "first" },
        { do: "call", method: "taken back" },
        { do: "abort", call: 2 },
        { do: "call", method: "last" },
      );
      const [first, last] = await c.requests(2);
      if (last.method === "taken back") throw new Skipped(WRITTEN);
      assertEquals([first.method, last.method], ["first", "last"]);
      assert(((last.id - first.id) | 0) > 0);
      await c.silence();
      assertEquals((await c.report()).calls[2].outcome, "not_sent");
    },
  ),
  ...client(
    "ID3.2",
    "a reply to an id in a gap: closes",
    async (c) => {
      await c.exchangeHello();
      await c.script(
        { do: "call", method: "taken back" },
        { do: "abort", call: 1 },
        { do: "call", method: "m" },
      );
      const { id, method } = await c.request();
      if (method === "taken back") throw new Skipped(WRITTEN);
      // A client that never gave the call an id has no gap to be answered.
      if (((id - c.nextId) | 0) < 2) return;
      await c.send(frame(KIND.REPLY, (c.nextId + 1) >>> 0, [0]));
      await c.closes("protocol_error");
    },
  ),
];
