/**
 * Installs `node_modules` from the lockfile if it is missing or out of date: that
 * of the repository, or those of the folders in it that are named.
 *
 * Every task runs it. It prints to standard error only, so that standard output
 * belongs to the task. Of two that run at once, one waits for the other.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { ROOT, run, tool } from "./process.ts";

/** The entry of one package in a lockfile. */
interface Locked {
  version?: string;
  integrity?: string;
  optional?: boolean;
}

/** Makes sure that the packages of `dir`'s lockfile are installed there. */
export async function ensureInstalled(dir: string): Promise<void> {
  if (await isInstalled(dir)) return;
  using lock = await takeTurn(dir);
  if (await isInstalled(dir)) return; // Another process installed them in the meantime.
  await install(dir);
  lock.unlockSync();
}

async function isInstalled(dir: string): Promise<boolean> {
  const wanted = await lockedPackages(join(dir, "package-lock.json"));
  const found = await lockedPackages(
    join(dir, "node_modules", ".package-lock.json"),
  );
  if (!wanted) throw new Error(`Cannot set up: no package-lock.json in ${dir}`);
  if (!found) return false;
  return matches(wanted, found);
}

/** Packages for other platforms are optional, and may be missing. */
function matches(
  wanted: Map<string, Locked>,
  found: Map<string, Locked>,
): boolean {
  for (const path of found.keys()) if (!wanted.has(path)) return false;
  for (const [path, { version, integrity, optional }] of wanted) {
    const have = found.get(path);
    if (!have && optional) continue;
    if (!have || have.version !== version) return false;
    if (integrity && have.integrity !== integrity) return false;
  }
  return true;
}

/** The packages of a lockfile by path, without its root; empty if it cannot be read. */
async function lockedPackages(
  file: string,
): Promise<Map<string, Locked> | undefined> {
  try {
    const { packages } = JSON.parse(await readFile(file, "utf8"));
    delete packages[""];
    return new Map(Object.entries<Locked>(packages));
  } catch {
    return undefined;
  }
}

/** Locks a file. The system frees the lock however the process ends. */
async function takeTurn(dir: string): Promise<Deno.FsFile> {
  const name = createHash("sha256").update(dir).digest("hex").slice(0, 16);
  const file = await Deno.open(join(tmpdir(), `sluice-setup-${name}.lock`), {
    create: true,
    write: true,
  });
  await file.lock(true);
  return file;
}

async function install(dir: string): Promise<void> {
  process.stderr.write(`Installing development packages in ${dir} ...\n`);
  const result = await run(
    "npm",
    [
      "ci",
      // Also where NODE_ENV is "production": Vite sets it in its own process.
      "--include=dev",
      "--ignore-scripts=false",
      "--no-audit",
      "--no-fund",
      "--loglevel=error",
    ],
    { cwd: dir, echo: true, timeout: 600_000 },
  );
  if (!result.ok) throw new Error(`Cannot set up: npm ci, ${result.fault}`);
}

if (import.meta.main) {
  const [first = "", ...more] = process.argv.slice(2);
  await tool(async () => {
    for (const dir of [first, ...more]) await ensureInstalled(join(ROOT, dir));
  });
}
