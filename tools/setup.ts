/**
 * Installs `node_modules` from the lockfile, if it is missing or out of date:
 * the repository's, or that of a directory in it.
 *
 * Run by every task. Speaks on standard error only, so that a task's standard
 * output is its own; two at once take turns.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { ROOT, run, tool } from "./process.ts";

/** What a lockfile says of one installed package. */
interface Locked {
  version?: string;
  integrity?: string;
  optional?: boolean;
}

/** Makes sure that the packages of `dir`'s lockfile are installed there. */
export async function ensureInstalled(dir: string): Promise<void> {
  if (await isInstalled(dir)) return;
  using lock = await takeTurn(dir);
  if (await isInstalled(dir)) return; // by whoever had the turn before
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

/** The packages of a lockfile by path, its root left out; none if unreadable. */
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

/** A file lock: the system frees it however its holder ends. */
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
    ["ci", "--ignore-scripts=false", "--no-audit", "--no-fund"],
    { cwd: dir, echo: true, timeout: 600_000 },
  );
  if (!result.ok) throw new Error(`Cannot set up: npm ci, ${result.fault}`);
}

if (import.meta.main) {
  await tool(() => ensureInstalled(join(ROOT, process.argv[2] ?? "")));
}
