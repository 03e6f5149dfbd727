/**
 * Bundles test files for a page: all of which neither the file itself nor
 * anything that it imports needs a module of Node, apart from `node:test`.
 *
 * So a new test file joins by itself, and one that comes to need Node leaves.
 *
 * @module
 */

import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import {
  build,
  type BuildOptions,
  type Metafile,
  type Plugin,
  stop,
} from "esbuild";
import { ROOT } from "../process.ts";

/** The replacement of `node:test`. */
export const NODE_TEST = "tests/browser/page/testing.ts";

/** A test file that cannot run in a page, and the first module of Node that it needs. */
export interface LeftOut {
  readonly file: string;
  readonly needs: string;
  /** The file that imports it. */
  readonly by: string;
}

/** Which test files can run in a page. */
export interface Portable {
  readonly files: string[];
  readonly leftOut: LeftOut[];
}

/** `node:util` and `node:assert` for `tools/std-assert`: how a failed assertion shows values. */
const REPORT = `
import objectInspect from "object-inspect";
export const inspect = (value, options) => objectInspect(value, { depth: options.depth });
export class AssertionError extends Error {
  constructor({ actual, expected }) {
    super("actual:   " + objectInspect(actual) + "\\nexpected: " + objectInspect(expected));
  }
}`;

/** Modules that only another runtime has. */
const FOREIGN = /^(?:node|bun):/;

const replacements: Plugin = {
  name: "replacements",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:test$/ }, () => ({
      path: join(ROOT, NODE_TEST),
    }));
    onResolve({ filter: /^node:(?:assert|util)$/ }, ({ importer }) => {
      const asserts = join(ROOT, "tools", "std-assert");
      if (!importer.startsWith(asserts)) return undefined;
      return { path: "report", namespace: "report" };
    });
    onLoad({ filter: /^/, namespace: "report" }, () => ({
      contents: REPORT,
      resolveDir: join(ROOT, "tests", "browser"),
    }));
    // They stay imports, so that the metafile names them.
    onResolve({ filter: FOREIGN }, ({ path }) => ({ path, external: true }));
  },
};

const OPTIONS: BuildOptions & { metafile: true } = {
  absWorkingDir: ROOT,
  bundle: true,
  format: "esm",
  platform: "browser",
  target: "esnext",
  metafile: true,
  logLevel: "error",
  plugins: [replacements],
};

/** Finds which of the test files can run in a page. */
export async function portable(files: string[]): Promise<Portable> {
  const { metafile } = await build({
    ...OPTIONS,
    entryPoints: files,
    outdir: "unused",
    write: false,
  });
  const leftOut: LeftOut[] = [];
  for (const file of files) {
    const found = foreign(metafile, file);
    if (found !== undefined) leftOut.push({ file, ...found });
  }
  const out = new Set(leftOut.map(({ file }) => file));
  return { files: files.filter((file) => !out.has(file)), leftOut };
}

/** The first module that a page lacks among all that a file imports. */
function foreign(
  { inputs }: Metafile,
  file: string,
): Omit<LeftOut, "file"> | undefined {
  const waiting = [file];
  const seen = new Set(waiting);
  for (const by of waiting) {
    for (const { path, kind } of inputs[by]?.imports ?? []) {
      // It is loaded by a test that has looked at the runtime.
      if (kind === "dynamic-import") continue;
      if (FOREIGN.test(path)) return { needs: path, by };
      if (!seen.has(path)) waiting.push(path);
      seen.add(path);
    }
  }
  return undefined;
}

/** Bundles test files into `outdir`, with source maps. What they share is there once. */
export async function bundle(files: string[], outdir: string): Promise<void> {
  await build({
    ...OPTIONS,
    entryPoints: [...files, NODE_TEST],
    outdir,
    outbase: ROOT,
    splitting: true,
    sourcemap: true,
  });
}

/** The path of a file's bundle, from the folder of all. */
export function bundleOf(file: string): string {
  return file.replace(/\.ts$/, ".js");
}

/** Bundles files into one, without code that is loaded on demand. */
export async function bundleOne(file: string, outfile: string): Promise<void> {
  await build({ ...OPTIONS, entryPoints: [file], outfile });
}

/** Does with Vite, as it is without configuration, what `bundle` does with esbuild. */
export async function bundleWithVite(
  files: string[],
  outDir: string,
): Promise<void> {
  const vite = await import(pathToFileURL(load.resolve("vite")).href);
  const input = Object.fromEntries(
    [...files, NODE_TEST].map((file) => [
      file.replace(/\.ts$/, ""),
      join(ROOT, file),
    ]),
  );
  await vite.build({
    root: ROOT,
    configFile: false,
    publicDir: false,
    logLevel: "error",
    plugins: [viteReplacements],
    build: {
      outDir,
      sourcemap: true,
      rollupOptions: {
        input,
        preserveEntrySignatures: "strict",
        output: { entryFileNames: "[name].js" },
      },
    },
  });
}

/** Does for Vite what `replacements` does for esbuild. */
const viteReplacements = {
  name: "replacements",
  enforce: "pre",
  resolveId(name: string, importer = "") {
    if (name === "node:test") return join(ROOT, NODE_TEST);
    if (name === "object-inspect") return load.resolve(name);
    const asserts = join(ROOT, "tools", "std-assert");
    const reports = /^node:(?:assert|util)$/.test(name) &&
      importer.startsWith(asserts);
    return reports ? "\0report" : undefined;
  },
  load: (id: string) => id === "\0report" ? REPORT : undefined,
};

/** Ends esbuild's process. */
export const stopBundler: () => Promise<void> = stop;

/** Loads a module of one of the packages in `tests/browser`, which are installed on first use. */
export const load: NodeJS.Require = createRequire(
  join(ROOT, "tests/browser/package.json"),
);
