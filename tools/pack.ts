/**
 * Makes the npm package: `deno task pack [--out FILE]`.
 *
 * `deno pack` compiles the sources and writes the declarations. This program adds
 * what `deno pack` cannot write: fields of `package.json` for users and bundlers,
 * and source maps that name the files of the package instead of those of the
 * machine that made it.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import {
  copyFile,
  mkdtemp,
  readdir,
  readFile,
  rm,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, relative, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { ROOT, run, type RunResult, tool, usage } from "./process.ts";

const USAGE = `Usage: deno task pack [options]

  --out FILE    the tarball to write (package.tgz)
  --help        print this`;

/** Fields that the package takes over from package.json of the repository. */
const SHARED = [
  ...["description", "repository", "engines", "sideEffects"],
] as const;

/** Throws if a step failed. */
export function must(step: string, result: RunResult): void {
  if (result.ok) return;
  throw new Error(`${step}: ${result.fault}\n${result.output}`);
}

/** Packs the package into a tarball. */
export async function pack(tarball: string): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "sluice-pack-"));
  try {
    const raw = join(dir, "raw.tgz");
    const args = ["pack", "--quiet", "--allow-dirty", "-o", raw];
    must("deno pack", await run(process.execPath, args, { timeout: 120_000 }));
    must("tar", await run("tar", ["xzf", raw, "-C", dir]));
    const root = join(dir, "package");
    await completeManifest(join(root, "package.json"));
    await cleanSourceMaps(root);
    const made = await run("npm", ["pack", "--silent"], {
      cwd: root,
      timeout: 120_000,
    });
    must("npm pack", made);
    await copyFile(join(root, made.stdout.trim()), tarball);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function completeManifest(file: string): Promise<void> {
  const manifest = JSON.parse(await readFile(file, "utf8"));
  const own = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"));
  for (const field of SHARED) {
    if (own[field] === undefined) {
      throw new Error(`Cannot pack: package.json has no ${field}`);
    }
    manifest[field] = own[field];
  }
  await writeFile(file, JSON.stringify(manifest, undefined, 2) + "\n");
}

const MAP = /\/\/# sourceMappingURL=data:application\/json;base64,(.*)\s*$/;

/** Makes the source that each map names relative to the map's own file. */
async function cleanSourceMaps(root: string): Promise<void> {
  for (const name of await readdir(root, { recursive: true })) {
    if (!name.endsWith(".js")) continue;
    const file = join(root, name);
    const code = await readFile(file, "utf8");
    const found = MAP.exec(code);
    if (found === null) throw new Error(`Cannot pack: ${name} has no map`);
    const map = JSON.parse(Buffer.from(found[1]!, "base64").toString());
    map.sources = map.sources.map((source: string) => basename(source));
    const text = Buffer.from(JSON.stringify(map)).toString("base64");
    const head = code.slice(0, found.index);
    const line = `//# sourceMappingURL=data:application/json;base64,${text}\n`;
    await writeFile(file, head + line);
  }
}

function options(): { out: string; help: boolean } {
  try {
    const { values } = parseArgs({
      options: {
        out: { type: "string", default: "package.tgz" },
        help: { type: "boolean", default: false },
      },
    });
    return values;
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

async function main(): Promise<void> {
  const { out, help } = options();
  if (help) return console.log(USAGE);
  await pack(resolve(out));
  console.log(`packed ${relative(process.cwd(), resolve(out))}`);
}

if (import.meta.main) await tool(main);
