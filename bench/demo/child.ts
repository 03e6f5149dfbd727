/**
 * A program of a benchmark, as the benchmark sees it: it is started, tells
 * things as lines of JSON, and ends when the benchmark lets go of it.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { command, type Runtime } from "./runtimes.ts";

/** Milliseconds that a child has to end by itself. */
const GRACE = 5000;

/** A running program. What it writes to standard error is this process's own. */
export class Program<Message> {
  readonly #name: string;
  readonly #process: ChildProcess;
  /** Resolves with how it ended, in words. */
  readonly #ended: Promise<string>;

  /**
   * Starts a program; `name` is what errors call it.
   *
   * Not detached: a Ctrl-C reaches it, too. Its standard input is what ties it
   * to this process: see `parent.ts`.
   */
  constructor(name: string, program: string, args: readonly string[]) {
    this.#name = name;
    const child = this.#process = spawn(program, args, {
      stdio: ["pipe", "pipe", "inherit"],
    });
    child.stdin!.on("error", () => {}); // It ended first; `#ended` tells.
    this.#ended = new Promise((resolve) => {
      child.on("error", (error) => resolve(error.message));
      child.on("close", (code, signal) => {
        resolve(signal ?? `exit status ${code}`);
      });
    });
  }

  /** What it tells, until `last` says that this was all. */
  async listen(last: (message: Message) => boolean): Promise<void> {
    const lines = createInterface({ input: this.#process.stdout! });
    const told = Promise.withResolvers<void>();
    lines.on("line", (line) => {
      try {
        if (last(JSON.parse(line))) told.resolve();
      } catch (error) {
        told.reject(error);
      }
    });
    this.#ended.then((how) =>
      told.reject(new Error(`${this.#name} ended early: ${how}`))
    );
    await told.promise;
  }

  /** Lets it go, and waits until it has gone. */
  async stop(): Promise<void> {
    this.#process.stdin!.end();
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), GRACE);
    await this.#ended;
    clearTimeout(timer);
  }
}

/** A file of this directory, or a path from here, run on a runtime. */
export class Child<Message> extends Program<Message> {
  constructor(runtime: Runtime, file: string, ...args: string[]) {
    const path = fileURLToPath(new URL(file, import.meta.url));
    const [program, programArgs] = command(runtime, path);
    super(`${file} on ${runtime}`, program, [...programArgs, ...args]);
  }
}
