/**
 * The file of a listening Unix socket: created private, replaced if its server
 * is dead, never replaced if its server is alive.
 *
 * Invariants:
 * - Only the owner can connect, from the first moment. The socket is bound in a
 *   directory created with mode 0700, set to mode 0600 there, and only then
 *   given its name. (`umask` would not do: it belongs to the whole process, a
 *   worker thread may not set it, and it needs a `listen` that binds at once.)
 * - The name is given by `link`, which never replaces a file. A file that
 *   already has the name is removed only if it is a socket that refuses
 *   connections, and is still the same file after it was moved aside.
 * - When the listener closes, the file is removed if it is still its own.
 *
 * @module
 */

import type { ConnectionError } from "../../base/errors.ts";
import { builtin, type Builtins, type FileStatus } from "./node_builtins.ts";
import { toConnectionError } from "../system_errors.ts";

type Files = Builtins["node:fs/promises"];

/** Attempts to take a name that other servers keep taking and giving up. */
const ATTEMPTS = 8;

/**
 * Binds a Unix socket at `path`.
 *
 * @param path The name that the socket gets.
 * @param bind Binds the socket at the path it is given, which is another one.
 * @returns A function that removes the file; it never rejects.
 */
export async function bindUnix(
  path: string,
  bind: (path: string) => Promise<void>,
): Promise<() => Promise<void>> {
  const fs = builtin("node:fs/promises", "a Unix socket");
  const cut = path.lastIndexOf("/") + 1;
  const directory = await fs.mkdtemp(`${path.slice(0, cut)}.s-`);
  try {
    const hidden = `${directory}/s`;
    await bind(hidden);
    await fs.chmod(hidden, 0o600);
    const own = await fs.lstat(hidden);
    await claim(fs, hidden, path, directory);
    return () => remove(fs, path, own);
  } finally {
    await fs.rm(directory, { recursive: true, force: true });
  }
}

/** Gives the socket at `hidden` the name `path`. */
async function claim(
  fs: Files,
  hidden: string,
  path: string,
  directory: string,
): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    try {
      return await fs.link(hidden, path);
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
    }
    const found = await status(fs, path);
    // Gone in the meantime: try again.
    if (!found) continue;
    if (!found.isSocket()) throw inUse(path, "the file is not a socket");
    if (await isAlive(path)) throw inUse(path, "a server is listening there");
    const aside = `${directory}/${attempt}`;
    try {
      await fs.rename(path, aside);
    } catch (error) {
      if (codeOf(error) === "ENOENT") continue;
      throw error;
    }
    const moved = await fs.lstat(aside);
    if (!sameFile(moved, found)) {
      // Another server took the name in between: give it back.
      await fs.rename(aside, path);
      throw inUse(path, "another server has taken it");
    }
  }
  throw inUse(path, "other servers keep taking it");
}

/** Whether a server listens there. Any result but a plain refusal counts as yes. */
function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = builtin("node:net", "a Unix socket").connect({ path });
    const settle = (alive: boolean) => {
      resolve(alive);
      socket.destroy();
    };
    socket.on("connect", () => settle(true));
    socket.on("error", (error) => {
      const code = codeOf(error);
      settle(code !== "ECONNREFUSED" && code !== "ENOENT");
    });
  });
}

async function remove(
  fs: Files,
  path: string,
  own: FileStatus,
): Promise<void> {
  try {
    const found = await status(fs, path);
    if (found && sameFile(found, own)) await fs.unlink(path);
  } catch {
    // The directory is gone, or this process may not remove the file.
  }
}

async function status(
  fs: Files,
  path: string,
): Promise<FileStatus | undefined> {
  try {
    return await fs.lstat(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function sameFile(a: FileStatus, b: FileStatus): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | null)?.code;
}

function inUse(path: string, why: string): ConnectionError {
  return toConnectionError(
    `Cannot listen at ${path}`,
    Object.assign(new Error(why), { code: "EADDRINUSE" }),
  );
}
