/**
 * A server process, as the programs of this directory see it: started, killed
 * or drained, and never left behind: its standard input ends with its parent.
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

/** One life of the server. */
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

  /** Starts it, and waits until it listens. */
  static async start(runtime: Runtime, journal: string) {
    const [program, args] = command(runtime, FILE);
    const child = spawn(program, [...args, journal], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const ended = once(child, "close");
    const lines = createInterface({ input: child.stdout! });
    const first = await Promise.race([once(lines, "line"), ended]);
    if (typeof first[0] !== "string") {
      throw new Error("the server ended before it listened");
    }
    return new ServerProcess(child, ended, JSON.parse(first[0]));
  }

  /** `kill -9`; resolves when it is gone. */
  async kill(): Promise<void> {
    process.kill(this.#child.pid!, "SIGKILL");
    await this.#ended;
  }

  /** Has it stand still, as a machine does that is out of memory. */
  stop(): void {
    process.kill(this.#child.pid!, "SIGSTOP");
  }

  /** Has it go on. */
  go(): void {
    process.kill(this.#child.pid!, "SIGCONT");
  }

  /** Asks it to finish what it has; resolves with its exit status. */
  async drain(): Promise<number | null> {
    process.kill(this.#child.pid!, "SIGTERM");
    await this.#ended;
    return this.#child.exitCode;
  }
}
