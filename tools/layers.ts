/**
 * Checks which room of `src/` imports which: `deno task layers`.
 *
 * - A room imports only the rooms below it that `ALLOWED` names.
 * - No import closes a cycle between files; `import type` counts.
 * - No file stands in the root of `src/`, a folder has at most 20 files, and
 *   one name stands for one type: it is declared in one file only.
 *
 * `deno info --json` resolves the imports and lists type imports apart. It
 * counts `import { type A }` as a value import, and so does this check: such an
 * import loads the other file when Node strips the types.
 *
 * @module
 */

import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { ROOT, run, tool, usage } from "./process.ts";

const USAGE = `Usage: deno task layers [options]

  --root DIR    the project to check (default: this one)
  --help        print this`;

/** What each room may import, from the ground up. `type:` permits only `import type`. Each room may import itself. */
export const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  base: [],
  types: ["base"],
  wire: ["base", "types"],
  transport: ["base", "types"],
  streams: ["base", "types", "wire"],
  call: ["base", "types", "wire", "type:streams"],
  connection: ["base", "types", "wire", "transport", "call", "type:streams"],
  serve: ["base", "types", "wire", "transport", "streams", "connection"],
  client: [
    ...["base", "types", "wire", "transport", "streams", "call"],
    "connection",
  ],
  observe: ["base", "types"],
  jsonrpc: [
    ...["base", "types", "wire", "transport", "connection", "client"],
    "serve",
  ],
  netrpc: ["base", "types", "wire", "transport"],
  testing: ["base", "types", "wire", "transport"],
};

/** Largest number of files in one folder. */
export const MAX_FILES = 20;

/** One import of a file of the project by another one. Paths are relative to the project's root. */
export interface Import {
  readonly from: string;
  readonly to: string;
  readonly line: number;
  /** Whether it is an `import type`, which does not exist at run time. */
  readonly type: boolean;
}

/** One place that breaks a rule. */
export interface Violation {
  readonly file: string;
  readonly line: number;
  readonly text: string;
}

/** What `deno info --json` prints, as far as it is read here. */
export interface Info {
  readonly modules: readonly {
    readonly specifier: string;
    readonly error?: string;
    readonly dependencies?: readonly {
      readonly specifier: string;
      readonly code?: Resolved;
      readonly type?: Resolved;
    }[];
  }[];
}

/** Where one import leads, and where it is written. Lines count from 0. */
interface Resolved {
  readonly specifier?: string;
  readonly error?: string;
  readonly span?: { readonly start: { readonly line: number } };
}

/** The room of a file: its folder in `src/`. `undefined` for a file outside of `src/` and for one in its root. */
export function roomOf(file: string): string | undefined {
  return /^src\/([^/]+)\//.exec(file)?.[1];
}

/** Reads the imports of the project's files from what `deno info` printed. `root` is the URL of the project's folder and ends in `/`. */
export function readImports(
  info: Info,
  root: string,
): { imports: Import[]; broken: Violation[] } {
  const imports: Import[] = [];
  const broken: Violation[] = [];
  const path = (url: string) =>
    url.startsWith(root) ? decodeURI(url.slice(root.length)) : url;
  for (const { specifier, error, dependencies } of info.modules) {
    const from = path(specifier);
    if (from === specifier) continue;
    if (error !== undefined) broken.push({ file: from, line: 1, text: error });
    for (const dependency of dependencies ?? []) {
      for (const kind of ["code", "type"] as const) {
        const resolved = dependency[kind];
        if (resolved === undefined) continue;
        const line = (resolved.span?.start.line ?? 0) + 1;
        if (resolved.specifier === undefined) {
          const text = `${dependency.specifier}: ${resolved.error}`;
          broken.push({ file: from, line, text });
          continue;
        }
        const to = path(resolved.specifier);
        imports.push({ from, to, line, type: kind === "type" });
      }
    }
  }
  return { imports, broken };
}

/** Finds the imports that the table does not permit. Files outside of `src/`, the entry points, may import anything. */
export function againstLayers(imports: readonly Import[]): Violation[] {
  const found: Violation[] = [];
  for (const { from, to, line, type } of imports) {
    if (!from.startsWith("src/")) continue;
    const room = roomOf(from) ?? "the root of src";
    const other = roomOf(to);
    const report = (text: string) => found.push({ file: from, line, text });
    if (other === undefined) {
      report(`${room} may not import ${to}, which is in no room of src`);
    } else if (room !== other) {
      const allowed = ALLOWED[room] ?? [];
      if (allowed.includes(other)) continue;
      if (!allowed.includes(`type:${other}`)) {
        report(`${room} may not import ${other} (${to})`);
      } else if (!type) {
        report(`${room} may import ${other} as types only (${to})`);
      }
    }
  }
  return found;
}

/** Finds the groups of files that import each other in a circle, largest first (Tarjan's strongly connected components). */
export function findCycles(imports: readonly Import[]): string[][] {
  const next = new Map<string, string[]>();
  for (const { from, to } of imports) {
    if (!next.has(to)) next.set(to, []);
    const known = next.get(from);
    if (known) known.push(to);
    else next.set(from, [to]);
  }
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const stack: string[] = [];
  const open = new Set<string>();
  const cycles: string[][] = [];
  const visit = (file: string) => {
    const index = order.size;
    order.set(file, index);
    lowest.set(file, index);
    stack.push(file);
    open.add(file);
    const lower = (n: number) =>
      lowest.set(file, Math.min(lowest.get(file)!, n));
    for (const to of next.get(file)!) {
      if (!order.has(to)) {
        visit(to);
        lower(lowest.get(to)!);
      } else if (open.has(to)) lower(order.get(to)!);
    }
    if (lowest.get(file) !== index) return;
    const group = stack.splice(stack.lastIndexOf(file));
    for (const member of group) open.delete(member);
    if (group.length > 1 || next.get(file)!.includes(file)) {
      cycles.push(group.sort());
    }
  };
  for (const file of next.keys()) if (!order.has(file)) visit(file);
  return cycles.sort((a, b) => b.length - a.length);
}

/** Finds a shortest circle in a group of files that import each other, as the imports it consists of. */
export function shortestCycle(
  group: readonly string[],
  imports: readonly Import[],
): Import[] {
  const members = new Set(group);
  const inside = imports.filter(({ from, to }) =>
    members.has(from) && members.has(to)
  );
  let best: Import[] | undefined;
  for (const start of group) {
    const found = circleThrough(start, inside);
    if (found.length < (best?.length ?? Infinity)) best = found;
  }
  return best!;
}

/** Searches breadth first from a file until an import leads back to it. */
function circleThrough(start: string, imports: readonly Import[]): Import[] {
  const reached = new Map<string, Import[]>([[start, []]]);
  for (const [file, path] of reached) { // The list grows during the loop.
    for (const one of imports) {
      if (one.from !== file) continue;
      if (one.to === start) return [...path, one];
      if (!reached.has(one.to)) reached.set(one.to, [...path, one]);
    }
  }
  throw new Error(`Cannot find a cycle: none leads through ${start}`);
}

/** Finds files in the root of `src/`, rooms that the table does not name, and folders with too many files. */
export function misplaced(files: readonly string[]): Violation[] {
  const found: Violation[] = [];
  const folders = new Map<string, number>();
  for (const file of files) {
    const folder = file.slice(0, file.lastIndexOf("/"));
    folders.set(folder, (folders.get(folder) ?? 0) + 1);
    const room = roomOf(file);
    if (room === undefined) {
      const text = "no file may stand in the root of src: move it into a room";
      found.push({ file, line: 1, text });
    } else if (!Object.hasOwn(ALLOWED, room)) {
      found.push({ file, line: 1, text: `${room} is no room of the table` });
    }
  }
  for (const [file, count] of folders) {
    if (count <= MAX_FILES || file === "src") continue;
    const text = `${count} files in one folder, at most ${MAX_FILES}`;
    found.push({ file, line: 1, text });
  }
  return found;
}

/** A type that a file declares at its top level. */
export interface Declaration {
  readonly name: string;
  readonly line: number;
}

const COMMENT = /^[ \t]*\/\*[^]*?\*\//gm;
const DECLARATION =
  /^(?:export +)?(?:default +)?(?:declare +)?(?:abstract +)?(?:interface +([\w$]+)|class +([\w$]+)|type +([\w$]+)\s*[<=])/gm;

/** Lists the interfaces, type aliases and classes that formatted source text declares at its top level, exported or not. */
export function declarations(source: string): Declaration[] {
  // A comment becomes as many empty lines, so that lines keep their numbers.
  const code = source.replace(
    COMMENT,
    (comment) => comment.replace(/[^\n]+/g, ""),
  );
  return [...code.matchAll(DECLARATION)].map((found) => ({
    name: (found[1] ?? found[2] ?? found[3])!,
    line: code.slice(0, found.index).split("\n").length,
  }));
}

/** Finds type names that more than one file declares. An interface may merge with a class of its own file. */
export function declaredTwice(
  sources: ReadonlyMap<string, string>,
): Violation[] {
  const places = new Map<string, Map<string, number>>();
  for (const [file, source] of sources) {
    for (const { name, line } of declarations(source)) {
      let known = places.get(name);
      if (!known) places.set(name, known = new Map());
      if (!known.has(file)) known.set(file, line);
    }
  }
  const found: Violation[] = [];
  for (const [name, known] of places) {
    const [first, ...rest] = known;
    for (const [file, line] of rest) {
      const text = `type ${name} is declared in ${first![0]}:${first![1]}, too`;
      found.push({ file, line, text });
    }
  }
  return found;
}

/** The lines to print about a project, and whether it keeps every rule. */
export interface Report {
  readonly lines: readonly string[];
  readonly ok: boolean;
}

/** Checks a project, given the output of `deno info` and the text of each file of `src/`. */
export function inspect(
  info: Info,
  root: string,
  sources: ReadonlyMap<string, string>,
): Report {
  const { imports, broken } = readImports(info, root);
  const upward = againstLayers(imports);
  const cycles = findCycles(imports);
  const places = misplaced([...sources.keys()]);
  const names = declaredTwice(sources);
  const print = ({ file, line, text }: Violation) => `${file}:${line}: ${text}`;
  const faults = [...broken, ...places, ...names, ...upward];
  return {
    ok: faults.length + cycles.length === 0,
    lines: [
      ...faults.map(print),
      ...cycles.flatMap((group) => printCycle(group, imports)),
      `${sources.size} files, ${places.length} misplaced, ` +
      `${names.length} type names declared again`,
      `${imports.length} imports, ${upward.length} against the layers, ` +
      `${cycles.length} cycles`,
    ],
  };
}

function printCycle(
  group: readonly string[],
  imports: readonly Import[],
): string[] {
  const path = shortestCycle(group, imports);
  const rest = group.filter((file) => !path.some(({ from }) => from === file));
  const [{ from, line }] = path as [Import];
  if (group.length === 1) return [`${from}:${line}: the file imports itself`];
  return [
    `${from}:${line}: ${group.length} files import each other in a cycle:`,
    ...path.map((one) => `  ${one.from}:${one.line} imports ${one.to}`),
    ...(rest.length > 0 ? [`  as do ${rest.join(" ")}`] : []),
  ];
}

/** Reads every source file of a project's `src/`, by its path. */
export async function readSources(root: string): Promise<Map<string, string>> {
  const sources = new Map<string, string>();
  const names = await readdir(join(root, "src"), { recursive: true });
  for (const name of names.sort()) {
    if (!/\.[mc]?[jt]sx?$/.test(name)) continue;
    const file = join("src", name);
    const text = await readFile(join(root, file), "utf8");
    sources.set(file.replaceAll("\\", "/"), text);
  }
  return sources;
}

/** Asks Deno for the imports of a project's entry points and of every file of `src/`. */
async function readInfo(
  root: string,
  files: readonly string[],
): Promise<Info> {
  const config = JSON.parse(await readFile(join(root, "deno.json"), "utf8"));
  const entries: string[] = Object.values(config.exports);
  const dir = await mkdtemp(join(tmpdir(), "sluice-layers-"));
  try {
    // One module that imports all: `deno info` takes only one.
    const all = [...entries, ...files].map((file) =>
      `import ${JSON.stringify(pathToFileURL(join(root, file)).href)};\n`
    );
    const file = join(dir, "all.ts");
    await writeFile(file, all.join(""));
    const args = ["info", "--json", "--no-config", "--no-lock", file];
    const result = await run(process.execPath, args, {
      cwd: root,
      timeout: 60_000,
    });
    if (!result.ok) throw new Error(`deno info: ${result.output}`);
    return JSON.parse(result.stdout);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Checks the project in a folder. Needs Deno. */
export async function checkLayers(root: string): Promise<Report> {
  const sources = await readSources(root);
  const info = await readInfo(root, [...sources.keys()]);
  return inspect(info, pathToFileURL(resolve(root)).href + "/", sources);
}

function options(): { root: string; help: boolean } {
  try {
    const { values } = parseArgs({
      options: {
        root: { type: "string", default: ROOT },
        help: { type: "boolean", default: false },
      },
    });
    return values;
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

async function main(): Promise<void> {
  const { root, help } = options();
  if (help) return console.log(USAGE);
  const { lines, ok } = await checkLayers(resolve(root));
  for (const line of lines) console.log(line);
  if (!ok) process.exit(1);
}

if (import.meta.main) await tool(main);
