// A bidirectional stream of WebTransport is a duplex. Deno is the one runtime
// that has both a client and a server of it.

import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { fixturePath } from "../support/fixture.ts";
import { runScript } from "../support/script.ts";

test(
  "bidirectional streams of WebTransport carry calls, streams, aborts and the end",
  {
    skip: !("Deno" in globalThis) && "only Deno has a WebTransport server",
  },
  async () => {
    const flags = ["--unstable-net", "--cert", fixturePath("ca.pem")];
    const { code, stdout } = await runScript("webtransport.ts", { flags });
    assertEquals(
      stdout,
      "calls, streams, aborts and the end\nthe loss of the session\n",
    );
    assertEquals(code, 0);
  },
);
