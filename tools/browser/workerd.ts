/**
 * workerd, the runtime of Cloudflare's Workers, with one Worker that may connect
 * to this machine.
 *
 * @module
 */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Ended } from "../../tests/browser/page/testing.ts";
import { kill, start } from "../process.ts";
import { load } from "./bundle.ts";

/** Without `allow` a Worker reaches public addresses only. */
const config = (script: string) => `
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "internet", network = (allow = ["private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const worker :Workerd.Worker = (
  modules = [(name = "worker", esModule = embed "${script}")],
  compatibilityDate = "2026-11-01",
);
`;

/** Milliseconds for workerd to start, and for its tests. */
const LIMIT = 60_000;

/** Runs the Worker whose bundle is at `script` in `folder` against the server at `url`. */
export async function runWorker(
  folder: string,
  script: string,
  url: string,
): Promise<Ended[]> {
  const file = join(folder, "workerd.capnp");
  await writeFile(file, config(script));
  const child = start(load("workerd").default, [
    "serve",
    "--control-fd=1",
    file,
  ]);
  try {
    const port = await portOf(child);
    const query = new URLSearchParams({ server: url });
    const response = await fetch(`http://127.0.0.1:${port}/?${query}`, {
      signal: AbortSignal.timeout(LIMIT),
    });
    if (!response.ok) throw new Error(await response.text());
    return await response.json();
  } catch (error) {
    const fault = `workerd failed: ${(error as Error).message}`;
    return [{ name: "(workerd)", state: "failed", fault }];
  } finally {
    kill(child);
  }
}

/** The port that workerd reports. */
function portOf(child: ReturnType<typeof start>): Promise<number> {
  return new Promise((resolve, reject) => {
    let output = "";
    const fail = (why: string) => reject(new Error(`${why}\n${output}`));
    const timer = setTimeout(fail, LIMIT, "it does not listen");
    const read = (text: unknown) => {
      const found = /"event":"listen","socket":"http","port":(\d+)/.exec(
        output += text,
      );
      if (!found) return;
      clearTimeout(timer);
      resolve(Number(found[1]));
    };
    child.stdout?.on("data", read);
    child.stderr?.on("data", read);
    child.on("close", () => {
      clearTimeout(timer);
      fail("it has ended");
    });
  });
}
