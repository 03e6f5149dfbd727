/**
 * A program of the demo's, as the demo sees it: it is started, tells things as
 * lines of JSON, and ends when the demo lets go of it.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { command, type Runtime } from "./runtimes.ts";

/** Milliseconds that a child has to end by itself. */
const GRACE = 5000;

/** A running child. What it writes to standard error is the demo's own. */
export class Child<Message> {
  readonly #name: string;
  readonly #process: ChildProcess;
  /** Resolves with how it ended, in words. */
  readonly #ended: Promise<string>;

  /**
   * Starts a file of this directory, or one at a `file:` address.
   *
   * Not detached: a Ctrl-C reaches it, too. Its standard input is what ties it
   * to this process: see `parent.ts`.
   */
  constructor(runtime: Runtime, file: string, ...args: string[]) {
    const path = fileURLToPath(new URL(file, import.meta.url));
    const [program, programArgs] = command(runtime, path);
    this.#name = `${basename(path)} on ${runtime}`;
    const child = this.#process = spawn(program, [...programArgs, ...args], {
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
