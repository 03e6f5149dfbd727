/**
 * A program that a benchmark starts. It sends messages as lines of JSON, and exits
 * when the benchmark closes its standard input.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { command, type Runtime } from "./runtimes.ts";

/** Milliseconds that a child has to exit by itself. */
const GRACE = 5000;

/** A running program. It shares standard error with this process. */
export class Program<Message> {
  readonly #name: string;
  readonly #process: ChildProcess;
  /** Resolves with a description of how it ended. */
  readonly #ended: Promise<string>;

  /**
   * Starts a program; errors call it `name`.
   *
   * It is not detached, so a Ctrl-C reaches it, too. Its standard input ties it to
   * this process: see `parent.ts`.
   */
  constructor(name: string, program: string, args: readonly string[]) {
    this.#name = name;
    const child = this.#process = spawn(program, args, {
      stdio: ["pipe", "pipe", "inherit"],
    });
    child.stdin!.on("error", () => {}); // It has exited; `#ended` reports that.
    this.#ended = new Promise((resolve) => {
      child.on("error", (error) => resolve(error.message));
      child.on("close", (code, signal) => {
        resolve(signal ?? `exit status ${code}`);
      });
    });
  }

  /** Passes its messages to `last`, until that returns true. */
  async listen(last: (message: Message) => boolean): Promise<void> {
    const lines = createInterface({ input: this.#process.stdout! });
    const ended = Promise.withResolvers<void>();
    lines.on("line", (line) => {
      try {
        if (last(JSON.parse(line))) ended.resolve();
      } catch (error) {
        ended.reject(error);
      }
    });
    this.#ended.then((how) =>
      ended.reject(new Error(`${this.#name} ended early: ${how}`))
    );
    await ended.promise;
  }

  /** Closes its standard input, and waits until it has exited. */
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
