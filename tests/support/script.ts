/** Runs a script of `tests/support/scripts` on the runtime that runs the tests. */

import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import process from "node:process";

/** Starts it, with pipes for standard input and output. */
export function startScript(
  name: string,
  options: { files?: number; args?: string[] } = {},
): ChildProcess {
  const file = fileURLToPath(new URL(`./scripts/${name}`, import.meta.url));
  const flags = "Deno" in globalThis ? ["run", "-A", "--no-check"] : [];
  const command = [process.execPath, ...flags, file, ...options.args ?? []];
  // `ulimit` is the shell's; `exec` makes the script its process.
  const [program, ...args] = options.files === undefined
    ? command
    : ["sh", "-c", `ulimit -n ${options.files}; exec "$@"`, "sh", ...command];
  return spawn(program!, args, { stdio: ["pipe", "pipe", "inherit"] });
}

/** Runs it to its end. */
export async function runScript(
  name: string,
  options: { files?: number; args?: string[] } = {},
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
