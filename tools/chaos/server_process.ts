/**
 * A server process that programs of this folder start, kill, stop or drain. It
 * never outlives its parent, because its standard input ends with the parent.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { command, type Runtime } from "../../bench/demo/runtimes.ts";
import type { TcpAddress } from "../../mod.ts";

const FILE = fileURLToPath(new URL("journal_server.ts", import.meta.url));

/** One process of the server. */
export class ServerProcess {
  readonly address: TcpAddress;
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  private constructor(
    child: ChildProcess,
    ended: Promise<unknown>,
    address: TcpAddress,
  ) {
    this.#child = child;
    this.#ended = ended;
    this.address = address;
  }

  /** Starts the server, and waits until it listens. */
  static async start(runtime: Runtime, journal: string) {
    const [program, args] = command(runtime, FILE);
    const child = spawn(program, [...args, journal], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const ended = once(child, "close");
    const lines = createInterface({ input: child.stdout! });
    const first = await Promise.race([once(lines, "line"), ended]);
    if (typeof first[0] !== "string") {
      throw new Error("the server exited before it listened");
    }
    return new ServerProcess(child, ended, JSON.parse(first[0]));
  }

  /** Kills it (`kill -9`), and resolves when it has exited. */
  async kill(): Promise<void> {
    process.kill(this.#child.pid!, "SIGKILL");
    await this.#ended;
  }

  /** Stops it (SIGSTOP). It does nothing until `go`. */
  stop(): void {
    process.kill(this.#child.pid!, "SIGSTOP");
  }

  /** Lets it continue (SIGCONT). */
  go(): void {
    process.kill(this.#child.pid!, "SIGCONT");
  }

  /** Drains it (SIGTERM), and resolves with its exit status. */
  async drain(): Promise<number | null> {
    process.kill(this.#child.pid!, "SIGTERM");
    await this.#ended;
    return this.#child.exitCode;
  }
}
