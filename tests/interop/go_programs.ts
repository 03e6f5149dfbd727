/**
 * Builds the Go programs of `tests/interop/go`, each once for a process, and runs
 * them as peers.
 *
 * Without Go the tests that need it are skipped, and their names say so. In CI
 * they fail.
 *
 * @module
 */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const SOURCES = fileURLToPath(new URL("./go", import.meta.url));

/** Number of calls of one style. `SLUICE_GO_CALLS=524288` is the full number. */
export const GO_CALLS: number = Number(process.env.SLUICE_GO_CALLS ?? 2048);

const hasGo = spawnSync("go", ["version"]).status === 0;
let directory: string | undefined;
const built = new Map<string, string>();

/** A test against real Go. */
export function goTest(name: string, run: () => Promise<void>): void {
  if (hasGo || process.env.CI !== undefined) test(name, run);
  else test.skip(`${name} (skipped: Go is not installed)`, run);
}

/** Builds a program once, and returns its file. */
function build(program: string): string {
  const known = built.get(program);
  if (known !== undefined) return known;
  if (directory === undefined) {
    const made = directory = mkdtempSync(join(tmpdir(), "sluice-go-"));
    process.on("exit", () => rmSync(made, { recursive: true, force: true }));
  }
  const file = join(directory, program);
  const { status, stderr, error } = spawnSync(
    "go",
    ["build", "-o", file, `./${program}`],
    { cwd: SOURCES, encoding: "utf8" },
  );
  if (status !== 0) {
    throw new Error(`Cannot build ${program}: ${error?.message ?? stderr}`);
  }
  built.set(program, file);
  return file;
}

function startGo(program: string, args: string[]): ChildProcess {
  return spawn(build(program), args, { stdio: ["ignore", "pipe", "inherit"] });
}

/** Runs a Go program to its end, and returns what it printed. */
export async function runGo(
  program: string,
  ...args: string[]
): Promise<string> {
  const child = startGo(program, args);
  let output = "";
  child.stdout!.on("data", (chunk) => output += String(chunk));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  if (code === 0) return output;
  throw new Error(`${program} ${args.join(" ")} failed: ${code}\n${output}`);
}

/** Starts a Go server, runs `use` with its port, and ends the server.  */
export async function withGoServer(
  program: string,
  args: string[],
  use: (port: number) => Promise<void>,
): Promise<void> {
  const child = startGo(program, args);
  const ended = new Promise((resolve) => child.on("close", resolve));
  try {
    await use(await listening(child));
  } finally {
    child.kill();
    await ended;
  }
}

function listening(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let output = "";
    child.stdout!.on("data", (chunk) => {
      const found = /listening on \S+:(\d+)\n/.exec(output += String(chunk));
      if (found) resolve(Number(found[1]));
    });
    child.on("error", reject);
    child.on(
      "close",
      () => reject(new Error("the Go server exited before it listened")),
    );
  });
}
