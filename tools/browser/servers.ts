/**
 * The server of `tests/browser/server.ts`, in a process of its own.
 *
 * @module
 */

import type { ChildProcess } from "node:child_process";
import process from "node:process";
import { currentBin, type Runtime, scriptArgs } from "../floors.ts";
import type { Site } from "./chromium.ts";
import { kill, listening, start } from "../process.ts";

/** A server's process, which can be replaced by another at the same port. */
export class ServerProcess {
  readonly #runtime: Runtime;
  readonly #site: Site;
  #child: ChildProcess | undefined;
  #address = "";

  /** @param site Whose files it passes on. */
  constructor(runtime: Runtime, site: Site) {
    this.#runtime = runtime;
    this.#site = site;
  }

  /** Its host and port. */
  get address(): string {
    return this.#address;
  }

  async start(): Promise<void> {
    const script = scriptArgs(this.#runtime, "tests/browser/server.ts");
    const port = this.#address.split(":")[1] ?? "0";
    const { origin, otherOrigin } = this.#site;
    const child = start(
      currentBin(this.#runtime),
      [...script, origin, otherOrigin, port],
    );
    this.#child = child;
    child.stderr?.on("data", (text) => process.stderr.write(text));
    this.#address = await listening(child);
  }

  /** Kills it without warning. Resolves when it is gone. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    const gone = new Promise((resolve) => child.on("close", resolve));
    kill(child);
    await gone;
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }
}
