/**
 * Tests the npm package as a user installs it: packs it, installs the tarball in
 * an empty project, and runs README's server and client there on Node (the oldest
 * supported and the current version) and on Bun.
 *
 * README marks the two blocks with `<!-- server -->` and `<!-- client -->`.
 *
 * @module
 */

import type { ChildProcess } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { currentBin, floorBin, type Runtime, versionOf } from "./floors.ts";
import { must, pack } from "./pack.ts";
import { kill, ROOT, run, start, tool } from "./process.ts";

/** The port in README, which is replaced by a free one. */
const README_PORT = "8848";

/** Milliseconds in which a server must listen, and a client must exit. */
const CLIENT_LIMIT = 60_000;
const LISTEN_LIMIT = 20_000;

/** The code block that directly follows `<!-- name -->`. */
function block(readme: string, name: string): string {
  const found = new RegExp(
    `<!-- ${name} -->\\s*\`\`\`[a-z ]*\\n([^]*?)\`\`\``,
  ).exec(readme);
  if (!found) throw new Error(`Cannot find README's ${name} block`);
  if (!found[1]!.includes('"@sluice/rpc"')) {
    throw new Error(`Cannot use README's ${name} block: it imports nothing`);
  }
  return found[1]!;
}

async function packInto(dir: string): Promise<void> {
  const tarball = join(dir, "package.tgz");
  await pack(tarball);
  const project = { name: "project", private: true, type: "module" };
  await writeFile(join(dir, "package.json"), JSON.stringify(project));
  must(
    "npm install",
    await run("npm", ["install", "--no-audit", "--no-fund", tarball], {
      cwd: dir,
      timeout: 120_000,
    }),
  );
}

/** Writes README's two programs into the project, and returns their port. */
async function writePrograms(dir: string): Promise<number> {
  const port = await freePort();
  const readme = await readFile(join(ROOT, "README.md"), "utf8");
  for (const name of ["server", "client"]) {
    const code = block(readme, name).replaceAll(README_PORT, String(port));
    await writeFile(join(dir, `${name}.ts`), code);
  }
  return port;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve((address as { port: number }).port));
    });
  });
}

async function untilListening(child: ChildProcess, port: number) {
  for (const end = Date.now() + LISTEN_LIMIT; Date.now() < end;) {
    if (child.exitCode !== null) {
      throw new Error("the server exited before it listened");
    }
    if (await accepts(port)) return;
    await sleep(50);
  }
  throw new Error("the server did not listen");
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => resolve(false));
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
  });
}

/** Runs server and client with one executable. Throws if something is wrong. */
async function tryOut(dir: string, bin: string): Promise<string> {
  const port = await writePrograms(dir);
  const server = start(bin, ["server.ts"], { cwd: dir });
  let said = "";
  for (const stream of [server.stdout, server.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => said += text);
  }
  try {
    await untilListening(server, port);
    const options = { cwd: dir, timeout: CLIENT_LIMIT };
    const client = await run(bin, ["client.ts"], options);
    must("client", client);
    const line = client.stdout.split("\n").find((l) => l.includes("hello:"));
    if (!line) throw new Error(`client: no "hello:" in\n${client.output}`);
    return line;
  } catch (error) {
    throw new Error(
      `${(error as Error).message}\noutput of the server: ${said}`,
    );
  } finally {
    kill(server);
  }
}

async function main(): Promise<void> {
  const hosts: [Runtime, string][] = [
    ["node", await floorBin("node")],
    ["node", currentBin("node")],
    ["bun", currentBin("bun")],
  ];
  const dir = await mkdtemp(join(tmpdir(), "sluice-pack-"));
  let failed = 0;
  try {
    await packInto(dir);
    for (const [runtime, bin] of hosts) {
      const name = await versionOf(runtime, bin);
      try {
        console.log(`ok     ${name}: ${await tryOut(dir, bin)}`);
      } catch (error) {
        failed++;
        console.log(`FAILED ${name}: ${(error as Error).message}`);
      }
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
  console.log(`${hosts.length - failed} passed, ${failed} failed`);
  if (failed > 0) process.exit(1);
}

if (import.meta.main) await tool(main);
