/**
 * The file of a listening Unix socket: made private, taken over from the dead,
 * never from the living.
 *
 * Invariants owned here:
 * - Nobody but the owner can connect, from the first moment: the socket is
 *   bound inside a directory made with mode 0700, set to 0600 there, and only
 *   then given its name. (Not by `umask`: that is the whole process's, a worker
 *   thread may not set it, and it needs `listen` to bind at once.)
 * - The name is given by `link`, which never replaces anything. What is in the
 *   way is removed only if it is a socket that refuses connections, and only if
 *   it is still that same file when it has been moved aside.
 * - At the end the file is removed if it is still ours.
 *
 * @module
 */

import type { ConnectionError } from "../base/errors.ts";
import { faultOf } from "./address.ts";
import { builtin, type Builtins, type FileStatus } from "./node_builtins.ts";

type Files = Builtins["node:fs/promises"];

/** How often a name is tried that others keep taking and leaving. */
const ATTEMPTS = 8;

/**
 * Binds a Unix socket at `path`.
 *
 * @param path The name it gets.
 * @param bind Binds it, at another name that it is given.
 * @returns What removes the file at the end; never rejects.
 */
export async function bindUnix(
  path: string,
  bind: (path: string) => Promise<void>,
): Promise<() => Promise<void>> {
  const fs = builtin("node:fs/promises", "A Unix socket");
  const cut = path.lastIndexOf("/") + 1;
  const room = await fs.mkdtemp(`${path.slice(0, cut)}.s-`);
  try {
    const hidden = `${room}/s`;
    await bind(hidden);
    await fs.chmod(hidden, 0o600);
    const own = await fs.lstat(hidden);
    await claim(fs, hidden, path, room);
    return () => remove(fs, path, own);
  } finally {
    await fs.rm(room, { recursive: true, force: true });
  }
}

async function claim(
  fs: Files,
  hidden: string,
  path: string,
  room: string,
): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    try {
      return await fs.link(hidden, path);
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
    }
    const found = await status(fs, path);
    if (!found) continue;
    if (!found.isSocket()) throw inUse(path, "it is no socket");
    if (await answers(path)) throw inUse(path, "a server answers there");
    const aside = `${room}/${attempt}`;
    try {
      await fs.rename(path, aside);
    } catch (error) {
      if (codeOf(error) === "ENOENT") continue;
      throw error;
    }
    const moved = await fs.lstat(aside);
    if (!same(moved, found)) {
      // Between the look and the move another server took the name: give it back.
      await fs.rename(aside, path);
      throw inUse(path, "another server took it");
    }
  }
  throw inUse(path, "other servers keep taking it");
}

/** Whether a server lives there; whatever is not a plain refusal counts as life. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = builtin("node:net", "A Unix socket").connect({ path });
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
    if (found && same(found, own)) await fs.unlink(path);
  } catch {
    // The name is no longer ours to remove, or its directory has gone.
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

function same(a: FileStatus, b: FileStatus): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | null)?.code;
}

function inUse(path: string, why: string): ConnectionError {
  return faultOf(
    `Cannot listen at ${path}`,
    Object.assign(new Error(why), { code: "EADDRINUSE" }),
  );
}
