/**
 * Runs other programs with a time limit, kills them with their children, and
 * collects their output.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** The root folder of the repository. */
export const ROOT: string = fileURLToPath(new URL("..", import.meta.url));

/** How to run a program. */
export interface RunOptions {
  /** Working directory. Default: the root of the repository. */
  cwd?: string;
  /** Environment variables in addition to those of this process. */
  env?: Record<string, string>;
  /** Milliseconds until the program and its children are killed. */
  timeout?: number;
  /** Also prints the output to standard error while it is collected. */
  echo?: boolean;
}

/** How a program ended. */
export interface RunResult {
  /** Whether it ended by itself, in time, with status 0. */
  ok: boolean;
  /** What went wrong; empty if nothing did. */
  fault: string;
  /** Standard output. */
  stdout: string;
  /** Standard output and standard error, in the order of arrival. */
  output: string;
  /** Wall-clock seconds. */
  seconds: number;
}

/** Milliseconds for a server to start or stop. */
export const SERVER_LIMIT = 20_000;

const live = new Set<ChildProcess>();
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Children lead their own process groups and get no Ctrl-C, so it is passed on to them here. */
function interrupted(): void {
  for (const child of live) kill(child);
  process.exit(130);
}

function watch(child: ChildProcess): void {
  if (live.size === 0) { for (const s of SIGNALS) process.on(s, interrupted); }
  live.add(child);
  const forget = () => {
    live.delete(child);
    if (live.size === 0) {
      for (const s of SIGNALS) {
        process.off(s, interrupted);
      }
    }
  };
  child.on("error", forget);
  child.on("close", forget);
}

/** Starts a program as the leader of its own process group, without colours in its output. */
export function start(
  command: string,
  args: string[],
  options: RunOptions = {},
): ChildProcess {
  const child = spawn(command, args, {
    cwd: options.cwd ?? ROOT,
    env: { ...process.env, NO_COLOR: "1", ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  watch(child);
  return child;
}

/** Signals a program and its descendants. */
export function kill(
  child: ChildProcess,
  signal: NodeJS.Signals = "SIGKILL",
): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It has exited already.
  }
}

/** Runs a program to its end. Never throws because of what the program does. */
export function run(
  command: string,
  args: string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const began = performance.now();
  const child = start(command, args, options);
  const result = { ok: false, fault: "", stdout: "", output: "", seconds: 0 };
  collect(child, result, options.echo ?? false);
  return new Promise((resolve) => {
    const timer = options.timeout === undefined ? undefined : setTimeout(() => {
      result.fault = `timed out after ${options.timeout! / 1000} s`;
      kill(child);
    }, options.timeout);
    const end = (fault: string) => {
      clearTimeout(timer);
      kill(child); // Descendants may outlive it.
      result.fault ||= fault;
      result.ok = result.fault === "";
      result.seconds = (performance.now() - began) / 1000;
      resolve(result);
    };
    child.on("error", (error) => end(error.message));
    child.on("close", (code, signal) => {
      end(code === 0 ? "" : signal ?? `exit status ${code}`);
    });
  });
}

function collect(
  child: ChildProcess,
  into: { stdout: string; output: string },
  echo: boolean,
): void {
  for (const name of ["stdout", "stderr"] as const) {
    child[name]?.setEncoding("utf8").on("data", (text: string) => {
      if (name === "stdout") into.stdout += text;
      into.output += text;
      if (echo) process.stderr.write(text);
    });
  }
}

/** Resolves with the address that a server prints as `listening on HOST:PORT`; rejects with its output if it exits or is too slow. */
export function listening(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = "";
    const give = (why: string) => reject(new Error(`${why}\n${output}`));
    const timer = setTimeout(give, SERVER_LIMIT, "the server did not listen");
    const read = (text: string) => {
      const found = /listening on (\S+:\d+)/.exec(output += text);
      if (!found) return;
      clearTimeout(timer);
      resolve(found[1]!);
    };
    child.stdout?.setEncoding("utf8").on("data", read);
    child.stderr?.setEncoding("utf8").on("data", read);
    child.on("error", (error) => give(error.message));
    child.on("close", () => {
      clearTimeout(timer);
      give("the server ended early");
    });
  });
}

/** Prints what is wrong with the command line and how to use it, and exits with 2. */
export function usage(problem: string, text: string): never {
  process.stderr.write(`${problem}\n\n${text}\n`);
  process.exit(2);
}

/** Runs the body of a tool. An exception is printed as one message, and exits with 1. */
export async function tool(main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
    process.exit(1);
  }
}
