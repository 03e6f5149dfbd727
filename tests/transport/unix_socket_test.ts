// The file of a Unix socket: who can use it, and when it is removed.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { lstat, readdir, symlink, writeFile } from "node:fs/promises";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import { ConnectionError } from "../../src/base/errors.ts";
import { connect } from "../../src/transport/connect.ts";
import { listen } from "../../src/transport/listen.ts";
import { startScript } from "../support/script.ts";
import {
  pattern,
  receive,
  send,
  socketPair,
  withDirectory,
} from "../support/transports.ts";

/** Runs a test in a directory that must be empty again at its end. */
function unixTest(name: string, use: (path: string) => Promise<void>): void {
  test(name, () =>
    withDirectory(async (directory) => {
      await use(join(directory, "rpc.sock"));
      assertEquals(await readdir(directory), []);
    }));
}

unixTest("both sides know the path", async (path) => {
  const { a, b, release } = await socketPair({ path });
  assertEquals(a.remote, path);
  assertEquals(b.local, path);
  await release();
});

unixTest(
  "[W4] only the owner can use the file, and closing the listener removes it",
  async (path) => {
    const listener = await listen({ path });
    assertEquals(listener.address, { path });
    const file = await lstat(path);
    assert(file.isSocket());
    assertEquals(file.mode & 0o777, 0o600);
    await listener.close();
  },
);

unixTest(
  "[W4] other users can use the file at no moment",
  async (path) => {
    const directory = join(path, "..");
    const seen = new Set<string>();
    let listening = true;
    const watching = (async () => {
      while (listening) {
        for (const name of await readdir(directory)) {
          const file = await lstat(join(directory, name)).catch(() =>
            undefined
          );
          if (file) seen.add((file.mode & 0o077).toString(8));
        }
      }
    })();
    for (let i = 0; i < 20; i++) await (await listen({ path })).close();
    listening = false;
    await watching;
    assertEquals([...seen].filter((mode) => mode !== "0"), []);
  },
);

unixTest("[W4] the socket of a dead server is replaced", async (path) => {
  const child = startScript("listen_unix.ts", { args: [path] });
  await once(child.stdout!, "data");
  const exit = once(child, "close");
  child.kill("SIGKILL");
  await exit;
  const left = await lstat(path);
  assert(left.isSocket());
  const refused = await assertRejects(
    () => connect({ path }),
    ConnectionError,
    `Cannot connect to ${path}: connection refused`,
  );
  assertEquals(refused.code, "unavailable");

  const { a, b, release } = await socketPair({ path });
  await send(a, pattern(10));
  assertEquals((await receive(b, 10)).bytes, pattern(10));
  await release();
});

unixTest("[W4] the socket of a live server is not replaced", async (path) => {
  const listener = await listen({ path });
  const error = await assertRejects(
    () => listen({ path }),
    ConnectionError,
    `Cannot listen at ${path}: address already in use`,
  );
  assertEquals(error.code, "address_in_use");
  assertEquals((error.cause as { code: string }).code, "EADDRINUSE");

  // The server is still there. (Its first connection was the other server's check.)
  const a = await connect({ path });
  await a.writable.abort();
  await listener.close();
});

unixTest(
  "[W4] of many servers that start at once one gets the path",
  async (path) => {
    const results = await Promise.allSettled(
      Array.from({ length: 8 }, () => listen({ path })),
    );
    const won = results.filter((result) => result.status === "fulfilled");
    assertEquals(won.length, 1);
    for (const result of results) {
      if (result.status === "rejected") {
        assertEquals(result.reason.code, "address_in_use");
      }
    }
    await won[0]!.value.close();
  },
);

test("[W4] a file that is not a socket is never replaced", () =>
  withDirectory(async (directory) => {
    const file = join(directory, "file");
    await writeFile(file, "precious");
    const link = join(directory, "link");
    await symlink(file, link);
    for (const path of [file, link]) {
      const error = await assertRejects(
        () => listen({ path }),
        ConnectionError,
      );
      assertEquals(error.code, "address_in_use");
    }
    assertEquals((await readdir(directory)).sort(), ["file", "link"]);
  }));

unixTest("a listener does not remove its successor's socket", async (path) => {
  const first = await listen({ path });
  const { unlink } = await import("node:fs/promises");
  await unlink(path);
  const second = await listen({ path });
  await first.close();
  const a = await connect({ path });
  await a.writable.abort();
  await second.close();
});

unixTest(
  "connecting to a path without a socket is unavailable",
  async (path) => {
    const error = await assertRejects(
      () => connect({ path }),
      ConnectionError,
      `Cannot connect to ${path}: no such socket`,
    );
    assertEquals(error.code, "unavailable");
    assertEquals((error.cause as { code: string }).code, "ENOENT");
  },
);

unixTest(
  "listening in a directory that does not exist is unavailable",
  async (path) => {
    const error = await assertRejects(
      () => listen({ path: `${path}/not/there` }),
      ConnectionError,
    );
    assertEquals(error.code, "unavailable");
  },
);
