/**
 * Bundles each entry point, and what typical programs import, for a browser,
 * and checks the sizes: `deno task size`. `ROWS` has the limits.
 *
 * - Each bundle is made from source and from the npm package, minified and
 *   compressed by gzip. Both must stay within the limit.
 * - A bundle that needs what a browser lacks fails (esbuild resolves no `node:`
 *   module for browsers), and so does one that carries what it does not use.
 * - A name imported through `mod.ts` costs no more than from its own file.
 * - An import that uses nothing of an entry point leaves little in the bundle.
 * - `FEATURES` says what each feature adds to the slim client: the table of README.
 *
 * @module
 */

import {
  cp,
  mkdir,
  mkdtemp,
  readFile,
  realpath,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { readSources } from "./layers.ts";
import { must, pack } from "./pack.ts";
import { ROOT, run, tool, usage } from "./process.ts";

const USAGE = `Usage: deno task size [options]

  --modules     also print the bytes of each room and each module
  --source      do not make the npm package, which takes a few seconds
  --help        print this`;

const PACKAGE = "@sluice/rpc";
const SLIM = "@sluice/rpc/client";

/** A program to bundle, and the bounds of its bundle. */
export interface Row {
  readonly name: string;
  /** The entry points of the package that the program imports. */
  readonly from: string;
  /** The names that it imports; everything if the list is empty. */
  readonly names: readonly string[];
  /** Largest size in bytes, minified and compressed by gzip. */
  readonly limit: number;
  /** Rooms of `src/` that must not be in the bundle. */
  readonly without: readonly string[];
}

/** Rooms that no client carries unless the program imports them. */
const OPTIONAL = ["observe", "jsonrpc", "netrpc"];

/** Lower a limit when its bundle becomes smaller. A commit that raises a limit says why. */
const ROWS: readonly Row[] = [
  // The entry points as wholes.
  {
    name: "all of .",
    from: PACKAGE,
    names: [],
    limit: 82_350,
    without: ["jsonrpc", "netrpc"],
  },
  {
    name: "all of ./client",
    from: SLIM,
    names: [],
    limit: 69_250,
    without: ["jsonrpc", "netrpc", "transport/sockets"],
  },
  {
    name: "all of ./jsonrpc",
    from: `${PACKAGE}/jsonrpc`,
    names: [],
    limit: 59_750,
    without: ["netrpc", "client/reconnect"],
  },
  {
    name: "all of ./netrpc",
    from: `${PACKAGE}/netrpc`,
    names: [],
    limit: 24_150,
    without: ["jsonrpc", "client", "streams"],
  },
  {
    name: "all of ./testing",
    from: `${PACKAGE}/testing`,
    names: [],
    limit: 15_350,
    without: [
      ...[...OPTIONAL, "client", "serve", "connection", "call", "streams"],
      "transport/sockets",
    ],
  },
  // What typical programs import.
  {
    name: "slim client",
    from: SLIM,
    names: ["Client"],
    limit: 26_450,
    without: [...OPTIONAL, "serve", "streams", "client/reconnect"],
  },
  {
    name: "slim client, WebSocket",
    from: SLIM,
    names: ["Client", "connectWebSocket"],
    limit: 30_950,
    without: [
      ...OPTIONAL,
      ...["serve", "streams", "client/reconnect", "transport/sockets"],
    ],
  },
  {
    name: "slim client, streams",
    from: SLIM,
    names: ["Client", "streams"],
    limit: 34_800,
    without: [...OPTIONAL, "serve", "client/reconnect"],
  },
  {
    name: "page client",
    from: SLIM,
    names: ["Client", "streams", "callable", "keepalive"],
    limit: 44_850,
    without: [...OPTIONAL, "client/reconnect"],
  },
  {
    name: "slim reconnecting client, WebSocket",
    from: SLIM,
    names: ["ReconnectingClient", "connectWebSocket"],
    limit: 36_900,
    without: [...OPTIONAL, "serve", "streams", "transport/sockets"],
  },
  {
    name: "Client",
    from: PACKAGE,
    names: ["Client"],
    limit: 41_200,
    without: [...OPTIONAL, "client/reconnect"],
  },
  {
    name: "ReconnectingClient",
    from: PACKAGE,
    names: ["ReconnectingClient"],
    limit: 52_650,
    without: OPTIONAL,
  },
  {
    name: "Server",
    from: PACKAGE,
    names: ["Server"],
    limit: 50_650,
    without: [...OPTIONAL, "client"],
  },
];

/** A feature that a program passes to the slim client. */
export interface Feature {
  /** The first cell of its line, in Markdown. */
  readonly text: string;
  /** What the program imports beside the slim `Client`. */
  readonly names: readonly string[];
  /** The entry point that has the names. Default: the slim client's. */
  readonly from?: string;
}

/** What the table of README lists, in this order. */
const FEATURES: readonly Feature[] = [
  {
    text: "`streams()`: streams as params and results",
    names: ["streams"],
  },
  {
    text: "`fragments()`: calls pass between the parts of large messages",
    names: ["fragments"],
  },
  {
    text: "`callable()`: services that the server may call",
    names: ["callable"],
  },
  {
    text: "`ReconnectingClient`: connects again when a connection ends",
    names: ["ReconnectingClient"],
  },
  {
    text: "`connectWebSocket()`: a duplex over a WebSocket",
    names: ["connectWebSocket"],
  },
  {
    text: "`fromMessagePort()`: a duplex over a message port",
    names: ["fromMessagePort"],
  },
  { text: "`keepalive()`: notices a silent peer", names: ["keepalive"] },
  {
    text: "`ref()`: a result in the params of the next call",
    names: ["ref"],
  },
  {
    text: "`stage()`, `map()`: a call for each item",
    names: ["stage", "map"],
  },
  {
    text: "`clientMiddleware()`: code around each outgoing call",
    names: ["clientMiddleware"],
  },
  {
    text: "`observers()`: hooks for metrics and traces",
    names: ["observers"],
  },
  {
    text: "`rich()`: dates, maps, bytes and more within values",
    names: ["rich"],
  },
  {
    text: "`toDuplex()` of `@sluice/rpc`: adapts a `Deno.Conn`",
    names: ["toDuplex"],
    from: PACKAGE,
  },
];

/**
 * Largest minified size of what stays in a bundle that imports an entry point
 * and uses nothing of it, where the bundler does not read `sideEffects: false`
 * (as with JSR).
 */
const UNUSED: Readonly<Record<string, number>> = {
  ".": 1_000,
  "./client": 1_000,
  "./jsonrpc": 1_000,
  "./netrpc": 1_000,
  "./testing": 1_000,
};

/** Names that must cost the same through `mod.ts` as from their own files. */
const SAME = ["Client", "Server", "RpcError", "memoryPair", "framed"];

/** How many times larger the bundle through `mod.ts` may be. */
const SLACK = 1.01;

/** Texts that must not be in a bundle of the client alone: those of the reconnecting client, the rich serializer, middleware, services, ordered methods, observers and diagnostics channels. */
const ABSENT = [
  ...["the dial did not finish", "its middleware cannot send it"],
  ...["it contains itself", "Cannot order"],
  ...["Cannot observe", "node:diagnostics_channel", "sluice.rich.1"],
];

/** Texts by which a protocol is recognised. Only the bundle of its own entry point may have them. */
const MARKS = [
  { from: `${PACKAGE}/jsonrpc`, mark: "$/cancelRequest" },
  { from: `${PACKAGE}/netrpc`, mark: "rpc: can't find service" },
  { from: `${PACKAGE}/netrpc`, mark: "/_goRPC_" },
];

/** One bundle. */
export interface Bundle {
  readonly code: string;
  readonly minified: number;
  readonly gzipped: number;
  /** Bytes of each module that has any, by its path without the ending: `src/base/clock`. */
  readonly modules: ReadonlyMap<string, number>;
}

const ESBUILD = ["--bundle", "--format=esm", "--log-level=error"];

async function esbuild(args: readonly string[], cwd: string): Promise<void> {
  const bin = join(ROOT, "node_modules", ".bin", "esbuild");
  const result = await run(bin, [...args], { cwd, timeout: 60_000 });
  if (!result.ok) throw new Error(`Cannot bundle:\n${result.output}`);
}

/** Bundles programs, given as source text, in a folder whose `node_modules` has the library. `home` is the folder of the library. */
async function bundle(
  programs: readonly string[],
  dir: string,
  home: string,
): Promise<Bundle[]> {
  const files = programs.map((_, i) => `program${i}.js`);
  for (const [i, file] of files.entries()) {
    await writeFile(join(dir, file), programs[i]!);
  }
  const out = ["--outdir=out", "--metafile=meta.json", "--minify"];
  await esbuild([...ESBUILD, ...out, ...files], dir);
  // Not with node:zlib, because Deno's compresses differently from zlib.
  const made = files.map((file) => join(dir, "out", file));
  must("gzip", await run("gzip", ["-9", "-n", "-k", "-f", ...made]));
  const meta = JSON.parse(await readFile(join(dir, "meta.json"), "utf8"));
  const base = await realpath(home);
  const real = await realpath(dir);
  return await Promise.all(files.map(async (file) => {
    const path = join(dir, "out", file);
    const code = await readFile(path, "utf8");
    const modules = new Map<string, number>();
    const inputs: Record<string, { bytesInOutput: number }> =
      meta.outputs[`out/${file}`].inputs;
    for (const [input, { bytesInOutput }] of Object.entries(inputs)) {
      if (bytesInOutput === 0) continue;
      const path = relative(base, resolve(real, input)).replaceAll("\\", "/");
      modules.set(path.replace(/\.[jt]s$/, ""), bytesInOutput);
    }
    const { size: minified } = await stat(path);
    const { size: gzipped } = await stat(`${path}.gz`);
    return { code, minified, gzipped, modules };
  }));
}

/** The source text of a row's program. */
export function programOf({ names, from }: Row): string {
  const what = names.length === 0 ? "*" : `{ ${names.join(", ")} }`;
  return `export ${what} from "${from}";\n`;
}

/** The bytes of each room. A folder inside a room counts for the room and also by itself. */
export function roomsOf(
  modules: ReadonlyMap<string, number>,
): Map<string, number> {
  const rooms = new Map<string, number>();
  for (const [module, bytes] of modules) {
    const path = module.split("/").slice(1, -1);
    for (let depth = 1; depth <= path.length; depth++) {
      const room = path.slice(0, depth).join("/");
      rooms.set(room, (rooms.get(room) ?? 0) + bytes);
    }
  }
  return rooms;
}

/** Lists the faults of a bundle. */
export function faultsOf(row: Row, bundle: Bundle, origin: string): string[] {
  const { name, limit, without, from, names } = row;
  const { gzipped, modules, code } = bundle;
  const of = `${name}, from ${origin}`;
  const faults: string[] = [];
  if (gzipped > limit) {
    faults.push(
      `${of}: ${gzipped} bytes gzip, ${gzipped - limit} over the limit`,
    );
  }
  const rooms = roomsOf(modules);
  for (const room of without) {
    const bytes = rooms.get(room);
    if (bytes === undefined) continue;
    const carried = [...modules.keys()].filter((module) =>
      module.startsWith(`src/${room}/`)
    );
    faults.push(`${of}: carries ${bytes} bytes of ${room}: ${carried}`);
  }
  const isMain = names.length === 1 && names[0] === "Client";
  const texts = isMain ? ABSENT.filter((text) => code.includes(text)) : [];
  if (texts.length > 0) {
    faults.push(`${of}: carries ${JSON.stringify(texts)}`);
  }
  for (const one of MARKS) {
    if (code.includes(one.mark) === (from === one.from)) continue;
    faults.push(
      from === one.from
        ? `${of}: lacks ${
          JSON.stringify(one.mark)
        }, which its protocol must have`
        : `${of}: carries the protocol of ${one.from}`,
    );
  }
  return faults;
}

/** Lists texts of `ABSENT` that the whole library no longer contains: checking for them proves nothing. */
function outdatedTexts(everything: string): string[] {
  return ABSENT.filter((text) => !everything.includes(text)).map((text) =>
    `ABSENT in tools/size.ts is out of date: the library has no ${
      JSON.stringify(text)
    }`
  );
}

/** The file from which an entry point exports a name. */
export function sourceOf(entry: string, name: string): string | undefined {
  const exports = /export\s+\{([^}]*)\}\s+from\s+"([^"]+)"/g;
  for (const [, names, file] of entry.matchAll(exports)) {
    const found = names!.split(",").some((one) => one.trim() === name);
    if (found) return file;
  }
  return undefined;
}

/** Compares names imported through `mod.ts` with the same names from their own files. */
async function compareOwn(dir: string, home: string): Promise<string[]> {
  const entry = await readFile(join(home, "mod.ts"), "utf8");
  const programs = SAME.flatMap((name) => {
    const own = sourceOf(entry, name);
    if (own === undefined) throw new Error(`mod.ts exports no ${name}`);
    return ["mod.ts", own].map((file) =>
      `export { ${name} } from ${JSON.stringify(join(home, file))};`
    );
  });
  const made = await bundle(programs, dir, home);
  const faults: string[] = [];
  const costs = SAME.map((name, i) => {
    const [through, own] = made.slice(2 * i, 2 * i + 2) as [Bundle, Bundle];
    const text = `${name} ${bytes(through.minified)} / ${bytes(own.minified)}`;
    if (through.minified > own.minified * SLACK) {
      faults.push(`minified, through mod.ts / from its own file: ${text}`);
    }
    return text;
  });
  console.log(
    `\nminified, through mod.ts / from its own file: ${costs.join(", ")}`,
  );
  return faults;
}

/** The exports of an entry point that are declared in a bundle. */
export function stayingExports(
  code: string,
  exports: readonly string[],
): string[] {
  const declared =
    /^(?:var|let|const|class|function|async function\*?) +([\w$]+)/gm;
  const names = new Set([...code.matchAll(declared)].map(([, name]) => name!));
  return exports.filter((name) => names.has(name));
}

/** Imports each entry point and uses nothing of it, from a copy without `sideEffects`, and lists what stays in the bundle. */
async function checkUnused(
  entries: readonly (readonly [string, string])[],
  dir: string,
  { modules: detailed }: { modules: boolean },
): Promise<string[]> {
  const home = join(dir, "bare");
  await mkdir(home);
  await cp(join(ROOT, "src"), join(home, "src"), { recursive: true });
  for (const [, file] of entries) await cp(join(ROOT, file), join(home, file));
  const programs = entries.map(([, file]) =>
    `import ${JSON.stringify(`./${file}`)};`
  );
  const made = await bundle(programs, home, home);
  const faults: string[] = [];
  console.log(
    "\nwhat stays of an import that uses nothing, without sideEffects: false",
  );
  for (const [i, [entry, file]] of entries.entries()) {
    const { minified, modules } = made[i]!;
    const limit = UNUSED[entry] ?? 0;
    const args = [...ESBUILD, "--outdir=plain", "--metafile=plain.json"];
    await esbuild([...args, `program${i}.js`, file], home);
    const code = await readFile(join(home, "plain", `program${i}.js`), "utf8");
    const meta = JSON.parse(await readFile(join(home, "plain.json"), "utf8"));
    const { exports } = meta.outputs[`plain/${file.replace(/ts$/, "js")}`];
    const names = stayingExports(code, exports);
    console.log(
      `${entry.padEnd(12)}${bytes(minified)} minified, limit ${bytes(limit)}` +
        `, ${modules.size} modules; exports: ${names.join(" ") || "none"}`,
    );
    if (minified > limit) {
      faults.push(
        `${entry} alone: ${minified} bytes stay, ${
          minified - limit
        } over the limit`,
      );
    }
  }
  if (detailed) await listRoots(home);
  return faults;
}

const EXPORT =
  /^export (?=(?:default |abstract |async |declare )*(?:const|let|function|class|interface|type +[\w$]))/gm;
const BARE = /^(?:import\b[^;]*|export\b[^;]*);\n/gm;

/** Lists the statements of each module that a bundler cannot drop, with what they need in the module. Only these keep other code in the bundle. */
async function listRoots(home: string): Promise<void> {
  const dir = join(home, "unexported");
  const sources = await readSources(home);
  for (const [file, text] of sources) {
    await mkdir(join(dir, file, ".."), { recursive: true });
    await writeFile(join(dir, file), text.replace(EXPORT, ""));
  }
  const out = ["--outdir=out", "--outbase=.", "--format=esm"];
  await esbuild([
    ...["--tree-shaking=true", "--minify-syntax", "--log-level=error"],
    ...[...out, ...sources.keys()],
  ], dir);
  console.log("\nstatements that no bundler drops, by module");
  for (const file of sources.keys()) {
    const made = join(dir, "out", file.replace(/ts$/, "js"));
    const code = (await readFile(made, "utf8")).replace(BARE, "").trim();
    if (code === "") continue;
    console.log(`${file}: ${bytes(code.length)} before minifying`);
    for (const line of code.split("\n")) {
      if (/^\w/.test(line) || /^ {2}static \{/.test(line)) {
        console.log(`    ${line.slice(0, 100)}`);
      }
    }
  }
}

/** The Markdown table of README: the slim client, what each feature adds, and all together. */
export function featureTable(
  lines: readonly (readonly [text: string, gzipped: number])[],
  slim: number,
  totals: readonly (readonly [text: string, gzipped: number])[],
): string[] {
  const kilobytes = (n: number) => (n / 1000).toFixed(1);
  const cells = [
    ["import from `@sluice/rpc/client`", "kB, gzip"],
    ["`Client`", kilobytes(slim)],
    ...lines.map(([text, n]) => [text, `+ ${kilobytes(n - slim)}`]),
    ...totals.map(([text, n]) => [text, kilobytes(n)]),
  ] as [string, string][];
  const [first, second] = [0, 1].map((i) =>
    Math.max(...cells.map((cell) => cell[i]!.length))
  ) as [number, number];
  const line = ([text, size]: [string, string]) =>
    `| ${text.padEnd(first)} | ${size.padStart(second)} |`;
  const rule = `| ${"-".repeat(first)} | ${"-".repeat(second - 1)}: |`;
  const [head, ...body] = cells.map(line);
  return [head!, rule, ...body];
}

/** Bundles the slim client with each feature, and prints what the feature adds. */
async function printFeatures(dir: string): Promise<void> {
  const entry = await readFile(join(ROOT, "client.ts"), "utf8");
  const isThere = ({ names, from }: Feature) =>
    from !== undefined ||
    names.every((name) =>
      sourceOf(entry, name) || entry.includes(` as ${name},`)
    );
  const features = FEATURES.filter(isThere);
  const program = (used: readonly Feature[]) =>
    `export { Client } from "${SLIM}";\n` +
    used.map(({ names, from = SLIM }) =>
      `export { ${names.join(", ")} } from "${from}";\n`
    ).join("");
  const own = features.filter(({ from }) => from === undefined);
  const programs = [
    program([]),
    program(own),
    `export { Client } from "${PACKAGE}";\n`,
    ...features.map((feature) => program([feature])),
  ];
  const sizes = (await bundle(programs, dir, ROOT)).map((b) => b.gzipped);
  const [slim, all, full, ...each] = sizes as [number, number, number];
  console.log("\nwhat each feature adds to the slim client, for README");
  const lines = features.map(({ text }, i) => [text, each[i]!] as const);
  console.log(
    featureTable(lines, slim, [
      ["all of these from `@sluice/rpc/client`", all],
      ["the full `Client` of `@sluice/rpc`", full],
    ]).join("\n"),
  );
  const missing = FEATURES.filter((feature) => !isThere(feature));
  for (const { names } of missing) {
    console.log(`NOTICE: client.ts does not export ${names.join(", ")}`);
  }
}

/** A table with a line for each room, then for each module, and a column for each bundle. */
export function moduleTable(
  rows: readonly Row[],
  bundles: readonly Bundle[],
): string[] {
  const lines: string[] = [];
  const columns = bundles.map((_, i) => String.fromCharCode(65 + i));
  for (const [i, { name }] of rows.entries()) {
    lines.push(`${columns[i]}  ${name}`);
  }
  const add = (title: string, tables: ReadonlyMap<string, number>[]) => {
    const totals = new Map<string, number>();
    for (const table of tables) {
      for (const [key, n] of table) {
        totals.set(key, Math.max(totals.get(key) ?? 0, n));
      }
    }
    const cell = (text: string) => text.padStart(8);
    lines.push("", title.padEnd(44) + columns.map(cell).join(""));
    for (const [key] of [...totals].sort((a, b) => b[1] - a[1])) {
      const cells = tables.map((table) => {
        const n = table.get(key);
        return cell(n === undefined ? "" : bytes(n));
      });
      lines.push(key.padEnd(44) + cells.join(""));
    }
  };
  add("room", bundles.map(({ modules }) => roomsOf(modules)));
  add("module", bundles.map(({ modules }) => modules as Map<string, number>));
  return lines;
}

function bytes(n: number): string {
  return n.toLocaleString("en-US");
}

/** Prints a line for each row, and returns the faults. */
function printRows(
  rows: readonly Row[],
  origins: ReadonlyMap<string, readonly Bundle[]>,
): string[] {
  const faults: string[] = [];
  const cell = (text: string) => text.padStart(10);
  const names = [...origins.keys()];
  console.log("".padEnd(22) + names.map((name) => name.padStart(20)).join(""));
  console.log(
    "bundle".padEnd(22) +
      names.map(() => cell("minified") + cell("gzip")).join("") +
      cell("limit"),
  );
  for (const [i, row] of rows.entries()) {
    const cells = names.map((name) => {
      const made = origins.get(name)![i]!;
      faults.push(...faultsOf(row, made, name));
      return cell(bytes(made.minified)) + cell(bytes(made.gzipped));
    });
    console.log(
      row.name.padEnd(22) + cells.join("") + cell(bytes(row.limit)),
    );
  }
  return faults;
}

/** Installs the sources or the npm package where the programs find the library, and returns its folder. */
async function install(dir: string, source: boolean): Promise<string> {
  const home = join(dir, "node_modules", ...PACKAGE.split("/"));
  await mkdir(join(home, ".."), { recursive: true });
  if (source) {
    await symlink(ROOT, home);
    return home;
  }
  await mkdir(home);
  const tarball = join(dir, "package.tgz");
  await pack(tarball);
  const args = ["xzf", tarball, "-C", home, "--strip-components=1"];
  must("tar", await run("tar", args));
  return home;
}

/** The entry points of `deno.json`, each like `["./client", "client.ts"]`. */
async function readEntries(): Promise<[string, string][]> {
  const config = JSON.parse(await readFile(join(ROOT, "deno.json"), "utf8"));
  return Object.entries<string>(config.exports).map((
    [name, file],
  ) => [name, file.replace("./", "")]);
}

async function check(
  dir: string,
  options: { modules: boolean; source: boolean },
): Promise<string[]> {
  const programs = ROWS.map(programOf);
  const origins = new Map<string, Bundle[]>();
  for (const origin of ["source", "package"]) {
    if (origin === "package" && options.source) continue;
    const own = join(dir, origin);
    const home = await install(own, origin === "source");
    origins.set(origin, await bundle(programs, own, home));
  }
  const faults = printRows(ROWS, origins);
  const sources = origins.get("source")!;
  faults.push(...outdatedTexts(sources[0]!.code));
  faults.push(...await compareOwn(join(dir, "source"), ROOT));
  await printFeatures(join(dir, "source"));
  const entries = await readEntries();
  const nothing = await bundle(
    entries.map(([entry]) => `import "${PACKAGE}${entry.slice(1)}";`),
    join(dir, "source"),
    ROOT,
  );
  for (const [i, { minified }] of nothing.entries()) {
    if (minified === 0) continue;
    faults.push(
      `${
        entries[i]![0]
      } alone, with sideEffects: false: ${minified} bytes stay`,
    );
  }
  faults.push(...await checkUnused(entries, dir, options));
  if (options.modules) {
    console.log(`\n${moduleTable(ROWS, sources).join("\n")}`);
  }
  return faults;
}

function options(): { modules: boolean; source: boolean; help: boolean } {
  try {
    const { values } = parseArgs({
      options: {
        modules: { type: "boolean", default: false },
        source: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    return values;
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

async function main(): Promise<void> {
  const given = options();
  if (given.help) return console.log(USAGE);
  const dir = await mkdtemp(join(tmpdir(), "sluice-size-"));
  try {
    const faults = await check(dir, given);
    console.log();
    for (const fault of faults) console.log(fault);
    console.log(`${faults.length} faults`);
    if (faults.length > 0) process.exitCode = 1;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

if (import.meta.main) await tool(main);
