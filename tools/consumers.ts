/**
 * Compiles and bundles programs that use the npm package, as users do:
 * `deno task pack:types`.
 *
 * It type-checks two programs against the packed tarball, with every supported
 * TypeScript, both module resolutions, and the types of Node alone and of the DOM
 * alone, with the strictest settings and `skipLibCheck: false`. Then it bundles
 * the client from the tarball with esbuild and with Rollup. Neither bundle may be
 * more than a stated share larger than the one that esbuild makes from source.
 *
 * @module
 */

import {
  cp,
  mkdir,
  mkdtemp,
  readFile,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { currentBin } from "./floors.ts";
import { must, pack } from "./pack.ts";
import { ROOT, run, tool } from "./process.ts";
import { ensureInstalled } from "./setup.ts";

const CONSUMERS = join(ROOT, "tools", "consumers");

/** The supported versions of TypeScript, the oldest first. */
const COMPILERS = ["5.7", "5.9", "6.0", "7.0"];

/** The module settings of programs for Node, and of programs for a bundler. */
const MODULES = [
  { module: "nodenext", moduleResolution: "nodenext" },
  { module: "esnext", moduleResolution: "bundler" },
];

/** The global types a program has. Only Node's know `Symbol.asyncDispose`. */
const GLOBALS = [
  {
    name: "node",
    lib: ["es2024"],
    types: ["node"],
    files: ["portable.ts", "disposal.ts"],
  },
  { name: "dom", lib: ["es2024", "dom"], types: [], files: ["portable.ts"] },
];

/** How many times larger a bundle from the tarball may be than one from source, compressed by gzip. */
const SLACK = 1.02;

/** Type-checks one combination, and returns the errors. */
async function check(
  dir: string,
  compiler: string,
  modules: typeof MODULES[number],
  globals: typeof GLOBALS[number],
): Promise<string> {
  const { lib, types, files } = globals;
  const compilerOptions = {
    ...modules,
    ...{ lib, types, target: "es2022", noEmit: true },
    ...{ strict: true, skipLibCheck: false },
    ...{ exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true },
  };
  const config = join(dir, `tsconfig.${globals.name}.json`);
  await writeFile(config, JSON.stringify({ compilerOptions, files }));
  const tsc = join(dir, "node_modules", `typescript-${compiler}`, "bin", "tsc");
  const args = [tsc, "-p", config];
  const result = await run(currentBin("node"), args, {
    cwd: dir,
    timeout: 120_000,
  });
  return result.ok ? "" : `${result.fault}\n${result.output}`;
}

async function checkAll(dir: string): Promise<number> {
  let failed = 0;
  for (const compiler of COMPILERS) {
    for (const modules of MODULES) {
      // Two at a time.
      const faults = await Promise.all(
        GLOBALS.map((globals) => check(dir, compiler, modules, globals)),
      );
      for (const [i, globals] of GLOBALS.entries()) {
        const fault = faults[i];
        const { moduleResolution } = modules;
        const name = `TypeScript ${compiler}, ${moduleResolution}, ` +
          `types of ${globals.name} alone`;
        if (fault !== "") failed++;
        console.log(fault === "" ? `ok     ${name}` : `FAILED ${name}`);
        if (fault !== "") console.log(fault);
      }
    }
  }
  return failed;
}

const ESBUILD = ["--bundle", "--minify", "--format=esm", "--log-level=warning"];

/** A bundle by esbuild, gzipped, in bytes. */
async function esbuild(file: string, cwd: string): Promise<number> {
  const bin = join(ROOT, "node_modules", ".bin", "esbuild");
  const result = await run(bin, [...ESBUILD, file], { cwd, timeout: 60_000 });
  must("esbuild", result);
  return gzipSync(result.stdout, { level: 9 }).length;
}

/** A bundle by Rollup, minified by esbuild, gzipped, in bytes. */
async function rollup(file: string, cwd: string): Promise<number> {
  const out = join(cwd, "rolled.js");
  const bin = join(cwd, "node_modules", "rollup", "dist", "bin", "rollup");
  const result = await run(currentBin("node"), [
    ...[bin, file, "--plugin", "node-resolve", "--format", "es"],
    ...["--file", out, "--silent"],
  ], { cwd, timeout: 60_000 });
  must("rollup", result);
  return await esbuild(out, cwd);
}

async function bundleAll(dir: string): Promise<number> {
  const source = await esbuild(join(ROOT, "tools", "size_client.ts"), ROOT);
  const limit = Math.floor(source * SLACK);
  console.log(`client from source, esbuild: ${source} bytes gzip`);
  let failed = 0;
  for (const [name, bundle] of Object.entries({ esbuild, rollup })) {
    const size = await bundle("client.js", dir);
    if (size > limit) failed++;
    const result = size > limit ? "FAILED" : "ok    ";
    console.log(
      `${result} client from the tarball, ${name}: ${size} bytes gzip` +
        `, at most ${limit}`,
    );
  }
  return failed;
}

async function main(): Promise<void> {
  await ensureInstalled(CONSUMERS);
  const dir = await mkdtemp(join(tmpdir(), "sluice-consumers-"));
  try {
    await cp(join(CONSUMERS, "programs"), dir, { recursive: true });
    await writeFile(
      join(dir, "package.json"),
      JSON.stringify({ private: true, type: "module" }),
    );
    await installInto(dir);
    const failed = await checkAll(dir) + await bundleAll(dir);
    const all = COMPILERS.length * MODULES.length * GLOBALS.length + 2;
    console.log(`${all - failed} passed, ${failed} failed`);
    if (failed > 0) throw new Error(`${failed} of ${all} failed`);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Unpacks the tarball next to the installed compilers and bundlers. */
async function installInto(dir: string): Promise<void> {
  const { devDependencies } = JSON.parse(
    await readFile(join(CONSUMERS, "package.json"), "utf8"),
  );
  const modules = join(dir, "node_modules");
  for (const name of [...Object.keys(devDependencies), "undici-types"]) {
    await mkdir(join(modules, name, ".."), { recursive: true });
    await symlink(
      join(CONSUMERS, "node_modules", name),
      join(modules, name),
    );
  }
  const tarball = join(dir, "package.tgz");
  await pack(tarball);
  const root = join(modules, "@sluice", "rpc");
  await mkdir(root, { recursive: true });
  const args = ["xzf", tarball, "-C", root, "--strip-components=1"];
  must("tar", await run("tar", args));
}

if (import.meta.main) await tool(main);
