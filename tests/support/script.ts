/** Runs a script of `tests/support/scripts` in a process of its own, on the runtime that runs the tests. */

import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import process from "node:process";

/** How a script is started. */
export interface ScriptOptions {
  readonly args?: readonly string[];
  /** How many files it may open. */
  readonly files?: number;
  /** More flags for Deno. */
  readonly flags?: readonly string[];
}

/** Starts a script, with pipes for standard input and output. */
export function startScript(
  name: string,
  options: ScriptOptions = {},
): ChildProcess {
  const file = fileURLToPath(new URL(`./scripts/${name}`, import.meta.url));
  const flags = "Deno" in globalThis
    ? ["run", "-A", "--no-check", ...options.flags ?? []]
    : [];
  const command = [process.execPath, ...flags, file, ...options.args ?? []];
  // `ulimit` is a command of the shell; `exec` replaces the shell with the script.
  const [program, ...args] = options.files === undefined
    ? command
    : ["sh", "-c", `ulimit -n ${options.files}; exec "$@"`, "sh", ...command];
  return spawn(program!, args, { stdio: ["pipe", "pipe", "inherit"] });
}

/** Runs a script to its end. */
export async function runScript(
  name: string,
  options: ScriptOptions = {},
): Promise<{ code: number | null; stdout: string }> {
  const child = startScript(name, options);
  child.stdin!.end();
  let stdout = "";
  child.stdout!.on("data", (chunk) => stdout += String(chunk));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  return { code, stdout };
}
